// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of forwarded calls: by the kernel, or by a ring of this process's own.
//!
//! A program begins on the kernel path: a system call, and the kernel forwards it. After [`open`] the calls of its first thread
//! that the server does travel on the user path: this module puts them into the process's ring and posts to the server by
//! SENDUIPI, the server's answer is a user interrupt of this thread, and no kernel is on the way. The functions of this library are
//! the same for both. [`close`] goes back.
//!
//! What stays with the kernel: calls about the descriptors 0 to 2, which may be the cell's own console, and those that give a
//! descriptor another number (dup, fcntl), because the kernel keeps account of what is the console; calls of other threads; calls
//! that a handler makes while the first thread is in one. If the server goes, the call under way fails with EIO, and all calls
//! take the kernel path from then on.
//!
//! [`Lent`] is a buffer of the ring itself: what a program puts there is written without a copy in NimbOS.
#![expect(
    unsafe_code,
    reason = "uses memory that the server writes to, and the user-interrupt instructions"
)]

mod memory;
mod ring;

use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nimbos::abi::number;
use nimbos::layout::{USER_END, USER_STACK_BOTTOM};

use crate::system::Error;
use ring::Ring;

/// The process's ring.
static RING: Shared = Shared(UnsafeCell::new(None));
/// Whether there is one.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Whether somebody uses it.
static IS_IN_USE: AtomicBool = AtomicBool::new(false);
/// Posts to the server.
static SENT: AtomicU64 = AtomicU64::new(0);
/// User interrupts of the server that have come.
static RECEIVED: AtomicU64 = AtomicU64::new(0);

struct Shared(UnsafeCell<Option<Ring>>);

// SAFETY: only who has set IS_IN_USE accesses the cell.
unsafe impl Sync for Shared {}

/// The right to use the ring.
struct Turn;

impl Turn {
    /// Takes it, unless somebody has it. Only the first thread gets it: the server posts to that one.
    fn take() -> Option<Self> {
        let is_free = is_first_thread() && !IS_IN_USE.swap(true, Ordering::Acquire);
        // Made only then: its drop gives the right back.
        is_free.then(|| Self)
    }

    fn ring(&mut self) -> &mut Option<Ring> {
        // SAFETY: this object is the only one while it lives, and lends the ring no longer than itself.
        unsafe { &mut *RING.0.get() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_IN_USE.store(false, Ordering::Release);
    }
}

/// Tells by its stack whether this is the first thread: others have theirs elsewhere.
fn is_first_thread() -> bool {
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    (USER_STACK_BOTTOM..USER_END).contains(&rsp)
}

/// Takes the user path from now on. The thread becomes a receiver of user interrupts with a handler of this module's, and its
/// delivery is allowed.
///
/// # Errors
/// `BUSY` if the thread is a receiver already, if it has a ring, or if there is none; `IO` without a server; `INVALID` for
/// another thread than the first.
pub fn open() -> Result<(), Error> {
    let mut turn = Turn::take().ok_or(Error::INVALID)?;
    if turn.ring().is_some() {
        return Err(Error::BUSY);
    }
    *turn.ring() = Some(Ring::open()?);
    IS_OPEN.store(true, Ordering::Relaxed);
    Ok(())
}

/// Takes the kernel path from now on.
///
/// # Errors
/// `INVALID` if it is taken already.
pub fn close() -> Result<(), Error> {
    let mut turn = Turn::take().ok_or(Error::INVALID)?;
    let ring = turn.ring().take().ok_or(Error::INVALID)?;
    IS_OPEN.store(false, Ordering::Relaxed);
    ring.close();
    Ok(())
}

/// In a child: the ring is the parent's.
pub(crate) fn forget() {
    if let Some(mut turn) = Turn::take() {
        IS_OPEN.store(false, Ordering::Relaxed);
        *turn.ring() = None;
    }
}

/// Tells whether calls take the user path.
pub fn is_open() -> bool {
    IS_OPEN.load(Ordering::Relaxed)
}

/// Returns how often this process has posted to the server.
pub fn sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

/// Returns how many user interrupts of the server have come to this process.
pub fn received() -> u64 {
    RECEIVED.load(Ordering::Relaxed)
}

/// Makes a call that the server does, if it can take the user path. Otherwise it is for the kernel.
///
/// # Safety
/// What is written for this call is memory that may be written.
#[inline(always)]
pub(crate) unsafe fn call(number: u64, args: [u64; 6]) -> Option<i64> {
    if !is_open() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { call_by_ring(number, args) }
}

unsafe fn call_by_ring(number: u64, args: [u64; 6]) -> Option<i64> {
    let mut turn = Turn::take()?;
    let ring = turn.ring().as_mut()?;
    let result = match number {
        number::FORWARD_NULL => ring.null(),
        // SAFETY: the caller's promise.
        number => unsafe { ring.linux(number, args)? },
    };
    Some(result.unwrap_or_else(|lost| {
        if let Some(ring) = turn.ring().take() {
            IS_OPEN.store(false, Ordering::Relaxed);
            ring.close();
        }
        lost.0
    }))
}

/// A buffer of the ring that is lent to the program: the server reads and writes it where it is.
#[derive(Debug)]
pub struct Lent {
    token: Option<forward_ring::Token>,
    words: &'static [AtomicU64],
    /// The ring that it is of.
    generation: u64,
}

impl Lent {
    /// Asks for one. It is as long as the ring's buffers are, at least a page.
    ///
    /// # Errors
    /// `INVALID` on the kernel path; `AGAIN` if all are lent.
    pub fn new() -> Result<Self, Error> {
        let mut turn = Turn::take().ok_or(Error::INVALID)?;
        let ring = turn.ring().as_mut().ok_or(Error::INVALID)?;
        let (token, words) = ring.lend().ok_or(Error::AGAIN)?;
        Ok(Self {
            token: Some(token),
            words,
            generation: ring.generation(),
        })
    }

    /// Returns its content, in words: while a call is under way the server may change them, and a bad one at any time.
    /// After [`close`] they are not memory any more.
    pub fn words(&self) -> &[AtomicU64] {
        self.words
    }

    /// Writes its first `len` bytes to a file, once; returns how many.
    pub fn write_to(&mut self, fd: i32, len: usize) -> Result<usize, Error> {
        self.transfer(number::WRITE, fd, len)
    }

    /// Reads at most `len` bytes of a file to its beginning; returns how many.
    pub fn read_from(&mut self, fd: i32, len: usize) -> Result<usize, Error> {
        self.transfer(number::READ, fd, len)
    }

    fn transfer(&mut self, call: u64, fd: i32, len: usize) -> Result<usize, Error> {
        let mut turn = Turn::take().ok_or(Error::INVALID)?;
        let ring = turn.ring().as_mut().ok_or(Error::INVALID)?;
        let token = self.token.take_if(|_| ring.generation() == self.generation);
        let token = token.ok_or(Error::INVALID)?;
        let len = len.min(size_of_val(self.words));
        let (token, result) = ring.transfer(token, call, fd, len)?;
        self.token = Some(token);
        match usize::try_from(result) {
            Ok(count) if count <= len => Ok(count),
            Ok(_) => Err(Error::IO),
            Err(_) => Err(Error(result)),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(mut turn) = Turn::take()
            && let Some(ring) = turn.ring().as_mut()
            && ring.generation() == self.generation
            && let Some(token) = self.token.take()
        {
            ring.release(token);
        }
    }
}
