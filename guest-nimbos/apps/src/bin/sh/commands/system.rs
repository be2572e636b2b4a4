// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands about processes and the system.

use nimbos_apps::abi::{Activity, ProcessInfo, counter};
use nimbos_apps::shell::Words;
use nimbos_apps::{Error, directory, eprintln, println, process, system, time};

use super::{fail, usage};
use crate::USAGE;

/// More than the kernel has.
const MAX_PROCESSES: usize = 128;
const SIGTERM: u32 = 15;

/// Lists processes.
pub fn ps(_words: &Words) -> i32 {
    let nobody = ProcessInfo {
        pid: 0,
        parent: 0,
        activity: 0,
        threads: 0,
        cpu_ticks: 0,
        name: [0; ProcessInfo::NAME_LEN],
    };
    let mut list = [nobody; MAX_PROCESSES];
    let count = match system::process_list(&mut list) {
        Ok(count) => count,
        Err(error) => return fail("ps", "list of processes", error),
    };
    println!("  PID  PPID STATE   THREADS  TICKS NAME");
    for info in &list[..count.min(MAX_PROCESSES)] {
        let state = match info.activity {
            activity if activity == Activity::Running as u32 => "running",
            activity if activity == Activity::Waiting as u32 => "waiting",
            activity if activity == Activity::Zombie as u32 => "zombie",
            _ => "?",
        };
        let name = core::ffi::CStr::from_bytes_until_nul(&info.name);
        let name = name.ok().and_then(|name| name.to_str().ok()).unwrap_or("?");
        println!(
            "{:5} {:5} {state:7} {:7} {:6} {name}",
            info.pid, info.parent, info.threads, info.cpu_ticks
        );
    }
    0
}

/// Ends processes.
pub fn kill(words: &Words) -> i32 {
    let option = words.get(1).and_then(|word| word.strip_prefix('-'));
    let (signal, first) = match option.map(str::parse) {
        None => (SIGTERM, 1),
        Some(Ok(signal)) => (signal, 2),
        Some(Err(_)) => return usage("kill"),
    };
    if words.count() <= first {
        return usage("kill");
    }
    let mut status = 0;
    for word in words.from(first) {
        match word.parse() {
            Ok(number) => {
                if let Err(error) = process::kill(number, signal) {
                    status = fail("kill", word, error);
                }
            }
            Err(_) => {
                eprintln!("kill: {word}: not a number");
                status = USAGE;
            }
        }
    }
    status
}

/// Tells the current directory.
pub fn pwd(_words: &Words) -> i32 {
    let printed = directory::with_current(|path| println!("{}", path.to_str().unwrap_or("?")));
    match printed {
        Ok(()) => 0,
        Err(error) => fail("pwd", "current directory", error),
    }
}

/// Sleeps.
pub fn sleep(words: &Words) -> i32 {
    let (Some(seconds), None) = (words.get(1), words.get(2)) else {
        return usage("sleep");
    };
    let Some(duration) = time::parse_seconds(seconds) else {
        eprintln!("sleep: {seconds}: not a number of seconds");
        return USAGE;
    };
    match time::sleep(duration) {
        Ok(()) => 0,
        Err(error) => fail("sleep", seconds, error),
    }
}

/// Tells how long the kernel has been running, and what is left of its means.
pub fn uptime(_words: &Words) -> i32 {
    match try_uptime() {
        Ok(()) => 0,
        Err(error) => fail("uptime", "counters", error),
    }
}

fn try_uptime() -> Result<(), Error> {
    let up = time::now()?;
    let cpus = system::counter(counter::CPUS)?;
    let free = system::counter(counter::FREE_FRAMES)?;
    let processes = system::process_list(&mut [])?;
    println!(
        "up {}.{:02} s, CPUs {cpus}, processes {processes}, free memory {} KiB",
        up.as_secs(),
        up.subsec_millis() / 10,
        free * 4
    );
    Ok(())
}
