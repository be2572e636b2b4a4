// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest: a VMCS, general registers, and a few instructions of a case, which end by VMCALL.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use uintr::CR4_UINTR;
use x86::bits64::vmx;
use x86::vmx::vmcs::{control, guest, host, ro};
use x86_64::instructions::segmentation::{DS, ES, Segment};
use x86_64::instructions::tables::{sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr3};
use x86_64::registers::model_specific::Efer;
use x86_64::structures::gdt::SegmentSelector;

use super::control::{Controls, DEFAULT};
use super::exit::Exit;
use super::regions::{self, VIRTUAL_APIC, VMCS};
use super::{Vmm, entry, ept};
use crate::case::Failure;
use crate::machine::descriptors::{KERNEL_CODE, KERNEL_DATA, TASK, USER_DATA, task_state};
use crate::machine::run::{Code, Level, Run};
use crate::machine::trap::Registers;
use crate::machine::{BUDGET, apic, cpu};

/// Guest UINV.
pub const GUEST_UINV: u32 = 0x814;
/// VMCALL.
const VMCALL: [u8; 3] = [0x0f, 0x01, 0xc1];
/// What the preemption timer begins with: ticks, at the slowest rate of all processors too many for any guest.
const TIMER: u64 = BUDGET / 10;
const ACTIVITY_ACTIVE: u64 = 0;
const UNUSABLE: u64 = 1 << 16;
const FLAT_LIMIT: u64 = 0xffff_ffff;
/// Access rights without privilege level: 64-bit code, data, busy 64-bit TSS.
const CODE_RIGHTS: u64 = 0xa09b;
const DATA_RIGHTS: u64 = 0xc093;
const TASK_RIGHTS: u64 = 0x8b;
const TASK_LIMIT: u64 = 103;
const DR7_DEFAULT: u64 = 0x400;

/// A guest of this CPU.
#[derive(Debug)]
pub struct Guest<'vmm> {
    slot: usize,
    is_launched: bool,
    /// General registers.
    pub registers: Registers,
    vmm: PhantomData<&'vmm Vmm>,
}

impl<'vmm> Guest<'vmm> {
    /// Makes guest 0 with [`DEFAULT`] controls, which executes `code` at this level, then VMCALL.
    pub fn new(vmm: &'vmm Vmm, level: Level, code: &Code) -> Result<Self, Failure> {
        Self::in_slot(vmm, 0, level, code)
    }

    /// Makes the guest of this number, as [`Guest::new`] does.
    ///
    /// # Panics
    /// If there are not as many guests.
    pub fn in_slot(
        vmm: &'vmm Vmm,
        slot: usize,
        level: Level,
        code: &Code,
    ) -> Result<Self, Failure> {
        let region = &VMCS[slot];
        let this = Self {
            slot,
            is_launched: false,
            registers: Registers::default(),
            vmm: PhantomData,
        };
        region.0[0].store(vmm.revision, Ordering::SeqCst);
        // SAFETY: `vmm` proves VMX root operation; the region is a page of its own with the right revision.
        let cleared = unsafe { vmx::vmclear(region.address()) };
        ensure!(cleared.is_ok(), "VMCLEAR: expected success, saw it fail");
        this.make_current()?;
        this.write_controls()?;
        this.write_host()?;
        this.write_guest()?;
        let mut this = this;
        this.restart(level, code)?;
        Ok(this)
    }

    /// Lets it begin with other code, its registers cleared, active, nothing blocked or pending.
    pub fn restart(&mut self, level: Level, code: &Code) -> Result<(), Failure> {
        self.begin(&Run::new(level, &code.clone().then(&VMCALL)))
    }

    fn begin(&mut self, run: &Run) -> Result<(), Failure> {
        let frame = &run.0;
        self.registers = frame.registers;
        let privilege = (frame.cs & 3) << 5;
        for (field, value) in [
            (guest::RIP, frame.rip),
            (guest::RSP, frame.rsp),
            (guest::RFLAGS, frame.rflags),
            (guest::CS_SELECTOR, frame.cs),
            (guest::SS_SELECTOR, frame.ss),
            (guest::CS_ACCESS_RIGHTS, CODE_RIGHTS | privilege),
            (guest::SS_ACCESS_RIGHTS, DATA_RIGHTS | privilege),
            (guest::ACTIVITY_STATE, ACTIVITY_ACTIVE),
            (guest::INTERRUPTIBILITY_STATE, 0),
            (guest::PENDING_DBG_EXCEPTIONS, 0),
            (control::VMENTRY_INTERRUPTION_INFO_FIELD, 0),
        ] {
            self.write(field, value)?;
        }
        Ok(())
    }

    /// Returns its number.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Reads a VMCS field.
    pub fn read(&self, field: u32) -> Result<u64, Failure> {
        self.make_current()?;
        // SAFETY: a VMCS is current; VMREAD has no other effect.
        match unsafe { vmx::vmread(field) } {
            Ok(value) => Ok(value),
            Err(_) => wrong!("VMREAD of field {field:#x}: expected success, saw it fail"),
        }
    }

