// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program may not do ends it, and nobody else.
#![expect(unsafe_code, reason = "does what programs may not do")]

use core::arch::asm;

use nimbos_apps::system;

use crate::Test;
use crate::check::{Check, FAULTED, KERNEL_ADDRESS, NON_CANONICAL, ensure, status_of, thread};

/// The tests.
pub const TESTS: &[Test] = &[
    ("faults", faults),
    ("wild-reads-and-writes", wild_accesses),
    ("wild-jumps", wild_jumps),
    ("wild-stacks", wild_stacks),
    ("stack-overflow", stack_overflow),
    ("thread-stack-overflow", thread_stack_overflow),
    ("fault-ends-all-threads", fault_ends_all_threads),
];

/// A function that executes this assembly.
macro_rules! assembly {
    ($($text:tt)*) => {
        || {
            // SAFETY: faults, which ends the process, as the test wants it.
            unsafe { asm!($($text)*) };
        }
    };
}

/// Instructions that fault in a program.
const FAULTS: [fn(); 12] = [
    assembly!("ud2"),
    assembly!("hlt"),
    assembly!("cli"),
    assembly!("int3"),
    assembly!("int 0x29"),
    assembly!("in al, 0x60", out("al") _),
    assembly!("mov {}, cr3", out(reg) _),
    assembly!("xor edx, edx", "xor ecx, ecx", "div ecx", out("rax") _, out("rcx") _, out("rdx") _),
    assembly!("rdmsr", in("ecx") 0x1b, out("eax") _, out("edx") _),
    assembly!("lidt [rsp]"),
    assembly!("swapgs"),
    assembly!("senduipi {}", in(reg) 7_u64),
];

fn faults() -> Check {
    for fault in FAULTS {
        let status = status_of(|| {
            fault();
            0
        })?;
        ensure(status == FAULTED, "an instruction that must fault")?;
    }
    // A single step ends it too.
    let status = status_of(|| {
        // SAFETY: as above.
        unsafe { asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq", "nop", "nop") };
        0
    })?;
    ensure(status == FAULTED, "a single step")
}

fn wild_accesses() -> Check {
    for address in [
        0,
        0x1000,
        0x3f_ffff,
        0x1000_0000,
        KERNEL_ADDRESS,
        0xfee0_0000,
        NON_CANONICAL,
        u64::MAX,
    ] {
        let place: *mut u8 = core::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: it ends the process.
        let read = status_of(|| unsafe { place.read_volatile() }.into())?;
        ensure(read == FAULTED, "an address that can be read")?;
        let written = status_of(|| {
            // SAFETY: it ends the process.
            unsafe { place.write_volatile(0) };
            0
        })?;
        ensure(written == FAULTED, "an address that can be written")?;
    }
    let code = (wild_accesses as fn() -> Check as *mut u8).cast::<u8>();
    let written = status_of(|| {
        // SAFETY: it ends the process.
        unsafe { code.write_volatile(0xcc) };
        0
    })?;
    ensure(written == FAULTED, "the own code can be written")
}

fn wild_jumps() -> Check {
    let on_stack = [0xc3_u8; 16];
    let stack = on_stack.as_ptr().expose_provenance() as u64;
    for address in [
        0,
        0x1000_0000,
        KERNEL_ADDRESS,
        NON_CANONICAL,
        0xffff_8000_0000_0000,
        stack,
    ] {
        let status = status_of(|| {
            // SAFETY: it ends the process.
            unsafe { asm!("jmp {}", in(reg) address) };
            0
        })?;
        ensure(status == FAULTED, "an address that can be executed")?;
    }
    Ok(())
}

/// The stack pointer is anything, and then there is a system call, an interrupt or a fault: the kernel does not care.
fn wild_stacks() -> Check {
    for address in [0, KERNEL_ADDRESS, NON_CANONICAL, u64::MAX] {
        let status = status_of(|| {
            // SAFETY: exits, with the stack pointer wherever it is; the stack is not used after the change.
            unsafe {
                asm!("mov rsp, {}", "syscall", in(reg) address, in("rax") 231, in("rdi") 11, options(noreturn))
            }
        })?;
        ensure(status == 11, "a system call with a wild stack")?;
        let status = status_of(|| {
            // SAFETY: it ends the process, after some interrupts.
            unsafe {
                asm!("mov rsp, {}", "2:", "dec {:e}", "jnz 2b", "ud2", in(reg) address, in(reg) 2_000_000, options(noreturn))
            }
        })?;
        ensure(status == FAULTED, "interrupts with a wild stack")?;
    }
    Ok(())
}

/// Uses more and more stack, to no end.
#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let page = core::hint::black_box([depth; 64]);
    if core::hint::black_box(depth) == u64::MAX {
        return 0;
    }
    overflow(core::hint::black_box(depth + 1)) + page[0]
}

fn stack_overflow() -> Check {
    let status = status_of(|| overflow(0) as i32)?;
    ensure(status == FAULTED, "the stack has no end")
}

extern "C" fn overflow_here(_: usize) -> ! {
    system::exit(overflow(0) as i32)
}

fn thread_stack_overflow() -> Check {
    let works = || match thread(overflow_here, 0) {
        Ok(_) => loop {
            core::hint::spin_loop();
        },
        Err(_) => 1,
    };
    ensure(status_of(works)? == FAULTED, "a thread's stack has no end")
}

extern "C" fn fault_here(_: usize) -> ! {
    let _ = system::sleep_ms(20);
    // SAFETY: ends the process.
    unsafe { asm!("ud2", options(noreturn)) }
}

extern "C" fn sleep(_: usize) -> ! {
    loop {
        let _ = system::sleep_ms(1_000_000);
    }
}

fn fault_ends_all_threads() -> Check {
    let works = || {
        if thread(sleep, 0).is_err() || thread(fault_here, 0).is_err() {
            return 1;
        }
        loop {
            core::hint::spin_loop();
        }
    };
    ensure(status_of(works)? == FAULTED, "the process lives on")
}
