// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel that takes its notifications as ordinary interrupts and idles by HLT: the co-kernel.

use std::sync::Arc;

use forward_ring::WaitError;
use loom::thread;
use uintr::Upid;

use super::Preemptions::{Any, UpTo};
use super::check;
use crate::channel::{Channel, USER_VECTOR};
use crate::nimbos::Nimbos;
use crate::processor::{NOTIFICATION, TIMER};

/// Two completions, the second perhaps coalesced with the first: the kernel sees both.
#[test]
fn a_halted_kernel_is_woken_for_every_completion() {
    check("halted kernel, two completions", Any, || {
        let channel = Channel::new();
        let mut nimbos = Nimbos::start(&channel);
        nimbos.client.call(0);
        nimbos.client.call(1);
        let mut server = channel.server();
        thread::spawn(move || {
            while let Some(request) = server.next().unwrap() {
                server.serve_and_notify(request);
            }
        });
        nimbos.wait_for_completion().unwrap();
        nimbos.wait_for_completion().unwrap();
    });
}

/// The same with a server in a cell whose doorbells are filtered.
#[test]
fn a_halted_kernel_is_woken_by_way_of_a_proxy() {
    check("halted kernel, proxy", UpTo(3), || {
        let channel = Channel::new();
        let mut nimbos = Nimbos::start(&channel);
        nimbos.client.call(0);
        nimbos.client.call(1);
        let mut server = channel.server();
        thread::spawn(move || {
            while let Some(request) = server.next().unwrap() {
                if !server.serve(request).1 {
                    continue;
                }
                let channel = &server.channel;
                channel.machine.senduipi_by_proxy(
                    &channel.client_proxy,
                    &channel.client_upid,
                    USER_VECTOR,
                );
            }
        });
        nimbos.wait_for_completion().unwrap();
        nimbos.wait_for_completion().unwrap();
    });
}

/// Every vector that is posted comes out of the UPID, whoever posted it and however it was coalesced.
fn collects_all(posts: fn(&Channel, u8)) {
    let channel = Channel::new();
    for vector in [3, 5] {
        let channel = Arc::clone(&channel);
        thread::spawn(move || posts(&channel, vector));
    }
    let mut collected = 0;
    while collected != 1 << 3 | 1 << 5 {
        assert_eq!(channel.machine.nimbos.halt(), NOTIFICATION);
        let taken = channel.client_upid.take_requests();
        assert_eq!(collected & taken, 0, "a vector came twice");
        collected |= taken;
    }
    assert_eq!(channel.client_upid.take_requests(), 0);
}

#[test]
fn vectors_of_two_senders_are_all_taken() {
    check("two senders", Any, || {
        collects_all(|channel, vector| channel.machine.senduipi(&channel.client_upid, vector));
    });
}

#[test]
fn vectors_that_the_hypervisor_posts_are_all_taken() {
    check("two senders, each with a proxy", Any, || {
        collects_all(|channel, vector| {
            let proxy = Upid::default();
            channel
                .machine
                .senduipi_by_proxy(&proxy, &channel.client_upid, vector);
        });
    });
}

/// Two CPUs of one cell post in the same proxy: whoever exits takes the other's post along, or the other exits too.
#[test]
fn vectors_of_two_senders_in_one_proxy_are_all_taken() {
    check("two senders in one proxy", UpTo(3), || {
        collects_all(|channel, vector| {
            channel
                .machine
                .senduipi_by_proxy(&channel.client_proxy, &channel.client_upid, vector);
        });
    });
}

/// A receiver that suppresses notifications while it is busy, and looks when it allows them again.
fn suppresses(post: fn(&Channel)) {
    let channel = Channel::new();
    let sender = Arc::clone(&channel);
    thread::spawn(move || post(&sender));
    let upid = &channel.client_upid;
    upid.set_suppress(true);
    upid.set_suppress(false);
    if upid.requests() == 0 {
        assert_eq!(channel.machine.nimbos.halt(), NOTIFICATION);
    }
    assert_eq!(upid.take_requests(), 1 << 3);
}

#[test]
fn posts_while_suppressed_are_found_afterwards() {
    check("suppressed", Any, || {
        suppresses(|channel| channel.machine.senduipi(&channel.client_upid, 3));
    });
}

#[test]
fn posts_of_the_hypervisor_while_suppressed_are_found_afterwards() {
    check("suppressed, proxy", Any, || {
        suppresses(|channel| {
            let Channel {
                machine,
                client_proxy,
                client_upid,
                ..
            } = channel;
            machine.senduipi_by_proxy(client_proxy, client_upid, 3);
        });
    });
}

/// What an interrupt announces is in the ring for whoever sees the posted request, by whatever way.
#[test]
fn whoever_finds_a_request_finds_what_it_announces() {
    check("request and ring", Any, || {
        let channel = Channel::new();
        let mut server = channel.server();
        let mut client = channel.client();
        thread::spawn(move || client.call_and_notify(0));
        let upid = &channel.server_upid;
        upid.set_suppress(true);
        let found = match upid.requests() {
            0 => upid.retarget(NOTIFICATION, 0),
            requests => requests,
        };
        if found == 0 {
            assert_eq!(channel.machine.nimbos.halt(), NOTIFICATION);
            assert_eq!(upid.take_requests(), 1);
        }
        let request = server.next().unwrap().expect("the ring has the request");
        assert_eq!(server.serve(request).0, 0);
    });
}

/// A server that completes and goes: the kernel gets the completion, not "gone".
#[test]
fn a_completion_before_the_end_counts() {
    check("server completes and goes", Any, || {
        let channel = Channel::new();
        let mut nimbos = Nimbos::start(&channel);
        nimbos.client.call(0);
        let ticking = Arc::clone(&channel);
        thread::spawn(move || ticking.machine.nimbos.raise(TIMER));
        let mut server = channel.server();
        thread::spawn(move || {
            let request = server.next().unwrap().unwrap();
            server.serve_and_notify(request);
            server.channel.leave_as_server();
        });
        nimbos.wait_for_completion().unwrap();
    });
}

/// A server that goes without completing notifies nobody: the kernel's timer finds out.
#[test]
fn the_timer_finds_that_the_server_has_gone() {
    check("server goes", Any, || {
        let channel = Channel::new();
        let mut nimbos = Nimbos::start(&channel);
        nimbos.client.call(0);
        let server = Arc::clone(&channel);
        thread::spawn(move || {
            server.leave_as_server();
            // There is always one more tick.
            server.machine.nimbos.raise(TIMER);
        });
        assert_eq!(nimbos.wait_for_completion(), Err(WaitError::ServerGone));
    });
}

/// A server that goes without completing and is followed by another, before the timer ticks.
#[test]
fn the_timer_finds_that_another_server_has_come() {
    check("halted kernel, another server", Any, || {
        let channel = Channel::new();
        let mut nimbos = Nimbos::start(&channel);
        let mut server = channel.server();
        server.announce();
        assert!(nimbos.client.greet() && server.accept());
        nimbos.client.call(0);
        thread::spawn(move || {
            let channel = Arc::clone(&server.channel);
            channel.leave_as_server();
            let mut another = channel.server();
            another.announce();
            channel.come_as_server();
            // There is always one more tick.
            channel.machine.nimbos.raise(TIMER);
        });
        assert_eq!(nimbos.wait_for_completion(), Err(WaitError::ServerGone));
        assert!(nimbos.client.greet());
    });
}
