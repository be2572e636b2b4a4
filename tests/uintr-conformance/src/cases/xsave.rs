// SPDX-License-Identifier: MIT OR Apache-2.0
//! XSAVE component 14: saving, restoring, initializing.

use uintr::msr;

use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome};
use crate::machine::event::{self, Kind};
use crate::machine::run::Code;
use crate::machine::trap::GENERAL_PROTECTION;
use crate::machine::uintr::{
    MSRS, NOTIFICATION, USER_VECTOR, opcode, read_msr, set_uif, uif, write_msr,
};
use crate::machine::xsave::{self, Image, UIF};
use crate::machine::{paging::Page, uintr as processor};

/// A value of its own for each field.
const DISTINCT: [(usize, u32, u64); 6] = [
    (Image::HANDLER, msr::IA32_UINTR_HANDLER, 0x1111_2222_3338),
    (
        Image::STACK_ADJUST,
        msr::IA32_UINTR_STACKADJUST,
        0x2222_3333_4441,
    ),
    (Image::MISC, msr::IA32_UINTR_MISC, 0xc5_9abc_def0),
    (Image::PD, msr::IA32_UINTR_PD, 0x3333_4444_5540),
    (Image::RR, msr::IA32_UINTR_RR, 0x8421_0000_1248_0001),
    (Image::TT, msr::IA32_UINTR_TT, 0x4444_5555_6661),
];
/// UINV in MISC.
const UINV: u64 = 0xff << 32;
const SECTION: &str = "SDM 1, User Interrupt State";

fn image() -> Image {
    let mut image = Image([0; xsave::WORDS]);
    for (word, _, value) in DISTINCT {
        image.0[word] = value;
    }
    image
}

/// Saving stores everything and clears UINV.
pub const T11: Case = Case::new("T11", "XSAVES: layout, UINV cleared", SECTION, t11);

fn t11(_: &mut Bench) -> Outcome {
    for (_, number, value) in DISTINCT {
        write_msr(number, value);
    }
    set_uif(true);
    xsave::set_header(0);
    let trap = xsave::save();
    ensure!(trap.is_end(), "XSAVES: {trap}");
    let seen = Image::read();
    for (word, number, value) in DISTINCT {
        let wanted = if word == Image::MISC {
            value | UIF
        } else {
            value
        };
        ensure!(
            seen.0[word] == wanted,
            "byte {} of the component: expected {wanted:#x}, saw {:#x}",
            8 * word,
            seen.0[word]
        );
        let (now, kept) = (
            read_msr(number),
            if word == Image::MISC {
                value & !UINV
            } else {
                value
            },
        );
        ensure!(
            now == kept,
            "MSR {number:#x} after XSAVES: expected {kept:#x}, saw {now:#x}"
        );
    }
    ensure!(uif(), "UIF after XSAVES: expected 1, saw 0");
    as_manual!(
        "layout as in the manual, UIF in bit 63 of the third word, UINV cleared, the rest kept"
    )
}

/// Restoring loads everything.
pub const T12: Case = Case::new("T12", "XRSTORS: all state", SECTION, t12);

fn t12(_: &mut Bench) -> Outcome {
    for wanted_uif in [true, false] {
        processor::clear();
        set_uif(!wanted_uif);
        let mut image = image();
        image.0[Image::MISC] |= if wanted_uif { UIF } else { 0 };
        image.write();
        let trap = xsave::restore();
        ensure!(trap.is_end(), "XRSTORS: {trap}");
        for (_, number, value) in DISTINCT {
            let seen = read_msr(number);
            ensure!(
                seen == value,
                "MSR {number:#x}: expected {value:#x}, saw {seen:#x}"
            );
        }
        ensure!(
            uif() == wanted_uif,
            "UIF: expected {wanted_uif}, saw {}",
            uif()
        );
    }
    as_manual!("six MSRs and UIF, set and clear")
}

/// Restoring over a UINV is refused.
pub const T13: Case = Case::new("T13", "XRSTORS with UINV", SECTION, t13);

fn t13(bench: &mut Bench) -> Outcome {
    write_msr(msr::IA32_UINTR_MISC, msr::misc(NOTIFICATION, 7));
    write_msr(msr::IA32_UINTR_HANDLER, 0x5550);
    image().write();
    let trap = xsave::restore();
    bench.expect("XRSTORS with UINV", &trap, GENERAL_PROTECTION, 0)?;
    for (number, wanted) in MSRS.map(|number| match number {
        msr::IA32_UINTR_MISC => (number, msr::misc(NOTIFICATION, 7)),
        msr::IA32_UINTR_HANDLER => (number, 0x5550),
        _ => (number, 0),
    }) {
        let seen = read_msr(number);
        ensure!(
            seen == wanted,
            "MSR {number:#x} after #GP: expected {wanted:#x}, saw {seen:#x}"
        );
    }
    as_manual!("#GP(0), nothing loaded")
}

/// Restoring reserved bits is refused.
pub const T14: Case = Case::new("T14", "XRSTORS of reserved bits", SECTION, t14);

