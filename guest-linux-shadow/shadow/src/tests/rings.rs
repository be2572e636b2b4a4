// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings of processes.

use forward_ring::{Call, Message};

use super::bench::{Bench, Memory, Options, error};

/// A channel of 16 MiB: four rings.
fn bench() -> Bench {
    let mut bench = Bench::with(Options {
        channel_size: 16 << 20,
        ..Options::default()
    });
    bench.own(0, Call::UintrInit { slot: 0, vector: 0 });
    bench
}

fn open_ring(bench: &mut Bench, process: u32, ring: u32) -> i64 {
    bench.clients[ring as usize].reset();
    let open = Call::RingOpen {
        ring,
        slot: 1,
        vector: 7,
    };
    bench.own(process, open)
}

#[test]
fn a_process_uses_its_files_by_its_own_ring() {
    let mut bench = bench();
    let fd = bench.open(5, "/f", libc::O_CREAT | libc::O_RDWR);
    assert_eq!(open_ring(&mut bench, 5, 3), 0);
    assert_eq!(bench.counter(6), 2);
    let target = bench.notes.borrow().senders.len() as u64 - 1;
    let mut memory = Memory::default();
    let data = memory.put(b"by ring 3");
    // Whatever the process says, the ring is process 5's.
    let args = [fd as u64, data, 9];
    let write = bench.begin(3, 9, 1, &args, &memory).unwrap();
    assert_eq!(bench.end(write, &mut memory), 9);
    assert_eq!(bench.notes.borrow().notified.last(), Some(&target));
    assert_eq!(
        std::fs::read(bench.root.path().join("f")).unwrap(),
        b"by ring 3"
    );
    assert_eq!(bench.counter(4), 1, "process 5, not 9");

    // Calls that block, more than the other rings have workers for, and both rings at once.
    let [reader, writer] = bench.pipe(5, 0);
    let calls: Vec<_> = (0..32).map(|_| bench.begin_read(3, 5, reader)).collect();
    assert_eq!(bench.write(5, writer, &[0; 32]), 32);
    for call in calls {
        assert_eq!(bench.wait(call), 1);
    }
}

#[test]
fn the_kernels_calls_are_not_made_by_a_processs_ring() {
    let mut bench = bench();
    assert_eq!(open_ring(&mut bench, 5, 1), 0);
    for call in [
        Call::Fork { child: 6 },
        Call::Exec,
        Call::Exit { status: 0 },
        Call::UintrInit { slot: 0, vector: 0 },
        Call::RingOpen {
            ring: 2,
            slot: 0,
            vector: 0,
        },
        Call::RingClose { ring: 1 },
        Call::End { status: 0 },
    ] {
        let number = bench.submit(1, &call.encode());
        assert_eq!(bench.wait(number), error(libc::EPERM), "{call:?}");
    }
    let number = bench.submit(1, &Call::Null.encode());
    assert_eq!(bench.wait(number), 0);
    let number = bench.submit(1, &Call::Counters { index: 6 }.encode());
    assert_eq!(bench.wait(number), 2);
}

#[test]
fn a_ring_that_is_closed_ends_its_calls_and_can_be_another_processs() {
    let mut bench = bench();
    let close = |bench: &mut Bench, ring| bench.own(0, Call::RingClose { ring });
    for process in 5..9 {
        assert_eq!(open_ring(&mut bench, process, 2), 0, "{process}");
        let busy = error(libc::EBUSY);
        assert_eq!(open_ring_again(&mut bench, 2), busy);
        let [reader, _] = bench.pipe(process, 0);
        let blocked = bench.begin_read(2, process, reader);
        let others = bench.begin_read(0, process, reader);
        assert_eq!(close(&mut bench, 2), 0);
        assert!(!bench.is_completed(blocked), "nobody waits for it");
        assert!(!bench.is_completed(others));
        assert_eq!(bench.own(process, Call::Exit { status: 0 }), 0);
        assert_eq!(bench.wait(others), error(libc::EINTR));
    }
    for ring in [0, 1, 2, 4, u32::MAX] {
        assert_eq!(close(&mut bench, ring), error(libc::EINVAL), "{ring}");
    }
    assert_eq!(bench.counter(3), 0);
    assert_eq!(bench.counter(6), 1);
}

