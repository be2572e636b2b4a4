// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications: when an interrupt is one, and what the processor then does with the descriptor.

use core::sync::atomic::Ordering;

use uintr::{CR4_UINTR, msr};

use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome};
use crate::machine::event::{self, Event, Kind};
use crate::machine::paging::Page;
use crate::machine::run::{Code, Level, Run};
use crate::machine::trap::{GENERAL_PROTECTION, PAGE_FAULT, Trap};
use crate::machine::uintr::{
    NOTIFICATION, ON, RawUpid, SN, USER_VECTOR, opcode, read_msr, uif, write_msr,
};
use crate::machine::{apic, cpu, smp};

const IDENTIFICATION: &str = "SDM 3A, User-Interrupt Notification Identification";
const PROCESSING: &str = "SDM 3A, User-Interrupt Notification Processing";
const RECEIVER: usize = 1;
/// A higher vector than the default one.
const HIGHER: u8 = 9;

/// The whole way from one CPU to another.
pub const T37: Case = Case::new(
    "T37",
    "one post is one run of the handler",
    "SDM 3A, User-Interrupt Delivery",
    t37,
)
.cpus(2);

fn t37(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(RECEIVER)?;
    smp::begin(RECEIVER, pause_in_user_mode, 20 * u64::from(ARRIVAL));
    let sent = bench.send_well(0);
    let ended = smp::finish(RECEIVER).map_err(|failed| Failure(failed.text(RECEIVER)));
    sent?;
    ended?;
    let event = the_only_event()?;
    let start = Page::code(RECEIVER).linear();
    ensure!(
        (event.kind, event.cpu, event.vector)
            == (Kind::UserInterrupt, RECEIVER, u64::from(USER_VECTOR)),
        "expected one run of the receiver's handler, saw {event:x?}"
    );
    ensure!(
        (start..start + 32).contains(&event.rip)
            && event.rflags & cpu::RFLAGS_IF != 0
            && event.rsp == Page::stack(RECEIVER).end(),
        "frame: expected RIP in the loop, IF set, RSP of the loop, saw {event:x?}"
    );
    ensure!(!event.uif, "UIF in the handler: expected 0");
    let (control, pir) = upid.get();
    let pending = bench.on(RECEIVER, pending, 0)?;
    ensure!(
        control & ON == 0 && pir == 0 && pending == 0,
        "afterwards: expected ON, PIR and UIRR 0, saw {control:#x} {pir:#x} {pending:#x}"
    );
    let in_service = bench.on(RECEIVER, in_service, 0)?;
    ensure!(
        in_service == 0,
        "ISR: expected empty, saw an interrupt in service"
    );
    as_manual!("delivered once; frame right; UIF clear in the handler; ON, PIR, UIRR and ISR empty")
}

fn pause_in_user_mode(times: u64) -> u64 {
    let trap = Run::new(Level::User, &Code::default().then_pause(times as u32)).go();
    u64::from(trap.is_end())
}

fn pending(_: u64) -> u64 {
    read_msr(msr::IA32_UINTR_RR)
}

fn in_service(_: u64) -> u64 {
    u64::from((16..=u8::MAX).any(apic::is_in_service))
}

/// Processing does not wait for CPL 3, delivery does.
pub const T38: Case = Case::new(
    "T38",
    "notified at CPL 0, delivered at CPL 3",
    PROCESSING,
    t38,
);

fn t38(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let code = Code::default()
        .then_load_rax(0)
        .then(&opcode::SENDUIPI)
        .then_pause(ARRIVAL);
    ended(
        &Run::new(Level::Kernel, &code)
            .with_flags(cpu::RFLAGS_IF)
            .go(),
    )?;
    processed(upid, 1 << USER_VECTOR)?;
    no_events("at CPL 0")?;
    let rip = first_instruction_delivers(bench, USER_VECTOR)?;
    as_manual!(
        "UIRR set at CPL 0 without a handler; delivered at {rip:#x}, before the first instruction"
    )
}

/// A notification is a maskable interrupt.
pub const T39: Case = Case::new("T39", "a notification waits for IF", IDENTIFICATION, t39);

