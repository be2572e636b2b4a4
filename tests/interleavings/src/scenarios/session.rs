// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sides that begin anew. Each polls, as it does in the product until a session has begun: one that polls for ever is
//! reported by loom as a model with too many steps.
//!
//! Calls have different numbers, and [`End`] sees that requests and completions are whole: what is left of a former session
//! and taken for a part of the new one is found.

use std::sync::Arc;

use forward_ring::{Client, Server};
use loom::thread;

use super::Preemptions::UpTo;
use super::check;
use crate::channel::{Channel, End};

/// Returns both ends, in a session.
fn connected(channel: &Arc<Channel>) -> (End<Client>, End<Server>) {
    let (mut client, mut server) = (channel.client(), channel.server());
    server.announce();
    assert!(client.greet() && server.accept() && client.is_accepted());
    (client, server)
}

/// Begins a session as the client, with whichever server there is, or will be.
fn begin(client: &mut End<Client>) {
    while !client.is_accepted() {
        if client.is_server_new() {
            client.greet();
        }
        thread::yield_now();
    }
}

/// Waits for the completion of a call; `None` if another server has come.
fn await_completion(client: &mut End<Client>) -> Option<u32> {
    loop {
        let is_server_new = client.is_server_new();
        match client.poll().unwrap() {
            Some(completion) => return Some(client.completed(completion)),
            None if is_server_new => return None,
            None => thread::yield_now(),
        }
    }
}

/// Makes call `number`, in session after session, until it is completed.
fn call_until_completed(client: &mut End<Client>, number: u32) {
    loop {
        begin(client);
        client.call(number);
        if let Some(completed) = await_completion(client) {
            assert_eq!(completed, number, "a stale completion");
            return;
        }
    }
}

/// Waits for a client as the server.
fn accept(server: &mut End<Server>) {
    while !server.accept() {
        thread::yield_now();
    }
}

/// Serves, in session after session, until call `last` is served; the others were `abandoned`, and are served once at most.
fn serve_until(server: &mut End<Server>, abandoned: &[u32], last: u32) {
    let mut served = vec![];
    while served.last() != Some(&last) {
        match server.next() {
            Ok(Some(request)) => {
                let number = server.serve(request).0;
                assert!(number == last || abandoned.contains(&number));
                assert!(!served.contains(&number), "call {number} is served twice");
                served.push(number);
            }
            Ok(None) if server.is_client_gone() => accept(server),
            Ok(None) => thread::yield_now(),
            Err(error) => {
                // Nobody breaks the rules.
                assert!(server.is_client_gone(), "{error}");
                accept(server);
            }
        }
    }
}

/// A server completes one of two calls and dies; the next one comes while the client waits.
#[test]
fn a_client_outlives_its_server() {
    check("another server", UpTo(3), || {
        let channel = Channel::new();
        let (mut client, mut server) = connected(&channel);
        client.call(0);
        client.call(1);
        thread::spawn(move || {
            let request = server.next().unwrap().unwrap();
            server.serve(request);
            let _taken = server.next().unwrap().unwrap();
            let mut another = server.channel.server();
            another.announce();
            accept(&mut another);
            serve_until(&mut another, &[], 2);
        });
        assert!(matches!(await_completion(&mut client), None | Some(0)));
        call_until_completed(&mut client, 2);
    });
}

/// A server dies before it has accepted, or just after.
#[test]
fn a_client_outlives_a_server_that_hardly_was_there() {
    check("server after server", UpTo(3), || {
        let channel = Channel::new();
        let mut client = channel.client();
        let mut server = channel.server();
        thread::spawn(move || {
            server.announce();
            server.accept();
            let mut another = server.channel.server();
            another.announce();
            accept(&mut another);
            serve_until(&mut another, &[], 0);
        });
        call_until_completed(&mut client, 0);
    });
}

/// A client dies in the middle of two calls, one of which the server never completes; the next one begins, and begins once
/// more, while the server serves.
#[test]
fn a_server_outlives_its_client() {
    check("another client", UpTo(2), || {
        let channel = Channel::new();
        let (mut client, mut server) = connected(&channel);
        client.call(0);
        let _taken = server.next().unwrap().unwrap();
        thread::spawn(move || {
            client.call(1);
            let mut another = client.channel.client();
            another.greet();
            another.greet();
            call_until_completed(&mut another, 2);
        });
        serve_until(&mut server, &[1], 2);
    });
}

/// Both begin anew at once, over what a former session has left: a completion and a request that nobody took.
#[test]
fn both_begin_anew() {
    check("both anew", UpTo(3), || {
        let channel = Channel::new();
        let (mut client, mut server) = connected(&channel);
        client.call(0);
        client.call(1);
        let request = server.next().unwrap().unwrap();
        server.serve(request);
        thread::spawn(move || {
            let mut another = client.channel.client();
            another.greet();
            call_until_completed(&mut another, 2);
        });
        let mut another = server.channel.server();
        another.announce();
        accept(&mut another);
        serve_until(&mut another, &[], 2);
    });
}
