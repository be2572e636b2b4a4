// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor: everything that needs its instructions. The cases use it without `unsafe`.
#![expect(unsafe_code, reason = "runs without an operating system")]

#[macro_use]
pub mod console;

pub mod apic;
pub mod at_start;
pub mod cpu;
pub mod descriptors;
mod entry;
pub mod event;
pub mod hypercall;
pub mod paging;
pub mod place;
pub mod run;
pub mod shared;
pub mod smp;
mod stack;
pub mod stop;
pub mod trap;
pub mod uintr;
pub mod xsave;

use core::sync::atomic::{AtomicBool, Ordering};

use place::Place;
use uintr_conformance::ApicMode;

/// Ticks after which a case, or a wait in it, has taken too long. The emulator's time-stamp counter counts
/// instructions; a processor has a hundredth of a second.
pub const BUDGET: u64 = 20_000_000;

/// Whether the APICs are switched to their mode here.
static CHOOSES_MODE: AtomicBool = AtomicBool::new(false);

/// Sets the machine up and starts all CPUs. Returns the mode of the local APICs, or none if the wanted one is not there.
pub fn start(place: Place, wanted: Option<ApicMode>) -> Option<ApicMode> {
    const CPUID_1_ECX_X2APIC: u32 = 1 << 21;
    place.mask_legacy_interrupts();
    let has_x2apic = cpu::cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC != 0;
    let mode = match (place.apic_mode(), wanted) {
        (Some(fixed), None) => fixed,
        (Some(fixed), Some(wanted)) if fixed != wanted => return None,
        (_, Some(ApicMode::X2apic)) if !has_x2apic => return None,
        (_, Some(wanted)) => wanted,
        (None, None) if has_x2apic => ApicMode::X2apic,
        (None, None) => ApicMode::Xapic,
    };
    apic::set_mode(mode);
    CHOOSES_MODE.store(place.apic_mode().is_none(), Ordering::SeqCst);
    descriptors::build();
    paging::build();
    set_up_cpu(0);
    smp::start(place);
    Some(mode)
}

/// Sets this CPU up: tables, local APIC.
fn set_up_cpu(index: u32) {
    paging::load();
    descriptors::load(index);
    cpu::allow_user_pages();
    if uintr::is_enumerated() {
        at_start::keep();
    }
    if CHOOSES_MODE.load(Ordering::SeqCst) {
        apic::switch();
    }
    apic::enable(trap::SPURIOUS, trap::WATCHDOG);
    smp::note_apic_id();
}
