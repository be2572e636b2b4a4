// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where completions are announced, and what the counters tell of it.

use forward_ring::{Call, Message, UintrReply};

use super::bench::{Bench, Options, error};
use crate::service::Outcome;

#[test]
fn the_client_is_notified_once_it_has_said_where() {
    let mut bench = Bench::new();
    assert_eq!(bench.own(0, Call::Null), 0);
    assert!(bench.notes.borrow().notified.is_empty());
    let reply = bench.own(0, Call::UintrInit { slot: 3, vector: 5 });
    assert_eq!(
        UintrReply::decode(reply),
        Some(UintrReply { slot: 9, vector: 0 })
    );
    assert!(
        bench.notes.borrow().notified.is_empty(),
        "the client polls for this answer"
    );
    assert_eq!(bench.own(0, Call::Null), 0);
    assert_eq!(bench.notes.borrow().notified, [0]);

    // The same target again needs no new entry, another one does.
    bench.own(0, Call::UintrInit { slot: 3, vector: 5 });
    bench.own(0, Call::UintrInit { slot: 4, vector: 5 });
    assert_eq!(bench.notes.borrow().senders, [(3, 5), (4, 5)]);
    assert_eq!(bench.counter(6), 2);
    for (slot, vector) in [(32, 0), (0, 64), (u32::MAX, u32::MAX)] {
        assert_eq!(
            bench.own(0, Call::UintrInit { slot, vector }),
            error(libc::EINVAL)
        );
    }
}

#[test]
fn a_completion_is_announced_where_its_request_says() {
    let mut bench = Bench::new();
    for slot in 0..3 {
        bench.own(0, Call::UintrInit { slot, vector: 0 });
    }
    for (reply_slot, target) in [(2, 2), (1, 1), (0, 0), (3, 0), (u32::MAX, 0)] {
        let message = Message {
            reply_slot,
            ..Call::Null.encode()
        };
        let number = bench.submit(0, &message);
        assert_eq!(bench.wait(number), 0);
        assert_eq!(bench.notes.borrow().notified.last(), Some(&target));
    }
    // Late ones too.
    let pipe = bench.pipe(1, 0);
    let message = Message {
        opcode: libc::SYS_read as u32,
        process: 1,
        reply_slot: 2,
        args: [pipe[0] as u64, 0, 1, 0, 0, 0],
    };
    let number = bench.submit(0, &message);
    assert_eq!(bench.write(1, pipe[1], b"x"), 1);
    assert_eq!(bench.wait(number), 1);
    assert!(bench.notes.borrow().notified.contains(&2));
}

#[test]
fn counters_tell_exits_and_notifications() {
    let mut bench = Bench::new();
    bench.own(0, Call::UintrInit { slot: 0, vector: 0 });
    let exits = bench.counter(0);
    assert_eq!(bench.counter(0), exits + 1);
    assert_eq!(bench.counter(1), 4);
    assert_eq!(bench.counter(2), 3);
    assert_eq!(bench.counter(7), error(libc::EINVAL));
    bench.own(0, Call::End { status: 7 });
    assert_eq!(bench.service.counters().steady_exits(), Some(3));
    assert_eq!(bench.service.counters().exit_reads, 2);
}

#[test]
fn the_end_is_answered_and_ends_the_service() {
    let mut bench = Bench::with(Options {
        stays: false,
        ..Options::default()
    });
    let first = bench.clients[0].reserve().unwrap();
    let second = bench.clients[0].reserve().unwrap();
    let _ = bench.clients[0].submit(first, &Call::End { status: -3 }.encode());
    let _ = bench.clients[0].submit(second, &Call::Null.encode());
    bench.service.on_notification(0);
    assert_eq!(bench.service.outcome(), Some(Outcome::Exit(-3)));
    assert_eq!(bench.clients[0].poll().unwrap().unwrap().1, 0);
    assert_eq!(bench.clients[0].poll(), Ok(None));
    assert!(bench.service.is_clear());
}
