//! VMCS fields that know their width: a wrong one does not build. (SDM 3D, "Field Encoding in VMCS")

use core::marker::PhantomData;

use x86::vmx::vmcs::{control, guest, host, ro};

/// A value as wide as a VMCS field.
pub trait FieldWidth: Copy {
    /// Bits 14:13 of the encoding.
    const ENCODED: u32;
    /// Widens for VMWRITE.
    fn to_u64(self) -> u64;
    /// Narrows what VMREAD returned.
    fn from_u64(value: u64) -> Self;
}

macro_rules! width {
    ($type:ty, $encoded:literal) => {
        impl FieldWidth for $type {
            const ENCODED: u32 = $encoded;
            fn to_u64(self) -> u64 {
                self as u64
            }
            fn from_u64(value: u64) -> Self {
                value as $type
            }
        }
    };
}

width!(u16, 0);
width!(u64, 1);
width!(u32, 2);
width!(usize, 3);

/// A VMCS field of width `T`; `usize` stands for natural width.
#[derive(Clone, Copy)]
pub struct Field<T> {
    pub(super) encoding: u32,
    width: PhantomData<T>,
}

impl<T: FieldWidth> Field<T> {
    /// Returns the field; does not compile for an encoding of another width.
    pub const fn new(encoding: u32) -> Self {
        assert!((encoding >> 13) & 0b11 == T::ENCODED);
        Self {
            encoding,
            width: PhantomData,
        }
    }
}

