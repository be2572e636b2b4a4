//! What the processor must offer, and the control values that follow from it. (SDM 3D, "VMX Capability Reporting
//! Facility")

use core::fmt;

use arrayvec::ArrayVec;
use cell_config::ApicMode;

use crate::arch::cpuid::{self, CpuidResult};
use crate::arch::msr;

/// Pin-based control "activate VMX-preemption timer".
pub const PIN_PREEMPTION_TIMER: u32 = 1 << 6;
/// Primary control "NMI-window exiting".
pub const PRIMARY_NMI_WINDOW: u32 = 1 << 22;
/// Primary controls of a CPU whose SENDUIPI is filtered: "use TPR shadow" turns its notification into an exit, and with
/// "CR8-load exiting" and "CR8-store exiting" the cell's CR8 stays the real one. (SDM 3C, "User-Interrupt
/// Virtualization")
pub const PRIMARY_FILTERED_DOORBELL: u32 = 1 << 21 | 1 << 19 | 1 << 20;
/// VM-entry control "IA-32e mode guest".
pub const ENTRY_IA32E_GUEST: u32 = 1 << 9;

/// Bits of a register and what they are.
type NamedBits = &'static [(u32, &'static str)];

const PIN: [(u32, &str); 3] = [
    (3, "NMI exiting"),
    (5, "virtual NMIs"),
    (6, "VMX-preemption timer"),
];
const PRIMARY: [(u32, &str); 7] = [
    (19, "CR8-load exiting"),
    (20, "CR8-store exiting"),
    (21, "TPR shadow"),
    (22, "NMI-window exiting"),
    (25, "I/O bitmaps"),
    (28, "MSR bitmaps"),
    (31, "secondary controls"),
];
const SECONDARY: [(u32, &str); 6] = [
    (1, "EPT"),
    (3, "RDTSCP in guests"),
    (7, "unrestricted guest"),
    (12, "INVPCID in guests"),
    (20, "XSAVES in guests"),
    (26, "user wait and pause in guests"),
];
const EXIT: [(u32, &str); 6] = [
    (2, "save debug controls"),
    (9, "host address-space size"),
    (18, "save IA32_PAT"),
    (19, "load IA32_PAT on exit"),
    (20, "save IA32_EFER"),
    (21, "load IA32_EFER on exit"),
];
const ENTRY: [(u32, &str); 4] = [
    (2, "load debug controls"),
    (9, "IA-32e mode guest"),
    (14, "load IA32_PAT on entry"),
    (15, "load IA32_EFER on entry"),
];
/// Controls that are not used at first but must be allowed to change.
const PIN_NOT_AT_START: u32 = PIN_PREEMPTION_TIMER;
const PRIMARY_NOT_AT_START: u32 = PRIMARY_NMI_WINDOW | PRIMARY_FILTERED_DOORBELL;
const LOAD_CET_EXIT: u32 = 1 << 28;
const LOAD_CET_ENTRY: u32 = 1 << 20;

/// Something that the processor (or its firmware) does not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What it is.
    pub name: &'static str,
    /// Where the processor would say so.
    pub register: &'static str,
    /// The bit there.
    pub bit: u32,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}[{}])", self.name, self.register, self.bit)
    }
}

/// All that is missing, most basic first.
pub type MissingList = ArrayVec<Missing, 48>;

/// CPUID leaves that the requirements are in.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuidLeaves {
    /// Leaf 1.
    pub features: CpuidResult,
    /// Leaf 7, subleaf 0.
    pub extended_features: CpuidResult,
    /// Leaf 8000_0001H.
    pub extended_processor: CpuidResult,
}

impl CpuidLeaves {
    /// Reads them on this CPU.
    pub fn read() -> Self {
        Self {
            features: cpuid::read_or_zero(1, 0),
            extended_features: cpuid::read_or_zero(7, 0),
            extended_processor: cpuid::read_or_zero(0x8000_0001, 0),
        }
    }

    /// Adds what the leaves do not offer.
    pub fn missing(&self, apic_mode: ApicMode, list: &mut MissingList) {
        let mut require = |value: u32, bit: u32, name, register| {
            if value & 1 << bit == 0 {
                let _ = list.try_push(Missing {
                    name,
                    register,
                    bit,
                });
            }
        };
        require(self.features.ecx, 5, "VMX", "CPUID.1:ECX");
        require(
            self.extended_features.edx,
            5,
            "UINTR (user interrupts)",
            "CPUID.(7,0):EDX",
        );
        require(self.features.ecx, 26, "XSAVE", "CPUID.1:ECX");
        require(self.features.edx, 9, "local APIC", "CPUID.1:EDX");
        if apic_mode == ApicMode::X2apic {
            require(
                self.features.ecx,
                21,
                "x2APIC (or set machine.apic_mode = \"xapic\")",
                "CPUID.1:ECX",
            );
        }
        require(
            self.extended_processor.edx,
            26,
            "1 GiB pages",
            "CPUID.80000001H:EDX",
        );
    }
}

