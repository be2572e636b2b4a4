// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client and a service with rings between them, and a directory to serve.
#![expect(unsafe_code, reason = "stands in for memory shared with another cell")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use forward_ring::syscall::{self, Prepared};
use forward_ring::{Call, Client, Geometry, Mapping, Message, Token};
use tempfile::TempDir;

pub use super::memory::Memory;
use crate::service::{DONE_VECTOR, Machine, Parts, Service};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the machine was asked for.
#[derive(Debug, Default)]
pub struct Notes {
    pub senders: Vec<(u32, u32)>,
    pub notified: Vec<u64>,
    pub exits: u64,
    pub is_client_ready: bool,
}

#[derive(Clone, Debug, Default)]
pub struct FakeMachine(Rc<RefCell<Notes>>);

impl Machine for FakeMachine {
    fn register_sender(&mut self, slot: u32, vector: u32) -> Result<u64, i64> {
        let senders = &mut self.0.borrow_mut().senders;
        if let Some(index) = senders.iter().position(|sender| *sender == (slot, vector)) {
            return Ok(index as u64);
        }
        if senders.len() == 256 {
            return Err(error(libc::ENOSPC));
        }
        senders.push((slot, vector));
        Ok(senders.len() as u64 - 1)
    }

    fn unregister_senders(&mut self) {
        self.0.borrow_mut().senders.clear();
    }

    fn notify(&mut self, index: u64) {
        self.0.borrow_mut().notified.push(index);
    }

    fn vm_exits(&mut self) -> Result<u64, i64> {
        self.0.borrow_mut().exits += 1;
        Ok(self.0.borrow().exits)
    }

    fn is_client_ready(&mut self) -> bool {
        self.0.borrow().is_client_ready
    }
}

/// Wake-ups by workers.
#[derive(Debug, Default)]
struct Wakes {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Wakes {
    fn wake(&self) {
        *self.count.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    /// Takes the wake-ups so far; waits a little for the first.
    fn take(&self) -> u64 {
        let count = self.count.lock().unwrap();
        let (mut count, _) = self
            .changed
            .wait_timeout_while(count, Duration::from_millis(2), |count| *count == 0)
            .unwrap();
        std::mem::take(&mut count)
    }
}

#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

/// A call under way: its ring and its number there.
pub type Number = (usize, u32);

pub struct Bench {
    pub clients: Vec<Client>,
    pub service: Service<FakeMachine>,
    pub notes: Rc<RefCell<Notes>>,
    pub root: TempDir,
    wakes: Arc<Wakes>,
    completed: HashMap<Number, (Token, i64)>,
    mappings: Box<dyn Fn() -> Vec<Mapping>>,
    // Last: the rings' memory outlives both sides.
    memory: Box<[Page]>,
}

/// How to make a bench.
pub struct Options {
    pub channel_size: u64,
    pub stays: bool,
    pub root: TempDir,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            channel_size: 4 << 20,
            stays: true,
            root: TempDir::new().unwrap(),
        }
    }
}

impl Bench {
    /// With a session.
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    /// On a file system in memory, where files are served at once.
    pub fn in_memory() -> Self {
        Self::with(Options {
            root: TempDir::new_in("/dev/shm").unwrap(),
            ..Options::default()
        })
    }

    pub fn with(options: Options) -> Self {
        let mut bench = Self::without_session(options);
        bench.greet();
        bench
    }

    pub fn without_session(options: Options) -> Self {
        let geometry = Geometry::for_channel(options.channel_size).unwrap();
        let page_count = options.channel_size as usize / 4096;
        let memory: Box<[Page]> = (0..page_count)
            .map(|_| Page(std::array::from_fn(|_| AtomicU64::new(0))))
            .collect();
        let base = NonNull::new(memory.as_ptr().cast_mut().cast::<u8>()).unwrap();
        let mappings = move || -> Vec<Mapping> {
            (0..geometry.ring_count())
                .map(|ring| {
                    let offset = geometry.ring_offset(ring).unwrap();
                    // SAFETY: aligned, inside, made of atomics, and kept by the bench for longer than both sides.
                    unsafe { Mapping::new(base.add(offset), geometry) }
                })
                .collect()
        };
        let wakes = Arc::new(Wakes::default());
        let machine = FakeMachine::default();
        let notes = machine.0.clone();
        Self {
            clients: mappings().into_iter().map(Client::new).collect(),
            service: service(mappings(), machine, &options.root, options.stays, &wakes),
            notes,
            root: options.root,
            wakes,
            completed: HashMap::new(),
            mappings: Box::new(mappings),
            memory,
        }
    }

