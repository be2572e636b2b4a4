// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions: either side begins anew, in every order and at any moment.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use common::*;
use forward_ring::{Client, Message, RingError, Server, opcode};
use proptest::prelude::*;

/// Makes a client and a server that are in a session.
fn connected(memory: &SharedMemory) -> (Client, Server) {
    let (mut client, mut server) = (memory.client(), memory.server());
    server.announce();
    assert!(client.greet());
    assert!(server.accept());
    assert!(client.is_accepted());
    (client, server)
}

/// Makes two calls that nobody waits for any more.
fn abandon_two(client: &mut Client) {
    for value in [1000, 1001] {
        let token = client.reserve().unwrap();
        let _ = client.submit(token, &Message::new(opcode::COUNTERS, &[value]));
    }
}

/// Makes one call, which is answered by its argument.
fn exchange(client: &mut Client, server: &mut Server, value: u64) {
    let token = client.reserve().unwrap();
    let submitted = client.submit(token, &Message::new(opcode::COUNTERS, &[value]));
    assert!(submitted.notify, "the server has taken everything");
    let request = server.next().unwrap().unwrap();
    assert_eq!(request.message.args[0], value);
    assert!(server.complete(request.token, value as i64).unwrap());
    let (token, result) = client.poll().unwrap().unwrap();
    assert_eq!(result, value as i64);
    client.release(token);
    assert_eq!(client.poll(), Ok(None));
    assert!(server.next().unwrap().is_none());
}

#[test]
fn a_session_begins_when_the_server_has_accepted() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    assert!(!client.greet(), "nobody has announced itself");
    assert!(!client.is_accepted() && !client.is_server_new());
    assert!(!server.is_greeted() && !server.accept());

    server.announce();
    assert!(!server.is_greeted(), "the greeting was nobody's");
    assert!(client.is_server_new());
    assert!(client.greet() && !client.is_server_new());
    assert!(server.is_greeted() && !client.is_accepted());
    assert!(server.accept());
    assert!(client.is_accepted() && !client.is_server_new());
    assert!(!server.is_greeted() && !server.accept(), "once");
    assert!(!server.is_client_gone());
    for value in 0..100 {
        exchange(&mut client, &mut server, value);
    }
}

#[test]
fn a_client_that_was_there_first_greets_the_server_that_comes() {
    let memory = SharedMemory::smallest();
    let mut client = memory.client();
    assert!(!client.greet());
    let mut server = memory.server();
    server.announce();
    assert!(client.is_server_new());
    assert!(client.greet() && server.accept() && client.is_accepted());
    exchange(&mut client, &mut server, 1);
}

#[test]
fn a_new_server_gets_nothing_of_the_former_ones_calls() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = connected(&memory);
    exchange(&mut client, &mut server, 1);
    // One call that was taken, one that lies there.
    abandon_two(&mut client);
    let taken = server.next().unwrap().unwrap();
    drop(taken);

    // The former one is gone.
    let mut server = memory.server();
    assert!(!client.is_server_new());
    server.announce();
    assert!(client.is_server_new() && !client.is_accepted());
    assert!(!server.is_greeted(), "the greeting was the former server's");
    assert!(client.greet());
    assert_eq!(client.in_flight(), 0);
    assert!(server.accept() && client.is_accepted());
    assert!(server.next().unwrap().is_none());
    exchange(&mut client, &mut server, 3);
}

#[test]
fn a_new_client_gets_nothing_of_the_former_ones_calls() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = connected(&memory);
    exchange(&mut client, &mut server, 1);
    abandon_two(&mut client);
    let taken = server.next().unwrap().unwrap();

    // The former one is gone.
    let mut client = memory.client();
    assert!(!server.is_client_gone());
    assert!(client.greet());
    assert!(server.is_client_gone() && !client.is_accepted());
    // Completed before the server has noticed.
    server.complete(taken.token, 2).unwrap();
    assert!(!client.is_accepted());
    assert!(server.accept() && client.is_accepted());
    assert!(!server.is_client_gone());
    assert_eq!(client.poll(), Ok(None));
    exchange(&mut client, &mut server, 3);
}

