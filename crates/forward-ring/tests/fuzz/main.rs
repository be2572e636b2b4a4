// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random programs of one side over memory in which the other writes at random; `make fuzz` runs it long.

mod calls;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;

use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use forward_ring::{
    Call, CallError, Client, Full, Geometry, MAX_RINGS, Message, Request, RingError, SLOTS, Server,
    Token, UintrReply, opcode, syscall,
};
use hv_abi::channel::RING_OFFSET;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const SLOT_COUNT: u32 = SLOTS as u32;
const WORDS: usize = 0x1000 / 4;
const INDICES: [usize; 4] = [REQUEST_TAIL, REQUEST_HEAD, COMPLETION_TAIL, COMPLETION_HEAD];

/// What one of the sides does, or what the memory does by itself.
#[derive(Clone, Debug)]
enum Step {
    Next,
    /// Completes the request that was taken as this one of those under way.
    Complete(Index, i64),
    Reserve,
    Submit(Index, u32, [u64; 6]),
    Poll,
    Release(Index),
    /// Any word of the control page.
    Scribble(usize, u32),
    /// An index so far from what it was.
    Nudge(usize, u32),
    /// A request that looks like one: slot, token, opcode.
    Forge(u32, u32, u32),
    /// A completion that looks like one: slot, token.
    ForgeCompletion(u32, u32),
}

fn word() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..34, 1 => (0u32..70).prop_map(|low| u32::MAX - low), 1 => any::<u32>()]
}

fn step() -> impl Strategy<Value = Step> {
    let index = || select(&INDICES[..]);
    let distance = prop_oneof![4 => 0u32..4, 2 => 0u32..40, 1 => any::<u32>()];
    prop_oneof![
        6 => Just(Step::Next),
        6 => (any::<Index>(), any::<i64>()).prop_map(|(i, result)| Step::Complete(i, result)),
        4 => Just(Step::Reserve),
        4 => (any::<Index>(), word(), any::<[u64; 6]>()).prop_map(|(i, op, args)| Step::Submit(i, op, args)),
        6 => Just(Step::Poll),
        4 => any::<Index>().prop_map(Step::Release),
        2 => (0..WORDS, word()).prop_map(|(word, value)| Step::Scribble(4 * word, value)),
        1 => (index(), any::<u32>()).prop_map(|(offset, value)| Step::Scribble(offset, value)),
        6 => (index(), distance).prop_map(|(offset, by)| Step::Nudge(offset, by)),
        3 => (0..SLOT_COUNT, word(), word()).prop_map(|(slot, token, op)| Step::Forge(slot, token, op)),
        3 => (0..SLOT_COUNT, word()).prop_map(|(slot, token)| Step::ForgeCompletion(slot, token)),
    ]
}

/// The control page as it is now.
fn snapshot(memory: &SharedMemory) -> Vec<u32> {
    (0..WORDS)
        .map(|word| memory.word(4 * word).load(Ordering::SeqCst))
        .collect()
}

/// Both ends, and what each of them is known to hold.
struct Ends {
    server: Server,
    client: Client,
    taken: Vec<Request>,
    reserved: Vec<Token>,
    in_flight: Vec<u32>,
    done: Vec<Token>,
}

impl Ends {
    fn new(memory: &SharedMemory) -> Self {
        Self {
            server: memory.server(),
            client: memory.client(),
            taken: vec![],
            reserved: vec![],
            in_flight: vec![],
            done: vec![],
        }
    }

