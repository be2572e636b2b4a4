// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC: end of interrupt, commands to other CPUs, and the TSC-deadline timer. (SDM 3A, "APIC")

use x86_64::registers::model_specific::Msr;

use super::cpu;
use crate::interrupts;

/// Where the xAPIC's registers are mapped.
pub const XAPIC_BASE: u64 = 0xfee0_0000;

const X2APIC_MSR_BASE: u32 = 0x800;
const IA32_TSC_DEADLINE: u32 = 0x6e0;

/// Register numbers: MSR 800H + n, or byte offset 16 * n.
const ID: u32 = 0x02;
const TASK_PRIORITY: u32 = 0x08;
const EOI: u32 = 0x0b;
const SPURIOUS_VECTOR: u32 = 0x0f;
const ERROR_STATUS: u32 = 0x28;
const ICR_LOW: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const LVT_TIMER: u32 = 0x32;
const LVT_LINT0: u32 = 0x35;
const LVT_LINT1: u32 = 0x36;
const LVT_ERROR: u32 = 0x37;

const LVT_MASKED: u32 = 1 << 16;
const LVT_TSC_DEADLINE: u32 = 0b10 << 17;
const APIC_ENABLE: u32 = 1 << 8;

/// Interrupt commands: delivery mode, level assert. (SDM 3A, "Interrupt Command Register (ICR)")
const FIXED: u32 = 0x4000;
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600;

/// The local APIC of this CPU. Its timer ticks, and can fire once between two ticks.
#[derive(Debug)]
pub struct Apic {
    is_x2apic: bool,
    period: u64,
    next_tick: u64,
    /// What the timer is armed for.
    deadline: u64,
}

impl Apic {
    /// Enables the APIC and ticks every `period` of the time-stamp counter.
    ///
    /// The mode is what the hypervisor says: it is the same for all cells and never changes. In xAPIC mode the registers
    /// must be mapped already.
    pub fn start(is_x2apic: bool, period: u64) -> Self {
        let mut apic = Self {
            is_x2apic,
            period,
            next_tick: cpu::tsc() + period,
            deadline: u64::MAX,
        };
        for (register, value) in [
            (
                SPURIOUS_VECTOR,
                APIC_ENABLE | u32::from(interrupts::SPURIOUS),
            ),
            (TASK_PRIORITY, 0),
            (LVT_LINT0, LVT_MASKED),
            (LVT_LINT1, LVT_MASKED),
            (LVT_ERROR, u32::from(interrupts::APIC_ERROR)),
            (LVT_TIMER, LVT_TSC_DEADLINE | u32::from(interrupts::TIMER)),
        ] {
            apic.write(register, value);
        }
        // An xAPIC write is a store, which must not pass the WRMSR that arms the timer. (SDM 3A, "TSC-Deadline Mode")
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        apic.rearm(u64::MAX);
        apic
    }

    /// Tells whether a tick is due at the reading `now`, and goes on to the next one; ticks that were missed are left out.
    pub fn take_tick(&mut self, now: u64) -> bool {
        let is_due = now >= self.next_tick;
        if is_due {
            self.next_tick = (self.next_tick + self.period).max(now + 1);
        }
        is_due
    }

    /// Arms the timer, which has fired, for the next tick or for `deadline`, whichever comes first.
    pub fn rearm(&mut self, deadline: u64) {
        self.deadline = self.next_tick.min(deadline);
        // SAFETY: the timer raises a vector that has a gate.
        unsafe { Msr::new(IA32_TSC_DEADLINE).write(self.deadline) };
    }

    /// Sees to it that the timer fires at `deadline` at the latest.
    #[inline(always)]
    pub fn fire_by(&mut self, deadline: u64) {
        if deadline < self.deadline {
            self.rearm(deadline);
        }
    }

    /// Sends the interrupt `vector` to the CPU with `apic_id`, which is one of this cell.
    pub fn send_interrupt(&mut self, apic_id: u32, vector: u8) {
        self.command(apic_id, FIXED | u32::from(vector));
    }

    /// Sends the interrupt `vector` to the CPU of this cell that NDST of a UPID names; see [`uintr::ndst`].
    pub fn send_to(&mut self, ndst: u32, vector: u8) {
        let apic_id = if self.is_x2apic { ndst } else { ndst >> 8 };
        self.send_interrupt(apic_id, vector);
    }

    /// Sends INIT to the CPU with `apic_id`.
    pub fn send_init(&mut self, apic_id: u32) {
        self.command(apic_id, INIT);
    }

    /// Sends SIPI to the CPU with `apic_id`: it begins at the page with this number.
    pub fn send_startup(&mut self, apic_id: u32, page: u8) {
        self.command(apic_id, STARTUP | u32::from(page));
    }

    fn command(&mut self, apic_id: u32, low: u32) {
        // What the receiver will look at was written before.
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        if self.is_x2apic {
            let value = u64::from(apic_id) << 32 | u64::from(low);
            // SAFETY: the commands of this module start CPUs of this cell or raise vectors that have gates.
            unsafe { Msr::new(X2APIC_MSR_BASE + ICR_LOW).write(value) };
        } else {
            self.write(ICR_HIGH, apic_id << 24);
            self.write(ICR_LOW, low);
        }
    }

    /// Ends the interrupt in service.
    #[inline(always)]
    pub fn end_of_interrupt(&mut self) {
        self.write(EOI, 0);
    }

    /// Returns this CPU's APIC ID.
    pub fn id(&self) -> u32 {
        let id = self.read(ID);
        if self.is_x2apic { id } else { id >> 24 }
    }

    /// Tells the mode.
    pub fn is_x2apic(&self) -> bool {
        self.is_x2apic
    }

    /// Returns the errors since the last call.
    pub fn take_errors(&mut self) -> u32 {
        self.write(ERROR_STATUS, 0);
        self.read(ERROR_STATUS)
    }

    fn read(&self, register: u32) -> u32 {
        if self.is_x2apic {
            // SAFETY: reads a register of the local APIC, which is in x2APIC mode.
            unsafe { Msr::new(X2APIC_MSR_BASE + register).read() as u32 }
        } else {
            // SAFETY: the page is mapped uncached and holds the local APIC's registers.
            unsafe { xapic_register(register).read_volatile() }
        }
    }

    #[inline(always)]
    fn write(&mut self, register: u32, value: u32) {
        if self.is_x2apic {
            // SAFETY: the registers that this module writes raise only vectors that have gates.
            unsafe { Msr::new(X2APIC_MSR_BASE + register).write(u64::from(value)) };
        } else {
            // SAFETY: as for `read` and for the MSR.
            unsafe { xapic_register(register).write_volatile(value) };
        }
    }
}

fn xapic_register(register: u32) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut(XAPIC_BASE as usize + 16 * register as usize)
}
