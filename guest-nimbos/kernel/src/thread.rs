// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads: the table, and what a thread waits for.
//!
//! A thread has no kernel stack. While it does not run it is its registers and a [`State`]; what a system call has still to do
//! when it has waited long enough stands in the state too.

use core::ops::{Index, IndexMut};

use nimbos::queue::{Links, Queue};

use crate::arch::trap::UserContext;
use crate::kernel::exec::Exec;
use crate::kernel::forward::{Receipt, Request};
use crate::memory::{PageBox, Pages};
use crate::process::ProcessNo;
use crate::receiver::ReceiverNo;

/// Most threads of all processes together.
pub const MAX_THREADS: usize = 128;

/// The number of a thread in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadNo(u8);

/// What a thread does.
#[derive(Debug)]
pub enum State {
    /// The entry is free.
    Free,
    /// It is in the queue of those that can run.
    Ready,
    /// It runs on a CPU, which has its context.
    Running {
        /// Number of the CPU.
        cpu: u8,
    },
    /// Its system call is not finished.
    Waiting(Wait),
}

/// What a thread waits for.
#[derive(Debug)]
pub enum Wait {
    /// A place in the ring for its call; it is in the queue of those.
    Token(Request),
    /// The answer to the call with this token.
    Reply {
        /// Number of the token.
        token: u32,
        /// What to do with it.
        receipt: Receipt,
    },
    /// That the channel's server knows its process, which was forked.
    Birth,
    /// The end of a child.
    Child {
        /// Its number, or -1 for any.
        pid: i32,
        /// Where its status goes, or 0.
        status: u64,
    },
    /// A reading of the time-stamp counter.
    Sleep {
        /// The reading.
        deadline: u64,
    },
    /// A line from the console.
    Console {
        /// Where it goes.
        address: u64,
        /// How much of it at most.
        len: usize,
    },
    /// The end of the process's other threads, to go on in a new program.
    Alone,
    /// Other CPUs, which may still use memory that was taken away.
    Unmap {
        /// The memory.
        pages: Pages,
        /// A bit for each CPU.
        cpus: u32,
    },
    /// A user interrupt, or a reading of the time-stamp counter.
    UserInterrupt {
        /// The reading.
        deadline: u64,
    },
}

/// A thread.
#[derive(Debug)]
pub struct Thread {
    /// Its number for programs; the first thread of a process has the process's.
    pub id: u32,
    /// The process it is of.
    pub process: ProcessNo,
    /// What it does.
    pub state: State,
    /// It ends as soon as it is in the kernel again, or what it waits for has come.
    pub is_killed: bool,
    /// Its registers, unless it runs.
    pub context: Option<UserContext>,
    /// The program that it is about to become.
    pub exec: Option<PageBox<Exec>>,
    /// What it is as a receiver of user interrupts, if it is one.
    pub receiver: Option<ReceiverNo>,
}

/// All threads.
#[derive(Debug)]
pub struct Threads {
    entries: [Thread; MAX_THREADS],
    links: Links<MAX_THREADS>,
    /// Those that can run.
    ready: Queue,
    /// Those that wait for a token.
    for_token: Queue,
}

impl Threads {
    /// Returns a table without threads.
    pub const fn new() -> Self {
        Self {
            entries: [const { Thread::free() }; MAX_THREADS],
            links: Links::new(),
            ready: Queue::EMPTY,
            for_token: Queue::EMPTY,
        }
    }

    /// Finds a free entry.
    pub fn find_free(&self) -> Option<ThreadNo> {
        self.numbers()
            .find(|&number| matches!(self[number].state, State::Free))
    }

    /// Returns all numbers.
    pub fn numbers(&self) -> impl Iterator<Item = ThreadNo> + use<> {
        (0..MAX_THREADS as u8).map(ThreadNo)
    }

    /// Returns the numbers of a process's threads.
    pub fn of(&self, process: ProcessNo) -> impl Iterator<Item = ThreadNo> {
        self.numbers().filter(move |&number| {
            let thread = &self[number];
            thread.process == process && !matches!(thread.state, State::Free)
        })
    }

    /// Tells whether a thread has this number among programs.
    pub fn has_id(&self, id: u32) -> bool {
        self.find_id(id).is_some()
    }

    /// Finds a thread by its number among programs.
    pub fn find_id(&self, id: u32) -> Option<ThreadNo> {
        self.numbers().find(|&number| {
            let thread = &self[number];
            thread.id == id && !matches!(thread.state, State::Free)
        })
    }

    /// Lets a thread run when it is its turn; it is in no queue.
    #[inline(always)]
    pub fn make_ready(&mut self, thread: ThreadNo) {
        self[thread].state = State::Ready;
        self.ready.push(&mut self.links, thread.index());
    }

    /// Tells whether a thread can run that does not.
    #[inline(always)]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the thread whose turn it is.
    #[inline(always)]
    pub fn take_ready(&mut self) -> Option<ThreadNo> {
        let number = self.ready.pop(&self.links)?;
        Some(ThreadNo(number as u8))
    }

    /// Takes a thread out of the queue of those that can run.
    pub fn remove_ready(&mut self, thread: ThreadNo) {
        self.ready.remove(&mut self.links, thread.index());
    }

    /// Lets a thread wait for a token; it is in no queue.
    pub fn wait_for_token(&mut self, thread: ThreadNo, request: Request) {
        self[thread].state = State::Waiting(Wait::Token(request));
        self.for_token.push(&mut self.links, thread.index());
    }

    /// Tells whether a thread waits for a token.
    pub fn has_token_waiters(&self) -> bool {
        !self.for_token.is_empty()
    }

    /// Takes the thread that waits for a token for the longest time.
    pub fn take_token_waiter(&mut self) -> Option<ThreadNo> {
        let number = self.for_token.pop(&self.links)?;
        Some(ThreadNo(number as u8))
    }

    /// Takes a thread out of the queue of those that wait for a token.
    pub fn remove_token_waiter(&mut self, thread: ThreadNo) {
        self.for_token.remove(&mut self.links, thread.index());
    }
}

impl Thread {
    const fn free() -> Self {
        Self {
            id: 0,
            process: ProcessNo::FIRST,
            state: State::Free,
            is_killed: false,
            context: None,
            exec: None,
            receiver: None,
        }
    }

    /// Returns a thread that is about to become ready.
    pub fn new(id: u32, process: ProcessNo, context: UserContext) -> Self {
        Self {
            id,
            process,
            state: State::Ready,
            context: Some(context),
            ..Self::free()
        }
    }

    /// Makes the entry free, and gives back what the thread had.
    pub fn clear(&mut self) {
        *self = Self::free();
    }

    /// Returns the registers.
    ///
    /// # Panics
    /// If a CPU has them.
    #[inline(always)]
    pub fn context(&mut self) -> &mut UserContext {
        self.context.as_mut().expect("the thread does not run")
    }
}

impl ThreadNo {
    fn index(self) -> usize {
        self.0.into()
    }
}

impl Index<ThreadNo> for Threads {
    type Output = Thread;

    fn index(&self, number: ThreadNo) -> &Thread {
        &self.entries[number.index()]
    }
}

impl IndexMut<ThreadNo> for Threads {
    fn index_mut(&mut self, number: ThreadNo) -> &mut Thread {
        &mut self.entries[number.index()]
    }
}
