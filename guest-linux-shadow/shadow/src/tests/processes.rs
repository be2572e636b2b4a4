// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes: what a fork shares, an exec closes and an exit ends.

use forward_ring::Call;

use super::bench::{Bench, error};
use crate::files::PROCESSES;

#[test]
fn a_fork_shares_open_files_and_copies_numbers() {
    let mut bench = Bench::new();
    std::fs::create_dir(bench.root.path().join("d")).unwrap();
    let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
    assert_eq!(bench.path_call(1, libc::SYS_chdir, "d", &[]), 0);
    assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
    assert_eq!(bench.write(2, fd, b"ab"), 2);
    assert_eq!(bench.write(1, fd, b"cd"), 2);
    assert_eq!(std::fs::read(bench.root.path().join("f")).unwrap(), b"abcd");
    // From here on each has its own.
    assert_eq!(bench.open(2, "here", libc::O_CREAT), 4);
    assert!(bench.root.path().join("d/here").exists());
    assert_eq!(bench.read(1, 4, 1), Err(error(libc::EBADF)));
    assert_eq!(bench.close(1, fd), 0);
    assert_eq!(bench.write(2, fd, b"e"), 1);
    assert_eq!(bench.path_call(2, libc::SYS_chdir, "/", &[]), 0);
    assert!(
        bench.open(1, "here", libc::O_RDONLY) > 2,
        "still in its own directory"
    );
}

#[test]
fn an_exec_closes_what_is_marked() {
    let mut bench = Bench::new();
    let kept = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
    let marked = bench.open(1, "/g", libc::O_CREAT | libc::O_RDWR | libc::O_CLOEXEC);
    let pipe = bench.pipe(1, libc::O_CLOEXEC);
    assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
    assert_eq!(bench.own(1, Call::Exec), 0);
    assert_eq!(bench.write(1, kept, b"x"), 1);
    for fd in [marked, pipe[0], pipe[1]] {
        assert_eq!(bench.write(1, fd, b"x"), error(libc::EBADF));
    }
    assert_eq!(bench.write(2, marked, b"x"), 1, "the fork has it");
    assert_eq!(bench.counter(3), 4);
    assert_eq!(bench.own(2, Call::Exec), 0);
    assert_eq!(bench.counter(3), 1);
}

#[test]
fn an_exit_closes_everything_and_its_number_begins_anew() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
    for process in [1, 2] {
        assert!(bench.open(process, "/f", libc::O_CREAT) > 2);
    }
    assert_eq!(bench.counter(3), 4);
    assert_eq!(bench.counter(4), 2);
    assert_eq!(bench.own(1, Call::Exit { status: 0 }), 0);
    assert_eq!(bench.counter(3), 3);
    assert_eq!(bench.counter(4), 1);
    assert_eq!(bench.write(2, writer, b"x"), 1);
    assert_eq!(bench.own(2, Call::Exit { status: 0 }), 0);
    assert_eq!([bench.counter(3), bench.counter(4)], [0, 0]);
    assert_eq!(bench.read(2, reader, 1), Err(error(libc::EBADF)));
    assert_eq!(
        bench.own(77, Call::Exit { status: 0 }),
        0,
        "nobody knows it"
    );
}

#[test]
fn the_last_writers_exit_is_the_end_of_the_pipe() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
    assert_eq!(bench.close(1, writer), 0);
    let read = bench.begin_read(0, 1, reader);
    assert_eq!(bench.own(2, Call::Exit { status: 0 }), 0);
    assert_eq!(bench.wait(read), 0);
}

#[test]
fn a_fork_of_a_number_in_use_ends_that_process() {
    let mut bench = Bench::new();
    let [reader, _] = bench.pipe(2, 0);
    let blocked = bench.begin_read(0, 2, reader);
    assert!(bench.open(1, "/f", libc::O_CREAT) == 3);
    assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
    assert_eq!(bench.wait(blocked), error(libc::EINTR));
    assert_eq!(bench.counter(3), 1);
    assert_eq!(bench.counter(4), 2);
    assert_eq!(bench.own(1, Call::Fork { child: 1 }), error(libc::EINVAL));
}

#[test]
fn too_many_processes_are_refused_and_the_others_run_on() {
    let mut bench = Bench::new();
    let last = PROCESSES as u32;
    for child in 2..=last {
        assert_eq!(bench.own(1, Call::Fork { child }), 0, "{child}");
    }
    for number in [last + 1, u32::MAX] {
        let refused = error(libc::EAGAIN);
        assert_eq!(bench.own(1, Call::Fork { child: number }), refused);
        assert_eq!(bench.open(number, "/f", libc::O_CREAT), refused);
        assert_eq!(bench.own(number, Call::Exec), refused);
    }
    assert_eq!(bench.open(last, "/f", libc::O_CREAT), 3);
    assert_eq!(bench.own(5, Call::Exit { status: 1 }), 0);
    assert_eq!(bench.own(1, Call::Fork { child: u32::MAX }), 0);
    assert_eq!(bench.counter(4), i64::from(last));
}
