// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole way: calls of the co-kernel, served by the shadow process, both asleep in between.

use std::sync::Arc;

use loom::thread;

use super::Preemptions::UpTo;
use super::check;
use crate::channel::Channel;
use crate::linux::{Shadow, Task, wakeup_interrupts};
use crate::nimbos::Nimbos;

/// Makes `calls` calls, one after the other.
fn co_kernel(channel: &Arc<Channel>, calls: u32) {
    let channel = Arc::clone(channel);
    thread::spawn(move || {
        let mut nimbos = Nimbos::start(&channel);
        for number in 0..calls {
            nimbos.client.call_and_notify(number);
            nimbos.wait_for_completion().unwrap();
        }
    });
}

/// Makes two calls at once, again and again: either side need not be notified of the second.
fn bursts(channel: &Arc<Channel>, bursts: u32) {
    let channel = Arc::clone(channel);
    thread::spawn(move || {
        let mut nimbos = Nimbos::start(&channel);
        for first in (0..bursts).map(|burst| 2 * burst) {
            nimbos.client.call_and_notify(first);
            nimbos.client.call_and_notify(first + 1);
            nimbos.wait_for_completion().unwrap();
            nimbos.wait_for_completion().unwrap();
        }
    });
}

#[test]
fn bursts_go_there_and_back_while_the_server_runs() {
    check("bursts, server running", UpTo(2), || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), true);
        bursts(&channel, 2);
        shadow.serve_spinning(4);
    });
}

#[test]
fn a_burst_goes_there_and_back_while_the_server_sleeps() {
    check("burst, server sleeping", UpTo(2), || {
        let channel = Channel::new();
        let task = Task::new();
        let mut shadow = Shadow::start(&channel, &task, true);
        bursts(&channel, 1);
        let interrupted = Arc::clone(&channel);
        thread::spawn(move || wakeup_interrupts(&interrupted, &task));
        shadow.serve_waiting(2, 0);
        shadow.end();
    });
}

#[test]
fn calls_go_there_and_back_while_the_server_runs() {
    check("calls, server running", UpTo(3), || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), true);
        co_kernel(&channel, 2);
        shadow.serve_spinning(2);
    });
}

#[test]
fn calls_go_there_and_back_while_the_server_migrates() {
    check("calls, server migrating", UpTo(3), || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), true);
        co_kernel(&channel, 2);
        shadow.boundary();
        shadow.switch_to(1);
        shadow.serve_spinning(2);
    });
}

#[test]
fn calls_go_there_and_back_while_the_server_sleeps() {
    check("calls, server sleeping", UpTo(2), || {
        let channel = Channel::new();
        let task = Task::new();
        let mut shadow = Shadow::start(&channel, &task, true);
        co_kernel(&channel, 2);
        let interrupted = Arc::clone(&channel);
        thread::spawn(move || wakeup_interrupts(&interrupted, &task));
        shadow.serve_waiting(2, 1);
        shadow.end();
    });
}
