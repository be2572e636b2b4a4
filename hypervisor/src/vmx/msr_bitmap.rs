//! MSR bitmaps: which MSR accesses exit. (SDM 3C, "MSR-Bitmap Address")

use crate::memory::Table;

/// Kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// RDMSR.
    Read,
    /// WRMSR.
    Write,
}

/// The four bitmaps in one page: reads of 0-1FFFH, reads of C0000000H-C0001FFFH, writes of each. A set bit exits;
/// MSRs outside the two ranges always exit.
pub struct MsrBitmap<'a>(&'a mut Table);

impl<'a> MsrBitmap<'a> {
    /// Intercepts every access.
    pub fn intercept_all(page: &'a mut Table) -> Self {
        page.0.fill(u64::MAX);
        Self(page)
    }

    /// Lets an access through. Returns `false` for an MSR that no bitmap covers: it exits whatever is set here.
    pub fn pass(&mut self, msr: u32, access: Access) -> bool {
        let Some((word, bit)) = position(msr, access) else {
            return false;
        };
        self.0.0[word] &= !(1 << bit);
        true
    }

    /// Makes an access exit.
    pub fn intercept(&mut self, msr: u32, access: Access) {
        if let Some((word, bit)) = position(msr, access) {
            self.0.0[word] |= 1 << bit;
        }
    }

    /// Tells whether an access exits.
    pub fn intercepts(&self, msr: u32, access: Access) -> bool {
        position(msr, access).is_none_or(|(word, bit)| self.0.0[word] & 1 << bit != 0)
    }
}

fn position(msr: u32, access: Access) -> Option<(usize, u32)> {
    let range = match msr {
        0..=0x1fff => 0,
        0xC000_0000..=0xC000_1FFF => 128,
        _ => return None,
    };
    let write = if access == Access::Write { 256 } else { 0 };
    let index = msr & 0x1fff;
    Some((range + write + (index / 64) as usize, index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_a_high_msr_leaves_its_low_twin_and_the_other_direction_alone() {
        let mut page = Table([0; 512]);
        let mut bitmap = MsrBitmap::intercept_all(&mut page);
        assert!(bitmap.pass(0xC000_0080, Access::Write));
        assert!(!bitmap.intercepts(0xC000_0080, Access::Write));
        assert!(bitmap.intercepts(0xC000_0080, Access::Read));
        assert!(bitmap.intercepts(0x80, Access::Write));
        bitmap.intercept(0xC000_0080, Access::Write);
        assert!(bitmap.intercepts(0xC000_0080, Access::Write));
    }

    #[test]
    fn msrs_outside_both_ranges_always_exit() {
        let mut page = Table([0; 512]);
        let mut bitmap = MsrBitmap::intercept_all(&mut page);
        for msr in [
            0x2000,
            0x4000_0000,
            0xBFFF_FFFF,
            0xC000_2000,
            0xC001_1029,
            u32::MAX,
        ] {
            assert!(!bitmap.pass(msr, Access::Read));
            assert!(bitmap.intercepts(msr, Access::Read));
        }
    }

    #[test]
    fn each_of_the_four_bitmaps_has_its_own_kilobyte() {
        let mut page = Table([0; 512]);
        let mut bitmap = MsrBitmap::intercept_all(&mut page);
        for (msr, access) in [
            (0, Access::Read),
            (0xC000_0000, Access::Read),
            (0, Access::Write),
            (0xC000_0000, Access::Write),
        ] {
            assert!(bitmap.pass(msr, access));
        }
        for word in [0, 128, 256, 384] {
            assert_eq!(page.0[word], u64::MAX - 1);
        }
    }
}
