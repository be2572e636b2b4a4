// SPDX-License-Identifier: MIT OR Apache-2.0
//! State component 14 of XSAVE. (SDM 1, "User Interrupt State")

use x86_64::registers::model_specific::Msr;

use super::cpu;
use super::paging::Page;
use super::run::{Code, Level, Run};
use super::trap::{Registers, Trap};

/// The component.
pub const COMPONENT: u64 = 1 << 14;
/// XCOMP_BV: the image is compacted.
pub const COMPACTED: u64 = 1 << 63;
/// Word of the area that holds XSTATE_BV.
pub const XSTATE_BV: usize = 64;
/// Word of the area that holds XCOMP_BV.
pub const XCOMP_BV: usize = 65;
/// First word of the component in a compacted image that has no other.
pub const FIRST_WORD: usize = 72;
/// Length of the component in words.
pub const WORDS: usize = 6;
/// UIF in the word of UITTSZ and UINV.
pub const UIF: u64 = 1 << 63;

const IA32_XSS: u32 = 0xda0;
const CR4_OSXSAVE: u64 = 1 << 18;

/// Words of the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image(pub [u64; WORDS]);

impl Image {
    /// UIHANDLER.
    pub const HANDLER: usize = 0;
    /// UISTACKADJUST.
    pub const STACK_ADJUST: usize = 1;
    /// UITTSZ, UINV, UIF.
    pub const MISC: usize = 2;
    /// UPIDADDR.
    pub const PD: usize = 3;
    /// UIRR.
    pub const RR: usize = 4;
    /// IA32_UINTR_TT.
    pub const TT: usize = 5;

    /// Reads the component from the area.
    pub fn read() -> Self {
        let words = Page::XSAVE.words();
        Self(core::array::from_fn(|word| {
            words[FIRST_WORD + word].load(core::sync::atomic::Ordering::SeqCst)
        }))
    }

    /// Writes an area that XRSTORS loads.
    pub fn write(self) {
        let words = Page::XSAVE.words();
        set_header(COMPONENT);
        for (word, value) in words[FIRST_WORD..].iter().zip(self.0) {
            word.store(value, core::sync::atomic::Ordering::SeqCst);
        }
    }
}

/// Clears the area and writes a header with this XSTATE_BV: 0 initializes the component.
pub fn set_header(xstate_bv: u64) {
    Page::XSAVE.clear();
    let words = Page::XSAVE.words();
    words[XSTATE_BV].store(xstate_bv, core::sync::atomic::Ordering::SeqCst);
    words[XCOMP_BV].store(COMPACTED | COMPONENT, core::sync::atomic::Ordering::SeqCst);
}

/// Enables the component on this CPU.
pub fn enable() {
    cpu::set_cr4(CR4_OSXSAVE, true);
    // SAFETY: XSS only permits XSAVES and XRSTORS to access the component.
    unsafe {
        let mut xss = Msr::new(IA32_XSS);
        xss.write(xss.read() | COMPONENT);
    }
}

/// XSAVES of the component into the area.
pub fn save() -> Trap {
    execute(&[0x48, 0x0f, 0xc7, 0x2f])
}

/// XRSTORS of the component from the area.
pub fn restore() -> Trap {
    execute(&[0x48, 0x0f, 0xc7, 0x1f])
}

/// Runs an instruction on [rdi] at CPL 0 with the component in EDX:EAX.
fn execute(instruction: &[u8]) -> Trap {
    let registers = Registers {
        rdi: Page::XSAVE.linear(),
        rax: COMPONENT,
        ..Registers::default()
    };
    Run::new(Level::Kernel, &Code::new(instruction))
        .with(registers)
        .go()
}