/// The VMX capability MSRs of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmxCapabilities {
    /// IA32_VMX_BASIC.
    pub basic: u64,
    /// IA32_VMX_TRUE_PINBASED_CTLS.
    pub pin: u64,
    /// IA32_VMX_TRUE_PROCBASED_CTLS.
    pub primary: u64,
    /// IA32_VMX_PROCBASED_CTLS2.
    pub secondary: u64,
    /// IA32_VMX_TRUE_EXIT_CTLS.
    pub exit: u64,
    /// IA32_VMX_TRUE_ENTRY_CTLS.
    pub entry: u64,
    /// IA32_VMX_EPT_VPID_CAP.
    pub ept_vpid: u64,
    /// IA32_VMX_MISC.
    pub misc: u64,
    /// IA32_VMX_CR0_FIXED0 and IA32_VMX_CR0_FIXED1.
    pub cr0_fixed: (u64, u64),
    /// IA32_VMX_CR4_FIXED0 and IA32_VMX_CR4_FIXED1.
    pub cr4_fixed: (u64, u64),
    /// IA32_FEATURE_CONTROL.
    pub feature_control: u64,
}

/// Values of the five control fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Pin-based controls.
    pub pin: u32,
    /// Primary processor-based controls.
    pub primary: u32,
    /// Secondary processor-based controls.
    pub secondary: u32,
    /// VM-exit controls.
    pub exit: u32,
    /// VM-entry controls, without "IA-32e mode guest".
    pub entry: u32,
    /// Whether CET state is switched.
    pub cet: bool,
}

impl VmxCapabilities {
    /// Reads them on this CPU, which must have VMX (CPUID.1:ECX bit 5), or the reads fault. Of the MSRs that exist only
    /// with others, those that do not are 0.
    pub fn read() -> Self {
        let basic = msr::read(msr::IA32_VMX_BASIC);
        let true_controls = basic & 1 << 55 != 0;
        let when = |exists: bool, number: u32| if exists { msr::read(number) } else { 0 };
        let primary = when(true_controls, msr::IA32_VMX_TRUE_PROCBASED_CTLS);
        let has_secondary = primary >> 63 & 1 != 0;
        let secondary = when(has_secondary, msr::IA32_VMX_PROCBASED_CTLS2);
        let has_ept = secondary >> 33 & 1 != 0 || secondary >> 37 & 1 != 0;
        Self {
            basic,
            pin: when(true_controls, msr::IA32_VMX_TRUE_PINBASED_CTLS),
            primary,
            secondary,
            exit: when(true_controls, msr::IA32_VMX_TRUE_EXIT_CTLS),
            entry: when(true_controls, msr::IA32_VMX_TRUE_ENTRY_CTLS),
            ept_vpid: when(has_ept, msr::IA32_VMX_EPT_VPID_CAP),
            misc: msr::read(msr::IA32_VMX_MISC),
            cr0_fixed: (
                msr::read(msr::IA32_VMX_CR0_FIXED0),
                msr::read(msr::IA32_VMX_CR0_FIXED1),
            ),
            cr4_fixed: (
                msr::read(msr::IA32_VMX_CR4_FIXED0),
                msr::read(msr::IA32_VMX_CR4_FIXED1),
            ),
            feature_control: msr::read(msr::IA32_FEATURE_CONTROL),
        }
    }

    /// Returns the VMCS revision identifier.
    pub fn revision(&self) -> u32 {
        (self.basic & 0x7fff_ffff) as u32
    }