    /// The server is killed and starts anew: as far as it can be done in one process.
    pub fn restart_service(&mut self) {
        let machine = FakeMachine(self.notes.clone());
        self.service = service((self.mappings)(), machine, &self.root, true, &self.wakes);
    }

    /// The client starts anew.
    pub fn restart_client(&mut self) {
        self.completed.clear();
        self.clients = (self.mappings)().into_iter().map(Client::new).collect();
    }

    /// Makes a ring's request index one that cannot be.
    pub fn spoil_index(&mut self, ring: usize) {
        let geometry = self.clients[ring].geometry();
        let word = &self.memory[geometry.ring_offset(ring).unwrap() / 4096].0[0];
        word.fetch_add(0x1000_0000, Ordering::SeqCst);
    }

    /// Returns the number of calls of a ring that have not been completed.
    pub fn in_flight(&self, ring: usize) -> usize {
        self.clients[ring].in_flight()
    }

    /// Begins a session.
    pub fn greet(&mut self) {
        self.completed.clear();
        let since = Instant::now();
        assert!(self.clients[0].greet());
        while !self.clients[0].is_accepted() {
            self.turn();
            if self.clients[0].is_server_new() {
                assert!(self.clients[0].greet());
            }
            assert!(since.elapsed() < PATIENCE, "nobody accepts the client");
        }
    }

    /// Puts a request into a ring and lets the service see it.
    pub fn submit(&mut self, ring: usize, message: &Message) -> Number {
        self.submit_with(ring, message, &[])
    }

    /// Puts a request with `data` in its buffer into a ring and lets the service see it.
    pub fn submit_with(&mut self, ring: usize, message: &Message, data: &[u8]) -> Number {
        let token = self.clients[ring].reserve().unwrap();
        self.clients[ring].buffer(&token).write(0, data).unwrap();
        self.submit_token(ring, token, message)
    }

    fn submit_token(&mut self, ring: usize, token: Token, message: &Message) -> Number {
        let number = self.clients[ring].submit(token, message).number;
        self.service.on_notification(ring as u64);
        self.poll();
        (ring, number)
    }

    fn poll(&mut self) {
        // Until then the ring holds what is left of the last session.
        if !self.clients[0].is_accepted() {
            return;
        }
        for (ring, client) in self.clients.iter_mut().enumerate() {
            while let Ok(Some((token, result))) = client.poll() {
                self.completed
                    .insert((ring, token.number()), (token, result));
            }
        }
    }

    /// Lets workers, service and client go on for a while.
    pub fn turn(&mut self) {
        if self.wakes.take() != 0 {
            self.service.on_notification(DONE_VECTOR.into());
        }
        self.service.attend();
        self.poll();
    }

    /// Lets them go on until `is_over`.
    pub fn turn_until(&mut self, what: &str, mut is_over: impl FnMut(&mut Self) -> bool) {
        let since = Instant::now();
        while !is_over(self) {
            self.turn();
            assert!(since.elapsed() < PATIENCE, "waited too long: {what}");
        }
    }

    /// Tells whether a call has been completed.
    pub fn is_completed(&self, number: Number) -> bool {
        self.completed.contains_key(&number)
    }

    /// Waits for a call; returns its token and result.
    pub fn await_token(&mut self, number: Number) -> (Token, i64) {
        self.turn_until("a completion", |bench| bench.is_completed(number));
        self.completed.remove(&number).unwrap()
    }

    /// Waits for a call; returns its result.
    pub fn wait(&mut self, number: Number) -> i64 {
        let (token, result) = self.await_token(number);
        self.clients[number.0].release(token);
        result
    }

    /// Gives the tokens back of all calls that have been completed.
    pub fn release_completed(&mut self) {
        for ((ring, _), (token, _)) in self.completed.drain() {
            self.clients[ring].release(token);
        }
    }

    /// Makes a call of the client's own for a process.
    pub fn own(&mut self, process: u32, call: Call) -> i64 {
        let number = self.begin_own(process, call);
        self.wait(number)
    }

    pub fn begin_own(&mut self, process: u32, call: Call) -> Number {
        let message = Message {
            process,
            ..call.encode()
        };
        self.submit(0, &message)
    }

    /// Returns a counter of the server.
    pub fn counter(&mut self, index: u64) -> i64 {
        self.own(0, Call::Counters { index })
    }

