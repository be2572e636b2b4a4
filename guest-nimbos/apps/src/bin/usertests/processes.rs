// SPDX-License-Identifier: MIT OR Apache-2.0
//! fork, exit, waitpid, and what knows of processes.

use core::sync::atomic::{AtomicU32, Ordering};

use nimbos_apps::abi::{Activity, ProcessInfo, number};
use nimbos_apps::system::{self, Error};

use crate::Test;
use crate::check::{
    BAD_ADDRESSES, Check, Failure, child, end, ensure, raw, status, status_of, until,
};

/// The tests.
pub const TESTS: &[Test] = &[
    ("unknown-calls", unknown_calls),
    ("numbers", numbers),
    ("exit-status", exit_status),
    ("fork-copies", fork_copies),
    ("wait-for-one", wait_for_one),
    ("wait-for-any", wait_for_any),
    ("wait-refused", wait_refused),
    ("wait-blocks", wait_blocks),
    ("orphans", orphans),
    ("zombie-orphans", zombie_orphans),
    ("process-list", process_list),
    ("console-refused", console_refused),
];

/// Numbers that Linux has or may have, and numbers that nobody has; the calls there are lie between them.
fn unknown_calls() -> Check {
    let ranges = [
        12..=15,
        97..=109,
        111..=168,
        170..=185,
        350..=499,
        520..=5000,
    ];
    let single = [10, 58, 63, 229, 1 << 32, 1 << 32 | number::GETPID, u64::MAX];
    for number in ranges.into_iter().flatten().chain(single) {
        let result = raw(number, [1, 2, 3]);
        ensure(
            Error(result) == Error::NO_SYSTEM_CALL,
            "a number that is no call gave no -ENOSYS",
        )?;
    }
    Ok(())
}

fn numbers() -> Check {
    let (own, parent) = (system::process_id(), system::parent_id());
    ensure(own > 1 && parent == 1, "own number or parent's is wrong")?;
    ensure(
        system::thread_id() == own,
        "the first thread has another number",
    )?;
    let works = move || {
        let is_right = system::parent_id() == own && system::process_id() > own;
        i32::from(!is_right || system::thread_id() != system::process_id())
    };
    ensure(status_of(works)? == 0, "a child's numbers are wrong")
}

fn exit_status() -> Check {
    for (told, seen) in [(0, 0), (7, 7), (255, 255), (256, 0), (300, 44), (-1, 255)] {
        ensure(status_of(|| told)? == seen, "a status is wrong")?;
    }
    Ok(())
}

static GLOBAL: AtomicU32 = AtomicU32::new(1);

fn fork_copies() -> Check {
    let on_stack = AtomicU32::new(10);
    GLOBAL.store(2, Ordering::Relaxed);
    let works = || {
        let is_copied =
            GLOBAL.load(Ordering::Relaxed) == 2 && on_stack.load(Ordering::Relaxed) == 10;
        GLOBAL.store(3, Ordering::Relaxed);
        on_stack.store(30, Ordering::Relaxed);
        i32::from(!is_copied)
    };
    ensure(status_of(works)? == 0, "the child has other memory")?;
    let is_kept = GLOBAL.load(Ordering::Relaxed) == 2 && on_stack.load(Ordering::Relaxed) == 10;
    ensure(is_kept, "the child has changed its parent's memory")
}

fn wait_for_one() -> Check {
    let first = child(|| 1)?;
    let second = child(|| 2)?;
    ensure(status(second)? == 2, "the second child's status")?;
    ensure(status(first)? == 1, "the first child's status")?;
    for gone in [first, second, -1] {
        ensure(
            system::wait(gone) == Err(Error::NO_CHILD),
            "a child could be waited for twice",
        )?;
    }
    Ok(())
}

fn wait_for_any() -> Check {
    const CHILDREN: i32 = 5;
    let mut pids = [0; CHILDREN as usize];
    for (number, pid) in (0..).zip(&mut pids) {
        *pid = child(move || number)?;
    }
    let mut seen = 0_u32;
    for _ in 0..CHILDREN {
        let (pid, status) = system::wait(-1)?;
        ensure(
            pids.get(status as usize) == Some(&pid),
            "number and status do not belong together",
        )?;
        seen |= 1 << status;
    }
    ensure(seen == (1 << CHILDREN) - 1, "a child came twice")?;
    ensure(system::wait(0) == Err(Error::NO_CHILD), "a sixth child")
}

