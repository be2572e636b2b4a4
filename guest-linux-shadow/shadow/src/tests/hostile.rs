// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that put anything at all into the ring.

use forward_ring::{Call, Message, opcode, syscall};
use proptest::prelude::*;

use super::bench::{Bench, Options, error};
use crate::service::Outcome;

#[test]
fn lengths_beyond_the_buffer_and_unknown_calls_are_refused() {
    let mut bench = Bench::new();
    let beyond = (124 << 10) + 1;
    for (opcode, args, expected) in [
        (0, [0, 0, beyond, 0, 0, 0], libc::EINVAL),
        (0, [0, 1, beyond - 1, 0, 0, 0], libc::EINVAL),
        (1, [1, u64::MAX, u64::MAX, 0, 0, 0], libc::EINVAL),
        (1, [1 << 40, 0, 1, 0, 0, 0], libc::EINVAL),
        (2, [beyond, 0, 0, 0, 0, 0], libc::EINVAL),
        (7, [0, 65, 0, 0, 0, 0], libc::EINVAL),
        (9, [0; 6], libc::ENOSYS),
        (16, [0; 6], libc::ENOSYS),
        (42, [0, 0, 257, 0, 0, 0], libc::EINVAL),
        (511, [0; 6], libc::ENOSYS),
        (u32::MAX, [0; 6], libc::ENOSYS),
    ] {
        let message = Message {
            opcode,
            args,
            ..Message::default()
        };
        let number = bench.submit(0, &message);
        // 1 << 40 is descriptor 0 in a register's lower half: it is refused for what else is wrong, or not at all.
        let result = bench.wait(number);
        if opcode != 1 || args[0] == 1 {
            assert_eq!(result, error(expected), "{message:?}");
        }
    }
}

#[test]
fn a_path_without_end_is_refused() {
    let mut bench = Bench::new();
    let message = Message {
        opcode: opcode::OPEN,
        args: [(124 << 10) - 8, 0, 0, 0, 0, 0],
        ..Message::default()
    };
    let number = bench.submit_with(0, &message, &[b'a'; 124 << 10]);
    assert_eq!(bench.wait(number), error(libc::ENAMETOOLONG));
    assert_eq!(bench.counter(3), 0);
}

#[test]
fn broken_indices_end_the_service_unless_it_stays() {
    let mut bench = Bench::with(Options {
        stays: false,
        ..Options::default()
    });
    bench.spoil_index(0);
    bench.service.on_notification(0);
    assert!(matches!(bench.service.outcome(), Some(Outcome::Broken(_))));

    let mut bench = Bench::new();
    let [reader, _] = bench.pipe(1, 0);
    bench.begin_read(0, 1, reader);
    bench.spoil_index(0);
    bench.service.on_notification(0);
    assert_eq!(bench.service.outcome(), None);
    bench.turn_until("another generation", |bench| {
        bench.clients[0].is_server_new()
    });
    bench.greet();
    for index in [3, 4, 5, 6] {
        assert_eq!(bench.counter(index), 0);
    }
    assert_eq!(bench.service.counters().broken, 1);
}

#[test]
fn targets_without_end_are_refused_and_go_with_the_session() {
    let mut bench = Bench::new();
    for vector in 0..64 {
        for slot in 0..32 {
            let result = bench.own(0, Call::UintrInit { slot, vector });
            assert!(result >= 0 || result == error(libc::ENOSPC), "{result}");
        }
    }
    assert_eq!(bench.counter(6), 32);
    bench.restart_client();
    bench.greet();
    assert!(bench.notes.borrow().senders.is_empty());
}

/// Numbers that calls take for something.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..300u64,
        Just(u64::MAX),
        Just(libc::AT_FDCWD as u64),
        Just(1 << 31),
        (0..64u32).prop_map(|bit| 1 << bit),
        (120 << 10)..(130u64 << 10),
        any::<u64>(),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let numbers: Vec<u32> = syscall::numbers()
        .chain([opcode::FORK, opcode::EXEC])
        .chain([opcode::NULL, opcode::COUNTERS, opcode::UINTR_INIT])
        .chain([opcode::RING_OPEN, opcode::RING_CLOSE])
        .collect();
    let opcode = prop_oneof![9 => prop::sample::select(numbers), 1 => any::<u32>()];
    (
        opcode,
        0..4u32,
        any::<u32>(),
        prop::array::uniform6(argument()),
    )
        .prop_map(|(opcode, process, reply_slot, args)| Message {
            opcode,
            process,
            reply_slot,
            args,
        })
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just("a"),
        Just("b/"),
        Just("\0"),
        Just("link"),
        Just("\u{1}\u{0}\u{0}\u{0}"),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a client asks for, it gets an answer, or the call ends with its process; and the next session finds
    /// nothing of it. Nothing outside of the root is changed.
    #[test]
    fn fuzz_requests(requests in prop::collection::vec((message(), path()), 1..40)) {
        let mut bench = Bench::with(Options { channel_size: 8 << 20, ..Options::default() });
        let outside = tempfile::TempDir::new().unwrap();
        std::fs::write(outside.path().join("a"), "a").unwrap();
        std::os::unix::fs::symlink(outside.path(), bench.root.path().join("link")).unwrap();
        // They are this test's own standard files.
        for (process, fd) in (0..4).flat_map(|process| (0..3).map(move |fd| (process, fd))) {
            prop_assert_eq!(bench.close(process, fd), 0);
        }
        for (message, data) in requests {
            if message.opcode == opcode::END {
                continue;
            }
            if bench.in_flight(0) >= 30 {
                break;
            }
            bench.submit_with(0, &message, &data);
            bench.turn();
            bench.release_completed();
        }
        for process in 0..4 {
            prop_assert_eq!(bench.own(process, Call::Exit { status: 0 }), 0);
        }
        bench.restart_client();
        bench.greet();
        for index in [3, 4, 5, 6] {
            prop_assert_eq!(bench.counter(index), 0);
        }
        prop_assert_eq!(std::fs::read(outside.path().join("a")).unwrap(), b"a");
        prop_assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
