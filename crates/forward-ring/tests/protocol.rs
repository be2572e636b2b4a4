// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two sides that keep the protocol.

mod common;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use common::*;
use forward_ring::{
    Call, CallError, Client, Full, Geometry, Message, OutOfBounds, RingError, SLOTS, Server, Token,
    UintrReply, WaitError, errno, opcode,
};
use proptest::prelude::*;

#[test]
fn a_call_goes_there_and_back_with_its_data() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    let token = client.reserve().unwrap();
    client.buffer(&token).write(0, b"hello").unwrap();
    let message = Message {
        opcode: opcode::WRITE,
        process: 12,
        reply_slot: 3,
        args: [1, 2, 3, 4, 5, u64::MAX],
    };
    let id = client.submit(token, &message).number;
    assert_eq!(client.poll(), Ok(None));

    let request = server.next().unwrap().unwrap();
    assert_eq!(request.message, message);
    let mut data = [0; 5];
    server.buffer(&request.token).read(0, &mut data).unwrap();
    assert_eq!(&data, b"hello");
    assert!(server.next().unwrap().is_none());
    server.complete(request.token, 5).unwrap();

    let (token, result) = client.poll().unwrap().unwrap();
    assert_eq!((token.number(), result), (id, 5));
    client.release(token);
    assert_eq!(client.in_flight(), 0);
}

#[test]
fn a_burst_is_notified_once() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    // Twice, so that indices other than 0 are compared.
    for _ in 0..2 {
        let mut requested = Vec::new();
        for _ in 0..SLOTS {
            let token = client.reserve().unwrap();
            requested.push(client.submit(token, &null()).notify);
        }
        assert_eq!(requested.iter().filter(|&&notify| notify).count(), 1);
        assert!(requested[0]);
        let mut completed = Vec::new();
        while let Some(request) = server.next().unwrap() {
            completed.push(server.complete(request.token, 0).unwrap());
        }
        assert_eq!(completed.iter().filter(|&&notify| notify).count(), 1);
        assert!(completed[0]);
        while let Some((token, _)) = client.poll().unwrap() {
            client.release(token);
        }
    }
}

#[test]
fn who_has_taken_everything_is_notified_again() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    let call = |client: &mut Client| {
        let token = client.reserve().unwrap();
        client.submit(token, &null()).notify
    };
    assert!(call(&mut client));
    assert!(!call(&mut client));
    let first = server.next().unwrap().unwrap();
    // The second is not taken: the server will look again.
    assert!(!call(&mut client));
    let _second = server.next().unwrap().unwrap();
    let _third = server.next().unwrap().unwrap();
    assert!(call(&mut client));
    assert!(server.complete(first.token, 0).unwrap());
}

#[test]
fn a_client_has_as_many_calls_under_way_as_there_are_slots() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    for _ in 0..SLOTS {
        let token = client.reserve().unwrap();
        let _ = client.submit(token, &null());
    }
    assert_eq!(client.reserve(), Err(Full));
    while let Some(request) = server.next().unwrap() {
        server.complete(request.token, 0).unwrap();
    }
    // Polled but not released: the buffers are still the caller's.
    let tokens: Vec<Token> = std::iter::from_fn(|| client.poll().unwrap())
        .map(|(token, _)| token)
        .collect();
    assert_eq!(tokens.len(), SLOTS);
    assert_eq!(client.reserve(), Err(Full));
    tokens.into_iter().for_each(|token| client.release(token));
    let token = client.reserve().unwrap();
    client.release(token);
}

#[test]
fn indices_run_over_their_width() {
    let memory = SharedMemory::smallest();
    for offset in [REQUEST_TAIL, REQUEST_HEAD, COMPLETION_TAIL, COMPLETION_HEAD] {
        memory.scribble(offset, u32::MAX - 1);
    }
    let (mut client, mut server) = (memory.client(), memory.server());
    for i in 0..100 {
        exchange(&mut client, &mut server, i);
    }
    assert_eq!(memory.word(REQUEST_TAIL).load(Ordering::SeqCst), 98);
}

#[test]
fn a_server_that_starts_anew_goes_on_where_the_last_one_stopped() {
    let memory = SharedMemory::smallest();
    let mut client = memory.client();
    exchange(&mut client, &mut memory.server(), 1);
    exchange(&mut client, &mut memory.server(), 2);
}