fn wait_refused() -> Check {
    ensure(
        system::wait(-1) == Err(Error::NO_CHILD),
        "a wait without children",
    )?;
    let pid = child(|| 9)?;
    for stranger in [1, pid + 1, -2, i32::MAX, i32::MIN] {
        ensure(
            system::wait(stranger) == Err(Error::NO_CHILD),
            "a process that is no child",
        )?;
    }
    for options in [2, 4, 1 << 31, u64::MAX] {
        ensure(
            system::wait_at(pid, 0, options) == Err(Error::INVALID),
            "options that do not exist",
        )?;
    }
    for address in BAD_ADDRESSES.into_iter().filter(|&address| address != 0) {
        ensure(
            system::wait_at(pid, address, 0) == Err(Error::FAULT),
            "an address that is not the program's",
        )?;
    }
    ensure(status(pid)? == 9, "the refused calls took the status away")
}

fn wait_blocks() -> Check {
    let pid = child(|| {
        let _ = system::sleep_ms(40);
        5
    })?;
    ensure(
        system::try_wait(pid) == Ok(None) && system::try_wait(-1) == Ok(None),
        "WNOHANG gave something for a child that sleeps",
    )?;
    ensure(
        status(pid)? == 5,
        "the status of a child that was waited for",
    )?;
    let pid = child(|| 6)?;
    until("WNOHANG never gave the status", || {
        system::try_wait(pid) == Ok(Some((pid, 6)))
    })?;
    let pid = child(|| 7)?;
    ensure(
        system::wait_at(pid, 0, 0) == Ok(pid),
        "a wait without a place for the status",
    )
}

/// A child of a child is init's when its parent has ended.
fn orphans() -> Check {
    let works = || {
        let parent = system::process_id();
        let grandchild = child(move || {
            let wait = until("", || system::parent_id() != parent);
            let is_inits = wait.is_ok() && system::parent_id() == 1;
            // Nobody here sees the status: init's wait would not fail for it. So it has to show otherwise.
            if is_inits {
                0
            } else {
                loop {
                    system::yield_now();
                }
            }
        });
        i32::from(grandchild.is_err())
    };
    ensure(status_of(works)? == 0, "the child could not fork")
}

/// A child that has ended before its parent is init's to wait for, too.
fn zombie_orphans() -> Check {
    let works = || {
        let Ok(pid) = child(|| 0) else {
            return 1;
        };
        let ended = until("", || {
            find(pid).is_some_and(|info| info.activity == Activity::Zombie as u32)
        });
        i32::from(ended.is_err())
    };
    ensure(
        status_of(works)? == 0,
        "the grandchild has not become a zombie",
    )
}

const NOTHING: ProcessInfo = ProcessInfo {
    pid: 0,
    parent: 0,
    activity: 0,
    threads: 0,
    cpu_ticks: 0,
    name: [0; ProcessInfo::NAME_LEN],
};

/// Returns what the list of processes says of one.
pub fn find(pid: i32) -> Option<ProcessInfo> {
    let mut list = [NOTHING; 64];
    let count = system::process_list(&mut list).ok()?;
    let list = list.get(..count)?;
    list.iter().find(|info| info.pid as i32 == pid).copied()
}

fn process_list() -> Check {
    let own = find(system::process_id() as i32).ok_or(Failure("the own process is missing"))?;
    ensure(
        own.activity == Activity::Running as u32 && own.threads == 1 && own.parent == 1,
        "the own entry is wrong",
    )?;
    ensure(&own.name == b"usertests\0\0\0\0\0\0\0", "the name is wrong")?;
    let pid = child(|| {
        let _ = system::sleep_ms(1_000_000);
        0
    })?;
    until("a process that sleeps is not said to wait", || {
        find(pid).is_some_and(|info| info.activity == Activity::Waiting as u32)
    })?;
    end(pid)?;
    ensure(find(pid).is_none(), "a process that is gone is listed")?;
    let count = system::process_list(&mut [])?;
    let mut two = [NOTHING; 2];
    ensure(
        system::process_list(&mut two)? == count && two[0].pid == 1 && two[1].pid != 0,
        "a list that is cut",
    )?;
    for address in BAD_ADDRESSES {
        let result = raw(number::PROCESS_LIST, [address, 64, 0]);
        ensure(Error(result) == Error::FAULT, "a bad address")?;
    }
    Ok(())
}

/// Writes to the console with addresses and lengths that are not the program's.
fn console_refused() -> Check {
    for address in BAD_ADDRESSES {
        ensure(
            system::write_at(2, address, 1) == Err(Error::FAULT),
            "a bad address",
        )?;
    }
    // The stack ends at 1000_0000H.
    ensure(
        system::write_at(2, 0x0fff_fff0, 17) == Err(Error::FAULT),
        "a range that leaves the program",
    )?;
    ensure(system::write_at(2, 0, 0) == Ok(0), "nothing at all")?;
    ensure(
        system::write_at(-1, 0x0fff_fff0, 1) == Err(Error::IO),
        "a file, without a server",
    )
}
