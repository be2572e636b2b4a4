// SPDX-License-Identifier: MIT OR Apache-2.0
//! The atomics of this crate, in one place so that a model checker can stand in for them.

pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
