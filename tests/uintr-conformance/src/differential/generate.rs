// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pseudo-random steps. Most values are good, so that much happens; the others are wrong in one way each.
//!
//! The generator looks at the model to keep away from what cannot be compared:
//! * B-2: at CPL 3 the handler is the one that keeps events, or not canonical in the paging mode;
//! * B-4: no compatibility mode; B-7: no HLT; B-8: nothing clears RFLAGS.IF at CPL 3; B-12: SMAP is off;
//! * B-9, and what the manual leaves open: CPL 3 with CR4.UINTR clear only while no user interrupt is requested, and
//!   UIRR is written again after CR4.UINTR was set;
//! * B-10: XRSTORS that initializes is followed by WRMSR of UIRR;
//! * B-16: no destinations that end in FFH; nobody but the own processor is a destination.

use arrayvec::ArrayVec;
use fastrand::Rng;
use uintr::model::Cpu;
use uintr::msr;

use super::step::{Frame, Level, MAX_OPERATIONS, Operation, Rights, Step, Table};
use super::step::{UITT_ENTRIES, UPIDS};
use super::twin::{MSRS, Machine, UPID_STRIDE};

/// Notification vector in most cases.
const NOTIFICATION: u8 = 0xec;
/// Ordinary vectors, that UINV can be too: below and above the usual one.
const OTHERS: [u8; 2] = [0x51, 0xf1];
/// User vectors of the entries.
const USER_VECTORS: [u64; 6] = [0, 5, 9, 31, 40, 63];
/// APIC ID that no processor has.
const ABSENT: u32 = 0x7e;
/// RFLAGS that UIRET may load here: without TF, whose trap is not compared.
const RETURNED_FLAGS: u64 = 0x24_4cd5;

/// Canonical for 57 bits, not for 48.
const WIDE: u64 = 0x0080_0000_0000_0000;
/// Not canonical.
const WILD: u64 = 0x4000_0000_0000_0000;

/// Steps between two resets.
const RESET_INTERVAL: u64 = 64;
/// Steps after a reset that make a receiver and its senders.
const SET_UP_STEPS: u64 = 3 + UITT_ENTRIES as u64;

/// A sequence of steps.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Rng,
    count: u64,
    /// The last step set CR4.UINTR.
    enabled: bool,
}

