// SPDX-License-Identifier: MIT OR Apache-2.0
//! NimbOS's shell on its own console, as `make run-shell` has it, with a test in the user's place: a script of commands and
//! what each has to say.

use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::demo::Demo;
use lab::machine::Firmware;
use lab::run::Echo;
use lab::shell::{self, Ended, Pace, User};

use crate::scenario::Trial;

const TIME_LIMIT: Duration = Duration::from_secs(1800);
const QUANTUM: u32 = 16;
const PROMPT: &str = "nimbos$ ";
const CONTROL_C: &str = "\u{3}";
const CONTROL_D: &str = "\u{4}";
/// Status of the last line of the script.
const STATUS: i32 = 5;

/// What is typed once something has been said.
struct Step {
    /// Awaited behind what the step before has awaited.
    after: &'static str,
    typed: Typed,
    /// Lines that follow. `*` stands for anything in a line.
    said: &'static [&'static str],
}

/// What is typed.
#[derive(Clone, Copy)]
enum Typed {
    /// A line, which is echoed behind the prompt.
    Command(&'static str),
    /// Keys, whose echo stands among the lines that follow.
    Keys(&'static str),
}

const fn command(line: &'static str, said: &'static [&'static str]) -> Step {
    Step {
        after: PROMPT,
        typed: Typed::Command(line),
        said,
    }
}

const fn keys(after: &'static str, keys: &'static str, said: &'static [&'static str]) -> Step {
    Step {
        after,
        typed: Typed::Keys(keys),
        said,
    }
}

const SCRIPT: &[Step] = &[
    // The first call that Linux serves: the ones behind it are not disturbed by the kernel's lines about the channel.
    command(
        "ls /tmp/nothing",
        &["ls: /tmp/nothing: No such file or directory"],
    ),
    command("echo 'a  b' \"c $? d\" \\; x  # no", &["a  b c 1 d ; x"]),
    command("nosuch; echo $?", &["sh: nosuch: not found", "127"]),
    command(
        "/tmp/nosuch; echo $?",
        &["sh: /tmp/nosuch: No such file or directory", "127"],
    ),
    command("/tmp; echo $?", &["sh: /tmp: *", "126"]),
    command("echo x | | y; echo no", &["sh: syntax error near '|'"]),
    command(
        "echo $?; echo 'open",
        &["sh: syntax error: a ' has no partner"],
    ),
    command(
        "echo $? > /nodir/x; echo $?",
        &["sh: /nodir/x: No such file or directory", "1"],
    ),
    command("mkdir /tmp/d && cd /tmp/d && pwd", &["/tmp/d"]),
    command(
        "mkdir /tmp/d; echo $?",
        &["mkdir: /tmp/d: File exists", "1"],
    ),
    command(
        "echo one two > a; echo three >> a; cat a",
        &["one two", "three"],
    ),
    command("cat < a | cat | wc", &["      2       3      14"]),
    command(
        "cp a b; mv b c; ls; ls -l a",
        &["a", "c", "-rw-r--r--   1        14 *-*-* *:* a"],
    ),
    command(
        "rm a c nothing; ls; cd /; rmdir /tmp/d",
        &["rm: nothing: No such file or directory"],
    ),
    command(
        "cd /nothing; pwd",
        &["cd: /nothing: No such file or directory", "/"],
    ),
    command(
        "true && echo yes || echo no; false && echo no || echo yes",
        &["yes", "yes"],
    ),
    command("sh -c exit 9; echo $?", &["9"]),
    command("sleep 1000 & kill $!; wait $!; echo $?", &["143"]),
    command(
        "sleep 1000 & kill -9 $!; wait $!; echo $?; wait; echo $?",
        &["137", "0"],
    ),
    command(
        "sleep 0.05 && echo slept; sleep x; echo $?",
        &["slept", "sleep: x: not a number of seconds", "2"],
    ),
    command(
        "kill 99999; kill x; ls -x",
        &[
            "kill: 99999: No such process",
            "kill: x: not a number",
            "usage: ls [-l] [PATH]...",
        ],
    ),
    command(
        "hello 'a b'",
        &["hello: hello from process *", "hello: argument 1 is 'a b'"],
    ),
    // A program that is a file of Linux.
    command(
        "/opt/hello 'a b' && cp /opt/hello /tmp/copy && /tmp/copy; echo $?; rm /tmp/copy",
        &[
            "/opt/hello: hello from process *",
            "/opt/hello: argument 1 is 'a b'",
            "/tmp/copy: hello from process *",
            "0",
        ],
    ),
    command(
        "ps",
        &[
            "  PID  PPID STATE   THREADS  TICKS NAME",
            "    1     0 * sh",
            "* 1 running       1 * sh",
        ],
    ),
    command(
        "uptime",
        &["up *.* s, CPUs *, processes 2, free memory * KiB"],
    ),
    command(
        "cat /bin/busybox | wc > /tmp/count; rm /tmp/count; echo $?",
        &["0"],
    ),
    // A file of Linux that may be executed, and is no program of NimbOS.
    command("/init; echo $?", &["sh: /init: Exec format error", "126"]),
    // A program reads the console.
    command("cat > /tmp/typed", &[]),
    keys(
        "cat > /tmp/typed\n",
        "first\nsecx\u{8}ond\n\u{4}",
        &["first", "secx\u{8} \u{8}ond"],
    ),
    command("cat /tmp/typed; rm /tmp/typed", &["first", "second"]),
    // What runs in the foreground is interrupted, what runs in the background is not.
    command("sleep 1000 & sh -c 'echo begun; sleep 1000'", &["begun"]),
    keys("begun\n", CONTROL_C, &["^C"]),
    command("echo $?; kill $!; wait $!; echo $?", &["130", "143"]),
    keys(PROMPT, "half a line\u{3}", &["nimbos$ half a line^C"]),
    // TCP between two programs, by Linux's loopback device.
    command(
        "echo-server 7777 2 & echo-client 127.0.0.1 7777 3 20000; echo-client 127.0.0.1 7777; wait",
        &[
            "echo-server: listening at 0.0.0.0:7777",
            "echo-client: messages=3 bytes=60000 wrong=0",
            "echo-client: messages=10 bytes=10000 wrong=0",
        ],
    ),
    command(
        "echo-client 192.0.2.1 1; echo-client nowhere 1; echo $?",
        &[
            "echo-client: 192.0.2.1:1: Network is unreachable",
            "echo-client: nowhere: not an IPv4 address",
            "2",
        ],
    ),
    command("exit no; exit 5", &["exit: not a number"]),
];

/// Commands that are right, and commands that are wrong.
pub fn script(trial: &Trial) -> Result<()> {
    converse(trial, SCRIPT, STATUS)
}

/// ^D at the prompt ends the shell with the status of its last command.
pub fn end_of_file(trial: &Trial) -> Result<()> {
    const SCRIPT: &[Step] = &[
        command("nosuch", &["sh: nosuch: not found"]),
        keys(PROMPT, CONTROL_D, &[PROMPT]),
    ];
    converse(trial, SCRIPT, 127)
}

/// Boots the machine, types the script, and judges what was said and the shell's status.
fn converse(trial: &Trial, script: &'static [Step], status: i32) -> Result<()> {
    let bench = trial.bench;
    let demo = Demo {
        config: bench.lab.root().join("configs/emulator-demo.toml"),
        firmware: Firmware::Bios,
        quantum: QUANTUM,
        time_limit: TIME_LIMIT,
        echo: Echo::Quiet,
        name: trial.run_name(),
    };
    let conversation = Arc::new(Conversation::new(script));
    let user = User {
        input: Box::new(Typist::new(Arc::clone(&conversation))),
        output: Box::new(Listener(Arc::clone(&conversation))),
        pace: Pace::Caller,
    };
    let hello = bench.lab.image_path("nimbos-apps").join("hello");
    let programs = bench.demo_programs()?.with_linux_files(
        &bench.lab,
        "system-shell",
        &[("opt/hello", hello)],
    )?;
    let ended = shell::boot(&bench.lab, &bench.emulator, &programs, &demo, user, || None);
    let transcript = conversation.transcript();
    let judged = ended.and_then(|ended| {
        judge(script, &transcript)?;
        ensure!(ended == Ended::Shell(status), "{ended:?}");
        Ok(())
    });
    judged.with_context(|| format!("the transcript:\n{transcript}"))
}

/// Compares the lines of a transcript with those of a script; the kernel's own do not count.
fn judge(script: &[Step], transcript: &str) -> Result<()> {
    let mut said = transcript
        .lines()
        .filter(|line| !line.starts_with("nimbos: "));
    for step in script {
        let echo = match step.typed {
            Typed::Command(line) => Some(format!("{PROMPT}{line}")),
            Typed::Keys(_) => None,
        };
        if let Some(echo) = echo {
            let line = said.next().unwrap_or_default();
            ensure!(line == echo, "'{line}' instead of '{echo}'");
        }
        for expected in step.said {
            let line = said.next().unwrap_or_default();
            ensure!(matches(line, expected), "'{line}' instead of '{expected}'");
        }
    }
    match said.next() {
        Some(line) => bail!("'{line}' after the end"),
        None => Ok(()),
    }
}

/// Tells whether a line is what a pattern says, in which `*` stands for anything.
fn matches(line: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return line == pattern;
    };
    let Some(line) = line.strip_prefix(start) else {
        return false;
    };
    (0..=line.len()).any(|place| line.is_char_boundary(place) && matches(&line[place..], rest))
}

/// A script, how far it was typed, and what was said.
struct Conversation {
    script: &'static [Step],
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    said: Vec<u8>,
    /// Up to where it was looked at for what steps await.
    seen: usize,
    /// The next step.
    next: usize,
}

impl Conversation {
    fn new(script: &'static [Step]) -> Self {
        Self {
            script,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.lock().said).into_owned()
    }

