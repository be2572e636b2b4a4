//! Time-stamp counter.

use super::cpuid;
use super::port::{self, Width};

/// Reads the TSC.
pub fn read() -> u64 {
    // SAFETY: RDTSC has no side effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Spins for `ticks` of the TSC.
pub fn delay(ticks: u64) {
    let start = read();
    while read().wrapping_sub(start) < ticks {
        core::hint::spin_loop();
    }
}

/// Returns the TSC frequency in kHz that CPUID tells, if it does. (SDM 3B, "Determining the Processor Base Frequency")
pub fn khz_from_cpuid() -> Option<u32> {
    let leaf = cpuid::read_or_zero(0x15, 0);
    if leaf.eax == 0 || leaf.ebx == 0 || leaf.ecx == 0 {
        return None;
    }
    let hz = u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax);
    u32::try_from(hz / 1000).ok().filter(|&khz| khz != 0)
}

/// Ticks of the 8254 in 10 ms.
const PIT_10MS: u16 = 11932;
/// Loops after which a PIT that never counts down is taken for absent.
const PIT_PATIENCE: u32 = 50_000_000;

/// Measures the TSC frequency in kHz against channel 2 of the 8254, or returns `None` where that does not count
/// (some servers switch it off). Takes 10 ms.
pub fn khz_from_pit() -> Option<u32> {
    // SAFETY: channel 2 only drives the speaker, whose gate is restored; no cell runs yet.
    unsafe {
        let speaker = port::read(0x61, Width::Byte);
        port::write(0x61, Width::Byte, speaker & !0x02 | 0x01);
        port::write(0x43, Width::Byte, 0xb0);
        port::write(0x42, Width::Byte, u32::from(PIT_10MS & 0xff));
        port::write(0x42, Width::Byte, u32::from(PIT_10MS >> 8));
        let start = read();
        let counted = (0..PIT_PATIENCE).any(|_| port::read(0x61, Width::Byte) & 0x20 != 0);
        let ticks = read().wrapping_sub(start);
        port::write(0x61, Width::Byte, speaker);
        if counted {
            u32::try_from(ticks / 10).ok().filter(|&khz| khz != 0)
        } else {
            None
        }
    }
}
