// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls on files, in memory and on disk.

use super::bench::{Bench, Memory, error};

fn both(test: impl Fn(Bench)) {
    test(Bench::new());
    test(Bench::in_memory());
}

#[test]
fn a_file_is_written_and_read_back() {
    both(|mut bench| {
        let fd = bench.open(1, "/demo.dat", libc::O_CREAT | libc::O_RDWR);
        assert_eq!(fd, 3);
        assert_eq!(bench.write(1, fd, b"hello world"), 11);
        assert_eq!(bench.close(1, fd), 0);
        assert_eq!(
            std::fs::read(bench.root.path().join("demo.dat")).unwrap(),
            b"hello world"
        );

        let fd = bench.open(1, "demo.dat", libc::O_RDONLY);
        assert_eq!(bench.read(1, fd, 4096).unwrap(), b"hello world");
        assert_eq!(bench.read(1, fd, 4096).unwrap(), b"");
        assert_eq!(bench.write(1, fd, b"x"), error(libc::EBADF));
        assert_eq!(bench.close(1, fd), 0);
    });
}

#[test]
fn a_file_is_positioned_truncated_and_synced() {
    both(|mut bench| {
        let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
        assert_eq!(bench.write(1, fd, b"0123456789"), 10);
        let seek = |bench: &mut Bench, offset: i64, whence: i32| {
            bench.call(
                1,
                libc::SYS_lseek,
                &[fd as u64, offset as u64, whence as u64],
            )
        };
        assert_eq!(seek(&mut bench, -3, libc::SEEK_END), 7);
        assert_eq!(bench.read(1, fd, 10).unwrap(), b"789");
        assert_eq!(seek(&mut bench, -1, libc::SEEK_SET), error(libc::EINVAL));
        assert_eq!(seek(&mut bench, 0, 99), error(libc::EINVAL));

        let mut memory = Memory::default();
        let data = memory.put(b"AB");
        let args = [fd as u64, data, 2, 4];
        assert_eq!(bench.call_with(1, 18, &args, &mut memory), 2);
        let into = memory.put(&[0; 4]);
        let args = [fd as u64, into, 4, 3];
        assert_eq!(bench.call_with(1, 17, &args, &mut memory), 4);
        assert_eq!(memory.bytes(into, 4), b"3AB6");

        assert_eq!(bench.call(1, libc::SYS_ftruncate, &[fd as u64, 5]), 0);
        assert_eq!(bench.call(1, libc::SYS_fsync, &[fd as u64]), 0);
        assert_eq!(
            std::fs::read(bench.root.path().join("f")).unwrap(),
            b"0123A"
        );
    });
}

#[test]
fn status_is_linuxs() {
    both(|mut bench| {
        std::fs::write(bench.root.path().join("f"), [0; 77]).unwrap();
        std::os::unix::fs::symlink("f", bench.root.path().join("link")).unwrap();
        let mut memory = Memory::default();
        let into = memory.put(&[0; 144]);
        let kind_and_size = |memory: &Memory| {
            let mode = memory.int(into + 24) as u32;
            (mode & libc::S_IFMT, memory.int(into + 48))
        };
        let fd = bench.open(1, "/f", libc::O_RDONLY);
        assert_eq!(bench.call_with(1, 5, &[fd as u64, into], &mut memory), 0);
        assert_eq!(kind_and_size(&memory), (libc::S_IFREG, 77));
        let path = memory.put_string("/link");
        assert_eq!(bench.call_with(1, 4, &[path, into], &mut memory), 0);
        assert_eq!(kind_and_size(&memory), (libc::S_IFREG, 77));
        assert_eq!(bench.call_with(1, 6, &[path, into], &mut memory), 0);
        assert_eq!(kind_and_size(&memory), (libc::S_IFLNK, 1));
        let path = memory.put_string("/none");
        assert_eq!(
            bench.call_with(1, 4, &[path, into], &mut memory),
            error(libc::ENOENT)
        );
        assert_eq!(bench.counter(3), 1, "stat leaves nothing open");
    });
}

#[test]
fn a_directory_is_listed() {
    both(|mut bench| {
        for name in ["a", "b", "c"] {
            std::fs::write(bench.root.path().join(name), name).unwrap();
        }
        let fd = bench.open(1, "/", libc::O_RDONLY | libc::O_DIRECTORY);
        let mut memory = Memory::default();
        let into = memory.put(&[0; 1024]);
        let len = bench.call_with(1, 217, &[fd as u64, into, 1024], &mut memory);
        assert!(len > 0);
        let listing = memory.bytes(into, len as usize);
        let mut names: Vec<u8> = Vec::new();
        let mut at = 0;
        while at < listing.len() {
            names.push(listing[at + 19]);
            at += usize::from(u16::from_ne_bytes([listing[at + 16], listing[at + 17]]));
        }
        names.sort();
        assert_eq!(names, b"..abc");
        assert_eq!(
            bench.call_with(1, 217, &[fd as u64, into, 1024], &mut memory),
            0
        );
        assert_eq!(
            bench.call_with(1, 217, &[0, into, 1024], &mut memory),
            error(libc::ENOTDIR)
        );
    });
}

#[test]
fn the_null_device_takes_everything() {
    let mut bench = Bench::with(super::bench::Options {
        root: tempfile::TempDir::new_in("/dev").unwrap(),
        ..super::bench::Options::default()
    });
    std::os::unix::fs::symlink("/x", bench.root.path().join("link")).unwrap();
    assert_eq!(bench.open(1, "/link", libc::O_RDONLY), error(libc::ENOENT));
}