    /// Begins one of Linux's calls, with addresses in `memory`.
    pub fn begin(
        &mut self,
        ring: usize,
        process: u32,
        number: u32,
        args: &[u64],
        memory: &Memory,
    ) -> Result<(Number, Prepared), i64> {
        let signature = syscall::signature(number).unwrap();
        let mut given = [0; 6];
        given[..args.len()].copy_from_slice(args);
        let token = self.clients[ring].reserve().unwrap();
        let prepared = {
            let buffer = self.clients[ring].buffer(&token);
            syscall::prepare(signature, given, memory, &buffer)
        };
        match prepared {
            Ok(prepared) => {
                let message = Message {
                    opcode: number,
                    process,
                    args: prepared.args(),
                    ..Message::default()
                };
                Ok((self.submit_token(ring, token, &message), prepared))
            }
            Err(errno) => {
                self.clients[ring].release(token);
                Err(errno)
            }
        }
    }

    /// Waits for what [`Self::begin`] began.
    pub fn end(&mut self, (number, prepared): (Number, Prepared), memory: &mut Memory) -> i64 {
        let (token, result) = self.await_token(number);
        let client = &mut self.clients[number.0];
        let result = syscall::finish(&prepared, result, memory, &client.buffer(&token));
        client.release(token);
        result
    }

    /// Makes one of Linux's calls.
    pub fn call_with(
        &mut self,
        process: u32,
        number: u32,
        args: &[u64],
        memory: &mut Memory,
    ) -> i64 {
        match self.begin(0, process, number, args, memory) {
            Ok(call) => self.end(call, memory),
            Err(errno) => errno,
        }
    }

    /// Makes one of Linux's calls that needs no memory.
    pub fn call(&mut self, process: u32, number: i64, args: &[u64]) -> i64 {
        self.call_with(process, number as u32, args, &mut Memory::default())
    }

    /// Makes a call whose first argument is a path.
    pub fn path_call(&mut self, process: u32, number: i64, path: &str, args: &[u64]) -> i64 {
        let mut memory = Memory::default();
        let path = memory.put_string(path);
        let args: Vec<u64> = [path].iter().chain(args).copied().collect();
        self.call_with(process, number as u32, &args, &mut memory)
    }

    pub fn open(&mut self, process: u32, path: &str, flags: i32) -> i64 {
        self.path_call(process, libc::SYS_open, path, &[flags as u64, 0o600])
    }

    pub fn close(&mut self, process: u32, fd: i64) -> i64 {
        self.call(process, libc::SYS_close, &[fd as u64])
    }

    pub fn write(&mut self, process: u32, fd: i64, data: &[u8]) -> i64 {
        let mut memory = Memory::default();
        let address = memory.put(data);
        let args = [fd as u64, address, data.len() as u64];
        self.call_with(process, libc::SYS_write as u32, &args, &mut memory)
    }

    /// Reads at most `len` bytes.
    pub fn read(&mut self, process: u32, fd: i64, len: usize) -> Result<Vec<u8>, i64> {
        let mut memory = Memory::default();
        let address = memory.put(&vec![0; len]);
        let args = [fd as u64, address, len as u64];
        let result = self.call_with(process, libc::SYS_read as u32, &args, &mut memory);
        match usize::try_from(result) {
            Ok(len) => Ok(memory.bytes(address, len).to_vec()),
            Err(_) => Err(result),
        }
    }

    /// Makes a pipe; returns its ends.
    pub fn pipe(&mut self, process: u32, flags: i32) -> [i64; 2] {
        let mut memory = Memory::default();
        let address = memory.put(&[0; 8]);
        let args = [address, flags as u64];
        let result = self.call_with(process, libc::SYS_pipe2 as u32, &args, &mut memory);
        assert_eq!(result, 0);
        [0, 4].map(|offset| i64::from(memory.int(address + offset)))
    }

    /// Begins a read of at most one byte; returns the call.
    pub fn begin_read(&mut self, ring: usize, process: u32, fd: i64) -> Number {
        let mut memory = Memory::default();
        let address = memory.put(&[0]);
        self.begin(ring, process, 0, &[fd as u64, address, 1], &memory)
            .unwrap()
            .0
    }
}

fn service(
    rings: Vec<Mapping>,
    machine: FakeMachine,
    root: &TempDir,
    stays: bool,
    wakes: &Arc<Wakes>,
) -> Service<FakeMachine> {
    let wakes = Arc::clone(wakes);
    let parts = Parts {
        rings,
        machine,
        root: OwnedFd::from(File::open(root.path()).unwrap()),
        own_slot: 9,
        stays,
    };
    Service::new(parts, move || wakes.wake()).unwrap()
}

/// Negative errno, as results carry it.
pub fn error(errno: i32) -> i64 {
    -i64::from(errno)
}