    /// Writes a VMCS field.
    pub fn write(&self, field: u32, value: u64) -> Result<(), Failure> {
        self.make_current()?;
        // SAFETY: a VMCS is current. What a field makes the processor do is decided at VM entry.
        let written = unsafe { vmx::vmwrite(field, value) };
        ensure!(
            written.is_ok(),
            "VMWRITE of field {field:#x}: expected success, saw it fail"
        );
        Ok(())
    }

    /// Sets controls, which the processor must have.
    pub fn set(&self, controls: Controls, bits: u32) -> Result<(), Failure> {
        ensure!(
            controls.has(bits),
            "the processor has not all of {controls:?} controls {bits:#x}"
        );
        let old = self.read(controls.field())?;
        self.write(controls.field(), old | u64::from(bits))
    }

    /// Clears controls that may be 0.
    pub fn clear(&self, controls: Controls, bits: u32) -> Result<(), Failure> {
        let old = self.read(controls.field())?;
        self.write(controls.field(), old & !u64::from(bits))
    }

    /// Sets bits of RFLAGS.
    pub fn set_flags(&self, bits: u64) -> Result<(), Failure> {
        let old = self.read(guest::RFLAGS)?;
        self.write(guest::RFLAGS, old | bits)
    }

    /// Gives it an event that VM entry injects. (SDM 3C, "VM-Entry Controls for Event Injection")
    pub fn inject(&self, information: u32) -> Result<(), Failure> {
        self.write(
            control::VMENTRY_INTERRUPTION_INFO_FIELD,
            u64::from(information),
        )
    }

    /// Runs it until its next VM exit. The watchdog of the case waits meanwhile: the preemption timer is there.
    pub fn run(&mut self) -> Result<Exit, Failure> {
        const ENTRY_FAILURE: u64 = 1 << 31;
        self.make_current()?;
        self.write(host::CR4, cpu::cr4() & !CR4_UINTR)?;
        apic::set_deadline(0);
        // SAFETY: the VMCS is this guest's: its host state is this CPU's, its address space is the image's own, its
        // instructions are the case's.
        let result = unsafe {
            ept::invalidate();
            entry::enter(&mut self.registers, u64::from(self.is_launched))
        };
        apic::set_deadline(cpu::tsc() + 4 * BUDGET);
        reload_data_segments();
        if result != 0 {
            let error = self.read(ro::VM_INSTRUCTION_ERROR)?;
            wrong!("VM entry: expected success, saw VM-instruction error {error}");
        }
        let reason = self.read(ro::EXIT_REASON)?;
        self.is_launched |= reason & ENTRY_FAILURE == 0;
        Ok(Exit {
            reason: reason as u16,
            is_entry_failure: reason & ENTRY_FAILURE != 0,
            qualification: self.read(ro::EXIT_QUALIFICATION)?,
            interruption: self.read(ro::VMEXIT_INTERRUPTION_INFO)? as u32,
            idt_vectoring: self.read(ro::IDT_VECTORING_INFO)? as u32,
            linear: self.read(ro::GUEST_LINEAR_ADDR)?,
            physical: self.read(ro::GUEST_PHYSICAL_ADDR_FULL)?,
            rip: self.read(guest::RIP)?,
        })
    }

    /// Runs it and expects an exit for this reason; `when` says of what.
    pub fn run_until(&mut self, reason: u16, when: &str) -> Result<Exit, Failure> {
        let exit = self.run()?;
        ensure!(
            exit.is(reason),
            "{when}: expected exit {reason}, saw {exit}"
        );
        Ok(exit)
    }

    fn make_current(&self) -> Result<(), Failure> {
        // SAFETY: the region holds a VMCS that VMCLEAR has initialized, and `vmm` proves VMX root operation.
        let loaded = unsafe { vmx::vmptrld(VMCS[self.slot].address()) };
        ensure!(loaded.is_ok(), "VMPTRLD: expected success, saw it fail");
        Ok(())
    }

    fn write_controls(&self) -> Result<(), Failure> {
        for (controls, bits) in DEFAULT {
            self.write(controls.field(), u64::from(controls.required()))?;
            self.set(controls, bits)?;
        }
        for (field, value) in [
            (control::EXCEPTION_BITMAP, 0xffff_ffff),
            (control::EPTP_FULL, ept::pointer()),
            (
                control::MSR_BITMAPS_ADDR_FULL,
                regions::MSR_BITMAPS.address(),
            ),
            (
                control::VIRT_APIC_ADDR_FULL,
                VIRTUAL_APIC[self.slot].address(),
            ),
            (control::XSS_EXITING_BITMAP_FULL, 0),
            (control::TPR_THRESHOLD, 0),
            (control::CR3_TARGET_COUNT, 0),
            (control::PAGE_FAULT_ERR_CODE_MASK, 0),
            (control::PAGE_FAULT_ERR_CODE_MATCH, 0),
            (control::VMEXIT_MSR_STORE_COUNT, 0),
            (control::VMEXIT_MSR_LOAD_COUNT, 0),
            (control::VMENTRY_MSR_LOAD_COUNT, 0),
            (control::CR0_GUEST_HOST_MASK, 0),
            (control::CR4_GUEST_HOST_MASK, 0),
            (guest::VMX_PREEMPTION_TIMER_VALUE, TIMER),
        ] {
            self.write(field, value)?;
        }
        Ok(())
    }

