// SPDX-License-Identifier: MIT OR Apache-2.0
//! /dev/isthmus. The structures and numbers are those of driver/isthmus_ioctl.h.
#![expect(unsafe_code, reason = "ioctls, and mapping shared memory")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;

use anyhow::{Context, Result, bail, ensure};
use forward_ring::{Geometry, Mapping};
use hv_abi::channel::RING_OFFSET;

use crate::service::Machine;
use crate::syscall;

const NAME_LEN: usize = hv_abi::NAME_LEN;

/// `struct isthmus_cell_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CellInfo {
    abi_revision: u32,
    cell_id: u32,
    cpu_count: u32,
    channel_count: u32,
    name: [u8; NAME_LEN],
}

/// `struct isthmus_channel_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ChannelInfo {
    index: u32,
    role: u32,
    doorbell: u32,
    reserved: u32,
    size: u64,
    name: [u8; NAME_LEN],
    peer: [u8; NAME_LEN],
}

/// `struct isthmus_handler`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Handler {
    handler: u64,
    stack_adjust: u64,
    slot: u32,
    reserved: u32,
}

/// `struct isthmus_sender`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sender {
    slot: u32,
    vector: u32,
    index: u32,
    reserved: u32,
}

/// `struct isthmus_wait`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Wait {
    timeout_us: u64,
}

/// `struct isthmus_stats`: what switching the thread's state did.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
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

/// Direction bits of an ioctl number.
const WRITE: u64 = 1;
const READ: u64 = 2;

/// Returns the number of an ioctl as `_IOC` makes it.
const fn request(direction: u64, number: u64, len: usize) -> u64 {
    direction << 30 | (len as u64) << 16 | 0xe8 << 8 | number
}

const CELL: u64 = request(READ, 0, size_of::<CellInfo>());
const INFO: u64 = request(READ | WRITE, 1, size_of::<ChannelInfo>());
const ATTACH: u64 = request(WRITE, 2, size_of::<u32>());
const REGISTER_HANDLER: u64 = request(READ | WRITE, 3, size_of::<Handler>());
const REGISTER_SENDER: u64 = request(READ | WRITE, 4, size_of::<Sender>());
const UNREGISTER: u64 = request(0, 5, 0);
const WAIT: u64 = request(WRITE, 6, size_of::<Wait>());
const SET_READY: u64 = request(WRITE, 7, size_of::<u32>());
const STATS: u64 = request(READ, 8, size_of::<Stats>());
const EXITS: u64 = request(READ, 9, size_of::<u64>());
const POST: u64 = request(WRITE, 10, size_of::<u32>());
const UNREGISTER_SENDERS: u64 = request(0, 11, 0);
const PEER_STATE: u64 = request(READ, 12, size_of::<u32>());

const ROLE_SERVER: u32 = hv_abi::ChannelRole::Server as u32;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There are posts.
    Posted,
    /// A signal came, or the time is over.
    Otherwise,
}

/// The open device, with the channel that it is attached to.
#[derive(Debug)]
pub struct Device {
    file: OwnedFd,
    cpu_count: u32,
    channel_size: u64,
    description: String,
}

