// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients and servers that come and go: nothing of one is left for the next, and nothing is lost to this process.

use std::process::Command;

use forward_ring::Call;

use super::bench::{Bench, Options, error};
use super::descriptors::open_descriptors;

/// Opens files, leaves calls blocked, and says where to post.
fn make_a_mess(bench: &mut Bench) {
    for slot in 0..4 {
        assert!(bench.own(0, Call::UintrInit { slot, vector: 0 }) >= 0);
    }
    let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
    assert!(fd > 2);
    assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
    let [reader, _] = bench.pipe(2, 0);
    for _ in 0..10 {
        bench.begin_read(0, 2, reader);
    }
    assert_eq!(bench.path_call(1, libc::SYS_chdir, "/", &[]), 0);
    assert_eq!(bench.counter(5), 10);
}

fn assert_clean(bench: &mut Bench) {
    for (index, what) in [(3, "files"), (4, "processes"), (5, "calls"), (6, "targets")] {
        assert_eq!(bench.counter(index), 0, "{what}");
    }
    assert!(bench.notes.borrow().senders.is_empty());
}

#[test]
fn a_client_that_starts_anew_finds_nothing_of_the_old_one() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        make_a_mess(&mut bench);
        bench.restart_client();
        bench.greet();
        assert_clean(&mut bench);
    }
    assert_eq!(bench.service.counters().sessions, 6);
    assert_eq!(bench.service.counters().broken, 0);
}

#[test]
fn a_client_that_ends_is_followed_by_the_next() {
    let mut bench = Bench::new();
    make_a_mess(&mut bench);
    assert_eq!(bench.own(0, Call::End { status: 5 }), 0);
    assert_eq!(bench.service.outcome(), None);
    bench.restart_client();
    bench.greet();
    assert_clean(&mut bench);
}

#[test]
fn a_cell_that_is_stopped_is_noticed() {
    let mut bench = Bench::without_session(Options::default());
    bench.notes.borrow_mut().is_client_ready = true;
    bench.greet();
    make_a_mess(&mut bench);
    bench.notes.borrow_mut().is_client_ready = false;
    bench.turn_until("the end of the session", |bench| {
        bench.notes.borrow().senders.is_empty()
    });
    bench.restart_client();
    bench.greet();
    assert_clean(&mut bench);
}

#[test]
fn a_server_that_starts_anew_is_greeted_anew() {
    let mut bench = Bench::new();
    make_a_mess(&mut bench);
    bench.restart_service();
    assert!(bench.clients[0].is_server_new());
    bench.notes.borrow_mut().senders.clear();
    bench.greet();
    assert_clean(&mut bench);
    assert_eq!(
        bench.read(2, 3, 1),
        Err(error(libc::EBADF)),
        "an empty table"
    );
    assert_eq!(bench.write(2, 1, b""), 0);
}

#[test]
fn nothing_is_served_before_the_greeting() {
    let mut bench = Bench::without_session(Options::default());
    let number = bench.submit(0, &Call::Null.encode());
    for _ in 0..5 {
        bench.turn();
    }
    assert!(!bench.is_completed(number));
    bench.restart_client();
    bench.greet();
    assert_eq!(bench.own(0, Call::Null), 0);
}

/// What the test below does, alone in a process: then descriptors can be counted.
const ALONE: &str = "ISTHMUS_SHADOW_TEST_ALONE";
const ROUNDS: usize = 1_000;

#[test]
fn a_thousand_sessions_leave_nothing_open() {
    if std::env::var_os(ALONE).is_none() {
        let name = "tests::sessions::a_thousand_sessions_leave_nothing_open";
        let status = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(ALONE, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let mut bench = Bench::new();
    make_a_mess(&mut bench);
    bench.restart_client();
    bench.greet();
    let before = (open_descriptors(), threads());
    for _ in 0..ROUNDS {
        make_a_mess(&mut bench);
        bench.restart_client();
        bench.greet();
    }
    assert_clean(&mut bench);
    assert_eq!((open_descriptors(), threads()), before);
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
