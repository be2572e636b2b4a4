//! Filtered doorbells: user interrupts to another cell through the hypervisor.
//!
//! A cell without a direct channel runs with the TPR shadow: the notification of its SENDUIPI becomes a VM exit, with
//! what it asks for in the virtual interrupt command register. Where a channel has the other end's UPID slots, such a
//! cell sees a page of its own, the *proxies*, one for each slot. It posts there; at the exit [`Doorbell::relay`] takes
//! the posts over into the receiver's real descriptor and says whom to notify. So a sender needs no access to the
//! receiver's descriptor, and can neither forge nor damage anything there.
//!
//! # Invariants
//! 1. Posts are taken from a proxy as a processor does: ON first, then PIR. A post that comes in between exits again.
//! 2. A notification goes to CPUs of the receiver's cell only; its descriptor, which it writes itself, says to which.
//! 3. What a proxy holds is an allegation: it is masked with the vectors of the configuration.
#![forbid(unsafe_code)]

use core::fmt;

use cell_config::ApicMode;
use hv_abi::channel::UPID_SLOTS;
use uintr::{Notification, Upid};

use crate::lapic::icr::{IcrWrite, Shorthand};
use crate::memory::UpidPage;

/// NV of all proxies: any legal vector, it is never sent.
const PROXY_VECTOR: u8 = 0xff;
/// NDST of proxies: this, the doorbell's number in bits 15:8, the slot in bits 7:0. No APIC ID in x2APIC mode; in xAPIC
/// mode, where only bits 15:8 count, a pattern that nobody writes by chance.
const PROXY_DESTINATION: u32 = 0xd00b_0000;
/// Least vector that an APIC accepts. (SDM 3A, "Valid Interrupt Vectors")
const LEAST_VECTOR: u8 = 16;

/// One cell's way to ring the other end of a channel.
#[derive(Clone, Copy)]
pub struct Doorbell {
    /// Index of the receiver's cell.
    pub receiver: usize,
    /// Its own number among the cell's.
    number: usize,
    /// User vectors that may be posted.
    vectors: u64,
    proxies: &'static UpidPage,
    targets: &'static UpidPage,
}

/// What a filtered SENDUIPI asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Posts in a proxy.
    Doorbell {
        /// Index of the [`Doorbell`] among the cell's.
        number: usize,
        /// UPID slot.
        slot: usize,
    },
    /// An interrupt, as from any other descriptor: for the cell's own CPUs.
    Interrupt(IcrWrite),
}

/// What became of the posts in a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// User vectors that the sender may not post; they are gone.
    pub refused: u64,
    /// What the receiver's descriptor asks to be sent.
    pub notification: Option<Notification>,
}

/// Why a notification is not sent. What was posted stays posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeliverable {
    /// Its destination is no CPU of the receiver's cell.
    Destination(u32),
    /// No APIC accepts its vector.
    Vector(u8),
}

impl fmt::Display for Undeliverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(id) => write!(f, "destination {id:#x} is no CPU of that cell"),
            Self::Vector(vector) => write!(f, "vector {vector:#x} is below 16"),
        }
    }
}

impl Request {
    /// Takes apart a notification of SENDUIPI: NV and NDST.
    pub fn decode(vector: u8, destination: u32, mode: ApicMode) -> Self {
        let [slot, number, ..] = destination.to_le_bytes();
        if vector == PROXY_VECTOR && destination & 0xffff_0000 == PROXY_DESTINATION {
            return Self::Doorbell {
                number: number.into(),
                slot: slot.into(),
            };
        }
        // (SDM 2, "SENDUIPI") Fixed, physical, edge, no shorthand, level bit 0.
        Self::Interrupt(IcrWrite {
            vector,
            delivery_mode: 0,
            logical: false,
            asserted: false,
            level_triggered: false,
            shorthand: Shorthand::None,
            destination: apic_id(destination, mode),
        })
    }
}

impl Doorbell {
    /// Makes doorbell `number` of a cell: posts in `proxies` go to `targets`, the slots of cell `receiver`.
    pub fn new(
        number: usize,
        receiver: usize,
        vectors: u64,
        proxies: &'static UpidPage,
        targets: &'static UpidPage,
    ) -> Self {
        let doorbell = Self {
            receiver,
            number,
            vectors,
            proxies,
            targets,
        };
        doorbell.clear();
        doorbell
    }

    /// Makes the proxies as they were at first, while the sender does not run: what it posted and did not come to notify is
    /// gone.
    pub fn clear(&self) {
        for (slot, proxy) in self.proxies.slots().enumerate() {
            proxy.reset();
            // Both are far below 256.
            proxy.init(
                PROXY_VECTOR,
                PROXY_DESTINATION | (self.number << 8 | slot) as u32,
            );
        }
    }

    /// Returns the page that the sender sees in place of the receiver's slots.
    pub fn proxies(&self) -> &'static UpidPage {
        self.proxies
    }

    /// Moves what is posted in a proxy to the receiver's descriptor. `None` if there is no such slot.
    pub fn relay(&self, slot: usize) -> Option<Relayed> {
        let proxy = self.proxies.slots().nth(slot)?;
        let target = self.targets.slots().nth(slot)?;
        Some(relay(proxy, target, self.vectors))
    }
}

fn relay(proxy: &Upid, target: &Upid, vectors: u64) -> Relayed {
    let posted = proxy.take_requests();
    let allowed = posted & vectors;
    Relayed {
        refused: posted & !vectors,
        notification: (allowed != 0).then(|| target.post(allowed)).flatten(),
    }
}

/// Finds the CPU that a receiver's descriptor names among the CPUs of its cell: an index of `cpus`, which are APIC IDs.
pub fn target_cpu(
    notification: Notification,
    cpus: &[u32],
    mode: ApicMode,
) -> Result<usize, Undeliverable> {
    if notification.vector < LEAST_VECTOR {
        return Err(Undeliverable::Vector(notification.vector));
    }
    let id = apic_id(notification.destination, mode);
    cpus.iter()
        .position(|&cpu| cpu == id)
        .ok_or(Undeliverable::Destination(id))
}

/// Returns the APIC ID in NDST. (SDM 3A, "User Posted-Interrupt Descriptor (UPID)")
fn apic_id(destination: u32, mode: ApicMode) -> u32 {
    match mode {
        ApicMode::X2apic => destination,
        ApicMode::Xapic => destination >> 8 & 0xff,
    }
}

const _: () = assert!(UPID_SLOTS <= 256);

#[cfg(test)]
mod tests;
