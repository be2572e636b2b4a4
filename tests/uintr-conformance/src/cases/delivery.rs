// SPDX-License-Identifier: MIT OR Apache-2.0
//! Delivery: the frame, the stack, what faults do, handlers that interrupt each other.

use uintr::msr;

use super::notification::{ended, post_and_notify, the_only_event};
use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome};
use crate::machine::event::{self, Event, Kind};
use crate::machine::paging::{PAGE_LEN, PRESENT, Page, USER, WRITABLE};
use crate::machine::run::{Code, Level, Run};
use crate::machine::trap::{DEBUG, GENERAL_PROTECTION, PAGE_FAULT, STACK_FAULT};
use crate::machine::uintr::{
    RED_ZONE, USER_VECTOR, opcode, read_msr, set_target, set_uif, uif, write_msr,
};
use crate::machine::{cpu, uintr as processor};

const SECTION: &str = "SDM 3A, User-Interrupt Delivery";
/// Length of what delivery pushes: RSP, RFLAGS, RIP, vector.
const FRAME_LEN: u64 = 32;
/// Requests that are pending in the cases about faults.
const PENDING: u64 = 1 << USER_VECTOR;
/// Page faults: write, by user mode.
const PF_WRITE: u64 = 1 << 1;
const PF_USER: u64 = 1 << 2;

/// A post for the same CPU from its handler.
pub const T49: Case = Case::new("T49", "a higher vector posted in the handler", SECTION, t49);

fn t49(bench: &mut Bench) -> Outcome {
    const HIGHER: u8 = 9;
    const LOWER: u8 = 3;
    const SEND_HIGHER: usize = 1;
    let upid = bench.set_up(0)?;
    set_target(SEND_HIGHER, upid, HIGHER);
    // For the lower vector only: posts the higher one and waits until the notification has come.
    let post = Code::new(&[0x50, 0x51])
        .then_load_rax(SEND_HIGHER as u64)
        .then(&opcode::SENDUIPI)
        .then_pause(ARRIVAL)
        .then(&[0x59, 0x58]);
    install_handler(LOWER, &post);
    post_and_notify(upid, 1 << LOWER)?;
    ended(&bench.user(&Code::new(&[0x90; 8]).then_pause(ARRIVAL)))?;
    let [first, second] = two_events()?;
    ensure!(
        (first.vector, second.vector) == (u64::from(LOWER), u64::from(HIGHER)),
        "expected vectors {LOWER} and {HIGHER}, saw {} and {}",
        first.vector,
        second.vector
    );
    ensure!(
        first.rip == second.rip,
        "expected the second right after UIRET, at {:#x}, saw {:#x}",
        first.rip,
        second.rip
    );
    as_manual!("held back in the handler, delivered right after its UIRET")
}

/// STUI in a handler.
pub const T50: Case = Case::new("T50", "nested delivery", SECTION, t50);

fn t50(bench: &mut Bench) -> Outcome {
    const OUTER: u8 = 40;
    const INNER: u8 = 3;
    let upid = bench.set_up(0)?;
    install_handler(OUTER, &Code::new(&opcode::STUI).then(&[0x90; 4]));
    post_and_notify(upid, 1 << OUTER | 1 << INNER)?;
    ended(&bench.user(&Code::new(&[0x90; 8]).then_pause(ARRIVAL)))?;
    // The handler keeps its event after what is in front of it, so that the inner one comes first.
    let [inner, outer] = two_events()?;
    ensure!(
        (inner.vector, outer.vector) == (u64::from(INNER), u64::from(OUTER)),
        "expected {INNER} within {OUTER}, saw {} and then {}",
        inner.vector,
        outer.vector
    );
    let handler = Page::SPARE.linear()..Page::SPARE.end();
    let code = Page::code(0).linear()..Page::code(0).end();
    ensure!(
        handler.contains(&inner.rip) && code.contains(&outer.rip),
        "expected frames in the handler and in the code, saw {inner:x?} and {outer:x?}"
    );
    ensure!(
        inner.rsp == outer.handler_rsp && inner.handler_rsp < outer.handler_rsp,
        "expected the inner frame below the outer one, saw {inner:x?} and {outer:x?}"
    );
    as_manual!("one frame in the other, both unwound")
}

/// Where the frame goes.
pub const T51: Case = Case::new(
    "T51",
    "stack adjustment, relative and absolute",
    SECTION,
    t51,
);

