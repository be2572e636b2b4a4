//! The local APIC of this CPU, in either mode. (SDM 3A, "Advanced Programmable Interrupt Controller (APIC)")

use cell_config::ApicMode;

use super::{cpuid, msr};

/// Physical address of the xAPIC page; the hypervisor refuses machines whose firmware moved it.
pub const XAPIC_BASE: u64 = 0xFEE0_0000;
/// IA32_APIC_BASE.EXTD: x2APIC mode.
pub const APIC_BASE_EXTD: u64 = 1 << 10;
/// IA32_APIC_BASE.EN: xAPIC global enable.
pub const APIC_BASE_EN: u64 = 1 << 11;

/// Offset of the APIC ID register in the xAPIC page.
pub const REG_ID: u16 = 0x20;
/// Offset of the task-priority register.
const REG_TPR: u16 = 0x80;
/// Offset of the EOI register.
const REG_EOI: u16 = 0xB0;
/// Offset of the first of eight registers that say which interrupts are in service.
const REG_ISR: u16 = 0x100;
/// Offset of the timer's initial count: 0 stops it.
const REG_INITIAL_COUNT: u16 = 0x380;
/// Offset of the logical destination register.
pub const REG_LDR: u16 = 0xD0;
/// Offset of the destination format register.
pub const REG_DFR: u16 = 0xE0;
/// Offset of the low half of the interrupt command register.
pub const REG_ICR_LOW: u16 = 0x300;
/// Offset of the high half of the interrupt command register.
pub const REG_ICR_HIGH: u16 = 0x310;

/// Offsets of the local vector table: timer, LINT0, LINT1, error.
const REGS_LVT: [u16; 4] = [0x320, 0x350, 0x360, 0x370];
/// LVT bit that masks an entry.
const LVT_MASKED: u32 = 1 << 16;

/// Delivery mode NMI with level assert, physical destination.
pub const ICR_NMI: u32 = 0x4400;
/// Delivery mode INIT with level assert, physical destination.
pub const ICR_INIT: u32 = 0x4500;
/// Delivery mode Start-up; the vector is the page of the code.
pub const ICR_STARTUP: u32 = 0x4600;

/// Tells the mode of this CPU's APIC.
pub fn mode() -> ApicMode {
    if msr::read(msr::IA32_APIC_BASE) & APIC_BASE_EXTD != 0 {
        ApicMode::X2apic
    } else {
        ApicMode::Xapic
    }
}

/// Brings this CPU's APIC into `mode`; once, before a cell runs. Returns whether it is in that mode now: the way
/// back from x2APIC leads through a disabled APIC, which some machines lock, and an xAPIC page that the firmware moved
/// is not supported.
pub fn set_mode(wanted: ApicMode) -> bool {
    const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let base = msr::read(msr::IA32_APIC_BASE);
    if base & BASE_ADDRESS != XAPIC_BASE {
        return false;
    }
    match (mode(), wanted) {
        (ApicMode::Xapic, ApicMode::X2apic) => {
            // SAFETY: the APIC is on in xAPIC mode; x2APIC support was checked. No interrupt is in flight: IF = 0
            // since the loader.
            unsafe { msr::write(msr::IA32_APIC_BASE, base | APIC_BASE_EN | APIC_BASE_EXTD) };
            mode() == wanted
        }
        (ApicMode::X2apic, ApicMode::Xapic) => false,
        (ApicMode::Xapic, ApicMode::Xapic) => {
            // SAFETY: sets the global enable that every mode needs.
            unsafe { msr::write(msr::IA32_APIC_BASE, base | APIC_BASE_EN) };
            true
        }
        (ApicMode::X2apic, ApicMode::X2apic) => true,
    }
}

/// Reads an APIC register by its xAPIC offset.
pub fn read(register: u16) -> u32 {
    match mode() {
        ApicMode::X2apic => (msr::read(0x800 + u32::from(register >> 4)) & 0xffff_ffff) as u32,
        // SAFETY: the xAPIC page is mapped one to one, uncached by MTRR; `register` is a 16-byte step in it.
        ApicMode::Xapic => unsafe { xapic_register(register).read_volatile() },
    }
}

/// Writes an APIC register by its xAPIC offset.
///
/// # Safety
/// The write must do only what the owner of this CPU may do.
pub unsafe fn write(register: u16, value: u32) {
    // SAFETY: as in `read`; the caller vouches for the effect.
    unsafe {
        match mode() {
            ApicMode::X2apic => msr::write(0x800 + u32::from(register >> 4), u64::from(value)),
            ApicMode::Xapic => xapic_register(register).write_volatile(value),
        }
    }
}

/// Masks this CPU's local interrupts and takes its logical ID away, as INIT does. Firmware leaves LINT0 of the boot CPU
/// to the 8259s, and may have left an ID.
pub fn mask_local_interrupts() {
    for register in REGS_LVT {
        // SAFETY: a masked entry does nothing.
        unsafe { write(register, LVT_MASKED) };
    }
    // In x2APIC mode the logical ID follows from the APIC ID.
    if mode() == ApicMode::Xapic {
        for (register, value) in [(REG_LDR, 0), (REG_DFR, u32::MAX)] {
            // SAFETY: without a logical ID the CPU takes fewer interrupts.
            unsafe { write(register, value) };
        }
    }
}

/// Brings this CPU's APIC into a state in which a kernel can begin: nothing is masked by priority or by an interrupt in
/// service, and no local interrupt comes. What was requested and not delivered (IRR) cannot be taken back; it comes when the
/// kernel allows interrupts, as it may after firmware.
pub fn quiet() {
    mask_local_interrupts();
    // SAFETY: the CPU is nobody's now; these registers act on it alone.
    unsafe {
        write(REG_TPR, 0);
        write(REG_INITIAL_COUNT, 0);
        // Each EOI takes the highest interrupt out of service, of at most 256.
        for _ in 0..256 {
            if (0..8).all(|index| read(REG_ISR + 0x10 * index) == 0) {
                break;
            }
            write(REG_EOI, 0);
        }
    }
}

fn xapic_register(register: u16) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut((XAPIC_BASE + u64::from(register & 0xff0)) as usize)
}

/// Returns this CPU's APIC ID.
pub fn id() -> u32 {
    match mode() {
        ApicMode::X2apic => read(REG_ID),
        ApicMode::Xapic => cpuid::read(1, 0).ebx >> 24,
    }
}

/// Sends an IPI to one CPU, physical destination. `low` is the ICR's low half.
///
/// # Safety
/// The target must be one that the hypervisor (or the cell it acts for) may interrupt in that way.
pub unsafe fn send_ipi(target: u32, low: u32) {
    // SAFETY: the caller vouches for the target.
    unsafe {
        match mode() {
            ApicMode::X2apic => {
                // WRMSR of an x2APIC register does not order earlier stores; the target must see them.
                core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
                msr::write(msr::X2APIC_ICR, u64::from(target) << 32 | u64::from(low));
            }
            ApicMode::Xapic => {
                while read(REG_ICR_LOW) & 1 << 12 != 0 {
                    core::hint::spin_loop();
                }
                write(REG_ICR_HIGH, target << 24);
                write(REG_ICR_LOW, low);
            }
        }
    }
}
