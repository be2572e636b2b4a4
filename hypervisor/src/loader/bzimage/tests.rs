use super::super::e820::E820Kind;
use super::*;
use proptest::prelude::*;

const SETUP_LEN: usize = 5 * SECTOR;

/// An image with the values of Debian 12's 6.12 cloud kernel and a short payload.
fn image() -> Vec<u8> {
    let mut file = vec![0; SETUP_LEN + 0x1000];
    file[0x1f1] = 4;
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    file[0x200..0x202].copy_from_slice(&[0xeb, 0x6a]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
    file[0x211] = 1;
    file[0x230..0x234].copy_from_slice(&0x20_0000u32.to_le_bytes());
    file[0x234] = 1;
    file[0x236..0x238].copy_from_slice(&0x3fu16.to_le_bytes());
    file[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
    file[0x250..0x258].fill(0xcc);
    file[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
    file[0x260..0x264].copy_from_slice(&0x37d_c000u32.to_le_bytes());
    file[SETUP_LEN..].fill(0x90);
    file
}

fn with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = image();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    file
}

fn error(file: &[u8]) -> BzImageError {
    BzImage::parse(file).unwrap_err()
}

#[test]
fn a_kernel_is_taken_apart() {
    let file = image();
    let image = BzImage::parse(&file).unwrap();
    assert_eq!(image.preferred(), Range::new(0x100_0000, 0x37d_c000));
    assert_eq!(image.payload(), &file[SETUP_LEN..]);
    assert_eq!(image.protocol(), 0x20f);
    assert!(image.reads_rsdp_address());
}

#[test]
fn no_setup_sectors_mean_four() {
    let file = with(0x1f1, &[0]);
    assert_eq!(BzImage::parse(&file).unwrap().payload(), &file[SETUP_LEN..]);
}

#[test]
fn each_flaw_has_its_error() {
    let not_linux = |magic| BzImageError::NotLinux { magic };
    assert_eq!(
        error(&[]),
        BzImageError::Truncated {
            len: 0,
            needed: 0x264
        }
    );
    assert_eq!(
        error(&with(0x1fe, &[0])),
        not_linux(u32::from_le_bytes(*b"HdrS"))
    );
    assert_eq!(
        error(&with(0x202, b"\x7fELF")),
        not_linux(u32::from_le_bytes(*b"\x7fELF"))
    );
    assert_eq!(
        error(&with(0x206, &[0x0b, 2])),
        BzImageError::Protocol { version: 0x20b }
    );
    assert_eq!(
        error(&with(0x201, &[0x61])),
        BzImageError::HeaderEnd { end: 0x263 }
    );
    assert_eq!(
        error(&with(0x201, &[0x80])),
        BzImageError::HeaderEnd { end: 0x282 }
    );
    let no_entry = |xloadflags, loadflags| BzImageError::No64BitEntry {
        xloadflags,
        loadflags,
    };
    assert_eq!(error(&with(0x236, &[0x3e])), no_entry(0x3e, 1));
    assert_eq!(error(&with(0x211, &[0x80])), no_entry(0x3f, 0x80));
    let init_size = |pref_address, init_size| BzImageError::InitSize {
        pref_address,
        init_size,
    };
    assert_eq!(
        error(&with(0x260, &[0xff, 0x0f, 0, 0])),
        init_size(0x100_0000, 0xfff)
    );
    assert_eq!(
        error(&with(0x258, &[0xff; 8])),
        init_size(u64::MAX, 0x37d_c000)
    );
    assert_eq!(
        error(&with(0x230, &[3])),
        BzImageError::Alignment {
            alignment: 0x20_0003
        }
    );
}

#[test]
fn a_file_cut_off_anywhere_before_its_entry_is_refused() {
    let file = image();
    for len in 0..SETUP_LEN + SECTOR + 1 {
        assert!(
            matches!(error(&file[..len]), BzImageError::Truncated { .. }),
            "{len:#x}"
        );
    }
    assert_eq!(
        error(&file[..SETUP_LEN + 7]),
        BzImageError::Truncated {
            len: SETUP_LEN + 7,
            needed: SETUP_LEN + SECTOR + 1
        }
    );
}

#[test]
fn a_kernel_goes_where_it_likes_or_to_the_lowest_aligned_place() {
    let file = image();
    let kernel = BzImage::parse(&file).unwrap();
    let low = Range::new(0, 0xa_0000);
    let home = Range::new(0x10_0000, 0x2ff0_0000);
    assert_eq!(kernel.place(&[low, home]), Ok(kernel.preferred()));
    let elsewhere = Range::new(0x4010_0000, 0x1000_0000);
    assert_eq!(
        kernel.place(&[low, elsewhere]),
        Ok(Range::new(0x4020_0000, 0x37d_c000))
    );
    let wanted = kernel.preferred();
    assert!(
        kernel.place(&[Range::new(0x20_0000, 0x380_0000)]).is_err(),
        "below its address"
    );
    assert_eq!(
        kernel.place(&[low, Range::new(0x4010_0000, 0x37d_c000)]),
        Err(BzImageError::DoesNotFit {
            wanted,
            relocatable: true
        })
    );

    let carefree = with(0x258, &[0; 8]);
    let carefree = BzImage::parse(&carefree).unwrap();
    let from_page_one = Range::new(0x1000, 0x1000_0000);
    assert_eq!(carefree.place(&[from_page_one]).unwrap().base, 0x20_0000);

    let fixed = with(0x234, &[0]);
    assert_eq!(
        BzImage::parse(&fixed).unwrap().place(&[elsewhere]),
        Err(BzImageError::DoesNotFit {
            wanted,
            relocatable: false
        })
    );
    let low_only = with(0x236, &[0x01]);
    let above = Range::new(0x1_0000_0000, 0x1000_0000);
    assert_eq!(kernel.place(&[above]).unwrap().base, above.base);
    assert!(BzImage::parse(&low_only).unwrap().place(&[above]).is_err());
}

fn args<'a>(e820: &'a [E820Entry]) -> BootArgs<'a> {
    BootArgs {
        load_address: 0x100_0000,
        cmdline_address: 0x1_1000,
        cmdline_len: 21,
        initrd: Some(Range::new(0x2000_0000, 0x12_3456)),
        acpi_rsdp: 0x2_0000,
        e820,
    }
}

