// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that block: each blocks nobody else, and ends when its process does.

use std::time::{Duration, Instant};

use forward_ring::{Call, SLOTS};

use super::bench::{Bench, Memory, error};

#[test]
fn a_read_of_an_empty_pipe_blocks_nobody_else() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    let blocked = bench.begin_read(0, 1, reader);
    for _ in 0..100 {
        assert_eq!(bench.own(0, Call::Null), 0);
        let fd = bench.open(1, "/f", libc::O_CREAT | libc::O_RDWR);
        assert_eq!(bench.write(1, fd, b"x"), 1);
        assert_eq!(bench.close(1, fd), 0);
    }
    assert!(!bench.is_completed(blocked));
    assert_eq!(bench.counter(5), 1);
    assert_eq!(bench.write(1, writer, b"x"), 1);
    assert_eq!(bench.wait(blocked), 1);
    assert_eq!(bench.counter(5), 0);
}

#[test]
fn all_tokens_but_one_may_block_at_once() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    let blocked: Vec<_> = (1..SLOTS).map(|_| bench.begin_read(0, 1, reader)).collect();
    assert_eq!(bench.counter(5), SLOTS as i64 - 1);
    for _ in 1..SLOTS {
        assert_eq!(bench.write(1, writer, b"x"), 1);
    }
    for number in blocked {
        assert_eq!(bench.wait(number), 1);
    }
}

#[test]
fn a_file_that_is_read_stays_open_though_its_number_is_closed() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    let blocked = bench.begin_read(0, 1, reader);
    assert_eq!(bench.close(1, reader), 0);
    assert_eq!(bench.read(1, reader, 1), Err(error(libc::EBADF)));
    assert_eq!(
        bench.open(1, "/f", libc::O_CREAT),
        reader,
        "the number is free"
    );
    assert_eq!(bench.write(1, writer, b"x"), 1);
    assert_eq!(bench.wait(blocked), 1);
    assert_eq!(
        bench.write(1, writer, b"x"),
        error(libc::EPIPE),
        "now it is closed"
    );
}

#[test]
fn an_exit_ends_the_calls_of_its_process_only() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
    let own = bench.begin_read(0, 1, reader);
    let killed: Vec<_> = (0..20).map(|_| bench.begin_read(0, 2, reader)).collect();
    let exit = bench.begin_own(2, Call::Exit { status: 9 });
    assert_eq!(bench.wait(exit), 0);
    for number in killed {
        assert!(
            bench.is_completed(number),
            "an exit is done when its calls are"
        );
        assert_eq!(bench.wait(number), error(libc::EINTR));
    }
    assert_eq!(bench.counter(4), 1);
    assert_eq!(bench.counter(5), 1);
    assert_eq!(bench.write(1, writer, b"x"), 1);
    assert_eq!(bench.wait(own), 1);
}

/// A signal that comes too late for the call that it is meant for must not end the next one of the same worker.
#[test]
fn an_interrupted_worker_makes_the_next_call_undisturbed() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    for round in 0..200 {
        assert_eq!(bench.own(1, Call::Fork { child: 2 }), 0);
        let killed = bench.begin_read(0, 2, reader);
        if round % 2 == 0 {
            assert_eq!(bench.write(1, writer, b"x"), 1);
        }
        assert_eq!(bench.own(2, Call::Exit { status: 9 }), 0);
        bench.wait(killed);
        let next = bench.begin_read(0, 1, reader);
        assert_eq!(bench.write(1, writer, b"y"), 1);
        assert_eq!(bench.wait(next), 1, "round {round}");
        // What the killed call has left.
        let [own_reader, own_writer] = [reader, writer];
        assert_eq!(bench.write(1, own_writer, b"z"), 1);
        while bench.read(1, own_reader, 9).unwrap().last() != Some(&b'z') {}
    }
}