    fn write_host(&self) -> Result<(), Failure> {
        for (field, value) in [
            (host::CS_SELECTOR, u64::from(KERNEL_CODE)),
            (host::SS_SELECTOR, u64::from(KERNEL_DATA)),
            // `reload_data_segments` loads the real ones, whose privilege level VM exits do not permit.
            (host::DS_SELECTOR, u64::from(KERNEL_DATA)),
            (host::ES_SELECTOR, u64::from(KERNEL_DATA)),
            (host::FS_SELECTOR, 0),
            (host::GS_SELECTOR, 0),
            (host::TR_SELECTOR, u64::from(TASK)),
            (host::FS_BASE, 0),
            (host::GS_BASE, 0),
            (host::TR_BASE, task_state(cpu::index())),
            (host::GDTR_BASE, sgdt().base.as_u64()),
            (host::IDTR_BASE, sidt().base.as_u64()),
            (host::CR0, Cr0::read_raw()),
            (host::CR3, Cr3::read_raw().0.start_address().as_u64()),
            (host::IA32_EFER_FULL, Efer::read_raw()),
            (host::IA32_SYSENTER_CS, 0),
            (host::IA32_SYSENTER_ESP, 0),
            (host::IA32_SYSENTER_EIP, 0),
        ] {
            self.write(field, value)?;
        }
        Ok(())
    }

    fn write_guest(&self) -> Result<(), Failure> {
        for (field, value) in [
            (guest::CR0, Cr0::read_raw()),
            (guest::CR3, Cr3::read_raw().0.start_address().as_u64()),
            (guest::CR4, cpu::cr4() | CR4_UINTR),
            (guest::DR7, DR7_DEFAULT),
            (guest::IA32_EFER_FULL, Efer::read_raw()),
            (guest::IA32_DEBUGCTL_FULL, 0),
            (guest::IA32_SYSENTER_CS, 0),
            (guest::IA32_SYSENTER_ESP, 0),
            (guest::IA32_SYSENTER_EIP, 0),
            (guest::LINK_PTR_FULL, u64::MAX),
            (guest::GDTR_BASE, sgdt().base.as_u64()),
            (guest::GDTR_LIMIT, u64::from(sgdt().limit)),
            (guest::IDTR_BASE, sidt().base.as_u64()),
            (guest::IDTR_LIMIT, u64::from(sidt().limit)),
            (guest::TR_SELECTOR, u64::from(TASK)),
            (guest::TR_BASE, task_state(cpu::index())),
            (guest::TR_LIMIT, TASK_LIMIT),
            (guest::TR_ACCESS_RIGHTS, TASK_RIGHTS),
            (guest::CS_BASE, 0),
            (guest::CS_LIMIT, FLAT_LIMIT),
            (guest::SS_BASE, 0),
            (guest::SS_LIMIT, FLAT_LIMIT),
        ] {
            self.write(field, value)?;
        }
        let user_data = DATA_RIGHTS | 3 << 5;
        for (selector, base, limit, rights, value, value_rights) in [
            (
                guest::ES_SELECTOR,
                guest::ES_BASE,
                guest::ES_LIMIT,
                guest::ES_ACCESS_RIGHTS,
                USER_DATA,
                user_data,
            ),
            (
                guest::DS_SELECTOR,
                guest::DS_BASE,
                guest::DS_LIMIT,
                guest::DS_ACCESS_RIGHTS,
                USER_DATA,
                user_data,
            ),
            (
                guest::FS_SELECTOR,
                guest::FS_BASE,
                guest::FS_LIMIT,
                guest::FS_ACCESS_RIGHTS,
                0,
                UNUSABLE,
            ),
            (
                guest::GS_SELECTOR,
                guest::GS_BASE,
                guest::GS_LIMIT,
                guest::GS_ACCESS_RIGHTS,
                0,
                UNUSABLE,
            ),
            (
                guest::LDTR_SELECTOR,
                guest::LDTR_BASE,
                guest::LDTR_LIMIT,
                guest::LDTR_ACCESS_RIGHTS,
                0,
                UNUSABLE,
            ),
        ] {
            self.write(selector, u64::from(value))?;
            self.write(base, 0)?;
            self.write(limit, FLAT_LIMIT)?;
            self.write(rights, value_rights)?;
        }
        Ok(())
    }
}

/// Loads the data segments that the image uses and that VM exits leave otherwise.
fn reload_data_segments() {
    // SAFETY: the selector names a flat data segment.
    unsafe {
        DS::set_reg(SegmentSelector(USER_DATA));
        ES::set_reg(SegmentSelector(USER_DATA));
    }
}
