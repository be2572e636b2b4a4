//! CPUID as a cell sees it: the processor's own, without what the cell does not have.

use bit_field::BitField;
use cell_config::ApicMode;
use hv_abi::cpuid::{ABI_LEAF, KVM_SIGNATURE, KVM_SIGNATURE_LEAF, SIGNATURE, SIGNATURE_LEAF};

use super::Resume;
use crate::arch::control_regs::{CR4_OSXSAVE, CR4_PKE};
use crate::arch::cpuid::{self, CpuidResult};
use crate::cell::msr_policy::XSS_ALLOWED;
use crate::cpu::Vcpu;
use crate::vmx::enter::{RAX, RBX, RCX, RDX};
use crate::vmx::fields;

/// First of the leaves that processors leave to hypervisors.
const HYPERVISOR_LEAVES: core::ops::RangeInclusive<u32> = 0x4000_0000..=0x4FFF_FFFF;

/// First basic and first extended leaf; each tells the highest one.
const BASIC_LEAVES: u32 = 0;
const EXTENDED_LEAVES: u32 = 0x8000_0000;

/// Facts of the cell's CPU that CPUID reflects.
#[derive(Clone, Copy, Debug)]
struct View {
    cr4: u64,
    apic_mode: ApicMode,
    cpu_count: u32,
}

/// Handles CPUID.
pub fn emulate(vcpu: &mut Vcpu) -> Resume {
    let (leaf, subleaf) = (low(vcpu.regs.gpr[RAX]), low(vcpu.regs.gpr[RCX]));
    let view = View {
        cr4: vcpu.vmcs.read(fields::GUEST_CR4) as u64,
        apic_mode: vcpu.cell.system.machine.apic_mode,
        cpu_count: vcpu.cell.config.cpus.len() as u32,
    };
    let result = if HYPERVISOR_LEAVES.contains(&leaf) {
        hypervisor_leaf(leaf, &view)
    } else {
        let highest = |first| cpuid::read(first, 0).eax;
        let leaf = answered_leaf(leaf, highest(BASIC_LEAVES), highest(EXTENDED_LEAVES));
        filter(leaf, subleaf, cpuid::read(leaf, subleaf), &view)
    };
    let registers = [
        (RAX, result.eax),
        (RBX, result.ebx),
        (RCX, result.ecx),
        (RDX, result.edx),
    ];
    for (register, value) in registers {
        vcpu.regs.gpr[register] = u64::from(value);
    }
    Resume::AfterInstruction
}

/// Returns the leaf that the processor answers: for one that it does not have, the highest basic one. Which that is must
/// be known, or its data would pass unfiltered. (SDM 2A, "CPUID—CPU Identification")
fn answered_leaf(leaf: u32, highest_basic: u32, highest_extended: u32) -> u32 {
    let exists = leaf <= highest_basic || (EXTENDED_LEAVES..=highest_extended).contains(&leaf);
    if exists { leaf } else { highest_basic }
}

fn low(register: u64) -> u32 {
    (register & 0xffff_ffff) as u32
}

fn signature(highest: u32, text: [u8; 12]) -> CpuidResult {
    let word = |at: usize| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
    CpuidResult {
        eax: highest,
        ebx: word(0),
        ecx: word(4),
        edx: word(8),
    }
}

fn hypervisor_leaf(leaf: u32, view: &View) -> CpuidResult {
    match leaf {
        SIGNATURE_LEAF => signature(ABI_LEAF, SIGNATURE),
        ABI_LEAF => CpuidResult {
            eax: hv_abi::ABI_REVISION,
            ..CpuidResult::default()
        },
        // Linux would switch x2APIC on under KVM's name, where all cells are in xAPIC mode.
        KVM_SIGNATURE_LEAF if view.apic_mode == ApicMode::X2apic => {
            signature(KVM_SIGNATURE_LEAF + 1, KVM_SIGNATURE)
        }
        _ => CpuidResult::default(),
    }
}

