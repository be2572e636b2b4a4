// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the reference model: every rule by example, the promises of the architecture by random sequences, and a
//! small system in all interleavings.

mod delivery_rules;
mod exhaustive;
mod fixture;
mod notification_rules;
mod posting_software;
mod properties;
mod send_rules;
mod state_rules;
mod total;
mod world;
