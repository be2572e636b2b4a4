//! Control registers and XCR0. (SDM 3A, "Control Registers")

use core::arch::asm;

/// CR0.PE.
pub const CR0_PE: u64 = 1;
/// CR0.ET.
pub const CR0_ET: u64 = 1 << 4;
/// CR0.NE: must be 1 in VMX operation.
pub const CR0_NE: u64 = 1 << 5;
/// CR0.WP.
pub const CR0_WP: u64 = 1 << 16;
/// CR0.NW.
pub const CR0_NW: u64 = 1 << 29;
/// CR0.CD.
pub const CR0_CD: u64 = 1 << 30;
/// CR0.PG.
pub const CR0_PG: u64 = 1 << 31;
/// CR4.PAE.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.LA57.
pub const CR4_LA57: u64 = 1 << 12;
/// CR4.VMXE.
pub const CR4_VMXE: u64 = 1 << 13;
/// CR4.SMXE.
pub const CR4_SMXE: u64 = 1 << 14;
/// CR4.OSXSAVE.
pub const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4.PKE.
pub const CR4_PKE: u64 = 1 << 22;
/// CR4.CET: goes with CR0.WP only.
pub const CR4_CET: u64 = 1 << 23;
/// CR4.UINTR.
pub const CR4_UINTR: u64 = 1 << 25;
/// IA32_EFER.LME.
pub const EFER_LME: u64 = 1 << 8;
/// IA32_EFER.LMA.
pub const EFER_LMA: u64 = 1 << 10;

macro_rules! control_register {
    ($read:ident, $write:ident, $name:literal) => {
        #[doc = concat!("Reads ", $name, ".")]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: reading a control register at CPL 0 has no side effect.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }

        #[doc = concat!("Writes ", $name, ".")]
        ///
        /// # Safety
        /// The value must keep the code, stack and data in use mapped and legal.
        pub unsafe fn $write(value: u64) {
            // SAFETY: the caller vouches for the value.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}

control_register!(read_cr0, write_cr0, "cr0");
control_register!(read_cr3, write_cr3, "cr3");
control_register!(read_cr4, write_cr4, "cr4");

/// Reads CR2, the address of the last page fault.
pub fn read_cr2() -> u64 {
    let value: u64;
    // SAFETY: no side effect at CPL 0.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads CR8: the priority class below which this CPU takes no interrupts. (SDM 3A, "Task Priority in IA-32e Mode")
pub fn read_cr8() -> u64 {
    let value: u64;
    // SAFETY: no side effect at CPL 0.
    unsafe { asm!("mov {}, cr8", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes CR8.
///
/// # Safety
/// `value` is at most 15.
pub unsafe fn write_cr8(value: u64) {
    // SAFETY: the caller vouches for the value; the hypervisor takes no maskable interrupts that it could hold up.
    unsafe { asm!("mov cr8, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Writes XCR0 for the guest: the hypervisor itself uses no state that XCR0 governs beyond SSE.
///
/// # Safety
/// `value` must be one that the processor accepts, with x87 and SSE enabled as it requires; CR4.OSXSAVE is set.
pub unsafe fn write_xcr0(value: u64) {
    let (low, high) = ((value & 0xffff_ffff) as u32, (value >> 32) as u32);
    // SAFETY: the caller vouches for the value.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") low, in("edx") high, options(nostack, preserves_flags))
    };
}