    fn next(&mut self) -> Result<bool, TestCaseError> {
        let is_taken = |number: u32| {
            self.taken
                .iter()
                .any(|request| request.token.number() == number)
        };
        match self.server.next() {
            Ok(Some(request)) => {
                let number = request.token.number();
                prop_assert!(
                    number < SLOT_COUNT && !is_taken(number),
                    "token {} given twice",
                    number
                );
                judge_call(&request, self.server.geometry().buffer_len())?;
                self.taken.push(request);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(RingError::UnknownToken { token }) => {
                prop_assert!(
                    token >= SLOT_COUNT || is_taken(token),
                    "token {} refused",
                    token
                );
                Ok(true)
            }
            Err(RingError::Corrupt { ours, theirs }) => {
                prop_assert!(theirs.wrapping_sub(ours) > SLOT_COUNT);
                Ok(false)
            }
            Err(RingError::CompletionsFull) => Err(TestCaseError::fail("not an error of next()")),
        }
    }

    fn complete(&mut self, which: &Index, result: i64) {
        if !self.taken.is_empty() {
            let request = self.taken.remove(which.index(self.taken.len()));
            _ = self.server.complete(request.token, result);
        }
    }

    fn reserve(&mut self) -> Result<(), TestCaseError> {
        let held = self.reserved.len() + self.in_flight.len() + self.done.len();
        match self.client.reserve() {
            Ok(token) => {
                let number = token.number();
                let mut others = self.reserved.iter().chain(&self.done).map(Token::number);
                let is_held =
                    others.any(|other| other == number) || self.in_flight.contains(&number);
                prop_assert!(
                    number < SLOT_COUNT && !is_held,
                    "token {} given twice",
                    number
                );
                self.reserved.push(token);
            }
            Err(Full) => prop_assert_eq!(held, SLOTS),
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<bool, TestCaseError> {
        match self.client.poll() {
            Ok(Some((token, _))) => {
                let number = token.number();
                let place = self.in_flight.iter().position(|&other| other == number);
                let place = place
                    .ok_or_else(|| TestCaseError::fail(format!("{number} was not under way")))?;
                self.in_flight.swap_remove(place);
                self.done.push(token);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(RingError::UnknownToken { token }) => {
                prop_assert!(!self.in_flight.contains(&token), "token {} refused", token);
                Ok(true)
            }
            Err(RingError::Corrupt { ours, theirs }) => {
                prop_assert!(theirs.wrapping_sub(ours) > SLOT_COUNT);
                Ok(false)
            }
            Err(RingError::CompletionsFull) => Err(TestCaseError::fail("not an error of poll()")),
        }
    }

    /// Makes a step; returns the ranges of the control page that it may have changed.
    fn make(
        &mut self,
        step: &Step,
        memory: &SharedMemory,
    ) -> Result<Vec<(usize, usize)>, TestCaseError> {
        let tail = |offset: usize| memory.word(offset).load(Ordering::SeqCst);
        Ok(match step {
            Step::Next => {
                self.next()?;
                vec![(REQUEST_HEAD, 4)]
            }
            Step::Complete(which, result) => {
                self.complete(which, *result);
                // Which slot is the server's to know: the other side may have rewritten the index.
                vec![(COMPLETION_TAIL, 4), (COMPLETIONS, 16 * SLOTS)]
            }
            Step::Reserve => {
                self.reserve()?;
                vec![]
            }
            Step::Submit(which, opcode, args) => {
                if self.reserved.is_empty() {
                    return Ok(vec![]);
                }
                let token = self.reserved.remove(which.index(self.reserved.len()));
                let message = Message::new(*opcode, args);
                self.in_flight
                    .push(self.client.submit(token, &message).number);
                prop_assert_eq!(self.client.in_flight(), self.in_flight.len());
                let slot = tail(REQUEST_TAIL).wrapping_sub(1) % SLOT_COUNT;
                vec![(REQUEST_TAIL, 4), (REQUESTS + 64 * slot as usize, 64)]
            }
            Step::Poll => {
                self.poll()?;
                vec![(COMPLETION_HEAD, 4)]
            }
            Step::Release(which) => {
                if !self.done.is_empty() {
                    self.client
                        .release(self.done.remove(which.index(self.done.len())));
                }
                vec![]
            }
            _ => {
                disturb(step, memory);
                vec![(0, 0x1000)]
            }
        })
    }
}

/// What the other side does to the memory.
fn disturb(step: &Step, memory: &SharedMemory) {
    match *step {
        Step::Scribble(offset, value) => memory.scribble(offset, value),
        Step::Nudge(offset, by) => _ = memory.word(offset).fetch_add(by, Ordering::SeqCst),
        Step::Forge(slot, token, opcode) => {
            memory.scribble(REQUESTS + 64 * slot as usize, token);
            memory.scribble(REQUESTS + 64 * slot as usize + 4, opcode);
        }
        Step::ForgeCompletion(slot, token) => {
            memory.scribble(COMPLETIONS + 16 * slot as usize, token)
        }
        _ => unreachable!("the others are the ends' own"),
    }
}

/// A request is a call of the client's own, or one of Linux's with all its bytes in the buffer, or an error that has a
/// number.
fn judge_call(request: &Request, buffer_len: usize) -> Result<(), TestCaseError> {
    let Message { opcode, args, .. } = request.message;
    let verdict = match syscall::signature(opcode) {
        Some(signature) => {
            for index in 0..6 {
                if let Ok(Some(extent)) = signature.extent(index, &args, buffer_len) {
                    prop_assert!(extent.offset + extent.len <= buffer_len);
                }
            }
            signature.check(&args, buffer_len)
        }
        None => request.call().map(drop),
    };
    if let Err(error) = verdict {
        prop_assert!(error.errno() < 0 && !error.to_string().is_empty());
    }
    Ok(())
}

/// Whether an argument is one of a 32-bit register, its upper half cleared or sign-extended.
fn is_int(value: u64) -> bool {
    matches!(value, 0..=0xffff_ffff | 0xffff_ffff_8000_0000..)
}

/// Which argument of a call is wrong, by the table of docs/interfaces.md.
fn wrong_argument(number: u32, args: [u64; 6]) -> Result<Option<u8>, CallError> {
    let word = |value: u64| u32::try_from(value).is_ok();
    let rights = match number {
        57 | 104 => vec![word(args[0])],
        60 | 105 => vec![is_int(args[0])],
        100 => vec![word(args[0]), word(args[1])],
        103 => vec![word(args[0]), word(args[1]), word(args[2])],
        59 | 101 | 102 => vec![],
        opcode => return Err(CallError::UnknownOpcode { opcode }),
    };
    Ok(rights
        .iter()
        .position(|right| !right)
        .map(|index| index as u8))
}

fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..0x30,
        (0u32..64, -2i64..3).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
        (0u64..40).prop_map(|low| 0xffff_ffff_8000_0000 - 20 + low),
        // The buffers' lengths, just fitting and just not.
        prop_oneof![4094u64..4099, 0x1_effeu64..0x1_f003],
        any::<u64>(),
    ]
}

proptest! {
    #[test]
    fn each_end_gives_a_token_once_and_writes_what_is_its_own(steps in prop::collection::vec(step(), 1..120)) {
        let memory = SharedMemory::smallest();
        let mut ends = Ends::new(&memory);
        let mut before = snapshot(&memory);
        for step in &steps {
            let may_change = ends.make(step, &memory)?;
            let after = snapshot(&memory);
            for word in (0..WORDS).filter(|&word| before[word] != after[word]) {
                let is_own = |(start, len): &(usize, usize)| (*start..start + len).contains(&(4 * word));
                prop_assert!(may_change.iter().any(is_own), "{:?} changed {:#x}", step, 4 * word);
            }
            before = after;
        }
        // Whatever stands there, draining comes to an end.
        let mut drained = 0;
        while ends.next()? {
            drained += 1;
        }
        prop_assert!(drained <= SLOTS, "{} requests", drained);
        drained = 0;
        while ends.poll()? {
            drained += 1;
        }
        prop_assert!(drained <= SLOTS, "{} completions", drained);
        memory.assert_guards_are_intact();
    }

    #[test]
    fn memory_that_changes_meanwhile_is_no_worse(
        seed: u32, which: Index, rounds in 50usize..400, mask in select(vec![0xfffu32, 0xff, 0x3f, 0x1f]),
    ) {
        let memory = SharedMemory::smallest();
        let mut ends = Ends::new(&memory);
        let stop = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = seed | 1;
                while !stop.load(Ordering::Relaxed) {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let offset = (random >> 8) as usize % WORDS * 4;
                    memory.scribble(offset, random >> 16 & mask);
                    memory.scribble(INDICES[offset / 4 % 4], random >> 20 & mask);
                }
            });
            let outcome = (0..rounds).try_for_each(|_| {
                ends.reserve()?;
                if let Some(token) = ends.reserved.pop() {
                    ends.in_flight.push(ends.client.submit(token, &Message::new(opcode::NULL, &[])).number);
                }
                ends.next()?;
                ends.complete(&which, 0);
                ends.poll()?;
                if let Some(token) = ends.done.pop() {
                    ends.client.release(token);
                }
                Ok::<(), TestCaseError>(())
            });
            stop.store(true, Ordering::Relaxed);
            outcome
        });
        outcome?;
        memory.assert_guards_are_intact();
    }

    #[test]
    fn buffers_hold_what_was_written_and_nothing_lies_beside_them(
        pages in 1u64..4, offset in prop_oneof![0usize..64, 4000usize..4200, any::<usize>()],
        by in prop::option::of(-2isize..3),
        data in prop_oneof![prop::collection::vec(any::<u8>(), 0..80), prop::collection::vec(any::<u8>(), 4090..4100)],
    ) {
        let size = Geometry::MIN_CHANNEL_SIZE + (pages - 1) * 0x2_0000;
        let memory = SharedMemory::new(Geometry::for_channel(size).expect("large enough"));
        let mut client = memory.client();
        let tokens: Vec<Token> = (0..SLOTS).map(|_| client.reserve().expect("there are as many")).collect();
        // At the buffer's end, or just beyond.
        let at_end = client.geometry().buffer_len().saturating_sub(data.len());
        let offset = by.map_or(offset, |by| at_end.saturating_add_signed(by));
        let fits = offset.checked_add(data.len()).is_some_and(|end| end <= client.geometry().buffer_len());
        for token in &tokens {
            let written = client.buffer(token).write(offset, &data);
            prop_assert_eq!(written.is_ok(), fits);
            let mut back = vec![0; data.len()];
            prop_assert_eq!(client.buffer(token).read(offset, &mut back).is_ok(), fits);
            prop_assert!(!fits || back == data);
        }
        let sum = |token: &Token| {
            let mut all = vec![0; client.geometry().buffer_len()];
            client.buffer(token).read(0, &mut all).expect("all of it");
            all.iter().map(|&byte| u64::from(byte)).sum::<u64>()
        };
        let expected = if fits { data.iter().map(|&byte| u64::from(byte)).sum() } else { 0 };
        prop_assert!(tokens.iter().all(|token| sum(token) == expected), "a buffer holds more than was written to it");
        prop_assert!(snapshot(&memory).iter().all(|&word| word == 0));
        memory.assert_guards_are_intact();
    }

    #[test]
    fn a_request_is_a_call_if_and_only_if_its_arguments_are_right(
        opcode in prop_oneof![4 => select(vec![57u32, 59, 60, 100, 101, 102, 103, 104, 105]), 1 => any::<u32>()],
        args in [argument(), argument(), argument(), argument(), argument(), argument()],
        process: u32, reply_slot: u32,
    ) {
        let expected = wrong_argument(opcode, args);
        match Call::decode(&Message { opcode, process, reply_slot, args }) {
            Ok(call) => {
                prop_assert_eq!(expected, Ok(None));
                let again = call.encode();
                prop_assert_eq!(again.opcode, opcode);
                prop_assert_eq!(Call::decode(&again), Ok(call));
            }
            Err(CallError::InvalidArgument { index, value }) => {
                prop_assert_eq!(expected, Ok(Some(index)));
                prop_assert_eq!(value, args[usize::from(index)]);
            }
            Err(error) => prop_assert_eq!(expected, Err(error)),
        }
    }

    #[test]
    fn a_reply_is_two_bytes_or_none(result in prop_oneof![0i64..0x2_0000, -5000i64..0, any::<i64>()]) {
        match UintrReply::decode(result) {
            Some(reply) => prop_assert_eq!(reply.encode(), result),
            None => prop_assert!(!(0..=0xffff).contains(&result)),
        }
    }

    #[test]
    fn a_layout_fits_its_channel(size in prop_oneof![0u64..0x10_0000, any::<u64>(), (0u32..64).prop_map(|bit| 1 << bit)]) {
        match Geometry::for_channel(size) {
            Ok(geometry) => {
                let used = geometry.buffer_offset(31) + geometry.buffer_len();
                prop_assert!(used <= geometry.region_len() && geometry.buffer_len() >= 4096);
                prop_assert_eq!(geometry.buffer_len() % 4096, 0);
                prop_assert!((1..=MAX_RINGS).contains(&geometry.ring_count()));
                let offsets: Vec<usize> = (0..).map_while(|ring| geometry.ring_offset(ring)).collect();
                prop_assert_eq!(offsets.len(), geometry.ring_count());
                prop_assert_eq!(offsets[0], RING_OFFSET);
                prop_assert!(offsets.windows(2).all(|pair| pair[0] + geometry.region_len() <= pair[1]));
                prop_assert!((offsets[offsets.len() - 1] + geometry.region_len()) as u64 <= size);
            }
            Err(error) => {
                prop_assert!(size < Geometry::MIN_CHANNEL_SIZE || size > isize::MAX as u64);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
