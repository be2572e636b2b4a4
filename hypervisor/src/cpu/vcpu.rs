//! A cell's CPU: its VMCS and registers. Reachable only by the CPU that runs it.

use bit_field::BitField;

use super::CpuShared;
use crate::address::GuestPhys;
use crate::arch::control_regs::{
    CR0_ET, CR0_NE, CR0_PE, CR0_PG, CR4_LA57, CR4_PAE, CR4_SMXE, CR4_VMXE, EFER_LMA, EFER_LME,
};
use crate::arch::{control_regs, cpuid, descriptors, msr, uintr};
use crate::cell::Cell;
use crate::cell::msr_policy::XSS_ALLOWED;
use crate::vmx::capability::{
    Controls, ENTRY_IA32E_GUEST, PIN_PREEMPTION_TIMER, PRIMARY_FILTERED_DOORBELL,
    PRIMARY_NMI_WINDOW,
};
use crate::vmx::enter::{RDI, RSI};
use crate::vmx::fields::{self, segment};
use crate::vmx::{GuestRegs, VirtualApicPage, Vmcs};

/// PAT after RESET. (SDM 3A, "Programming the PAT")
const PAT_RESET: u64 = 0x0007_0406_0007_0406;
const VALID: u32 = 1 << 31;
const BLOCKED_BY_STI_OR_MOV_SS: u32 = 0b11;
const BLOCKED_BY_NMI: u32 = 1 << 3;

/// CR4 bits that no cell may set: the hypervisor's VMXE, SMX, and five-level paging, which is hidden (with the
/// hypervisor on four levels, host-state canonicality would differ).
pub const CR4_DENIED: u64 = CR4_VMXE | CR4_SMXE | CR4_LA57;

/// Addresses of this CPU's own structures, for the host-state area.
#[derive(Clone, Copy, Debug)]
pub struct HostState {
    /// GDT and TSS.
    pub descriptors: descriptors::DescriptorBases,
    /// IDT.
    pub idt: u64,
    /// GS base: the CPU's [`CpuShared`].
    pub gs: u64,
}

/// Where and how the cell's first CPU is entered, in 64-bit mode with identity paging.
#[derive(Clone, Copy, Debug)]
pub struct EntryState {
    /// First instruction.
    pub rip: u64,
    /// Stack.
    pub rsp: u64,
    /// RSI: Linux's zero page.
    pub rsi: u64,
    /// RDI: the boot-information page.
    pub rdi: u64,
    /// PML4.
    pub cr3: u64,
    /// GDT with code at 10H and data at 18H.
    pub gdt: u64,
}

/// One CPU of a cell.
pub struct Vcpu {
    /// The current VMCS.
    pub vmcs: Vmcs,
    /// Registers outside the VMCS.
    pub regs: GuestRegs,
    /// Its public side.
    pub shared: &'static CpuShared,
    /// Its cell.
    pub cell: &'static Cell,
    /// Whether an NMI of the cell waits to be injected.
    pub pending_nmi: bool,
    /// Line of the debug console that is not complete yet.
    pub console_line: arrayvec::ArrayString<120>,
    controls: Controls,
    /// Present if the cell's SENDUIPI is filtered.
    virtual_apic: Option<&'static VirtualApicPage>,
    launched: bool,
}

impl Vcpu {
    /// Returns a CPU that waits for SIPI.
    pub fn new(
        mut vmcs: Vmcs,
        shared: &'static CpuShared,
        cell: &'static Cell,
        controls: Controls,
        host: &HostState,
        virtual_apic: Option<&'static VirtualApicPage>,
    ) -> Self {
        write_controls(&mut vmcs, &controls, cell);
        if let Some(page) = virtual_apic {
            vmcs.modify(fields::PRIMARY_CONTROLS, 0, PRIMARY_FILTERED_DOORBELL);
            vmcs.write(fields::VIRTUAL_APIC_PAGE, page.phys().0);
            vmcs.write(fields::TPR_THRESHOLD, 0);
        }
        write_host_state(&mut vmcs, &controls, host);
        let regs = GuestRegs::after_init(cpuid::read(1, 0).eax);
        let mut vcpu = Self {
            vmcs,
            regs,
            shared,
            cell,
            pending_nmi: false,
            console_line: arrayvec::ArrayString::new(),
            controls,
            virtual_apic,
            launched: false,
        };
        vcpu.vmcs.write(fields::GUEST_PAT, PAT_RESET);
        vcpu.reset();
        vcpu
    }