#[test]
fn both_new_at_once_find_each_other() {
    for server_first in [false, true] {
        let memory = SharedMemory::smallest();
        let (mut client, _) = connected(&memory);
        abandon_two(&mut client);
        let (mut client, mut server) = (memory.client(), memory.server());
        if server_first {
            server.announce();
            assert!(client.greet());
        } else {
            assert!(client.greet(), "the former server's generation is there");
            assert!(!client.is_accepted(), "the former server's answer is not");
            server.announce();
            assert!(!server.accept() && client.is_server_new());
            assert!(client.greet());
        }
        assert!(server.accept() && client.is_accepted());
        assert!(server.next().unwrap().is_none());
        exchange(&mut client, &mut server, 3);
    }
}

#[test]
fn requests_that_were_not_taken_are_out_of_reach_of_whoever_serves_the_former_client() {
    // Indices near the end of their width, where 0 is within a queue's length.
    for start in [0, 1, 31, u32::MAX - 40, u32::MAX - 2, u32::MAX] {
        for greetings in 1..100 {
            let memory = SharedMemory::smallest();
            for offset in [REQUEST_TAIL, REQUEST_HEAD, COMPLETION_TAIL, COMPLETION_HEAD] {
                memory.scribble(offset, start);
            }
            let (mut client, mut server) = (memory.client(), memory.server());
            for _ in 0..3 {
                let token = client.reserve().unwrap();
                let _ = client.submit(token, &Message::new(opcode::NULL, &[]));
            }
            let _request = server.next().unwrap().unwrap();
            (0..greetings).for_each(|_| _ = client.greet());
            let error = server.next().unwrap_err();
            assert!(matches!(error, RingError::Corrupt { .. }), "{error}");
        }
    }
}

#[test]
fn a_ring_that_both_have_reset_is_empty() {
    let memory = SharedMemory::smallest();
    let (mut client, mut server) = (memory.client(), memory.server());
    exchange(&mut client, &mut server, 1);
    abandon_two(&mut client);
    client.reset();
    server.reset();
    // A process takes the client's side over from the kernel.
    let mut client = memory.client();
    assert_eq!(client.poll(), Ok(None));
    assert!(server.next().unwrap().is_none());
    exchange(&mut client, &mut server, 3);
}

#[test]
fn a_channel_that_was_zeroed_is_noticed_by_either_side() {
    // The client is the new one: its generation is that of the one before.
    let memory = SharedMemory::smallest();
    let (_, mut server) = connected(&memory);
    memory.zero();
    assert!(server.is_client_gone());
    let mut client = memory.client();
    assert!(!client.greet());
    assert!(server.is_client_gone() && !server.is_greeted());
    assert!(!server.accept());
    assert!(client.is_server_new() && client.greet());
    assert!(server.accept() && client.is_accepted());
    exchange(&mut client, &mut server, 1);

    // The server is the new one.
    let memory = SharedMemory::smallest();
    let (mut client, _) = connected(&memory);
    memory.zero();
    assert!(client.is_server_new() && !client.is_accepted());
    let mut server = memory.server();
    server.announce();
    assert!(client.is_server_new() && !client.is_accepted());
    assert!(client.greet() && server.accept() && client.is_accepted());
    exchange(&mut client, &mut server, 1);
}

#[test]
fn generations_run_over_their_width_and_0_is_none() {
    let memory = SharedMemory::smallest();
    memory.scribble(CLIENT_GENERATION, u32::MAX);
    memory.scribble(SERVER_GENERATION, u32::MAX);
    let (mut client, mut server) = connected(&memory);
    exchange(&mut client, &mut server, 1);
    assert_ne!(memory.word(CLIENT_GENERATION).load(Ordering::SeqCst), 0);
    assert_ne!(memory.word(SERVER_GENERATION).load(Ordering::SeqCst), 0);
}

