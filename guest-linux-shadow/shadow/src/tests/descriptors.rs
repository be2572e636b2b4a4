// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors: lowest free numbers, dup, fcntl, limits.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::bench::{Bench, Memory, error};
use crate::files::NUMBERS;

fn fcntl(bench: &mut Bench, fd: i64, command: i32, value: u64) -> i64 {
    bench.call(1, libc::SYS_fcntl, &[fd as u64, command as u64, value])
}

#[test]
fn numbers_are_the_lowest_free_ones() {
    let mut bench = Bench::new();
    let open = |bench: &mut Bench| bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
    assert_eq!([0; 3].map(|_| open(&mut bench)), [3, 4, 5]);
    assert_eq!(bench.close(1, 4), 0);
    assert_eq!(bench.call(1, libc::SYS_dup, &[3]), 4);
    assert_eq!(bench.close(1, 0), 0);
    assert_eq!(open(&mut bench), 0);
    assert_eq!(bench.pipe(1, 0), [6, 7]);
    assert_eq!(
        bench.open(2, "/f", libc::O_RDONLY),
        3,
        "another process has its own"
    );
}

#[test]
fn only_the_clients_own_descriptors_can_be_used() {
    let mut bench = Bench::new();
    let foreign = File::open("/dev/null").unwrap();
    let numbers = [foreign.as_raw_fd(), -1, i32::MAX, i32::MIN, 255, 256, 1024];
    for fd in numbers
        .map(i64::from)
        .into_iter()
        .filter(|&fd| !(0..3).contains(&fd))
    {
        assert_eq!(bench.read(1, fd, 1), Err(error(libc::EBADF)), "{fd}");
        assert_eq!(bench.write(1, fd, b"x"), error(libc::EBADF), "{fd}");
        assert_eq!(bench.close(1, fd), error(libc::EBADF), "{fd}");
        assert_eq!(
            bench.call(1, libc::SYS_dup, &[fd as u64]),
            error(libc::EBADF)
        );
        assert_eq!(
            bench.call(1, libc::SYS_dup2, &[fd as u64, 9]),
            error(libc::EBADF)
        );
        assert_eq!(fcntl(&mut bench, fd, libc::F_GETFL, 0), error(libc::EBADF));
    }
    // Standard output ends for the process only.
    assert_eq!(bench.close(1, 1), 0);
    assert_eq!(bench.write(1, 1, b"x"), error(libc::EBADF));
    assert_eq!(bench.write(2, 1, b""), 0);
    println!("this process still has it");
}

#[test]
fn dup_shares_the_position() {
    let mut bench = Bench::new();
    let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
    assert_eq!(bench.write(1, fd, b"abcdef"), 6);
    let copy = bench.call(1, libc::SYS_dup2, &[fd as u64, 77]);
    assert_eq!(copy, 77);
    assert_eq!(bench.call(1, libc::SYS_lseek, &[77, 2, 0]), 2);
    assert_eq!(bench.read(1, fd, 2).unwrap(), b"cd");
    assert_eq!(bench.close(1, fd), 0);
    assert_eq!(bench.read(1, copy, 2).unwrap(), b"ef");
    assert_eq!(bench.counter(3), 1);
    assert_eq!(bench.close(1, copy), 0);
    assert_eq!(bench.counter(3), 0);
}

#[test]
fn dup_to_a_number_closes_what_it_was() {
    let mut bench = Bench::new();
    let dup2 = |bench: &mut Bench, from: u64, to: u64| bench.call(1, libc::SYS_dup2, &[from, to]);
    let first = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
    let second = bench.open(1, "/g", libc::O_CREAT | libc::O_RDWR);
    assert_eq!(bench.counter(3), 2);
    assert_eq!(dup2(&mut bench, first as u64, second as u64), second);
    assert_eq!(bench.counter(3), 1);
    assert_eq!(dup2(&mut bench, 3, 3), 3);
    assert_eq!(dup2(&mut bench, 9, 9), error(libc::EBADF));
    assert_eq!(dup2(&mut bench, 3, NUMBERS as u64), error(libc::EBADF));
    assert_eq!(dup2(&mut bench, 3, u64::MAX), error(libc::EBADF));
    let dup3 = |bench: &mut Bench, to: u64, flags: i32| {
        bench.call(1, libc::SYS_dup3, &[3, to, flags as u64])
    };
    assert_eq!(dup3(&mut bench, 3, 0), error(libc::EINVAL));
    assert_eq!(dup3(&mut bench, 8, libc::O_APPEND), error(libc::EINVAL));
    assert_eq!(dup3(&mut bench, 8, libc::O_CLOEXEC), 8);
    assert_eq!(fcntl(&mut bench, 8, libc::F_GETFD, 0), 1);
    assert_eq!(fcntl(&mut bench, 3, libc::F_GETFD, 0), 0);
}

