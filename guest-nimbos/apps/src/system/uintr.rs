// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls about user interrupts and alarms.

use nimbos::abi::{ALARM_USER_INTERRUPT, RingInfo, TimeSpec, UINTR_CHANNEL, number};

use super::{Error, checked, invoke};

/// A function that the processor or the kernel calls by itself, in the midst of others.
pub type Entry = unsafe extern "C" fn();

/// Makes this thread a receiver of user interrupts, with UIF = 0. `stack_adjust` is IA32_UINTR_STACKADJUST: bytes below the
/// interrupted stack pointer, or the top of a stack plus 1.
///
/// # Safety
/// The handler takes the processor's frame, preserves all registers and ends with UIRET; it is fit to run wherever UIF is 1.
/// With `stack_adjust` it does not write to memory in use.
pub unsafe fn register_handler(handler: Entry, stack_adjust: u64) -> Result<(), Error> {
    register_handler_at((handler as *const ()).addr() as u64, stack_adjust, 0)
}

/// Does the same for a thread to which the channel's server shall be able to post.
///
/// # Safety
/// As for [`register_handler`].
pub unsafe fn register_channel_handler(handler: Entry, stack_adjust: u64) -> Result<(), Error> {
    let address = (handler as *const ()).addr() as u64;
    register_handler_at(address, stack_adjust, UINTR_CHANNEL)
}

/// Does the same with any address and any flags at all; the kernel checks them. The caller is answerable for UIF.
pub fn register_handler_at(handler: u64, stack_adjust: u64, flags: u64) -> Result<(), Error> {
    let args = [handler, stack_adjust, flags];
    // SAFETY: the kernel writes nothing, and nothing is delivered before STUI.
    checked(unsafe { invoke(number::UINTR_REGISTER_HANDLER, args) }).map(drop)
}

/// Makes this thread no receiver any more.
pub fn unregister_handler() -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::UINTR_UNREGISTER_HANDLER, []) }).map(drop)
}

/// Returns an index with which SENDUIPI posts `vector` to a thread.
pub fn register_sender(thread: u32, vector: u64) -> Result<u64, Error> {
    let args = [thread.into(), vector];
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::UINTR_REGISTER_SENDER, args) }).map(|index| index as u64)
}

/// Gives an index back.
pub fn unregister_sender(index: u64) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::UINTR_UNREGISTER_SENDER, [index]) }).map(drop)
}

/// Waits until a user interrupt is pending, for the time given at most.
pub fn wait(time: Option<TimeSpec>) -> Result<(), Error> {
    let address = match &time {
        None => 0,
        Some(time) => core::ptr::from_ref(time).expose_provenance() as u64,
    };
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::UINTR_WAIT, [address]) }).map(drop)
}

/// Lets a process post `vector` to this thread; see [`number::UINTR_ALLOW`].
pub fn allow(vector: u64, process: u64) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::UINTR_ALLOW, [vector, process]) }).map(drop)
}

/// Returns a ring of the channel for this process; the server posts `vector` to this thread.
pub fn ring_open(vector: u64) -> Result<RingInfo, Error> {
    let mut info = RingInfo::default();
    let address = (&raw mut info).expose_provenance() as u64;
    ring_open_at(address, vector).map(|()| info)
}

/// Does that with any address at all; the kernel checks it.
pub fn ring_open_at(address: u64, vector: u64) -> Result<(), Error> {
    // SAFETY: the kernel writes a `RingInfo` where the caller wants it, or nothing.
    checked(unsafe { invoke(number::RING_OPEN, [address, vector]) }).map(drop)
}

/// Gives the ring back.
pub fn ring_close() -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::RING_CLOSE, []) }).map(drop)
}

/// Has `handler` called after every so many ticks of this process's CPU time.
///
/// # Safety
/// The handler ends with [`return_from_alarm`], and is fit to run in the midst of whatever comes.
pub unsafe fn set_alarm(ticks: u64, handler: Entry) -> Result<(), Error> {
    set_alarm_at(ticks, (handler as *const ()).addr() as u64, 0)
}

/// Has a user interrupt of this thread come after every so many ticks of this process's CPU time.
pub fn set_alarm_interrupt(ticks: u64, vector: u64) -> Result<(), Error> {
    set_alarm_at(ticks, vector, ALARM_USER_INTERRUPT)
}

/// Stops the alarm.
pub fn stop_alarm() -> Result<(), Error> {
    set_alarm_at(0, 0, 0)
}

/// Does the same with any address and any flags at all; the kernel checks them. The caller is answerable for what comes.
pub fn set_alarm_at(ticks: u64, handler: u64, flags: u64) -> Result<(), Error> {
    let args = [ticks, handler, flags];
    // SAFETY: the kernel writes nothing; what it calls is the caller's affair.
    checked(unsafe { invoke(number::SIGALARM, args) }).map(drop)
}

/// Ends the handler of an alarm. Comes back only if none runs.
pub fn return_from_alarm() -> Error {
    // SAFETY: the kernel writes nothing.
    let result = unsafe { invoke(number::SIGRETURN, []) };
    Error(result)
}
