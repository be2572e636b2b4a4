// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: one `match`, one function for each call that does something.

use forward_ring::Call;
use hv_abi::hypercall::errno;
use nimbos::abi::{Errno, STDERR, counter, number};
use nimbos::layout::PAGE_LEN;
use nimbos::reply::{clipped, file_descriptor};
use nimbos::user_memory::Access;

use crate::arch::cpu;
use crate::channel::Channel;
use crate::console;
use crate::kernel::forward::{Forwarded, Input, Output, Receipt};
use crate::kernel::{Kernel, Outcome};
use crate::memory;
use crate::thread::ThreadNo;

/// Bytes that are printed together.
const CONSOLE_PIECE: usize = 128;

/// Does the system call of a thread, which runs.
pub fn dispatch(kernel: &mut Kernel, thread: ThreadNo) -> Outcome {
    let context = kernel.threads[thread].context();
    let result = match context.call_number() {
        number::READ => read(kernel, thread),
        number::WRITE => write(kernel, thread),
        number::OPEN => open(kernel, thread),
        number::CLOSE => close(kernel, thread),
        number::MMAP => {
            let arguments = context.arguments();
            kernel.mmap(thread, arguments).map(Outcome::Return)
        }
        number::MUNMAP => {
            let arguments = context.arguments();
            kernel.munmap(thread, arguments)
        }
        number::YIELD => return Outcome::Yield,
        number::NANOSLEEP => {
            let arguments = context.arguments();
            kernel.nanosleep(thread, arguments)
        }
        number::GETPID => return Outcome::Return(kernel.process_of(thread).id.into()),
        number::CLONE => {
            let arguments = context.arguments();
            kernel.clone_thread(thread, arguments).map(Outcome::Return)
        }
        number::FORK => kernel.fork(thread).map(Outcome::Return),
        number::EXEC => {
            let arguments = context.arguments();
            return kernel.exec(thread, arguments);
        }
        number::EXIT => {
            let arguments = context.arguments();
            return kernel.exit(thread, arguments);
        }
        number::WAITPID => {
            let arguments = context.arguments();
            kernel.waitpid(thread, arguments)
        }
        number::KILL => {
            let arguments = context.arguments();
            kernel.kill(thread, arguments)
        }
        number::GET_TIME_MS => {
            return Outcome::Return(kernel.clock.milliseconds(cpu::tsc()) as i64);
        }
        number::GETPPID => return Outcome::Return(kernel.process_of(thread).parent.into()),
        number::GETTID => return Outcome::Return(kernel.threads[thread].id.into()),
        number::CLOCK_GETTIME => clock_gettime(kernel, thread),
        number::CLOCK_NANOSLEEP => {
            let arguments = context.arguments();
            kernel.clock_nanosleep(thread, arguments)
        }
        number::EXIT_GROUP => {
            let arguments = context.arguments();
            return kernel.exit_group(thread, arguments);
        }
        number::FORWARD_NULL => {
            return kernel.forward(thread, Forwarded::plain(Call::Null, 0));
        }
        number::COUNTERS => counters(kernel, thread),
        number::PROCESS_LIST => {
            let arguments = context.arguments();
            kernel.process_list(thread, arguments).map(Outcome::Return)
        }
        _ => Err(Errno::NoSystemCall),
    };
    result.unwrap_or_else(|errno| Outcome::Return(errno as i64))
}

fn read(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [fd, address, len] = kernel.threads[thread].context().arguments();
    let fd = remote_file(fd)?;
    let len = clipped(len, kernel.buffer_len());
    let space = kernel.process_of(thread).space();
    space.check(address, len, Access::Write)?;
    let forwarded = Forwarded {
        call: Call::Read {
            fd,
            len: len as u32,
        },
        input: Input::Nothing,
        receipt: Receipt {
            most: len as i64,
            output: Output::Bytes { address },
        },
    };
    Ok(kernel.forward(thread, forwarded))
}

fn write(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [fd, address, len] = kernel.threads[thread].context().arguments();
    let fd = file_descriptor(fd)?;
    if fd == STDERR {
        return write_console(kernel, thread, address, len).map(Outcome::Return);
    }
    let len = clipped(len, kernel.buffer_len());
    let space = kernel.process_of(thread).space();
    space.check(address, len, Access::Read)?;
    let len = len as u32;
    let forwarded = Forwarded {
        call: Call::Write { fd, len },
        input: Input::Bytes { address, len },
        receipt: Receipt {
            most: len.into(),
            output: Output::Nothing,
        },
    };
    Ok(kernel.forward(thread, forwarded))
}

fn write_console(kernel: &Kernel, thread: ThreadNo, address: u64, len: u64) -> Result<i64, Errno> {
    let len = clipped(len, PAGE_LEN as usize);
    let space = kernel.process_of(thread).space();
    space.check(address, len, Access::Read)?;
    let mut piece = [0; CONSOLE_PIECE];
    let mut done = 0;
    while done < len {
        let piece = &mut piece[..CONSOLE_PIECE.min(len - done)];
        space.read(address + done as u64, piece)?;
        console::write(piece);
        done += piece.len();
    }
    Ok(len as i64)
}

fn open(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [address, flags, mode] = kernel.threads[thread].context().arguments();
    let forwarded = Forwarded {
        call: Call::Open {
            path_len: 0,
            flags: flags as i32,
            mode: mode as u32,
        },
        input: Input::Path { address },
        receipt: Receipt {
            most: i32::MAX.into(),
            output: Output::File,
        },
    };
    Ok(kernel.forward(thread, forwarded))
}

fn close(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [fd] = kernel.threads[thread].context().arguments();
    let fd = remote_file(fd)?;
    Ok(kernel.forward(thread, Forwarded::plain(Call::Close { fd }, 0)))
}

fn clock_gettime(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [_, address] = kernel.threads[thread].context().arguments();
    let bytes = kernel.clock.time(cpu::tsc()).to_bytes();
    let process = kernel.threads[thread].process;
    let space = kernel.processes[process].space_mut();
    space.write(address, &bytes)?;
    Ok(Outcome::Return(0))
}

fn counters(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [index] = kernel.threads[thread].context().arguments();
    let value = match index {
        counter::VM_EXITS => match kernel.vm_exits() {
            errno::ENOENT => return Err(Errno::NoEntry),
            count if count < 0 => return Err(Errno::Invalid),
            count => count,
        },
        counter::RECEIVED => kernel.received() as i64,
        counter::SENT => kernel.channel.as_ref().map_or(0, Channel::sent) as i64,
        counter::FREE_FRAMES => memory::free_frames() as i64,
        counter::CPUS => kernel.cpu_count() as i64,
        counter::SERVER_BASE.. => {
            let index = index - counter::SERVER_BASE;
            let forwarded = Forwarded::plain(Call::Counters { index }, i64::MAX);
            return Ok(kernel.forward(thread, forwarded));
        }
        _ => return Err(Errno::Invalid),
    };
    Ok(Outcome::Return(value))
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
