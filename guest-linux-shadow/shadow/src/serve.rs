// SPDX-License-Identifier: MIT OR Apache-2.0
//! The main thread: starts the service, idles while there is nothing to do, and sums up at the end.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::counters::Server;
use crate::device::Device;
use crate::files::Files;
use crate::handler::{self, Masked};
use crate::options::{Idle, Options};
use crate::service::Outcome;
use crate::stop;

/// Until the client has said where to post, nobody notifies anybody.
const POLL_US: u64 = 2_000;
/// How often to look into the ring for requests that came without notification. There should be none.
const RECHECK: Duration = Duration::from_millis(250);

/// Serves until the client ends, the ring breaks or a signal comes; returns the exit status.
pub fn run(options: &Options) -> Result<i32> {
    stop::watch()?;
    // The handler refers to the device to the end of the process.
    let device: &'static Device =
        Box::leak(Box::new(Device::attach(&options.device, &options.channel)?));
    println!("shadow: {}", device.description());
    let root = File::open(&options.root)
        .with_context(|| format!("cannot open root {}", options.root.display()))?;
    let files = Files::new(OwnedFd::from(root));
    let masked = handler::start(device, device.map_ring()?, files)?;
    device.set_ready(true)?;
    println!("shadow: ready, waiting for the client");

    let mut masked = serve(device, options, masked)?;
    device.set_ready(false)?;
    let status = summarise(device, options, &mut masked)?;
    device.unregister()?;
    Ok(status)
}

/// Serves until there is an outcome or a signal.
fn serve(device: &Device, options: &Options, masked: Masked) -> Result<Masked> {
    let mut masked = connect(device, masked)?;
    if options.verbose && masked.service().is_connected() {
        println!("shadow: connected");
    }
    while masked.service().outcome().is_none() && !stop::is_requested() {
        let unmasked = masked.unmask();
        spin(options);
        masked = unmasked.mask();
        // Nothing is lost from here to the next unmask: what is posted meanwhile makes `wait` return at once, and
        // stays pending until then.
        if masked.service().drain(Server::MainThread) == 0
            && options.idle == Idle::Wait
            && !handler::has_ended()
        {
            device.wait(RECHECK.as_micros() as u64)?;
        }
    }
    Ok(masked)
}

/// Polls until the client has said where to post.
fn connect(device: &Device, mut masked: Masked) -> Result<Masked> {
    loop {
        masked.service().drain(Server::MainThread);
        let service = masked.service();
        if service.is_connected() || service.outcome().is_some() || stop::is_requested() {
            return Ok(masked);
        }
        device.wait(POLL_US)?;
    }
}

/// Leaves the CPU to the handler until there was nothing to do for a while, or the service has ended.
fn spin(options: &Options) {
    let limit = match options.idle {
        Idle::Spin => RECHECK,
        Idle::Wait => Duration::from_micros(options.spin_us),
    };
    let mut runs = handler::runs();
    let mut since = Instant::now();
    while !handler::has_ended() && !stop::is_requested() {
        for _ in 0..64 {
            std::hint::spin_loop();
        }
        if handler::runs() != runs {
            runs = handler::runs();
            since = Instant::now();
        } else if since.elapsed() >= limit {
            return;
        }
    }
}

/// Prints what happened; returns the exit status.
fn summarise(device: &Device, options: &Options, masked: &mut Masked) -> Result<i32> {
    masked.service().finish();
    let outcome = masked.service().outcome();
    let counters = masked.service().counters();
    println!("shadow: {counters}");
    println!(
        "shadow: served by handler={} by main thread={}, notifications received={} sent={}, dropped={}",
        counters.by_handler,
        counters.by_main_thread,
        counters.received,
        counters.sent,
        counters.dropped
    );
    match counters.steady_exits() {
        Some(exits) => {
            // Each reading takes one exit of each CPU, that at the end too.
            let by_reading = (counters.exit_reads + 1) * u64::from(device.cpu_count());
            println!(
                "shadow: vm exits of this cell while connected={} (of them {by_reading} for reading the counter)",
                exits
            );
        }
        None => println!("shadow: vm exits of this cell: not known"),
    }
    if options.verbose {
        println!("shadow: driver {:?}", device.stats()?);
    }
    Ok(match outcome {
        Some(Outcome::Exit(status)) => {
            println!("shadow: the client ended with status {status}");
            status
        }
        Some(Outcome::Broken(error)) => {
            println!("shadow: error: the client broke the ring: {error}");
            1
        }
        None => {
            println!("shadow: stopped by a signal");
            0
        }
    })
}