impl Device {
    /// Opens the device and attaches it to the channel with this name or index.
    pub fn attach(path: &Path, channel: &str) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let file = OwnedFd::from(file);
        let cell: CellInfo =
            exchange(file.as_fd(), CELL, CellInfo::default()).context("cannot ask for the cell")?;
        ensure!(
            cell.abi_revision == hv_abi::ABI_REVISION,
            "the driver has ABI revision {}, this program {}",
            cell.abi_revision,
            hv_abi::ABI_REVISION
        );
        let info = find_channel(file.as_fd(), channel, cell.channel_count)?;
        let (name, peer) = (text(&info.name), text(&info.peer));
        ensure!(
            info.role == ROLE_SERVER,
            "cell {} is not the server of channel {name}",
            text(&cell.name)
        );
        exchange(file.as_fd(), ATTACH, info.index)
            .with_context(|| format!("cannot attach to channel {name}"))?;
        let doorbell = if info.doorbell == 0 {
            "direct"
        } else {
            "filtered"
        };
        let description = format!(
            "cell {} serves {peer} on channel {name} ({} KiB, doorbell {doorbell})",
            text(&cell.name),
            info.size >> 10
        );
        Ok(Self {
            file,
            cpu_count: cell.cpu_count,
            channel_size: info.size,
            description,
        })
    }

    /// Returns a line about cell and channel.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the number of CPUs of this cell: reading the exit counters takes one VM exit of each.
    pub fn cpu_count(&self) -> u32 {
        self.cpu_count
    }

    /// Maps the channel's rings, for the rest of the process's life.
    pub fn map_rings(&self) -> Result<Vec<Mapping>> {
        let geometry = Geometry::for_channel(self.channel_size)?;
        // Whole pages: channels are multiples of them.
        let len = usize::try_from(self.channel_size)? - RING_OFFSET;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.file);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        ensure!(
            base != libc::MAP_FAILED,
            "cannot map the rings: {}",
            io::Error::last_os_error()
        );
        let base = NonNull::new(base.cast::<u8>()).context("the rings were mapped at address 0")?;
        let rings = (0..geometry.ring_count()).filter_map(|number| geometry.ring_offset(number));
        Ok(rings
            .map(|offset| {
                // SAFETY: the geometry's rings lie side by side in the channel, which is mapped from RING_OFFSET to its
                // end, page-aligned, for good; each has one mapping here.
                unsafe { Mapping::new(base.add(offset - RING_OFFSET), geometry) }
            })
            .collect())
    }

    /// Registers the calling thread's user-interrupt handler; returns the UPID slot.
    ///
    /// # Safety
    /// `handler` is the address of a user-interrupt handler that may run after any STUI.
    pub unsafe fn register_handler(&self, handler: u64, stack_adjust: u64) -> Result<u32> {
        let argument = Handler {
            handler,
            stack_adjust,
            ..Handler::default()
        };
        let registered = exchange(self.file.as_fd(), REGISTER_HANDLER, argument);
        Ok(registered
            .context("cannot register the user-interrupt handler")?
            .slot)
    }

    /// Tells the client whether this side serves the channel.
    pub fn set_ready(&self, ready: bool) -> Result<()> {
        exchange(self.file.as_fd(), SET_READY, u32::from(ready))
            .context("cannot declare readiness")?;
        Ok(())
    }

    /// Sleeps until something is posted, a signal comes or the time is over. To be called with UIF clear.
    pub fn wait(&self, timeout_us: u64) -> Result<Woken> {
        match raw_exchange(self.file.as_fd(), WAIT, &mut Wait { timeout_us }) {
            0 => Ok(Woken::Posted),
            result if [libc::EINTR, libc::ETIMEDOUT].contains(&(-result as i32)) => {
                Ok(Woken::Otherwise)
            }
            result => bail!(
                "cannot wait: {}",
                io::Error::from_raw_os_error(-result as i32)
            ),
        }
    }

    /// Posts a user vector to the thread that has registered the handler; for any thread. If there is none any more,
    /// nobody is interested.
    pub fn post(&self, vector: u8) {
        raw_exchange(self.file.as_fd(), POST, &mut u32::from(vector));
    }

    /// Takes the handler and the senders of the calling thread away.
    pub fn unregister(&self) -> Result<()> {
        // SAFETY: takes no argument.
        let result = unsafe { syscall::ioctl(self.file.as_fd(), UNREGISTER, 0) };
        ensure!(
            result == 0,
            "cannot unregister: {}",
            io::Error::from_raw_os_error(-result as i32)
        );
        Ok(())
    }

    /// Returns the driver's counters.
    pub fn stats(&self) -> Result<Stats> {
        exchange(self.file.as_fd(), STATS, Stats::default())
            .context("cannot read the driver's counters")
    }
}

