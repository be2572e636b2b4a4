// SPDX-License-Identifier: MIT OR Apache-2.0
//! Posts by threads that are not bound: each must be delivered, whatever the bound thread does at that moment.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::channel::VECTORS;
use crate::device::Device;
use crate::{Options, PATIENCE, SLEEP_US, handler};

/// Threads that post, each a vector of its own; the last is the greatest there is.
const POSTERS: [u32; 3] = [0, 31, 63];

static COUNTERS: [AtomicU64; VECTORS] = [const { AtomicU64::new(0) }; VECTORS];
static FINISHED: AtomicU64 = AtomicU64::new(0);

/// Lets threads post, each again only after its last post was counted.
pub fn run(options: &Options) -> Result<String> {
    let device = Device::attach(options.channel)?;
    handler::count_in(&COUNTERS);
    ensure!(
        device.post(0).is_err_and(|error| is(&error, libc::ESRCH)),
        "a post to nobody"
    );
    device.register(handler::address())?;
    check_senders(&device)?;
    handler::open();
    let result = thread::scope(|scope| -> Result<()> {
        let posters = POSTERS.map(|vector| {
            let device = &device;
            scope.spawn(move || {
                let result = post_all(device, vector, options.sends);
                FINISHED.fetch_add(1, Ordering::SeqCst);
                result
            })
        });
        while FINISHED.load(Ordering::SeqCst) < POSTERS.len() as u64 {
            for _ in 0..1_000 {
                std::hint::spin_loop();
            }
            handler::stay_closed(|| device.wait(SLEEP_US))?;
        }
        for poster in posters {
            poster.join().expect("a poster returns its errors")?;
        }
        Ok(())
    });
    result?;
    let stats = device.stats()?;
    device.unregister()?;
    handler::close();
    ensure!(
        device.post(0).is_err_and(|error| is(&error, libc::ESRCH)),
        "a post to a thread that is not bound any more"
    );
    Ok(format!(
        "channel={} result=PASS posts={} waits={} immediate={} at-switch={} rechecks={}",
        options.channel,
        POSTERS.len() as u64 * options.sends,
        stats.waits,
        stats.waits_immediate,
        stats.posts_at_switch,
        stats.rechecks_hit
    ))
}

fn post_all(device: &Device, vector: u32, count: u64) -> Result<()> {
    let counter = &COUNTERS[vector as usize];
    ensure!(
        device.post(64).is_err_and(|error| is(&error, libc::EINVAL)),
        "vector 64 was posted"
    );
    for number in 1..=count {
        device.post(vector).context("POST")?;
        let since = Instant::now();
        while counter.load(Ordering::SeqCst) != number {
            ensure!(
                since.elapsed() < PATIENCE,
                "delivery-lost: post {number} of vector {vector}"
            );
            thread::yield_now();
        }
    }
    Ok(())
}

/// A sender that is registered again is the same, and those that were taken away leave their places.
fn check_senders(device: &Device) -> Result<()> {
    ensure!(device.register_sender(63)? == 63, "registered twice");
    device.unregister_senders()?;
    ensure!(device.register_sender(63)? == 0, "an old place is taken");
    Ok(())
}

fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}
