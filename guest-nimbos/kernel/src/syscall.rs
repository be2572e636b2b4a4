// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: one `match`, one function for each call that does something.

use forward_ring::Call;
use hv_abi::hypercall::errno;
use nimbos::abi::{Errno, counter, number, reboot};

use crate::arch::{cpu, hypercall, per_cpu};
use crate::channel::Channel;
use crate::kernel::forward::Request;
use crate::kernel::{Kernel, Outcome};
use crate::memory;
use crate::thread::ThreadNo;

/// Does the system call of a thread, which runs.
pub fn dispatch(kernel: &mut Kernel, thread: ThreadNo) -> Outcome {
    let context = kernel.threads[thread].context();
    let result = match context.call_number() {
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
        number::FORK => kernel.fork(thread),
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
        number::REBOOT => reboot(kernel, thread),
        number::CLOCK_GETTIME => clock_gettime(kernel, thread),
        number::CLOCK_NANOSLEEP => {
            let arguments = context.arguments();
            kernel.clock_nanosleep(thread, arguments)
        }
        number::EXIT_GROUP => {
            let arguments = context.arguments();
            return kernel.exit_group(thread, arguments);
        }
        number::GETCPU => getcpu(kernel, thread),
        number::UINTR_REGISTER_SENDER => {
            let arguments = context.arguments();
            kernel
                .register_sender(thread, arguments)
                .map(Outcome::Return)
        }
        number::UINTR_REGISTER_HANDLER => {
            let arguments = context.arguments();
            kernel
                .register_handler(thread, arguments)
                .map(Outcome::Return)
        }
        number::UINTR_UNREGISTER_SENDER => {
            let arguments = context.arguments();
            kernel
                .unregister_sender(thread, arguments)
                .map(Outcome::Return)
        }
        number::UINTR_UNREGISTER_HANDLER => kernel.unregister_handler(thread).map(Outcome::Return),
        number::UINTR_WAIT => {
            let arguments = context.arguments();
            kernel.wait_for_user_interrupt(thread, arguments)
        }
        number::UINTR_ALLOW => {
            let arguments = context.arguments();
            kernel.allow_sender(thread, arguments).map(Outcome::Return)
        }
        number::SIGALARM => {
            let arguments = context.arguments();
            kernel.set_alarm(thread, arguments).map(Outcome::Return)
        }
        number::RING_OPEN => {
            let arguments = context.arguments();
            kernel.ring_open(thread, arguments)
        }
        number::RING_CLOSE => kernel.ring_close(thread).map(Outcome::Return),
        number::SIGRETURN => kernel.return_from_alarm(thread).map(Outcome::Return),
        number::FORWARD_NULL => {
            return kernel.forward(thread, Request::NULL);
        }
        number::COUNTERS => counters(kernel, thread),
        number::PROCESS_LIST => {
            let arguments = context.arguments();
            kernel.process_list(thread, arguments).map(Outcome::Return)
        }
        call => kernel.linux_call(thread, call),
    };
    result.unwrap_or_else(|errno| Outcome::Return(errno as i64))
}

fn clock_gettime(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [_, address] = kernel.threads[thread].context().arguments();
    let bytes = kernel.clock.time(cpu::tsc()).to_bytes();
    let process = kernel.threads[thread].process;
    let space = kernel.processes[process].space_mut();
    space.write(address, &bytes)?;
    Ok(Outcome::Return(0))
}

fn getcpu(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let addresses: [u64; 2] = kernel.threads[thread].context().arguments();
    let process = kernel.threads[thread].process;
    let space = kernel.processes[process].space_mut();
    for (address, value) in addresses.into_iter().zip([per_cpu::number() as u32, 0]) {
        if address != 0 {
            space.write(address, &value.to_le_bytes())?;
        }
    }
    Ok(Outcome::Return(0))
}

/// `reboot(magic, magic2, command)`. The arguments are C ints. A function of its own: tests let it fail.
#[inline(never)]
fn reboot(kernel: &mut Kernel, thread: ThreadNo) -> Result<Outcome, Errno> {
    let [magic, magic2, command] = kernel.threads[thread].context().arguments();
    let is_meant = magic as u32 == reboot::MAGIC && reboot::MAGIC2.contains(&(magic2 as u32));
    if !is_meant || command as u32 != reboot::RESTART {
        return Err(Errno::Invalid);
    }
    say!("restart");
    // If it returns.
    Ok(Outcome::Return(hypercall::restart()))
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
            let call = Call::Counters { index };
            let most = i64::MAX;
            return Ok(kernel.forward(thread, Request::Own { call, most }));
        }
        _ => return Err(Errno::Invalid),
    };
    Ok(Outcome::Return(value))
}
