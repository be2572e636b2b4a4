// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process's ring: one call after the other.

use core::arch::naked_asm;
use core::hint::spin_loop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use forward_ring::syscall::{Arg, Signature, finish, prepare, signature};
use forward_ring::{Call, Client, Geometry, Mapping, Message, Token};
use nimbos::abi::RingInfo;
use uintr::instructions;

use super::memory::OwnMemory;
use super::{RECEIVED, SENT};
use crate::interrupt::RED_ZONE;
use crate::system::{Error, uintr as calls};

/// User vector that the server posts.
const VECTOR: u64 = 0;
/// How often the ring is looked at before the thread waits: longer than a server takes that runs.
const SPINS: u32 = 2_000;
/// Descriptors below may be the cell's own console.
const FIRST_FILE: u32 = 3;
/// Linux's numbers of calls that give a descriptor another number: dup, dup2, fcntl, dup3.
const RENUMBERING: [u64; 4] = [32, 33, 72, 292];

/// Counts the rings that this process has had.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A ring that the kernel has given to this process.
#[derive(Debug)]
pub struct Ring {
    client: Client,
    index: u64,
    generation: u64,
}

/// The server is gone, or has broken the ring.
#[derive(Clone, Copy, Debug)]
pub struct Lost(pub i64);

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        Self(lost.0)
    }
}

impl Ring {
    /// Asks the kernel for a ring, and becomes a receiver.
    pub fn open() -> Result<Self, Error> {
        // SAFETY: the handler preserves all registers and changes one counter.
        unsafe { calls::register_channel_handler(handler, RED_ZONE) }?;
        let info = calls::ring_open(VECTOR).inspect_err(|_| {
            // It was registered just now.
            let _ = calls::unregister_handler();
        })?;
        let RingInfo {
            address,
            channel_size,
            index,
        } = info;
        let base = NonNull::new(core::ptr::with_exposed_provenance_mut(address as usize));
        let geometry = Geometry::for_channel(channel_size).map_err(|_| Error::IO)?;
        let base = base.ok_or(Error::IO)?;
        // SAFETY: the kernel has just mapped the ring's region there, which begins at a page and is as long as the geometry says,
        // for this process alone. It stays until `close`, which consumes this object.
        let mapping = unsafe { Mapping::new(base, geometry) };
        // SAFETY: the kernel has registered the handler, so the instruction is enabled.
        unsafe { instructions::stui() };
        Ok(Self {
            client: Client::new(mapping),
            index,
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Gives it back to the kernel.
    pub fn close(self) {
        // Both were given, so this cannot fail.
        let _ = calls::ring_close();
        let _ = calls::unregister_handler();
    }

    /// Returns a number that no other ring of this process has.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes the call that does nothing.
    #[inline(always)]
    pub fn null(&mut self) -> Result<i64, Lost> {
        let token = self.token()?;
        let (token, result) = self.exchange(token, &Call::Null.encode())?;
        self.client.release(token);
        Ok(result)
    }

    /// Makes one of Linux's calls, or returns `None` if it is not for the ring.
    ///
    /// # Safety
    /// What is written for this call is memory that may be written.
    pub unsafe fn linux(&mut self, number: u64, args: [u64; 6]) -> Option<Result<i64, Lost>> {
        let signature = u32::try_from(number).ok().and_then(signature)?;
        let is_for_kernel = RENUMBERING.contains(&number)
            || signature.args.first() == Some(&Arg::Fd) && (args[0] as u32) < FIRST_FILE;
        if is_for_kernel {
            return None;
        }
        // SAFETY: the caller's promise.
        let mut memory = unsafe { OwnMemory::new() };
        Some(self.linux_with(&mut memory, number as u32, signature, args))
    }

    fn linux_with(
        &mut self,
        memory: &mut OwnMemory,
        number: u32,
        signature: &'static Signature,
        args: [u64; 6],
    ) -> Result<i64, Lost> {
        let token = self.token()?;
        let prepared = match prepare(signature, args, memory, &self.client.buffer(&token)) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.client.release(token);
                return Ok(error);
            }
        };
        let message = Message::new(number, &prepared.args());
        let (token, result) = self.exchange(token, &message)?;
        let result = finish(&prepared, result, memory, &self.client.buffer(&token));
        self.client.release(token);
        Ok(result)
    }

    /// Reads or writes the buffer of a token.
    pub fn transfer(
        &mut self,
        token: Token,
        call: u64,
        fd: i32,
        len: usize,
    ) -> Result<(Token, i64), Lost> {
        // The buffer's beginning is its offset 0.
        let args = [i64::from(fd) as u64, 0, len as u64];
        self.exchange(token, &Message::new(call as u32, &args))
    }

    /// Lends a buffer, of which one is kept for calls.
    pub fn lend(&mut self) -> Option<(Token, &'static [AtomicU64])> {
        let token = self.client.reserve().ok()?;
        let Ok(spare) = self.client.reserve() else {
            self.client.release(token);
            return None;
        };
        self.client.release(spare);
        let buffer = self.client.buffer(&token);
        // SAFETY: the buffer is of whole pages in the ring's region, and accessed by atomics only, here and in `forward_ring`.
        let words = unsafe {
            core::slice::from_raw_parts(buffer.as_ptr().cast(), buffer.len() / size_of::<u64>())
        };
        Some((token, words))
    }

    /// Takes a buffer back.
    pub fn release(&mut self, token: Token) {
        self.client.release(token);
    }

    #[inline(always)]
    fn token(&mut self) -> Result<Token, Lost> {
        // One is never lent.
        self.client.reserve().map_err(|_| Lost(Error::IO.0))
    }

    /// Sends a request, and waits for its answer.
    #[inline(always)]
    fn exchange(&mut self, token: Token, message: &Message) -> Result<(Token, i64), Lost> {
        if self.client.submit(token, message).notify {
            // SAFETY: the kernel has made the entry valid, and it stays so as long as this object.
            unsafe { instructions::senduipi(self.index) };
            // Nobody else counts.
            SENT.store(SENT.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        loop {
            match self.client.poll() {
                // One call at a time: it is the answer.
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => self.wait()?,
                Err(_) => return Err(Lost(Error::IO.0)),
            }
        }
    }

    /// Waits for an answer: looks for it a while, and sleeps if there is none.
    #[inline(always)]
    fn wait(&self) -> Result<(), Lost> {
        for _ in 0..SPINS {
            if self.client.has_completions() {
                return Ok(());
            }
            spin_loop();
        }
        self.sleep()
    }

    #[cold]
    fn sleep(&self) -> Result<(), Lost> {
        // SAFETY: the instructions are enabled, and the handler is fit to run anywhere.
        unsafe {
            // With delivery held, an interrupt that comes from now on ends the wait, and is not taken before it.
            instructions::clui();
            let result = match self.client.has_completions() {
                true => Ok(()),
                false => calls::wait(None),
            };
            instructions::stui();
            result.map_err(|error| Lost(error.0))
        }
    }
}

/// Counts. INC changes flags, which UIRET restores.
#[unsafe(naked)]
unsafe extern "C" fn handler() {
    naked_asm!(
        "inc qword ptr [rip + {received}]",
        "add rsp, 8",
        "uiret",
        received = sym RECEIVED,
    )
}
