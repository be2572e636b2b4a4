// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests share: calls with any arguments, failures, children, threads.
#![expect(unsafe_code, reason = "makes system calls that can do anything")]

use core::ffi::CStr;

use nimbos_apps::system::{self, Error, Fork};

/// Size of a thread's stack.
const STACK_LEN: usize = 4 << 10;
/// Addresses at which no program can have anything.
pub const BAD_ADDRESSES: [u64; 3] = [0x1000, 0x4210_0000, 0xffff_8000_0000_0000];

/// Why a test failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What was looked at.
    pub what: &'static str,
    /// What it was.
    pub value: i64,
}

/// What a test gives.
pub type Check = Result<(), Failure>;

impl From<Error> for Failure {
    fn from(Error(value): Error) -> Self {
        let what = "a call that must not fail";
        Self { what, value }
    }
}

/// Makes a system call; arguments that are not given are 0.
pub fn call<const N: usize>(number: u64, given: [u64; N]) -> i64 {
    let mut arguments = [0; 6];
    arguments[..N].copy_from_slice(&given);
    // SAFETY: the tests pass addresses of what may be written and is long enough, or such that the kernel has to refuse.
    unsafe { system::call6(number, arguments) }
}

/// Returns the address of a path.
pub fn path(path: &CStr) -> u64 {
    path.as_ptr().expose_provenance() as u64
}

/// Returns the address of what a call reads.
pub fn from<T: ?Sized>(value: &T) -> u64 {
    core::ptr::from_ref(value).expose_provenance() as u64
}

/// Returns the address of what a call writes.
pub fn into<T: ?Sized>(value: &mut T) -> u64 {
    core::ptr::from_mut(value).expose_provenance() as u64
}

/// Fails unless the call had this result.
pub fn is(what: &'static str, value: i64, expected: i64) -> Check {
    if value == expected {
        Ok(())
    } else {
        Err(Failure { what, value })
    }
}

/// Fails if the call failed; returns its result.
pub fn works(what: &'static str, value: i64) -> Result<u64, Failure> {
    u64::try_from(value).map_err(|_| Failure { what, value })
}

/// Fails unless it holds.
pub fn holds(what: &'static str, holds: bool) -> Check {
    is(what, holds.into(), 1)
}

/// Runs `work` in a process of its own and returns the status with which that ends: 0 if it succeeded.
pub fn in_child(work: impl FnOnce() -> Check) -> Check {
    match system::fork()? {
        Fork::Child => {
            let status = match work() {
                Ok(()) => 0,
                Err(Failure { what, value }) => {
                    nimbos_apps::eprint!("fwdtest: in the child: {what}: {value}\n");
                    1
                }
            };
            system::exit(status)
        }
        Fork::Parent { child } => {
            let (_, status) = system::wait(child)?;
            is("status of the child", status.into(), 0)
        }
    }
}

/// Starts threads on new stacks, which stay for as long as the process.
pub fn threads(count: usize, run: extern "C" fn(usize) -> !, argument: usize) -> Check {
    threads_in_turn(count, run, |_| argument, |_| Ok(()))
}

/// Does that with an argument for each, and after each calls `then`.
pub fn threads_in_turn(
    count: usize,
    run: extern "C" fn(usize) -> !,
    argument: impl Fn(usize) -> usize,
    mut then: impl FnMut(usize) -> Check,
) -> Check {
    let stacks = system::map(count * STACK_LEN)?;
    for number in 0..count {
        // SAFETY: each has its part of the new memory; the tests share by atomics only.
        unsafe {
            let top = stacks.add((number + 1) * STACK_LEN);
            system::spawn(top, run, argument(number))?;
        }
        then(number)?;
    }
    Ok(())
}

/// Lets others run until it holds, for at most a minute.
pub fn until(what: &'static str, mut is_so: impl FnMut() -> bool) -> Check {
    let end = system::time_ms() + 60_000;
    while !is_so() {
        holds(what, system::time_ms() < end)?;
        system::sleep_ms(1)?;
    }
    Ok(())
}