#[test]
fn accesses_outside_a_buffer_are_refused() {
    let memory = SharedMemory::smallest();
    let mut client = memory.client();
    let token = client.reserve().unwrap();
    let buffer = client.buffer(&token);
    assert_eq!(buffer.len(), 4096);
    for (offset, len) in [(4096, 1), (4090, 7), (usize::MAX, 2), (0, 4097)] {
        let mut data = vec![0; len];
        assert_eq!(
            buffer.read(offset, &mut data),
            Err(OutOfBounds { offset, len })
        );
        assert_eq!(
            buffer.write(offset, &data),
            Err(OutOfBounds { offset, len })
        );
    }
    buffer.write(4096, &[]).unwrap();
    client.release(token);
}

#[test]
fn buffers_do_not_overlap() {
    let memory = SharedMemory::new(Geometry::for_channel(4 << 20).unwrap());
    let mut client = memory.client();
    let tokens: Vec<Token> = std::iter::from_fn(|| client.reserve().ok()).collect();
    let len = client.geometry().buffer_len();
    for token in &tokens {
        client
            .buffer(token)
            .write(0, &vec![token.number() as u8; len])
            .unwrap();
    }
    for token in &tokens {
        let mut data = vec![0; len];
        client.buffer(token).read(0, &mut data).unwrap();
        assert!(data.iter().all(|&byte| byte == token.number() as u8));
    }
    tokens.into_iter().for_each(|token| client.release(token));
    memory.assert_guards_are_intact();
}

#[test]
fn rings_of_a_channel_know_nothing_of_each_other() {
    let memory = SharedMemory::channel(12 << 20);
    let mut rings: Vec<(Client, Server)> = (0..3)
        .map(|ring| {
            (
                Client::new(memory.mapping(ring)),
                Server::new(memory.mapping(ring)),
            )
        })
        .collect();
    let len = rings[0].0.geometry().buffer_len();
    // Every slot and every byte of every buffer, of all at once.
    for (ring, (client, _)) in rings.iter_mut().enumerate() {
        while let Ok(token) = client.reserve() {
            let value = 100 * ring as u64 + u64::from(token.number());
            let data = vec![value as u8; len];
            client.buffer(&token).write(0, &data).unwrap();
            let _ = client.submit(token, &message_of(value));
        }
    }
    for (ring, (client, server)) in rings.iter_mut().enumerate() {
        for number in 0..SLOTS as u64 {
            let request = server.next().unwrap().unwrap();
            let value = 100 * ring as u64 + number;
            assert_eq!(request.message, message_of(value));
            let mut data = vec![0; len];
            server.buffer(&request.token).read(0, &mut data).unwrap();
            assert!(data.iter().all(|&byte| byte == value as u8));
            server.complete(request.token, value as i64).unwrap();
            let (token, result) = client.poll().unwrap().unwrap();
            assert_eq!((token.number() as u64, result), (number, value as i64));
            client.release(token);
        }
        assert!(server.next().unwrap().is_none());
    }
    // One of them begins anew: the others do not notice.
    let [(first, _), (second, served), (third, _)] = &mut rings[..] else {
        unreachable!("there are three");
    };
    for client in [&mut *first, &mut *second, &mut *third] {
        let token = client.reserve().unwrap();
        let _ = client.submit(token, &null());
    }
    second.reset();
    served.reset();
    exchange(second, served, 5);
    assert_eq!((first.in_flight(), third.in_flight()), (1, 1));
    memory.assert_guards_are_intact();
}

#[test]
fn a_hundred_thousand_calls_between_two_threads() {
    const CALLS: u64 = 100_000;
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    let served = std::thread::spawn(move || {
        let mut served = 0;
        while served < CALLS {
            let Some(request) = server.next().unwrap() else {
                std::thread::yield_now();
                continue;
            };
            let mut data = [0; 8];
            server.buffer(&request.token).read(0, &mut data).unwrap();
            assert_eq!(u64::from_le_bytes(data), request.message.args[0]);
            server
                .complete(request.token, request.message.args[0] as i64 + 1)
                .unwrap();
            served += 1;
        }
    });
    let (mut sent, mut taken) = (0, 0);
    let mut waiting = BTreeMap::new();
    while taken < CALLS {
        while sent < CALLS
            && let Ok(token) = client.reserve()
        {
            client.buffer(&token).write(0, &sent.to_le_bytes()).unwrap();
            let id = client
                .submit(token, &Message::new(opcode::NULL, &[sent]))
                .number;
            assert_eq!(waiting.insert(id, sent), None);
            sent += 1;
        }
        while let Some((token, result)) = client.poll().unwrap() {
            assert_eq!(waiting.remove(&token.number()), Some(result as u64 - 1));
            client.release(token);
            taken += 1;
        }
        std::thread::yield_now();
    }
    served.join().unwrap();
    memory.assert_guards_are_intact();
}

