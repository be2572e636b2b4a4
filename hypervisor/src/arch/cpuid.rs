//! CPUID as plain data.

/// Registers that CPUID returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuidResult {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// Executes CPUID. Leaves beyond the highest return what the processor returns for them.
pub fn read(leaf: u32, subleaf: u32) -> CpuidResult {
    let r = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    CpuidResult {
        eax: r.eax,
        ebx: r.ebx,
        ecx: r.ecx,
        edx: r.edx,
    }
}

/// Returns a leaf, or zeros if the processor does not have it.
pub fn read_or_zero(leaf: u32, subleaf: u32) -> CpuidResult {
    let highest = read(leaf & 0x8000_0000, 0).eax;
    if leaf > highest {
        CpuidResult::default()
    } else {
        read(leaf, subleaf)
    }
}
