// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls, one function each. Results below 0 are error numbers; see [`nimbos::abi`].
#![expect(unsafe_code, reason = "enters the kernel")]

use core::arch::asm;
use core::ffi::CStr;

use nimbos::abi::{ProcessInfo, TIMER_ABSTIME, TimeSpec, WNOHANG, map, number};

pub mod files;
pub mod sockets;
pub mod uintr;

use crate::channel;
pub use crate::error::Error;

/// On which side of a `fork` a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The one that made the call.
    Parent {
        /// The new one's number.
        child: i32,
    },
}

/// Reads at most as many bytes as `into` has; returns how many. May be fewer.
pub fn read(fd: i32, into: &mut [u8]) -> Result<usize, Error> {
    // SAFETY: the kernel writes to `into` only.
    let result = unsafe {
        call(
            number::READ,
            int(fd),
            into.as_mut_ptr().expose_provenance() as u64,
            into.len() as u64,
        )
    };
    checked(result).map(|count| count as usize)
}

/// Writes at most as many bytes as `from` has; returns how many. May be fewer.
pub fn write(fd: i32, from: &[u8]) -> Result<usize, Error> {
    write_at(
        fd,
        from.as_ptr().expose_provenance() as u64,
        from.len() as u64,
    )
}

/// Writes `len` bytes at any address at all; the kernel checks it.
pub fn write_at(fd: i32, address: u64, len: u64) -> Result<usize, Error> {
    // SAFETY: the kernel writes nothing.
    let result = unsafe { call(number::WRITE, int(fd), address, len) };
    checked(result).map(|count| count as usize)
}

/// Opens a file of Linux with Linux's flags and permissions; returns its descriptor.
pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<i32, Error> {
    // SAFETY: the kernel writes nothing.
    let result = unsafe {
        call(
            number::OPEN,
            path.as_ptr().expose_provenance() as u64,
            int(flags),
            mode.into(),
        )
    };
    checked(result).map(|fd| fd as i32)
}

/// Closes a file.
pub fn close(fd: i32) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { call(number::CLOSE, int(fd), 0, 0) }).map(drop)
}

/// Lets other processes run.
pub fn yield_now() {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::YIELD, 0, 0, 0) };
}

/// Returns the number of this process.
pub fn process_id() -> i64 {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::GETPID, 0, 0, 0) }
}

/// Returns the number of this process's parent, 0 for init.
pub fn parent_id() -> i64 {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::GETPPID, 0, 0, 0) }
}

/// Returns the number of this thread.
pub fn thread_id() -> i64 {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::GETTID, 0, 0, 0) }
}

/// Returns the number of the CPU on which this thread runs, or ran just now.
pub fn cpu() -> Result<u32, Error> {
    let mut cpu = 0_u32;
    let address = (&raw mut cpu).expose_provenance() as u64;
    // SAFETY: the kernel writes a number to the variable, and nothing for address 0.
    checked(unsafe { call(number::GETCPU, address, 0, 0) }).map(|_| cpu)
}

/// Ends the program, with all its threads.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { call(number::EXIT_GROUP, int(status), 0, 0) };
    }
}

/// Ends this thread; the last one ends the program.
pub fn exit_thread(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { call(number::EXIT, int(status), 0, 0) };
    }
}

/// Makes a process that is a copy of this one, with this thread only.
pub fn fork() -> Result<Fork, Error> {
    // SAFETY: the kernel writes nothing in this process, and the other one has its own memory.
    match checked(unsafe { call(number::FORK, 0, 0, 0) })? {
        0 => {
            channel::forget();
            Ok(Fork::Child)
        }
        child => Ok(Fork::Parent {
            child: child as i32,
        }),
    }
}

