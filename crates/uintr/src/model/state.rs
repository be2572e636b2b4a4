// SPDX-License-Identifier: MIT OR Apache-2.0
//! State of a logical processor, as far as user interrupts see it.

use super::apic::Apic;
use super::fault::Fault;
use super::memory::Privilege;

/// When the processor recognizes that a user interrupt is pending. The manual lists the operations that evaluate UIRR
/// and does not say what CR4.UINTR does to the evaluation, nor is MOV to CR4 in the list. (SDM 3A, "User-Interrupt
/// Recognition")
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recognition {
    /// Whenever UIRR is not 0; delivery alone depends on CR4.UINTR.
    WheneverRequested,
    /// Whenever an operation leaves UIRR not 0 while CR4.UINTR is 1.
    WhileEnabled,
}

/// What differs between processors, or is open in the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Width of linear addresses that CPUID enumerates (bits 15:8 of CPUID.80000008H:EAX), in bits: 48 or 57. MSRs and
    /// XRSTORS check against it, whatever the paging mode.
    pub linear_address_bits: u32,
    /// Bit 17 of CPUID.(EAX=7,ECX=1):EDX: UIRET loads UIF from bit 1 of the RFLAGS image.
    pub flexible_uiret: bool,
    /// When pending user interrupts are recognized.
    pub recognition: Recognition,
    /// Whether XRSTORS that initializes the component faults while UINV is not 0, as one that loads it does.
    pub init_checks_uinv: bool,
}

impl Options {
    /// The first processors with user interrupts, read as the manual's text suggests.
    pub const SAPPHIRE_RAPIDS: Self = Self {
        linear_address_bits: 57,
        flexible_uiret: false,
        recognition: Recognition::WheneverRequested,
        init_checks_uinv: false,
    };
}

/// The user-interrupt state. (SDM 3A, "User-Interrupt State"; the MSRs' names in "User-Interrupt MSRs")
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserInterrupts {
    /// Requests (UIRR), bit i for user vector i.
    pub uirr: u64,
    /// User-interrupt flag: 1 allows delivery. No MSR holds it.
    pub uif: bool,
    /// Linear address of the handler (UIHANDLER).
    pub handler: u64,
    /// UISTACKADJUST: bit 0 tells an absolute stack address from a number of bytes to subtract.
    pub stack_adjust: u64,
    /// Notification vector (UINV).
    pub uinv: u8,
    /// Linear address of the UPID (UPIDADDR).
    pub upid_address: u64,
    /// IA32_UINTR_TT: linear address of the UITT, and in bit 0 whether SENDUIPI is enabled.
    pub tt: u64,
    /// Highest index of the UITT (UITTSZ).
    pub uitt_size: u32,
}

/// State of a logical processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cpu {
    /// What it is.
    pub options: Options,
    /// CR4.UINTR.
    pub cr4_uintr: bool,
    /// CR4.LA57: linear addresses have 57 bits rather than 48.
    pub la57: bool,
    /// CR0.AM: RFLAGS.AC asks for alignment checks at CPL 3.
    pub cr0_am: bool,
    /// IA32_EFER.LMA.
    pub lma: bool,
    /// CS.L: with LMA, 64-bit mode.
    pub cs_l: bool,
    /// Current privilege level.
    pub cpl: u8,
    /// Blocking by STI: no maskable interrupt on the next boundary.
    pub sti_blocking: bool,
    /// Blocking by MOV SS or POP SS: no interrupt on the next boundary.
    pub mov_ss_blocking: bool,
    /// RIP: next instruction.
    pub rip: u64,
    /// RSP.
    pub rsp: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// User-interrupt state.
    pub user: UserInterrupts,
    /// A pending user interrupt is recognized.
    pub recognized: bool,
    /// Local APIC.
    pub apic: Apic,
}

/// RFLAGS.CF.
pub const CF: u64 = 1 << 0;
/// RFLAGS bit 1, which always reads 1.
pub const RFLAGS_ONE: u64 = 1 << 1;
/// The status flags CF, PF, AF, ZF, SF and OF.
pub const STATUS_FLAGS: u64 = 0x8d5;
/// RFLAGS.TF.
pub const TF: u64 = 1 << 8;
/// RFLAGS.IF.
pub const IF: u64 = 1 << 9;
/// RFLAGS.RF.
pub const RF: u64 = 1 << 16;
/// RFLAGS.AC.
pub const AC: u64 = 1 << 18;

