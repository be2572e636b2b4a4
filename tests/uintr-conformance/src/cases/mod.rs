// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cases, and the list of all of them in the order of their ids.

mod boundary;
mod cet;
mod delivery;
mod enumeration;
mod instructions;
mod msr;
mod notification;
mod send_checks;
mod send_ipi;
mod send_memory;

mod uiret;
mod vmx;
mod xsave;

use crate::case::Case;

/// All cases.
pub const ALL: [Case; 99] = [
    enumeration::T01,
    instructions::T02,
    msr::T03,
    msr::T04,
    msr::T05,
    instructions::T06,
    instructions::T07,
    instructions::T08,
    instructions::T09,
    enumeration::T10,
    xsave::T11,
    xsave::T12,
    xsave::T13,
    xsave::T14,
    xsave::T15,
    xsave::T16,
    xsave::T17,
    send_checks::T18,
    send_checks::T19,
    send_checks::T20,
    send_checks::T21,
    send_checks::T22,
    send_checks::T23,
    send_memory::T24,
    send_memory::T25,
    send_memory::T26,
    send_memory::T27,
    send_memory::T28,
    send_ipi::T29,
    send_ipi::T30,
    send_ipi::T31,
    send_ipi::T32,
    send_ipi::T33,
    send_ipi::T34,
    send_ipi::T35,
    send_ipi::T36,
    notification::T37,
    notification::T38,
    notification::T39,
    notification::T40,
    notification::T41,
    notification::T42,
    notification::T43,
    notification::T44,
    notification::T45,
    notification::T46,
    notification::T47,
    notification::T48,
    delivery::T49,
    delivery::T50,
    delivery::T51,
    delivery::T52,
    delivery::T53,
    delivery::T54,
    delivery::T55,
    delivery::T56,
    delivery::T57,
    boundary::T58,
    boundary::T59,
    boundary::T60,
    boundary::T61,
    boundary::T62,
    boundary::T63,
    boundary::T64,
    uiret::T65,
    uiret::T66,
    uiret::T67,
    uiret::T68,
    cet::T69,
    cet::T70,
    boundary::T71,
    boundary::T72,
    vmx::uinv::V01,
    vmx::uinv::V02,
    vmx::uinv::V03,
    vmx::cells::V04,
    vmx::interrupts::V05,
    vmx::interrupts::V06,
    vmx::interrupts::V07,
    vmx::interrupts::V08,
    vmx::state::V09,
    vmx::state::V10,
    vmx::apic_write::V11,
    vmx::apic_write::V12,
    vmx::apic_write::V13,
    vmx::apic_write::V14,
    vmx::apic_write::V15,
    vmx::apic_write::V16,
    vmx::ipi_virtualization::V17,
    vmx::virtual_interrupts::V18,
    vmx::ept::V19,
    vmx::ept::V20,
    vmx::ept::V21,
    vmx::bitmaps::V22,
    vmx::bitmaps::V23,
    vmx::cells::V24,
    vmx::state::V25,
    vmx::cells::V26,
    vmx::interrupts::V27,
];

/// Tells whether `ALL` has T01 to T72 and V01 to V27, in this order.
const fn is_complete() -> bool {
    let mut at = 0;
    while at < ALL.len() {
        let (letter, number) = if at < 72 {
            (b'T', at + 1)
        } else {
            (b'V', at - 71)
        };
        let id = ALL[at].id.as_bytes();
        let tens = b'0' + (number / 10) as u8;
        let ones = b'0' + (number % 10) as u8;
        if id.len() != 3 || id[0] != letter || id[1] != tens || id[2] != ones {
            return false;
        }
        at += 1;
    }
    true
}

const _: () = assert!(is_complete());
