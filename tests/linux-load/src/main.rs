// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process of the Linux cell that sends user interrupts to a test cell and receives them, while others compete for the
//! CPU: `linux-load CHANNEL ROUNDS SENDS [busy|sleep|post] [die]`.
//!
//! Each round registers a handler, and with it another UPID slot, sends `SENDS` vectors, each again only after the other
//! side has counted it, and unregisters. Between rounds the other side posts to the slot of the round before. A round fails
//! on a vector that nobody sent, on one that does not arrive, and where UIF is not the process's own. With `sleep` the process
//! sleeps in the driver when it has nothing to do, else it waits for the answer to each vector. With `die` it is killed in its handler in the last round.
//!
//! With `post` other threads of the process post to it, through the driver; the other side has no part in that.
//!
//! The last line is `load: channel=N result=PASS sends=N delivered=N ...` or `load: channel=N result=FAIL ...`.

mod channel;
mod device;
mod handler;
mod poster;

use std::env;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use uintr::instructions;

use channel::{Channel, Phase, STALE_VECTOR};
use device::Device;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a new owner listens before anybody may send to it.
const LISTEN: u32 = 2_000;
/// Sleep that ends without a post only where there is nothing to do.
const SLEEP_US: u64 = 50_000;

struct Options {
    channel: u32,
    rounds: u32,
    sends: u64,
    sleeps: bool,
    posts: bool,
    dies: bool,
}

fn main() -> ExitCode {
    let result = options().and_then(|options| {
        let line = if options.posts {
            poster::run(&options)
        } else {
            run(&options)
        };
        line.with_context(|| format!("channel={}", options.channel))
    });
    match result {
        Ok(line) => {
            println!("load: {line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("load: result=FAIL {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [channel, rounds, sends, more @ ..] = words.as_slice() else {
        bail!("linux-load CHANNEL ROUNDS SENDS [busy|sleep|post] [die]");
    };
    Ok(Options {
        channel: channel.parse()?,
        rounds: rounds.parse()?,
        sends: sends.parse()?,
        sleeps: more.iter().any(|word| word == "sleep"),
        posts: more.iter().any(|word| word == "post"),
        dies: more.iter().any(|word| word == "die"),
    })
}

fn run(options: &Options) -> Result<String> {
    let device = Device::attach(options.channel)?;
    let channel = Channel::map(&device)?;
    handler::count_in(channel.own_delivered());
    let (mut sends, mut delivered) = (0, 0);
    for round in 1..=options.rounds {
        let dies = options.dies && round == options.rounds;
        let before = channel.delivered();
        if round == 1 {
            channel.announce(Phase::Closed)?;
            channel.take_over();
        }
        run_round(&device, &channel, options, dies).with_context(|| format!("round={round}"))?;
        sends += options.sends;
        delivered += channel.delivered() - before;
    }
    let stats = device.stats()?;
    Ok(format!(
        "channel={} result=PASS rounds={} sends={sends} delivered={delivered} switches={} posts={} pending={} waits={} \
         rechecks={} lost=0 faults=0",
        options.channel,
        options.rounds,
        stats.switches_in,
        stats.posts_at_switch,
        stats.pending_at_switch,
        stats.waits,
        stats.rechecks_hit
    ))
}

fn run_round(device: &Device, channel: &Channel, options: &Options, dies: bool) -> Result<()> {
    ensure!(
        !handler::is_enabled(),
        "uif-of-another: UIF is 1 before STUI"
    );
    channel.announce(Phase::Closed)?;
    channel.agree()?;
    let slot = device.register(handler::address())?;
    ensure!(
        !handler::is_enabled(),
        "uif-of-another: UIF is 1 before STUI"
    );
    let before = channel.delivered();
    handler::open();
    for _ in 0..LISTEN {
        std::hint::spin_loop();
    }
    ensure!(
        channel.delivered() == before && channel.count(STALE_VECTOR) == 0,
        "spurious: a new owner of slot {slot} got a vector that nobody sent"
    );
    channel.announce(Phase::Open { slot })?;
    handler::die_next_time(dies);
    send_all(device, channel, options)?;
    channel.announce(Phase::Stopping)?;
    await_all(channel)?;
    ensure!(handler::is_enabled(), "uif-stuck-at-0");
    // With UIF set: taking it away is the driver's.
    device.unregister()?;
    ensure!(
        !handler::is_enabled(),
        "uif-kept: UIF is 1 without a handler"
    );
    Ok(())
}

fn send_all(device: &Device, channel: &Channel, options: &Options) -> Result<()> {
    let mut left = options.sends;
    let mut since = Instant::now();
    while left > 0 {
        ensure!(handler::is_enabled(), "uif-stuck-at-0");
        let mut has_sent = false;
        for vector in 0..STALE_VECTOR {
            // One at a time: nothing that comes later makes good for a post that is lost or late.
            let is_turn = options.sleeps || channel.is_answered();
            if left > 0 && is_turn && channel.may_send(vector)? {
                channel.note_sent(vector);
                // SAFETY: the driver has enabled SENDUIPI for this thread, with a valid entry for each vector.
                #[expect(unsafe_code, reason = "the instruction under test")]
                unsafe {
                    instructions::senduipi(vector as u64);
                }
                left -= 1;
                has_sent = true;
            }
        }
        handler::stay_closed(|| {
            if has_sent || !options.sleeps {
                return Ok(());
            }
            device.wait(SLEEP_US)
        })?;
        if has_sent {
            since = Instant::now();
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "delivery-lost: {left} left, {}",
            channel.describe()
        );
    }
    Ok(())
}

/// Waits until both sides have counted all that was sent.
fn await_all(channel: &Channel) -> Result<()> {
    let since = Instant::now();
    while !channel.is_balanced() {
        ensure!(
            since.elapsed() < PATIENCE,
            "delivery-lost: {}",
            channel.describe()
        );
        std::hint::spin_loop();
    }
    std::sync::atomic::fence(Ordering::SeqCst);
    Ok(())
}