fn t39(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let control = upid.get().0;
    let code = Code::default()
        .then_load_rax(0)
        .then(&opcode::SENDUIPI)
        .then_pause(ARRIVAL);
    ended(&Run::new(Level::Kernel, &code).go())?;
    ensure!(
        apic::is_requested(NOTIFICATION) && upid.get() == (control | ON, 1 << USER_VECTOR),
        "IF=0: expected the notification in the IRR and the post in the descriptor, saw {:x?}",
        upid.get()
    );
    // STI, then the instruction in its shadow, then others.
    ended(&Run::new(Level::Kernel, &Code::new(&[0xfb, 0x90, 0x90, 0x90])).go())?;
    processed(upid, 1 << USER_VECTOR)?;
    no_events("after STI")?;
    as_manual!("kept in the IRR with IF=0, descriptor untouched; processed after STI")
}

/// Identification asks for IA-32e mode, not for 64-bit mode.
pub const T40: Case =
    Case::new("T40", "notified in compatibility mode", IDENTIFICATION, t40).deviates("B-4");

fn t40(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    post_and_notify(upid, 1 << USER_VECTOR)?;
    ended(&Run::new(Level::Compatibility, &Code::default().then_pause(ARRIVAL)).go())?;
    let seen = (upid.get().1, read_msr(msr::IA32_UINTR_RR), event::count());
    if seen == (1 << USER_VECTOR, 0, 1) && event::count_of(Kind::Interrupt, 0, NOTIFICATION) == 1 {
        return deviant!("the notification went through the IDT; the post is still in PIR");
    }
    processed(upid, 1 << USER_VECTOR)?;
    no_events("in compatibility mode")?;
    first_instruction_delivers(bench, USER_VECTOR)?;
    as_manual!("processed in compatibility mode, delivered in 64-bit mode")
}

/// CR4.UINTR enables identification.
pub const T41: Case = Case::new(
    "T41",
    "without CR4.UINTR a notification is an ordinary interrupt",
    IDENTIFICATION,
    t41,
);

fn t41(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    post_and_notify(upid, 1 << USER_VECTOR)?;
    let before = upid.get();
    cpu::set_cr4(CR4_UINTR, false);
    let trap = bench.user(&Code::default().then_pause(ARRIVAL));
    cpu::set_cr4(CR4_UINTR, true);
    ended(&trap)?;
    ensure!(
        event::count() == 1 && event::count_of(Kind::Interrupt, 0, NOTIFICATION) == 1,
        "expected one interrupt through the IDT, saw {} events",
        event::count()
    );
    ensure!(
        upid.get() == before,
        "expected the descriptor untouched, saw {:x?}",
        upid.get()
    );
    as_manual!("taken through the IDT, descriptor untouched")
}

/// UIF gates delivery alone.
pub const T42: Case = Case::new(
    "T42",
    "UIF holds delivery back, STUI lets it happen at once",
    "SDM 3A, User-Interrupt Delivery",
    t42,
);

fn t42(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let before = Code::new(&opcode::CLUI)
        .then_load_rax(0)
        .then(&opcode::SENDUIPI)
        .then_pause(ARRIVAL)
        .then(&opcode::STUI);
    let clui = Page::code(0).linear() + before.len();
    ended(&bench.user(&before.then(&opcode::CLUI)))?;
    let event = the_only_event()?;
    ensure!(
        event.kind == Kind::UserInterrupt && event.rip == clui,
        "expected one delivery between STUI and CLUI ({clui:#x}), saw {event:x?}"
    );
    processed(upid, 0)?;
    ensure!(!uif(), "UIF after CLUI: expected 0, saw 1");
    as_manual!("held back with UIF=0, delivered right after STUI")
}

/// A notification without a post.
pub const T43: Case = Case::new("T43", "notified with nothing posted", PROCESSING, t43);

