// SPDX-License-Identifier: MIT OR Apache-2.0
//! Workers of the shadow process: how their results come to the main thread.
//!
//! Statements of the shadow process and of the driver stand in comments beside the lines that model them.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::channel::Channel;
use crate::processor::SN;

/// User vector by which workers say that they have results.
pub const DONE_VECTOR: u8 = 63;

/// The results of two workers, and the bits that say so: `Desk` and `Ring` of the shadow process.
#[derive(Debug)]
pub struct Desks {
    results: [AtomicU64; 2],
    done: AtomicU32,
}

impl Desks {
    /// Makes empty ones.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            results: [AtomicU64::new(0), AtomicU64::new(0)],
            done: AtomicU32::new(0),
        })
    }

    /// A worker has a result: the end of `Shared::work`.
    pub fn work(&self, token: usize, wake: impl FnOnce()) {
        // desk.put(outcome);
        self.results[token].store(token as u64 + 1000, Ordering::Relaxed);
        // if ring.done.fetch_or(1 << token, Ordering::AcqRel) == 0
        if self.done.fetch_or(1 << token, Ordering::AcqRel) == 0 {
            // (self.wake)();
            wake();
        }
    }

    /// `Workers::take_done`, and the results.
    pub fn take_done(&self) -> u32 {
        // match done.load(Ordering::Relaxed)
        let taken = match self.done.load(Ordering::Relaxed) {
            // _ => done.swap(0, Ordering::AcqRel)
            0 => 0,
            _ => self.done.swap(0, Ordering::AcqRel),
        };
        for token in (0..2).filter(|token| taken & 1 << token != 0) {
            let result = self.results[token].load(Ordering::Relaxed);
            assert_eq!(result, token as u64 + 1000, "the result is not there");
        }
        taken
    }
}

/// Whether the shadow process's thread is bound: `upid` of the driver's context, under its lock.
#[derive(Debug)]
pub struct Binding(Mutex<bool>);

impl Binding {
    /// Of a thread that is bound.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(true)))
    }

    /// `isthmus_post` by a thread that is not bound.
    pub fn post(&self, channel: &Channel, vector: u8) {
        // raw_spin_lock(&lock);
        let is_bound = self.0.lock().unwrap();
        // if (ctx->upid)
        if *is_bound {
            // ret = isthmus_cpu_post(ctx->upid, vector);
            channel.machine.senduipi(&channel.server_upid, vector);
        }
        // raw_spin_unlock(&lock);
        drop(is_bound);
    }

    /// The end of the binding, as far as it is about the UPID: `isthmus_unbind`.
    pub fn end(&self, channel: &Channel) {
        let (control, _) = channel.server_upid.words();
        // atomic64_xchg(&ctx->upid->control, UPID_SN);
        control.swap(SN, Ordering::SeqCst);
        // set_upid(ctx, NULL);
        self.set_upid(false);
    }

    /// `set_upid`.
    fn set_upid(&self, is_bound: bool) {
        // raw_spin_lock(&lock);
        let mut upid = self.0.lock().unwrap();
        // ctx->upid = upid;
        *upid = is_bound;
        // raw_spin_unlock(&lock);
        drop(upid);
    }
}

/// The slot's next owner: `isthmus_register_handler`.
pub fn register_next_owner(channel: &Channel) {
    let (control, pir) = channel.server_upid.words();
    // atomic64_xchg(&upid->control, UPID_SN);
    control.swap(SN, Ordering::SeqCst);
    // atomic64_xchg(&upid->pir, 0);
    pir.swap(0, Ordering::SeqCst);
}
