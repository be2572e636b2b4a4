// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left when one side goes.

use core::ffi::CStr;

use nimbos_apps::abi::{SIGSEGV, STATUS_SIGNAL};
use nimbos_apps::process::{self, ExitStatus};
use nimbos_apps::system::uintr;
use nimbos_apps::{Arguments, Error, interrupt, system};

use crate::{
    Reason, allow, allow_all, child, count, ensure, hold, reap, receive, refused, sender,
    this_thread, wait_until,
};

/// Of a process that was ended for a SENDUIPI with an index that it does not have.
pub const FAULTED: ExitStatus = ExitStatus(STATUS_SIGNAL + SIGSEGV);

/// An index that was given back faults. A receiver that has unregistered gets nothing, and its senders do not notice.
pub fn unregister() -> Result<(), Reason> {
    let faulting = child(|| {
        receive()?;
        let index = {
            let sender = sender(this_thread(), 1)?;
            sender.send();
            sender.index()
        };
        refused(
            uintr::unregister_sender(index),
            Error::INVALID,
            "given back twice",
        )?;
        senduipi(index);
        Ok(())
    })?;
    ensure(process::wait(faulting) == Ok(FAULTED), "no fault")?;
    receive()?;
    let sender = sender(this_thread(), 2)?;
    allow();
    sender.send();
    while count(2) == 0 {
        system::yield_now();
    }
    hold();
    sender.send();
    interrupt::unregister_handler().map_err(|_| "unregister_handler")?;
    refused(
        interrupt::unregister_handler(),
        Error::INVALID,
        "unregistered twice",
    )?;
    sender.send();
    receive()?;
    sender.send();
    allow();
    for _ in 0..100 {
        system::yield_now();
    }
    ensure(count(2) == 1, "a former receiver's came")
}

/// A receiver ends, by itself or in the midst of its wait: posts go nowhere, and not to a later receiver.
pub fn departed_receiver() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let parent = this_thread();
    for round in 1..=20 {
        let other = child(|| {
            receive()?;
            allow_all()?;
            sender(parent, 1)?.send();
            loop {
                interrupt::wait().map_err(|_| "uintr_wait")?;
                allow();
                hold();
                if count(4) != 0 {
                    return Ok(());
                }
            }
        })?;
        wait_until(1, round)?;
        let (end, post) = (sender(other, 4)?, sender(other, 5)?);
        if round % 2 == 0 {
            end.send();
            reap(other)?;
        } else {
            process::kill(other, 9).map_err(|_| "kill")?;
            let status = process::wait(other).map_err(|_| "wait")?;
            ensure(status == ExitStatus::KILLED, "it was not killed")?;
        }
        let next = child(|| {
            receive()?;
            allow();
            for _ in 0..20 {
                system::yield_now();
            }
            ensure(count(5) == 0, "a post to a former receiver came")
        })?;
        for _ in 0..20 {
            post.send();
            system::yield_now();
        }
        reap(next)?;
    }
    Ok(())
}

/// A sender ends with posts under way: they come, and nothing of it is left.
pub fn departed_sender() -> Result<(), Reason> {
    const ROUNDS: u64 = 100;
    receive()?;
    allow_all()?;
    let receiver = this_thread();
    for round in 1..=ROUNDS {
        let other = child(|| {
            let sender = sender(receiver, 13)?;
            sender.send();
            // Not given back.
            core::mem::forget(sender);
            Ok(())
        })?;
        wait_until(13, round)?;
        reap(other)?;
    }
    ensure(count(13) == ROUNDS, "not one for one")
}

/// A child is no receiver and has no targets.
pub fn fork() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let mine = sender(this_thread(), 1)?;
    let faulting = child(|| {
        refused(
            interrupt::unregister_handler(),
            Error::INVALID,
            "a child is a receiver",
        )?;
        mine.send();
        Ok(())
    })?;
    ensure(
        process::wait(faulting) == Ok(FAULTED),
        "a child has a target",
    )
}

/// Argument of this program where it is the program that another one has become.
const EXECUTED: &CStr = c"executed";
/// The same for one that sends.
const SENDING: &CStr = c"sending";

/// A new program is no receiver and has no targets.
pub fn exec() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let parent = this_thread();
    for (round, word, status) in [(1, EXECUTED, ExitStatus(0)), (2, SENDING, FAULTED)] {
        let other = child(|| {
            receive()?;
            allow_all()?;
            let sender = sender(parent, 1)?;
            allow();
            sender.send();
            while count(4) == 0 {
                system::yield_now();
            }
            process::execute(c"uintrtest", [c"uintrtest", word].into_iter());
            Err("exec")
        })?;
        wait_until(1, round)?;
        let post = sender(other, 4)?;
        // Some before it becomes the other program, some afterwards.
        let ended = loop {
            post.send();
            if let Some(ended) = process::try_wait_any().map_err(|_| "wait")? {
                break ended;
            }
            system::yield_now();
        };
        ensure(ended == (other, status), "another status")?;
    }
    Ok(())
}

/// The program that another one has become. Returns its status if this is it.
pub fn executed(arguments: Arguments) -> Option<i32> {
    let word = arguments.get(1)?;
    if Ok(word) == SENDING.to_str() {
        senduipi(1);
    } else if Ok(word) != EXECUTED.to_str() {
        return None;
    }
    if interrupt::unregister_handler() != Err(Error::INVALID) {
        return Some(1);
    }
    allow();
    for _ in 0..100 {
        system::yield_now();
    }
    Some(i32::from((0..64).any(|vector| count(vector) != 0)))
}

pub fn senduipi(index: u64) {
    // SAFETY: posts where the kernel allows it, or faults, and the kernel ends the process.
    unsafe { core::arch::asm!("senduipi {}", in(reg) index, options(nostack)) };
}
