// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random kernels: every field of the setup header that is read, and memory to place them in.

use super::super::e820::E820Kind;
use super::*;
use proptest::prelude::*;
use proptest::sample::select;

/// The fields that are read, by offset and width, and values that they may have.
fn fields() -> impl Strategy<Value = Vec<(usize, usize, u64)>> {
    let field = |offset: usize, len: usize, good: Vec<u64>| {
        let value = prop_oneof![6 => select(good), 1 => any::<u64>()];
        value.prop_map(move |value| (offset, len, value))
    };
    let mib = |count: u64| count << 20;
    let mut all = vec![
        field(field::SETUP_SECTS, 1, vec![0, 1, 4, 8]).boxed(),
        field(field::BOOT_FLAG, 2, vec![0xaa55]).boxed(),
        field(field::JUMP_DISTANCE, 1, vec![0x62, 0x6a, 0x7f]).boxed(),
        field(field::HEADER, 4, vec![0x5372_6448]).boxed(),
        field(field::VERSION, 2, vec![0x20b, 0x20c, 0x20f, 0x20f]).boxed(),
        field(field::LOADFLAGS, 1, vec![1, 0x81]).boxed(),
        field(field::XLOADFLAGS, 2, vec![1, 3, 0x3f]).boxed(),
        field(field::CMDLINE_SIZE, 4, vec![255, 2047, u64::MAX]).boxed(),
        field(
            field::PREF_ADDRESS,
            8,
            vec![0, mib(1), mib(16), 1 << 32, u64::MAX - mib(1)],
        )
        .boxed(),
        field(
            field::INIT_SIZE,
            4,
            vec![0x201, 0x2000, mib(4), mib(56), u64::MAX],
        )
        .boxed(),
        field(field::RELOCATABLE_KERNEL, 1, vec![0, 1, 1]).boxed(),
    ];
    all.push(field(field::SETUP_DATA, 8, vec![0, mib(1)]).boxed());
    all.push(
        field(
            field::KERNEL_ALIGNMENT,
            4,
            vec![0, 1, 0x1000, mib(2), mib(16), 1 << 31],
        )
        .boxed(),
    );
    all
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![9 => 0x1200usize..0x2000, 1 => 0usize..0x1200];
    (fields(), len).prop_map(|(fields, len)| {
        let mut file = vec![0x90; len.max(0x300)];
        file[..0x300].fill(0);
        for (offset, width, value) in fields {
            file[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        file.truncate(len);
        file
    })
}

fn region() -> impl Strategy<Value = Range> {
    let mib = |range: core::ops::Range<u64>| range.prop_map(|count| count << 20);
    prop_oneof![
        6 => (mib(0..0x80), mib(0..0x100)).prop_map(|(base, size)| Range::new(base, size)),
        2 => (mib(0xf00..0x1400), mib(0..0x800)).prop_map(|(base, size)| Range::new(base, size)),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(base, size)| Range::new(base, size)),
    ]
}

/// Tells whether a kernel could run at `place`.
fn suits(kernel: &BzImage, place: Range, memory: &[Range]) -> bool {
    let wanted = kernel.preferred();
    let is_moved_well = kernel.relocatable
        && place.base >= wanted.base
        && place.base >= 1 << 20
        && place.base.is_multiple_of(kernel.alignment.into())
        && (place.end() <= 1 << 32 || kernel.xloadflags & 2 != 0);
    place.size == wanted.size
        && memory.iter().any(|region| region.contains(place))
        && (place == wanted || is_moved_well)
}

proptest! {
    #[test]
    fn a_kernel_is_refused_or_placed_where_it_can_run(
        file in file(), memory in prop::collection::vec(region(), 0..5), probes in prop::collection::vec(any::<u64>(), 8),
    ) {
        let kernel = match BzImage::parse(&file) {
            Ok(kernel) => kernel,
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                return Ok(());
            }
        };
        prop_assert!(file.ends_with(kernel.payload()) && kernel.payload().len() > 512);
        prop_assert!(kernel.payload().len() as u64 <= kernel.preferred().size);
        match kernel.place(&memory) {
            Ok(place) => prop_assert!(suits(&kernel, place, &memory), "{}", place),
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                // No region has a place at its start or anywhere near.
                for region in &memory {
                    for probe in &probes {
                        let base = region.base.saturating_add(probe % region.size.max(1)) & !0xf_ffff;
                        let place = Range::new(base, kernel.preferred().size);
                        prop_assert!(!suits(&kernel, place, &memory), "{}", place);
                    }
                }
            }
        }
    }

    #[test]
    fn boot_parameters_are_refused_or_say_what_was_asked(
        file in file(), load: u64, cmdline in 0u64..1 << 34, cmdline_len in 0usize..4096,
        initrd in prop::option::of(region()), acpi_rsdp: u64,
        e820 in prop::collection::vec((region(), 0u32..6), 0..140),
    ) {
        let Ok(kernel) = BzImage::parse(&file) else { return Ok(()) };
        let e820: Vec<_> = e820.into_iter().map(|(range, kind)| E820Entry { range, kind: E820Kind(kind) }).collect();
        let args = BootArgs {
            load_address: load, cmdline_address: cmdline, cmdline_len, initrd, acpi_rsdp, e820: &e820,
        };
        let mut page = [0xaa; 4096];
        if let Err(error) = kernel.write_boot_params(&args, &mut page) {
            prop_assert!(!error.to_string().is_empty());
            return Ok(());
        }
        let word = |at: usize| u64::from(u32::from_le_bytes(page[at..at + 4].try_into().unwrap()));
        let split = |low: usize, high: usize| word(high) << 32 | word(low);
        prop_assert_eq!(split(field::CMD_LINE_PTR, field::EXT_CMD_LINE_PTR), cmdline);
        if let Some(initrd) = initrd {
            prop_assert_eq!(split(field::RAMDISK_IMAGE, field::EXT_RAMDISK_IMAGE), initrd.base);
            prop_assert_eq!(split(field::RAMDISK_SIZE, field::EXT_RAMDISK_SIZE), initrd.size);
        }
        prop_assert_eq!(usize::from(page[field::E820_ENTRIES]), e820.len());
        prop_assert_eq!(split(field::SETUP_DATA, field::SETUP_DATA + 4), 0);
        prop_assert_eq!(split(field::ACPI_RSDP_ADDR, field::ACPI_RSDP_ADDR + 4), acpi_rsdp);
        prop_assert!(page.iter().filter(|&&byte| byte == 0xaa).count() < 200, "the page was not cleared");
    }
}