fn t14(_: &mut Bench) -> Outcome {
    for bit in 40..63 {
        restore_refused(Image::MISC, 1 << bit)?;
    }
    for bit in 0..6 {
        restore_refused(Image::PD, 1 << bit)?;
    }
    for bit in 1..4 {
        restore_refused(Image::TT, 1 << bit)?;
    }
    for word in [Image::HANDLER, Image::STACK_ADJUST, Image::PD, Image::TT] {
        restore_refused(word, 1 << 62)?;
    }
    as_manual!(
        "#GP(0) for each reserved bit and for addresses that are not canonical, UINV 0 afterwards"
    )
}

fn restore_refused(word: usize, bits: u64) -> Result<(), Failure> {
    processor::clear();
    let mut image = image();
    image.0[word] |= bits;
    image.write();
    let trap = xsave::restore();
    ensure!(
        trap.is(GENERAL_PROTECTION, 0),
        "word {word} with {bits:#x}: expected #GP(0), saw {trap}"
    );
    let misc = read_msr(msr::IA32_UINTR_MISC);
    ensure!(
        misc & UINV == 0,
        "UINV after #GP for word {word} with {bits:#x}: expected 0, saw MISC {misc:#x}"
    );
    Ok(())
}

/// What is restored as pending is delivered.
pub const T15: Case = Case::new(
    "T15",
    "XRSTORS of a pending user interrupt",
    "SDM 3A, User-Interrupt Recognition",
    t15,
);

fn t15(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let mut image = Image([0; xsave::WORDS]);
    for (word, number) in DISTINCT.map(|(word, number, _)| (word, number)) {
        image.0[word] = read_msr(number);
    }
    image.0[Image::MISC] |= UIF;
    image.0[Image::RR] = 1 << USER_VECTOR;
    processor::clear();
    image.write();
    let trap = xsave::restore();
    ensure!(trap.is_end(), "XRSTORS: {trap}");
    let nops = Code::new(&[0x90; 8]);
    let trap = bench.user(&nops);
    ensure!(trap.is_end(), "CPL 3 after XRSTORS: {trap}");
    let Some(delivered) = event::all().find(|event| event.kind == Kind::UserInterrupt) else {
        wrong!("expected delivery at CPL 3, saw none");
    };
    let start = Page::code(0).linear();
    ensure!(
        delivered.vector == u64::from(USER_VECTOR) && delivered.rip == start,
        "expected vector {USER_VECTOR} at {start:#x}, saw vector {} at {:#x}",
        delivered.vector,
        delivered.rip
    );
    as_manual!("delivered before the first instruction at CPL 3")
}

/// Initializing takes away what is pending.
pub const T16: Case = Case::new(
    "T16",
    "XRSTORS initializes while pending",
    "SDM 3A, User-Interrupt Recognition",
    t16,
)
.deviates("B-10");

fn t16(bench: &mut Bench) -> Outcome {
    write_msr(msr::IA32_UINTR_HANDLER, event::handler_address());
    write_msr(msr::IA32_UINTR_RR, 1 << USER_VECTOR);
    xsave::set_header(0);
    let trap = xsave::restore();
    ensure!(trap.is_end(), "XRSTORS with XSTATE_BV 0: {trap}");
    all_zero()?;
    // A stale event would be delivered at CPL 3, which some builds of Bochs do not survive; it also wakes HLT at CPL 0,
    // which nothing should: so that is looked at first.
    set_uif(true);
    if !bench.stays_halted()? {
        return deviant!("state 0, but something is still pending: HLT at CPL 0 wakes with UIRR=0");
    }
    // So that a delivery that should not be is seen as one.
    write_msr(msr::IA32_UINTR_HANDLER, event::handler_address());
    write_msr(msr::IA32_UINTR_STACKADJUST, processor::RED_ZONE);
    let trap = bench.user(&Code::new(&opcode::STUI).then(&[0x90; 8]));
    ensure!(trap.is_end(), "STUI at CPL 3: {trap}");
    if let Some(event) = event::all().find(|event| event.kind == Kind::UserInterrupt) {
        wrong!(
            "expected no delivery with UIRR=0, saw vector {}",
            event.vector
        );
    }
    as_manual!("state 0, nothing delivered")
}

/// Whether initializing over a UINV faults is open.
pub const T17: Case = Case::new(
    "T17",
    "XRSTORS initializes over a UINV (open question 1)",
    SECTION,
    t17,
);

fn t17(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let before = MSRS.map(read_msr);
    xsave::set_header(0);
    let trap = xsave::restore();
    if trap.is_end() {
        all_zero()?;
        return recorded!("no fault, all state 0");
    }
    bench.expect("XRSTORS init with UINV", &trap, GENERAL_PROTECTION, 0)?;
    ensure!(
        MSRS.map(read_msr) == before,
        "state changed by an XRSTORS that faulted"
    );
    recorded!("#GP(0), nothing changed")
}

fn all_zero() -> Result<(), Failure> {
    for number in MSRS {
        let seen = read_msr(number);
        ensure!(seen == 0, "MSR {number:#x}: expected 0, saw {seen:#x}");
    }
    ensure!(!uif(), "UIF: expected 0, saw 1");
    Ok(())
}
