// SPDX-License-Identifier: MIT OR Apache-2.0
//! UIRET, with frames that no delivery has made.

use super::boundary::waiting_until;
use super::notification::ended;
use crate::bench::Bench;
use crate::case::{Case, Outcome};
use crate::machine::BUDGET;
use crate::machine::cpu;
use crate::machine::paging::Page;
use crate::machine::run::{Code, Level, Run};
use crate::machine::trap::{DEBUG, GENERAL_PROTECTION};
use crate::machine::uintr::{opcode, uif};

const SECTION: &str = "SDM 2, UIRET";
/// What UIRET loads of RFLAGS: CF, PF, AF, ZF, SF, TF, DF, OF, NT, RF, AC, ID.
const LOADED: u64 = 0x25_4dd5;
const TF: u64 = 1 << 8;
const RF: u64 = 1 << 16;
/// Length of what UIRET pops.
const POPPED: u64 = 24;
/// Length of [`with_frame`]'s part from the first push to behind UIRET.
const RETURN_LEN: u64 = 3 * 11 + 4;

/// A return address that is none.
pub const T65: Case = Case::new(
    "T65",
    "UIRET to an address that is not canonical",
    SECTION,
    t65,
);

fn t65(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let clui = Code::new(&opcode::CLUI);
    let uiret = Page::code(0).linear() + clui.len() + RETURN_LEN - 4;
    let run = Run::new(Level::User, &with_frame(clui, 1 << 48, 0x202, 0x1234));
    let trap = run.go();
    bench.expect("UIRET", &trap, GENERAL_PROTECTION, 0)?;
    ensure!(
        trap.frame.rip == uiret && trap.frame.rsp == run.0.rsp - POPPED,
        "expected RIP {uiret:#x} and RSP {:#x}, saw {:#x} and {:#x}",
        run.0.rsp - POPPED,
        trap.frame.rip,
        trap.frame.rsp
    );
    ensure!(
        trap.frame.rflags & !RF == run.0.rflags && !uif(),
        "expected RFLAGS {:#x} and UIF 0, saw {:#x}",
        run.0.rflags,
        trap.frame.rflags
    );
    as_manual!("#GP(0); RSP, RFLAGS and UIF unchanged")
}

/// Every bit of RFLAGS, both ways.
pub const T66: Case = Case::new("T66", "which flags UIRET loads", SECTION, t66);

fn t66(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let base = cpu::RFLAGS_IF | cpu::RFLAGS_ONE;
    for before in [base, base | LOADED & !(TF | RF)] {
        for bit in 0..u64::BITS {
            let image = before ^ 1 << bit;
            let code = returning(Code::default(), image).then(&[0x90, 0x90]);
            let trap = Run::new(Level::User, &code).with_flags(before & !base).go();
            // RF lasts for one instruction. With TF that is where the run ends.
            let wanted = (before & !LOADED | image & LOADED) & !RF | cpu::RFLAGS_ONE;
            let is_ended = if image & TF != 0 {
                trap.vector() == DEBUG
            } else {
                trap.is_end()
            };
            ensure!(
                is_ended && trap.frame.rflags & !RF == wanted,
                "RFLAGS {before:#x}, image {image:#x}: expected {wanted:#x}, saw {:#x} after {trap}",
                trap.frame.rflags
            );
        }
    }
    as_manual!("loads the bits of {LOADED:#x} and no others (RF is gone before it can be read)")
}

/// UIF after UIRET.
pub const T67: Case = Case::new("T67", "UIF after UIRET", SECTION, t67);

fn t67(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    for image_uif in [true, false] {
        let image = cpu::RFLAGS_IF | u64::from(image_uif) << 1;
        ended(&bench.user(&returning(Code::new(&opcode::CLUI), image)))?;
        let wanted = image_uif || !bench.is_uiret_flexible;
        ensure!(
            uif() == wanted,
            "bit 1 of the image {image_uif}: expected UIF {wanted}, saw {}",
            uif()
        );
    }
    if bench.is_uiret_flexible {
        as_manual!("UIF from bit 1 of the image: flexible UIRET")
    } else {
        as_manual!("UIF set whatever bit 1 of the image is: no flexible UIRET")
    }
}

/// UIRET ends monitoring.
pub const T68: Case = Case::new("T68", "UIRET disarms UMONITOR", SECTION, t68);

fn t68(bench: &mut Bench) -> Outcome {
    const UMONITOR_RBX: [u8; 4] = [0xf3, 0x0f, 0xae, 0xf3];
    const UMWAIT_ECX: [u8; 4] = [0xf2, 0x0f, 0xae, 0xf1];
    /// Ticks of a wait that nothing ends.
    const LONG: u64 = BUDGET / 10;
    if !cpu::has_waitpkg() {
        return recorded!("the processor has no UMWAIT");
    }
    bench.set_up(0)?;
    let mut lasted = [0; 2];
    for (with_uiret, lasted) in [false, true].into_iter().zip(&mut lasted) {
        let start = cpu::tsc();
        let registers = waiting_until(start + LONG);
        let mut code = Code::new(&UMONITOR_RBX);
        if with_uiret {
            code = returning(code, cpu::RFLAGS_IF | cpu::RFLAGS_ONE);
        }
        let code = code.then_load_rax(registers.rax).then(&UMWAIT_ECX);
        ended(&Run::new(Level::User, &code).with(registers).go())?;
        *lasted = cpu::tsc() - start;
    }
    let [armed, disarmed] = lasted;
    if armed < LONG {
        return recorded!("UMWAIT ends early by itself here: nothing is shown");
    }
    ensure!(
        disarmed < LONG,
        "expected UMWAIT to end at once after UIRET, saw {disarmed} ticks"
    );
    as_manual!("UMWAIT ends at once")
}

/// Appends a UIRET that goes on behind itself with this image of RFLAGS and the same RSP.
fn returning(code: Code, rflags: u64) -> Code {
    let behind = Page::code(0).linear() + code.len() + RETURN_LEN;
    with_frame(code, behind, rflags, Page::stack(0).end())
}

/// Appends the pushes of a frame, and UIRET.
fn with_frame(code: Code, rip: u64, rflags: u64, rsp: u64) -> Code {
    [rsp, rflags, rip]
        .into_iter()
        .fold(code, |code, value| code.then_load_rax(value).then(&[0x50]))
        .then(&opcode::UIRET)
}