fn null() -> Message {
    Message::new(opcode::NULL, &[])
}

/// A request each part of which tells `value`.
fn message_of(value: u64) -> Message {
    Message {
        opcode: value as u32,
        process: (value >> 32) as u32,
        reply_slot: !value as u32,
        args: [value, !value, 1, value << 1, value >> 1, u64::MAX],
    }
}

fn exchange(client: &mut Client, server: &mut Server, value: u64) {
    let token = client.reserve().unwrap();
    let _ = client.submit(token, &Message::new(opcode::COUNTERS, &[value]));
    let request = server.next().unwrap().unwrap();
    assert_eq!(request.message.args[0], value);
    server.complete(request.token, value as i64).unwrap();
    let (token, result) = client.poll().unwrap().unwrap();
    assert_eq!(result, value as i64);
    client.release(token);
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u64),
    Take,
    Complete(usize),
    Poll,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u64>().prop_map(Step::Submit),
        2 => Just(Step::Take),
        2 => any::<usize>().prop_map(Step::Complete),
        2 => Just(Step::Poll),
        2 => Just(Step::Release),
    ]
}

proptest! {
    #[test]
    fn requests_and_completions_arrive_once_and_in_order(steps in prop::collection::vec(step(), 1..400), start: u32) {
        let memory = SharedMemory::smallest();
        for offset in [REQUEST_TAIL, REQUEST_HEAD, COMPLETION_TAIL, COMPLETION_HEAD] {
            memory.scribble(offset, start);
        }
        let (mut client, mut server) = (memory.client(), memory.server());
        let (mut requests, mut completions) = (VecDeque::new(), VecDeque::new());
        let (mut serving, mut taken) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Submit(value) => match client.reserve() {
                    Ok(token) => {
                        client.buffer(&token).write(3, &value.to_le_bytes()).unwrap();
                        let id = client.submit(token, &message_of(value)).number;
                        requests.push_back((id, value));
                    }
                    Err(Full) => prop_assert_eq!(client.in_flight() + taken.len(), SLOTS),
                },
                Step::Take => {
                    let request = server.next().unwrap();
                    let got = request.as_ref().map(|r| (r.token.number(), r.message.args[0]));
                    prop_assert_eq!(got, requests.pop_front());
                    if let Some(request) = request {
                        let mut data = [0; 8];
                        server.buffer(&request.token).read(3, &mut data).unwrap();
                        prop_assert_eq!(u64::from_le_bytes(data), request.message.args[0]);
                        prop_assert_eq!(request.message, message_of(request.message.args[0]));
                        serving.push(request);
                    }
                }
                Step::Complete(choice) if !serving.is_empty() => {
                    let request = serving.swap_remove(choice % serving.len());
                    completions.push_back((request.token.number(), request.message.args[0] as i64));
                    server.complete(request.token, request.message.args[0] as i64).unwrap();
                }
                Step::Poll => {
                    let completion = client.poll().unwrap();
                    let got = completion.as_ref().map(|(token, result)| (token.number(), *result));
                    prop_assert_eq!(got, completions.pop_front());
                    taken.extend(completion.map(|(token, _)| token));
                }
                Step::Release => {
                    if let Some(token) = taken.pop() {
                        client.release(token);
                    }
                }
                Step::Complete(_) => {}
            }
        }
        memory.assert_guards_are_intact();
    }

    #[test]
    fn what_is_written_to_a_buffer_is_read_from_it(
        offset in 0usize..5000, data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let memory = SharedMemory::smallest();
        let mut client = memory.client();
        let token = client.reserve().unwrap();
        let buffer = client.buffer(&token);
        let fits = offset + data.len() <= buffer.len();
        prop_assert_eq!(buffer.write(offset, &data).is_ok(), fits);
        let mut back = vec![0; data.len()];
        prop_assert_eq!(buffer.read(offset, &mut back).is_ok(), fits);
        if fits {
            prop_assert_eq!(&back, &data);
            let mut all = vec![0; buffer.len()];
            buffer.read(0, &mut all).unwrap();
            prop_assert_eq!(&all[offset..offset + data.len()], &data[..]);
            prop_assert!(all[..offset].iter().chain(&all[offset + data.len()..]).all(|&byte| byte == 0));
        }
        client.release(token);
    }

    #[test]
    fn decoded_calls_encode_to_the_same(opcode in 50u32..110, mut args: [u64; 6], small: bool) {
        if small {
            args = args.map(|arg| arg % 10_000);
        }
        match Call::decode(&Message { opcode, args, process: 5, reply_slot: 1 }) {
            Ok(call) => prop_assert_eq!(Call::decode(&call.encode()), Ok(call)),
            Err(error) => prop_assert!(matches!(error.errno(), errno::EINVAL | errno::ENOSYS)),
        }
    }

    #[test]
    fn a_uintr_reply_survives_its_encoding(slot: u8, vector: u8, wild: i64) {
        let reply = UintrReply { slot, vector };
        prop_assert_eq!(UintrReply::decode(reply.encode()), Some(reply));
        prop_assert_eq!(UintrReply::decode(wild).is_some(), (0..=0xffff).contains(&wild));
    }
}

