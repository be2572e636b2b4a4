// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests share: failures, children, threads.
#![expect(unsafe_code, reason = "makes system calls that can do anything")]

use nimbos_apps::abi::{SIGKILL, SIGSEGV, STATUS_SIGNAL};
use nimbos_apps::system::{self, Error, Fork};

/// Why a test failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure(pub &'static str);

/// What a test gives.
pub type Check = Result<(), Failure>;

/// Status of a process that a fault has ended.
pub const FAULTED: i32 = STATUS_SIGNAL + SIGSEGV;
/// Status of a process that was killed.
pub const KILLED: i32 = STATUS_SIGNAL + SIGKILL;
/// Size of a thread's stack.
pub const STACK_LEN: usize = 16 << 10;

/// An address of the kernel's.
pub const KERNEL_ADDRESS: u64 = 0x4210_0000;
/// An address that no pointer can have.
pub const NON_CANONICAL: u64 = 0x8000_0000_0000_0000;
/// Addresses at which no program can have anything.
pub const BAD_ADDRESSES: [u64; 6] = [
    0,
    0x1000,
    KERNEL_ADDRESS,
    NON_CANONICAL,
    0xffff_8000_0000_0000,
    u64::MAX,
];

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(match error {
            Error::AGAIN => "a call gave -EAGAIN",
            Error::NO_MEMORY => "a call gave -ENOMEM",
            Error::NO_CHILD => "a call gave -ECHILD",
            Error::FAULT => "a call gave -EFAULT",
            Error::INVALID => "a call gave -EINVAL",
            Error::IO => "a call gave -EIO",
            _ => "a call gave another error than it may",
        })
    }
}

/// Fails with `why` unless `holds`.
pub fn ensure(holds: bool, why: &'static str) -> Check {
    if holds { Ok(()) } else { Err(Failure(why)) }
}

/// Does a system call with these three arguments; its result is all that matters.
pub fn raw(number: u64, arguments: [u64; 3]) -> i64 {
    let [first, second, third] = arguments;
    // SAFETY: the tests pass addresses of what may be written, or such that the kernel has to refuse.
    unsafe { system::call(number, first, second, third) }
}

/// Runs `work` in a process of its own, which ends with its result; returns the number of the process.
pub fn child(work: impl FnOnce() -> i32) -> Result<i32, Failure> {
    match system::fork()? {
        Fork::Child => system::exit(work()),
        Fork::Parent { child } => Ok(child),
    }
}

/// Runs `work` in a process of its own and returns the status with which that ends.
pub fn status_of(work: impl FnOnce() -> i32) -> Result<i32, Failure> {
    let pid = child(work)?;
    status(pid)
}

/// Waits for a child and returns its status.
pub fn status(pid: i32) -> Result<i32, Failure> {
    let (child, status) = system::wait(pid)?;
    ensure(child == pid, "waitpid returned another child")?;
    Ok(status)
}

/// Kills a child and waits for it.
pub fn end(pid: i32) -> Check {
    system::kill(pid, SIGKILL as u64)?;
    ensure(status(pid)? == KILLED, "a killed child has another status")
}

/// Starts a thread on a new stack.
pub fn thread(run: extern "C" fn(usize) -> !, argument: usize) -> Result<i32, Failure> {
    let stack = system::map(STACK_LEN)?;
    // SAFETY: the stack is new and stays; the tests share by atomics only.
    let id = unsafe { system::spawn(stack.add(STACK_LEN), run, argument)? };
    Ok(id)
}

/// Lets others run until `holds`, for at most ten seconds.
pub fn until(why: &'static str, mut holds: impl FnMut() -> bool) -> Check {
    let end = system::time_ms() + 10_000;
    while !holds() {
        ensure(system::time_ms() < end, why)?;
        system::yield_now();
    }
    Ok(())
}
