//! The Isthmus hypervisor: splits an x86-64 machine between cells and stays out of their way.
//!
//! Every CPU, page, port and interrupt belongs to one cell. Interrupts go straight to it, nothing is scheduled; the
//! hypervisor runs only when a cell does something that is not its own to do (CPUID, a few MSRs and ports, IPIs to
//! its other CPUs), and on a cell's way in and out.
//!
//! # Start-up
//! `entry.S` -> [`boot::start`]: Multiboot2 information, requirements of the processor, configuration, modules ->
//! memory -> [`cell`]s are built and loaded -> all CPUs are started -> each CPU enters its cell ([`cpu::run`]).
//! Everything that can be refused is refused before the first cell is entered: nothing is started half.
//!
//! # Exits
//! [`cpu::run`] enters the guest; each VM exit goes through [`exit::dispatch`]: one function per reason. A handler
//! that returns a [`cell::CellFault`] stops its cell with a report; the others run on.
//!
//! # Concurrency
//! A CPU touches its own VMCS and registers only. Others see its [`cpu::CpuShared`]: atomics, and a mailbox with an
//! NMI as its bell. Cells are built before CPUs run them and are read-only afterwards, but for atomics. The one lock that
//! exits take is that of an [`ioapic`].
//!
//! # Where unsafe is
//! `arch`, `vmx`, `memory`, `cpu`, `boot`, `panic`, `backtrace`. `cell` and `exit` decide, and contain none.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
pub mod address;
pub mod arch;
pub mod backtrace;
pub mod boot;
pub mod cell;
pub mod cpu;
pub mod doorbell;
pub mod exit;
pub mod ioapic;
pub mod lapic;
pub mod loader;
pub mod log_ring;
pub mod memory;
pub mod panic;
pub mod vmx;
