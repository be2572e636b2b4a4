// SPDX-License-Identifier: MIT OR Apache-2.0
//! kill, whatever the process does.

use nimbos_apps::abi::{MAX_SIGNAL, STATUS_SIGNAL};
use nimbos_apps::system::{self, Error};

use crate::Test;
use crate::check::{Check, child, end, ensure, status, status_of, thread, until};
use crate::processes::find;

/// The tests.
pub const TESTS: &[Test] = &[
    ("kill-new", kill_new),
    ("kill-running", kill_running),
    ("kill-elsewhere", kill_elsewhere),
    ("kill-sleeping", kill_sleeping),
    ("kill-waiting", kill_waiting),
    ("kill-threads", kill_threads),
    ("kill-zombie", kill_zombie),
    ("kill-self", kill_self),
    ("kill-signals", kill_signals),
    ("kill-refused", kill_refused),
    ("kill-many-times", kill_many_times),
];

fn sleep_for_ever() -> i32 {
    loop {
        let _ = system::sleep_ms(1_000_000);
    }
}

fn spin_for_ever() -> i32 {
    loop {
        core::hint::spin_loop();
    }
}

/// It has not run yet, or just begun.
fn kill_new() -> Check {
    let pid = child(spin_for_ever)?;
    end(pid)
}

fn kill_running() -> Check {
    let pid = child(spin_for_ever)?;
    system::sleep_ms(30)?;
    end(pid)
}

/// The killer keeps its CPU until the other process has used some time: with two CPUs that runs on the other one.
fn kill_elsewhere() -> Check {
    for _ in 0..20 {
        let pid = child(spin_for_ever)?;
        let give_up = system::time_ms() + 10_000;
        while find(pid).is_some_and(|info| info.cpu_ticks == 0) {
            ensure(system::time_ms() < give_up, "the process does not run")?;
        }
        end(pid)?;
    }
    Ok(())
}

fn kill_sleeping() -> Check {
    let pid = child(sleep_for_ever)?;
    system::sleep_ms(30)?;
    end(pid)
}

/// It waits for a child, which becomes init's; that ends by itself.
fn kill_waiting() -> Check {
    let pid = child(|| {
        let _ = child(|| {
            let _ = system::sleep_ms(80);
            0
        });
        let _ = system::wait(-1);
        0
    })?;
    system::sleep_ms(30)?;
    end(pid)
}

extern "C" fn sleep_here(_: usize) -> ! {
    sleep_for_ever();
    system::exit(1)
}

extern "C" fn spin_here(_: usize) -> ! {
    spin_for_ever();
    system::exit(1)
}

fn kill_threads() -> Check {
    let pid = child(|| {
        for run in [sleep_here, spin_here, sleep_here, spin_here] {
            if thread(run, 0).is_err() {
                return 1;
            }
        }
        spin_for_ever()
    })?;
    system::sleep_ms(60)?;
    end(pid)
}

/// A process that has ended keeps its status.
fn kill_zombie() -> Check {
    let pid = child(|| 3)?;
    system::sleep_ms(30)?;
    system::kill(pid, 9)?;
    ensure(status(pid)? == 3, "a kill has changed the status")?;
    ensure(
        system::kill(pid, 9) == Err(Error::NO_PROCESS),
        "it is still there",
    )
}

fn kill_self() -> Check {
    let works = || {
        let _ = system::kill(system::process_id() as i32, 15);
        0
    };
    ensure(
        status_of(works)? == STATUS_SIGNAL + 15,
        "a process that kills itself",
    )
}

fn kill_signals() -> Check {
    for signal in [1, 2, 15, 64] {
        let pid = child(sleep_for_ever)?;
        system::kill(pid, 0)?;
        system::kill(pid, signal)?;
        ensure(
            status(pid)? == STATUS_SIGNAL + signal as i32,
            "the status does not tell the signal",
        )?;
    }
    Ok(())
}

fn kill_refused() -> Check {
    let pid = child(sleep_for_ever)?;
    for signal in [MAX_SIGNAL + 1, 1 << 32, u64::MAX] {
        ensure(
            system::kill(pid, signal) == Err(Error::INVALID),
            "a signal that does not exist",
        )?;
    }
    for stranger in [0, -1, pid + 1, i32::MAX, i32::MIN] {
        ensure(
            system::kill(stranger, 9) == Err(Error::NO_PROCESS),
            "a process that does not exist",
        )?;
    }
    ensure(
        system::kill(1, 9) == Err(Error::NOT_PERMITTED),
        "init can be killed",
    )?;
    end(pid)
}

/// Kills at times that differ by little hit a process in all its states.
fn kill_many_times() -> Check {
    for turn in 0..40 {
        let pid = child(|| {
            loop {
                if let Ok(pid) = child(|| 0) {
                    let _ = system::wait(pid);
                }
                let _ = system::sleep_ms(1);
            }
        })?;
        let mut left = turn * 37;
        until("", || {
            left -= 1;
            left <= 0
        })?;
        end(pid)?;
    }
    Ok(())
}