    /// Brings the CPU into the state after INIT. (SDM 3A, "IA-32 and Intel 64 Processor States Following Power-up,
    /// Reset, or INIT") NE alone differs: VMX needs it, and it reads as 1.
    pub fn reset(&mut self) {
        uintr::reset();
        self.regs = GuestRegs::after_init(cpuid::read(1, 0).eax);
        self.pending_nmi = false;
        let v = &mut self.vmcs;
        v.write(fields::ENTRY_CONTROLS, self.controls.entry);
        v.write(fields::ENTRY_INTERRUPTION_INFO, 0);
        v.write(fields::GUEST_CR0, (CR0_ET | CR0_NE) as usize);
        v.write(fields::CR0_READ_SHADOW, (CR0_ET | CR0_NE) as usize);
        v.write(fields::GUEST_CR3, 0);
        v.write(fields::GUEST_CR4, CR4_VMXE as usize);
        v.write(fields::CR4_READ_SHADOW, 0);
        v.write(fields::GUEST_EFER, 0);
        for index in 0..segment::COUNT {
            let access_rights = match index {
                1 => 0x9b,
                6 => 0x82,
                7 => 0x8b,
                _ => 0x93,
            };
            write_segment(v, index, 0, 0, 0xffff, access_rights);
        }
        v.write(fields::GUEST_GDTR_BASE, 0);
        v.write(fields::GUEST_GDTR_LIMIT, 0xffff);
        v.write(fields::GUEST_IDTR_BASE, 0);
        v.write(fields::GUEST_IDTR_LIMIT, 0xffff);
        v.write(fields::GUEST_RIP, 0xfff0);
        v.write(fields::GUEST_RSP, 0);
        v.write(fields::GUEST_RFLAGS, 2);
        v.write(fields::GUEST_DR7, 0x400);
        v.write(fields::GUEST_DEBUGCTL, 0);
        v.write(fields::GUEST_SYSENTER_CS, 0);
        v.write(fields::GUEST_SYSENTER_ESP, 0);
        v.write(fields::GUEST_SYSENTER_EIP, 0);
        v.write(fields::GUEST_INTERRUPTIBILITY, 0);
        v.write(fields::GUEST_ACTIVITY, 0);
        v.write(fields::GUEST_PENDING_DEBUG, 0);
        if self.controls.cet {
            v.write(fields::GUEST_S_CET, 0);
            v.write(fields::GUEST_SSP, 0);
            v.write(fields::GUEST_SSP_TABLE, 0);
        }
        v.modify(fields::PRIMARY_CONTROLS, PRIMARY_NMI_WINDOW, 0);
    }

    /// Brings the CPU into the state in which its cell found it.
    pub fn reset_for_new_start(&mut self) {
        self.reset();
        self.vmcs.write(fields::GUEST_PAT, PAT_RESET);
        self.console_line.clear();
        super::quiet_own_apic();
    }

    /// Continues from [`Self::reset`] as a SIPI does. (SDM 3A, "MP Initialization Protocol Algorithm")
    pub fn start_at_sipi(&mut self, vector: u8) {
        write_segment(
            &mut self.vmcs,
            1,
            u16::from(vector) << 8,
            usize::from(vector) << 12,
            0xffff,
            0x9b,
        );
        self.vmcs.write(fields::GUEST_RIP, 0);
    }

