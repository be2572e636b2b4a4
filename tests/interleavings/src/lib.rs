// SPDX-License-Identifier: MIT OR Apache-2.0
//! The notify/wait protocol, checked for all interleavings by loom. `docs/notify-wait.md` states the protocol.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p interleavings
//! ```
//!
//! The ring and the UPID are the product's own code (`forward_ring`, `uintr`), with loom's atomics. What is no
//! Rust code of ours is modelled, step by step:
//!
//! | module | what it models |
//! | --- | --- |
//! | `processor` | SENDUIPI, notification processing, interrupts on their way, HLT |
//! | `linux` | the driver's `context.c` and `wait.c`, the scheduler's sleep and wake-up, the shadow process's loop |
//! | `workers` | workers of the shadow process, and the driver's posts for them |
//! | `nimbos` | the co-kernel's interrupt handler, idling and draining, around the real `Client::poll` |
//! | `channel` | the shared memory, and items that show when they are torn |
//!
//! `scenarios` holds the tests. A lost wake-up is a deadlock, which loom reports: the timed re-checks and timer ticks
//! that would paper over it in the product are left out. `sources` sees to it that the models have the steps of what they
//! model, in the same order.

#[cfg(all(test, loom))]
mod channel;
#[cfg(all(test, loom))]
mod linux;
#[cfg(all(test, loom))]
mod nimbos;
#[cfg(all(test, loom))]
mod processor;
#[cfg(all(test, loom))]
mod scenarios;
#[cfg(test)]
mod sources;
#[cfg(all(test, loom))]
mod workers;