#[test]
fn a_server_is_not_greeted_by_forged_words_that_are_nobodys() {
    let memory = SharedMemory::smallest();
    let mut server = memory.server();
    // Not announced: generation 0 is nobody's.
    memory.scribble(CLIENT_GENERATION, 7);
    assert!(!server.is_greeted());
    server.announce();
    let own = memory.word(SERVER_GENERATION).load(Ordering::SeqCst);
    for (client, greeted, is_greeting) in [
        (0, own, false),
        (7, 0, false),
        (7, own + 1, false),
        (7, own, true),
    ] {
        memory.scribble(CLIENT_GENERATION, client);
        memory.scribble(GREETED, greeted);
        assert_eq!(server.is_greeted(), is_greeting);
    }
    assert!(server.accept() && !server.is_client_gone());
    // What the client writes into the server's line does not change who the server is: it says so again.
    memory.scribble(SERVER_GENERATION, own + 7);
    memory.scribble(GREETED, own + 7);
    assert!(server.is_client_gone() && !server.is_greeted());
    let again = memory.word(SERVER_GENERATION).load(Ordering::SeqCst);
    assert_eq!(again, own);
}

#[test]
fn a_client_is_not_accepted_by_forged_words_that_are_nobodys() {
    let memory = SharedMemory::smallest();
    let mut client = memory.client();
    assert!(!client.is_accepted());
    memory.scribble(SERVER_GENERATION, 5);
    assert!(client.greet());
    let own = memory.word(CLIENT_GENERATION).load(Ordering::SeqCst);
    for (server, accepted, is_accepted) in [
        (5, own + 1, false),
        (5, 0, false),
        (6, own, false),
        (0, own, false),
        (5, own, true),
    ] {
        memory.scribble(SERVER_GENERATION, server);
        memory.scribble(ACCEPTED, accepted);
        assert_eq!(client.is_accepted(), is_accepted);
    }
    memory.scribble(CLIENT_GENERATION, own + 1);
    assert!(!client.is_accepted());
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    NewClient,
    NewServer,
    /// The client looks at the session, and greets where there is need.
    ClientLooks,
    /// The server looks whether its client is gone, and accepts.
    ServerLooks,
    Submit,
    Serve,
    Poll,
    Zero,
}

fn step(zeroes: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::NewClient),
        1 => Just(Step::NewServer),
        3 => Just(Step::ClientLooks),
        3 => Just(Step::ServerLooks),
        4 => Just(Step::Submit),
        4 => Just(Step::Serve),
        4 => Just(Step::Poll),
        u32::from(zeroes) => Just(Step::Zero),
    ]
}

/// Both sides, doing what the protocol asks of them, and what is known of the calls.
struct World<'a> {
    memory: &'a SharedMemory,
    client: Client,
    server: Server,
    is_connected: bool,
    is_serving: bool,
    next_value: u64,
    /// Calls of the client's session that have no result.
    waiting: BTreeSet<u64>,
    served: BTreeSet<u64>,
}

impl<'a> World<'a> {
    fn new(memory: &'a SharedMemory) -> Self {
        let mut server = memory.server();
        server.announce();
        Self {
            memory,
            client: memory.client(),
            server,
            is_connected: false,
            is_serving: false,
            next_value: 0,
            waiting: BTreeSet::new(),
            served: BTreeSet::new(),
        }
    }

    fn client_looks(&mut self) {
        if self.client.is_server_new() {
            self.is_connected = false;
            self.waiting.clear();
            self.client.greet();
        } else if self.client.is_accepted() {
            self.is_connected = true;
        }
    }

    fn server_looks(&mut self) {
        if self.server.is_client_gone() {
            self.is_serving = false;
        }
        if self.server.accept() {
            self.is_serving = true;
        }
    }