/// Starts a thread that calls `run(argument)` on the stack whose end is `stack`; returns its number.
///
/// # Safety
/// The memory below `stack`, which is a multiple of 16, is large enough for the thread and used by nobody else until it has
/// ended. What it shares with others it shares by atomics.
pub unsafe fn spawn(
    stack: *mut u8,
    run: extern "C" fn(usize) -> !,
    argument: usize,
) -> Result<i32, Error> {
    // SAFETY: the caller vouches for the memory.
    let start = unsafe {
        let start = stack.cast::<usize>().sub(2);
        start.write(run as usize);
        start.add(1).write(argument);
        start
    };
    let result: i64;
    // SAFETY: the new thread goes on with RSP = `start`, takes the two words, and does not come back; the other one goes on as
    // after any call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "pop rax",
            "pop rdi",
            "call rax",
            "ud2",
            "2:",
            inlateout("rax") number::CLONE => result,
            in("rdi") start.expose_provenance(),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    checked(result).map(|id| id as i32)
}

/// Makes this process another program. `arguments` are strings that end with NUL; without any the program gets its path.
pub fn exec(path: &CStr, arguments: &[&CStr]) -> Error {
    const MOST: usize = 15;
    let mut pointers = [0_u64; MOST + 1];
    if arguments.len() > MOST {
        return Error::TOO_BIG;
    }
    for (pointer, argument) in pointers.iter_mut().zip(arguments) {
        *pointer = argument.as_ptr().expose_provenance() as u64;
    }
    let argv = match arguments {
        [] => 0,
        _ => pointers.as_ptr().expose_provenance() as u64,
    };
    exec_at(path.as_ptr().expose_provenance() as u64, argv)
}

/// Does `exec` with any addresses at all; the kernel checks them.
pub fn exec_at(path: u64, argv: u64) -> Error {
    // SAFETY: the kernel writes nothing, or this program is no more.
    Error(unsafe { call(number::EXEC, path, argv, 0) })
}

/// Waits for a child, any for -1; returns its number and status.
pub fn wait(pid: i32) -> Result<(i32, i32), Error> {
    let mut status = 0;
    let address = (&raw mut status).expose_provenance() as u64;
    wait_at(pid, address, 0).map(|child| (child, status))
}

/// Looks whether a child has ended, any for -1; returns its number and status.
pub fn try_wait(pid: i32) -> Result<Option<(i32, i32)>, Error> {
    let mut status = 0;
    let address = (&raw mut status).expose_provenance() as u64;
    let child = wait_at(pid, address, WNOHANG)?;
    Ok((child != 0).then_some((child, status)))
}

/// Does `waitpid` with any address at all; the kernel checks it.
pub fn wait_at(pid: i32, status: u64, options: u64) -> Result<i32, Error> {
    // SAFETY: the callers above pass a variable; a program that passes another address means it.
    let result = unsafe { call(number::WAITPID, int(pid), status, options) };
    checked(result).map(|child| child as i32)
}

/// Ends a process by a signal; 0 asks whether it is there.
pub fn kill(pid: i32, signal: u64) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { call(number::KILL, int(pid), signal, 0) }).map(drop)
}

/// Sleeps for at least that time.
pub fn sleep(time: TimeSpec) -> Result<(), Error> {
    sleep_at((&raw const time).expose_provenance() as u64)
}

/// Sleeps for so many milliseconds at least.
pub fn sleep_ms(milliseconds: u64) -> Result<(), Error> {
    sleep(TimeSpec {
        seconds: milliseconds / 1000,
        nanoseconds: milliseconds % 1000 * 1_000_000,
    })
}

/// Does `nanosleep` with any address at all; the kernel checks it.
pub fn sleep_at(time: u64) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { call(number::NANOSLEEP, time, 0, 0) }).map(drop)
}

/// Sleeps until that time.
pub fn sleep_until(time: TimeSpec) -> Result<(), Error> {
    let address = (&raw const time).expose_provenance() as u64;
    // SAFETY: the kernel writes nothing.
    checked(unsafe { call(number::CLOCK_NANOSLEEP, 0, TIMER_ABSTIME, address) }).map(drop)
}

