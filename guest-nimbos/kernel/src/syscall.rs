// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: one `match`, one function for each call that does something.

use forward_ring::Call;
use hv_abi::hypercall::errno;
use nimbos::abi::{Errno, STDERR, TimeSpec, counter, number};
use nimbos::layout::PAGE_LEN;
use nimbos::reply::{clipped, file_descriptor};

use crate::arch::{cpu, hypercall};
use crate::channel::Channel;
use crate::console;
use crate::interrupts::Interrupts;
use crate::kernel::{KILLED, Kernel};
use crate::process::Process;

/// Longest path, with its NUL; Linux's PATH_MAX. No buffer is smaller.
const MAX_PATH: usize = 4096;

/// What becomes of the process that made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on with this result.
    Return(i64),
    /// It ends with this status.
    Exit(i32),
}

/// Does a system call.
pub fn dispatch(
    kernel: &mut Kernel,
    process: &mut Process,
    number: u64,
    args: [u64; 3],
) -> Outcome {
    let result = match number {
        number::READ => read(kernel, process, args),
        number::WRITE => write(kernel, process, args),
        number::OPEN => open(kernel, process, args),
        number::CLOSE => close(kernel, args),
        // The only process runs on.
        number::YIELD => Ok(0),
        number::GETPID => Ok(process.id().into()),
        number::EXIT => return Outcome::Exit(args[0] as i32),
        number::GET_TIME_MS => Ok(kernel.clock.milliseconds(cpu::tsc()) as i64),
        number::CLOCK_GETTIME => clock_gettime(kernel, process, args),
        number::FORWARD_NULL => forward(kernel, Call::Null, 0),
        number::COUNTERS => counters(kernel, args),
        unknown => {
            say!("process {} killed: no system call {unknown}", process.id());
            return Outcome::Exit(KILLED);
        }
    };
    Outcome::Return(result.unwrap_or_else(|errno| errno as i64))
}

fn read(
    kernel: &mut Kernel,
    process: &mut Process,
    [fd, address, len]: [u64; 3],
) -> Result<i64, Errno> {
    let fd = remote_file(fd)?;
    let (interrupts, channel) = forwarding(kernel)?;
    let len = clipped(len, channel.buffer_len());
    process.space().check_writable(address, len)?;
    let call = Call::Read {
        fd,
        len: len as u32,
    };
    let mut copied = Ok(());
    let result = channel.call_with(
        interrupts,
        call,
        len as i64,
        |_| (),
        |buffer, count| {
            let count = usize::try_from(count).unwrap_or(0);
            copied = process.space_mut().fill(address, count, |offset, part| {
                buffer
                    .read(offset, part)
                    .expect("the count is at most the buffer's length");
            });
        },
    )?;
    copied.map(|()| result)
}

fn write(
    kernel: &mut Kernel,
    process: &Process,
    [fd, address, len]: [u64; 3],
) -> Result<i64, Errno> {
    let fd = file_descriptor(fd)?;
    if fd == STDERR {
        return write_console(process, address, len);
    }
    let (interrupts, channel) = forwarding(kernel)?;
    let len = clipped(len, channel.buffer_len());
    let parts = process.space().read_parts(address, len)?;
    let call = Call::Write {
        fd,
        len: len as u32,
    };
    channel.call_with(
        interrupts,
        call,
        len as i64,
        |buffer| {
            let mut offset = 0;
            for part in parts {
                buffer
                    .write(offset, part)
                    .expect("the parts are at most the buffer's length");
                offset += part.len();
            }
        },
        |_, _| (),
    )
}

fn write_console(process: &Process, address: u64, len: u64) -> Result<i64, Errno> {
    let len = clipped(len, PAGE_LEN as usize);
    process
        .space()
        .read_parts(address, len)?
        .for_each(console::write);
    Ok(len as i64)
}

fn open(
    kernel: &mut Kernel,
    process: &Process,
    [address, flags, mode]: [u64; 3],
) -> Result<i64, Errno> {
    let mut path = [0; MAX_PATH];
    let path_len = process.space().read_string(address, &mut path)?;
    let call = Call::Open {
        path_len: path_len as u32,
        flags: flags as i32,
        mode: mode as u32,
    };
    let (interrupts, channel) = forwarding(kernel)?;
    channel.call_with(
        interrupts,
        call,
        i32::MAX.into(),
        |buffer| {
            buffer
                .write(0, &path[..path_len])
                .expect("a path fits into a buffer")
        },
        |_, _| (),
    )
}

fn close(kernel: &mut Kernel, [fd, ..]: [u64; 3]) -> Result<i64, Errno> {
    let fd = remote_file(fd)?;
    forward(kernel, Call::Close { fd }, 0)
}

fn clock_gettime(
    kernel: &Kernel,
    process: &mut Process,
    [_, address, _]: [u64; 3],
) -> Result<i64, Errno> {
    let TimeSpec {
        seconds,
        nanoseconds,
    } = kernel.clock.time(cpu::tsc());
    let mut bytes = [0; size_of::<TimeSpec>()];
    bytes[..8].copy_from_slice(&seconds.to_le_bytes());
    bytes[8..].copy_from_slice(&nanoseconds.to_le_bytes());
    process.space_mut().write(address, &bytes)?;
    Ok(0)
}

fn counters(kernel: &mut Kernel, [index, ..]: [u64; 3]) -> Result<i64, Errno> {
    match index {
        counter::VM_EXITS => match vm_exits(kernel) {
            errno::ENOENT => Err(Errno::NoEntry),
            count if count < 0 => Err(Errno::Invalid),
            count => Ok(count),
        },
        counter::RECEIVED => Ok(kernel.interrupts.received() as i64),
        counter::SENT => Ok(kernel.channel.as_ref().map_or(0, Channel::sent) as i64),
        counter::SERVER_BASE.. => {
            let index = index - counter::SERVER_BASE;
            forward(kernel, Call::Counters { index }, i64::MAX)
        }
        _ => Err(Errno::Invalid),
    }
}

fn vm_exits(kernel: &Kernel) -> i64 {
    hypercall::vm_exits(kernel.features, kernel.interrupts.apic_id())
}

/// Makes a call that has no data.
fn forward(kernel: &mut Kernel, call: Call, most: i64) -> Result<i64, Errno> {
    let (interrupts, channel) = forwarding(kernel)?;
    channel.call(interrupts, call, most)
}

/// Returns what forwarding needs; without a channel nobody serves calls.
fn forwarding(kernel: &mut Kernel) -> Result<(&mut Interrupts, &mut Channel), Errno> {
    let channel = kernel.channel.as_mut().ok_or(Errno::Io)?;
    Ok((&mut kernel.interrupts, channel))
}

/// Returns a file descriptor of the server's. The console is write-only and stays open.
fn remote_file(register: u64) -> Result<i32, Errno> {
    file_descriptor(register).and_then(|fd| {
        if fd == STDERR {
            Err(Errno::BadFile)
        } else {
            Ok(fd)
        }
    })
}
