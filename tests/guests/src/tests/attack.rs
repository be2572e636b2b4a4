// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stops a cell. The neighbour answers first, so that both are known to run.

use super::Failure;
use crate::arch::apic::{Apic, FIXED, INIT, X2APIC_ICR};
use crate::arch::attack::Attack;
use crate::boot::Boot;
use crate::channel::Channel;

/// Questions before the attack.
const QUESTIONS: u64 = 3;
const VECTOR: u32 = 0x51;

/// Carries out the attack called `name`.
pub fn run(boot: &Boot, name: &'static str) -> Result<(), Failure> {
    let attack = prepare(boot, name)?;
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    channel.set_ready(true);
    channel.await_peer();
    channel.ask(QUESTIONS);
    report!("attack={name} rip={:#x}", attack.rip());
    attack.carry_out();
    Err(Failure::Survived)
}

fn prepare(boot: &Boot, name: &'static str) -> Result<Attack, Failure> {
    let options = boot.options();
    Ok(match name {
        "read-foreign" => Attack::Read {
            address: options.number("address")?,
        },
        "write-foreign" => Attack::Write {
            address: options.number("address")?,
            value: 0,
        },
        "port-foreign" => Attack::Out {
            port: options.number("port")? as u16,
            value: b'!',
        },
        "msr-foreign" => Attack::Wrmsr {
            msr: options.number("msr")? as u32,
            value: options.number("value")?,
        },
        "init-foreign" => interrupt_command(boot, INIT)?,
        "ipi-foreign" => interrupt_command(boot, FIXED | VECTOR)?,
        "smi-foreign" => interrupt_command(boot, 0x4200)?,
        "triple-fault" => Attack::TripleFault,
        other => return Err(Failure::UnknownTest(other)),
    })
}

/// Returns the write that sends `command` to the CPU in the option `apic`.
fn interrupt_command(boot: &Boot, command: u32) -> Result<Attack, Failure> {
    let id = boot.options().number("apic")?;
    if boot.is_x2apic() {
        return Ok(Attack::Wrmsr {
            msr: X2APIC_ICR,
            value: id << 32 | u64::from(command),
        });
    }
    Apic::new(false).set_xapic_destination(id as u32);
    Ok(Attack::Write {
        address: Apic::xapic_command_address(),
        value: command,
    })
}
