// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a hypervisor can intercept of the state of user interrupts.

use super::run_to_end;
use crate::bench::Bench;
use crate::case::{Case, Outcome, Where};
use crate::machine::run::{Code, Level};
use crate::machine::uintr::MSRS;
use crate::machine::xsave;
use crate::machine::{paging::Page, uintr};
use crate::vmm::exit::reason;
use crate::vmm::guest::Guest;
use crate::vmm::{Vmm, regions};

/// One bit for each MSR and direction.
pub const V22: Case =
    Case::new("V22", "MSR bitmap", "SDM 3C, MSR-Bitmap Address", v22).place(Where::Bare);

/// RDMSR and WRMSR, with their exit reasons.
const ACCESSES: [([u8; 2], u16); 2] =
    [([0x0f, 0x32], reason::RDMSR), ([0x0f, 0x30], reason::WRMSR)];

fn v22(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = Guest::new(&vmm, Level::Kernel, &Code::default())?;
    for watched in MSRS {
        for (_, watched_reason) in ACCESSES {
            regions::intercept_no_msr();
            if watched_reason == reason::RDMSR {
                regions::intercept_read(watched);
            } else {
                regions::intercept_write(watched);
            }
            for number in MSRS {
                for (instruction, own_reason) in ACCESSES {
                    guest.restart(Level::Kernel, &Code::new(&instruction))?;
                    guest.registers.rcx = u64::from(number);
                    let is_watched = (number, own_reason) == (watched, watched_reason);
                    let wanted = if is_watched {
                        own_reason
                    } else {
                        reason::VMCALL
                    };
                    let exit = guest.run()?;
                    ensure!(
                        exit.is(wanted),
                        "bit of {watched:#x} for exit {watched_reason}: access {own_reason} of {number:#x}: expected exit \
                         {wanted}, saw {exit}"
                    );
                }
            }
        }
    }
    as_manual!("12 bits, 12 accesses each: exit 31 or 32 for exactly the one")
}

/// The other way to the same state.
pub const V23: Case = Case::new(
    "V23",
    "XSS-exiting bitmap",
    "SDM 3C, XSS-Exiting Bitmap",
    v23,
)
.place(Where::Bare);

fn v23(bench: &mut Bench) -> Outcome {
    /// XSAVES64 and XRSTORS64 of [rdi].
    const INSTRUCTIONS: [([u8; 4], u16); 2] = [
        ([0x48, 0x0f, 0xc7, 0x2f], reason::XSAVES),
        ([0x48, 0x0f, 0xc7, 0x1f], reason::XRSTORS),
    ];
    const OTHERS: u64 = !xsave::COMPONENT;
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = Guest::new(&vmm, Level::Kernel, &Code::default())?;
    for (bitmap, is_watched) in [(xsave::COMPONENT, true), (OTHERS, false), (0, false)] {
        guest.write(x86::vmx::vmcs::control::XSS_EXITING_BITMAP_FULL, bitmap)?;
        for (instruction, own_reason) in INSTRUCTIONS {
            uintr::clear();
            xsave::set_header(xsave::COMPONENT);
            guest.restart(Level::Kernel, &Code::new(&instruction))?;
            guest.registers.rdi = Page::XSAVE.linear();
            guest.registers.rax = xsave::COMPONENT;
            let wanted = if is_watched {
                own_reason
            } else {
                reason::VMCALL
            };
            let exit = guest.run()?;
            ensure!(
                exit.is(wanted),
                "bitmap {bitmap:#x}: expected exit {wanted}, saw {exit}"
            );
        }
    }
    run_to_end_of_both(&mut guest)
}

/// Without bit 14 in EDX:EAX the bitmap does not matter.
fn run_to_end_of_both(guest: &mut Guest<'_>) -> Outcome {
    guest.write(
        x86::vmx::vmcs::control::XSS_EXITING_BITMAP_FULL,
        xsave::COMPONENT,
    )?;
    xsave::set_header(0);
    guest.restart(Level::Kernel, &Code::new(&[0x48, 0x0f, 0xc7, 0x2f]))?;
    guest.registers.rdi = Page::XSAVE.linear();
    run_to_end(guest, "XSAVES of nothing")?;
    as_manual!("exits 63 and 64 with bit 14 in bitmap and mask; none with either clear")
}
