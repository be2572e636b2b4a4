// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC in both modes. (SDM 3A, "APIC")

use x86_64::registers::model_specific::Msr;

/// Where the xAPIC's registers are.
const XAPIC_BASE: usize = 0xfee0_0000;
const X2APIC_MSR_BASE: u32 = 0x800;
const IA32_TSC_DEADLINE: u32 = 0x6e0;
/// MSR of the interrupt command register in x2APIC mode.
pub const X2APIC_ICR: u32 = 0x830;

/// Register numbers: MSR 800H + n, or byte offset 16 * n.
const TASK_PRIORITY: u32 = 0x08;
const EOI: u32 = 0x0b;
const LOGICAL_DESTINATION: u32 = 0x0d;
const DESTINATION_FORMAT: u32 = 0x0e;
const SPURIOUS_VECTOR: u32 = 0x0f;
const ICR_LOW: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const LVT_TIMER: u32 = 0x32;
const LVT_LINT0: u32 = 0x35;

const APIC_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_TSC_DEADLINE: u32 = 0b10 << 17;

/// Delivery modes of an interrupt command, with the level that goes with them.
pub const NMI: u32 = 0x4400;
/// INIT, level assert.
pub const INIT: u32 = 0x4500;
/// SIPI; the vector is the page to start at.
pub const STARTUP: u32 = 0x4600;
/// Fixed.
pub const FIXED: u32 = 0x4000;

/// To which CPUs an interrupt command goes.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// The one with this APIC ID.
    Id(u32),
    /// All, by physical destination.
    Broadcast,
    /// All, by shorthand.
    AllIncludingSelf,
    /// All but the sender, by shorthand.
    AllExcludingSelf,
}

/// The local APIC of this CPU.
#[derive(Clone, Copy, Debug)]
pub struct Apic {
    is_x2apic: bool,
}

impl Apic {
    /// Registers that only the cell changes: task priority, spurious vector, LVT. (Register numbers, for
    /// [`Self::read`])
    pub const STATE: [u32; 6] = [
        TASK_PRIORITY,
        SPURIOUS_VECTOR,
        LVT_TIMER,
        LVT_LINT0,
        0x36,
        0x37,
    ];

    /// Returns the APIC of the CPU, which the hypervisor has put into its mode.
    pub fn new(is_x2apic: bool) -> Self {
        Self { is_x2apic }
    }

    /// Tells whether it is in x2APIC mode.
    pub fn is_x2apic(self) -> bool {
        self.is_x2apic
    }

    /// Enables it.
    pub fn enable(self, spurious: u8) {
        self.write(SPURIOUS_VECTOR, APIC_ENABLE | u32::from(spurious));
    }

    /// Tells whether interrupts of the 8259s are masked.
    pub fn is_lint0_masked(self) -> bool {
        self.read(LVT_LINT0) & LVT_MASKED != 0
    }

    /// Returns the task priority register.
    pub fn task_priority(self) -> u32 {
        self.read(TASK_PRIORITY)
    }

    /// Sets the task priority register.
    pub fn set_task_priority(self, priority: u8) {
        self.write(TASK_PRIORITY, priority.into());
    }

    /// Gives the CPU a logical ID of 8 bits, by the flat model. In x2APIC mode it has one already: bit n for APIC ID n below
    /// 16. (SDM 3A, "Logical Destination Mode in x2APIC Mode")
    pub fn set_logical_id(self, id: u32) {
        if !self.is_x2apic {
            self.write(DESTINATION_FORMAT, u32::MAX);
            self.write(LOGICAL_DESTINATION, id << 24);
        }
    }

    /// Ends the interrupt in service.
    pub fn end_of_interrupt(self) {
        self.write(EOI, 0);
    }

    /// Lets the timer raise `vector` at the deadlines that [`set_deadline`] sets.
    pub fn use_deadlines(self, vector: u8) {
        self.write(LVT_TIMER, LVT_TSC_DEADLINE | u32::from(vector));
        // An xAPIC write is a store, which must not pass the WRMSR that arms the timer. (SDM 3A, "TSC-Deadline Mode")
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }

    /// Sends an interrupt command: a delivery mode and a vector.
    pub fn send(self, target: Target, command: u32) {
        const SHORTHAND_ALL: u32 = 2 << 18;
        const SHORTHAND_OTHERS: u32 = 3 << 18;
        let (destination, shorthand) = match target {
            Target::Id(id) => (id, 0),
            Target::Broadcast => (u32::MAX, 0),
            Target::AllIncludingSelf => (0, SHORTHAND_ALL),
            Target::AllExcludingSelf => (0, SHORTHAND_OTHERS),
        };
        self.command(destination, command | shorthand);
    }

    /// Writes an interrupt command as it is.
    pub fn command(self, destination: u32, low: u32) {
        if self.is_x2apic {
            let value = u64::from(destination) << 32 | u64::from(low);
            // SAFETY: what the command does to CPUs of this cell is what the test wants; it reaches no others.
            unsafe { Msr::new(X2APIC_ICR).write(value) };
        } else {
            self.write(ICR_HIGH, destination << 24);
            self.write(ICR_LOW, low);
        }
    }

    /// Sets the destination for a command that is sent otherwise; in xAPIC mode only.
    pub fn set_xapic_destination(self, id: u32) {
        self.write(ICR_HIGH, id << 24);
    }

    /// Returns the address of the low half of the xAPIC's interrupt command register.
    pub fn xapic_command_address() -> u64 {
        register(ICR_LOW).addr() as u64
    }

    /// Reads a register by its number.
    pub fn read(self, number: u32) -> u32 {
        if self.is_x2apic {
            // SAFETY: reads a register of the local APIC, which is in x2APIC mode.
            unsafe { Msr::new(X2APIC_MSR_BASE + number).read() as u32 }
        } else {
            // SAFETY: as in `write`.
            unsafe { register(number).read_volatile() }
        }
    }

    /// Writes a register by its number.
    pub fn write(self, number: u32, value: u32) {
        if self.is_x2apic {
            // SAFETY: the registers that this module writes raise only vectors that have gates.
            unsafe { Msr::new(X2APIC_MSR_BASE + number).write(u64::from(value)) };
        } else {
            // SAFETY: the page is mapped and holds the local APIC's registers.
            unsafe { register(number).write_volatile(value) };
        }
    }
}

/// Lets the timer fire at this value of the time-stamp counter; 0 disarms it.
pub fn set_deadline(tsc: u64) {
    // SAFETY: the timer raises a vector that has a gate.
    unsafe { Msr::new(IA32_TSC_DEADLINE).write(tsc) };
}

fn register(number: u32) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut(XAPIC_BASE + 16 * number as usize)
}