impl Cpu {
    /// Returns a processor in 64-bit mode at CPL 0 with 4-level paging, interrupts disabled, user interrupts enabled
    /// and their state as after RESET.
    pub const fn new(options: Options, apic: Apic) -> Self {
        Self {
            options,
            cr4_uintr: true,
            la57: false,
            cr0_am: false,
            lma: true,
            cs_l: true,
            cpl: 0,
            sti_blocking: false,
            mov_ss_blocking: false,
            rip: 0,
            rsp: 0,
            rflags: RFLAGS_ONE,
            user: UserInterrupts {
                uirr: 0,
                uif: false,
                handler: 0,
                stack_adjust: 0,
                uinv: 0,
                upid_address: 0,
                tt: 0,
                uitt_size: 0,
            },
            recognized: false,
            apic,
        }
    }

    /// Ends an instruction of `len_bytes` bytes: RIP moves on, and what lasts for one instruction ends. The caller
    /// does this before an instruction that starts blocking.
    pub fn retire(&mut self, len_bytes: u64) {
        self.rip = self.rip.wrapping_add(len_bytes);
        self.rflags &= !RF;
        self.sti_blocking = false;
        self.mov_ss_blocking = false;
    }

    /// Tells whether the processor is in 64-bit mode.
    pub fn is_64_bit_mode(&self) -> bool {
        self.lma && self.cs_l
    }

    /// Sets CR4.UINTR as MOV to CR4 does. That does not evaluate UIRR anew.
    pub fn set_cr4_uintr(&mut self, value: bool) {
        self.cr4_uintr = value;
    }

    /// Evaluates UIRR, as each operation that changes it does. (SDM 3A, "User-Interrupt Recognition")
    pub(super) fn recognize(&mut self) {
        let enabled = match self.options.recognition {
            Recognition::WheneverRequested => true,
            Recognition::WhileEnabled => self.cr4_uintr && self.lma,
        };
        self.recognized = enabled && self.user.uirr != 0;
    }

    /// Checks what all five instructions need: 64-bit mode and CR4.UINTR, else #UD. (SDM 2, their pages)
    pub(super) fn require_enabled(&self) -> Result<(), Fault> {
        if self.is_64_bit_mode() && self.cr4_uintr {
            Ok(())
        } else {
            Err(Fault::UD)
        }
    }

    /// Checks what privileged instructions need, else #GP(0).
    pub(super) fn require_cpl_0(&self) -> Result<(), Fault> {
        if self.cpl == 0 {
            Ok(())
        } else {
            Err(Fault::GP)
        }
    }

    /// Tells whether `address` is canonical in the current paging mode.
    pub fn is_canonical(&self, address: u64) -> bool {
        is_canonical(address, if self.la57 { 57 } else { 48 })
    }

    /// Tells whether `address` is canonical for the processor, whatever the paging mode.
    /// (SDM 3A, "User-Interrupt MSRs")
    pub(super) fn is_canonical_for_msr(&self, address: u64) -> bool {
        is_canonical(address, self.options.linear_address_bits)
    }

    /// With whose rights the program's own accesses are made.
    pub(super) fn privilege(&self) -> Privilege {
        if self.cpl == 3 {
            Privilege::User
        } else {
            Privilege::Supervisor {
                alignment_check: self.rflags & AC != 0,
            }
        }
    }
}

/// Tells whether bits 63 to `bits` - 1 of `address` are equal. (SDM 1, "Canonical Addressing")
pub const fn is_canonical(address: u64, bits: u32) -> bool {
    let unused = 64 - bits;
    ((address << unused) as i64 >> unused) as u64 == address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_repeat_their_highest_used_bit() {
        for (address, in_48, in_57) in [
            (0, true, true),
            (0x0000_7fff_ffff_ffff, true, true),
            (0x0000_8000_0000_0000, false, true),
            (0xffff_7fff_ffff_ffff, false, true),
            (0xffff_8000_0000_0000, true, true),
            (0x00ff_ffff_ffff_ffff, false, true),
            (0x0100_0000_0000_0000, false, false),
            (0xfeff_ffff_ffff_ffff, false, false),
            (0xff00_0000_0000_0000, false, true),
        ] {
            assert_eq!(is_canonical(address, 48), in_48, "{address:#x}");
            assert_eq!(is_canonical(address, 57), in_57, "{address:#x}");
        }
    }
}
