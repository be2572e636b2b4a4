// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file that is written and read back in pieces of many sizes.

use nimbos_apps::eprint;
use nimbos_apps::file::{CREATE, File, READ_ONLY, READ_WRITE, TRUNCATE};

use crate::Reason;

const LEN: usize = 64 << 10;
/// Sizes of the pieces, taken in turn: around words, pages and disk blocks.
const WRITE_SIZES: [usize; 9] = [1, 7, 64, 511, 512, 513, 4096, 4097, 10_000];
const READ_SIZES: [usize; 7] = [3, 1000, 8192, 1, 129, 4095, 16_384];

/// Writes the file, reads it back and compares.
pub fn check() -> Result<(), Reason> {
    let file = File::open(c"/tmp/demo.dat", CREATE | READ_WRITE | TRUNCATE, 0o644);
    let file = file.map_err(|_| "open-data")?;
    let writes = write(&file)?;
    file.close().map_err(|_| "close-data")?;

    let file = File::open(c"/tmp/demo.dat", READ_ONLY, 0).map_err(|_| "reopen-data")?;
    let reads = read(&file)?;
    file.close().map_err(|_| "close-reopened-data")?;
    eprint!("demo: data=ok bytes={LEN} writes={writes} reads={reads}\n");
    Ok(())
}

/// Returns the byte at an offset of the file.
fn pattern(offset: usize) -> u8 {
    (offset * 31 + 7) as u8
}

fn write(file: &File) -> Result<usize, Reason> {
    let mut piece = [0; 10_000];
    let (mut offset, mut writes) = (0, 0);
    for size in WRITE_SIZES.into_iter().cycle() {
        let piece = &mut piece[..size.min(LEN - offset)];
        for (i, byte) in piece.iter_mut().enumerate() {
            *byte = pattern(offset + i);
        }
        file.write_all(piece).map_err(|_| "write-data")?;
        offset += piece.len();
        writes += 1;
        if offset == LEN {
            break;
        }
    }
    Ok(writes)
}

fn read(file: &File) -> Result<usize, Reason> {
    let mut piece = [0; 16_384];
    let (mut offset, mut reads) = (0, 0);
    for size in READ_SIZES.into_iter().cycle() {
        let piece = &mut piece[..size];
        let count = file.read_full(piece).map_err(|_| "read-data")?;
        let is_right = |(i, &byte): (usize, &u8)| byte == pattern(offset + i);
        if !piece[..count].iter().enumerate().all(is_right) {
            return Err("data-differ");
        }
        offset += count;
        reads += 1;
        if count < size {
            break;
        }
    }
    if offset == LEN {
        Ok(reads)
    } else {
        Err("data-length")
    }
}
