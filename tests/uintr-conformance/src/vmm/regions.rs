// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that the processor reads and writes by physical address for VMX. There is one set: guests that run at the same
//! time on two CPUs share bitmaps and areas, not VMCSs and virtual-APIC pages.

use core::sync::atomic::Ordering;

use crate::machine::cpu::MAX_CPUS;
use crate::machine::paging::Words;

/// Guests that exist at the same time.
pub const GUESTS: usize = 2;

/// VMXON regions of the CPUs. (SDM 3C, "VMXON Region")
pub static VMXON: [Words; MAX_CPUS] = [const { Words::new() }; MAX_CPUS];
/// VMCS regions. (SDM 3C, "Format of the VMCS Region")
pub static VMCS: [Words; GUESTS] = [const { Words::new() }; GUESTS];
/// Virtual-APIC pages of the guests. (SDM 3C, "Virtual APIC State")
pub static VIRTUAL_APIC: [Words; GUESTS] = [const { Words::new() }; GUESTS];
/// MSR bitmaps. (SDM 3C, "MSR-Bitmap Address")
pub static MSR_BITMAPS: Words = Words::new();
/// VM-entry MSR-load area: pairs of index and value. (SDM 3C, "VM-Entry Controls for MSRs")
pub static ENTRY_MSRS: Words = Words::new();
/// APIC-access page, at which no guest looks. (SDM 3C, "APIC-Access Address")
pub static APIC_ACCESS: Words = Words::new();
/// Posted-interrupt descriptor. (SDM 3C, "Posted-Interrupt Processing")
pub static POSTED: Words = Words::new();

/// The pages that are cleared for each case.
pub const ALL: [&Words; 6] = [
    &VIRTUAL_APIC[0],
    &VIRTUAL_APIC[1],
    &MSR_BITMAPS,
    &ENTRY_MSRS,
    &APIC_ACCESS,
    &POSTED,
];

/// Sets all bytes of a page to 0.
pub fn clear(page: &Words) {
    for word in &page.0 {
        word.store(0, Ordering::SeqCst);
    }
}

/// Lets RDMSR of this MSR exit, which is below 2000H.
pub fn intercept_read(msr: u32) {
    set_bit(msr, 0);
}

/// Lets WRMSR of this MSR exit, which is below 2000H.
pub fn intercept_write(msr: u32) {
    const WRITE_BITMAP: u32 = 0x800 * 8;
    set_bit(msr, WRITE_BITMAP);
}

fn set_bit(msr: u32, bitmap: u32) {
    let bit = bitmap + msr % 0x2000;
    MSR_BITMAPS.0[bit as usize / 64].fetch_or(1 << (bit % 64), Ordering::SeqCst);
}

/// Lets nothing that the MSR bitmaps say exit.
pub fn intercept_no_msr() {
    clear(&MSR_BITMAPS);
}

/// Returns the 32-bit register at byte `offset` of the virtual-APIC page of guest `slot`.
pub fn virtual_register(slot: usize, offset: usize) -> u32 {
    let word = VIRTUAL_APIC[slot].0[offset / 8].load(Ordering::SeqCst);
    (word >> (offset % 8 * 8)) as u32
}

/// Sets the 32-bit register at byte `offset` of the virtual-APIC page of guest `slot`, while the guest does not run.
pub fn set_virtual_register(slot: usize, offset: usize, value: u32) {
    let shift = offset % 8 * 8;
    let word = &VIRTUAL_APIC[slot].0[offset / 8];
    let rest = word.load(Ordering::SeqCst) & !(0xffff_ffff << shift);
    word.store(rest | u64::from(value) << shift, Ordering::SeqCst);
}
