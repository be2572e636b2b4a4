// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the cell was told, and what it finds: the hypervisor's CPUID leaves, zeroed memory.

use hv_abi::cpuid::{ABI_LEAF, SIGNATURE, SIGNATURE_LEAF};

use super::{Failure, expect};
use crate::arch::apic::Apic;
use crate::arch::cpu;
use crate::boot::Boot;

const CPUID_1_ECX_VMX: u32 = 1 << 5;

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let info = boot.info;
    report!(
        "name=hello cpus={} memory={} channels={} tsc_khz={} x2apic={}",
        info.cpus().len(),
        info.memory().iter().map(|range| range.size).sum::<u64>(),
        info.channels().len(),
        info.tsc_khz,
        boot.is_x2apic()
    );
    let leaf = cpu::cpuid(SIGNATURE_LEAF, 0);
    let words = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
    let differing = words.as_flattened().iter().zip(&SIGNATURE);
    expect(
        "signature",
        differing.filter(|(a, b)| a != b).count() as i64,
        0,
    )?;
    let revision = i64::from(cpu::cpuid(ABI_LEAF, 0).eax);
    expect("revision", revision, i64::from(hv_abi::ABI_REVISION))?;
    expect("vmx", i64::from(cpu::cpuid(1, 0).ecx & CPUID_1_ECX_VMX), 0)?;
    let uintr = cpu::cpuid(7, 0).edx & uintr::CPUID_7_0_EDX_UINTR != 0;
    expect("uintr", i64::from(uintr), 1)?;
    let is_masked = Apic::new(boot.is_x2apic()).is_lint0_masked();
    expect("lint0-masked", i64::from(is_masked), 1)
}
