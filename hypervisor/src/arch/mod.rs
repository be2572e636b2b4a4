//! One file per facility of the processor: each function is one instruction or one documented sequence, and decides
//! nothing.
#![expect(unsafe_code, reason = "executes privileged instructions")]

pub mod apic;
pub mod control_regs;
pub mod cpuid;
pub mod descriptors;
pub mod interrupts;
pub mod ioapic;
pub mod msr;
pub mod pic;
pub mod port;
pub mod tsc;
pub mod uintr;
pub mod wait;
