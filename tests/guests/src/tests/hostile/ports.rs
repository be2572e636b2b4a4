// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every port, in and out, in all widths: what is not the cell's reads as absent and swallows what is written, also
//! where an access begins or ends in the cell's own ports.

use test_guests::NumberSet;

use super::super::{Failure, expect};
use crate::arch::probe::Raised;
use crate::arch::sweep::{Width, read_port, write_port};
use crate::arch::{cpu, user};
use crate::boot::Boot;

const PORTS: usize = 0x1_0000;
/// Ports of the cell's UART.
const OWN_PORTS: u32 = 8;
/// Written everywhere: shutdown, reset and SMI commands of common machines.
const VALUES: [u32; 6] = [
    0xffff_ffff,
    0x0606_fefe,
    0x2000_3400,
    0xf1f0_0000,
    0x5353_5353,
    0,
];
/// What the program in user mode tries.
const USER_PORTS: [u16; 8] = [0x60, 0x64, 0x70, 0x80, 0xb2, 0xcf8, 0xcf9, 0x8900];

/// Runs the sweep.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let own = u32::from(boot.console_port().ok_or(Failure::Late("console"))?);
    for width in Width::ALL {
        let mut answering = NumberSet::<{ PORTS / 64 }>::new(0);
        let (mut reads, mut writes) = (0_u32, 0_u32);
        for port in 0..=u16::MAX {
            if read_port(port, width).map_err(strange)? != width.absent() {
                answering.insert(port.into());
            }
            reads += 1;
            let is_inside =
                u32::from(port) >= own && u32::from(port) + width.bytes() <= own + OWN_PORTS;
            if !is_inside {
                let value = VALUES[usize::from(port) % VALUES.len()];
                let raised = write_port(port, width, value);
                expect("out", i64::from(raised == Raised::Nothing), 1)?;
                writes += 1;
            }
        }
        let bytes = width.bytes();
        report!("name=ports width={bytes} reads={reads} writes={writes} answering={answering}");
    }
    user::run(from_user_mode);
    report!("name=ports-user tried={}", USER_PORTS.len());
    Ok(())
}

fn strange(_: Raised) -> Failure {
    Failure::Late("port")
}

/// With I/O privilege a program meets the same walls.
extern "C" fn from_user_mode() {
    for port in USER_PORTS {
        let read = read_port(port, Width::Byte);
        let written = write_port(port, Width::Byte, 0xfe);
        if read != Ok(Width::Byte.absent()) || written != Raised::Nothing {
            report!("result=FAIL reason=user-port port={port:#x}");
            cpu::halt_forever();
        }
    }
}
