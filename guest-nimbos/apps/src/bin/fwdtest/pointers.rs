// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every argument of every forwarded call that is an address, with addresses that are not the program's: -EFAULT, whatever the
//! other arguments are.

use forward_ring::syscall::{self, Arg, Signature};

use crate::Test;
use crate::check::{BAD_ADDRESSES, Check, call, from, holds, into, is, path};
use crate::linux::*;

/// The tests.
pub const TESTS: &[Test] = &[("bad-pointers", bad_pointers)];

/// Length of what addresses mean: `struct sockaddr_in` has as many bytes.
const LEN: u64 = 16;
/// The last bytes of the stack and the first ones behind it, where nothing is: the least that a call writes, the two descriptors
/// of a pipe, does not fit.
const EDGE: u64 = 0x1000_0000 - 4;
/// No descriptor, so that a call that goes on nevertheless has another error.
const NO_FILE: u64 = u64::MAX;

/// Memory for arguments that are right.
struct Memory {
    bytes: [u8; 256],
    len: u32,
}

fn bad_pointers() -> Check {
    let mut tested = 0;
    for number in syscall::numbers() {
        let Some(signature) = syscall::signature(number) else {
            return holds("a call without a signature", false);
        };
        for place in 0..signature.args.len() {
            for address in bad_addresses(signature, place) {
                let mut memory = Memory {
                    bytes: [0; 256],
                    len: LEN as u32,
                };
                let mut args = good_arguments(signature, &mut memory);
                args[place] = address;
                is(signature.name, call(number.into(), args), EFAULT)?;
                tested += 1;
            }
        }
    }
    holds("addresses were tested", tested > 100)
}

/// Returns what cannot be the argument.
fn bad_addresses(signature: &Signature, place: usize) -> impl Iterator<Item = u64> {
    let (is_address, may_be_null, is_written) = match signature.args[place] {
        Arg::Path => (true, false, false),
        Arg::In(_) => (true, false, false),
        Arg::Small(_) | Arg::PollFds(_) => (true, true, false),
        Arg::Out(_) | Arg::Struct(_) => (true, false, true),
        Arg::ValueResult(_) => (true, true, true),
        Arg::Length => (is_length_by_address(signature, place), false, true),
        Arg::Value | Arg::Fd | Arg::DirFd | Arg::ReceiveFlags => (false, false, false),
    };
    // A path may end before the memory does.
    let edge = (signature.args[place] != Arg::Path).then_some(EDGE);
    let edge = edge.filter(|_| signature.args[place] != Arg::Length);
    let null = (!may_be_null).then_some(0);
    // Code can be read; what is found there as a length may be wrong in other ways.
    let is_only_written = is_written && signature.args[place] != Arg::Length;
    let code = bad_pointers as fn() -> Check as usize as u64;
    let code = is_only_written.then_some(code);
    let all = BAD_ADDRESSES
        .into_iter()
        .chain(edge)
        .chain(null)
        .chain(code);
    all.filter(move |_| is_address)
}

/// Tells whether a length is itself at an address.
fn is_length_by_address(signature: &Signature, place: usize) -> bool {
    let mut args = signature.args.iter();
    args.any(|arg| matches!(arg, Arg::ValueResult(n) if usize::from(*n) == place))
}

/// Returns arguments of which none is a bad address.
fn good_arguments(signature: &Signature, memory: &mut Memory) -> [u64; 6] {
    let mut args = [0; 6];
    for (place, arg) in signature.args.iter().enumerate() {
        args[place] = match arg {
            Arg::Fd | Arg::DirFd => NO_FILE,
            Arg::Path => path(c"/tmp/there-is-none"),
            Arg::In(_) | Arg::Small(_) => from(&memory.bytes),
            Arg::Out(_) | Arg::Struct(_) | Arg::ValueResult(_) | Arg::PollFds(_) => {
                into(&mut memory.bytes)
            }
            Arg::Length if is_length_by_address(signature, place) => into(&mut memory.len),
            Arg::Length => LEN,
            Arg::Value | Arg::ReceiveFlags => 0,
        };
    }
    args
}
