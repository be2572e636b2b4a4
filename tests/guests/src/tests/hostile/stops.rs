// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stops a cell, for many cells at once: without a console or a channel. What they say is in the hypervisor's
//! log.

use super::super::Failure;
use crate::arch::apic::Apic;
use crate::arch::forms::REFUSED;
use crate::arch::instructions::{FLIP_CR0, STRINGS};
use crate::arch::probe::raised_with;
use crate::arch::sweep::{Width, read_port, write_msr, write_port};
use crate::arch::{attack, memory, tables};
use crate::boot::Boot;

/// Does what the option `do` says.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let options = boot.options();
    let what = options.text("do")?;
    let number = |key| options.number(key);
    match what {
        "wrmsr" => {
            write_msr(number("msr")? as u32, number("value")?);
        }
        "out" => {
            write_port(
                number("port")? as u16,
                width(boot)?,
                number("value")? as u32,
            );
        }
        "in" => {
            // What it returns does not matter: the cell is stopped.
            let _ = read_port(number("port")? as u16, width(boot)?);
        }
        "string" => {
            let name = options.text("form")?;
            let string = STRINGS.iter().find(|&&(other, _)| other == name);
            let (_, probe) = string.ok_or(Failure::UnknownTest(name))?;
            raised_with(*probe, number("port")?);
        }
        "form" => {
            let name = options.text("form")?;
            let form = REFUSED.iter().find(|&&(other, _)| other == name);
            let (_, form) = form.ok_or(Failure::UnknownTest(name))?;
            tables::take_breakpoints_on_any_stack();
            form(number("address")?, 0);
        }
        "read" => memory::read(number("address")?),
        "write" => memory::write(number("address")?),
        "execute" => memory::execute(number("address")?),
        "command" => {
            let (destination, low) = (number("apic")? as u32, number("value")? as u32);
            Apic::new(boot.is_x2apic()).command(destination, low);
        }
        "cr0" => {
            raised_with(FLIP_CR0, number("value")?);
        }
        "triple-fault" => attack::Attack::TripleFault.carry_out(),
        other => return Err(Failure::UnknownTest(other)),
    }
    Err(Failure::Survived)
}

fn width(boot: &Boot) -> Result<Width, Failure> {
    Ok(match boot.options().number("width")? {
        1 => Width::Byte,
        2 => Width::Word,
        _ => Width::Dword,
    })
}