    /// Adds what VMX does not offer here.
    pub fn missing(&self, list: &mut MissingList) {
        let mut require = |offered: bool, name, register, bit| {
            if !offered {
                let _ = list.try_push(Missing {
                    name,
                    register,
                    bit,
                });
            }
        };
        // Locked without "VMX outside SMX": firmware switched it off. Unlocked, start-up sets it itself.
        let locked_off = self.feature_control & 0b101 == 0b001;
        require(
            !locked_off,
            "VMX outside SMX, switched off by the firmware",
            "IA32_FEATURE_CONTROL",
            2,
        );
        require(
            self.basic & 1 << 55 != 0,
            "true VMX controls",
            "IA32_VMX_BASIC",
            55,
        );
        let groups: [(u64, NamedBits, &'static str); 5] = [
            (self.pin, &PIN, "IA32_VMX_TRUE_PINBASED_CTLS"),
            (self.primary, &PRIMARY, "IA32_VMX_TRUE_PROCBASED_CTLS"),
            (self.secondary, &SECONDARY, "IA32_VMX_PROCBASED_CTLS2"),
            (self.exit, &EXIT, "IA32_VMX_TRUE_EXIT_CTLS"),
            (self.entry, &ENTRY, "IA32_VMX_TRUE_ENTRY_CTLS"),
        ];
        for (value, bits, register) in groups {
            for &(bit, name) in bits {
                require(value >> (32 + bit) & 1 != 0, name, register, 32 + bit);
            }
        }
        for (bit, name) in [
            (6, "EPT page-walk length 4"),
            (14, "EPT write-back"),
            (16, "EPT 2 MiB pages"),
            (20, "INVEPT"),
        ] {
            require(
                self.ept_vpid >> bit & 1 != 0,
                name,
                "IA32_VMX_EPT_VPID_CAP",
                bit,
            );
        }
        require(
            self.misc >> 6 & 1 != 0,
            "activity state HLT",
            "IA32_VMX_MISC",
            6,
        );
        require(
            self.cr4_fixed.1 >> 25 & 1 != 0,
            "CR4.UINTR in VMX operation",
            "IA32_VMX_CR4_FIXED1",
            25,
        );
    }

    /// Returns the control values; the capabilities must miss nothing.
    pub fn controls(&self) -> Controls {
        let mask = |bits: &[(u32, &str)]| bits.iter().fold(0, |mask, &(bit, _)| mask | 1 << bit);
        let cet = self.exit >> 32 & u64::from(LOAD_CET_EXIT) != 0
            && self.entry >> 32 & u64::from(LOAD_CET_ENTRY) != 0;
        let (cet_exit, cet_entry) = if cet {
            (LOAD_CET_EXIT, LOAD_CET_ENTRY)
        } else {
            (0, 0)
        };
        Controls {
            pin: adjust(self.pin, mask(&PIN) & !PIN_NOT_AT_START),
            primary: adjust(self.primary, mask(&PRIMARY) & !PRIMARY_NOT_AT_START),
            secondary: adjust(self.secondary, mask(&SECONDARY)),
            exit: adjust(self.exit, mask(&EXIT) | cet_exit),
            entry: adjust(self.entry, mask(&ENTRY) & !ENTRY_IA32E_GUEST | cet_entry),
            cet,
        }
    }

    /// Tells whether EPT maps 1 GiB pages.
    pub fn ept_1g(&self) -> bool {
        self.ept_vpid >> 17 & 1 != 0
    }
}

/// Applies allowed-0 (low half: bits that must be 1) and allowed-1 (high half: bits that may be 1). (SDM 3D, "Reserved
/// Controls and Default Settings")
fn adjust(capability: u64, wanted: u32) -> u32 {
    let must_be_1 = (capability & 0xffff_ffff) as u32;
    let may_be_1 = (capability >> 32) as u32;
    (wanted | must_be_1) & may_be_1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bochs 3.1, sapphire_rapids.
    const BOCHS: VmxCapabilities = VmxCapabilities {
        basic: 0x01d8_1000_0000_0004,
        pin: 0xff_0000_0016,
        primary: 0xfffb_fffe_0400_6172,
        secondary: 0x06d7_7fff_0000_0000,
        exit: 0xf87f_ffff_0003_6dfb,
        entry: 0x0058_ffff_0000_11fb,
        ept_vpid: 0xf01_06f3_4141,
        misc: 0x6004_01e0,
        cr0_fixed: (0x8000_0021, 0xffff_ffff),
        cr4_fixed: (0x2000, 0x3f7_3fff),
        feature_control: 5,
    };

    #[test]
    fn the_emulated_sapphire_rapids_misses_nothing() {
        let mut list = MissingList::new();
        BOCHS.missing(&mut list);
        assert!(list.is_empty(), "{list:?}");
    }

    #[test]
    fn each_missing_control_is_named_with_its_bit() {
        let mut list = MissingList::new();
        let without_unrestricted = VmxCapabilities {
            secondary: BOCHS.secondary & !(1 << 39),
            ..BOCHS
        };
        without_unrestricted.missing(&mut list);
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].name, list[0].bit), ("unrestricted guest", 39));
    }

    #[test]
    fn firmware_that_locked_vmx_off_is_told_from_firmware_that_left_it_open() {
        for (value, missing) in [(0, 0), (5, 0), (4, 0), (1, 1)] {
            let mut list = MissingList::new();
            VmxCapabilities {
                feature_control: value,
                ..BOCHS
            }
            .missing(&mut list);
            assert_eq!(list.len(), missing, "IA32_FEATURE_CONTROL = {value}");
        }
    }

    #[test]
    fn a_processor_without_anything_gets_a_full_list_and_no_panic() {
        let mut list = MissingList::new();
        CpuidLeaves::default().missing(ApicMode::X2apic, &mut list);
        VmxCapabilities::default().missing(&mut list);
        assert!(list.iter().any(|m| m.name == "VMX"));
        assert!(list.len() > 20);
    }

    #[test]
    fn reserved_bits_are_forced_and_external_interrupts_do_not_exit() {
        let controls = BOCHS.controls();
        assert_eq!(controls.pin, 0x16 | 1 << 3 | 1 << 5);
        assert_eq!(controls.pin & 1, 0, "external-interrupt exiting");
        assert_eq!(controls.primary & 1 << 21, 0, "TPR shadow");
        assert_eq!(controls.entry & ENTRY_IA32E_GUEST, 0);
    }
}
