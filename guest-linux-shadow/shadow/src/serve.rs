// SPDX-License-Identifier: MIT OR Apache-2.0
//! The main thread: starts the service, idles while there is nothing to do, and sums up at the end.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::device::Device;
use crate::handler::{self, Masked};
use crate::options::{Idle, Options};
use crate::service::Outcome;
use crate::{stop, syscall};

/// Before the client has said where to post, nobody notifies anybody; and calls that were interrupted are interrupted
/// again.
const POLL: Duration = Duration::from_millis(2);
/// How often to look whether the client is still there, and for requests that came without notification, of which there
/// should be none.
const RECHECK: Duration = Duration::from_millis(250);
/// How often to pause between two readings of the clock, which takes a hundred instructions.
const PAUSES: u32 = 256;
/// How long calls of the last client may take to end before this process does.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves until the client ends, the ring breaks or a signal comes; returns the exit status.
pub fn run(options: &Options) -> Result<i32> {
    stop::watch()?;
    // The handler refers to the device to the end of the process.
    let device: &'static Device =
        Box::leak(Box::new(Device::attach(&options.device, &options.channel)?));
    say!("shadow: {}", device.description());
    let root = File::open(&options.root)
        .with_context(|| format!("cannot open root {}", options.root.display()))?;
    let masked = handler::start(device, OwnedFd::from(root), options.stay)?;
    device.set_ready(true)?;
    say!("shadow: ready, waiting for the client");

    let mut masked = serve(device, options, masked)?;
    device.set_ready(false)?;
    let status = summarise(device, options, &mut masked)?;
    end_calls(device, &mut masked)?;
    device.unregister()?;
    Ok(status)
}

/// Serves until there is an outcome or a signal.
fn serve(device: &Device, options: &Options, mut masked: Masked) -> Result<Masked> {
    let mut tells_connection = options.verbose;
    while masked.service().outcome().is_none() && !stop::is_requested() {
        let patience = patience(&mut masked);
        let unmasked = masked.unmask();
        spin(options, patience);
        masked = unmasked.mask();
        // Nothing is lost from here to the next unmask: what is posted meanwhile makes `wait` return at once, and
        // stays pending until then.
        if !masked.service().attend() && options.idle == Idle::Wait && !handler::wants_main_thread()
        {
            device.wait(patience.as_micros() as u64)?;
        }
        if tells_connection && masked.service().is_connected() {
            say!("shadow: connected");
            tells_connection = false;
        }
    }
    Ok(masked)
}

fn patience(masked: &mut Masked) -> Duration {
    if masked.service().is_announced() {
        RECHECK
    } else {
        POLL
    }
}

/// Leaves the CPU to the handler until there was nothing to do for a while, or there is something for the main thread.
fn spin(options: &Options, patience: Duration) {
    let limit = match options.idle {
        Idle::Spin => patience,
        Idle::Wait => Duration::from_micros(options.spin_us).min(patience),
    };
    let mut runs = handler::runs();
    let mut since = Instant::now();
    while !handler::wants_main_thread() && !stop::is_requested() {
        for _ in 0..PAUSES {
            std::hint::spin_loop();
            if !handler::is_quiet() {
                break;
            }
        }
        if handler::has_calls_under_way() {
            // Workers may need this very CPU.
            syscall::yield_cpu();
        }
        if handler::runs() != runs {
            runs = handler::runs();
            since = Instant::now();
        } else if since.elapsed() >= limit {
            return;
        }
    }
}

/// Waits for the calls of the last client. Those that do not end in time end with the process.
fn end_calls(device: &Device, masked: &mut Masked) -> Result<()> {
    let since = Instant::now();
    while !masked.service().is_clear() && since.elapsed() < PATIENCE {
        device.wait(POLL.as_micros() as u64)?;
    }
    Ok(())
}

/// Prints what happened; returns the exit status.
fn summarise(device: &Device, options: &Options, masked: &mut Masked) -> Result<i32> {
    masked.service().finish();
    let outcome = masked.service().outcome();
    let counters = masked.service().counters();
    say!("shadow: {counters}");
    say!(
        "shadow: served by handler={} by main thread={}, notifications received={} sent={}, dropped={}, sessions={} broken={}",
        counters.by_handler,
        counters.by_main_thread,
        counters.received,
        counters.sent,
        counters.dropped,
        counters.sessions,
        counters.broken
    );
    match counters.steady_exits() {
        Some(exits) => {
            // Each reading takes one exit of each CPU, that at the end too.
            let by_reading = (counters.exit_reads + 1) * u64::from(device.cpu_count());
            say!(
                "shadow: vm exits of this cell while connected={exits} (of them {by_reading} for reading the counter)"
            );
        }
        None => say!("shadow: vm exits of this cell: not known"),
    }
    if options.verbose {
        say!("shadow: driver {:?}", device.stats()?);
    }
    Ok(match outcome {
        Some(Outcome::Exit(status)) => {
            say!("shadow: the client ended with status {status}");
            status
        }
        Some(Outcome::Broken(error)) => {
            say!("shadow: error: the client broke the ring: {error}");
            1
        }
        None => {
            say!("shadow: stopped by a signal");
            0
        }
    })
}
