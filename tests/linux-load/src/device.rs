// SPDX-License-Identifier: MIT OR Apache-2.0
//! /dev/isthmus, as far as the load needs it. The structures and numbers are those of driver/isthmus_ioctl.h.
#![expect(unsafe_code, reason = "ioctls")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};

use crate::channel::VECTORS;

const DEVICE: &str = "/dev/isthmus";
/// Bytes that compiled code may use below its stack pointer.
const RED_ZONE: u64 = 128;

const WRITE: u64 = 1;
const READ: u64 = 2;

/// Returns the number of an ioctl as `_IOC` makes it.
const fn request(direction: u64, number: u64, len: usize) -> u64 {
    direction << 30 | (len as u64) << 16 | 0xe8 << 8 | number
}

/// `struct isthmus_handler`.
#[repr(C)]
#[derive(Default)]
struct Handler {
    handler: u64,
    stack_adjust: u64,
    slot: u32,
    reserved: u32,
}

/// `struct isthmus_sender`.
#[repr(C)]
#[derive(Default)]
struct Sender {
    slot: u32,
    vector: u32,
    index: u32,
    reserved: u32,
}

/// `struct isthmus_stats`.
#[repr(C)]
#[derive(Default)]
pub struct Stats {
    pub switches_in: u64,
    pub switches_out: u64,
    pub posts_at_switch: u64,
    pub pending_at_switch: u64,
    pub waits: u64,
    pub waits_immediate: u64,
    pub wakeups: u64,
    pub rechecks_hit: u64,
    pub waits_timed_out: u64,
    pub wakeup_interrupts: u64,
}

const ATTACH: u64 = request(WRITE, 2, size_of::<u32>());
const REGISTER_HANDLER: u64 = request(READ | WRITE, 3, size_of::<Handler>());
const REGISTER_SENDER: u64 = request(READ | WRITE, 4, size_of::<Sender>());
const UNREGISTER: u64 = request(0, 5, 0);
const WAIT: u64 = request(WRITE, 6, size_of::<u64>());
const STATS: u64 = request(READ, 8, size_of::<Stats>());
const POST: u64 = request(WRITE, 10, size_of::<u32>());
const UNREGISTER_SENDERS: u64 = request(0, 11, 0);

/// The open device.
pub struct Device(File);

impl Device {
    /// Opens it and attaches it to a channel.
    pub fn attach(channel: u32) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE)
            .context(DEVICE)?;
        let device = Self(file);
        device.ioctl(ATTACH, &mut { channel }).context("ATTACH")?;
        Ok(device)
    }

    /// Returns the file, for mmap.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Registers the handler, and the other side's slot 0 with each vector as the target of that number; returns the own
    /// slot.
    pub fn register(&self, handler: u64) -> Result<u32> {
        let mut argument = Handler {
            handler,
            stack_adjust: RED_ZONE,
            ..Handler::default()
        };
        self.ioctl(REGISTER_HANDLER, &mut argument)
            .context("REGISTER_HANDLER")?;
        for vector in 0..VECTORS as u32 {
            let index = self.register_sender(vector)?;
            ensure!(index == vector, "vector {vector} has index {index}");
        }
        Ok(argument.slot)
    }

    /// Registers the other side's slot 0 with a vector as a target; returns its index.
    pub fn register_sender(&self, vector: u32) -> Result<u32> {
        let mut sender = Sender {
            vector,
            ..Sender::default()
        };
        self.ioctl(REGISTER_SENDER, &mut sender)
            .context("REGISTER_SENDER")?;
        Ok(sender.index)
    }

    /// Takes all targets away.
    pub fn unregister_senders(&self) -> Result<()> {
        self.ioctl(UNREGISTER_SENDERS, &mut 0_u64)
            .context("UNREGISTER_SENDERS")
    }

    /// Posts a vector to the thread that has registered.
    pub fn post(&self, vector: u32) -> io::Result<()> {
        self.ioctl(POST, &mut { vector })
    }

    /// Ends the registration.
    pub fn unregister(&self) -> Result<()> {
        self.ioctl(UNREGISTER, &mut 0_u64).context("UNREGISTER")
    }

    /// Sleeps until something is posted, or for so long.
    pub fn wait(&self, timeout_us: u64) -> Result<()> {
        match self.ioctl(WAIT, &mut { timeout_us }) {
            Err(error) if error.raw_os_error() != Some(libc::ETIMEDOUT) => {
                Err(error).context("WAIT")
            }
            _ => Ok(()),
        }
    }

    /// Returns what switching did.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        self.ioctl(STATS, &mut stats).context("STATS")?;
        Ok(stats)
    }

    fn ioctl<T>(&self, number: u64, argument: &mut T) -> io::Result<()> {
        // SAFETY: the number has the argument's length in it, and the driver reads and writes no more than that.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), number as _, &raw mut *argument) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
