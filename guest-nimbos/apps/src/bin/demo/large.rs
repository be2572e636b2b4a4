// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes of 64 KiB on the user path: copied into the ring, and from a buffer that is in the ring already. The second ones come
//! last: what Linux finds in the file came there without a copy in NimbOS.

use core::sync::atomic::{AtomicU64, Ordering};

use nimbos_apps::channel::Lent;
use nimbos_apps::eprint;
use nimbos_apps::file::{CREATE, File, READ_WRITE, TRUNCATE};
use nimbos_apps::statistics::Summary;
use nimbos_apps::system;

use crate::Reason;

const LEN: usize = 64 << 10;
const WORDS: usize = LEN / size_of::<u64>();
const ROUNDS: usize = 20;

/// Writes both ways, reads what the server has got, and prints what they take. The user path is open.
pub fn compare() -> Result<(), Reason> {
    let flags = CREATE | READ_WRITE | TRUNCATE;
    let file = File::open(c"/tmp/demo-large.dat", flags, 0o644).map_err(|_| "open-large")?;
    let fd = file.descriptor();
    let bytes = system::map(LEN).map_err(|_| "memory")?;
    let address = bytes.expose_provenance() as u64;
    let copied = measure(fd, || system::write_at(fd, address, LEN as u64))?;
    let mut lent = Lent::new().map_err(|_| "lend")?;
    let words = lent.words().get(..WORDS).ok_or("lent-too-short")?;
    for (number, word) in words.iter().enumerate() {
        word.store(value(number), Ordering::Relaxed);
    }
    let in_place = measure(fd, || lent.write_to(fd, LEN))?;
    for word in lent.words() {
        word.store(0, Ordering::Relaxed);
    }
    rewind(fd)?;
    let count = lent.read_from(fd, LEN).map_err(|_| "read-large")?;
    let is_right =
        |(number, word): (usize, &AtomicU64)| word.load(Ordering::Relaxed) == value(number);
    if count != LEN || !lent.words()[..WORDS].iter().enumerate().all(is_right) {
        return Err("large-differs");
    }
    drop(lent);
    file.close().map_err(|_| "close-large")?;
    eprint!("demo: large bytes={LEN} in_place={in_place} copied={copied}\n");
    Ok(())
}

fn value(number: usize) -> u64 {
    (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn rewind(fd: i32) -> Result<(), Reason> {
    system::files::seek(fd, 0, 0)
        .map(drop)
        .map_err(|_| "seek-large")
}

/// Returns the median of the ticks that a write to the file's beginning takes, which writes everything.
fn measure(
    fd: i32,
    mut write: impl FnMut() -> Result<usize, system::Error>,
) -> Result<u32, Reason> {
    let mut samples = [0; ROUNDS];
    for sample in &mut samples {
        rewind(fd)?;
        let start = system::tsc();
        if write() != Ok(LEN) {
            return Err("write-large");
        }
        *sample = u32::try_from(system::tsc() - start).unwrap_or(u32::MAX);
    }
    Ok(Summary::of(&mut samples).map_or(0, |summary| summary.median))
}