#[test]
fn a_fifo_is_opened_when_both_sides_are_there() {
    let mut bench = Bench::new();
    let path = bench.root.path().join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    #[expect(unsafe_code, reason = "there is no function for it in std")]
    // SAFETY: the kernel reads the name only.
    unsafe {
        assert_eq!(libc::mkfifo(name.as_ptr(), 0o600), 0);
    }
    let mut memory = Memory::default();
    let path = memory.put_string("/fifo");
    let open = libc::SYS_open as u32;
    let reader = bench.begin(0, 1, open, &[path, 0], &memory).unwrap();
    assert_eq!(bench.own(0, Call::Null), 0);
    assert!(!bench.is_completed(reader.0));
    let writer = bench.open(2, "/fifo", libc::O_WRONLY);
    assert_eq!(bench.end(reader, &mut memory), 3);
    assert_eq!(bench.write(2, writer, b"hello"), 5);
    assert_eq!(bench.read(1, 3, 9).unwrap(), b"hello");
    assert_eq!(bench.close(2, writer), 0);
    // A number that is being opened cannot be closed, nor taken.
    let blocked = bench.begin(0, 3, open, &[path, 0], &memory).unwrap();
    assert_eq!(bench.close(3, 3), error(libc::EBADF));
    assert_eq!(bench.call(3, libc::SYS_dup2, &[0, 3]), error(libc::EBUSY));
    assert_eq!(bench.open(3, "/f", libc::O_CREAT), 4);
    assert_eq!(bench.own(3, Call::Exit { status: 0 }), 0);
    assert_eq!(bench.end(blocked, &mut memory), error(libc::EINTR));
}

fn poll(bench: &mut Bench, wanted: &[(i32, i16)], timeout: i32) -> (i64, Vec<i16>) {
    let mut memory = Memory::default();
    let mut bytes = Vec::new();
    for (fd, events) in wanted {
        bytes.extend_from_slice(&fd.to_ne_bytes());
        bytes.extend_from_slice(&events.to_ne_bytes());
        bytes.extend_from_slice(&[0xaa; 2]);
    }
    let address = memory.put(&bytes);
    let args = [address, wanted.len() as u64, timeout as u64];
    let result = bench.call_with(1, libc::SYS_poll as u32, &args, &mut memory);
    let events = (0..wanted.len() as u64).map(|i| {
        assert_eq!(
            memory.int(address + 8 * i),
            wanted[i as usize].0,
            "the number stays"
        );
        (memory.int(address + 8 * i + 4) >> 16) as i16
    });
    (result, events.collect())
}

#[test]
fn poll_tells_which_files_are_ready() {
    let mut bench = Bench::new();
    let [reader, writer] = bench.pipe(1, 0);
    let (reader, end) = (reader as i32, writer as i32);
    let wanted = [(reader, libc::POLLIN), (end, libc::POLLOUT), (-1, 1)];
    assert_eq!(poll(&mut bench, &wanted, 0), (1, vec![0, libc::POLLOUT, 0]));
    assert_eq!(bench.write(1, writer, b"x"), 1);
    assert_eq!(
        poll(&mut bench, &wanted, -1),
        (2, vec![libc::POLLIN, libc::POLLOUT, 0])
    );
    let wrong = [(77, libc::POLLIN), (end, libc::POLLOUT)];
    assert_eq!(
        poll(&mut bench, &wrong, -1),
        (2, vec![libc::POLLNVAL, libc::POLLOUT])
    );
    assert_eq!(poll(&mut bench, &[(77, 0)], -1), (1, vec![libc::POLLNVAL]));
    assert_eq!(poll(&mut bench, &[], 0), (0, vec![]));
    assert_eq!(bench.close(1, writer), 0);
    assert_eq!(bench.read(1, reader.into(), 9).unwrap(), b"x");
    assert_eq!(
        poll(&mut bench, &[(reader, libc::POLLIN)], -1),
        (1, vec![libc::POLLHUP])
    );
}

#[test]
fn poll_ends_after_its_time_or_with_its_process() {
    let mut bench = Bench::new();
    let [reader, _] = bench.pipe(1, 0);
    let wanted = [(reader as i32, libc::POLLIN)];
    let since = Instant::now();
    assert_eq!(poll(&mut bench, &wanted, 50), (0, vec![0]));
    assert!(since.elapsed() >= Duration::from_millis(50));

    let mut memory = Memory::default();
    let address = memory.put(&[0; 8]);
    let args = [address, 0, -1i64 as u64];
    let forever = bench
        .begin(0, 2, libc::SYS_poll as u32, &args, &memory)
        .unwrap();
    assert_eq!(bench.own(2, Call::Exit { status: 0 }), 0);
    assert_eq!(bench.end(forever, &mut memory), error(libc::EINTR));
}