/// The device is what the service needs of the machine. Fit for the user-interrupt handler.
impl Machine for &'static Device {
    fn register_sender(&mut self, slot: u32, vector: u32) -> Result<u64, i64> {
        let mut argument = Sender {
            slot,
            vector,
            ..Sender::default()
        };
        match raw_exchange(self.file.as_fd(), REGISTER_SENDER, &mut argument) {
            0 => Ok(argument.index.into()),
            errno => Err(errno),
        }
    }

    fn notify(&mut self, index: u64) {
        // SAFETY: the driver gave `index` for a UPID slot of the channel and keeps CR4.UINTR set.
        unsafe { uintr::instructions::senduipi(index) };
    }

    fn unregister_senders(&mut self) {
        // SAFETY: takes no argument. If it fails, there are none.
        unsafe { syscall::ioctl(self.file.as_fd(), UNREGISTER_SENDERS, 0) };
    }

    fn is_client_ready(&mut self) -> bool {
        let mut state = 0u32;
        raw_exchange(self.file.as_fd(), PEER_STATE, &mut state) == 0
            && state == hv_abi::channel::STATE_READY
    }

    fn vm_exits(&mut self) -> Result<u64, i64> {
        let mut exits = 0;
        match raw_exchange(self.file.as_fd(), EXITS, &mut exits) {
            0 => Ok(exits),
            errno => Err(errno),
        }
    }
}

fn find_channel(file: BorrowedFd<'_>, wanted: &str, count: u32) -> Result<ChannelInfo> {
    let mut names = Vec::new();
    for index in 0..count {
        let info = exchange(
            file,
            INFO,
            ChannelInfo {
                index,
                ..ChannelInfo::default()
            },
        )
        .with_context(|| format!("cannot ask for channel {index}"))?;
        if text(&info.name) == wanted || index.to_string() == wanted {
            return Ok(info);
        }
        names.push(text(&info.name).to_owned());
    }
    bail!(
        "this cell has no channel {wanted}; it has: {}",
        names.join(", ")
    )
}

fn text(field: &[u8]) -> &str {
    hv_abi::text(field).unwrap_or("?")
}

/// Hands `argument` to the device and returns what became of it.
fn exchange<T: Copy>(file: BorrowedFd<'_>, request: u64, mut argument: T) -> io::Result<T> {
    match raw_exchange(file, request, &mut argument) {
        0 => Ok(argument),
        result => Err(io::Error::from_raw_os_error(-result as i32)),
    }
}

fn raw_exchange<T: Copy>(file: BorrowedFd<'_>, request: u64, argument: &mut T) -> i64 {
    assert!(
        size_of::<T>() == (request >> 16 & 0x3fff) as usize,
        "argument of another ioctl"
    );
    let argument: *mut T = argument;
    // SAFETY: the number says how long the argument is, which was just compared; all types used here are plain
    // integers, so whatever the driver writes is valid.
    unsafe { syscall::ioctl(file, request, argument.expose_provenance()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_those_of_the_header() {
        assert_eq!(CELL, 0x8030_e800);
        assert_eq!(INFO, 0xc058_e801);
        assert_eq!(ATTACH, 0x4004_e802);
        assert_eq!(REGISTER_HANDLER, 0xc018_e803);
        assert_eq!(REGISTER_SENDER, 0xc010_e804);
        assert_eq!(UNREGISTER, 0x0000_e805);
        assert_eq!(WAIT, 0x4008_e806);
        assert_eq!(SET_READY, 0x4004_e807);
        assert_eq!(STATS, 0x8050_e808);
        assert_eq!(EXITS, 0x8008_e809);
        assert_eq!(POST, 0x4004_e80a);
        assert_eq!(UNREGISTER_SENDERS, 0x0000_e80b);
        assert_eq!(PEER_STATE, 0x8004_e80c);
    }
}
