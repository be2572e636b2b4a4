// SPDX-License-Identifier: MIT OR Apache-2.0
//! One side that keeps the protocol, another that writes what it likes.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use forward_ring::{Client, Message, RingError, SLOTS, Server, opcode};
use proptest::prelude::*;

const SLOT_COUNT: u32 = SLOTS as u32;

fn submit(client: &mut Client) -> u32 {
    let token = client.reserve().unwrap();
    client
        .submit(token, &Message::new(opcode::NULL, &[]))
        .number
}

#[test]
fn every_class_of_index_from_the_client_is_an_error_or_within_a_queue() {
    let distances = [
        1,
        2,
        31,
        32,
        33,
        64,
        1 << 16,
        i32::MAX as u32,
        1 << 31,
        u32::MAX - 32,
        u32::MAX,
    ];
    for start in [0, 1, 31, 32, u32::MAX - 31, u32::MAX, 1 << 31] {
        for distance in distances {
            let memory = SharedMemory::smallest();
            memory.scribble(REQUEST_HEAD, start);
            let mut server = memory.server();
            let theirs = start.wrapping_add(distance);
            memory.scribble(REQUEST_TAIL, theirs);
            if distance > SLOT_COUNT {
                let corrupt = RingError::Corrupt {
                    ours: start,
                    theirs,
                };
                assert_eq!(server.next().unwrap_err(), corrupt);
                assert_eq!(server.next().unwrap_err(), corrupt, "nothing was consumed");
            } else {
                // The slots hold token 0 all over: the first is a request, the others repeat a token under way.
                let _request = server.next().unwrap().unwrap();
                for _ in 1..distance {
                    assert_eq!(
                        server.next().unwrap_err(),
                        RingError::UnknownToken { token: 0 }
                    );
                }
                assert!(server.next().unwrap().is_none());
            }
        }
    }
}

#[test]
fn every_class_of_index_from_the_server_is_an_error_or_within_a_queue() {
    for distance in [33, 1 << 31, u32::MAX] {
        let memory = SharedMemory::smallest();
        let mut client = memory.client();
        submit(&mut client);
        memory.scribble(COMPLETION_TAIL, distance);
        let corrupt = RingError::Corrupt {
            ours: 0,
            theirs: distance,
        };
        assert_eq!(client.poll(), Err(corrupt));
        assert!(client.has_completions());
        memory.scribble(COMPLETION_TAIL, 0);
        assert_eq!(client.poll(), Ok(None));
    }
}

#[test]
fn a_wild_completion_loses_no_other() {
    let memory = SharedMemory::smallest();
    let mut client = memory.client();
    let (first, second) = (submit(&mut client), submit(&mut client));
    for (i, token) in [second, 32, second, u32::MAX, 5, first]
        .into_iter()
        .enumerate()
    {
        memory.scribble(COMPLETIONS + 16 * i, token);
    }
    memory.scribble(COMPLETION_TAIL, 6);
    let completions: Vec<_> = (0..6)
        .map(|_| client.poll().map(|c| c.unwrap().0.number()))
        .collect();
    let unknown = |token| Err(RingError::UnknownToken { token });
    assert_eq!(
        completions,
        [
            Ok(second),
            unknown(32),
            unknown(second),
            unknown(u32::MAX),
            unknown(5),
            Ok(first)
        ]
    );
    assert_eq!(client.poll(), Ok(None));
}

#[test]
fn a_wild_request_loses_no_other() {
    let memory = SharedMemory::smallest();
    let mut server = memory.server();
    for (i, token) in [32, 7, 7, 1 << 31, 31].into_iter().enumerate() {
        memory.scribble(REQUESTS + 64 * i, token);
    }
    memory.scribble(REQUEST_TAIL, 5);
    let requests: Vec<_> = (0..5)
        .map(|_| server.next().map(|r| r.unwrap().token.number()))
        .collect();
    let unknown = |token| Err(RingError::UnknownToken { token });
    assert_eq!(
        requests,
        [unknown(32), Ok(7), unknown(7), unknown(1 << 31), Ok(31)]
    );
}

