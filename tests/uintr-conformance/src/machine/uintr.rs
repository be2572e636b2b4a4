// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts of this CPU: MSRs, descriptors, the target table, and the default state of the cases.

use core::sync::atomic::{AtomicU64, Ordering};

use uintr::{CR4_UINTR, UittEntry, instructions, msr};
use uintr_conformance::ApicMode;
use x86_64::registers::model_specific::Msr;

use super::paging::Page;
use super::run::{Code, Level, Run};
use super::trap::{Registers, Trap};
use super::{apic, cpu, event};

/// Default notification vector.
pub const NOTIFICATION: u8 = 0xec;
/// Default user vector.
pub const USER_VECTOR: u8 = 5;
/// What compiled code keeps below its stack pointer.
pub const RED_ZONE: u64 = 128;
/// Highest index of the target table by default.
pub const HIGHEST_INDEX: u32 = 15;
/// Length of a UPID's slot in words.
const SLOT_WORDS: usize = 8;

/// All MSRs of user interrupts.
pub const MSRS: [u32; 6] = [
    msr::IA32_UINTR_RR,
    msr::IA32_UINTR_HANDLER,
    msr::IA32_UINTR_STACKADJUST,
    msr::IA32_UINTR_MISC,
    msr::IA32_UINTR_PD,
    msr::IA32_UINTR_TT,
];

/// UPID: outstanding notification.
pub const ON: u64 = 1 << 0;
/// UPID: suppress notification.
pub const SN: u64 = 1 << 1;

/// Machine code of the instructions; the SENDUIPI is that of RAX.
pub mod opcode {
    /// SENDUIPI RAX.
    pub const SENDUIPI: [u8; 4] = [0xf3, 0x0f, 0xc7, 0xf0];
    /// UIRET.
    pub const UIRET: [u8; 4] = [0xf3, 0x0f, 0x01, 0xec];
    /// TESTUI.
    pub const TESTUI: [u8; 4] = [0xf3, 0x0f, 0x01, 0xed];
    /// CLUI.
    pub const CLUI: [u8; 4] = [0xf3, 0x0f, 0x01, 0xee];
    /// STUI.
    pub const STUI: [u8; 4] = [0xf3, 0x0f, 0x01, 0xef];
    /// All five with their names.
    pub const ALL: [(&str, [u8; 4]); 5] = [
        ("SENDUIPI", SENDUIPI),
        ("UIRET", UIRET),
        ("TESTUI", TESTUI),
        ("CLUI", CLUI),
        ("STUI", STUI),
    ];
}

/// A UPID in the descriptor page, bit by bit: the cases write what no kernel should.
#[derive(Clone, Copy, Debug)]
pub struct RawUpid(usize);

impl RawUpid {
    /// Returns the descriptor in slot `number` of the page, 0 to 63.
    pub fn new(number: usize) -> Self {
        Self(number % 64)
    }

    /// Returns its linear address in the window.
    pub fn linear(self) -> u64 {
        Page::UPIDS.linear() + (self.0 * SLOT_WORDS * size_of::<u64>()) as u64
    }

    /// Returns ON, SN, NV, NDST and the reserved bits.
    pub fn control(self) -> &'static AtomicU64 {
        &Page::UPIDS.words()[self.0 * SLOT_WORDS]
    }

    /// Returns the posted requests.
    pub fn pir(self) -> &'static AtomicU64 {
        &Page::UPIDS.words()[self.0 * SLOT_WORDS + 1]
    }

    /// Makes it one that notifies the CPU with this APIC ID by the vector `nv`, with nothing posted.
    pub fn set(self, nv: u8, apic_id: u32) {
        let ndst = uintr::ndst(apic_id, apic::mode() == ApicMode::X2apic);
        self.pir().store(0, Ordering::SeqCst);
        self.control().store(
            u64::from(ndst) << 32 | u64::from(nv) << 16,
            Ordering::SeqCst,
        );
    }

    /// Returns the control word and the requests.
    pub fn get(self) -> (u64, u64) {
        (
            self.control().load(Ordering::SeqCst),
            self.pir().load(Ordering::SeqCst),
        )
    }
}

/// Writes an entry of the target table, bit by bit.
pub fn set_uitt(index: usize, low: u64, high: u64) {
    let words = Page::UITT.words();
    words[2 * index].store(low, Ordering::SeqCst);
    words[2 * index + 1].store(high, Ordering::SeqCst);
}