fn params(file: &[u8], args: &BootArgs) -> Result<[u8; 4096], BzImageError> {
    let mut page = [0xaa; 4096];
    BzImage::parse(file)?.write_boot_params(args, &mut page)?;
    Ok(page)
}

#[test]
fn boot_parameters_hold_the_header_and_the_loaders_fields() {
    let file = image();
    let entry = |base, size, kind| E820Entry {
        range: Range::new(base, size),
        kind,
    };
    let e820 = [
        entry(0, 0x9_f000, E820Kind::RAM),
        entry(0x1_2345_6789, 2, E820Kind(7)),
    ];
    let page = params(&file, &args(&e820)).unwrap();
    assert_eq!(page[0x70..0x78], 0x2_0000u64.to_le_bytes());
    assert_eq!(page[0xc0..0xcc], [0; 12]);
    assert_eq!(page[0x1e8], 2);
    assert_eq!(page[0x1ef], 0, "sentinel");
    assert_eq!(page[0x1f1..0x1fa], file[0x1f1..0x1fa]);
    assert_eq!(page[0x1fa..0x1fc], [0xff, 0xff]);
    assert_eq!(page[0x1fc..0x210], file[0x1fc..0x210]);
    assert_eq!(page[0x210..0x212], [0xff, 1]);
    assert_eq!(page[0x214..0x218], 0x100_0000u32.to_le_bytes());
    assert_eq!(page[0x218..0x21c], 0x2000_0000u32.to_le_bytes());
    assert_eq!(page[0x21c..0x220], 0x12_3456u32.to_le_bytes());
    assert_eq!(page[0x228..0x22c], 0x1_1000u32.to_le_bytes());
    assert_eq!(page[0x22c..0x250], file[0x22c..0x250]);
    assert_eq!(page[0x250..0x258], [0; 8]);
    assert_eq!(page[0x258..0x26c], file[0x258..0x26c]);
    assert_eq!(page[0x26c..0x2d0], [0; 0x64]);
    assert_eq!(page[0x2e4..0x2ec], 0x1_2345_6789u64.to_le_bytes());
    assert_eq!(page[0x2ec..0x2f4], 2u64.to_le_bytes());
    assert_eq!(page[0x2f4..0x2f8], 7u32.to_le_bytes());
    assert!(page[0x2f8..].iter().all(|&byte| byte == 0));
}

#[test]
fn what_lies_above_4_gib_goes_to_the_extended_fields() {
    let high = BootArgs {
        cmdline_address: 0x2_0000_1000,
        initrd: Some(Range::new(0x1_4000_0000, 0x1_0000_0010)),
        ..args(&[])
    };
    let page = params(&image(), &high).unwrap();
    assert_eq!(page[0xc0..0xcc], [1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(page[0x218..0x220], [0, 0, 0, 0x40, 0x10, 0, 0, 0]);
    assert_eq!(page[0x228..0x22c], [0, 0x10, 0, 0]);
    let refused = params(&with(0x236, &[1]), &high);
    assert_eq!(refused, Err(BzImageError::Above4Gib { end: 0x2_0000_1000 }));
}

#[test]
fn a_command_line_or_map_beyond_the_limit_is_refused() {
    let long = BootArgs {
        cmdline_len: 2048,
        ..args(&[])
    };
    assert_eq!(
        params(&image(), &long),
        Err(BzImageError::CommandLine {
            len: 2048,
            max: 2047
        })
    );
    let entry = E820Entry {
        range: Range::new(0, 1),
        kind: E820Kind::RAM,
    };
    assert_eq!(
        params(&image(), &args(&[entry; 129])),
        Err(BzImageError::MemoryMap { count: 129 })
    );
    assert_eq!(params(&image(), &args(&[entry; 128])).unwrap()[0x1e8], 128);
}

proptest! {
    #[test]
    fn any_file_is_parsed_or_refused(
        changes in prop::collection::vec((0x1f0usize..0x270, any::<u8>()), 0..8),
        len in 0usize..8192, base: u64, size: u64, shift in 0u32..64,
    ) {
        let mut file = image();
        for (offset, value) in changes {
            file[offset] = value;
        }
        file.truncate(len);
        if let Ok(kernel) = BzImage::parse(&file) {
            let region = Range::new(base >> shift, size >> shift);
            if let Ok(place) = kernel.place(&[region]) {
                prop_assert!(region.contains(place));
            }
            let args = BootArgs { initrd: Some(Range::new(base, size)), ..args(&[]) };
            let _: Result<(), _> = kernel.write_boot_params(&args, &mut [0; 4096]);
        }
    }
}
