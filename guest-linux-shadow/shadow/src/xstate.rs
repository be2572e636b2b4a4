// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which extended state the user-interrupt handler saves, and how much room that takes.
#![expect(unsafe_code, reason = "XGETBV")]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

use anyhow::{Result, ensure};

/// x87, SSE, AVX and the three of AVX-512: what compiled code and the C library may use. Protection keys stay as
/// the interrupted code has them, and nothing here touches tiles.
const USED: u64 = 0xe7;

/// Legacy region and header of an XSAVE area.
const FIXED_LEN: u64 = 512 + 64;

/// The part of XSAVE that the handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedState {
    /// Components to save (XSAVEC's EAX; EDX is 0).
    pub components: u64,
    /// Bytes of the area, a multiple of 64.
    pub len_bytes: u64,
}

impl ExtendedState {
    /// Finds out on this processor.
    pub fn detect() -> Result<Self> {
        ensure!(
            __cpuid(1).ecx & 1 << 27 != 0,
            "the kernel has not enabled XSAVE"
        );
        ensure!(
            __cpuid_count(0xd, 1).eax & 1 << 1 != 0,
            "the processor has no XSAVEC"
        );
        let components = xcr0() & USED;
        let sizes = (2..8).filter(|i| components & 1 << i != 0).map(|i| {
            let leaf = __cpuid_count(0xd, i);
            (u64::from(leaf.eax), leaf.ecx & 1 << 1 != 0)
        });
        Ok(Self {
            components,
            len_bytes: compacted_len(sizes),
        })
    }
}

/// Returns the length of a compacted area whose extended components have these sizes, each aligned to 64 bytes or
/// not. (SDM 1, "Compacted Format of the Extended Region of an XSAVE Area")
fn compacted_len(sizes: impl Iterator<Item = (u64, bool)>) -> u64 {
    sizes
        .fold(FIXED_LEN, |offset, (size, is_aligned)| {
            size + if is_aligned {
                offset.next_multiple_of(64)
            } else {
                offset
            }
        })
        .next_multiple_of(64)
}

fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads XCR0; the caller has seen that the kernel enabled XSAVE.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compacted_area_packs_its_components() {
        assert_eq!(compacted_len([].into_iter()), 576);
        assert_eq!(compacted_len([(256, false)].into_iter()), 832);
        let avx512 = [(256, false), (64, false), (512, false), (1024, false)];
        assert_eq!(compacted_len(avx512.into_iter()), 2432);
        assert_eq!(
            compacted_len([(8, false), (64, true)].into_iter()),
            576 + 64 + 64
        );
    }

    #[test]
    fn this_processor_saves_at_least_sse() {
        if let Ok(state) = ExtendedState::detect() {
            assert_eq!(state.components & 3, 3);
            assert!(state.len_bytes >= 576 && state.len_bytes < 1 << 16);
        }
    }
}
