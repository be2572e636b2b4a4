//! What a cell asks of its local APIC, as pure rules: which CPUs an interrupt command means, and which access an
//! instruction makes.
//!
//! Nothing here touches an APIC. `exit` feeds in what the cell wrote and `arch` sends what comes out.
//!
//! SDM 3A, "Advanced Programmable Interrupt Controller (APIC)".
#![forbid(unsafe_code)]

pub mod icr;
pub mod mmio;
