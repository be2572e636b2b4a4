//! The contract between cells and the hypervisor.
