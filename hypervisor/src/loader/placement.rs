//! Where GRUB's modules wait until they are copied into their cells.
//!
//! GRUB puts modules anywhere, also where a cell's memory is about to be filled. Before that, [`plan`] finds each
//! module in the way another place, in memory that is filled last.
//!
//! # Invariants
//! 1. After all moves, each module lies in RAM and in no forbidden range, and no two share a byte.
//! 2. No destination touches the present place of any module, so that moves can be done in any order, by plain copies.

use core::fmt;

use arrayvec::ArrayVec;

use super::Range;

/// Most modules of a machine: the configuration, and kernel and initial ramdisk of each of 8 cells, with room to spare.
pub const MAX_MODULES: usize = 32;

const PAGE: u64 = 4096;
const FOUR_GIB: u64 = 1 << 32;

/// A module to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its index in the list that [`plan`] got.
    pub module: usize,
    /// Where it is.
    pub from: u64,
    /// Where it goes, 4 KiB aligned.
    pub to: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Copies to be done, in the modules' order.
pub type Moves = ArrayVec<Move, MAX_MODULES>;

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementError {
    /// More than [`MAX_MODULES`] modules.
    TooManyModules {
        /// How many.
        count: usize,
    },
    /// No free range is long enough.
    NoRoom {
        /// Index of the module.
        module: usize,
        /// Its length in bytes.
        len: u64,
    },
}

/// Plans the moves. A module that lies in `ram` and in no `forbidden` range stays; any other goes as high as
/// possible in `staging`, if possible below 4 GiB.
pub fn plan(
    ram: &[Range],
    forbidden: &[Range],
    modules: &[Range],
    staging: &[Range],
) -> Result<Moves, PlacementError> {
    if modules.len() > MAX_MODULES {
        return Err(PlacementError::TooManyModules {
            count: modules.len(),
        });
    }
    let mut taken: ArrayVec<Range, MAX_MODULES> = ArrayVec::new();
    let mut moves = Moves::new();
    for (module, &range) in modules.iter().enumerate() {
        let in_the_way = forbidden.iter().any(|f| f.overlaps(range));
        if range.size == 0 || covers(ram, range) && !in_the_way {
            continue;
        }
        let space = Space {
            ram,
            staging,
            obstacles: [forbidden, modules, &taken],
        };
        let to = space
            .highest(range.size, FOUR_GIB)
            .or_else(|| space.highest(range.size, u64::MAX))
            .ok_or(PlacementError::NoRoom {
                module,
                len: range.size,
            })?;
        taken.push(Range::new(to, range.size));
        moves.push(Move {
            module,
            from: range.base,
            to,
            len: range.size,
        });
    }
    Ok(moves)
}

/// Tells whether `ranges` together hold all of `wanted`; they may overlap and come in any order.
fn covers(ranges: &[Range], wanted: Range) -> bool {
    let Some(end) = wanted.base.checked_add(wanted.size) else {
        return false;
    };
    let mut position = wanted.base;
    while position < end {
        match ranges.iter().find(|range| range.holds(position)) {
            Some(range) => position = range.end(),
            None => return false,
        }
    }
    true
}

/// Where a module may go.
struct Space<'a> {
    ram: &'a [Range],
    staging: &'a [Range],
    obstacles: [&'a [Range]; 3],
}

