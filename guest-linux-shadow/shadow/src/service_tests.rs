// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service against a client in the same process and a machine that only takes notes.
#![expect(unsafe_code, reason = "stands in for memory shared with another cell")]

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use forward_ring::{Call, Client, Geometry, Mapping, Message, Token, UintrReply, opcode};
use tempfile::TempDir;

use crate::counters;
use crate::files::Files;
use crate::service::{Machine, Outcome, Service};

const EBADF: i64 = -(libc::EBADF as i64);
const EINVAL: i64 = -(libc::EINVAL as i64);
const ENOENT: i64 = -(libc::ENOENT as i64);

#[derive(Debug, Default)]
struct Notes {
    senders: Vec<(u32, u32)>,
    notified: Vec<u64>,
    exits: u64,
}

#[derive(Clone, Debug, Default)]
struct FakeMachine(Rc<RefCell<Notes>>);

impl Machine for FakeMachine {
    fn register_sender(&mut self, slot: u32, vector: u32) -> Result<u64, i64> {
        let mut notes = self.0.borrow_mut();
        notes.senders.push((slot, vector));
        Ok(notes.senders.len() as u64 - 1)
    }

    fn notify(&mut self, index: u64) {
        self.0.borrow_mut().notified.push(index);
    }

    fn vm_exits(&mut self) -> Result<u64, i64> {
        self.0.borrow_mut().exits += 1;
        Ok(self.0.borrow().exits)
    }
}

#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

/// A client and a service with a ring between them, and a directory to serve.
struct Bench {
    client: Client,
    service: Service<FakeMachine>,
    notes: Rc<RefCell<Notes>>,
    root: TempDir,
    // Last: the ring's memory outlives both sides.
    _memory: Box<[Page]>,
}

impl Bench {
    fn new() -> Self {
        let geometry = Geometry::for_channel(Geometry::MIN_CHANNEL_SIZE).unwrap();
        let page_count = geometry.region_len() / 4096;
        let memory: Box<[Page]> = (0..page_count)
            .map(|_| Page(std::array::from_fn(|_| AtomicU64::new(0))))
            .collect();
        let base = NonNull::new(memory.as_ptr().cast_mut().cast::<u8>()).unwrap();
        // SAFETY: aligned, long enough, made of atomics, and kept by the bench for longer than both sides.
        let mapping = || unsafe { Mapping::new(base, geometry) };
        let root = TempDir::new().unwrap();
        let files = Files::new(OwnedFd::from(File::open(root.path()).unwrap()));
        let machine = FakeMachine::default();
        let notes = machine.0.clone();
        Self {
            client: Client::new(mapping()),
            service: Service::new(forward_ring::Server::new(mapping()), machine, files, 9),
            notes,
            root,
            _memory: memory,
        }
    }

    /// Makes a call with `data` in its buffer; returns its token and result.
    fn call_with(&mut self, message: &Message, data: &[u8]) -> (Token, i64) {
        let token = self.client.reserve().unwrap();
        self.client.buffer(&token).write(0, data).unwrap();
        let _ = self.client.submit(token, message);
        self.service.on_notification();
        self.client.poll().unwrap().unwrap()
    }

    fn call(&mut self, call: Call, data: &[u8]) -> i64 {
        let (token, result) = self.call_with(&call.encode(), data);
        self.client.release(token);
        result
    }

    fn open(&mut self, path: &str, flags: i32) -> i64 {
        let call = Call::Open {
            path_len: path.len() as u32,
            flags,
            mode: 0o600,
        };
        self.call(call, path.as_bytes())
    }

    fn read(&mut self, fd: i32, len: u32) -> (i64, Vec<u8>) {
        let (token, result) = self.call_with(Call::Read { fd, len }.encode(), &[]);
        let mut data = vec![0; result.max(0) as usize];
        self.client.buffer(&token).read(0, &mut data).unwrap();
        self.client.release(token);
        (result, data)
    }
}

#[test]
fn a_file_is_written_and_read_back() {
    let mut bench = Bench::new();
    let fd = bench.open("/demo.dat", libc::O_CREAT | libc::O_RDWR) as i32;
    assert!(fd > 2);
    assert_eq!(bench.call(Call::Write { fd, len: 11 }, b"hello world"), 11);
    assert_eq!(bench.call(Call::Close { fd }, &[]), 0);
    assert_eq!(
        std::fs::read(bench.root.path().join("demo.dat")).unwrap(),
        b"hello world"
    );

    let fd = bench.open("demo.dat", libc::O_RDONLY) as i32;
    assert_eq!(bench.read(fd, 4096), (11, b"hello world".to_vec()));
    assert_eq!(bench.read(fd, 4096), (0, Vec::new()));
    assert_eq!(bench.call(Call::Close { fd }, &[]), 0);
}

#[test]
fn nothing_outside_the_root_can_be_opened() {
    let mut bench = Bench::new();
    std::os::unix::fs::symlink("/etc/passwd", bench.root.path().join("link")).unwrap();
    for path in ["/etc/passwd", "../../../../etc/passwd", "link"] {
        assert_eq!(bench.open(path, libc::O_RDONLY), ENOENT, "{path}");
    }
}

