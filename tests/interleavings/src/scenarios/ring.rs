// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ring alone, polled by a side that has not been notified: nothing torn, nothing twice, nothing lost.

use loom::thread;

use super::Preemptions::{Any, UpTo};
use super::check;
use crate::channel::Channel;

/// A server that looks now and then, as the main thread does before it sleeps.
#[test]
fn polled_requests_are_whole_and_in_order() {
    check("polled requests", Any, || {
        let channel = Channel::new();
        let mut server = channel.server();
        let served = thread::spawn(move || {
            let mut served = 0;
            for _ in 0..3 {
                if let Some(request) = server.next().unwrap() {
                    assert_eq!(server.serve(request).0, served);
                    served += 1;
                }
            }
            (server, served)
        });
        let mut client = channel.client();
        client.call(0);
        client.call(1);
        let (mut server, mut served) = served.join().unwrap();
        while let Some(request) = server.next().unwrap() {
            assert_eq!(server.serve(request).0, served);
            served += 1;
        }
        assert_eq!(served, 2);
    });
}

/// Three calls go once round a ring of two slots, tokens and buffers are used again.
#[test]
fn slots_and_buffers_are_used_again() {
    check("slots used again", UpTo(2), || {
        let channel = Channel::new();
        let mut server = channel.server();
        let served = thread::spawn(move || {
            for number in 0..3 {
                let request = loop {
                    match server.next().unwrap() {
                        Some(request) => break request,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(server.serve(request).0, number);
            }
        });
        let mut client = channel.client();
        client.call(0);
        client.call(1);
        for number in 0..3 {
            let completion = loop {
                match client.poll().unwrap() {
                    Some(completion) => break completion,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(client.completed(completion), number);
            if number == 0 {
                client.call(2);
            }
        }
        assert_eq!(client.poll(), Ok(None));
        served.join().unwrap();
    });
}
