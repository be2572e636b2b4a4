// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC of this CPU in both modes. (SDM 3A, "APIC")

use core::sync::atomic::{AtomicU32, Ordering, fence};

use uintr_conformance::ApicMode;
use x86_64::registers::model_specific::Msr;

const XAPIC_BASE: usize = 0xfee0_0000;
const X2APIC_MSR_BASE: u32 = 0x800;
const IA32_APIC_BASE: u32 = 0x1b;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const IA32_TSC_DEADLINE: u32 = 0x6e0;

/// Register numbers: MSR 800H + n, or byte offset 16 * n.
const ID: u32 = 0x02;
const TPR: u32 = 0x08;
const EOI: u32 = 0x0b;
const SPURIOUS_VECTOR: u32 = 0x0f;
const ISR: u32 = 0x10;
const IRR: u32 = 0x20;
const ESR: u32 = 0x28;
const ICR_LOW: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const LVT_TIMER: u32 = 0x32;
const LVT_FIRST: u32 = 0x32;
const LVT_LAST: u32 = 0x37;

const APIC_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_TSC_DEADLINE: u32 = 0b10 << 17;
const SHORTHAND_OTHERS: u32 = 3 << 18;

/// ESR: a vector below 16 was sent.
pub const ESR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
/// ESR: a vector below 16 was received.
pub const ESR_RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;

/// Delivery modes of an interrupt command, with the level that goes with them.
pub const NMI: u32 = 0x4400;
/// INIT, level assert.
pub const INIT: u32 = 0x4500;
/// SIPI; the vector is the page to start at.
pub const STARTUP: u32 = 0x4600;
/// Fixed.
pub const FIXED: u32 = 0x4000;

/// 0: not known yet, 1: xAPIC, 2: x2APIC. The same for all CPUs.
static MODE: AtomicU32 = AtomicU32::new(0);

/// Says in which mode all local APICs are or will be.
pub fn set_mode(mode: ApicMode) {
    let number = match mode {
        ApicMode::Xapic => 1,
        ApicMode::X2apic => 2,
    };
    MODE.store(number, Ordering::SeqCst);
}

/// Returns the mode of all local APICs.
pub fn mode() -> ApicMode {
    if MODE.load(Ordering::SeqCst) == 2 {
        ApicMode::X2apic
    } else {
        ApicMode::Xapic
    }
}

/// Puts this CPU's APIC into the mode of [`set_mode`], on the bare machine.
pub fn switch() {
    let mut base = Msr::new(IA32_APIC_BASE);
    // SAFETY: enables the APIC where it is, and leaves xAPIC mode at most.
    unsafe {
        let mut value = base.read() | APIC_BASE_ENABLE;
        if mode() == ApicMode::X2apic {
            value |= APIC_BASE_X2APIC;
        }
        base.write(value);
    }
}

/// Enables this CPU's APIC: nothing masked by priority, all local interrupts masked but the timer, which is in
/// TSC-deadline mode.
pub fn enable(spurious: u8, timer: u8) {
    write(SPURIOUS_VECTOR, APIC_ENABLE | u32::from(spurious));
    write(TPR, 0);
    for lvt in LVT_FIRST..=LVT_LAST {
        write(lvt, LVT_MASKED);
    }
    write(LVT_TIMER, LVT_TSC_DEADLINE | u32::from(timer));
    // An xAPIC write is a store, which must not pass the WRMSR that arms the timer. (SDM 3A, "TSC-Deadline Mode")
    fence(Ordering::SeqCst);
}

/// Returns this CPU's APIC ID.
pub fn id() -> u32 {
    match mode() {
        ApicMode::X2apic => read(ID),
        ApicMode::Xapic => read(ID) >> 24,
    }
}

/// Lets the timer fire at this value of the time-stamp counter; 0 disarms it.
pub fn set_deadline(tsc: u64) {
    // SAFETY: the timer's vector has a gate.
    unsafe { Msr::new(IA32_TSC_DEADLINE).write(tsc) };
}