    fn submit(&mut self) {
        if self.is_connected
            && let Ok(token) = self.client.reserve()
        {
            let message = Message::new(opcode::COUNTERS, &[self.next_value]);
            let _ = self.client.submit(token, &message);
            self.waiting.insert(self.next_value);
            self.next_value += 1;
        }
    }

    fn serve(&mut self) -> Result<(), TestCaseError> {
        if !self.is_serving {
            return Ok(());
        }
        match self.server.next() {
            Ok(Some(request)) => {
                let value = request.message.args[0];
                prop_assert!(self.served.insert(value), "{} was served twice", value);
                let completed = self.server.complete(request.token, value as i64);
                prop_assert!(completed.is_ok() || self.server.is_client_gone());
            }
            Ok(None) => {}
            // Nobody breaks the rules, so the client is another one.
            Err(error) => prop_assert!(self.server.is_client_gone(), "{}", error),
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<(), TestCaseError> {
        if !self.is_connected {
            return Ok(());
        }
        match self.client.poll() {
            Ok(Some((token, value))) => {
                prop_assert!(self.waiting.remove(&(value as u64)), "{} is stale", value);
                self.client.release(token);
            }
            Ok(None) => {}
            Err(error) => prop_assert!(self.client.is_server_new(), "{}", error),
        }
        Ok(())
    }

    fn make(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::NewClient => {
                self.client = self.memory.client();
                self.is_connected = false;
                self.waiting.clear();
                self.client.greet();
            }
            Step::NewServer => {
                self.server = self.memory.server();
                self.is_serving = false;
                self.server.announce();
            }
            Step::ClientLooks => self.client_looks(),
            Step::ServerLooks => self.server_looks(),
            Step::Submit => self.submit(),
            Step::Serve => self.serve()?,
            Step::Poll => self.poll()?,
            Step::Zero => {
                // With one of the two, as the hypervisor would.
                self.memory.zero();
                self.make(Step::NewClient)?;
            }
        }
        Ok(())
    }

    /// Once nobody begins anew any more, calls are answered.
    fn settles(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..4 {
            self.client_looks();
            self.server_looks();
        }
        prop_assert!(self.is_connected && self.is_serving);
        for _ in 0..3 {
            self.submit();
        }
        while !self.waiting.is_empty() {
            let before = self.waiting.len();
            self.serve()?;
            self.poll()?;
            prop_assert!(self.waiting.len() < before, "{:?} hang", self.waiting);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn whoever_begins_anew_no_call_is_served_twice_or_answered_from_another_session(
        (zeroes, steps) in any::<bool>().prop_flat_map(|zeroes| {
            (Just(zeroes), prop::collection::vec(step(zeroes), 1..200))
        }),
        start: u32,
    ) {
        let memory = SharedMemory::smallest();
        // Near the end of their width, or, because index 0 is the zeroed one's, far from it.
        let start = if zeroes { start / 2 + 100 } else { u32::MAX - start % 40 };
        for offset in [REQUEST_TAIL, REQUEST_HEAD, COMPLETION_TAIL, COMPLETION_HEAD] {
            memory.scribble(offset, start);
        }
        let mut world = World::new(&memory);
        for step in steps {
            world.make(step)?;
        }
        world.settles()?;
        memory.assert_guards_are_intact();
    }

    #[test]
    fn scribbling_over_the_lines_of_the_session_harms_nobody(
        steps in prop::collection::vec((step(false), prop::option::of((0usize..4, 0u32..6))), 1..200),
    ) {
        let memory = SharedMemory::smallest();
        let mut world = World::new(&memory);
        for (step, scribble) in steps {
            if let Some((word, value)) = scribble {
                memory.scribble([CLIENT_GENERATION, GREETED, SERVER_GENERATION, ACCEPTED][word], value);
            }
            // What comes of it is the scribbler's affair; but nobody panics or leaves the region.
            let _ = world.make(step);
        }
        // It ends when the scribbling does: each begins anew.
        world.make(Step::NewServer)?;
        world.make(Step::NewClient)?;
        world.settles()?;
        memory.assert_guards_are_intact();
    }
}
