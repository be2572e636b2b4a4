// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traps: interrupts are kept as events and ended; exceptions go to whoever waits for one, as a value.
//!
//! Each CPU has a *landing*: where it goes on after an exception ([`super::run`]). Landings nest; the innermost gets the
//! exception. There is always one while a case runs, so a fault that nobody expects ends that case and nothing else.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::registers::control::Cr2;

use super::cpu::{self, MAX_CPUS, RFLAGS_AC, RFLAGS_ONE};
use super::descriptors::{KERNEL_CODE, KERNEL_DATA};
use super::stop::stop;
use super::{apic, event, run};

/// Software interrupt that ends code in user mode; its gate may be used there.
pub const END: u8 = 0x80;
/// Vector of the watchdog: the case takes too long.
pub const WATCHDOG: u8 = 0xe0;
/// Vector of spurious interrupts.
pub const SPURIOUS: u8 = 0xff;

/// #DB.
pub const DEBUG: u8 = 1;
/// NMI: taken out of what it is doing by another CPU.
pub const NMI: u8 = 2;
/// #UD.
pub const UNDEFINED: u8 = 6;
/// #SS.
pub const STACK_FAULT: u8 = 12;
/// #GP.
pub const GENERAL_PROTECTION: u8 = 13;
/// #PF.
pub const PAGE_FAULT: u8 = 14;

/// #CP.
pub const CONTROL_PROTECTION: u8 = 21;

const EXCEPTIONS: u64 = 32;
/// First vector behind #CP.
const FIRST_WITHOUT_EXCEPTION: u8 = 22;
const STUB_LEN: usize = 16;
/// General registers, in the order in which the stubs push them, last first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// R15.
    pub r15: u64,
    /// R14.
    pub r14: u64,
    /// R13.
    pub r13: u64,
    /// R12.
    pub r12: u64,
    /// R11.
    pub r11: u64,
    /// R10.
    pub r10: u64,
    /// R9.
    pub r9: u64,
    /// R8.
    pub r8: u64,
    /// RBP.
    pub rbp: u64,
    /// RDI.
    pub rdi: u64,
    /// RSI.
    pub rsi: u64,
    /// RDX.
    pub rdx: u64,
    /// RCX.
    pub rcx: u64,
    /// RBX.
    pub rbx: u64,
    /// RAX.
    pub rax: u64,
}

impl Registers {
    /// Returns registers that all hold `value`.
    pub fn all(value: u64) -> Self {
        let mut registers = Self::default();
        for number in 0..16 {
            registers.set(number, value);
        }
        registers
    }

    /// Sets the register that instructions name by `number`; RSP (4) is not among them, and no number is above 15.
    pub fn set(&mut self, number: u8, value: u64) {
        let register = match number {
            0 => &mut self.rax,
            1 => &mut self.rcx,
            2 => &mut self.rdx,
            3 => &mut self.rbx,
            5 => &mut self.rbp,
            6 => &mut self.rsi,
            7 => &mut self.rdi,
            8 => &mut self.r8,
            9 => &mut self.r9,
            10 => &mut self.r10,
            11 => &mut self.r11,
            12 => &mut self.r12,
            13 => &mut self.r13,
            14 => &mut self.r14,
            15 => &mut self.r15,
            _ => return,
        };
        *register = value;
    }
}

/// What was interrupted, as the stubs leave it and [`run`] loads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// General registers.
    pub registers: Registers,
    /// Vector.
    pub vector: u64,
    /// Error code, 0 where the exception has none.
    pub error_code: u64,
    /// RIP.
    pub rip: u64,
    /// CS.
    pub cs: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// SS.
    pub ss: u64,
}

/// A trap that ended something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trap {
    /// What was interrupted.
    pub frame: Frame,
    /// CR2.
    pub cr2: u64,
}

impl Trap {
    const NONE: Self = Self {
        frame: Frame {
            registers: Registers {
                r15: 0,
                r14: 0,
                r13: 0,
                r12: 0,
                r11: 0,
                r10: 0,
                r9: 0,
                r8: 0,
                rbp: 0,
                rdi: 0,
                rsi: 0,
                rdx: 0,
                rcx: 0,
                rbx: 0,
                rax: 0,
            },
            vector: 0,
            error_code: 0,
            rip: 0,
            cs: 0,
            rflags: 0,
            rsp: 0,
            ss: 0,
        },
        cr2: 0,
    };

    /// Returns the vector.
    pub fn vector(&self) -> u8 {
        self.frame.vector as u8
    }

    /// Tells whether this is the regular end of code in user mode.
    pub fn is_end(&self) -> bool {
        self.vector() == END
    }

    /// Tells whether this is the exception `vector` with this error code (0 for those without).
    pub fn is(&self, vector: u8, error_code: u64) -> bool {
        self.vector() == vector && self.frame.error_code == error_code
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.vector() {
            END => return f.write_str("no fault"),
            DEBUG => "#DB",
            NMI => "an NMI",
            UNDEFINED => "#UD",
            8 => "#DF",
            10 => "#TS",
            11 => "#NP",
            STACK_FAULT => "#SS",
            GENERAL_PROTECTION => "#GP",
            PAGE_FAULT => "#PF",
            17 => "#AC",
            21 => "#CP",
            WATCHDOG => "the watchdog",
            vector => return write!(f, "trap {vector} at {:#x}", self.frame.rip),
        };
        write!(f, "{name}({:#x})", self.frame.error_code)?;
        if self.vector() == PAGE_FAULT {
            write!(f, " cr2={:#x}", self.cr2)?;
        }
        write!(f, " rip={:#x} cs={:#x}", self.frame.rip, self.frame.cs)
    }
}

