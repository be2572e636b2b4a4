// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPI virtualization: the processor posts what SENDUIPI sends. Bochs has none; the case is for processors.

use core::sync::atomic::Ordering;

use x86::vmx::vmcs::guest;

use super::{expect_upid, run_to_end};
use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome, Where};
use crate::machine::paging::Words;
use crate::machine::run::{Code, Level};
use crate::machine::smp;
use crate::machine::uintr::{self, NOTIFICATION, ON, USER_VECTOR, opcode};
use crate::vmm::Vmm;
use crate::vmm::control::{
    Controls, PRIMARY_TERTIARY, PRIMARY_TPR_SHADOW, TERTIARY_IPI_VIRTUALIZATION,
    has_ipi_virtualization,
};
use crate::vmm::exit::reason;
use crate::vmm::guest::Guest;
use crate::vmm::regions;

/// All forms of the table.
pub const V17: Case = Case::new(
    "V17",
    "IPI virtualization",
    "SDM 3C, IPI Virtualization",
    v17,
)
.cpus(2)
.place(Where::Bare);

const RECEIVER: usize = 1;
const TERTIARY_CONTROLS: u32 = 0x2034;
const PID_POINTER_TABLE: u32 = 0x2042;
const LAST_PID_POINTER_INDEX: u32 = 0x8;
/// Vector by which the receiver is told that something is posted.
const POSTING: u8 = 0x62;
/// First two words of the page are the table, its end the descriptor, in words of 8 bytes.
const DESCRIPTOR: usize = 504;
const VALID: u64 = 1 << 0;
const RESERVED: u64 = 1 << 1;
/// Words of a posted-interrupt descriptor: PIR, then ON, SN, NV and NDST.
const PIR_WORDS: usize = 4;

/// A SENDUIPI and whether the processor posts it.
struct Send {
    what: &'static str,
    vector: u8,
    destination: u32,
    /// Low bits of the table's entry 0.
    entry: u64,
    is_posted: bool,
}

const SENDS: [Send; 5] = [
    Send {
        what: "good entry",
        vector: NOTIFICATION,
        destination: 0,
        entry: VALID,
        is_posted: true,
    },
    Send {
        what: "destination behind the last index",
        vector: NOTIFICATION,
        destination: 1,
        entry: VALID,
        is_posted: false,
    },
    Send {
        what: "entry that is not valid",
        vector: NOTIFICATION,
        destination: 0,
        entry: 0,
        is_posted: false,
    },
    Send {
        what: "entry with a reserved bit",
        vector: NOTIFICATION,
        destination: 0,
        entry: VALID | RESERVED,
        is_posted: false,
    },
    Send {
        what: "vector below 16",
        vector: 15,
        destination: 0,
        entry: VALID,
        is_posted: false,
    },
];

fn v17(bench: &mut Bench) -> Outcome {
    if !has_ipi_virtualization() {
        return skipped!(
            "the processor has no IPI virtualization (tertiary control bit 4); nor has Bochs (B-14)"
        );
    }
    for send in &SENDS {
        check(bench, send)?;
    }
    as_manual!("posted with one interrupt and no exit; else exit 56, qualification 300H")
}

fn check(bench: &Bench, send: &Send) -> Result<(), Failure> {
    let upid = bench.set_up(RECEIVER)?;
    let control = u64::from(send.destination) << 32 | u64::from(send.vector) << 16;
    upid.control().store(control, Ordering::SeqCst);
    let vmm = Vmm::start()?;
    let page = &regions::POSTED;
    let descriptor = &page.0[DESCRIPTOR..];
    let ndst = ::uintr::ndst(
        smp::apic_id(RECEIVER),
        bench.mode == uintr_conformance::ApicMode::X2apic,
    );
    descriptor[PIR_WORDS].store(
        u64::from(ndst) << 32 | u64::from(POSTING) << 16,
        Ordering::SeqCst,
    );
    page.0[0].store(
        (page.address() + 8 * DESCRIPTOR as u64) | send.entry,
        Ordering::SeqCst,
    );
    let mut guest = sender(&vmm, page)?;
    let behind = guest.read(guest::RIP)? + opcode::SENDUIPI.len() as u64;
    if send.is_posted {
        run_to_end(&mut guest, send.what)?;
    } else {
        let exit = guest.run_until(reason::APIC_WRITE, send.what)?;
        ensure!(
            (exit.qualification, exit.rip) == (0x300, behind),
            "{}: expected qualification 0x300 and RIP {behind:#x}, saw {exit}",
            send.what
        );
    }
    expect_upid(send.what, upid, (control | ON, 1 << USER_VECTOR))?;
    let word = usize::from(send.vector) / 64;
    let is_posted = descriptor[word].load(Ordering::SeqCst) == 1 << (send.vector % 64);
    let is_outstanding = descriptor[PIR_WORDS].load(Ordering::SeqCst) & uintr::ON != 0;
    let is_requested = bench.is_requested(RECEIVER, POSTING)?;
    ensure!(
        [is_posted, is_outstanding, is_requested] == [send.is_posted; 3],
        "{}: PIR, ON, interrupt: expected {}, saw {:?}",
        send.what,
        send.is_posted,
        [is_posted, is_outstanding, is_requested]
    );
    bench.take_interrupts(RECEIVER)
}

/// Makes a guest that executes SENDUIPI 0 with a table of one entry in this page.
fn sender<'vmm>(vmm: &'vmm Vmm, table: &Words) -> Result<Guest<'vmm>, Failure> {
    let guest = Guest::new(vmm, Level::User, &Code::new(&opcode::SENDUIPI))?;
    guest.set(Controls::Primary, PRIMARY_TPR_SHADOW | PRIMARY_TERTIARY)?;
    guest.write(TERTIARY_CONTROLS, TERTIARY_IPI_VIRTUALIZATION)?;
    guest.write(PID_POINTER_TABLE, table.address())?;
    guest.write(LAST_PID_POINTER_INDEX, 0)?;
    Ok(guest)
}
