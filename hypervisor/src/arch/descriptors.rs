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
/// Bytes of each IST stack: that of exceptions holds all of a backtrace with its formatting.
pub const IST_STACK_LEN: usize = 16384;

/// GDT and TSS of one CPU; never moves once loaded.
pub struct Descriptors {
    gdt: GlobalDescriptorTable<8>,
    tss: TaskStateSegment,
}

/// A stack of the interrupt stack table.
#[repr(C, align(16))]
pub struct IstStack([u8; IST_STACK_LEN]);

impl IstStack {
    /// Returns a stack.
    pub const fn new() -> Self {
        Self([0; IST_STACK_LEN])
    }

    /// Returns the lowest address and the one behind the stack.
    pub fn bounds(&self) -> (u64, u64) {
        let range = self.0.as_ptr_range();
        (
            range.start.expose_provenance() as u64,
            range.end.expose_provenance() as u64,
        )
    }
}

impl Default for IstStack {
    fn default() -> Self {
        Self::new()
    }
}

/// The stacks of one CPU for what may interrupt the hypervisor.
pub struct IstStacks {
    /// For exceptions, [`IST_EXCEPTION`].
    pub exception: &'static mut IstStack,
    /// For NMI, [`IST_NMI`].
    pub nmi: &'static mut IstStack,
}

impl Descriptors {
    /// Returns tables that [`Self::load`] completes in place.
    pub const fn new() -> Self {
        Self {
            gdt: GlobalDescriptorTable::empty(),
            tss: TaskStateSegment::new(),
        }
    }

    /// Fills the tables in and loads GDTR, TR and the segment registers of this CPU.
    pub fn load(&'static mut self, stacks: IstStacks) -> DescriptorBases {
        for (ist, stack) in [(IST_EXCEPTION, stacks.exception), (IST_NMI, stacks.nmi)] {
            self.tss.interrupt_stack_table[usize::from(ist)] = VirtAddr::new(stack.bounds().1);
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
