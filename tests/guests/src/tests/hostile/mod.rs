// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hostile cells: everything that a cell can try and survive, in one run each. What stops a cell is in
//! [`super::attack`].

mod apic_page;
mod calls;
mod client;
mod descriptors;
mod interrupts;
mod msrs;
mod ports;
mod registers;
mod server;
mod stops;
mod storm;

use super::Failure;
use crate::boot::Boot;
use crate::channel::Channel;

/// Questions to the neighbour, before and after.
const QUESTIONS: u64 = 3;

/// Carries out the sweep called `name`, if there is one.
pub fn run(boot: &Boot, name: &str) -> Option<Result<(), Failure>> {
    let sweep = match name {
        "stop" => return Some(stops::run(boot)),
        "serve-badly" => return Some(server::run(boot)),
        "call-badly" => return Some(client::run(boot)),
        "storm" => return Some(storm::run(boot)),
        "sweep-apic-page" => apic_page::run,
        "sweep-calls" => calls::run,
        "forge-descriptors" => descriptors::run,
        "sweep-interrupts" => interrupts::run,
        "sweep-msrs" => msrs::run,
        "sweep-ports" => ports::run,
        "sweep-registers" => registers::run,
        _ => return None,
    };
    Some(beside_neighbour(boot, sweep))
}

/// Runs a sweep between two conversations with the neighbour.
fn beside_neighbour(boot: &Boot, sweep: fn(&Boot) -> Result<(), Failure>) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    channel.set_ready(true);
    channel.await_peer();
    channel.ask(QUESTIONS);
    sweep(boot)?;
    channel.ask(QUESTIONS);
    channel.set_ready(false);
    Ok(())
}