fn t51(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let old = Page::stack(0).end() - 8;
    let absolute = Page::SPARE.next(1).end() - 8;
    for (adjust, wanted) in [
        (RED_ZONE, (old - RED_ZONE) & !15),
        (absolute | 1, absolute & !15),
    ] {
        event::clear();
        write_msr(msr::IA32_UINTR_STACKADJUST, adjust);
        write_msr(msr::IA32_UINTR_RR, PENDING);
        let mut run = Run::new(Level::User, &Code::new(&[0x90; 8]));
        run.0.rsp = old;
        let trap = run.go();
        ended(&trap)?;
        let event = the_only_event()?;
        ensure!(
            event.rsp == old && event.handler_rsp == wanted - FRAME_LEN,
            "UISTACKADJUST {adjust:#x}: expected RSP {:#x} with {old:#x} in the frame, saw {event:x?}",
            wanted - FRAME_LEN
        );
        ensure!(
            trap.frame.rsp == old,
            "RSP after UIRET: expected {old:#x}, saw {:#x}",
            trap.frame.rsp
        );
    }
    as_manual!("both aligned to 16 bytes, the old RSP in the frame and back after UIRET")
}

/// TF is cleared for the handler.
pub const T52: Case = Case::new("T52", "single-stepping across delivery", SECTION, t52);

fn t52(bench: &mut Bench) -> Outcome {
    const TF: u64 = 1 << 8;
    bench.set_up(0)?;
    write_msr(msr::IA32_UINTR_RR, PENDING);
    let start = Page::code(0).linear();
    let trap = Run::new(Level::User, &Code::new(&[0x90; 8]))
        .with_flags(TF)
        .go();
    let event = the_only_event()?;
    ensure!(
        event.rflags & TF != 0 && event.rip == start,
        "frame: expected TF set and RIP {start:#x}, saw {event:x?}"
    );
    // A handler with TF would have trapped at its second instruction.
    ensure!(
        trap.vector() == DEBUG && trap.frame.rip == start + 1,
        "expected #DB one instruction after UIRET, at {:#x}, saw {trap}",
        start + 1
    );
    as_manual!("TF in the frame, not in the handler; #DB one instruction after UIRET")
}

/// The handler's address is checked at delivery.
pub const T53: Case = Case::new("T53", "handler not canonical", SECTION, t53);

fn t53(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    if cpu::linear_address_bits() <= 48 {
        return recorded!("the processor has 48 linear-address bits: WRMSR refuses such addresses");
    }
    write_msr(msr::IA32_UINTR_HANDLER, 1 << 48);
    still_pending_after(bench, GENERAL_PROTECTION, 0)?;
    as_manual!("#GP(0) at the interrupted instruction, still pending")
}

/// A notification leaves nothing behind in later error codes.
pub const T54: Case = Case::new(
    "T54",
    "no EXT in error codes after a notification",
    "SDM 3A, Error Code",
    t54,
)
.deviates("B-1");

fn t54(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    // The notification is taken in user mode, and HLT faults there.
    post_and_notify(upid, 0)?;
    let trap = bench.user(&Code::default().then_pause(16).then(&[0xf4]));
    if trap.is(GENERAL_PROTECTION, 1) {
        return deviant!("#GP with EXT in its error code after a notification");
    }
    bench.expect(
        "HLT at CPL 3 after a notification",
        &trap,
        GENERAL_PROTECTION,
        0,
    )?;
    as_manual!("#GP(0)")
}

/// A stack that is not there.
pub const T55: Case = Case::new("T55", "stack not present at delivery", SECTION, t55);

fn t55(bench: &mut Bench) -> Outcome {
    let stack = Page::SPARE.next(1);
    bench.set_up(0)?;
    write_msr(msr::IA32_UINTR_STACKADJUST, stack.end() | 1);
    stack.map(0);
    let cr2 = still_pending_after(bench, PAGE_FAULT, PF_USER | PF_WRITE)?;
    ensure!(
        (stack.linear()..stack.end()).contains(&cr2),
        "CR2: expected in the stack, saw {cr2:#x}"
    );
    stack.map(PRESENT | WRITABLE | USER);
    ended(&bench.user(&Code::new(&[0x90; 8])))?;
    let event = the_only_event()?;
    ensure!(
        event.kind == Kind::UserInterrupt,
        "expected the delivery once the stack is there, saw {event:x?}"
    );
    as_manual!("#PF by user mode, still pending; delivered once the stack is there")
}

