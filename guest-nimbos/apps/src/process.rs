// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes and threads.
#![expect(
    unsafe_code,
    reason = "gives a thread its stack, and what it calls by way of it"
)]

use core::ffi::CStr;

use nimbos::abi::{SIGKILL, STATUS_SIGNAL};

use crate::system::{self, Error, Fork};

/// Most arguments of a program that is executed from here.
pub const MAX_ARGUMENTS: usize = 64;
/// Any child, for the kernel.
const ANY: i32 = -1;
/// Size of a thread's stack.
pub const THREAD_STACK_LEN: usize = 64 << 10;

/// How a process ended: its exit status, or 128 and the number of the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub i32);

impl ExitStatus {
    /// Of a process that was killed.
    pub const KILLED: Self = Self(STATUS_SIGNAL + SIGKILL);

    /// Tells whether all was well.
    pub fn is_success(self) -> bool {
        self.0 == 0
    }
}

/// Forks, and has the child run `main` and end with its result. The two share open files, not memory. Returns the child's
/// number.
pub fn run(main: impl FnOnce() -> i32) -> Result<u32, Error> {
    match system::fork()? {
        Fork::Child => system::exit(main()),
        Fork::Parent { child } => Ok(child as u32),
    }
}

/// Runs another program in this process: from the archive, or with a `/` in its name from a file of Linux. Returns only
/// if that fails.
pub fn execute<'a>(program: &CStr, arguments: impl Iterator<Item = &'a CStr>) -> Error {
    let address = |text: &CStr| text.as_ptr().expose_provenance() as u64;
    // One entry at least is left 0.
    let mut list = [0; MAX_ARGUMENTS + 1];
    for (number, argument) in arguments.enumerate() {
        if number == MAX_ARGUMENTS {
            return Error::TOO_BIG;
        }
        list[number] = address(argument);
    }
    system::exec_at(address(program), list.as_ptr().expose_provenance() as u64)
}

/// Waits until a child ends.
pub fn wait(process: u32) -> Result<ExitStatus, Error> {
    system::wait(number(process)?).map(|(_, status)| ExitStatus(status))
}

/// Waits until any child ends; returns its number too.
pub fn wait_any() -> Result<(u32, ExitStatus), Error> {
    system::wait(ANY).map(|(process, status)| (process as u32, ExitStatus(status)))
}

/// Returns a child that has ended, if one has.
pub fn try_wait_any() -> Result<Option<(u32, ExitStatus)>, Error> {
    let ended = system::try_wait(ANY)?;
    Ok(ended.map(|(process, status)| (process as u32, ExitStatus(status))))
}

/// Ends a process with a signal; 0 only asks whether there is one.
pub fn kill(process: u32, signal: u32) -> Result<(), Error> {
    system::kill(number(process)?, signal.into())
}

/// Returns a process's number as the kernel takes it; negative ones mean several.
fn number(process: u32) -> Result<i32, Error> {
    i32::try_from(process).map_err(|_| Error::NO_PROCESS)
}

/// What a new thread finds at the beginning of its stack's memory.
struct Task {
    main: fn(usize),
    argument: usize,
}

/// Starts a thread that calls `main` with `argument` and ends when that returns; returns its number. It has a stack of
/// [`THREAD_STACK_LEN`] bytes, which is not used again after its end.
pub fn spawn_thread(main: fn(usize), argument: usize) -> Result<u32, Error> {
    let memory = system::map(THREAD_STACK_LEN)?;
    let task = memory.cast::<Task>();
    // SAFETY: the memory is this thread's alone, of whole pages, and never given back; the stack grows down from its end.
    let thread = unsafe {
        task.write(Task { main, argument });
        system::spawn(
            memory.add(THREAD_STACK_LEN),
            run_task,
            task.expose_provenance(),
        )
    };
    thread.map(|thread| thread as u32)
}

extern "C" fn run_task(task: usize) -> ! {
    // SAFETY: `spawn_thread` has put it there, and nobody else uses it.
    let Task { main, argument } =
        unsafe { core::ptr::with_exposed_provenance::<Task>(task).read() };
    main(argument);
    system::exit_thread(0)
}