/// Ends the interrupt in service.
pub fn end_of_interrupt() {
    write(EOI, 0);
}

/// Ends whatever is in service.
pub fn end_all_interrupts() {
    while in_service() != [0; 4] {
        end_of_interrupt();
    }
}

/// Tells whether `vector` is in service.
pub fn is_in_service(vector: u8) -> bool {
    bit(ISR, vector)
}

/// Tells whether `vector` is requested and not yet taken.
pub fn is_requested(vector: u8) -> bool {
    bit(IRR, vector)
}

/// Tells whether any interrupt is requested.
pub fn is_any_requested() -> bool {
    requested() != [0; 4]
}

/// Returns all requested interrupts, lowest vectors first.
pub fn requested() -> [u64; 4] {
    vectors(IRR)
}

/// Returns all interrupts in service, lowest vectors first.
pub fn in_service() -> [u64; 4] {
    vectors(ISR)
}

fn vectors(first: u32) -> [u64; 4] {
    core::array::from_fn(|word| {
        let number = first + 2 * word as u32;
        u64::from(read(number + 1)) << 32 | u64::from(read(number))
    })
}

/// Returns the task priority.
pub fn task_priority() -> u8 {
    read(TPR) as u8
}

/// Sets the task priority. (SDM 3A, "Task Priority")
pub fn set_task_priority(priority: u8) {
    write(TPR, u32::from(priority));
}

/// Returns the errors since the last call. (SDM 3A, "Error Handling")
pub fn take_errors() -> u32 {
    write(ESR, 0);
    read(ESR)
}

/// Returns the interrupt command register: command in the low half, destination in the high half (in xAPIC mode in
/// its topmost byte).
pub fn command() -> u64 {
    match mode() {
        // SAFETY: reads a register of the local APIC.
        ApicMode::X2apic => unsafe { Msr::new(X2APIC_MSR_BASE + ICR_LOW).read() },
        ApicMode::Xapic => u64::from(read(ICR_HIGH)) << 32 | u64::from(read(ICR_LOW)),
    }
}

/// Sends an interrupt command, a delivery mode and a vector, to the CPU with this APIC ID.
pub fn send(id: u32, command: u32) {
    write_command(id, command);
}

/// Sends an interrupt command to all other CPUs.
pub fn send_to_others(command: u32) {
    write_command(0, command | SHORTHAND_OTHERS);
}

fn write_command(destination: u32, command: u32) {
    match mode() {
        ApicMode::X2apic => {
            let value = u64::from(destination) << 32 | u64::from(command);
            // SAFETY: what reaches other CPUs are interrupts for which they have gates, or starts them.
            unsafe { Msr::new(X2APIC_MSR_BASE + ICR_LOW).write(value) };
        }
        ApicMode::Xapic => {
            write(ICR_HIGH, destination << 24);
            write(ICR_LOW, command);
        }
    }
}

fn bit(first: u32, vector: u8) -> bool {
    read(first + u32::from(vector) / 32) & 1 << (vector % 32) != 0
}

fn read(number: u32) -> u32 {
    match mode() {
        // SAFETY: reads a register of the local APIC, which is in x2APIC mode.
        ApicMode::X2apic => unsafe { Msr::new(X2APIC_MSR_BASE + number).read() as u32 },
        // SAFETY: the page is mapped and holds the local APIC's registers.
        ApicMode::Xapic => unsafe { register(number).read_volatile() },
    }
}

fn write(number: u32, value: u32) {
    match mode() {
        // SAFETY: the registers that this module writes raise only vectors that have gates.
        ApicMode::X2apic => unsafe {
            Msr::new(X2APIC_MSR_BASE + number).write(u64::from(value));
        },
        // SAFETY: as in `read`.
        ApicMode::Xapic => unsafe { register(number).write_volatile(value) },
    }
}

fn register(number: u32) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut(XAPIC_BASE + 16 * number as usize)
}