/// A stack that no paging could bring.
pub const T56: Case = Case::new("T56", "absolute stack not canonical", SECTION, t56);

fn t56(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    if cpu::linear_address_bits() <= 48 {
        return recorded!("the processor has 48 linear-address bits: WRMSR refuses such addresses");
    }
    write_msr(msr::IA32_UINTR_STACKADJUST, (1 << 48) + PAGE_LEN + 1);
    still_pending_after(bench, STACK_FAULT, 0)?;
    as_manual!("#SS(0) at the interrupted instruction, still pending")
}

/// The first fetch of a handler belongs to the handler.
pub const T57: Case = Case::new("T57", "handler not present", SECTION, t57).deviates("B-2");

fn t57(bench: &mut Bench) -> Outcome {
    let handler = Page::SPARE;
    bench.set_up(0)?;
    write_msr(msr::IA32_UINTR_HANDLER, handler.linear());
    write_msr(msr::IA32_UINTR_RR, PENDING);
    handler.map(0);
    let start = Page::code(0).linear();
    let trap = bench.user(&Code::new(&[0x90; 8]));
    let rsp = Page::stack(0).end() - RED_ZONE - FRAME_LEN;
    ensure!(
        trap.vector() == PAGE_FAULT
            && trap.frame.error_code & (PF_USER | PF_WRITE) == PF_USER
            && trap.cr2 == handler.linear(),
        "expected #PF by the fetch of the handler, saw {trap}"
    );
    ensure!(
        trap.frame.rsp == rsp && !uif() && read_msr(msr::IA32_UINTR_RR) == 0,
        "expected the delivery complete, RSP {rsp:#x} and UIF=0, saw RSP {:#x}",
        trap.frame.rsp
    );
    if trap.frame.rip == start {
        return deviant!("#PF with the interrupted RIP, but RSP and UIF of the handler");
    }
    ensure!(
        trap.frame.rip == handler.linear(),
        "expected RIP {:#x}, saw {trap}",
        handler.linear()
    );
    as_manual!("#PF at the handler's first instruction, delivery complete")
}

/// Makes the page [`Page::SPARE`] a handler that does `more` for one user vector and then what the common one does.
fn install_handler(vector: u8, more: &Code) {
    let address = event::handler_address();
    // NOP; CMP QWORD [RSP], vector; JNE behind `more`.
    Code::new(&[0x90, 0x48, 0x83, 0x3c, 0x24, vector, 0x0f, 0x85])
        .then(&(more.len() as u32).to_le_bytes())
        .then(more.bytes())
        // JMP to the address behind it.
        .then(&[0xff, 0x25, 0, 0, 0, 0])
        .then(&address.to_le_bytes())
        .write_to(Page::SPARE);
    write_msr(msr::IA32_UINTR_HANDLER, Page::SPARE.linear());
}

/// Returns the events, if they are two deliveries.
fn two_events() -> Result<[Event; 2], Failure> {
    let events = [event::get(0), event::get(1)];
    if event::count() == 2
        && let [Some(first), Some(second)] = events
        && first.kind == Kind::UserInterrupt
        && second.kind == Kind::UserInterrupt
    {
        return Ok([first, second]);
    }
    wrong!(
        "expected two deliveries, saw {} events: {events:x?}",
        event::count()
    )
}

/// Makes requests pending by WRMSR, so that no notification is about, and expects that delivery before the first
/// instruction at CPL 3 faults and changes nothing. Returns CR2.
fn still_pending_after(bench: &Bench, vector: u8, error_code: u64) -> Result<u64, Failure> {
    write_msr(msr::IA32_UINTR_RR, PENDING);
    set_uif(true);
    let run = Run::new(Level::User, &Code::new(&[0x90; 8]));
    let trap = run.go();
    bench.expect("delivery", &trap, vector, error_code)?;
    ensure!(
        (trap.frame.rip, trap.frame.rsp) == (run.0.rip, run.0.rsp),
        "expected RIP {:#x} and RSP {:#x} of the interrupted code, saw {:#x} and {:#x}",
        run.0.rip,
        run.0.rsp,
        trap.frame.rip,
        trap.frame.rsp
    );
    ensure!(
        read_msr(msr::IA32_UINTR_RR) == PENDING && processor::uif() && event::count() == 0,
        "expected UIRR and UIF as before"
    );
    Ok(trap.cr2)
}
