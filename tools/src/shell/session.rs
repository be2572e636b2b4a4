// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pace of a session, and its end.
//!
//! A UART holds 16 bytes, and NimbOS takes them when it looks. It echoes each byte that it has taken, and takes none that it
//! has no room for: so no more than [`WINDOW`] bytes are ever on their way, and none is lost, however long a file is that is
//! typed in.
//!
//! The kernel says on its console that the shell has ended; any program could print that line too. It counts when the
//! shadow process has ended as well, which Linux says on its own console, or when nothing has come after it for
//! [`SILENCE`]: a kernel whose first program has ended says nothing more.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::keys::RETURN;
use super::{Ended, Pace};

/// Bytes that may be on their way to NimbOS: half of what the UART holds.
const WINDOW: usize = 8;
const BELL: u8 = 0x07;
/// What the shell prints before it reads a line.
const PROMPT: &[u8] = b"nimbos$ ";
/// What the kernel prints when its first program has ended, before the status.
const EXIT_LINE: &str = "nimbos: init exited with status ";
/// How long nothing may come after that line, if Linux does not confirm it.
const SILENCE: Duration = Duration::from_secs(10);
/// How long nothing may come before the next line of a file is for a program that reads. (A kernel that waits for Linux says
/// so more often.)
const LINE_SILENCE: Duration = Duration::from_secs(10);
/// How long a user waits for an echo that does not come: a key was lost, or a program without echo reads.
const USER_PATIENCE: Duration = Duration::from_secs(1);
/// Longest line of the console that is looked at.
const MAX_LINE: usize = 1024;

/// What the threads of a session share.
#[derive(Debug)]
pub struct Session {
    pace: Pace,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes sent whose echo has not come.
    in_flight: VecDeque<u8>,
    /// The console's line so far.
    line: Vec<u8>,
    has_prompted: bool,
    /// Whether a line was sent since the last prompt.
    is_line_sent: bool,
    /// When something came last.
    heard: Option<Instant>,
    /// The status in the kernel's last line, and when that came.
    told: Option<(i32, Instant)>,
    is_served: bool,
    is_quit: bool,
    is_closed: bool,
}