fn t43(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    for requested in [0, 1 << HIGHER] {
        post_and_notify(upid, 0)?;
        write_msr(msr::IA32_UINTR_RR, requested);
        ended(&bench.user(&Code::default().then_pause(ARRIVAL)))?;
        processed(upid, 0)?;
        let seen = event::count_of(Kind::UserInterrupt, 0, HIGHER);
        let wanted = usize::from(requested != 0);
        ensure!(
            event::count() == wanted && seen == wanted,
            "UIRR {requested:#x}: expected {wanted} events, saw {}",
            event::count()
        );
    }
    as_manual!("ON cleared; no handler with UIRR=0, that of UIRR's vector else")
}

/// The receiver looks at PIR and ON alone.
pub const T44: Case = Case::new(
    "T44",
    "processing ignores SN, NV, NDST and reserved bits",
    PROCESSING,
    t44,
);

fn t44(bench: &mut Bench) -> Outcome {
    const JUNK: u64 = 0xa5a5_a5a5_ff50_fffc;
    let upid = bench.set_up(0)?;
    post_and_notify(upid, 1 << USER_VECTOR)?;
    upid.control().store(JUNK | SN | ON, Ordering::SeqCst);
    ended(&bench.user(&Code::default().then_pause(ARRIVAL)))?;
    let seen = upid.get();
    ensure!(
        seen == (JUNK | SN, 0),
        "expected {:#x} and PIR 0, saw {seen:x?}",
        JUNK | SN
    );
    let event = the_only_event()?;
    ensure!(
        event.kind == Kind::UserInterrupt,
        "expected a delivery, saw {event:x?}"
    );
    as_manual!("processed without a fault; only ON and PIR changed")
}

/// A fault loses the notification, never the post.
pub const T45: Case = Case::new(
    "T45",
    "descriptor of the receiver not present",
    PROCESSING,
    t45,
);

fn t45(bench: &mut Bench) -> Outcome {
    const PRESENT_OR_USER: u64 = 0b101;
    let upid = bench.set_up(0)?;
    post_and_notify(upid, 1 << USER_VECTOR)?;
    Page::UPIDS.map(0);
    let code = Code::new(&[0x90; 8]);
    let start = Page::code(0).linear();
    let trap = bench.user(&code);
    ensure!(
        trap.vector() == PAGE_FAULT
            && trap.frame.error_code & PRESENT_OR_USER == 0
            && (upid.linear()..upid.linear() + 16).contains(&trap.cr2),
        "expected #PF with P and U/S clear in the descriptor, saw {trap}"
    );
    ensure!(
        (start..start + code.len()).contains(&trap.frame.rip),
        "expected the RIP of the interrupted code, saw {trap}"
    );
    Page::map_all();
    ended(&bench.user(&Code::default().then_pause(ARRIVAL)))?;
    no_events("after the page is back")?;
    ensure!(
        upid.get().1 == 1 << USER_VECTOR && read_msr(msr::IA32_UINTR_RR) == 0,
        "expected the post in PIR, saw {:x?}",
        upid.get()
    );
    as_manual!(
        "#PF({:#x}), then nothing comes by itself; the post stays in PIR",
        trap.frame.error_code
    )
}

/// A fault in processing belongs to the interrupt.
pub const T46: Case = Case::new(
    "T46",
    "descriptor of the receiver not canonical",
    PROCESSING,
    t46,
);

fn t46(bench: &mut Bench) -> Outcome {
    const EXT: u64 = 1;
    let upid = bench.set_up(0)?;
    if cpu::linear_address_bits() <= 48 {
        return recorded!("the processor has 48 linear-address bits: WRMSR refuses such addresses");
    }
    post_and_notify(upid, 1 << USER_VECTOR)?;
    write_msr(msr::IA32_UINTR_PD, 1 << 48);
    let trap = bench.user(&Code::new(&[0x90; 8]));
    bench.expect("descriptor at 2^48", &trap, GENERAL_PROTECTION, EXT)?;
    as_manual!("#GP with EXT in its error code")
}

/// Several vectors need one notification.
pub const T47: Case = Case::new(
    "T47",
    "three vectors, highest first",
    "SDM 3A, User-Interrupt Delivery",
    t47,
);