    /// Continues from [`Self::reset`] in 64-bit mode. (Linux x86 boot protocol, "64-bit Boot Protocol")
    pub fn start_at_entry(&mut self, entry: &EntryState) {
        let v = &mut self.vmcs;
        v.modify(fields::ENTRY_CONTROLS, 0, ENTRY_IA32E_GUEST);
        v.write(fields::GUEST_EFER, EFER_LME | EFER_LMA);
        let cr0 = (CR0_PG | CR0_NE | CR0_ET | CR0_PE) as usize;
        v.write(fields::GUEST_CR0, cr0);
        v.write(fields::CR0_READ_SHADOW, cr0);
        v.write(fields::GUEST_CR3, entry.cr3 as usize);
        v.write(fields::GUEST_CR4, (CR4_PAE | CR4_VMXE) as usize);
        for index in 0..6 {
            let (selector, access_rights) = if index == 1 {
                (0x10, 0xa09b)
            } else {
                (0x18, 0xc093)
            };
            write_segment(v, index, selector, 0, u32::MAX, access_rights);
        }
        write_segment(v, 6, 0, 0, 0, 0x1_0000);
        write_segment(v, 7, 0x20, 0, 0x67, 0x8b);
        v.write(fields::GUEST_GDTR_BASE, entry.gdt as usize);
        v.write(fields::GUEST_GDTR_LIMIT, 31);
        v.write(fields::GUEST_IDTR_LIMIT, 0);
        v.write(fields::GUEST_RIP, entry.rip as usize);
        v.write(fields::GUEST_RSP, entry.rsp as usize);
        self.regs.gpr[RSI] = entry.rsi;
        self.regs.gpr[RDI] = entry.rdi;
    }

    /// Skips the instruction that exited. (SDM 3D, "Advancing the RIP"; interruptibility as after any instruction)
    pub fn skip_instruction(&mut self) {
        let length = self.vmcs.read(fields::EXIT_INSTRUCTION_LENGTH);
        self.advance_rip(length);
    }

    /// Moves RIP on by `length` bytes.
    pub fn advance_rip(&mut self, length: u32) {
        let rip = self
            .vmcs
            .read(fields::GUEST_RIP)
            .wrapping_add(length as usize);
        let long_mode = self.vmcs.read(fields::GUEST_CS_ACCESS_RIGHTS).get_bit(13);
        self.vmcs.write(
            fields::GUEST_RIP,
            if long_mode { rip } else { rip & 0xffff_ffff },
        );
        self.vmcs
            .modify(fields::GUEST_INTERRUPTIBILITY, BLOCKED_BY_STI_OR_MOV_SS, 0);
        // A single step over the instruction ends in #DB, as if it had executed. (SDM 3C, "Pending debug exceptions")
        if self.vmcs.read(fields::GUEST_RFLAGS).get_bit(8) {
            let pending = self.vmcs.read(fields::GUEST_PENDING_DEBUG) | 1 << 14;
            self.vmcs.write(fields::GUEST_PENDING_DEBUG, pending);
        }
    }

    /// Injects #UD.
    pub fn inject_undefined(&mut self) {
        self.vmcs
            .write(fields::ENTRY_INTERRUPTION_INFO, VALID | 3 << 8 | 6);
    }

    /// Injects #GP(0).
    pub fn inject_general_protection(&mut self) {
        self.vmcs.write(fields::ENTRY_EXCEPTION_ERROR_CODE, 0);
        self.vmcs.write(
            fields::ENTRY_INTERRUPTION_INFO,
            VALID | 1 << 11 | 3 << 8 | 13,
        );
    }

    /// Completes an event whose delivery the exit interrupted, unless the handler injects something itself. (SDM 3C,
    /// "Information for VM Exits That Occur During Event Delivery")
    pub fn complete_interrupted_delivery(&mut self) {
        let vectoring = self.vmcs.read(fields::IDT_VECTORING_INFO);
        let injecting = self.vmcs.read(fields::ENTRY_INTERRUPTION_INFO);
        let Some(event) = interrupted_event(vectoring, injecting) else {
            return;
        };
        self.vmcs.write(fields::ENTRY_INTERRUPTION_INFO, event);
        if vectoring.get_bit(11) {
            let code = self.vmcs.read(fields::IDT_VECTORING_ERROR_CODE);
            self.vmcs.write(fields::ENTRY_EXCEPTION_ERROR_CODE, code);
        }
        let length = self.vmcs.read(fields::EXIT_INSTRUCTION_LENGTH);
        self.vmcs.write(fields::ENTRY_INSTRUCTION_LENGTH, length);
    }

    /// Injects the cell's NMI as soon as the guest can take it.
    pub fn deliver_pending_nmi(&mut self) {
        if !self.pending_nmi {
            return;
        }
        let blocked = self.vmcs.read(fields::GUEST_INTERRUPTIBILITY)
            & (BLOCKED_BY_NMI | BLOCKED_BY_STI_OR_MOV_SS)
            != 0;
        let injecting = self.vmcs.read(fields::ENTRY_INTERRUPTION_INFO) & VALID != 0;
        if blocked || injecting {
            self.vmcs
                .modify(fields::PRIMARY_CONTROLS, 0, PRIMARY_NMI_WINDOW);
            return;
        }
        self.pending_nmi = false;
        self.vmcs
            .modify(fields::PRIMARY_CONTROLS, PRIMARY_NMI_WINDOW, 0);
        self.vmcs
            .write(fields::ENTRY_INTERRUPTION_INFO, VALID | 2 << 8 | 2);
    }