macro_rules! fields {
    ($($name:ident: $type:ty = $encoding:expr;)*) => {
        $(#[expect(missing_docs, reason = "the names are the manual's")] pub const $name: Field<$type> = Field::new($encoding);)*
    };
}

fields! {
    IO_BITMAP_A: u64 = control::IO_BITMAP_A_ADDR_FULL;
    IO_BITMAP_B: u64 = control::IO_BITMAP_B_ADDR_FULL;
    MSR_BITMAP: u64 = control::MSR_BITMAPS_ADDR_FULL;
    VIRTUAL_APIC_PAGE: u64 = control::VIRT_APIC_ADDR_FULL;
    EPT_POINTER: u64 = control::EPTP_FULL;
    XSS_EXITING_BITMAP: u64 = control::XSS_EXITING_BITMAP_FULL;
    PIN_CONTROLS: u32 = control::PINBASED_EXEC_CONTROLS;
    PRIMARY_CONTROLS: u32 = control::PRIMARY_PROCBASED_EXEC_CONTROLS;
    SECONDARY_CONTROLS: u32 = control::SECONDARY_PROCBASED_EXEC_CONTROLS;
    EXIT_CONTROLS: u32 = control::VMEXIT_CONTROLS;
    ENTRY_CONTROLS: u32 = control::VMENTRY_CONTROLS;
    EXCEPTION_BITMAP: u32 = control::EXCEPTION_BITMAP;
    CR3_TARGET_COUNT: u32 = control::CR3_TARGET_COUNT;
    EXIT_MSR_STORE_COUNT: u32 = control::VMEXIT_MSR_STORE_COUNT;
    EXIT_MSR_LOAD_COUNT: u32 = control::VMEXIT_MSR_LOAD_COUNT;
    ENTRY_MSR_LOAD_COUNT: u32 = control::VMENTRY_MSR_LOAD_COUNT;
    TPR_THRESHOLD: u32 = control::TPR_THRESHOLD;
    ENTRY_INTERRUPTION_INFO: u32 = control::VMENTRY_INTERRUPTION_INFO_FIELD;
    ENTRY_EXCEPTION_ERROR_CODE: u32 = control::VMENTRY_EXCEPTION_ERR_CODE;
    ENTRY_INSTRUCTION_LENGTH: u32 = control::VMENTRY_INSTRUCTION_LEN;
    CR0_GUEST_HOST_MASK: usize = control::CR0_GUEST_HOST_MASK;
    CR4_GUEST_HOST_MASK: usize = control::CR4_GUEST_HOST_MASK;
    CR0_READ_SHADOW: usize = control::CR0_READ_SHADOW;
    CR4_READ_SHADOW: usize = control::CR4_READ_SHADOW;

    GUEST_ES: u16 = guest::ES_SELECTOR;
    GUEST_CS: u16 = guest::CS_SELECTOR;
    GUEST_LDTR: u16 = guest::LDTR_SELECTOR;
    GUEST_TR: u16 = guest::TR_SELECTOR;
    GUEST_LINK_POINTER: u64 = guest::LINK_PTR_FULL;
    GUEST_DEBUGCTL: u64 = guest::IA32_DEBUGCTL_FULL;
    GUEST_PAT: u64 = guest::IA32_PAT_FULL;
    GUEST_EFER: u64 = guest::IA32_EFER_FULL;
    GUEST_GDTR_LIMIT: u32 = guest::GDTR_LIMIT;
    GUEST_IDTR_LIMIT: u32 = guest::IDTR_LIMIT;
    GUEST_CS_ACCESS_RIGHTS: u32 = guest::CS_ACCESS_RIGHTS;
    GUEST_SS_ACCESS_RIGHTS: u32 = guest::SS_ACCESS_RIGHTS;
    GUEST_INTERRUPTIBILITY: u32 = guest::INTERRUPTIBILITY_STATE;
    GUEST_ACTIVITY: u32 = guest::ACTIVITY_STATE;
    GUEST_SYSENTER_CS: u32 = guest::IA32_SYSENTER_CS;
    PREEMPTION_TIMER_VALUE: u32 = guest::VMX_PREEMPTION_TIMER_VALUE;
    GUEST_CR0: usize = guest::CR0;
    GUEST_CR3: usize = guest::CR3;
    GUEST_CR4: usize = guest::CR4;
    GUEST_CS_BASE: usize = guest::CS_BASE;
    GUEST_GDTR_BASE: usize = guest::GDTR_BASE;
    GUEST_IDTR_BASE: usize = guest::IDTR_BASE;
    GUEST_DR7: usize = guest::DR7;
    GUEST_RSP: usize = guest::RSP;
    GUEST_RIP: usize = guest::RIP;
    GUEST_RFLAGS: usize = guest::RFLAGS;
    GUEST_PENDING_DEBUG: usize = guest::PENDING_DBG_EXCEPTIONS;
    GUEST_SYSENTER_ESP: usize = guest::IA32_SYSENTER_ESP;
    GUEST_SYSENTER_EIP: usize = guest::IA32_SYSENTER_EIP;
    GUEST_S_CET: usize = 0x6828;
    GUEST_SSP: usize = 0x682A;
    GUEST_SSP_TABLE: usize = 0x682C;

    HOST_ES: u16 = host::ES_SELECTOR;
    HOST_CS: u16 = host::CS_SELECTOR;
    HOST_SS: u16 = host::SS_SELECTOR;
    HOST_DS: u16 = host::DS_SELECTOR;
    HOST_FS: u16 = host::FS_SELECTOR;
    HOST_GS: u16 = host::GS_SELECTOR;
    HOST_TR: u16 = host::TR_SELECTOR;
    HOST_PAT: u64 = host::IA32_PAT_FULL;
    HOST_EFER: u64 = host::IA32_EFER_FULL;
    HOST_SYSENTER_CS: u32 = host::IA32_SYSENTER_CS;
    HOST_CR0: usize = host::CR0;
    HOST_CR3: usize = host::CR3;
    HOST_CR4: usize = host::CR4;
    HOST_FS_BASE: usize = host::FS_BASE;
    HOST_GS_BASE: usize = host::GS_BASE;
    HOST_TR_BASE: usize = host::TR_BASE;
    HOST_GDTR_BASE: usize = host::GDTR_BASE;
    HOST_IDTR_BASE: usize = host::IDTR_BASE;
    HOST_SYSENTER_ESP: usize = host::IA32_SYSENTER_ESP;
    HOST_SYSENTER_EIP: usize = host::IA32_SYSENTER_EIP;
    HOST_RSP: usize = host::RSP;
    HOST_RIP: usize = host::RIP;
    HOST_S_CET: usize = 0x6C18;
    HOST_SSP: usize = 0x6C1A;
    HOST_SSP_TABLE: usize = 0x6C1C;

    GUEST_PHYSICAL_ADDRESS: u64 = ro::GUEST_PHYSICAL_ADDR_FULL;
    VM_INSTRUCTION_ERROR: u32 = ro::VM_INSTRUCTION_ERROR;
    EXIT_REASON: u32 = ro::EXIT_REASON;
    EXIT_INTERRUPTION_INFO: u32 = ro::VMEXIT_INTERRUPTION_INFO;
    EXIT_INTERRUPTION_ERROR_CODE: u32 = ro::VMEXIT_INTERRUPTION_ERR_CODE;
    IDT_VECTORING_INFO: u32 = ro::IDT_VECTORING_INFO;
    IDT_VECTORING_ERROR_CODE: u32 = ro::IDT_VECTORING_ERR_CODE;
    EXIT_INSTRUCTION_LENGTH: u32 = ro::VMEXIT_INSTRUCTION_LEN;
    EXIT_QUALIFICATION: usize = ro::EXIT_QUALIFICATION;
    GUEST_LINEAR_ADDRESS: usize = ro::GUEST_LINEAR_ADDR;
}

/// Fields of the six data and code segments, ES first, in steps of 2. (SDM 3D, "Guest-State Area" encodings)
pub mod segment {
    use super::Field;
    use x86::vmx::vmcs::guest;

    /// ES, CS, SS, DS, FS, GS, LDTR, TR.
    pub const COUNT: u32 = 8;

    /// Selector of segment `index`.
    pub fn selector(index: u32) -> Field<u16> {
        Field::new(guest::ES_SELECTOR + 2 * index)
    }
    /// Limit of segment `index`.
    pub fn limit(index: u32) -> Field<u32> {
        Field::new(guest::ES_LIMIT + 2 * index)
    }
    /// Access rights of segment `index`.
    pub fn access_rights(index: u32) -> Field<u32> {
        Field::new(guest::ES_ACCESS_RIGHTS + 2 * index)
    }
    /// Base of segment `index`.
    pub fn base(index: u32) -> Field<usize> {
        Field::new(guest::ES_BASE + 2 * index)
    }
}
