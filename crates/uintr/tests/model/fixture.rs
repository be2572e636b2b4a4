// SPDX-License-Identifier: MIT OR Apache-2.0
//! One processor with a valid UITT, UPID, handler and stack, at CPL 3 with everything enabled.

use uintr::model::{Apic, ApicMode, Cpu, IF, Options, Page, Pages, RFLAGS_ONE};

pub const UITT: u64 = 0xffff_8000_0000_1000;
pub const UPID: u64 = 0xffff_8000_0000_2000;
pub const STACK_PAGE: u64 = 0x7000_0000;
/// Above two pages of stack.
pub const STACK_TOP: u64 = STACK_PAGE + 0x2000;
pub const HANDLER: u64 = 0x40_2000;
pub const CODE: u64 = 0x40_1000;
pub const UINV: u8 = 0xec;
pub const APIC_ID: u32 = 2;

pub type Memory = Pages<4>;

pub fn memory() -> Memory {
    let mut memory = Pages {
        pages: [
            Page::new(UITT, false),
            Page::new(UPID, false),
            Page::new(STACK_PAGE, true),
            Page::new(STACK_PAGE + 0x1000, true),
        ],
        smap: true,
    };
    write_entry(&mut memory, 0, entry_low(5), UPID);
    memory.poke(UPID, control(UINV, APIC_ID));
    memory
}

pub fn cpu() -> Cpu {
    let mut cpu = Cpu::new(
        Options::SAPPHIRE_RAPIDS,
        Apic::new(ApicMode::X2Apic, APIC_ID),
    );
    cpu.user.handler = HANDLER;
    cpu.user.stack_adjust = 128;
    cpu.user.uinv = UINV;
    cpu.user.upid_address = UPID;
    cpu.user.tt = UITT | 1;
    cpu.user.uitt_size = 3;
    cpu.user.uif = true;
    cpu.rip = CODE;
    cpu.rsp = STACK_TOP - 0x18;
    cpu.rflags = RFLAGS_ONE | IF;
    cpu.cpl = 3;
    cpu
}

/// Puts `requests` into UIRR by WRMSR, from CPL 0.
pub fn request(cpu: &mut Cpu, requests: u64) {
    let cpl = std::mem::replace(&mut cpu.cpl, 0);
    assert_eq!(cpu.wrmsr(uintr::msr::IA32_UINTR_RR, requests), Ok(()));
    cpu.cpl = cpl;
}

pub fn entry_low(user_vector: u8) -> u64 {
    u64::from(user_vector) << 8 | 1
}

pub fn write_entry(memory: &mut Memory, index: u64, low: u64, upid: u64) {
    assert!(memory.poke(UITT + 16 * index, low));
    assert!(memory.poke(UITT + 16 * index + 8, upid));
}

/// First 8 bytes of a UPID with ON and SN clear, for x2APIC mode.
pub fn control(nv: u8, apic_id: u32) -> u64 {
    u64::from(apic_id) << 32 | u64::from(nv) << 16
}

/// The two words of the UPID.
pub fn upid(memory: &Memory) -> (u64, u64) {
    (memory.peek(UPID).unwrap(), memory.peek(UPID + 8).unwrap())
}
