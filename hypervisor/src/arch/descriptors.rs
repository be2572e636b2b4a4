//! The hypervisor's GDT and TSS of one CPU.

use x86_64::PrivilegeLevel;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Selector of the 64-bit code segment.
pub const CODE_SELECTOR: u16 = 0x08;
/// Selector of the data segment.
pub const DATA_SELECTOR: u16 = 0x10;
/// Selector of the task-state segment.
pub const TSS_SELECTOR: u16 = 0x18;
/// IST index (from 0) of exceptions.
pub const IST_EXCEPTION: u16 = 0;
/// IST index (from 0) of NMI, which may hit an exception's handler.
pub const IST_NMI: u16 = 1;
/// Bytes of each IST stack.
pub const IST_STACK_LEN: usize = 8192;

/// GDT, TSS and IST stacks of one CPU; never moves once loaded.
pub struct Descriptors {
    gdt: GlobalDescriptorTable<8>,
    tss: TaskStateSegment,
    stacks: [IstStack; 2],
}

#[repr(C, align(16))]
struct IstStack([u8; IST_STACK_LEN]);

impl Descriptors {
    /// Returns tables that [`Self::load`] completes in place.
    pub const fn new() -> Self {
        Self {
            gdt: GlobalDescriptorTable::empty(),
            tss: TaskStateSegment::new(),
            stacks: [const { IstStack([0; IST_STACK_LEN]) }; 2],
        }
    }

    /// Fills the tables in and loads GDTR, TR and the segment registers of this CPU.
    pub fn load(&'static mut self) -> DescriptorBases {
        for (ist, stack) in [IST_EXCEPTION, IST_NMI].into_iter().zip(&self.stacks) {
            let top = stack.0.as_ptr_range().end.expose_provenance();
            self.tss.interrupt_stack_table[usize::from(ist)] = VirtAddr::new(top as u64);
        }
        let tss_base = (&raw const self.tss).expose_provenance() as u64;
        self.gdt.append(Descriptor::kernel_code_segment());
        self.gdt.append(Descriptor::kernel_data_segment());
        let data = SegmentSelector::new(DATA_SELECTOR >> 3, PrivilegeLevel::Ring0);
        // SAFETY: `self` is 'static and is not touched again; the selectors name the descriptors appended here, in
        // their order.
        unsafe {
            self.gdt
                .append(Descriptor::tss_segment_unchecked(&raw const self.tss));
            self.gdt.load_unsafe();
            CS::set_reg(SegmentSelector::new(
                CODE_SELECTOR >> 3,
                PrivilegeLevel::Ring0,
            ));
            SS::set_reg(data);
            DS::set_reg(data);
            ES::set_reg(data);
            load_tss(SegmentSelector::new(
                TSS_SELECTOR >> 3,
                PrivilegeLevel::Ring0,
            ));
        }
        DescriptorBases {
            gdt: x86_64::instructions::tables::sgdt().base.as_u64(),
            tss: tss_base,
        }
    }
}

impl Default for Descriptors {
    fn default() -> Self {
        Self::new()
    }
}

/// Linear addresses for the host-state area of the VMCS.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorBases {
    /// Base of the GDT.
    pub gdt: u64,
    /// Base of the TSS.
    pub tss: u64,
}
