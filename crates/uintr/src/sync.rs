// SPDX-License-Identifier: MIT OR Apache-2.0
//! The atomics of this crate, in one place so that a model checker can stand in for them (`--cfg loom`).

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
