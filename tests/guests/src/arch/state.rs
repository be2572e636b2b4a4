// SPDX-License-Identifier: MIT OR Apache-2.0
//! State of this CPU that nobody else may change, and a page of memory likewise.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use uintr::msr;
use x86_64::registers::control::{Cr0, Cr2, Cr3, Cr4};
use x86_64::registers::debug::{DebugAddressRegister, Dr0, Dr1, Dr7};
use x86_64::registers::model_specific::Msr;

use super::apic::Apic;

/// MSRs that are given a value of their own, so that a reset is a change, too.
const MARKED: [(u32, u64); 14] = [
    (0x174, 0x1234),                      // IA32_SYSENTER_CS
    (0x175, 0x1111_2222_3330),            // IA32_SYSENTER_ESP
    (0x176, 0x1111_2222_3340),            // IA32_SYSENTER_EIP
    (0x277, 0x0007_0406_0001_0506),       // IA32_PAT
    (0xc000_0081, 0x0010_0008_0000_0000), // IA32_STAR
    (0xc000_0082, 0x1111_2222_3350),      // IA32_LSTAR
    (0xc000_0083, 0x1111_2222_3360),      // IA32_CSTAR
    (0xc000_0084, 0x4_7700),              // IA32_FMASK
    (0xc000_0100, 0x1111_2222_3370),      // IA32_FS_BASE
    (0xc000_0102, 0x1111_2222_3380),      // IA32_KERNEL_GS_BASE
    (msr::IA32_UINTR_HANDLER, 0x1111_2222_3390),
    (msr::IA32_UINTR_STACKADJUST, 0x80),
    (msr::IA32_UINTR_MISC, 7),
    (msr::IA32_UINTR_PD, 0x1111_2222_3380),
];

/// MSRs that are what they are.
const OTHERS: [u32; 12] = [
    0x1b,        // IA32_APIC_BASE
    0x3b,        // IA32_TSC_ADJUST
    0x48,        // IA32_SPEC_CTRL
    0x1a0,       // IA32_MISC_ENABLE
    0x1d9,       // IA32_DEBUGCTL
    0x2ff,       // IA32_MTRR_DEF_TYPE
    0xda0,       // IA32_XSS
    0xc000_0080, // IA32_EFER
    0xc000_0101, // IA32_GS_BASE
    0xc000_0103, // IA32_TSC_AUX
    msr::IA32_UINTR_RR,
    msr::IA32_UINTR_TT,
];

const CONTROL_REGISTERS: usize = 6;
const WORDS: usize = MARKED.len() + OTHERS.len() + CONTROL_REGISTERS + Apic::STATE.len();
const PATTERN_WORDS: usize = 2048;
const PATTERN: u64 = 0x5a5a_1234_8765_a5a5;

static MEMORY: [AtomicU64; PATTERN_WORDS] = [const { AtomicU64::new(0) }; PATTERN_WORDS];

/// The state at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    words: [u64; WORDS],
    memory: u64,
}

/// Gives registers and memory values that nobody else would give them. The cell uses none of these registers.
pub fn mark() {
    for (register, value) in MARKED {
        // SAFETY: nothing in the cell that marks depends on these registers; the values are valid.
        unsafe { Msr::new(register).write(value) };
    }
    Dr0::write(0x1111_2222_33a0);
    Dr1::write(0x1111_2222_33b0);
    for (word, index) in MEMORY.iter().zip(0..) {
        word.store(PATTERN ^ index, Ordering::Relaxed);
    }
}

impl State {
    /// Reads it.
    pub fn read(apic: Apic) -> Self {
        let mut words = [0; WORDS];
        let registers = MARKED.iter().map(|&(register, _)| register).chain(OTHERS);
        // SAFETY: all of them exist where the cell runs, and reading has no effect.
        let msrs = registers.map(|register| unsafe { Msr::new(register).read() });
        let others = [
            Cr0::read_raw(),
            Cr2::read_raw(),
            Cr3::read_raw().0.start_address().as_u64(),
            Cr4::read_raw(),
            Dr0::read(),
            Dr7::read_raw(),
        ];
        let apic = Apic::STATE
            .iter()
            .map(|&number| u64::from(apic.read(number)));
        for (word, value) in words.iter_mut().zip(msrs.chain(others).chain(apic)) {
            *word = value;
        }
        let damage = |(word, index): (&AtomicU64, u64)| {
            u64::from(word.load(Ordering::Relaxed) != PATTERN ^ index)
        };
        Self {
            words,
            memory: MEMORY.iter().zip(0..).map(damage).sum(),
        }
    }

    /// Returns how much differs.
    pub fn changes(&self, other: &Self) -> Changes {
        let differs = |(one, two): (&u64, &u64)| one != two;
        Changes {
            registers: self
                .words
                .iter()
                .zip(&other.words)
                .filter(|&pair| differs(pair))
                .count(),
            first: self.words.iter().zip(&other.words).position(differs),
            memory: self.memory.max(other.memory),
        }
    }
}

/// What differs between two states.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    registers: usize,
    /// Index of the first register that differs.
    first: Option<usize>,
    /// Words of memory.
    memory: u64,
}

/// `0` if nothing differs, else where.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.registers, self.memory, self.first) {
            (0, 0, _) => f.write_str("0"),
            (_, _, Some(first)) => write!(f, "{}-registers-from-{first}", self.registers),
            _ => write!(f, "{}-words-of-memory", self.memory),
        }
    }
}
