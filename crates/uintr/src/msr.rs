// SPDX-License-Identifier: MIT OR Apache-2.0
//! The six MSRs of user interrupts and the values that go into them. (SDM 4, "Architectural MSRs")

/// User-interrupt request register (UIRR): bit i is user vector i.
pub const IA32_UINTR_RR: u32 = 0x985;
/// Linear address of the user-interrupt handler.
pub const IA32_UINTR_HANDLER: u32 = 0x986;
/// Stack adjustment; see [`stack_adjust`] and [`absolute_stack`].
pub const IA32_UINTR_STACKADJUST: u32 = 0x987;
/// UITT size and UINV; see [`misc`].
pub const IA32_UINTR_MISC: u32 = 0x988;
/// Linear address of the UPID.
pub const IA32_UINTR_PD: u32 = 0x989;
/// Linear address of the UITT; see [`tt`].
pub const IA32_UINTR_TT: u32 = 0x98a;

/// Returns IA32_UINTR_MISC: `uinv` is the vector that the processor takes as a notification (0: none),
/// `highest_index` the highest index that SENDUIPI accepts.
pub const fn misc(uinv: u8, highest_index: u32) -> u64 {
    (uinv as u64) << 32 | highest_index as u64
}

/// Returns IA32_UINTR_TT for a UITT at `address` with SENDUIPI enabled, or `None` if `address` is not aligned to
/// 16 bytes.
pub const fn tt(address: u64) -> Option<u64> {
    if address & 0xf == 0 {
        Some(address | 1)
    } else {
        None
    }
}

/// Returns IA32_UINTR_STACKADJUST for delivery `len_bytes` below the interrupted stack pointer (128 spares the red
/// zone), or `None` if it is odd.
pub const fn stack_adjust(len_bytes: u64) -> Option<u64> {
    if len_bytes & 1 == 0 {
        Some(len_bytes)
    } else {
        None
    }
}

/// Returns IA32_UINTR_STACKADJUST for delivery on the stack whose highest address is `top`, or `None` if that is
/// not aligned to 16 bytes.
pub const fn absolute_stack(top: u64) -> Option<u64> {
    if top & 0xf == 0 { Some(top | 1) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misc_keeps_its_reserved_bits_clear() {
        assert_eq!(misc(0xec, 255), 0xec_0000_00ff);
        assert_eq!(misc(0xff, u32::MAX) >> 40, 0);
    }

    #[test]
    fn addresses_that_would_fault_in_wrmsr_are_refused() {
        assert_eq!(tt(0x1000), Some(0x1001));
        assert_eq!(tt(0x1008), None);
        assert_eq!(stack_adjust(128), Some(128));
        assert_eq!(stack_adjust(1), None);
        assert_eq!(absolute_stack(0x8000), Some(0x8001));
        assert_eq!(absolute_stack(0x8008), None);
    }
}