    /// Returns the notification of the SENDUIPI that exited: NV and NDST. `None` where SENDUIPI is not filtered.
    pub fn notification(&self) -> Option<(u8, u32)> {
        self.virtual_apic.map(VirtualApicPage::notification)
    }

    /// Undoes [`crate::vmx::vmcs::force_exit`].
    pub fn disarm_preemption_timer(&mut self) {
        self.vmcs
            .modify(fields::PIN_CONTROLS, PIN_PREEMPTION_TIMER, 0);
    }

    /// Returns the guest's privilege level: DPL of SS.
    pub fn cpl(&self) -> u32 {
        self.vmcs
            .read(fields::GUEST_SS_ACCESS_RIGHTS)
            .get_bits(5..7)
    }

    /// Tells whether the guest is in 64-bit mode.
    pub fn in_64_bit_mode(&self) -> bool {
        self.vmcs.read(fields::GUEST_EFER) & EFER_LMA != 0
            && self.vmcs.read(fields::GUEST_CS_ACCESS_RIGHTS).get_bit(13)
    }

    /// Translates a guest-linear address by the guest's page tables; `None` where it is not mapped or the tables are
    /// not in the cell's memory. Four-level and no paging only: 32-bit and PAE paging are not needed where it is used.
    pub fn translate_linear(&self, linear: u64) -> Option<GuestPhys> {
        if self.vmcs.read(fields::GUEST_CR0) as u64 & CR0_PG == 0 {
            return Some(GuestPhys(linear));
        }
        if self.vmcs.read(fields::GUEST_EFER) & EFER_LMA == 0 {
            return None;
        }
        let mut table = self.vmcs.read(fields::GUEST_CR3) as u64 & PAGE_ADDRESS;
        for level in (0..4).rev() {
            let shift = 12 + 9 * level;
            let entry_at = table + (linear >> shift & 511) * 8;
            let mut entry = [0; 8];
            self.cell
                .read_memory(GuestPhys(entry_at), &mut entry)
                .ok()?;
            let entry = u64::from_le_bytes(entry);
            if !entry.get_bit(0) {
                return None;
            }
            if level == 0 || level < 3 && entry.get_bit(7) {
                let offset = (1 << shift) - 1;
                return Some(GuestPhys(entry & PAGE_ADDRESS & !offset | linear & offset));
            }
            table = entry & PAGE_ADDRESS;
        }
        None
    }

    /// Enters the guest until its next exit. Returns whether the entry succeeded.
    pub(super) fn enter(&mut self) -> bool {
        // SAFETY: `new` made the host state this CPU's own, and the cell's EPT and bitmaps keep the guest away from
        // the hypervisor; `regs` belongs to this CPU.
        let failed =
            unsafe { crate::vmx::enter::enter_guest(&raw mut self.regs, u64::from(self.launched)) }
                != 0;
        self.launched |= !failed;
        // The injection of this entry is done, or was refused with it.
        if failed {
            self.vmcs.write(fields::ENTRY_INTERRUPTION_INFO, 0);
        }
        !failed
    }
}

/// Returns the event to inject for the one whose delivery an exit interrupted, from the IDT-vectoring information and
/// what is to be injected already.
///
/// A user-interrupt notification counts as the delivery of an external interrupt with vector UINV: its local APIC has had
/// the EOI, so that nothing but this injection brings it back, and entry processes it as a notification. (SDM 3C,
/// "Information for VM Exits That Occur During Event Delivery", "Event Injection")
fn interrupted_event(vectoring: u32, injecting: u32) -> Option<u32> {
    // Bit 12 is undefined in the one field and reserved in the other.
    const UNDEFINED: u32 = 1 << 12;
    let is_interrupted = vectoring & VALID != 0 && injecting & VALID == 0;
    is_interrupted.then_some(vectoring & !UNDEFINED)
}

