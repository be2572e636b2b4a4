// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts: handlers, senders, and waiting.
//!
//! A thread becomes a receiver with a handler, which [`interrupt_handler!`] makes of a function. A sender has an index, which
//! [`Sender`] keeps. Delivery is allowed between [`allow_delivery`] and [`hold_delivery`]; that is the mask of all vectors, there
//! is none of single ones. To wait: hold delivery, look whether there is still something to wait for, [`wait`], allow delivery.
//!
//! [`interrupt_handler!`]: crate::interrupt_handler!
#![expect(unsafe_code, reason = "executes the user-interrupt instructions")]

use core::time::Duration;

use nimbos::abi::TimeSpec;
use uintr::instructions;

use crate::system::Error;
use crate::system::uintr as calls;

pub use crate::system::uintr::{
    Entry, allow, set_alarm, set_alarm_at, set_alarm_interrupt, stop_alarm, unregister_handler,
};

/// Bytes below the stack pointer that compiled code may use without moving it. (System V ABI, "The Stack Frame")
pub const RED_ZONE: u64 = 128;
/// Bytes of the extended state that handlers save: x87, SSE, AVX and AVX-512, and the header. (SDM 1, "XSAVE Area")
pub const XSTATE_LEN: usize = 2688;
/// The components of it.
pub const XSTATE_COMPONENTS: u32 = 0xe7;

/// Makes a handler of user interrupts, `$name`, of a function `fn(vector: u64)`. All registers are preserved, the vector registers
/// too.
#[macro_export]
macro_rules! interrupt_handler {
    ($name:ident, $function:path) => {
        /// Where the processor enters, with its frame on the stack: vector, RIP, RFLAGS, RSP.
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            extern "C" fn call(vector: u64) {
                $function(vector);
            }
            core::arch::naked_asm!(
                "push rax",
                "push rcx",
                "push rdx",
                "push rsi",
                "push rdi",
                "push r8",
                "push r9",
                "push r10",
                "push r11",
                "push rbx",
                "mov rbx, rsp",
                "sub rsp, {area}",
                "and rsp, -64",
                "xor eax, eax",
                "mov [rsp + 512], rax",
                "mov [rsp + 520], rax",
                "mov [rsp + 528], rax",
                "mov [rsp + 536], rax",
                "mov [rsp + 544], rax",
                "mov [rsp + 552], rax",
                "mov [rsp + 560], rax",
                "mov [rsp + 568], rax",
                "mov eax, {components}",
                "xor edx, edx",
                "xsave64 [rsp]",
                "cld",
                "mov rdi, [rbx + 80]",
                "call {call}",
                "mov eax, {components}",
                "xor edx, edx",
                "xrstor64 [rsp]",
                "mov rsp, rbx",
                "pop rbx",
                "pop r11",
                "pop r10",
                "pop r9",
                "pop r8",
                "pop rdi",
                "pop rsi",
                "pop rdx",
                "pop rcx",
                "pop rax",
                "add rsp, 8",
                "uiret",
                area = const $crate::interrupt::XSTATE_LEN,
                components = const $crate::interrupt::XSTATE_COMPONENTS,
                call = sym call,
            )
        }
    };
}

/// Makes a handler of alarms, `$name`, of a function `fn()`. The kernel preserves the registers.
#[macro_export]
macro_rules! alarm_handler {
    ($name:ident, $function:path) => {
        unsafe extern "C" fn $name() {
            $function();
            let error = $crate::system::uintr::return_from_alarm();
            panic!("no alarm to return from: {error}");
        }
    };
}

/// Makes this thread a receiver, with delivery held.
///
/// # Safety
/// The handler is one that `interrupt_handler!` has made or that does as such a one does; its function may run wherever delivery
/// is allowed.
pub unsafe fn register_handler(handler: Entry) -> Result<(), Error> {
    // SAFETY: the caller's promise; the frame goes below the red zone.
    unsafe { calls::register_handler(handler, RED_ZONE) }
}

/// Waits until a user interrupt is pending; it is delivered as soon as that is allowed.
pub fn wait() -> Result<(), Error> {
    calls::wait(None)
}

/// Waits until a user interrupt is pending, and tells whether one is after that time at most.
pub fn wait_for(time: Duration) -> Result<bool, Error> {
    let time = TimeSpec {
        seconds: time.as_secs(),
        nanoseconds: time.subsec_nanos().into(),
    };
    match calls::wait(Some(time)) {
        Ok(()) => Ok(true),
        Err(Error::TIMED_OUT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Allows delivery (UIF = 1). What is pending comes at once.
///
/// # Safety
/// The processor has user interrupts.
pub unsafe fn allow_delivery() {
    // SAFETY: the kernel has enabled the instruction. If there is a handler, its registration promised what it has to.
    unsafe { instructions::stui() };
}

/// Holds delivery (UIF = 0).
///
/// # Safety
/// The processor has user interrupts.
pub unsafe fn hold_delivery() {
    // SAFETY: the kernel has enabled the instruction.
    unsafe { instructions::clui() };
}

/// Tells whether delivery is allowed.
///
/// # Safety
/// The processor has user interrupts.
pub unsafe fn is_delivery_allowed() -> bool {
    // SAFETY: the kernel has enabled the instruction.
    unsafe { instructions::testui() }
}

/// The right to post one vector to one thread.
#[derive(Debug)]
pub struct Sender {
    index: u64,
}

impl Sender {
    /// Asks for the right; the thread must have allowed it to this process, or be one of it.
    pub fn new(thread: u32, vector: u8) -> Result<Self, Error> {
        let index = calls::register_sender(thread, vector.into())?;
        Ok(Self { index })
    }

    /// Posts. To a receiver that has ended this does nothing.
    pub fn send(&self) {
        // SAFETY: the kernel has made the entry valid, and it stays so as long as this object.
        unsafe { instructions::senduipi(self.index) };
    }

    /// Returns the index for SENDUIPI.
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // It is in use, so this cannot fail.
        let _ = calls::unregister_sender(self.index);
    }
}
