//! The Isthmus hypervisor.
