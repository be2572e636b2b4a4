// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shadow process on Linux: running, switched out, migrated, asleep.

use std::sync::Arc;

use loom::thread;

use super::Preemptions::{Any, UpTo};
use super::check;
use crate::channel::Channel;
use crate::linux::{Shadow, Task, wakeup_interrupts};

/// A client that makes two calls, notifying of each.
fn two_calls(channel: &Arc<Channel>) {
    let mut client = channel.client();
    thread::spawn(move || {
        client.call_and_notify(0);
        client.call_and_notify(1);
    });
}

/// A client that makes one call.
fn one_call(channel: &Arc<Channel>) {
    let mut client = channel.client();
    thread::spawn(move || client.call_and_notify(0));
}

#[test]
fn a_running_thread_serves_every_call() {
    check("running", Any, || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false);
        two_calls(&channel);
        shadow.serve_spinning(2);
    });
}

#[test]
fn a_thread_that_is_switched_out_and_in_serves_every_call() {
    check("switched", Any, || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false);
        two_calls(&channel);
        shadow.boundary();
        shadow.switch_to(0);
        shadow.serve_spinning(2);
    });
}

#[test]
fn a_thread_that_migrates_serves_every_call() {
    check("migrated", Any, || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false);
        two_calls(&channel);
        shadow.boundary();
        shadow.switch_to(1);
        shadow.serve_spinning(2);
    });
}

/// With UIF clear, vectors stay pending in UIRR, which is switched with the thread.
#[test]
fn a_masked_thread_that_migrates_keeps_what_is_pending() {
    check("masked and migrated", Any, || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false);
        one_call(&channel);
        shadow.mask();
        shadow.boundary();
        shadow.switch_to(1);
        shadow.unmask();
        shadow.serve_spinning(1);
    });
}

#[test]
fn every_vector_of_two_senders_is_delivered_across_a_migration() {
    check("two senders, migrated", UpTo(4), || {
        let channel = Channel::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false);
        for vector in [3, 5] {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.machine.senduipi(&channel.server_upid, vector));
        }
        shadow.boundary();
        shadow.switch_to(1);
        while shadow.delivered != 1 << 3 | 1 << 5 {
            shadow.spin();
        }
    });
}

/// Sleeps in WAIT and is woken on CPU `wakes_at`, until two calls are served.
fn sleeps(wakes_at: usize) {
    let channel = Channel::new();
    let task = Task::new();
    let mut shadow = Shadow::start(&channel, &task, false);
    two_calls(&channel);
    let interrupted = Arc::clone(&channel);
    thread::spawn(move || wakeup_interrupts(&interrupted, &task));
    shadow.serve_waiting(2, wakes_at);
    shadow.end();
}

#[test]
fn a_sleeping_thread_is_woken_for_every_call() {
    check("sleeping", UpTo(3), || sleeps(0));
}

#[test]
fn a_sleeping_thread_may_wake_on_another_cpu() {
    check("sleeping, woken elsewhere", UpTo(2), || sleeps(1));
}

/// A post whose notification went to the CPU that the thread has just left for its sleep.
#[test]
fn a_thread_that_is_switched_before_it_sleeps_is_woken() {
    check("switched, then sleeping", UpTo(3), || {
        let channel = Channel::new();
        let task = Task::new();
        let mut shadow = Shadow::start(&channel, &task, false);
        let mut client = channel.client();
        thread::spawn(move || client.call_and_notify(0));
        let interrupted = Arc::clone(&channel);
        thread::spawn(move || wakeup_interrupts(&interrupted, &task));
        shadow.mask();
        shadow.switch_to(1);
        shadow.serve_waiting(1, 0);
        shadow.end();
    });
}

/// Senders other than the ring's client: each vector wakes.
#[test]
fn a_sleeping_thread_gets_the_vectors_of_two_senders() {
    check("sleeping, two senders", UpTo(2), || {
        let channel = Channel::new();
        let task = Task::new();
        let mut shadow = Shadow::start(&channel, &task, false);
        let mut client = channel.client();
        thread::spawn(move || client.call_and_notify(0));
        let other = Arc::clone(&channel);
        thread::spawn(move || other.machine.senduipi(&other.server_upid, 5));
        let interrupted = Arc::clone(&channel);
        thread::spawn(move || wakeup_interrupts(&interrupted, &task));
        shadow.serve_waiting(1, 0);
        shadow.unmask();
        while shadow.delivered & 1 << 5 == 0 {
            shadow.spin();
        }
        shadow.end();
    });
}

/// A post between the two steps of notification processing leaves ON set and PIR empty, with a notification that says
/// nothing new on its way. The sleep that follows must not keep that ON.
#[test]
fn a_thread_that_sleeps_with_on_set_and_nothing_posted_is_woken() {
    check("sleeping, empty notification", UpTo(2), || {
        let channel = Channel::new();
        let task = Task::new();
        let mut shadow = Shadow::start(&channel, &task, false);
        channel.machine.senduipi(&channel.server_upid, 5);
        let mut client = channel.client();
        thread::spawn(move || {
            let channel = Arc::clone(&client.channel);
            channel.machine.senduipi(&channel.server_upid, 5);
            client.call_and_notify(0);
        });
        let interrupted = Arc::clone(&channel);
        thread::spawn(move || wakeup_interrupts(&interrupted, &task));
        shadow.boundary();
        shadow.serve_waiting(1, 0);
        shadow.end();
    });
}
