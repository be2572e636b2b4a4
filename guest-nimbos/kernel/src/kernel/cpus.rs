// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CPUs: what all of them know of each, and how one calls another.

use hv_abi::hypercall::errno;

use super::Kernel;
use crate::arch::hypercall;
use crate::arch::paging;
use crate::arch::per_cpu::{self, MAX_CPUS};
use crate::interrupts::{Interrupts, RESCHEDULE};
use crate::process::ProcessNo;

/// One bit for each CPU.
pub type CpuSet = u32;

const _: () = assert!(MAX_CPUS <= CpuSet::BITS as usize);

/// What all CPUs know of each.
#[derive(Debug)]
pub struct Cpus {
    apic_ids: [u32; MAX_CPUS],
    count: usize,
    /// The process whose memory the CPU has active. With several CPUs it runs a thread of it then, so that nobody takes the memory
    /// away from under it; the only CPU of a cell keeps the memory while it idles.
    loaded: [Option<ProcessNo>; MAX_CPUS],
    /// Those that wait for an interrupt.
    idle: CpuSet,
    /// Those that are to be interrupted before this one leaves the kernel.
    called: CpuSet,
}

impl Cpus {
    /// Returns no CPUs.
    pub const fn new() -> Self {
        Self {
            apic_ids: [0; MAX_CPUS],
            count: 0,
            loaded: [None; MAX_CPUS],
            idle: 0,
            called: 0,
        }
    }

    /// Adds a CPU that runs; they are numbered in this order.
    pub fn add(&mut self, apic_id: u32) {
        self.apic_ids[self.count] = apic_id;
        self.count += 1;
    }

    /// Returns how many run.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Interrupts a CPU before this one leaves the kernel.
    pub fn call(&mut self, cpu: usize) {
        self.called |= 1 << cpu;
    }

    /// Interrupts all CPUs but this one before it leaves the kernel.
    pub fn call_others(&mut self) {
        self.called = (0..self.count).fold(0, |set, cpu| set | 1 << cpu);
    }

    /// Says that this CPU waits for an interrupt, or does no more.
    pub fn set_idle(&mut self, cpu: usize, is_idle: bool) {
        if is_idle {
            self.idle |= 1 << cpu;
        } else {
            self.idle &= !(1 << cpu);
        }
    }

    /// Calls a CPU that waits for an interrupt, if there is one.
    pub fn call_idle(&mut self) {
        if self.idle != 0 {
            let lowest = self.idle & self.idle.wrapping_neg();
            self.idle &= !lowest;
            self.called |= lowest;
        }
    }

    /// Interrupts those that were called, from the CPU `cpu`.
    pub fn send_calls(&mut self, cpu: usize, interrupts: &mut Interrupts) {
        let called = core::mem::take(&mut self.called) & !(1 << cpu);
        for other in (0..self.count).filter(|other| called >> other & 1 != 0) {
            let apic_id = self.apic_ids[other];
            interrupts.apic().send_interrupt(apic_id, RESCHEDULE);
        }
    }
}

impl Kernel {
    /// Gives the CPU `cpu` the memory of a process.
    #[inline(always)]
    pub fn enter_space(&mut self, cpu: usize, process: ProcessNo) {
        if self.cpus.loaded[cpu] != Some(process) {
            // SAFETY: `leave_space` comes before it is dropped.
            #[expect(unsafe_code, reason = "changes the address space")]
            unsafe {
                self.processes[process].space().activate();
            }
            self.cpus.loaded[cpu] = Some(process);
        }
    }

    /// Lets the CPU `cpu` have no process's memory, if there are others which might take that away.
    #[inline(always)]
    pub fn leave_space_to_idle(&mut self, cpu: usize) {
        if self.cpus.count > 1 && self.cpus.loaded[cpu].take().is_some() {
            paging::activate_kernel();
        }
    }

    /// Lets this CPU forget what it knows of the mappings that it has active.
    pub fn reload_space(&mut self) {
        let cpu = per_cpu::number();
        if let Some(process) = self.cpus.loaded[cpu].take() {
            self.enter_space(cpu, process);
        }
    }

    /// Sees to it that no CPU has the memory of a process active, of which no thread runs any more: only this one can.
    pub fn leave_space(&mut self, process: ProcessNo) {
        let cpu = per_cpu::number();
        if self.cpus.loaded[cpu] == Some(process) {
            paging::activate_kernel();
            self.cpus.loaded[cpu] = None;
        }
    }

    /// Returns the VM exits of all CPUs, or a negative errno: -ENOENT where there is no hypervisor.
    pub fn vm_exits(&self) -> i64 {
        if !self.features.has_hypervisor {
            return errno::ENOENT;
        }
        let mut sum: i64 = 0;
        for &apic_id in &self.cpus.apic_ids[..self.cpus.count] {
            match hypercall::vm_exits(apic_id) {
                count if count >= 0 => sum = sum.saturating_add(count),
                errno => return errno,
            }
        }
        sum
    }
}
