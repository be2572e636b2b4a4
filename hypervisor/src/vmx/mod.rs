//! VMX: capabilities, VMCS, bitmaps, EPT, entry and exit. It knows bits and formats; `cell` and `exit` decide.
#![expect(unsafe_code, reason = "executes VMX instructions")]

pub mod capability;
pub mod enter;
pub mod ept;
pub mod exit_reason;
pub mod fields;
pub mod io_bitmap;
pub mod msr_bitmap;
pub mod virtual_apic;
pub mod vmcs;

pub use enter::GuestRegs;
pub use exit_reason::ExitReason;
pub use virtual_apic::VirtualApicPage;
pub use vmcs::Vmcs;