    /// Waits until the next step is to be typed; returns its keys, or `None` after the last one.
    fn next(&self) -> Option<String> {
        let mut state = self.lock();
        let step = self.script.get(state.next)?;
        loop {
            let unseen = &state.said[state.seen..];
            let mut windows = unseen.windows(step.after.len());
            if let Some(place) = windows.position(|part| part == step.after.as_bytes()) {
                state.seen += place + step.after.len();
                state.next += 1;
                return Some(match step.typed {
                    Typed::Command(line) => format!("{line}\n"),
                    Typed::Keys(keys) => keys.to_owned(),
                });
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Types the script.
struct Typist {
    conversation: Arc<Conversation>,
    /// What is left of a step.
    left: Cursor<String>,
}

impl Typist {
    fn new(conversation: Arc<Conversation>) -> Self {
        let left = Cursor::default();
        Self { conversation, left }
    }
}

impl Read for Typist {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.left.read(into)?;
        if count > 0 {
            return Ok(count);
        }
        match self.conversation.next() {
            Some(keys) => {
                self.left = Cursor::new(keys);
                self.left.read(into)
            }
            None => Ok(0),
        }
    }
}

/// Hears what the console says.
struct Listener(Arc<Conversation>);

impl Write for Listener {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.lock().said.extend_from_slice(from);
        self.0.changed.notify_all();
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (line, pattern) in [
            ("abc", "abc"),
            ("abc", "a*"),
            ("abc", "*"),
            ("a\u{e9}c", "*c"),
            ("up 1.2 s", "up *.* s"),
        ] {
            assert!(matches(line, pattern), "{line} {pattern}");
        }
        for (line, pattern) in [("abc", "ab"), ("abc", "*b"), ("", "a*"), ("ac", "a*b*c")] {
            assert!(!matches(line, pattern), "{line} {pattern}");
        }
    }

    #[test]
    fn a_transcript_must_be_the_scripts() {
        const STEPS: &[Step] = &[
            command("echo a", &["a"]),
            keys(PROMPT, "x", &["nimbos$ x^C"]),
        ];
        let good = "nimbos: up\nnimbos$ echo a\na\nnimbos$ x^C\nnimbos: end\n";
        assert!(judge(STEPS, good).is_ok());
        for bad in [
            good.replace("\na\n", "\nb\n"),
            good.replace("\na\n", "\n"),
            good.replace("\na\n", "\na\na\n"),
            format!("{good}more\n"),
        ] {
            assert!(judge(STEPS, &bad).is_err(), "{bad}");
        }
    }
}
