// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads: clone, what they share, how they end.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nimbos_apps::abi::{counter, number};
use nimbos_apps::system::{self, Error};

use crate::Test;
use crate::check::{
    BAD_ADDRESSES, Check, FAULTED, Failure, STACK_LEN, child, ensure, raw, status, status_of,
    thread, until,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("threads-share-memory", share_memory),
    ("thread-numbers", thread_numbers),
    ("last-thread-ends-process", last_thread_ends_process),
    ("exit-group", exit_group),
    ("fork-in-thread", fork_in_thread),
    ("wait-in-threads", wait_in_threads),
    ("yield-alternates", yield_alternates),
    ("preemption", preemption),
    ("cpus-at-once", cpus_at_once),
    ("unmap-under-a-thread", unmap_under_a_thread),
    ("clone-refused", clone_refused),
];

static COUNT: AtomicU32 = AtomicU32::new(0);
static ENDED: AtomicU32 = AtomicU32::new(0);

extern "C" fn add(times: usize) -> ! {
    for _ in 0..times {
        COUNT.fetch_add(1, Ordering::Relaxed);
        system::yield_now();
    }
    ENDED.fetch_add(1, Ordering::Release);
    system::exit_thread(0)
}

fn share_memory() -> Check {
    for times in [10, 20, 30] {
        thread(add, times)?;
    }
    until("the threads have not ended", || {
        ENDED.load(Ordering::Acquire) == 3
    })?;
    ensure(COUNT.load(Ordering::Relaxed) == 60, "a count is lost")
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

extern "C" fn tell_number(_: usize) -> ! {
    let [own, process] = [system::thread_id(), system::process_id()].map(|id| id as u64);
    NUMBER.store(process << 32 | own, Ordering::Release);
    system::exit_thread(0)
}

fn thread_numbers() -> Check {
    let id = thread(tell_number, 0)?;
    until("the thread has not started", || {
        NUMBER.load(Ordering::Acquire) != 0
    })?;
    let told = NUMBER.load(Ordering::Acquire);
    let process = system::process_id() as u64;
    ensure(told >> 32 == process, "a thread's process")?;
    ensure(
        told & 0xffff_ffff == id as u64 && id as u64 != process,
        "a thread's number",
    )
}

extern "C" fn exit_late(status: usize) -> ! {
    let _ = system::sleep_ms(30);
    system::exit_thread(status as i32)
}

fn last_thread_ends_process() -> Check {
    let works = || match thread(exit_late, 21) {
        Ok(_) => system::exit_thread(5),
        Err(_) => 1,
    };
    ensure(status_of(works)? == 21, "the last thread's status")
}

extern "C" fn sleep(_: usize) -> ! {
    loop {
        let _ = system::sleep_ms(1_000_000);
    }
}

extern "C" fn spin(_: usize) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

extern "C" fn wait_for_child(_: usize) -> ! {
    let _ = system::wait(-1);
    system::exit_thread(0)
}

extern "C" fn exit_all(status: usize) -> ! {
    let _ = system::sleep_ms(20);
    system::exit(status as i32)
}

/// One thread ends all, whatever they do: sleep, run, wait for a child.
fn exit_group() -> Check {
    let works = || {
        let started = || -> Result<(), Failure> {
            thread(sleep, 0)?;
            thread(spin, 0)?;
            thread(wait_for_child, 0)?;
            thread(exit_all, 17)?;
            Ok(())
        };
        // The process that the thread waits for; it ends with init's last wait.
        let sleeper = child(|| {
            let _ = system::sleep_ms(50);
            0
        });
        match (started(), sleeper) {
            (Ok(()), Ok(_)) => loop {
                core::hint::spin_loop();
            },
            _ => 1,
        }
    };
    ensure(status_of(works)? == 17, "the status of the whole process")
}

static FORKED: AtomicU32 = AtomicU32::new(0);

extern "C" fn fork_here(_: usize) -> ! {
    let parent = system::process_id();
    let pid = child(move || {
        let is_right = system::parent_id() == parent && system::thread_id() == system::process_id();
        i32::from(!is_right)
    });
    let is_right = matches!(pid.and_then(status), Ok(0));
    FORKED.store(if is_right { 1 } else { 2 }, Ordering::Release);
    system::exit_thread(0)
}

fn fork_in_thread() -> Check {
    thread(spin, 0)?;
    thread(fork_here, 0)?;
    until("the thread has not forked", || {
        FORKED.load(Ordering::Acquire) != 0
    })?;
    ensure(
        FORKED.load(Ordering::Acquire) == 1,
        "a child of a thread has more than that thread",
    )
}

static WAITED: AtomicU32 = AtomicU32::new(0);
static NO_CHILD: AtomicU32 = AtomicU32::new(0);

extern "C" fn wait_here(_: usize) -> ! {
    match system::wait(-1) {
        Ok((_, status)) => WAITED.fetch_add(status as u32, Ordering::AcqRel),
        Err(Error::NO_CHILD) => NO_CHILD.fetch_add(1, Ordering::AcqRel),
        Err(_) => WAITED.fetch_add(1000, Ordering::AcqRel),
    };
    system::exit_thread(0)
}

/// Three threads wait for two children: each child goes to one thread, the third learns that there is none.
fn wait_in_threads() -> Check {
    for status in [3, 4] {
        child(move || {
            let _ = system::sleep_ms(40);
            status
        })?;
    }
    for _ in 0..3 {
        thread(wait_here, 0)?;
    }
    until("not all waits have ended", || {
        WAITED.load(Ordering::Acquire) == 7 && NO_CHILD.load(Ordering::Acquire) == 1
    })
}

static TURN: AtomicU32 = AtomicU32::new(0);
const TURNS: u32 = 200;

extern "C" fn take_odd_turns(_: usize) -> ! {
    take_turns(1);
    system::exit_thread(0)
}

fn take_turns(own: u32) {
    while TURN.load(Ordering::Acquire) < TURNS {
        if TURN.load(Ordering::Acquire) % 2 == own {
            TURN.fetch_add(1, Ordering::AcqRel);
        }
        system::yield_now();
    }
}

fn yield_alternates() -> Check {
    thread(take_odd_turns, 0)?;
    take_turns(0);
    ensure(
        TURN.load(Ordering::Acquire) >= TURNS,
        "the turns are not all taken",
    )
}

static PROGRESS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

extern "C" fn count(number: usize) -> ! {
    loop {
        PROGRESS[number].fetch_add(1, Ordering::Relaxed);
    }
}

/// Threads that never call the kernel all get on, and so does the one that looks at them.
fn preemption() -> Check {
    for number in 0..PROGRESS.len() {
        thread(count, number)?;
    }
    for _ in 0..3 {
        let before = PROGRESS
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        until("a thread does not get on", || {
            let both = PROGRESS.iter().zip(before);
            both.into_iter()
                .all(|(count, before)| count.load(Ordering::Relaxed) > before)
        })?;
    }
    Ok(())
}

static SPUN: AtomicU32 = AtomicU32::new(0);

extern "C" fn spin_odd_turns(turns: usize) -> ! {
    spin_turns(1, turns as u32);
    system::exit_thread(0)
}

fn spin_turns(own: u32, turns: u32) {
    let mut turn = SPUN.load(Ordering::Acquire);
    while turn < turns {
        if turn % 2 == own {
            SPUN.store(turn + 1, Ordering::Release);
        }
        turn = SPUN.load(Ordering::Acquire);
    }
}

/// Two threads that wait for each other without calling the kernel: on one CPU a turn takes a slice of time, on two it takes
/// next to none, so that many more of them are done long before the test is given up.
fn cpus_at_once() -> Check {
    const AT_MOST_MS: i64 = 20_000;
    let turns = match system::counter(counter::CPUS)? {
        1 => 20,
        _ => 50_000,
    };
    let start = system::time_ms();
    thread(spin_odd_turns, turns as usize)?;
    spin_turns(0, turns);
    ensure(
        system::time_ms() - start < AT_MOST_MS,
        "only one CPU runs threads",
    )
}

extern "C" fn read_on(address: usize) -> ! {
    let memory: *const AtomicU32 = core::ptr::with_exposed_provenance(address);
    loop {
        #[expect(unsafe_code, reason = "reads memory that goes away")]
        // SAFETY: once the memory is away, this ends the process.
        unsafe { &*memory }.load(Ordering::Relaxed);
        PROGRESS[0].fetch_add(1, Ordering::Relaxed);
    }
}

/// A thread that uses memory, perhaps on another CPU, while it is taken away: it must not go on with it.
fn unmap_under_a_thread() -> Check {
    let works = || {
        let taken = || -> Check {
            let memory = system::map(STACK_LEN)?;
            thread(read_on, memory.expose_provenance())?;
            until("the thread has not started", || {
                PROGRESS[0].load(Ordering::Relaxed) > 0
            })?;
            #[expect(unsafe_code, reason = "takes memory away that is in use")]
            // SAFETY: the thread ends the process.
            unsafe {
                system::unmap(memory, STACK_LEN)?;
            }
            let _ = system::sleep_ms(1_000);
            Ok(())
        };
        i32::from(taken().is_err())
    };
    for _ in 0..5 {
        ensure(
            status_of(works)? == FAULTED,
            "memory that is away is still read",
        )?;
    }
    Ok(())
}

fn clone_refused() -> Check {
    for stack in BAD_ADDRESSES {
        let result = raw(number::CLONE, [stack, 0, 0]);
        ensure(Error(result) == Error::FAULT, "a stack outside user space")?;
    }
    Ok(())
}