/// The last trap of each CPU that went to a landing.
struct LastTraps([UnsafeCell<Trap>; MAX_CPUS]);

// SAFETY: each CPU accesses its own element only.
unsafe impl Sync for LastTraps {}

static LAST_TRAPS: LastTraps = LastTraps([const { UnsafeCell::new(Trap::NONE) }; MAX_CPUS]);
/// Stack pointers of the innermost landings; 0 where there is none.
static LANDINGS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
/// Returns this CPU's landing.
pub fn landing() -> &'static AtomicU64 {
    &LANDINGS[cpu::index()]
}

/// Tells whether this CPU has a landing.
pub fn has_landing() -> bool {
    landing().load(Ordering::SeqCst) != 0
}

/// Raises #UD, which leads to this CPU's landing.
pub fn raise() -> ! {
    // SAFETY: an exception like any other; nothing follows.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// Returns the trap by which this CPU came to its last landing.
pub fn last() -> Trap {
    // SAFETY: only this CPU writes the element, in `land`, which does not run now: exceptions end in landings, and what
    // an NMI changes was complete before.
    unsafe { *LAST_TRAPS.0[cpu::index()].get() }
}

/// Returns the address of the stub for a vector.
pub fn stub_address(vector: usize) -> u64 {
    (trap_stubs as *const ()).addr() as u64 + (vector * STUB_LEN) as u64
}

/// Handles a trap. Called by the stubs, on a stack of the trap's own, interrupts disabled.
extern "C" fn on_trap(frame: &mut Frame) {
    let vector = frame.vector as u8;
    match vector {
        END | NMI => land(frame),
        _ if frame.vector < EXCEPTIONS && !is_forged(vector) => land(frame),
        _ => {
            let is_in_service = vector != SPURIOUS && apic::is_in_service(vector);
            if is_in_service {
                apic::end_of_interrupt();
            }
            if vector == WATCHDOG {
                land(frame);
            } else {
                event::add_interrupt(
                    cpu::index(),
                    frame.vector,
                    frame.rip,
                    frame.rflags,
                    frame.rsp,
                );
            }
        }
    }
}

/// Tells whether this is an interrupt with the number of an exception that does not exist.
fn is_forged(vector: u8) -> bool {
    vector >= FIRST_WITHOUT_EXCEPTION && apic::is_in_service(vector)
}

/// Sends the CPU to its innermost landing.
fn land(frame: &mut Frame) {
    let index = cpu::index();
    let trap = Trap {
        frame: *frame,
        cr2: Cr2::read_raw(),
    };
    let rsp = LANDINGS[index].load(Ordering::SeqCst);
    if rsp == 0 {
        // An NMI that comes late finds nothing to end.
        if frame.vector as u8 != NMI {
            report!("fatal cpu={index} detail=\"{trap}\"");
            stop();
        }
        return;
    }
    // SAFETY: only this CPU accesses the element, and traps do not nest but for NMIs, whose landing takes the CPU away
    // from what was going on.
    unsafe { *LAST_TRAPS.0[index].get() = trap };
    frame.registers.rax = 1;
    frame.rip = run::landing_address();
    frame.cs = u64::from(KERNEL_CODE);
    frame.rflags = RFLAGS_ONE | RFLAGS_AC;
    frame.rsp = rsp;
    frame.ss = u64::from(KERNEL_DATA);
}

unsafe extern "C" {
    /// The stubs of all vectors, [`STUB_LEN`] bytes each.
    fn trap_stubs();
}

// A stub leaves the same words for every vector: vector, error code, RIP, CS, RFLAGS, RSP, SS. With the fifteen
// registers below them the stack is aligned for FXSAVE and for the call.
global_asm!(
    ".pushsection .text",
    ".balign 16",
    ".global trap_stubs",
    "trap_stubs:",
    ".set trap_vector, 0",
    ".rept 256",
    ".balign {stub_len}",
    ".if trap_vector != 8 && (trap_vector < 10 || trap_vector > 14) && trap_vector != 17 && trap_vector != 21",
    "push 0",
    ".endif",
    "push trap_vector",
    "jmp trap_common",
    ".set trap_vector, trap_vector + 1",
    ".endr",
    "trap_common:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "or dword ptr [rsp], {ac}", // the image's data is for user mode too, and CR4.SMAP may be set
    "popfq",
    "mov rdi, rsp",
    "sub rsp, 512",
    "fxsave64 [rsp]",
    "cld",
    "call {on_trap}",
    "fxrstor64 [rsp]",
    "add rsp, 512",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    ".popsection",
    stub_len = const STUB_LEN,
    ac = const RFLAGS_AC,
    on_trap = sym on_trap,
);
