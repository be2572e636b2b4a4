// SPDX-License-Identifier: MIT OR Apache-2.0
//! The five instructions: where they exist, and what they leave.

use core::sync::atomic::Ordering;

use uintr::CR4_UINTR;

use crate::bench::Bench;
use crate::case::{Case, Outcome};
use crate::machine::run::{self, Code, Level, Run};
use crate::machine::trap::{Registers, UNDEFINED};
use crate::machine::uintr::{NOTIFICATION, RawUpid, SN, opcode};
use crate::machine::{cpu, smp, uintr as processor};

/// CF, PF, AF, ZF, SF, OF.
const STATUS_FLAGS: u64 = 0x8d5;
const CF: u64 = 1;
const LEVELS: [Level; 2] = [Level::Kernel, Level::User];

/// Without CR4.UINTR there are no such instructions.
pub const T02: Case = Case::new(
    "T02",
    "no instruction without CR4.UINTR",
    "SDM 2, SENDUIPI, UIRET, TESTUI, CLUI, STUI",
    t02,
);

fn t02(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    cpu::set_cr4(CR4_UINTR, false);
    for level in LEVELS {
        for (name, bytes) in opcode::ALL {
            let trap = run::code(level, &Code::new(&bytes));
            ensure!(
                trap.is(UNDEFINED, 0),
                "{name} at {level:?} level: expected #UD, saw {trap}"
            );
        }
    }
    as_manual!("#UD for all five at both privilege levels")
}

/// They exist in 64-bit mode only.
pub const T06: Case = Case::new(
    "T06",
    "no instruction in compatibility mode",
    "SDM 2, SENDUIPI, UIRET, TESTUI, CLUI, STUI",
    t06,
);

fn t06(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let trap = run::code(Level::Compatibility, &Code::default().then_pause(1));
    ensure!(
        trap.is_end(),
        "compatibility mode itself: expected no fault, saw {trap}"
    );
    for (name, bytes) in opcode::ALL {
        let trap = run::code(Level::Compatibility, &Code::new(&bytes));
        ensure!(
            trap.is(UNDEFINED, 0),
            "{name} in compatibility mode: expected #UD, saw {trap}"
        );
    }
    as_manual!("#UD for all five")
}

/// None of them may be locked.
pub const T07: Case = Case::new(
    "T07",
    "no LOCK prefix",
    "SDM 2, SENDUIPI, UIRET, TESTUI, CLUI, STUI",
    t07,
);

fn t07(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    for level in LEVELS {
        for (name, bytes) in opcode::ALL {
            let trap = run::code(level, &Code::new(&[0xf0]).then(&bytes));
            ensure!(
                trap.is(UNDEFINED, 0),
                "LOCK {name} at {level:?} level: expected #UD, saw {trap}"
            );
        }
    }
    as_manual!("#UD for all five at both privilege levels")
}

/// STUI, CLUI, TESTUI and UIRET work at every privilege level.
pub const T08: Case = Case::new(
    "T08",
    "STUI, TESTUI, CLUI, UIRET at CPL 0 and 3",
    "SDM 2, TESTUI, UIRET",
    t08,
);

fn t08(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    for level in LEVELS {
        for (name, change, wanted) in [("STUI", opcode::STUI, CF), ("CLUI", opcode::CLUI, 0)] {
            for flags in [0, STATUS_FLAGS] {
                let code = Code::new(&change).then(&opcode::TESTUI);
                let trap = Run::new(level, &code).with_flags(flags).go();
                ensure!(trap.is_end(), "{name} at {level:?} level: {trap}");
                let seen = trap.frame.rflags & STATUS_FLAGS;
                ensure!(
                    seen == wanted,
                    "{name}, TESTUI at {level:?} level: expected status flags {wanted:#x}, saw {seen:#x}"
                );
            }
        }
        uiret_to_same_level(level)?;
    }
    as_manual!("UIF in CF, the other status flags 0, UIRET returns and sets UIF")
}

fn uiret_to_same_level(level: Level) -> Result<(), crate::case::Failure> {
    // mov rcx, rsp; lea rax, [rip + 7]; push rcx; pushfq; push rax; uiret
    let code = Code::new(&opcode::CLUI)
        .then(&[
            0x48, 0x89, 0xe1, 0x48, 0x8d, 0x05, 7, 0, 0, 0, 0x51, 0x9c, 0x50,
        ])
        .then(&opcode::UIRET)
        .then(&opcode::TESTUI);
    let run = Run::new(level, &code);
    let trap = run.go();
    ensure!(trap.is_end(), "UIRET at {level:?} level: {trap}");
    ensure!(
        trap.frame.rsp == run.0.rsp,
        "UIRET at {level:?} level: expected RSP {:#x}, saw {:#x}",
        run.0.rsp,
        trap.frame.rsp
    );
    ensure!(
        trap.frame.rflags & CF != 0,
        "UIRET at {level:?} level: expected UIF 1, saw 0"
    );
    Ok(())
}

/// Every general register can hold the index.
pub const T09: Case = Case::new(
    "T09",
    "SENDUIPI with every register and prefix",
    "SDM 2, SENDUIPI",
    t09,
);

fn t09(bench: &mut Bench) -> Outcome {
    const WRONG_INDEX: u64 = 1 << 40;
    const INDEX: u64 = 1;
    const VECTOR: u8 = 9;
    let upid = bench.set_up(0)?;
    processor::set_target(INDEX as usize, RawUpid::new(0), VECTOR);
    let check = |name: &str, number: u8, bytes: &[u8]| {
        upid.set(NOTIFICATION, smp::apic_id(0));
        // Nothing is sent, so that nothing is delivered on a stack whose pointer is the operand.
        upid.control().fetch_or(SN, Ordering::SeqCst);
        let mut registers = Registers::all(WRONG_INDEX);
        registers.set(number, INDEX);
        let mut run = Run::new(Level::User, &Code::new(bytes)).with(registers);
        if number == 4 {
            run.0.rsp = INDEX;
        }
        let trap = run.go();
        ensure!(trap.is_end(), "{name} register {number}: {trap}");
        let seen = upid.get().1;
        ensure!(
            seen == 1 << VECTOR,
            "{name} register {number}: expected PIR {:#x}, saw {seen:#x}",
            1 << VECTOR
        );
        Ok(())
    };
    for number in 0..16u8 {
        let low = 0xf0 | (number % 8);
        let extended = number / 8;
        if extended == 0 {
            check("plain", number, &[0xf3, 0x0f, 0xc7, low])?;
            check("66H", number, &[0x66, 0xf3, 0x0f, 0xc7, low])?;
        }
        check("REX", number, &[0xf3, 0x40 | extended, 0x0f, 0xc7, low])?;
        check("REX.W", number, &[0xf3, 0x48 | extended, 0x0f, 0xc7, low])?;
        check(
            "66H REX.W",
            number,
            &[0x66, 0xf3, 0x48 | extended, 0x0f, 0xc7, low],
        )?;
    }
    as_manual!("the same effect with 16 registers, 66H and REX.W")
}
