//! CPUID leaves by which a cell finds the hypervisor.

/// Signature and highest leaf. (The hypervisor range of CPUID, as every x86 hypervisor uses it.)
pub const SIGNATURE_LEAF: u32 = 0x4000_0000;
/// EBX, ECX, EDX of [`SIGNATURE_LEAF`], in this order.
pub const SIGNATURE: [u8; 12] = *b"IsthmusHv\0\0\0";
/// EAX holds [`crate::ABI_REVISION`].
pub const ABI_LEAF: u32 = 0x4000_0001;
/// KVM's signature without any feature: Linux keeps x2APIC mode without interrupt remapping only under a
/// hypervisor that it knows.
pub const KVM_SIGNATURE_LEAF: u32 = 0x4000_0100;
/// EBX, ECX, EDX of [`KVM_SIGNATURE_LEAF`].
pub const KVM_SIGNATURE: [u8; 12] = *b"KVMKVMKVM\0\0\0";