#[test]
fn a_client_that_takes_no_completions_is_told_so() {
    let memory = SharedMemory::smallest();
    let mut server = memory.server();
    for round in 0..=SLOT_COUNT {
        memory.scribble(REQUEST_TAIL, round + 1);
        let request = server.next().unwrap().unwrap();
        let expected = if round < SLOT_COUNT {
            // Notified once: the first is not taken.
            Ok(round == 0)
        } else {
            Err(RingError::CompletionsFull)
        };
        assert_eq!(server.complete(request.token, 0), expected);
    }
    memory.scribble(COMPLETION_HEAD, 77);
    memory.scribble(REQUEST_TAIL, SLOT_COUNT + 2);
    let request = server.next().unwrap().unwrap();
    let corrupt = RingError::Corrupt {
        ours: SLOT_COUNT,
        theirs: 77,
    };
    assert_eq!(server.complete(request.token, 0), Err(corrupt));
}

#[test]
fn a_client_that_rewrites_everything_all_the_time_harms_only_itself() {
    let memory = SharedMemory::smallest();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 1u32;
            while !stop.load(Ordering::Relaxed) {
                value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let offset = (value >> 8) as usize & 0xffc;
                memory.scribble(offset, value >> (value & 31));
                memory.scribble(REQUEST_TAIL, value);
            }
        });
        let (mut server, mut client) = (memory.server(), memory.client());
        for _ in 0..200_000 {
            serve_one(&mut server);
            call_one(&mut client);
        }
        stop.store(true, Ordering::Relaxed);
    });
    memory.assert_guards_are_intact();
}

fn serve_one(server: &mut Server) {
    let Ok(Some(request)) = server.next() else {
        return;
    };
    let mut data = [0; 64];
    server.buffer(&request.token).read(0, &mut data).unwrap();
    server.buffer(&request.token).write(4032, &data).unwrap();
    let result = request.call().map_or_else(|error| error.errno(), |_| 0);
    let _ = server.complete(request.token, result);
}

fn call_one(client: &mut Client) {
    if let Ok(token) = client.reserve() {
        client.buffer(&token).write(0, &[1; 64]).unwrap();
        let _ = client.submit(token, &Message::new(opcode::NULL, &[]));
    }
    if let Ok(Some((token, _))) = client.poll() {
        assert!(token.number() < SLOT_COUNT);
        client.buffer(&token).write(4000, &[2; 96]).unwrap();
        client.release(token);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Serve,
    Call,
    Scribble { offset: usize, value: u32 },
    Nudge { offset: usize, by: u32 },
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        0u32..70,
        (0u32..70).prop_map(|low| u32::MAX - low),
        (0u32..70).prop_map(|low| (1 << 31) - 35 + low),
        any::<u32>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = prop::sample::select(vec![
        REQUEST_TAIL,
        REQUEST_HEAD,
        COMPLETION_TAIL,
        COMPLETION_HEAD,
    ]);
    prop_oneof![
        4 => Just(Step::Serve),
        4 => Just(Step::Call),
        1 => (index.clone(), value()).prop_map(|(offset, value)| Step::Scribble { offset, value }),
        2 => (index, 0u32..34).prop_map(|(offset, by)| Step::Nudge { offset, by }),
        2 => (0usize..0x400, value()).prop_map(|(word, value)| Step::Scribble { offset: word * 4, value }),
    ]
}

proptest! {
    #[test]
    fn scribbling_over_the_control_page_harms_nobody(steps in prop::collection::vec(step(), 1..300)) {
        let memory = SharedMemory::smallest();
        let (mut server, mut client) = (memory.server(), memory.client());
        for step in steps {
            match step {
                Step::Serve => serve_one(&mut server),
                Step::Call => call_one(&mut client),
                Step::Scribble { offset, value } => memory.scribble(offset, value),
                Step::Nudge { offset, by } => {
                    memory.word(offset).fetch_add(by, Ordering::SeqCst);
                }
            }
            prop_assert!(client.in_flight() <= SLOTS);
        }
        memory.assert_guards_are_intact();
    }
}
