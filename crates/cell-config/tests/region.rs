//! Arithmetic of memory ranges, at its edges.

use cell_config::Region;

#[test]
fn ranges_overlap_where_they_share_a_byte() {
    let range = Region::new(0x1000, 0x1000);
    let cases = [
        (Region::new(0, 0x1000), None),
        (Region::new(0, 0x1001), Some(Region::new(0x1000, 1))),
        (Region::new(0x1fff, 1), Some(Region::new(0x1fff, 1))),
        (Region::new(0x2000, 1), None),
        (Region::new(0x1800, 0), None),
        (
            Region::new(0x1800, u64::MAX),
            Some(Region::new(0x1800, 0x800)),
        ),
        (range, Some(range)),
    ];
    for (other, shared) in cases {
        assert_eq!(range.intersection(other), shared, "{other}");
        assert_eq!(other.intersection(range), shared, "{other}");
        assert_eq!(range.overlaps(other), shared.is_some(), "{other}");
        // An empty range is in any that it lies in.
        let is_inside = shared == Some(other) || other.size == 0;
        assert_eq!(range.contains(other), is_inside, "{other}");
    }
    let wrapping = Region::new(0x1000, u64::MAX);
    assert_eq!((wrapping.checked_end(), wrapping.end()), (None, u64::MAX));
    assert_eq!((range.checked_end(), range.end()), (Some(0x2000), 0x2000));
    assert!(!wrapping.contains(range) && !range.contains(wrapping));
}
