// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several processors, one memory, and the interrupts that are on their way between them.
//!
//! The caller is the scheduler: it chooses which processor does its next atomic step, and when an interrupt arrives.
//! Whatever it chooses is an order that hardware may show.

use arrayvec::ArrayVec;

use super::apic::Ipi;
use super::deliver::Boundary;
use super::fault::Fault;
use super::memory::Memory;
use super::notify::{Acknowledged, Processing};
use super::state::Cpu;

/// Interrupts that can be on their way at once.
const IN_FLIGHT: usize = 16;

/// What a processor did on a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Nothing: the next instruction is its.
    Instruction,
    /// It acknowledged an ordinary interrupt with this vector, which is in service now.
    Interrupt(u8),
    /// It identified a notification and cleared ON.
    OutstandingCleared,
    /// It took these requests from PIR: processing has ended.
    RequestsTaken(u64),
    /// It entered the handler for this user vector.
    Delivered(u8),
    /// Processing or delivery raised this.
    Fault(Fault),
}

/// A system of `CPUS` processors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct System<const CPUS: usize, M> {
    /// The processors.
    pub cpus: [Cpu; CPUS],
    /// The memory, one address space for all.
    pub memory: M,
    processing: [Option<Processing>; CPUS],
    in_flight: ArrayVec<Ipi, IN_FLIGHT>,
}

impl<const CPUS: usize, M: Memory> System<CPUS, M> {
    /// Returns the system with nothing on its way.
    pub fn new(cpus: [Cpu; CPUS], memory: M) -> Self {
        Self {
            cpus,
            memory,
            processing: [None; CPUS],
            in_flight: ArrayVec::new(),
        }
    }

    /// Executes SENDUIPI on processor `cpu`; returns the notification that went out.
    pub fn senduipi(&mut self, cpu: usize, index: u64) -> Result<Option<Ipi>, Fault> {
        let ipi = self.cpus[cpu].senduipi(&mut self.memory, index)?;
        if let Some(ipi) = ipi {
            self.send(ipi);
        }
        Ok(ipi)
    }

    /// Puts an interrupt on its way. If too many are, the oldest arrives now, which it may do at any time.
    pub fn send(&mut self, ipi: Ipi) {
        if self.in_flight.is_full() {
            self.arrive(0);
        }
        self.in_flight.push(ipi);
    }

    /// Returns the interrupts on their way, oldest first.
    pub fn in_flight(&self) -> &[Ipi] {
        &self.in_flight
    }

    /// Lets the interrupt at `position` of [`Self::in_flight`] arrive; tells whether there is one. One that names no
    /// processor is lost.
    pub fn arrive(&mut self, position: usize) -> bool {
        let Some(ipi) = self.in_flight.pop_at(position) else {
            return false;
        };
        for cpu in &mut self.cpus {
            if cpu.apic.is_named_by(ipi.destination) {
                cpu.apic.accept(ipi.vector);
            }
        }
        true
    }

    /// Tells whether processor `cpu` is between the two steps of notification processing, where it does nothing else.
    pub fn is_processing(&self, cpu: usize) -> bool {
        self.processing[cpu].is_some()
    }

    /// Lets processor `cpu` do what comes first on its boundary: one atomic step.
    pub fn step(&mut self, cpu: usize) -> Event {
        let processor = &mut self.cpus[cpu];
        if let Some(processing) = self.processing[cpu].take() {
            return match processing.take_requests(processor, &mut self.memory) {
                Ok(requests) => Event::RequestsTaken(requests),
                Err(fault) => Event::Fault(fault),
            };
        }
        match processor.boundary() {
            Boundary::Interrupt => self.take_interrupt(cpu),
            Boundary::UserInterrupt => match processor.deliver(&mut self.memory) {
                Ok(user_vector) => Event::Delivered(user_vector),
                Err(fault) => Event::Fault(fault),
            },
            Boundary::Instruction => Event::Instruction,
        }
    }

    fn take_interrupt(&mut self, cpu: usize) -> Event {
        let processor = &mut self.cpus[cpu];
        match processor.acknowledge() {
            None => Event::Instruction,
            Some(Acknowledged::Interrupt(vector)) => Event::Interrupt(vector),
            Some(Acknowledged::Notification) => {
                match Processing::clear_outstanding(processor, &mut self.memory) {
                    Ok(processing) => {
                        self.processing[cpu] = Some(processing);
                        Event::OutstandingCleared
                    }
                    Err(fault) => Event::Fault(fault),
                }
            }
        }
    }
}