fn open_ring_again(bench: &mut Bench, ring: u32) -> i64 {
    let open = Call::RingOpen {
        ring,
        slot: 1,
        vector: 7,
    };
    bench.own(77, open)
}

#[test]
fn a_ring_that_is_closed_while_it_is_opened_is_nobodys() {
    let mut bench = bench();
    for process in 5..9 {
        bench.clients[1].reset();
        let open = Call::RingOpen {
            ring: 1,
            slot: 1,
            vector: 7,
        };
        let open = bench.begin_own(process, open);
        // Workers' results are not taken before the next turn.
        let close = bench.begin_own(0, Call::RingClose { ring: 1 });
        assert_eq!(bench.wait(close), 0, "{process}");
        assert_eq!(bench.wait(open), error(libc::EINTR), "{process}");
        assert_eq!(bench.counter(6), 1);
    }
    assert_eq!(open_ring(&mut bench, 9, 1), 0);
}

#[test]
fn an_exit_closes_the_processs_ring() {
    let mut bench = bench();
    assert_eq!(open_ring(&mut bench, 5, 1), 0);
    let [reader, _] = bench.pipe(5, 0);
    for _ in 0..32 {
        bench.begin_read(1, 5, reader);
    }
    assert_eq!(bench.own(5, Call::Exit { status: 0 }), 0);
    assert_eq!(bench.counter(3), 0);
    assert_eq!(bench.counter(4), 0, "the exit waits for them");
    // The last of them closes the file.
    bench.turn_until("nothing under way", |bench| bench.counter(5) == 0);
    assert_eq!(open_ring(&mut bench, 6, 1), 0);
    let number = bench.submit(1, &Call::Null.encode());
    assert_eq!(bench.wait(number), 0);
}

#[test]
fn rings_that_are_none_are_refused() {
    let mut bench = bench();
    for (ring, slot, vector) in [
        (0, 0, 0),
        (4, 0, 0),
        (u32::MAX, 0, 0),
        (1, 32, 0),
        (1, 0, 64),
    ] {
        let open = Call::RingOpen { ring, slot, vector };
        assert_eq!(bench.own(1, open), error(libc::EINVAL), "{open:?}");
    }
    // Nobody has opened it.
    let number = bench.submit(2, &Call::Null.encode());
    bench.service.on_notification(2);
    bench.service.on_notification(7);
    bench.service.on_notification(u64::MAX);
    for _ in 0..3 {
        bench.turn();
    }
    assert!(!bench.is_completed(number));
}

#[test]
fn a_process_that_spoils_its_ring_harms_nobody_else() {
    let mut bench = bench();
    for ring in [1, 2] {
        assert_eq!(open_ring(&mut bench, 4 + ring, ring), 0);
    }
    let [reader, _] = bench.pipe(5, 0);
    bench.begin_read(1, 5, reader);
    bench.spoil_index(1);
    bench.service.on_notification(1);
    let null = |bench: &mut Bench, ring| {
        let number = bench.submit(ring, &Message::default());
        bench.turn();
        number
    };
    let number = bench.submit(2, &Call::Null.encode());
    assert_eq!(bench.wait(number), 0);
    assert_eq!(bench.own(0, Call::Null), 0);
    let number = null(&mut bench, 1);
    assert!(!bench.is_completed(number));
    assert_eq!(bench.own(5, Call::Exit { status: 0 }), 0);
    // As soon as the worker that was interrupted has left it.
    bench.turn_until("the ring is free", |bench| {
        let result = open_ring(bench, 7, 1);
        assert!([0, error(libc::EBUSY)].contains(&result), "{result}");
        result == 0
    });
    assert_eq!(bench.service.counters().broken, 0);
}
