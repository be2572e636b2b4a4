// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the processor says that it has.

use uintr::CR4_UINTR;

use crate::bench::Bench;
use crate::case::{Case, Outcome};
use crate::machine::run::{Code, Level, Run};
use crate::machine::trap::GENERAL_PROTECTION;
use crate::machine::{cpu, uintr as processor};

/// CPUID and CR4 agree.
pub const T01: Case = Case::new(
    "T01",
    "CPUID and CR4.UINTR agree",
    "SDM 3A, Enumeration and Enabling of User Interrupts",
    t01,
)
.without_uintr();

fn t01(bench: &mut Bench) -> Outcome {
    let mov_cr4_rax = Code::new(&[0x0f, 0x22, 0xe0]);
    let trap = Run::new(Level::Kernel, &mov_cr4_rax)
        .with_rax(cpu::cr4() | CR4_UINTR)
        .go();
    if processor::is_enumerated() {
        ensure!(trap.is_end(), "CPUID has UINTR, MOV CR4: {trap}");
        ensure!(
            cpu::cr4() & CR4_UINTR != 0,
            "CR4.UINTR reads 0 after MOV CR4"
        );
        return as_manual!("enumerated, and CR4.UINTR can be set");
    }
    bench.expect("MOV CR4 without UINTR", &trap, GENERAL_PROTECTION, 0)?;
    as_manual!("not enumerated, and CR4.UINTR raises #GP(0)")
}

/// Size and kind of the XSAVE component.
pub const T10: Case = Case::new(
    "T10",
    "CPUID of XSAVE component 14",
    "SDM 1, Enumeration of CPU Support for XSAVE Instructions and XSAVE-Supported Features",
    t10,
);

fn t10(_: &mut Bench) -> Outcome {
    const LEAF: u32 = 0xd;
    let component = cpu::cpuid(LEAF, 14);
    let supervisor = cpu::cpuid(LEAF, 1).ecx;
    ensure!(
        component.eax == 48 && component.ebx == 0 && component.ecx & 1 == 1,
        "CPUID.(0DH,14): expected EAX=48 EBX=0 ECX[0]=1, saw {:#x} {:#x} {:#x}",
        component.eax,
        component.ebx,
        component.ecx
    );
    ensure!(
        supervisor & 1 << 14 != 0,
        "CPUID.(0DH,1):ECX[14] is 0, saw {supervisor:#x}"
    );
    as_manual!("48 bytes, supervisor, permitted in IA32_XSS")
}
