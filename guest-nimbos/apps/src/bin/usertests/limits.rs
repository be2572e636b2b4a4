// SPDX-License-Identifier: MIT OR Apache-2.0
//! Full tables and exhausted memory: whoever wants more gets an error, everybody else runs on.

use core::sync::atomic::{AtomicU32, Ordering};

use nimbos_apps::system::{self, Error, Fork};

use crate::Test;
use crate::check::{Check, FAULTED, Failure, end, ensure, status_of, thread, until};

/// The tests.
pub const TESTS: &[Test] = &[
    ("fork-until-full", fork_until_full),
    ("zombies-until-full", zombies_until_full),
    ("fork-bomb", fork_bomb),
    ("threads-until-full", threads_until_full),
    ("memory-until-full", memory_until_full),
    ("fork-without-memory", fork_without_memory),
    ("exec-without-memory", exec_without_memory),
    ("crash-many", crash_many),
];

/// Entries of the kernel's table of processes.
const PROCESSES: usize = 64;
/// Entries of its table of threads.
const THREADS: u32 = 128;
const MIB: usize = 1 << 20;

/// Init and the test have two of the entries.
fn fork_until_full() -> Check {
    let mut children = [0; PROCESSES];
    let mut count = 0;
    let last = loop {
        match system::fork() {
            Ok(Fork::Child) => loop {
                let _ = system::sleep_ms(1_000_000);
            },
            Ok(Fork::Parent { child }) if count < PROCESSES => {
                children[count] = child;
                count += 1;
            }
            Ok(_) => return Err(Failure("more processes than the table has")),
            Err(error) => break error,
        }
    };
    ensure(last == Error::AGAIN, "a full table gave another error")?;
    ensure(count == PROCESSES - 2, "the table is not full")?;
    ensure(system::process_id() > 1, "a call after that")?;
    for &child in &children[..count] {
        end(child)?;
    }
    ensure(status_of(|| 4)? == 4, "a fork after that")
}

/// Those that were not waited for count too.
fn zombies_until_full() -> Check {
    let mut count = 0;
    let last = loop {
        match system::fork() {
            Ok(Fork::Child) => system::exit(0),
            Ok(Fork::Parent { .. }) => count += 1,
            Err(error) => break error,
        }
        ensure(count < PROCESSES, "more processes than the table has")?;
    };
    ensure(
        last == Error::AGAIN && count == PROCESSES - 2,
        "the table is not full",
    )?;
    for _ in 0..count {
        system::wait(-1)?;
    }
    ensure(system::wait(-1) == Err(Error::NO_CHILD), "one more")
}

/// Each process forks as long as it can. All of them end, and everything is there again.
fn fork_bomb() -> Check {
    let bomb = || {
        let mut children = 0;
        loop {
            match system::fork() {
                Ok(Fork::Child) => children = 0,
                Ok(Fork::Parent { .. }) => children += 1,
                Err(_) => break,
            }
        }
        for _ in 0..children {
            if system::wait(-1).is_err() {
                return 1;
            }
        }
        i32::from(system::wait(-1) != Err(Error::NO_CHILD))
    };
    ensure(status_of(bomb)? == 0, "a child is lost")
}

static STARTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn start_and_sleep(_: usize) -> ! {
    STARTED.fetch_add(1, Ordering::AcqRel);
    loop {
        let _ = system::sleep_ms(1_000_000);
    }
}

/// Init has one of the entries, this thread another one.
fn threads_until_full() -> Check {
    const LEN: usize = 4096;
    let stacks = system::map(THREADS as usize * LEN)?;
    let mut count = 0;
    let last = loop {
        ensure(count < THREADS, "more threads than the table has")?;
        count += 1;
        let stack = stacks.wrapping_add(count as usize * LEN);
        #[expect(unsafe_code, reason = "starts a thread")]
        // SAFETY: each thread has a page of its own.
        let started = unsafe { system::spawn(stack, start_and_sleep, 0) };
        if let Err(error) = started {
            break error;
        }
    };
    ensure(last == Error::AGAIN, "a full table gave another error")?;
    ensure(count - 1 == THREADS - 2, "the table is not full")?;
    ensure(
        matches!(system::fork(), Err(Error::AGAIN)),
        "a process without an entry for its thread",
    )?;
    until("not all threads have run", || {
        STARTED.load(Ordering::Acquire) == THREADS - 2
    })
}

/// Maps all there is, in pieces that get smaller.
fn take_all_memory() -> usize {
    let mut taken = 0;
    let mut len = 8 * MIB;
    while len >= 4096 {
        match system::map(len) {
            Ok(_) => taken += len,
            Err(_) => len /= 2,
        }
    }
    taken
}

fn memory_until_full() -> Check {
    let works = || {
        let taken = take_all_memory();
        // It runs on, and so do its calls that need no memory.
        let is_alive = system::time_ms() > 0 && system::sleep_ms(10).is_ok();
        i32::from(taken < MIB || !is_alive)
    };
    for _ in 0..3 {
        ensure(status_of(works)? == 0, "memory did not come back")?;
    }
    Ok(())
}

fn fork_without_memory() -> Check {
    let works = || {
        take_all_memory();
        let forked = system::fork();
        if matches!(forked, Ok(Fork::Child)) {
            system::exit(0);
        }
        i32::from(!matches!(forked, Err(Error::NO_MEMORY)))
    };
    ensure(status_of(works)? == 0, "fork gave no -ENOMEM")
}

fn exec_without_memory() -> Check {
    let works = || {
        take_all_memory();
        i32::from(system::exec(c"hello", &[]) != Error::NO_MEMORY)
    };
    ensure(status_of(works)? == 0, "exec gave no -ENOMEM")
}

extern "C" fn spin(_: usize) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Processes with threads and memory crash again and again: nothing is used up.
fn crash_many() -> Check {
    for _ in 0..20 {
        let works = || {
            let is_set_up = system::map(MIB / 4).is_ok() && thread(spin, 0).is_ok();
            #[expect(unsafe_code, reason = "crashes")]
            // SAFETY: ends the process.
            unsafe {
                core::ptr::null_mut::<u8>().write_volatile(u8::from(is_set_up));
            }
            0
        };
        ensure(status_of(works)? == FAULTED, "a write to address 0")?;
    }
    Ok(())
}