impl Generator {
    /// Returns the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            count: 0,
            enabled: false,
        }
    }

    /// Returns the next step for a processor in this state.
    pub fn next(&mut self, machine: &Machine, cpu: &Cpu) -> Step {
        let position = self.count % RESET_INTERVAL;
        self.count += 1;
        match position {
            0 => Step::Reset,
            1..=SET_UP_STEPS => self.set_up(position, machine),
            _ if self.enabled && cpu.user.uirr != 0 => {
                self.enabled = false;
                let rewrite = Operation::Wrmsr(msr::IA32_UINTR_RR, cpu.user.uirr);
                run(false, false, &[rewrite])
            }
            _ => {
                let step = self.any(machine, cpu);
                self.enabled = step == Step::SetEnabled(true);
                step
            }
        }
    }

    /// Lets the next step be a reset.
    pub fn begin_anew(&mut self) {
        self.count = 0;
    }

    /// After a reset: two descriptors, the entries, and the MSRs.
    fn set_up(&mut self, position: u64, machine: &Machine) -> Step {
        match position {
            1 | 2 => {
                let control = control(NOTIFICATION, machine, machine.apic_id);
                Step::SetUpid(position as usize - 1, control, 0)
            }
            3..SET_UP_STEPS => self.entry(position as usize - 3, machine),
            _ => {
                let image = self.good_image(machine);
                run(false, false, &[Operation::Xrstors(image)])
            }
        }
    }

    fn any(&mut self, machine: &Machine, cpu: &Cpu) -> Step {
        match self.random.u32(..100) {
            _ if !cpu.cr4_uintr && self.random.u32(..4) == 0 => Step::SetEnabled(true),
            _ if cpu.apic.tpr != 0 && self.random.u32(..8) == 0 => Step::SetTaskPriority(0),
            0..8 => {
                let index = self.random.usize(..UITT_ENTRIES);
                self.entry(index, machine)
            }
            8..20 => self.upid(machine),
            20..23 => self.rights(),
            23..26 => Step::SetEnabled(self.random.u32(..4) != 0),
            26..30 => Step::SetTaskPriority(self.pick(&[0, 0, 0, 0x50, 0xe0, 0xff])),
            30..36 => {
                let vector = self.pick(&[NOTIFICATION, NOTIFICATION, OTHERS[0], OTHERS[1]]);
                Step::SendSelf(vector)
            }
            _ => self.code(machine, cpu),
        }
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.random.usize(..values.len())]
    }

    /// Tells whether something goes wrong this time.
    fn errs(&mut self) -> bool {
        self.random.u32(..30) == 0
    }

    fn entry(&mut self, index: usize, machine: &Machine) -> Step {
        let mut low = self.pick(&USER_VECTORS) << 8 | 1;
        let mut high = machine.upids + UPID_STRIDE * self.random.u64(..UPIDS as u64);
        if self.errs() {
            low ^= 1 << self.random.u32(..64);
        }
        if self.errs() {
            high = self.pick(&[high | 1, high | 0x20, absent(machine), WIDE, WILD]);
        }
        Step::SetEntry(index, low, high)
    }

    fn upid(&mut self, machine: &Machine) -> Step {
        let number = self.random.usize(..UPIDS);
        let vector = self.pick(&[
            NOTIFICATION,
            NOTIFICATION,
            NOTIFICATION,
            OTHERS[0],
            OTHERS[1],
        ]);
        let mut word = control(vector, machine, machine.apic_id);
        if self.errs() {
            word = control(NOTIFICATION, machine, ABSENT);
        }
        if self.random.u32(..40) == 0 {
            word = control(15, machine, machine.apic_id);
        }
        if !machine.x2apic {
            // Bits of NDST that xAPIC mode does not look at.
            word |= u64::from(self.random.u32(..) & 0xffff_00ff) << 32;
        }
        word |= self.pick(&[0, 0, 0, 1, 2, 3]);
        if self.errs() {
            word |= 1 << self.pick(&[2, 7, 15, 24, 31]);
        }
        let posted = self.random.u32(..3) == 0;
        let pir = if posted { self.requests() } else { 0 };
        Step::SetUpid(number, word, pir)
    }

    fn rights(&mut self) -> Step {
        let table = self.pick(&[Table::Uitt, Table::Upids, Table::Spare]);
        let all = [
            Rights::None,
            Rights::Read,
            Rights::Write,
            Rights::Write,
            Rights::Write,
        ];
        Step::SetRights(table, self.pick(&all))
    }

    /// Up to four user vectors; sometimes many.
    fn requests(&mut self) -> u64 {
        if self.random.u32(..30) == 0 {
            return self.random.u64(..);
        }
        (0..self.random.u32(1..5)).fold(0, |bits, _| bits | 1 << self.random.u32(..64))
    }

    fn code(&mut self, machine: &Machine, cpu: &Cpu) -> Step {
        let is_pending = cpu.user.uirr != 0 || cpu.recognized;
        let is_handled = cpu.user.handler == machine.handler || cpu.user.handler == WIDE;
        let deviates = !is_handled || is_pending && !cpu.cr4_uintr;
        let is_user = self.random.u32(..4) != 0 && !deviates;
        let is_open = if is_user {
            self.random.u32(..24) != 0
        } else {
            self.random.bool()
        };
        // The machine has memory at address 0, where UPIDADDR points after a reset; the model does not.
        let interrupts = is_open && cpu.user.upid_address != 0;
        let mut operations = ArrayVec::<_, MAX_OPERATIONS>::new();
        for _ in 0..self.random.usize(1..MAX_OPERATIONS) {
            let operation = self.operation(machine, is_user);
            operations.push(operation);
            if operation == Operation::Initialize {
                // There is one place more than operations are drawn.
                operations.push(Operation::Wrmsr(msr::IA32_UINTR_RR, 0));
                break;
            }
        }
        run(is_user, interrupts, &operations)
    }

    fn operation(&mut self, machine: &Machine, is_user: bool) -> Operation {
        match self.random.u32(..100) {
            0..5 => Operation::Wait,
            5..10 => Operation::Testui,
            10..18 => Operation::Stui,
            18..23 => Operation::Clui,
            23..28 => Operation::StuiClui,
            28..36 => self.uiret(machine, is_user),
            36..64 => Operation::Senduipi(self.index()),
            // What follows is privileged: at CPL 3 it is a fault, of which few are enough.
            drawn if is_user && drawn < 98 => Operation::Senduipi(self.index()),
            64..70 => Operation::Rdmsr(self.random.u32(0x985..0x98b)),
            70..88 => self.wrmsr(machine),
            88..92 => Operation::Xsaves,
            92..99 => Operation::Xrstors(self.image(machine)),
            _ => Operation::Initialize,
        }
    }

    fn index(&mut self) -> u64 {
        if self.errs() {
            self.pick(&[UITT_ENTRIES as u64, 1 << 32, u64::MAX, 0x1_0000])
        } else {
            self.random.u64(..UITT_ENTRIES as u64)
        }
    }

    fn uiret(&mut self, machine: &Machine, is_user: bool) -> Operation {
        let mut frame = Frame {
            address: None,
            rip: None,
            rflags: self.random.u64(..) & (RETURNED_FLAGS | !0x25_4dd5),
            rsp: self.rsp(machine),
        };
        if self.errs() {
            frame.rip = Some(self.pick(&[WIDE, WILD]));
        }
        if self.errs() {
            let refused = if is_user { machine.uitt } else { WILD };
            frame.address = Some(self.pick(&[absent(machine), refused, WIDE, WILD]));
        }
        Operation::Uiret(frame)
    }

    fn rsp(&mut self, machine: &Machine) -> u64 {
        if self.errs() {
            return self.pick(&[absent(machine) + 0x800, machine.uitt + 0x800, WIDE]);
        }
        let tops = [machine.stack_end, machine.spare + 0xe00];
        self.pick(&tops) - self.random.u64(..0x100)
    }

    fn wrmsr(&mut self, machine: &Machine) -> Operation {
        let number = self.pick(&MSRS);
        let value = self.msr_value(number, machine);
        Operation::Wrmsr(number, value)
    }

    /// Returns a value that WRMSR refuses, one that it takes and that faults in use, or, mostly, a good one.
    fn msr_value(&mut self, number: u32, machine: &Machine) -> u64 {
        if self.random.u32(..6) == 0 {
            let good = self.good_value(number, machine);
            return match number {
                msr::IA32_UINTR_MISC => good | 1 << self.random.u32(40..64),
                msr::IA32_UINTR_PD => good | 1 << self.random.u32(..6),
                msr::IA32_UINTR_TT => good | 1 << self.random.u32(1..4),
                _ => WILD | good,
            };
        }
        if self.errs() && number != msr::IA32_UINTR_MISC && number != msr::IA32_UINTR_RR {
            return match number {
                msr::IA32_UINTR_PD => self.pick(&[WIDE, absent(machine), WILD]),
                msr::IA32_UINTR_TT => self.pick(&[WIDE | 1, absent(machine) | 1, WILD]),
                msr::IA32_UINTR_STACKADJUST => {
                    self.pick(&[WIDE | 1, absent(machine) | 1, (machine.uitt + 0x800) | 1])
                }
                _ => WIDE,
            };
        }
        self.good_value(number, machine)
    }

    fn good_value(&mut self, number: u32, machine: &Machine) -> u64 {
        match number {
            msr::IA32_UINTR_RR => self.requests(),
            msr::IA32_UINTR_HANDLER => machine.handler,
            msr::IA32_UINTR_STACKADJUST => {
                let absolute = machine.spare + 0x800;
                self.pick(&[128, 128, 0, 8, 0x200, absolute | 1, absolute | 9])
            }
            msr::IA32_UINTR_MISC => {
                let usual = NOTIFICATION;
                let uinv = self.pick(&[usual, usual, usual, usual, usual, 0, OTHERS[0], OTHERS[1]]);
                let size = if self.errs() {
                    self.random.u32(..8)
                } else {
                    UITT_ENTRIES as u32 - 1
                };
                msr::misc(uinv, size)
            }
            msr::IA32_UINTR_PD => machine.upids + UPID_STRIDE * self.random.u64(..UPIDS as u64),
            _ => machine.uitt | u64::from(self.random.u32(..16) != 0),
        }
    }

    /// Returns an image with at most few errors.
    fn image(&mut self, machine: &Machine) -> [u64; 6] {
        let mut image = self.good_image(machine);
        if self.errs() {
            let (field, number) = self.pick(&[
                (0, msr::IA32_UINTR_HANDLER),
                (1, msr::IA32_UINTR_STACKADJUST),
                (2, msr::IA32_UINTR_MISC),
                (3, msr::IA32_UINTR_PD),
                (5, msr::IA32_UINTR_TT),
            ]);
            image[field] = self.msr_value(number, machine);
        }
        image
    }

    fn good_image(&mut self, machine: &Machine) -> [u64; 6] {
        const UIF: u64 = 1 << 63;
        let uif = if self.random.u32(..4) == 0 { 0 } else { UIF };
        let uirr = if self.random.bool() {
            self.requests()
        } else {
            0
        };
        [
            machine.handler,
            self.good_value(msr::IA32_UINTR_STACKADJUST, machine),
            self.good_value(msr::IA32_UINTR_MISC, machine) | uif,
            self.good_value(msr::IA32_UINTR_PD, machine),
            uirr,
            self.good_value(msr::IA32_UINTR_TT, machine),
        ]
    }
}

fn run(is_user: bool, interrupts: bool, operations: &[Operation]) -> Step {
    let level = Level {
        is_user,
        interrupts,
    };
    Step::Run(level, operations.iter().copied().collect())
}

/// First word of a descriptor.
fn control(vector: u8, machine: &Machine, apic_id: u32) -> u64 {
    let ndst = uintr::ndst(apic_id, machine.x2apic);
    u64::from(ndst) << 32 | u64::from(vector) << 16
}

/// An address at which no page is.
fn absent(machine: &Machine) -> u64 {
    (machine.stack_end + 0x10_0000) & !0xfff
}