/// Takes out of a leaf what the cell does not have. (SDM 2A, "CPUID—CPU Identification")
fn filter(leaf: u32, subleaf: u32, mut r: CpuidResult, view: &View) -> CpuidResult {
    match leaf {
        1 => {
            r.ebx.set_bits(16..24, view.cpu_count.min(255));
            r.ecx.set_bit(5, false); // VMX
            r.ecx.set_bit(6, false); // SMX
            r.ecx.set_bit(15, false); // PDCM: no performance counters
            r.ecx.set_bit(27, view.cr4 & CR4_OSXSAVE != 0);
            r.ecx.set_bit(31, true); // hypervisor
            if view.apic_mode == ApicMode::Xapic {
                r.ecx.set_bit(21, false); // x2APIC
            }
            for bit in [7, 8] {
                r.ecx.set_bit(bit, false); // SpeedStep, TM2: clocks and heat are the package's
            }
            for bit in [21, 22, 29] {
                r.edx.set_bit(bit, false); // DS, ACPI thermal control, TM
            }
        }
        // Cores and threads that share a cache: at most the cell's.
        4 if r.eax != 0 => {
            let sharing = r.eax.get_bits(14..26).min(view.cpu_count.saturating_sub(1));
            r.eax.set_bits(14..26, sharing);
        }
        6 => {
            // Thermal and power management act on the package.
            r.eax &= 1 << 2; // ARAT stays
            r.ecx = 0;
        }
        7 if subleaf == 0 => {
            for bit in [2, 12, 15, 25] {
                r.ebx.set_bit(bit, false); // SGX, RDT monitoring, RDT allocation, Processor Trace
            }
            for bit in [13, 16, 30] {
                r.ecx.set_bit(bit, false); // TME, LA57, SGX launch control
            }
            r.ecx.set_bit(4, view.cr4 & CR4_PKE != 0); // OSPKE
            for bit in [18, 19] {
                r.edx.set_bit(bit, false); // PCONFIG, architectural LBRs
            }
        }
        0xD if subleaf == 1 => {
            r.ecx &= (XSS_ALLOWED & 0xffff_ffff) as u32;
            r.edx = 0;
        }
        // ECX bit 0: a component of IA32_XSS.
        0xD if subleaf > 1 && r.ecx.get_bit(0) && !is_allowed_in_xss(subleaf) => {
            r = CpuidResult::default();
        }
        // Performance monitoring, RDT, SGX, Processor Trace, PCONFIG, LBRs.
        0xA | 0xF | 0x10 | 0x12 | 0x14 | 0x1B | 0x1C | 0x23 => r = CpuidResult::default(),
        0xB | 0x1F if r.ebx != 0 => r.ebx = r.ebx.min(view.cpu_count),
        _ => {}
    }
    r
}

fn is_allowed_in_xss(component: u32) -> bool {
    1_u64
        .checked_shl(component)
        .is_some_and(|bit| XSS_ALLOWED & bit != 0)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_that_the_processor_lacks_is_the_highest_basic_one() {
        for (leaf, answered) in [
            (0, 0),
            (0x20, 0x20),
            (0x21, 0x20),
            (0x3fff_ffff, 0x20),
            (0x7fff_ffff, 0x20),
            (0x8000_0000, 0x8000_0000),
            (0x8000_0008, 0x8000_0008),
            (0x8000_0009, 0x20),
            (u32::MAX, 0x20),
        ] {
            assert_eq!(
                answered_leaf(leaf, 0x20, 0x8000_0008),
                answered,
                "{leaf:#x}"
            );
        }
    }

    const ALL: CpuidResult = CpuidResult {
        eax: u32::MAX,
        ebx: u32::MAX,
        ecx: u32::MAX,
        edx: u32::MAX,
    };
    const VIEW: View = View {
        cr4: 0,
        apic_mode: ApicMode::X2apic,
        cpu_count: 1,
    };

    #[test]
    fn a_cell_sees_no_vmx_and_knows_that_it_is_a_guest() {
        let r = filter(1, 0, ALL, &VIEW);
        assert!(!r.ecx.get_bit(5) && !r.ecx.get_bit(6) && r.ecx.get_bit(31));
    }

    #[test]
    fn user_interrupts_stay_visible() {
        assert!(filter(7, 0, ALL, &VIEW).edx.get_bit(5));
    }

    #[test]
    fn supervisor_states_that_no_cell_may_enable_are_hidden() {
        let ecx = filter(0xD, 1, ALL, &VIEW).ecx;
        assert!(ecx.get_bit(14) && !ecx.get_bit(8));
        assert_eq!(filter(0xD, 14, ALL, &VIEW), ALL);
        for component in [8, 10, 15, 63, 64, u32::MAX] {
            assert_eq!(filter(0xD, component, ALL, &VIEW), CpuidResult::default());
        }
        let user_state = CpuidResult { ecx: 0, ..ALL };
        assert_eq!(filter(0xD, 2, user_state, &VIEW), user_state);
    }

    #[test]
    fn osxsave_and_ospke_follow_the_cells_own_cr4() {
        assert!(!filter(1, 0, ALL, &VIEW).ecx.get_bit(27));
        let view = View {
            cr4: CR4_OSXSAVE | CR4_PKE,
            ..VIEW
        };
        assert!(filter(1, 0, CpuidResult::default(), &view).ecx.get_bit(27));
        assert!(filter(7, 0, CpuidResult::default(), &view).ecx.get_bit(4));
    }

    #[test]
    fn x2apic_and_kvm_are_offered_together_or_not_at_all() {
        assert_eq!(
            hypervisor_leaf(KVM_SIGNATURE_LEAF, &VIEW).ebx,
            u32::from_le_bytes(*b"KVMK")
        );
        let xapic = View {
            apic_mode: ApicMode::Xapic,
            ..VIEW
        };
        assert_eq!(
            hypervisor_leaf(KVM_SIGNATURE_LEAF, &xapic),
            CpuidResult::default()
        );
        assert!(!filter(1, 0, ALL, &xapic).ecx.get_bit(21));
    }

    #[test]
    fn topology_counts_the_cells_cpus_only() {
        let eight = CpuidResult {
            eax: 1,
            ebx: 8,
            ecx: 0x100,
            edx: 3,
        };
        assert_eq!(filter(0xB, 0, eight, &VIEW).ebx, 1);
        assert_eq!(filter(0xB, 0, eight, &VIEW).edx, 3, "x2APIC ID");
        assert_eq!(filter(0xB, 2, CpuidResult::default(), &VIEW).ebx, 0);
    }
}
