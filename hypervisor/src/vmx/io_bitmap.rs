//! I/O bitmaps: which port accesses exit. (SDM 3C, "I/O-Bitmap Addresses")

use crate::memory::Table;

/// Bitmaps A (ports 0-7FFFH) and B (8000H-FFFFH). A set bit exits; an access exits if any of its ports does.
pub struct IoBitmap<'a> {
    low: &'a mut Table,
    high: &'a mut Table,
}

impl<'a> IoBitmap<'a> {
    /// Intercepts every port.
    pub fn intercept_all(low: &'a mut Table, high: &'a mut Table) -> Self {
        low.0.fill(u64::MAX);
        high.0.fill(u64::MAX);
        Self { low, high }
    }

    /// Lets every port through.
    pub fn pass_all(low: &'a mut Table, high: &'a mut Table) -> Self {
        low.0.fill(0);
        high.0.fill(0);
        Self { low, high }
    }

    /// Lets a range through.
    pub fn pass(&mut self, first: u16, count: u32) {
        for port in range(first, count) {
            let (word, bit) = self.position(port);
            *word &= !(1 << bit);
        }
    }

    /// Makes a range exit.
    pub fn intercept(&mut self, first: u16, count: u32) {
        for port in range(first, count) {
            let (word, bit) = self.position(port);
            *word |= 1 << bit;
        }
    }

    /// Tells whether accesses of a port exit.
    pub fn intercepts(&mut self, port: u16) -> bool {
        let (word, bit) = self.position(port);
        *word & 1 << bit != 0
    }

    fn position(&mut self, port: u16) -> (&mut u64, u32) {
        let table = if port < 0x8000 {
            &mut *self.low
        } else {
            &mut *self.high
        };
        let index = u32::from(port & 0x7fff);
        (&mut table.0[(index / 64) as usize], index % 64)
    }
}

fn range(first: u16, count: u32) -> impl Iterator<Item = u16> {
    (u32::from(first)..u32::from(first).saturating_add(count).min(0x1_0000))
        .filter_map(|port| u16::try_from(port).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_passes_and_its_neighbours_still_exit() {
        let (mut low, mut high) = (Table([0; 512]), Table([0; 512]));
        let mut bitmap = IoBitmap::intercept_all(&mut low, &mut high);
        bitmap.pass(0x3f8, 8);
        assert!(bitmap.intercepts(0x3f7));
        assert!((0x3f8..0x400).all(|port| !bitmap.intercepts(port)));
        assert!(bitmap.intercepts(0x400));
    }

    #[test]
    fn a_range_across_the_two_bitmaps_and_the_end_of_the_port_space() {
        let (mut low, mut high) = (Table([0; 512]), Table([0; 512]));
        let mut bitmap = IoBitmap::pass_all(&mut low, &mut high);
        bitmap.intercept(0x7fff, 2);
        assert!(bitmap.intercepts(0x7fff) && bitmap.intercepts(0x8000));
        assert!(!bitmap.intercepts(0x7ffe) && !bitmap.intercepts(0x8001));
        bitmap.intercept(0xffff, 8);
        assert!(bitmap.intercepts(0xffff) && !bitmap.intercepts(0));
    }
}