impl Session {
    /// A session with this user.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until `byte` can be sent, and counts it as sent. With a file that is first when the shell has prompted.
    /// Returns `false` when the session is over.
    pub fn wait_for_room(&self, byte: u8) -> bool {
        let mut state = self.lock();
        while !state.is_closed
            && let Some(limit) = self.obstacle(&state)
        {
            let waited = self.changed.wait_timeout(state, limit);
            let (changed, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = changed;
            if timeout.timed_out() && self.pace == Pace::Terminal {
                state.in_flight.clear();
            }
        }
        if byte == RETURN || (b' '..0x7f).contains(&byte) {
            state.in_flight.push_back(byte);
        }
        state.is_line_sent |= byte == RETURN;
        !state.is_closed
    }

    /// Returns how long to wait before another look, if nothing more can be sent for now.
    fn obstacle(&self, state: &State) -> Option<Duration> {
        if state.in_flight.len() >= WINDOW {
            return Some(USER_PATIENCE);
        }
        if self.pace != Pace::Lines {
            return None;
        }
        if !state.has_prompted {
            return Some(LINE_SILENCE);
        }
        let silence = state.heard?.elapsed();
        let left = LINE_SILENCE.checked_sub(silence)?;
        state.is_line_sent.then_some(left)
    }

    /// Takes note of what NimbOS says.
    pub fn hear(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.heard = Some(Instant::now());
        for &byte in bytes {
            state.hear(byte);
        }
        self.changed.notify_all();
    }

    /// Linux has said that the shadow process has ended.
    pub fn set_served(&self) {
        self.lock().is_served = true;
    }

    /// The user wants no more.
    pub fn quit(&self) {
        self.lock().is_quit = true;
    }

    /// The machine is off.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Returns the status that the kernel's last line tells.
    pub fn told_status(&self) -> Option<i32> {
        self.lock().told.map(|(status, _)| status)
    }

    /// Returns how the session has ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        let state = self.lock();
        if state.is_quit {
            return Some(Ended::Quit);
        }
        let (status, when) = state.told?;
        (state.is_served || when.elapsed() > SILENCE).then_some(Ended::Shell(status))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked has left is whole: nothing is changed in more than one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hear(&mut self, byte: u8) {
        // A byte that was refused, because its line is too long, rings the bell.
        if self.in_flight.front() == Some(&byte) || byte == BELL {
            self.in_flight.pop_front();
        }
        match byte {
            b'\n' => {
                let line = String::from_utf8_lossy(&self.line);
                // A program's last line may have no end.
                let status = line.trim_end().rsplit_once(EXIT_LINE);
                let status = status.and_then(|(_, status)| status.parse().ok());
                self.told = status.map(|status| (status, Instant::now()));
                self.line.clear();
            }
            _ => {
                self.told = None;
                if self.line.len() < MAX_LINE {
                    self.line.push(byte);
                }
                if self.line.ends_with(PROMPT) {
                    self.has_prompted = true;
                    self.is_line_sent = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompted() -> Session {
        let session = Session::new(Pace::Lines);
        session.hear(PROMPT);
        session
    }

    #[test]
    fn no_more_is_sent_than_is_echoed() {
        let session = prompted();
        for _ in 0..WINDOW {
            assert!(session.wait_for_room(b'a'));
        }
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| session.wait_for_room(b'b'));
            // Other output is no echo, a byte of it that looks like one counts as such.
            session.hear(b"\r\n---");
            assert_eq!(session.lock().in_flight.len(), WINDOW);
            session.hear(b"a");
            assert!(sender.join().unwrap());
        });
        let in_flight = Vec::from(session.lock().in_flight.clone());
        assert_eq!(in_flight, b"aaaaaaab");
    }

    #[test]
    fn keys_that_are_not_echoed_as_they_are_do_not_count() {
        let session = prompted();
        for byte in [3, 4, 8, 0x7f, 0xc3, b'\t'] {
            assert!(session.wait_for_room(byte));
        }
        assert!(session.lock().in_flight.is_empty());
        assert!(session.wait_for_room(RETURN));
        session.hear(b"\r\n");
        assert!(session.lock().in_flight.is_empty());
    }

    #[test]
    fn the_next_line_of_a_file_follows_a_prompt() {
        let session = prompted();
        assert!(session.wait_for_room(b'a') && session.wait_for_room(RETURN));
        session.hear(b"a\r\nits output\r\n");
        assert!(session.obstacle(&session.lock()).is_some());
        session.hear(PROMPT);
        assert_eq!(session.obstacle(&session.lock()), None);
        // A user is not kept waiting.
        let user = Session::new(Pace::Terminal);
        assert!(user.wait_for_room(RETURN));
        assert_eq!(user.obstacle(&user.lock()), None);
    }

    #[test]
    fn nobody_waits_after_the_end() {
        let session = Session::new(Pace::Lines);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| session.wait_for_room(b'a'));
            session.close();
            assert!(!sender.join().unwrap());
        });
    }

    #[test]
    fn the_kernels_last_line_counts_once_it_is_confirmed() {
        let session = prompted();
        session.hear(b"x\r\nnimbos: init exited with status 7\r\n");
        assert_eq!(session.told_status(), Some(7));
        assert_eq!(session.ended(), None);
        session.set_served();
        assert_eq!(session.ended(), Some(Ended::Shell(7)));
    }

    #[test]
    fn a_line_after_which_something_comes_was_not_the_last() {
        let session = prompted();
        session.set_served();
        session.hear(b"\nnimbos: init exited with status 7\r\nnimbos$ ");
        assert_eq!(session.ended(), None);
        session.hear(b"nimbos: init exited with status x\r\n");
        assert_eq!(session.ended(), None);
        session.hear(b"no line end nimbos: init exited with status 8\r\n");
        assert_eq!(session.ended(), Some(Ended::Shell(8)));
    }

    #[test]
    fn the_user_ends_a_session_at_any_time() {
        let session = Session::new(Pace::Terminal);
        assert_eq!(session.ended(), None);
        session.quit();
        assert_eq!(session.ended(), Some(Ended::Quit));
    }
}
