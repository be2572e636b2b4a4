// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths: none leads out of the root, and working directories are directories, not names.

use super::bench::{Bench, Memory, error};

const AT_FDCWD: u64 = libc::AT_FDCWD as u64;

fn working_directory(bench: &mut Bench, process: u32) -> Result<String, i64> {
    let mut memory = Memory::default();
    let into = memory.put(&[0; 512]);
    let len = bench.call_with(process, libc::SYS_getcwd as u32, &[into, 512], &mut memory);
    match len {
        1.. => Ok(String::from_utf8(memory.bytes(into, len as usize - 1).to_vec()).unwrap()),
        errno => Err(errno),
    }
}

fn rename(bench: &mut Bench, from: &str, to: &str) -> i64 {
    let mut memory = Memory::default();
    let args = [memory.put_string(from), memory.put_string(to)];
    bench.call_with(1, libc::SYS_rename as u32, &args, &mut memory)
}

#[test]
fn nothing_outside_the_root_can_be_reached() {
    let mut bench = Bench::new();
    let root = bench.root.path().to_owned();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    let outside = tempfile::TempDir::new().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let name = secret.to_str().unwrap();
    std::os::unix::fs::symlink(name, root.join("link")).unwrap();
    std::os::unix::fs::symlink("../../../../../..", root.join("a/up")).unwrap();
    let up = format!("../../../../../../..{name}");
    let by_link = format!("/a/up{name}");
    let directory = outside.path().to_str().unwrap();
    for process in [1, 2] {
        for path in [name, up.as_str(), "link", by_link.as_str()] {
            assert_eq!(
                bench.open(process, path, libc::O_RDONLY),
                error(libc::ENOENT),
                "{path}"
            );
            let unlinked = bench.path_call(process, libc::SYS_unlink, path, &[]);
            assert!([0, error(libc::ENOENT)].contains(&unlinked), "{path}");
            let moved = format!("{path}x");
            assert!(rename(&mut bench, path, &moved) < 0, "{path}");
        }
        for call in [libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_chdir] {
            let path = format!("{directory}/d");
            assert_eq!(
                bench.path_call(process, call, &path, &[0o700]),
                error(libc::ENOENT)
            );
        }
        assert_eq!(bench.path_call(2, libc::SYS_chdir, "/a/b", &[]), 0);
    }
    assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    assert_eq!(working_directory(&mut bench, 2).unwrap(), "/a/b");
}

#[test]
fn directories_and_entries_are_made_and_removed() {
    let mut bench = Bench::new();
    let mkdir = |bench: &mut Bench, path| bench.path_call(1, libc::SYS_mkdir, path, &[0o755]);
    let rmdir = |bench: &mut Bench, path| bench.path_call(1, libc::SYS_rmdir, path, &[]);
    let unlink = |bench: &mut Bench, path| bench.path_call(1, libc::SYS_unlink, path, &[]);
    assert_eq!(mkdir(&mut bench, "/d"), 0);
    assert_eq!(mkdir(&mut bench, "d/e/"), 0);
    assert_eq!(mkdir(&mut bench, "d"), error(libc::EEXIST));
    assert_eq!(mkdir(&mut bench, "/"), error(libc::EEXIST));
    assert_eq!(mkdir(&mut bench, ""), error(libc::ENOENT));
    assert_eq!(mkdir(&mut bench, "x/y"), error(libc::ENOENT));
    let fd = bench.open(1, "/d/f", libc::O_CREAT | libc::O_WRONLY);
    assert_eq!(bench.close(1, fd), 0);
    assert_eq!(rmdir(&mut bench, "d"), error(libc::ENOTEMPTY));
    assert_eq!(rmdir(&mut bench, "d/f"), error(libc::ENOTDIR));
    assert_eq!(rmdir(&mut bench, "//"), error(libc::EBUSY));
    assert_eq!(rmdir(&mut bench, "d/e/."), error(libc::EINVAL));
    assert_eq!(unlink(&mut bench, "d/e"), error(libc::EISDIR));
    assert_eq!(unlink(&mut bench, "d/f/"), error(libc::ENOTDIR));
    assert_eq!(unlink(&mut bench, "d/.."), error(libc::EISDIR));
    assert_eq!(rename(&mut bench, "d/f", "/g"), 0);
    assert_eq!(rename(&mut bench, "d/f", "/g"), error(libc::ENOENT));
    assert_eq!(rename(&mut bench, "d", "d/e/d"), error(libc::EINVAL));
    assert_eq!(unlink(&mut bench, "g"), 0);
    assert_eq!(rmdir(&mut bench, "d/e"), 0);
    assert_eq!(rmdir(&mut bench, "/d/"), 0);
    assert_eq!(std::fs::read_dir(bench.root.path()).unwrap().count(), 0);
    assert_eq!(bench.counter(3), 0, "nothing stays open");
}

