// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is compared after each step: everything of user interrupts that software can see.

use arrayvec::ArrayVec;

use super::step::UPIDS;

/// Most events of a step that are compared one by one: a handler for each user vector, and some interrupts.
pub const MAX_EVENTS: usize = 72;
/// Words of a descriptor's slot.
pub const SLOT_WORDS: usize = 8;

/// An interrupt or a user interrupt that a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// It went to the user-interrupt handler, else through the IDT.
    pub is_user: bool,
    /// Vector, or user vector.
    pub vector: u64,
    /// RIP of the interrupted code, normalized.
    pub rip: u64,
    /// RFLAGS of the interrupted code.
    pub rflags: u64,
    /// RSP of the interrupted code.
    pub rsp: u64,
    /// RSP at the handler's entry (user interrupts).
    pub handler_rsp: u64,
    /// UIF in the handler (user interrupts).
    pub uif: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Vector of the exception, or [`END`].
    pub vector: u8,
    /// Error code, 0 where there is none.
    pub error_code: u32,
    /// CR2 of a page fault, else 0.
    pub cr2: u64,
    /// RIP, normalized.
    pub rip: u64,
    /// RFLAGS, without RF: exceptions set it in what they push.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
}

/// [`End::vector`] of code that came to its end.
pub const END: u8 = 0x80;

/// What can be seen after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// The six MSRs, 985H to 98AH.
    pub msrs: [u64; 6],
    /// UIF.
    pub uif: bool,
    /// The descriptors with the rest of their slots.
    pub upids: [[u64; SLOT_WORDS]; UPIDS],
    /// Requested interrupts.
    pub irr: [u64; 4],
    /// Interrupts in service.
    pub isr: [u64; 4],
    /// Task priority.
    pub tpr: u8,
    /// Interrupt command register.
    pub icr: u64,
    /// Errors of the local APIC since the last step.
    pub errors: u32,
    /// How the step's code ended; zeroes for steps without code.
    pub end: End,
    /// Interrupts and user interrupts in their order, as many as there is room for.
    pub events: ArrayVec<Event, MAX_EVENTS>,
    /// How many there were.
    pub event_count: usize,
    /// XSTATE_BV tells that XSAVES saved the component.
    pub is_saved: bool,
    /// What it saved.
    pub image: [u64; 6],
}

/// A difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field.
    pub field: &'static str,
    /// Its number, where there are several.
    pub number: usize,
    /// The machine's value.
    pub machine: u64,
    /// The model's value.
    pub model: u64,
}

impl Visible {
    /// Keeps an event.
    pub fn push(&mut self, event: Event) {
        self.event_count += 1;
        // The count tells of those that have no room.
        let _ = self.events.try_push(event);
    }

    /// Calls `each` with all values under their names: the name, a number, the value of both.
    pub fn compare(&self, model: &Self, each: &mut dyn FnMut(Difference)) {
        let mut several = |field, machine: &[u64], model: &[u64]| {
            let pairs = machine.iter().zip(model);
            for (number, (&machine, &model)) in pairs.enumerate() {
                each(Difference {
                    field,
                    number,
                    machine,
                    model,
                });
            }
        };
        let ends = self.end.words().into_iter().zip(model.end.words());
        for (name, (machine, model)) in End::NAMES.into_iter().zip(ends) {
            several(name, &[machine], &[model]);
        }
        several("msr", &self.msrs, &model.msrs);
        several("uif", &[self.uif.into()], &[model.uif.into()]);
        for (machine, model) in self.upids.iter().zip(&model.upids) {
            several("upid", machine, model);
        }
        several("irr", &self.irr, &model.irr);
        several("isr", &self.isr, &model.isr);
        several("tpr", &[self.tpr.into()], &[model.tpr.into()]);
        several("icr", &[self.icr], &[model.icr]);
        several("esr", &[self.errors.into()], &[model.errors.into()]);
        let counts = [self, model].map(|visible| [visible.event_count as u64]);
        several("events", &counts[0], &counts[1]);
        // Where one has more, the other has zeroes.
        for index in 0..self.events.len().max(model.events.len()) {
            let [machine, model] = [self, model].map(|visible| {
                let event = visible.events.get(index).copied();
                event.unwrap_or_default().words()
            });
            for (name, (machine, model)) in
                Event::NAMES.into_iter().zip(machine.into_iter().zip(model))
            {
                several(name, &[machine], &[model]);
            }
        }
        several("saved", &[self.is_saved.into()], &[model.is_saved.into()]);
        several("image", &self.image, &model.image);
    }
}

impl End {
    const NAMES: [&str; 6] = [
        "end.vector",
        "end.error",
        "end.cr2",
        "end.rip",
        "end.rflags",
        "end.rsp",
    ];

    fn words(&self) -> [u64; 6] {
        [
            self.vector.into(),
            self.error_code.into(),
            self.cr2,
            self.rip,
            self.rflags,
            self.rsp,
        ]
    }
}

impl Event {
    const NAMES: [&str; 7] = [
        "event.is_user",
        "event.vector",
        "event.rip",
        "event.rflags",
        "event.rsp",
        "event.handler_rsp",
        "event.uif",
    ];

    fn words(&self) -> [u64; 7] {
        [
            self.is_user.into(),
            self.vector,
            self.rip,
            self.rflags,
            self.rsp,
            self.handler_rsp,
            self.uif.into(),
        ]
    }
}
