// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an alarm costs the code that it interrupts.

use nimbos_apps::statistics::Summary;
use nimbos_apps::{eprintln, system};

use crate::{Form, Reason, child, count, ensure, reap, stop};

/// Interruptions that are measured.
const SAMPLES: usize = 101;
/// Between two readings of the counter lies less, unless there was an interruption.
const INTERRUPTION: u64 = 200;

/// Measures interruptions by the timer alone and by alarms in both forms, and prints them.
pub fn measure() -> Result<(), Reason> {
    // Apart from the tests: this process has no alarm and is no receiver yet.
    reap(child(|| {
        let tick = median();
        let [handler, interrupt] = [of(Form::Handler)?, of(Form::Interrupt)?];
        ensure(tick < handler && tick < interrupt, "an alarm for nothing")?;
        eprintln!(
            "alarmtest: cost tick={tick} handler={} interrupt={}",
            handler - tick,
            interrupt - tick
        );
        Ok(())
    })?)
}

fn of(form: Form) -> Result<u32, Reason> {
    form.start(1)?;
    let before = count();
    let median = median();
    ensure(count() - before >= SAMPLES as u64, "too few came")?;
    stop()?;
    Ok(median)
}

/// Returns the median of the ticks that an interruption takes.
fn median() -> u32 {
    let mut samples = [0; SAMPLES];
    let mut taken = 0;
    let mut last = system::tsc();
    while taken < SAMPLES {
        let now = system::tsc();
        let gap = now.wrapping_sub(last);
        last = now;
        if gap > INTERRUPTION {
            samples[taken] = u32::try_from(gap).unwrap_or(u32::MAX);
            taken += 1;
        }
    }
    Summary::of(&mut samples).map_or(0, |summary| summary.median)
}
