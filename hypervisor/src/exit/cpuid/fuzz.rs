// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random processors: a cell sees no more than they have, and never what is kept from it.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn result() -> impl Strategy<Value = CpuidResult> {
    let word = || prop_oneof![Just(u32::MAX), Just(0u32), any::<u32>()];
    (word(), word(), word(), word()).prop_map(|(eax, ebx, ecx, edx)| CpuidResult {
        eax,
        ebx,
        ecx,
        edx,
    })
}

fn view() -> impl Strategy<Value = View> {
    (any::<u64>(), any::<bool>(), 1u32..=64).prop_map(|(cr4, is_xapic, cpu_count)| View {
        cr4,
        apic_mode: if is_xapic {
            ApicMode::Xapic
        } else {
            ApicMode::X2apic
        },
        cpu_count,
    })
}

/// Bits of a leaf that may be set though the processor has them clear: EBX and ECX.
fn added(leaf: u32, subleaf: u32, view: &View) -> (u32, u32) {
    match (leaf, subleaf) {
        (1, _) => (
            0xff << 16,
            1 << 31 | u32::from(view.cr4 & CR4_OSXSAVE != 0) << 27,
        ),
        (7, 0) => (0, u32::from(view.cr4 & CR4_PKE != 0) << 4),
        _ => (0, 0),
    }
}

/// Leaves that hold numbers rather than bits.
fn counts(leaf: u32) -> bool {
    matches!(leaf, 4 | 0xb | 0x1f)
}

proptest! {
    #[test]
    fn nothing_is_added_and_nothing_that_is_hidden_shows(
        leaf in prop_oneof![0u32..0x24, select(vec![0x8000_0000, 0x8000_0001, 0x8000_0008]), any::<u32>()],
        subleaf in prop_oneof![0u32..20, any::<u32>()], real in result(), view in view(),
    ) {
        let seen = filter(leaf, subleaf, real, &view);
        prop_assert_eq!(filter(leaf, subleaf, seen, &view), seen, "twice is once");
        let (ebx, ecx) = added(leaf, subleaf, &view);
        if !counts(leaf) {
            prop_assert_eq!((seen.eax & !real.eax, seen.ebx & !real.ebx & !ebx), (0, 0));
            prop_assert_eq!((seen.ecx & !real.ecx & !ecx, seen.edx & !real.edx), (0, 0));
        }
        match (leaf, subleaf) {
            (1, _) => {
                prop_assert_eq!(seen.ecx & (1 << 5 | 1 << 6 | 1 << 15), 0, "VMX, SMX, PDCM");
                prop_assert_eq!(seen.ebx >> 16 & 0xff, view.cpu_count);
                prop_assert!(view.apic_mode == ApicMode::X2apic || seen.ecx & 1 << 21 == 0);
            }
            (4, _) => prop_assert!((seen.eax >> 14 & 0xfff) < view.cpu_count || seen.eax == real.eax && real.eax == 0),
            (7, 0) => prop_assert_eq!(seen.ecx & 1 << 16 | seen.ebx & 1 << 2, 0, "LA57, SGX"),
            (0xb | 0x1f, _) => prop_assert!(seen.ebx <= view.cpu_count),
            (0xd, 1) => prop_assert_eq!(u64::from(seen.ecx) & !XSS_ALLOWED, 0),
            _ => {}
        }
    }

    #[test]
    fn the_hypervisors_leaves_are_those_that_are_written_down(leaf in 0x4000_0000u32..=0x4000_01ff, view in view()) {
        let seen = hypervisor_leaf(leaf, &view);
        let is_known = [SIGNATURE_LEAF, ABI_LEAF].contains(&leaf)
            || leaf == KVM_SIGNATURE_LEAF && view.apic_mode == ApicMode::X2apic;
        prop_assert_eq!(seen != CpuidResult::default(), is_known);
    }
}
