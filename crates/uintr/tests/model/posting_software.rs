// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operating system does around the hardware: it moves a receiver between processors and states without losing
//! posts. Each function is one atomic step, so that senders can come in between.

use uintr::model::{Cpu, Destination, Image, Ipi, Memory, Privilege};
use uintr::msr::IA32_UINTR_RR;

use crate::fixture::{UINV, control};

pub const ON: u64 = 1;
pub const SN: u64 = 2;

const KERNEL: Privilege = Privilege::ImplicitSupervisor;

/// Reads a word of a UPID.
pub fn load(memory: &impl Memory, address: u64) -> u64 {
    memory
        .read(address, uintr::model::Direction::Read, KERNEL)
        .expect("UPIDs are mapped")
}

/// Writes a word of a UPID.
pub fn store(memory: &mut impl Memory, address: u64, value: u64) {
    memory
        .write(address, value, KERNEL)
        .expect("UPIDs are mapped");
}

/// Takes PIR.
pub fn take_pir(memory: &mut impl Memory, upid: u64) -> u64 {
    let requests = load(memory, upid + 8);
    store(memory, upid + 8, 0);
    requests
}

/// Suppresses notifications: first step of switching a receiver out.
pub fn suppress(memory: &mut impl Memory, upid: u64) {
    let control = load(memory, upid);
    store(memory, upid, control | SN);
}

/// Saves the receiver's state and leaves the processor with none: second step of switching out.
pub fn save(cpu: &mut Cpu) -> Option<Image> {
    let image = cpu.xsaves().expect("the kernel runs at CPL 0");
    cpu.xrstors(None).expect("XSAVES has cleared UINV");
    image
}

/// Loads the receiver's state: first step of switching in. Interrupts are disabled until the last one.
pub fn restore(cpu: &mut Cpu, image: Option<&Image>) {
    cpu.xrstors(image).expect("XSAVES made the image");
}

/// Directs notifications to the processor `apic_id`, with none outstanding and none suppressed: second step.
///
/// ON has to go. A notification that was sent before the receiver was switched out may have been an ordinary
/// interrupt that nobody waited for, and then nothing else would clear ON.
pub fn direct_to(memory: &mut impl Memory, upid: u64, apic_id: u32) {
    store(memory, upid, control(UINV, apic_id));
}

/// Does as [`direct_to`] but keeps ON: the mistake that the tests must find.
pub fn direct_to_keeping_on(memory: &mut impl Memory, upid: u64, apic_id: u32) {
    let outstanding = load(memory, upid) & ON;
    store(memory, upid, control(UINV, apic_id) | outstanding);
}

/// Raises again what was posted while nobody was notified, by the notification that senders left out: third step.
pub fn raise_by_ipi(memory: &impl Memory, upid: u64, apic_id: u32) -> Option<Ipi> {
    (load(memory, upid + 8) != 0).then_some(Ipi {
        vector: UINV,
        destination: Destination::Physical(apic_id),
    })
}

/// Does as [`raise_by_ipi`] without an interrupt: moves the requests to UIRR.
pub fn raise_by_msr(cpu: &mut Cpu, memory: &mut impl Memory, upid: u64) {
    let requests = take_pir(memory, upid) | cpu.user.uirr;
    cpu.wrmsr(IA32_UINTR_RR, requests)
        .expect("the kernel runs at CPL 0");
}