#[test]
fn fcntl_does_descriptors_and_flags() {
    let mut bench = Bench::new();
    let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR | libc::O_CLOEXEC);
    assert_eq!(fcntl(&mut bench, fd, libc::F_GETFD, 0), 1);
    assert_eq!(fcntl(&mut bench, fd, libc::F_SETFD, 0), 0);
    assert_eq!(fcntl(&mut bench, fd, libc::F_GETFD, 0), 0);
    assert_eq!(fcntl(&mut bench, fd, libc::F_DUPFD, 100), 100);
    assert_eq!(fcntl(&mut bench, fd, libc::F_DUPFD, 100), 101);
    assert_eq!(fcntl(&mut bench, fd, libc::F_DUPFD_CLOEXEC, 0), 4);
    assert_eq!(fcntl(&mut bench, 4, libc::F_GETFD, 0), 1);
    for from in [NUMBERS as u64, u64::MAX] {
        assert_eq!(
            fcntl(&mut bench, fd, libc::F_DUPFD, from),
            error(libc::EINVAL)
        );
    }
    let access = fcntl(&mut bench, fd, libc::F_GETFL, 0) as i32;
    assert_eq!(access & libc::O_ACCMODE, libc::O_RDWR);
    assert_eq!(
        fcntl(&mut bench, fd, libc::F_SETFL, libc::O_APPEND as u64),
        0
    );
    let access = fcntl(&mut bench, fd, libc::F_GETFL, 0) as i32;
    assert_eq!(access & libc::O_APPEND, libc::O_APPEND);
    for (fd, command, value, result) in [
        (fd, libc::F_SETFL, libc::O_ASYNC as u64, libc::EINVAL),
        (fd, libc::F_SETOWN, 1, libc::EINVAL),
        (fd, libc::F_GETLK, 0, libc::EINVAL),
        (99, libc::F_GETLK, 0, libc::EBADF),
        (1, libc::F_SETFL, libc::O_NONBLOCK as u64, libc::EPERM),
    ] {
        assert_eq!(fcntl(&mut bench, fd, command, value), error(result));
    }
}

#[test]
fn a_full_table_says_so_and_others_have_room() {
    let mut bench = Bench::new();
    let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
    for number in fd + 1..NUMBERS as i64 - 1 {
        assert_eq!(bench.call(1, libc::SYS_dup, &[fd as u64]), number);
    }
    let mut memory = Memory::default();
    let into = memory.put(&[0; 8]);
    let full = error(libc::EMFILE);
    assert_eq!(
        bench.call_with(1, 22, &[into], &mut memory),
        full,
        "room for one"
    );
    assert_eq!(bench.call(1, libc::SYS_dup, &[3]), NUMBERS as i64 - 1);
    assert_eq!(bench.call(1, libc::SYS_dup, &[3]), full);
    assert_eq!(bench.open(1, "/f", libc::O_RDONLY), full);
    assert_eq!(bench.counter(3), 1);
    assert_eq!(bench.open(2, "/f", libc::O_RDONLY), 3);
}

#[test]
fn real_descriptors_are_closed_and_stay_private() {
    let mut bench = Bench::new();
    let before = open_descriptors();
    for _ in 0..50 {
        let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
        let pipe = bench.pipe(1, 0);
        for fd in [fd, pipe[0], pipe[1]] {
            assert_eq!(bench.close(1, fd), 0);
        }
    }
    // Other tests open and close too, but not that many at a time.
    assert!(open_descriptors() < before + 100);
    assert_eq!(bench.counter(3), 0);
}

pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
