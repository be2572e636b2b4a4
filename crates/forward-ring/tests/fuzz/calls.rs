// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's calls with arguments, buffers and results of any kind: nothing outside the buffer is meant, and nothing is
//! written to the caller that the call has not to write.

use std::ops::Range;

use forward_ring::syscall::{self, Arg, NULL, Signature, VALUE_RESULT_HEADER};
use forward_ring::{Geometry, errno};
use proptest::prelude::*;
use proptest::sample::select;

use crate::common::SharedMemory;
use crate::program::{BASE, PAGE, PAGES, Program};

const END: u64 = BASE + (PAGES * PAGE) as u64;
/// What the program's memory is full of; no other byte that the tests write is the same.
const FILL: u8 = 0x11;

fn signature() -> impl Strategy<Value = &'static Signature> {
    let numbers: Vec<u32> = syscall::numbers().collect();
    select(numbers).prop_map(|number| syscall::signature(number).expect("it is in the table"))
}

/// An argument of a program: addresses in its memory and around, lengths, anything.
fn given() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => BASE..END,
        1 => (0..PAGES as u64).prop_map(|page| BASE + page * PAGE as u64),
        1 => END - 300..END + 2,
        3 => 0u64..0x120,
        1 => 4000u64..5000,
        1 => (0u32..64, -2i64..3).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
        1 => any::<u64>(),
    ]
}

/// An argument as a bad client sends it: offsets in a buffer and around, lengths, anything.
fn sent(buffer_len: usize) -> impl Strategy<Value = u64> {
    let end = buffer_len as u64;
    prop_oneof![
        3 => 0u64..300,
        2 => 0..=end,
        2 => end.saturating_sub(300)..end.saturating_add(2),
        1 => Just(NULL),
        1 => (0u32..64, -2i64..3).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
        1 => any::<u64>(),
    ]
}

fn result() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0i64..70,
        2 => 0i64..5000,
        2 => -5000i64..0,
        1 => (i64::from(i32::MAX) - 2)..(i64::from(i32::MAX) + 2),
        1 => any::<i64>(),
    ]
}

/// A program with strings, lengths and anything else in its memory.
fn program() -> impl Strategy<Value = Program> {
    let word = prop_oneof![0u32..0x140, any::<u32>()];
    let words = prop::collection::vec((0..PAGES * PAGE / 4, word), 0..300);
    words.prop_map(|words| {
        let mut program = Program::filled(FILL);
        for (word, value) in words {
            program.put(BASE + 4 * word as u64, &value.to_le_bytes());
        }
        program
    })
}

/// Where in the caller's memory a call with these arguments and this result may write.
fn writable(
    signature: &Signature,
    given: &[u64; 6],
    before: &Program,
    result: i64,
) -> Vec<Range<u64>> {
    let mut ranges = vec![];
    let mut allow = |start: u64, len: u64| ranges.push(start..start.saturating_add(len));
    for (index, arg) in signature.args.iter().enumerate() {
        let address = given[index];
        match *arg {
            Arg::Out(n) => allow(address, given[usize::from(n)].min(result as u64)),
            Arg::Struct(len) => allow(address, len.into()),
            Arg::PollFds(n) => {
                for fd in 0..u64::from(given[usize::from(n)] as u32).min(64) {
                    allow(address.wrapping_add(8 * fd + 6), 2);
                }
            }
            Arg::ValueResult(n) if address != 0 => {
                let len_address = given[usize::from(n)];
                let at = len_address.wrapping_sub(BASE) as usize;
                // Only what `prepare` has accepted comes here.
                let len = before.bytes.get(at..at + 4).expect("the length is there");
                let len = u32::from_le_bytes(len.try_into().expect("four bytes"));
                allow(address, u64::from(len));
                allow(len_address, 4);
            }
            _ => {}
        }
    }
    ranges
}

/// Whether `returned` may be what the caller gets for `result`.
fn judge_returned(signature: &Signature, result: i64, returned: i64) -> Result<(), TestCaseError> {
    prop_assert!((-4095..=signature.most).contains(&returned));
    if result < 0 {
        let expected = if result < -4095 { errno::EIO } else { result };
        prop_assert_eq!(returned, expected);
    } else {
        prop_assert!(returned == result || matches!(returned, errno::EIO | -14));
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_a_program_asks_and_a_server_answers_only_what_the_call_writes_is_written(
        signature in signature(), given in prop::array::uniform6(given()), program in program(), result in result(),
        pages in 0u64..3, scribbles in prop::collection::vec((0usize..0x4000, any::<u32>()), 0..20), noise: bool,
    ) {
        let size = Geometry::MIN_CHANNEL_SIZE + pages * 0x2_0000;
        let memory = SharedMemory::new(Geometry::for_channel(size).expect("large enough"));
        let mut client = memory.client();
        let token = client.reserve().expect("the first one");
        let buffer = client.buffer(&token);
        let before = program;
        let Ok(call) = syscall::prepare(signature, given, &before, &buffer) else {
            return Ok(());
        };
        // What a program gets through is right for the server.
        let args = call.args();
        prop_assert_eq!(signature.check(&args, buffer.len()), Ok(()));
        for (index, arg) in signature.args.iter().enumerate() {
            if let (Arg::In(n) | Arg::Out(n), arg) = (arg, args[index]) {
                prop_assert!(arg + args[usize::from(*n)] <= buffer.len() as u64);
            }
        }
        // The server writes what it likes.
        if noise {
            buffer.write(0, &vec![0x55; buffer.len()]).expect("all of it");
        }
        for (offset, value) in scribbles {
            _ = buffer.write(offset % buffer.len(), &value.to_le_bytes());
        }
        let mut after = before.clone();
        let returned = syscall::finish(&call, result, &mut after, &buffer);
        judge_returned(signature, result, returned)?;
        let allowed = writable(signature, &given, &before, result.max(0));
        for (at, (old, new)) in before.bytes.iter().zip(&after.bytes).enumerate() {
            let address = BASE + at as u64;
            prop_assert!(
                old == new || result >= 0 && allowed.iter().any(|range| range.contains(&address)),
                "{} wrote to {:#x}", signature.name, address
            );
        }
        memory.assert_guards_are_intact();
    }

    #[test]
    fn whatever_a_client_sends_all_that_a_checked_call_means_lies_in_the_buffer(
        signature in signature(),
        (buffer_len, args) in prop_oneof![Just(0usize), Just(4096), Just(0x1_f000), Just(isize::MAX as usize)]
            .prop_flat_map(|len| (Just(len), prop::array::uniform6(sent(len)))),
    ) {
        let is_checked = signature.check(&args, buffer_len).is_ok();
        let mut are_good = true;
        for index in 0..7 {
            match signature.extent(index, &args, buffer_len) {
                Ok(None) => {}
                Ok(Some(extent)) => {
                    let header = match signature.args[index] {
                        Arg::ValueResult(_) => VALUE_RESULT_HEADER,
                        _ => 0,
                    };
                    let end = extent.offset as u128 + (header + extent.len) as u128;
                    prop_assert!(end <= buffer_len as u128 && args[index] == extent.offset as u64);
                }
                Err(error) => {
                    are_good = false;
                    prop_assert_eq!(error.errno(), errno::EINVAL);
                }
            }
        }
        prop_assert_eq!(is_checked, are_good);
        // Nothing but what may be left out is left out.
        for (arg, value) in signature.args.iter().zip(args) {
            if is_checked && value == NULL {
                prop_assert!(!matches!(arg, Arg::Path | Arg::In(_) | Arg::Out(_) | Arg::Struct(_)));
            }
        }
    }
}
