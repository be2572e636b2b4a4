// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random writes: the hardware stays inside the cell.

use ApicMode::{X2apic, Xapic};
use proptest::prelude::*;

use super::tests::{MASKED, hardware, own, state};
use super::*;

proptest! {
    /// [`Fake`] checks each write.
    #[test]
    fn whatever_is_written_the_hardware_stays_inside_the_cell(
        writes in prop::collection::vec((0u8..0x44, any::<u32>(), any::<bool>()), 0..200), x2: bool,
    ) {
        let mut state = state(0x20);
        let mode = if x2 { X2apic } else { Xapic };
        for (number, value, is_likely) in writes {
            // Most random entries are wrong in several ways; these often pass.
            let value = if is_likely { value & 0x0701_09ff } else { value };
            state.write(IOREGSEL, number.into(), &own(), mode).unwrap();
            let result = state.write(IOWIN, value, &own(), mode);
            if let Some((pin, half)) = state.entry_at(number) {
                let entry = state.pins[pin].written;
                prop_assert_eq!(entry.half(half), Entry::RESET.with(half, value).half(half));
                let works = hardware(&state, pin).0 & MASKED == 0;
                prop_assert_eq!(works, !entry.is_masked() && result.is_ok());
                prop_assert_eq!(hardware(&state, pin), (
                    state.pins[pin].hardware.half(Half::Low), state.pins[pin].hardware.half(Half::High)));
            } else {
                prop_assert!(result.is_ok());
            }
        }
    }
}