/// Makes entry `index` of the target table name `upid` and the user vector `vector`.
///
/// # Panics
/// If the vector is above 63.
pub fn set_target(index: usize, upid: RawUpid, vector: u8) {
    let entry = UittEntry::new(upid.linear(), vector).expect("slots are aligned");
    let low = u64::from(entry.user_vector()) << 8 | u64::from(entry.is_valid());
    set_uitt(index, low, entry.upid_address());
}

/// Returns an MSR of this CPU.
///
/// # Panics
/// If it is none of [`MSRS`].
pub fn read_msr(number: u32) -> u64 {
    assert!(MSRS.contains(&number));
    // SAFETY: reads one of the user-interrupt MSRs, which has no effect.
    unsafe { Msr::new(number).read() }
}

/// Sets an MSR of this CPU to a value that is fit for it; else the case ends by #GP.
///
/// # Panics
/// If it is none of [`MSRS`].
pub fn write_msr(number: u32, value: u64) {
    assert!(MSRS.contains(&number));
    // SAFETY: the MSRs name memory that the processor accesses for SENDUIPI, for notifications and at CPL 3: the cases name
    // pages of the window, and whatever else they name raises exceptions.
    unsafe { Msr::new(number).write(value) };
}

/// Reads any MSR at this level; RAX and RDX of the trap have the value.
pub fn try_read_msr(level: Level, number: u32) -> Trap {
    let registers = Registers {
        rcx: u64::from(number),
        ..Registers::default()
    };
    Run::new(level, &Code::new(&[0x0f, 0x32]))
        .with(registers)
        .go()
}

/// Writes any MSR at this level and returns the trap.
pub fn try_write_msr(level: Level, number: u32, value: u64) -> Trap {
    let registers = Registers {
        rcx: u64::from(number),
        rax: value & 0xffff_ffff,
        rdx: value >> 32,
        ..Registers::default()
    };
    Run::new(level, &Code::new(&[0x0f, 0x30]))
        .with(registers)
        .go()
}

/// Tells whether CPUID enumerates user interrupts.
pub fn is_enumerated() -> bool {
    cpu::cpuid(7, 0).edx & uintr::CPUID_7_0_EDX_UINTR != 0
}

/// Sets UIF of this CPU; CR4.UINTR must be set.
pub fn set_uif(is_set: bool) {
    // SAFETY: at CPL 0 nothing is delivered, and at CPL 3 the handlers of the cases are fit to run anywhere.
    unsafe {
        if is_set {
            instructions::stui();
        } else {
            instructions::clui();
        }
    }
}

/// Returns UIF of this CPU; CR4.UINTR must be set.
pub fn uif() -> bool {
    // SAFETY: only reads.
    unsafe { instructions::testui() }
}

/// Clears all state of this CPU: CR4.UINTR is set, all MSRs and UIF are 0, nothing is pending.
pub fn clear() {
    cpu::set_cr4(CR4_UINTR, true);
    for number in [msr::IA32_UINTR_MISC, msr::IA32_UINTR_RR] {
        write_msr(number, 0);
    }
    for number in MSRS {
        write_msr(number, 0);
    }
    set_uif(false);
}

/// Makes this CPU a sender: SENDUIPI uses the target table in the window. Keeps UINV.
pub fn become_sender() {
    let misc = read_msr(msr::IA32_UINTR_MISC) & 0xff << 32 | u64::from(HIGHEST_INDEX);
    write_msr(msr::IA32_UINTR_MISC, misc);
    write_msr(msr::IA32_UINTR_TT, Page::UITT.linear() | 1);
}

/// Makes this CPU the receiver of `upid`: notifications by [`NOTIFICATION`], the handler that keeps events, UIF set.
/// Keeps the highest index of the target table.
pub fn become_receiver(upid: RawUpid) {
    write_msr(msr::IA32_UINTR_HANDLER, event::handler_address());
    write_msr(msr::IA32_UINTR_STACKADJUST, RED_ZONE);
    write_msr(msr::IA32_UINTR_PD, upid.linear());
    let misc = read_msr(msr::IA32_UINTR_MISC) & 0xffff_ffff | u64::from(NOTIFICATION) << 32;
    write_msr(msr::IA32_UINTR_MISC, misc);
    set_uif(true);
}