#[test]
fn a_link_itself_is_removed_not_what_it_names() {
    let mut bench = Bench::new();
    let root = bench.root.path().to_owned();
    std::fs::write(root.join("f"), "f").unwrap();
    std::os::unix::fs::symlink("f", root.join("link")).unwrap();
    assert_eq!(bench.path_call(1, libc::SYS_unlink, "/link", &[]), 0);
    assert_eq!(std::fs::read(root.join("f")).unwrap(), b"f");
}

#[test]
fn a_working_directory_is_found_wherever_it_is_moved() {
    let mut bench = Bench::new();
    let root = bench.root.path().to_owned();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/f"), "in a").unwrap();
    std::os::unix::fs::symlink("/a/f", root.join("a/b/link")).unwrap();
    assert_eq!(working_directory(&mut bench, 1).unwrap(), "/");
    assert_eq!(bench.path_call(1, libc::SYS_chdir, "a/b/", &[]), 0);
    assert_eq!(working_directory(&mut bench, 1).unwrap(), "/a/b");
    for path in ["../f", "link", "/a/f", "../../../../a/f", "../b/../f"] {
        let fd = bench.open(1, path, libc::O_RDONLY);
        assert!(fd > 2, "{path}: {fd}");
        assert_eq!(bench.read(1, fd, 9).unwrap(), b"in a");
    }
    assert_eq!(rename(&mut bench, "../../a", "/moved"), 0);
    assert_eq!(working_directory(&mut bench, 1).unwrap(), "/moved/b");
    assert!(bench.open(1, "../f", libc::O_RDONLY) > 2);
    let fd = bench.open(1, "here", libc::O_CREAT | libc::O_WRONLY);
    assert_eq!(bench.close(1, fd), 0);
    assert!(root.join("moved/b/here").exists());
    std::fs::remove_dir_all(root.join("moved/b")).unwrap();
    assert_eq!(working_directory(&mut bench, 1), Err(error(libc::ENOENT)));
    assert_eq!(bench.open(1, "x", libc::O_CREAT), error(libc::ENOENT));
    assert_eq!(
        bench.path_call(1, libc::SYS_chdir, "..", &[]),
        error(libc::ENOENT)
    );
    assert_eq!(bench.path_call(1, libc::SYS_chdir, "/", &[]), 0);
}

#[test]
fn chdir_and_getcwd_say_what_is_wrong() {
    let mut bench = Bench::new();
    std::fs::write(bench.root.path().join("f"), "").unwrap();
    let chdir = |bench: &mut Bench, path| bench.path_call(1, libc::SYS_chdir, path, &[]);
    assert_eq!(chdir(&mut bench, "f"), error(libc::ENOTDIR));
    assert_eq!(chdir(&mut bench, "none"), error(libc::ENOENT));
    assert_eq!(chdir(&mut bench, ""), error(libc::ENOENT));
    let mut memory = Memory::default();
    let into = memory.put(&[0; 1]);
    let getcwd = libc::SYS_getcwd as u32;
    assert_eq!(
        bench.call_with(1, getcwd, &[into, 1], &mut memory),
        error(libc::ERANGE)
    );
}

#[test]
fn openat_begins_at_its_directory() {
    let mut bench = Bench::new();
    let root = bench.root.path().to_owned();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/f"), "in a").unwrap();
    let a = bench.open(1, "a", libc::O_RDONLY);
    let file = bench.open(1, "a/f", libc::O_RDONLY);
    let mut open = |directory: u64, path: &str| {
        let mut memory = Memory::default();
        let path = memory.put_string(path);
        bench.call_with(
            1,
            libc::SYS_openat as u32,
            &[directory, path, 0, 0],
            &mut memory,
        )
    };
    assert_eq!(open(a as u64, "f"), 5);
    assert_eq!(open(a as u64, "b/../f"), 6);
    assert_eq!(open(a as u64, "../a/f"), 7);
    assert_eq!(open(AT_FDCWD, "a/f"), 8);
    assert_eq!(open(99, "/a/f"), 9, "an absolute path needs no directory");
    assert_eq!(open(99, "f"), error(libc::EBADF));
    assert_eq!(open(0, "f"), error(libc::EBADF));
    assert_eq!(open(file as u64, "f"), error(libc::ENOTDIR));
    assert_eq!(
        open(a as u64, "../../../../../etc/passwd"),
        error(libc::ENOENT)
    );
}

#[test]
fn paths_that_are_none_are_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.open(1, "", libc::O_RDONLY), error(libc::ENOENT));
    let long = "x".repeat(4096);
    assert_eq!(
        bench.open(1, &long, libc::O_RDONLY),
        error(libc::ENAMETOOLONG)
    );
    assert_eq!(
        bench.open(1, &long[..256], libc::O_RDONLY),
        error(libc::ENAMETOOLONG)
    );
    assert_eq!(
        bench.open(1, "f", libc::O_CREAT | libc::O_DIRECT),
        error(libc::EINVAL)
    );
    assert_eq!(bench.counter(3), 0);
    // As open() does: flags that Linux does not know are ignored.
    assert_eq!(bench.open(1, "f", libc::O_CREAT | 0x4000_0000), 3);
}