#[test]
fn paths_that_are_none_are_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.open("a\0b", libc::O_RDONLY), EINVAL);
    assert_eq!(bench.open("", libc::O_RDONLY), ENOENT);
    assert_eq!(
        bench.open(&"x".repeat(4096), libc::O_RDONLY),
        -i64::from(libc::ENAMETOOLONG)
    );
    let too_long = (forward_ring::opcode::OPEN, [4097, 0, 0, 0]);
    let (token, result) = bench.call_with(too_long, &[]);
    assert_eq!(result, EINVAL);
    bench.client.release(token);
}

#[test]
fn only_the_clients_own_descriptors_can_be_used() {
    let mut bench = Bench::new();
    let foreign = File::open("/dev/null").unwrap();
    for fd in [foreign.as_raw_fd(), -1, i32::MAX, i32::MIN, 1023, 1024] {
        assert_eq!(bench.read(fd, 1).0, EBADF, "{fd}");
        assert_eq!(bench.call(Call::Write { fd, len: 1 }, b"x"), EBADF, "{fd}");
        assert_eq!(bench.call(Call::Close { fd }, &[]), EBADF, "{fd}");
    }
    let fd = bench.open("/f", libc::O_CREAT | libc::O_WRONLY) as i32;
    assert_eq!(bench.call(Call::Close { fd }, &[]), 0);
    assert_eq!(bench.call(Call::Close { fd }, &[]), EBADF);
    // Standard output ends for the client only.
    assert_eq!(bench.call(Call::Close { fd: 1 }, &[]), 0);
    assert_eq!(bench.call(Call::Write { fd: 1, len: 1 }, b"x"), EBADF);
    println!("this process still has it");
}

#[test]
fn lengths_beyond_the_buffer_and_unknown_calls_are_refused() {
    let mut bench = Bench::new();
    for (opcode, args, expected) in [
        (0, [0, 4097, 0, 0], EINVAL),
        (1, [1, u64::MAX, 0, 0], EINVAL),
        (1, [1 << 40, 1, 0, 0], EINVAL),
        (4, [0; 4], -38),
        (u32::MAX, [0; 4], -38),
    ] {
        let (token, result) = bench.call_with((opcode, args), &[]);
        assert_eq!(result, expected);
        bench.client.release(token);
    }
}

#[test]
fn the_client_is_notified_once_it_has_said_where() {
    let mut bench = Bench::new();
    assert_eq!(bench.call(Call::Null, &[]), 0);
    assert!(bench.notes.borrow().notified.is_empty());
    let reply = bench.call(Call::UintrInit { slot: 3, vector: 5 }, &[]);
    assert_eq!(
        UintrReply::decode(reply),
        Some(UintrReply { slot: 9, vector: 0 })
    );
    assert!(
        bench.notes.borrow().notified.is_empty(),
        "the client polls for this answer"
    );
    assert_eq!(bench.call(Call::Null, &[]), 0);
    assert_eq!(bench.notes.borrow().notified, [0]);

    // The same target again needs no new entry, another one does.
    bench.call(Call::UintrInit { slot: 3, vector: 5 }, &[]);
    bench.call(Call::UintrInit { slot: 4, vector: 5 }, &[]);
    assert_eq!(bench.notes.borrow().senders, [(3, 5), (4, 5)]);
    bench.call(Call::Null, &[]);
    assert_eq!(bench.notes.borrow().notified.last(), Some(&1));
    for (slot, vector) in [(32, 0), (0, 64), (u32::MAX, u32::MAX)] {
        assert_eq!(bench.call(Call::UintrInit { slot, vector }, &[]), EINVAL);
    }
}

#[test]
fn counters_tell_exits_and_notifications() {
    let mut bench = Bench::new();
    bench.call(Call::UintrInit { slot: 0, vector: 0 }, &[]);
    let exits = bench.call(Call::Counters { index: 0 }, &[]);
    assert_eq!(bench.call(Call::Counters { index: 0 }, &[]), exits + 1);
    assert_eq!(bench.call(Call::Counters { index: 1 }, &[]), 4);
    assert_eq!(bench.call(Call::Counters { index: 2 }, &[]), 3);
    assert_eq!(bench.call(Call::Counters { index: 3 }, &[]), EINVAL);
    bench.call(Call::Exit { status: 7 }, &[]);
    assert_eq!(bench.service.counters().steady_exits(), Some(3));
    assert_eq!(bench.service.counters().exit_reads, 2);
}

#[test]
fn exit_is_answered_and_ends_the_service() {
    let mut bench = Bench::new();
    let first = bench.client.reserve().unwrap();
    let second = bench.client.reserve().unwrap();
    let (opcode, args) = Call::Exit { status: -3 }.encode();
    let _ = bench.client.submit(first, opcode, args);
    let (opcode, args) = Call::Null.encode();
    let _ = bench.client.submit(second, opcode, args);
    assert_eq!(bench.service.drain(counters::Server::MainThread), 1);
    assert_eq!(bench.service.outcome(), Some(Outcome::Exit(-3)));
    assert_eq!(bench.client.poll().unwrap().unwrap().1, 0);
    assert_eq!(bench.client.poll(), Ok(None));
}
