// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended state of programs: x87, SSE, AVX and whatever else of XCR0 the processor offers the cell.
//!
//! The kernel's own compiled code uses XMM registers, so a program's are saved whenever it leaves user mode: by XSAVEOPT, which
//! writes only what has changed since it was loaded, or by XSAVE.
//! (SDM 1, "Managing State Using the XSAVE Feature Set")

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use x86_64::registers::control::{Cr4, Cr4Flags};

/// Whether the processors have XSAVEOPT.
pub static HAS_XSAVEOPT: AtomicBool = AtomicBool::new(false);
/// Bytes of an area.
static AREA_LEN: AtomicU32 = AtomicU32::new(0);

/// MXCSR of kernel code and of new programs: all exceptions masked, round to nearest.
pub static DEFAULT_MXCSR: u32 = 0x1f80;
const MXCSR_OFFSET: usize = 24;

const CPUID_1_ECX_XSAVE: u32 = 1 << 26;
const CPUID_D_1_EAX_XSAVEOPT: u32 = 1;
const XSTATE_LEAF: u32 = 0xd;
/// Length of the legacy region and the header. (SDM 1, "XSAVE Area")
const HEAD_LEN: usize = 576;

/// Enables all state components of XCR0 that the processor offers on this CPU, and takes down how large they are.
///
/// # Panics
/// If the processor has no XSAVE. (The hypervisor needs it too.)
pub fn init() {
    let has_xsave = __cpuid(1).ecx & CPUID_1_ECX_XSAVE != 0;
    assert!(has_xsave, "the processor has no XSAVE");
    let offered = __cpuid_count(XSTATE_LEAF, 0);
    // SAFETY: the processor has XSAVE. XCR0 may have every component that CPUID offers; this kernel uses none beyond SSE, and no
    // program runs yet on this CPU.
    unsafe {
        Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
        asm!("xsetbv", in("ecx") 0, in("eax") offered.eax, in("edx") offered.edx,
            options(nomem, nostack, preserves_flags));
    }
    // For the components that are enabled now.
    AREA_LEN.store(__cpuid_count(XSTATE_LEAF, 0).ebx, Ordering::Relaxed);
    let has_opt = __cpuid_count(XSTATE_LEAF, 1).eax & CPUID_D_1_EAX_XSAVEOPT != 0;
    HAS_XSAVEOPT.store(has_opt, Ordering::Relaxed);
}

/// Returns the length of an area in bytes; it is aligned to 64.
pub fn area_len() -> usize {
    AREA_LEN.load(Ordering::Relaxed) as usize
}

/// Makes `area` the state with which a program starts.
///
/// # Panics
/// If it is shorter than [`area_len`].
pub fn reset(area: &mut [u8]) {
    let area = &mut area[..area_len()];
    // XSTATE_BV = 0: the initial state of every component. MXCSR is loaded from its place all the same; what lies behind the header
    // is not looked at.
    let head = HEAD_LEN.min(area.len());
    area[..head].fill(0);
    area[MXCSR_OFFSET..][..4].copy_from_slice(&DEFAULT_MXCSR.to_le_bytes());
}
