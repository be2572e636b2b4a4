// SPDX-License-Identifier: MIT OR Apache-2.0
//! mmap and munmap.
#![expect(unsafe_code, reason = "uses memory by pointers, wrongly too")]

use nimbos_apps::abi::{map, number};
use nimbos_apps::system::{self, Error};

use crate::Test;
use crate::check::{BAD_ADDRESSES, Check, FAULTED, ensure, status_of};

/// The tests.
pub const TESTS: &[Test] = &[
    ("map", map_and_use),
    ("map-apart", maps_lie_apart),
    ("unmap", unmap),
    ("map-read-only", map_read_only),
    ("map-refused", map_refused),
    ("unmap-refused", unmap_refused),
    ("map-fork", map_fork),
    ("map-many", map_many),
];

const PAGE: usize = 4096;

/// Reads a byte wherever it is.
fn peek(address: *const u8) -> u8 {
    // SAFETY: where there is nothing the process ends, as the test wants it.
    unsafe { address.read_volatile() }
}

fn poke(address: *mut u8, value: u8) {
    // SAFETY: as in `peek`; what is there is nobody else's.
    unsafe { address.write_volatile(value) };
}

fn map_and_use() -> Check {
    for len in [1, PAGE, PAGE + 1, 10 * PAGE] {
        let memory = system::map(len)?;
        for offset in (0..len.next_multiple_of(PAGE)).step_by(512) {
            ensure(
                peek(memory.wrapping_add(offset)) == 0,
                "new memory is not zero",
            )?;
            poke(memory.wrapping_add(offset), 0x5a);
        }
        // SAFETY: nobody uses it any more.
        unsafe { system::unmap(memory, len)? };
    }
    Ok(())
}

/// The pages below and above are nobody's: a stack that runs over its end, either end, is noticed.
fn maps_lie_apart() -> Check {
    let first = system::map(2 * PAGE)?;
    let second = system::map(2 * PAGE)?;
    for memory in [first, second] {
        for address in [memory.wrapping_sub(1), memory.wrapping_add(2 * PAGE)] {
            let status = status_of(|| i32::from(peek(address)))?;
            ensure(status == FAULTED, "a neighbouring page can be read")?;
        }
    }
    Ok(())
}

fn unmap() -> Check {
    let memory = system::map(3 * PAGE)?;
    poke(memory, 1);
    // SAFETY: only a child uses it, on purpose.
    unsafe { system::unmap(memory, 3 * PAGE)? };
    for page in 0..3 {
        let status = status_of(|| i32::from(peek(memory.wrapping_add(page * PAGE))))?;
        ensure(status == FAULTED, "memory that was given back can be read")?;
    }
    let result = system::write_at(2, memory.expose_provenance() as u64, 1);
    ensure(result == Err(Error::FAULT), "the kernel reads it")?;
    let again = system::map(3 * PAGE)?;
    ensure(peek(again) == 0, "the memory came back with its content")
}

fn map_read_only() -> Check {
    let memory = system::map_with(PAGE, map::PROT_READ)?;
    ensure(peek(memory) == 0, "it is not zero")?;
    let written = status_of(|| {
        poke(memory, 1);
        0
    })?;
    ensure(written == FAULTED, "it can be written")?;
    let result = raw_time(memory.expose_provenance() as u64);
    ensure(result == Error::FAULT, "the kernel writes to it")
}

fn raw_time(address: u64) -> Error {
    Error(crate::check::raw(number::CLOCK_GETTIME, [0, address, 0]))
}

fn map_refused() -> Check {
    let plain = map::MAP_PRIVATE | map::MAP_ANONYMOUS;
    let readable = map::PROT_READ;
    for arguments in [
        [0, 0, readable, plain, u64::MAX, 0],
        [0, 4096, 0, plain, u64::MAX, 0],
        [0, 4096, map::PROT_WRITE, plain, u64::MAX, 0],
        [0, 4096, 4, plain, u64::MAX, 0],
        [0, 4096, 7, plain, u64::MAX, 0],
        [0, 4096, readable, map::MAP_PRIVATE, u64::MAX, 0],
        [0, 4096, readable, plain | 1, u64::MAX, 0],
        [0, 4096, readable, plain | 0x10, u64::MAX, 0],
        [0, 4096, readable, plain, 3, 0],
        [0, 4096, readable, plain, u64::MAX, 4096],
    ] {
        // SAFETY: nothing is mapped.
        let result = unsafe { system::call6(number::MMAP, arguments) };
        ensure(Error(result) == Error::INVALID, "arguments that are wrong")?;
    }
    for len in [
        usize::MAX,
        usize::MAX - PAGE,
        1 << 40,
        0x1000_0000,
        0x0fc0_0000,
    ] {
        ensure(system::map(len) == Err(Error::NO_MEMORY), "too much memory")?;
    }
    Ok(())
}

fn unmap_refused() -> Check {
    let memory = system::map(2 * PAGE)?;
    let bad = [
        (memory, 0),
        (memory, PAGE),
        (memory, 3 * PAGE),
        (memory.wrapping_add(PAGE), PAGE),
        (memory.wrapping_add(1), 2 * PAGE - 1),
        (memory, usize::MAX),
    ];
    for (address, len) in bad {
        // SAFETY: the kernel refuses it.
        let result = unsafe { system::unmap(address, len) };
        ensure(result == Err(Error::INVALID), "a part, or too much")?;
    }
    for address in BAD_ADDRESSES {
        let address = core::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the kernel refuses it.
        let result = unsafe { system::unmap(address, PAGE) };
        ensure(result == Err(Error::INVALID), "an address where nothing is")?;
    }
    ensure(peek(memory) == 0, "the memory is gone")
}

fn map_fork() -> Check {
    let memory = system::map(PAGE)?;
    poke(memory, 1);
    let works = || {
        let is_copied = peek(memory) == 1;
        poke(memory, 2);
        // SAFETY: it is the child's.
        let is_unmapped = unsafe { system::unmap(memory, PAGE) } == Ok(());
        i32::from(!is_copied || !is_unmapped)
    };
    ensure(status_of(works)? == 0, "the child's copy")?;
    ensure(
        peek(memory) == 1,
        "the child has changed its parent's memory",
    )
}

/// As many mappings as the kernel keeps, and not one more; all can be given back.
fn map_many() -> Check {
    let mut all = [core::ptr::null_mut(); 64];
    let mut count = 0;
    let last = loop {
        match system::map(PAGE) {
            Ok(memory) if count < all.len() => {
                all[count] = memory;
                count += 1;
            }
            Ok(_) => return ensure(false, "there is no end of mappings"),
            Err(error) => break error,
        }
    };
    ensure(last == Error::NO_MEMORY && count >= 32, "too few mappings")?;
    for &memory in &all[..count] {
        // SAFETY: nobody uses it.
        unsafe { system::unmap(memory, PAGE)? };
    }
    system::map(PAGE)?;
    Ok(())
}
