// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tests. Each ends in every interleaving, or loom reports a deadlock: somebody sleeps with work present.

mod call;
mod kernel;
mod linux;
mod ring;
mod session;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many switches away from a thread that could go on an interleaving may have.
#[derive(Clone, Copy, Debug)]
enum Preemptions {
    /// As many as there are steps: all interleavings.
    Any,
    /// At most this many: for models that have too many interleavings. LOOM_MAX_PREEMPTIONS says otherwise.
    UpTo(usize),
}

/// Checks the interleavings of `model` and prints their number.
fn check(name: &str, preemptions: Preemptions, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    match preemptions {
        Preemptions::Any => builder.preemption_bound = None,
        Preemptions::UpTo(count) => {
            builder.preemption_bound.get_or_insert(count);
        }
    }
    let bound = builder.preemption_bound;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let count = count.load(Ordering::Relaxed);
    match bound {
        None => println!("{name}: all {count} interleavings"),
        Some(bound) => println!("{name}: {count} interleavings with up to {bound} preemptions"),
    }
}