impl Space<'_> {
    /// Returns the highest page-aligned address with `len` free bytes that end at or below `limit`. Address 0 is none:
    /// the hypervisor maps memory one to one, and a slice cannot begin there.
    fn highest(&self, len: u64, limit: u64) -> Option<u64> {
        // The highest place ends where space ends: at the end of a range, or where an obstacle begins.
        let ends = self.ram.iter().chain(self.staging).map(|range| range.end());
        let obstacles = self
            .obstacles
            .iter()
            .copied()
            .flatten()
            .map(|range| range.base);
        let bases = ends.chain(obstacles).filter_map(|end| {
            let base = end.min(limit).checked_sub(len)?;
            Some(base - base % PAGE)
        });
        bases
            .filter(|&base| self.is_free(Range::new(base, len)))
            .max()
    }

    fn is_free(&self, range: Range) -> bool {
        let mut obstacles = self.obstacles.iter().copied().flatten();
        covers(self.ram, range)
            && covers(self.staging, range)
            && !obstacles.any(|obstacle| obstacle.overlaps(range))
    }
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooManyModules { count } => {
                write!(f, "{count} boot modules, at most {MAX_MODULES} allowed")
            }
            Self::NoRoom { module, len } => {
                write!(
                    f,
                    "no room to keep the {len} bytes of boot module {module} out of the way"
                )
            }
        }
    }
}