/// Returns `len` bytes of zeroed memory, rounded up to pages.
pub fn map(len: usize) -> Result<*mut u8, Error> {
    map_with(len, map::PROT_READ | map::PROT_WRITE)
}

/// Returns memory with this protection.
pub fn map_with(len: usize, protection: u64) -> Result<*mut u8, Error> {
    let flags = map::MAP_PRIVATE | map::MAP_ANONYMOUS;
    let arguments = [0, len as u64, protection, flags, int(-1), 0];
    // SAFETY: the kernel writes to no memory that is in use.
    let result = unsafe { call6(number::MMAP, arguments) };
    let address = checked(result)?;
    Ok(core::ptr::with_exposed_provenance_mut(address as usize))
}

/// Gives back what [`map`](fn@map) gave.
///
/// # Safety
/// Nobody uses the memory any more.
pub unsafe fn unmap(address: *mut u8, len: usize) -> Result<(), Error> {
    let address = address.expose_provenance() as u64;
    // SAFETY: the caller vouches for the memory.
    checked(unsafe { call(number::MUNMAP, address, len as u64, 0) }).map(drop)
}

/// Fills `into` with what is known of processes; returns how many there are.
pub fn process_list(into: &mut [ProcessInfo]) -> Result<usize, Error> {
    let address = into.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes as many entries as `into` has, at most; every content of one is valid.
    let result = unsafe { call(number::PROCESS_LIST, address, into.len() as u64, 0) };
    checked(result).map(|count| count as usize)
}

/// Returns the milliseconds since the kernel started.
pub fn time_ms() -> i64 {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::GET_TIME_MS, 0, 0, 0) }
}

/// Returns the time since the kernel started.
pub fn time() -> Result<TimeSpec, Error> {
    let mut time = TimeSpec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the kernel writes to `time` only.
    let result = unsafe {
        call(
            number::CLOCK_GETTIME,
            0,
            (&raw mut time).expose_provenance() as u64,
            0,
        )
    };
    checked(result).map(|_| time)
}

/// Makes a forwarded call that does nothing.
pub fn forward_null() -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { call(number::FORWARD_NULL, 0, 0, 0) }).map(drop)
}

/// Returns a counter; [`nimbos::abi::counter`] has the indices.
pub fn counter(index: u64) -> Result<u64, Error> {
    // SAFETY: the kernel writes nothing.
    let result = unsafe { call(number::COUNTERS, index, 0, 0) };
    checked(result).map(|count| count as u64)
}

/// Returns the time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC only reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn checked(result: i64) -> Result<i64, Error> {
    if result < 0 {
        Err(Error(result))
    } else {
        Ok(result)
    }
}

fn int(value: i32) -> u64 {
    i64::from(value) as u64
}

/// Returns a path as an argument.
fn path(path: &CStr) -> u64 {
    path.as_ptr().expose_provenance() as u64
}

/// Does a system call; arguments that are left out are 0.
///
/// # Safety
/// As for [`call`].
unsafe fn invoke<const N: usize>(number: u64, arguments: [u64; N]) -> i64 {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: the caller's promise.
    unsafe { call6(number, all) }
}

/// Does a system call. SYSCALL takes RCX and R11; the kernel preserves all other registers.
///
/// # Safety
/// What the kernel writes for this call is memory that may be written.
pub unsafe fn call(number: u64, first: u64, second: u64, third: u64) -> i64 {
    // SAFETY: the caller's promise.
    if let Some(result) = unsafe { channel::call(number, [first, second, third, 0, 0, 0]) } {
        return result;
    }
    let result;
    // SAFETY: the caller vouches for what the kernel writes. Without `nomem`, because it reads and writes memory behind
    // the addresses among the arguments.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Does a system call with six arguments.
///
/// # Safety
/// As for [`call`].
pub unsafe fn call6(number: u64, arguments: [u64; 6]) -> i64 {
    // SAFETY: the caller's promise.
    if let Some(result) = unsafe { channel::call(number, arguments) } {
        return result;
    }
    let result;
    // SAFETY: as in `call`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