const PAGE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

fn write_segment(
    v: &mut Vmcs,
    index: u32,
    selector: u16,
    base: usize,
    limit: u32,
    access_rights: u32,
) {
    v.write(segment::selector(index), selector);
    v.write(segment::base(index), base);
    v.write(segment::limit(index), limit);
    v.write(segment::access_rights(index), access_rights);
}

fn write_controls(v: &mut Vmcs, controls: &Controls, cell: &Cell) {
    v.write(fields::PIN_CONTROLS, controls.pin);
    v.write(fields::PRIMARY_CONTROLS, controls.primary);
    v.write(fields::SECONDARY_CONTROLS, controls.secondary);
    v.write(fields::EXIT_CONTROLS, controls.exit);
    v.write(fields::EPT_POINTER, cell.ept_pointer);
    v.write(fields::MSR_BITMAP, cell.msr_bitmap.0);
    v.write(fields::IO_BITMAP_A, cell.io_bitmaps.0.0);
    v.write(fields::IO_BITMAP_B, cell.io_bitmaps.1.0);
    // What firmware may have enabled and no cell may use stops the cell.
    v.write(fields::XSS_EXITING_BITMAP, !XSS_ALLOWED);
    // The cell's exceptions are its own.
    v.write(fields::EXCEPTION_BITMAP, 0);
    v.write(fields::CR3_TARGET_COUNT, 0);
    v.write(fields::EXIT_MSR_STORE_COUNT, 0);
    v.write(fields::EXIT_MSR_LOAD_COUNT, 0);
    v.write(fields::ENTRY_MSR_LOAD_COUNT, 0);
    v.write(fields::CR0_GUEST_HOST_MASK, CR0_NE as usize);
    v.write(fields::CR4_GUEST_HOST_MASK, CR4_DENIED as usize);
    v.write(fields::GUEST_LINK_POINTER, u64::MAX);
}

fn write_host_state(v: &mut Vmcs, controls: &Controls, host: &HostState) {
    v.write(fields::HOST_CR0, control_regs::read_cr0() as usize);
    v.write(fields::HOST_CR3, crate::memory::cr3() as usize);
    v.write(fields::HOST_CR4, control_regs::read_cr4() as usize);
    v.write(fields::HOST_EFER, msr::read(msr::IA32_EFER));
    v.write(fields::HOST_PAT, msr::read(msr::IA32_PAT));
    v.write(fields::HOST_CS, descriptors::CODE_SELECTOR);
    for field in [fields::HOST_SS, fields::HOST_DS, fields::HOST_ES] {
        v.write(field, descriptors::DATA_SELECTOR);
    }
    v.write(fields::HOST_FS, 0);
    v.write(fields::HOST_GS, 0);
    v.write(fields::HOST_TR, descriptors::TSS_SELECTOR);
    v.write(fields::HOST_FS_BASE, 0);
    v.write(fields::HOST_GS_BASE, host.gs as usize);
    v.write(fields::HOST_TR_BASE, host.descriptors.tss as usize);
    v.write(fields::HOST_GDTR_BASE, host.descriptors.gdt as usize);
    v.write(fields::HOST_IDTR_BASE, host.idt as usize);
    v.write(fields::HOST_SYSENTER_CS, 0);
    v.write(fields::HOST_SYSENTER_ESP, 0);
    v.write(fields::HOST_SYSENTER_EIP, 0);
    if controls.cet {
        v.write(fields::HOST_S_CET, 0);
        v.write(fields::HOST_SSP, 0);
        v.write(fields::HOST_SSP_TABLE, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_notification_is_injected_again() {
        // External interrupt, vector ECH.
        assert_eq!(interrupted_event(0x8000_00ec, 0), Some(0x8000_00ec));
        assert_eq!(interrupted_event(0x8000_10ec, 0), Some(0x8000_00ec));
    }

    #[test]
    fn nothing_is_injected_without_an_interrupted_event_or_over_another() {
        assert_eq!(interrupted_event(0x0000_00ec, 0), None);
        assert_eq!(interrupted_event(0x8000_00ec, 0x8000_0b0d), None);
        // What an earlier entry injected is no longer valid.
        assert_eq!(
            interrupted_event(0x8000_0b0e, 0x0000_0b0d),
            Some(0x8000_0b0e)
        );
    }
}