fn t47(bench: &mut Bench) -> Outcome {
    const VECTORS: [u64; 3] = [63, 40, 3];
    let upid = bench.set_up(0)?;
    post_and_notify(
        upid,
        VECTORS.iter().fold(0, |all, vector| all | 1 << vector),
    )?;
    ended(&bench.user(&Code::new(&[0x90; 16])))?;
    ensure!(
        event::count() == VECTORS.len(),
        "expected three deliveries, saw {}",
        event::count()
    );
    let mut rips = [0; 3];
    for ((wanted, event), rip) in VECTORS.iter().zip(event::all()).zip(&mut rips) {
        ensure!(
            (event.kind, event.vector) == (Kind::UserInterrupt, *wanted),
            "expected vector {wanted}, saw {event:x?}"
        );
        *rip = event.rip;
    }
    ensure!(
        rips[0] == rips[1] && rips[1] == rips[2],
        "expected all between the same instructions, saw {rips:x?}"
    );
    processed(upid, 0)?;
    as_manual!("63, 40, 3, before the interrupted instruction ran")
}

/// Requests are bits.
pub const T48: Case = Case::new("T48", "one vector posted twice", PROCESSING, t48);

fn t48(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let code = Code::default()
        .then_load_rax(0)
        .then(&opcode::SENDUIPI)
        .then(&opcode::SENDUIPI)
        .then_pause(ARRIVAL);
    ended(&Run::new(Level::Kernel, &code).go())?;
    ended(&bench.user(&Code::default().then_pause(ARRIVAL)))?;
    let event = the_only_event()?;
    ensure!(
        event.kind == Kind::UserInterrupt,
        "expected one delivery, saw {event:x?}"
    );
    processed(upid, 0)?;
    as_manual!("one run of the handler")
}

/// Posts these requests in a descriptor that is outstanding, and sends the notification, which waits for IF.
pub fn post_and_notify(upid: RawUpid, requests: u64) -> Result<(), Failure> {
    upid.pir().store(requests, Ordering::SeqCst);
    upid.control().fetch_or(ON, Ordering::SeqCst);
    request(NOTIFICATION)
}

/// Sends an interrupt to this CPU and waits until it is requested.
pub fn request(vector: u8) -> Result<(), Failure> {
    apic::send(apic::id(), apic::FIXED | u32::from(vector));
    ensure!(
        cpu::wait_until(crate::machine::BUDGET, || apic::is_requested(vector)),
        "vector {vector:#x} sent to this CPU did not arrive"
    );
    Ok(())
}

/// Expects that code came to its end.
pub fn ended(trap: &Trap) -> Result<(), Failure> {
    ensure!(trap.is_end(), "expected no fault, saw {trap}");
    Ok(())
}

/// Expects that the descriptor was processed and that these requests are pending.
fn processed(upid: RawUpid, pending: u64) -> Result<(), Failure> {
    let ((control, pir), seen) = (upid.get(), read_msr(msr::IA32_UINTR_RR));
    ensure!(
        control & ON == 0 && pir == 0 && seen == pending,
        "expected ON=0, PIR=0 and UIRR {pending:#x}, saw {control:#x} {pir:#x} {seen:#x}"
    );
    Ok(())
}

fn no_events(when: &str) -> Result<(), Failure> {
    if let Some(event) = event::all().next() {
        wrong!("{when}: expected neither interrupt nor handler, saw {event:x?}");
    }
    Ok(())
}

/// Returns the event, if it is the only one.
pub fn the_only_event() -> Result<Event, Failure> {
    match (event::count(), event::get(0)) {
        (1, Some(event)) => Ok(event),
        (count, first) => wrong!("expected one event, saw {count}, the first {first:x?}"),
    }
}

/// Runs code at CPL 3 and expects that `vector` is delivered before its first instruction; returns where that was.
fn first_instruction_delivers(bench: &Bench, vector: u8) -> Result<u64, Failure> {
    let start = Page::code(0).linear();
    ended(&bench.user(&Code::new(&[0x90; 8])))?;
    let event = the_only_event()?;
    ensure!(
        (event.kind, event.vector, event.rip) == (Kind::UserInterrupt, u64::from(vector), start),
        "expected vector {vector} delivered at {start:#x}, saw {event:x?}"
    );
    Ok(event.rip)
}
