// SPDX-License-Identifier: MIT OR Apache-2.0
//! Workers of the shadow process: their posts reach the main thread wherever it is, and every result is taken.

use std::sync::Arc;

use loom::thread;

use super::Preemptions::{Any, UpTo};
use super::check;
use crate::channel::Channel;
use crate::linux::{Shadow, Task, wakeup_interrupts};
use crate::workers::{Binding, DONE_VECTOR, Desks, register_next_owner};

const BOTH: u32 = 0b11;

/// Starts two workers with a result each, on other CPUs. (The driver's lock has a test of its own, below.)
fn two_workers(channel: &Arc<Channel>, desks: &Arc<Desks>) {
    for token in 0..2 {
        one_worker(channel, desks, token);
    }
}

fn one_worker(channel: &Arc<Channel>, desks: &Arc<Desks>, token: usize) {
    let (channel, desks) = (Arc::clone(channel), Arc::clone(desks));
    thread::spawn(move || desks.work(token, || post(&channel)));
}

fn post(channel: &Channel) {
    channel.machine.senduipi(&channel.server_upid, DONE_VECTOR);
}

#[test]
fn a_running_thread_takes_every_result() {
    check("results, running", Any, || {
        let channel = Channel::new();
        let desks = Desks::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false).with_workers(&desks);
        two_workers(&channel, &desks);
        shadow.take_results_spinning(BOTH);
    });
}

#[test]
fn a_thread_that_migrates_takes_every_result() {
    check("results, migrated", UpTo(4), || {
        let channel = Channel::new();
        let desks = Desks::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false).with_workers(&desks);
        two_workers(&channel, &desks);
        shadow.boundary();
        shadow.switch_to(1);
        shadow.take_results_spinning(BOTH);
    });
}

/// The worker runs on the CPU that the main thread has to leave for it: the post finds it switched out.
#[test]
fn a_post_by_the_thread_that_runs_instead_is_found_at_the_switch() {
    check("results, switched out", Any, || {
        let channel = Channel::new();
        let desks = Desks::new();
        let mut shadow = Shadow::start(&channel, &Task::new(), false).with_workers(&desks);
        one_worker(&channel, &desks, 1);
        shadow.switch_with(1, || desks.work(0, || post(&channel)));
        shadow.take_results_spinning(BOTH);
    });
}

#[test]
fn a_sleeping_thread_is_woken_for_every_result() {
    check("results, sleeping", UpTo(2), || {
        let channel = Channel::new();
        let desks = Desks::new();
        let task = Task::new();
        let mut shadow = Shadow::start(&channel, &task, false).with_workers(&desks);
        two_workers(&channel, &desks);
        let interrupted = Arc::clone(&channel);
        thread::spawn(move || wakeup_interrupts(&interrupted, &task));
        shadow.take_results_waiting(BOTH, 1);
        shadow.end();
    });
}

#[test]
fn a_sleeping_thread_is_woken_for_a_result_and_for_a_call() {
    check("result and call, sleeping", UpTo(1), || {
        let channel = Channel::new();
        let desks = Desks::new();
        let task = Task::new();
        let mut shadow = Shadow::start(&channel, &task, false).with_workers(&desks);
        one_worker(&channel, &desks, 0);
        let mut client = channel.client();
        thread::spawn(move || client.call_and_notify(0));
        let interrupted = Arc::clone(&channel);
        thread::spawn(move || wakeup_interrupts(&interrupted, &task));
        shadow.take_results_waiting(0b01, 0);
        shadow.serve_waiting(1, 0);
        shadow.end();
    });
}

/// A worker posts while the thread's binding ends: the slot's next owner never sees the post.
#[test]
fn a_post_does_not_reach_the_slots_next_owner() {
    check("post and the end of the binding", Any, || {
        let channel = Channel::new();
        let binding = Binding::new();
        let worker = {
            let (channel, binding) = (Arc::clone(&channel), Arc::clone(&binding));
            thread::spawn(move || binding.post(&channel, DONE_VECTOR))
        };
        binding.end(&channel);
        register_next_owner(&channel);
        worker.join().unwrap();
        assert_eq!(
            channel.server_upid.requests(),
            0,
            "a post of the last owner's"
        );
    });
}