impl core::error::Error for PlacementError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RAM: [Range; 2] = [Range::new(0, 0x9_f000), Range::new(0x10_0000, 0x3fef_0000)];
    const LINUX: [Range; 1] = [Range::new(0x10_0000, 0x2ff0_0000)];
    const KERNEL: Range = Range::new(0x100_0000, 0x37d_c000);
    const HYPERVISOR: Range = Range::new(0x3000_0000, 0x80_0000);
    const NIMBOS: Range = Range::new(0x3080_0000, 0x200_0000);

    #[test]
    fn modules_in_the_way_go_to_the_top_and_others_stay() {
        let modules = [
            Range::new(0x10_0000, 0x400),      // configuration: stays
            Range::new(0x10_1000, 0xc0_0000),  // Linux, up to d01000H: stays
            Range::new(0xd0_1000, 0x80_0123),  // initrd: reaches into the kernel's memory
            Range::new(0x3080_0000, 0x4_0000), // NimbOS: in its own destination
            Range::new(0x3000_0000, 0),        // empty
        ];
        let moves = plan(&RAM, &[KERNEL, HYPERVISOR, NIMBOS], &modules, &LINUX).unwrap();
        let expected = [
            Move {
                module: 2,
                from: 0xd0_1000,
                to: 0x2f7f_f000,
                len: 0x80_0123,
            },
            Move {
                module: 3,
                from: 0x3080_0000,
                to: 0x2f7b_f000,
                len: 0x4_0000,
            },
        ];
        assert_eq!(moves.as_slice(), expected);
    }

    #[test]
    fn a_destination_avoids_modules_that_have_not_moved_yet() {
        let ram = [Range::new(0, 0x1_0000)];
        let forbidden = [Range::new(0, 0x4000), Range::new(0xe000, 0x2000)];
        let modules = [Range::new(0, 0x1000), Range::new(0xd000, 0x2000)];
        let moves = plan(&ram, &forbidden, &modules, &ram).unwrap();
        let expected = [
            Move {
                module: 0,
                from: 0,
                to: 0xc000,
                len: 0x1000,
            },
            Move {
                module: 1,
                from: 0xd000,
                to: 0xa000,
                len: 0x2000,
            },
        ];
        assert_eq!(moves.as_slice(), expected);
    }

    #[test]
    fn memory_above_4_gib_is_the_last_resort() {
        let ram = [
            Range::new(0xf000_0000, 0x1_0000),
            Range::new(FOUR_GIB, 0x10_0000),
        ];
        let module = [Range::new(0x5000, 0x8000)];
        assert_eq!(plan(&ram, &[], &module, &ram).unwrap()[0].to, 0xf000_8000);
        assert_eq!(
            plan(&ram, &[ram[0]], &module, &ram).unwrap()[0].to,
            FOUR_GIB + 0xf_8000
        );
    }

    #[test]
    fn staging_across_4_gib_is_cut_there() {
        let ram = [Range::new(0xffff_0000, 0x2_0000)];
        let module = [Range::new(0x5000, 0x8000)];
        assert_eq!(
            plan(&ram, &[], &module, &ram).unwrap()[0].to,
            FOUR_GIB - 0x8000
        );
    }

    #[test]
    fn adjacent_ram_entries_count_as_one() {
        let ram = [Range::new(0x3000, 0x1000), Range::new(0x1000, 0x2000)];
        assert!(
            plan(&ram, &[], &[Range::new(0x1800, 0x2800)], &[])
                .unwrap()
                .is_empty()
        );
        assert!(plan(&ram, &[], &[Range::new(0x1800, 0x2801)], &[]).is_err());
    }

    #[test]
    fn lack_of_room_is_told() {
        let module = [Range::new(0x100_0000, 0x100_0000)];
        assert_eq!(
            plan(&RAM, &[KERNEL], &module, &[RAM[0]]),
            Err(PlacementError::NoRoom {
                module: 0,
                len: 0x100_0000
            })
        );
        assert_eq!(
            plan(&RAM, &[], &[Range::new(0, 1); 33], &RAM),
            Err(PlacementError::TooManyModules { count: 33 })
        );
    }

    prop_compose! {
        fn small_range()(base in 0u64..0x40, size in 0u64..0x20, odd in 0u64..0x1000) -> Range {
            Range::new(base * 0x1000 + odd, size * 0x800)
        }
    }

    prop_compose! {
        fn any_range()(base: u64, size: u64, shift in 0u32..64) -> Range {
            Range::new(base >> shift, size >> shift)
        }
    }

    proptest! {
        #[test]
        fn planned_moves_keep_the_invariants(
            ram in prop::collection::vec(small_range(), 1..4),
            forbidden in prop::collection::vec(small_range(), 0..4),
            modules in prop::collection::vec(small_range(), 0..5),
            staging in prop::collection::vec(small_range(), 1..4),
        ) {
            let Ok(moves) = plan(&ram, &forbidden, &modules, &staging) else { return Ok(()) };
            for (i, m) in moves.iter().enumerate() {
                let to = Range::new(m.to, m.len);
                prop_assert_eq!(modules[m.module], Range::new(m.from, m.len));
                prop_assert!(m.to % PAGE == 0 && covers(&ram, to) && covers(&staging, to));
                prop_assert!(!modules.iter().chain(&forbidden).any(|r| r.overlaps(to)));
                prop_assert!(!moves[..i].iter().any(|o| Range::new(o.to, o.len).overlaps(to)));
            }
            for (i, &module) in modules.iter().enumerate() {
                if module.size != 0 && !moves.iter().any(|m| m.module == i) {
                    prop_assert!(covers(&ram, module));
                    prop_assert!(!forbidden.iter().any(|f| f.overlaps(module)));
                }
            }
        }

        #[test]
        fn a_lone_module_finds_room_exactly_where_there_is_some(
            ram in prop::collection::vec(small_range(), 1..4),
            forbidden in prop::collection::vec(small_range(), 0..4),
            module in small_range(),
        ) {
            prop_assume!(module.size != 0 && forbidden.iter().any(|f| f.overlaps(module)));
            let free = |page: &u64| {
                let to = Range::new(page * PAGE, module.size);
                covers(&ram, to) && !to.overlaps(module) && !forbidden.iter().any(|f| f.overlaps(to))
            };
            let expected = (1..0x80).rev().find(free).map(|page| page * PAGE);
            let found = plan(&ram, &forbidden, &[module], &ram).ok().map(|moves| moves[0].to);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_ranges_end_in_a_plan_or_an_error(
            ram in prop::collection::vec(any_range(), 0..4),
            forbidden in prop::collection::vec(any_range(), 0..4),
            modules in prop::collection::vec(any_range(), 0..5),
            staging in prop::collection::vec(any_range(), 0..4),
        ) {
            let _: Result<Moves, _> = plan(&ram, &forbidden, &modules, &staging);
        }
    }
}
