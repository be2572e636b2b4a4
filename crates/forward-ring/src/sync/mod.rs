// SPDX-License-Identifier: MIT OR Apache-2.0
//! The atomics of this crate and the memory that they lie in, in one place so that a model checker can stand in for
//! both (`--cfg loom`).

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod shared;

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use model::Memory;
#[cfg(loom)]
pub use model::ModelMemory;
#[cfg(not(loom))]
pub(crate) use shared::Memory;