#[test]
fn a_negative_status_is_a_call_and_a_wide_one_is_not() {
    let call = Call::Exit { status: -1 };
    assert_eq!(call.encode(), Message::new(opcode::EXIT, &[u64::MAX]));
    let decode = |status| Call::decode(&Message::new(opcode::EXIT, &[status]));
    assert_eq!(decode(0xffff_ffff), Ok(call));
    let wide = CallError::InvalidArgument {
        index: 0,
        value: 1 << 32,
    };
    assert_eq!(decode(1 << 32), Err(wide));
    assert_eq!(
        Call::decode(&Message::new(opcode::READ, &[])),
        Err(CallError::UnknownOpcode { opcode: 0 })
    );
}

#[test]
fn every_call_of_the_clients_own_survives_its_encoding() {
    let (ring, slot, vector) = (7, 31, 63);
    for call in [
        Call::Fork { child: u32::MAX },
        Call::Exec,
        Call::Exit { status: i32::MIN },
        Call::UintrInit { slot, vector },
        Call::Null,
        Call::Counters { index: u64::MAX },
        Call::RingOpen { ring, slot, vector },
        Call::RingClose { ring },
        Call::End { status: 3 },
    ] {
        let mut message = call.encode();
        assert_eq!((message.process, message.reply_slot), (0, 0));
        // What else stands there is no part of the call.
        (message.process, message.reply_slot) = (9, 2);
        assert_eq!(Call::decode(&message), Ok(call));
    }
}

#[test]
fn waiting_ends_with_the_completion_or_with_the_server() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    let token = client.reserve().unwrap();
    let _ = client.submit(token, &null());
    let mut idled = 0;
    let (token, result) = client
        .wait(
            || true,
            || {
                idled += 1;
                if idled == 3 {
                    let request = server.next().unwrap().unwrap();
                    server.complete(request.token, 7).unwrap();
                }
            },
        )
        .unwrap();
    assert_eq!((result, idled), (7, 3));

    let _ = client.submit(token, &null());
    let there = Cell::new(true);
    let gone = client.wait(|| there.get(), || there.set(false));
    assert_eq!(gone, Err(WaitError::ServerGone));
    // What was completed before the server went is not lost.
    let request = server.next().unwrap().unwrap();
    server.complete(request.token, 8).unwrap();
    let (token, result) = client.wait(|| false, || unreachable!()).unwrap();
    assert_eq!(result, 8);
    client.release(token);

    // A server that is there, but is not the one that has the call.
    let token = client.reserve().unwrap();
    let _ = client.submit(token, &null());
    memory.server().announce();
    let replaced = client.wait(|| true, || unreachable!());
    assert_eq!(replaced, Err(WaitError::ServerGone));

    memory.scribble(COMPLETION_TAIL, 99);
    let broken = client.wait(|| true, || unreachable!());
    let corrupt = RingError::Corrupt {
        ours: 2,
        theirs: 99,
    };
    assert_eq!(broken, Err(WaitError::Ring(corrupt)));
}
