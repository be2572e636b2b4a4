//! Entering the guest and coming back: the only assembly on the hot path.

use core::arch::naked_asm;
use core::mem::offset_of;

/// The guest's registers that VM exits leave in the processor. XMM registers are among them because compiled code of
/// the hypervisor uses SSE; the wider halves of the vector registers it never touches.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default)]
pub struct GuestRegs {
    /// RAX, RCX, RDX, RBX, (RSP is in the VMCS), RBP, RSI, RDI, R8 to R15: in hardware order.
    pub gpr: [u64; 16],
    /// XMM0 to XMM15.
    pub xmm: [[u64; 2]; 16],
    /// MXCSR of the guest.
    pub mxcsr: u32,
    /// MXCSR of the hypervisor while the guest runs.
    host_mxcsr: u32,
}

/// Index of RAX in [`GuestRegs::gpr`].
pub const RAX: usize = 0;
/// Index of RCX.
pub const RCX: usize = 1;
/// Index of RDX.
pub const RDX: usize = 2;
/// Index of RBX.
pub const RBX: usize = 3;
/// Index of RSP; its value lives in the VMCS.
pub const RSP: usize = 4;
/// Index of RSI.
pub const RSI: usize = 6;
/// Index of RDI.
pub const RDI: usize = 7;

impl GuestRegs {
    /// Returns the registers after RESET or INIT, all zero but MXCSR and RDX, which holds `family_model`. (SDM 3A,
    /// "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT")
    pub fn after_init(family_model: u32) -> Self {
        let mut regs = Self {
            mxcsr: 0x1f80,
            ..Self::default()
        };
        regs.gpr[RDX] = u64::from(family_model);
        regs
    }

    /// Returns EDX:EAX.
    pub fn edx_eax(&self) -> u64 {
        self.gpr[RDX] << 32 | self.gpr[RAX] & 0xffff_ffff
    }

    /// Sets EDX:EAX, with the upper halves cleared.
    pub fn set_edx_eax(&mut self, value: u64) {
        self.gpr[RAX] = value & 0xffff_ffff;
        self.gpr[RDX] = value >> 32;
    }
}

const GPR: usize = offset_of!(GuestRegs, gpr);
const XMM: usize = offset_of!(GuestRegs, xmm);
const MXCSR: usize = offset_of!(GuestRegs, mxcsr);
const HOST_MXCSR: usize = offset_of!(GuestRegs, host_mxcsr);
const HOST_RSP: u64 = 0x6C14;
const HOST_RIP: u64 = 0x6C16;

/// Enters the guest by VMLAUNCH (`launched` = 0) or VMRESUME and returns after its next VM exit with 0, or with 1 if
/// the entry itself failed.
///
/// # Safety
/// The current VMCS describes a guest that cannot reach the hypervisor and whose host state is this CPU's own;
/// `regs` is this CPU's.
#[unsafe(naked)]
pub unsafe extern "C" fn enter_guest(regs: *mut GuestRegs, launched: u64) -> u64 {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15", "push rdi",
        "mov eax, {host_rsp}",
        "vmwrite rax, rsp",
        "lea rcx, [rip + 2f]",
        "mov eax, {host_rip}",
        "vmwrite rax, rcx",
        "stmxcsr [rdi + {host_mxcsr}]",
        "ldmxcsr [rdi + {mxcsr}]",
        "movaps xmm0, [rdi + {xmm}]", "movaps xmm1, [rdi + {xmm} + 16]",
        "movaps xmm2, [rdi + {xmm} + 32]", "movaps xmm3, [rdi + {xmm} + 48]",
        "movaps xmm4, [rdi + {xmm} + 64]", "movaps xmm5, [rdi + {xmm} + 80]",
        "movaps xmm6, [rdi + {xmm} + 96]", "movaps xmm7, [rdi + {xmm} + 112]",
        "movaps xmm8, [rdi + {xmm} + 128]", "movaps xmm9, [rdi + {xmm} + 144]",
        "movaps xmm10, [rdi + {xmm} + 160]", "movaps xmm11, [rdi + {xmm} + 176]",
        "movaps xmm12, [rdi + {xmm} + 192]", "movaps xmm13, [rdi + {xmm} + 208]",
        "movaps xmm14, [rdi + {xmm} + 224]", "movaps xmm15, [rdi + {xmm} + 240]",
        "test rsi, rsi",
        "mov rax, [rdi + {gpr}]", "mov rcx, [rdi + {gpr} + 8]", "mov rdx, [rdi + {gpr} + 16]",
        "mov rbx, [rdi + {gpr} + 24]", "mov rbp, [rdi + {gpr} + 40]", "mov rsi, [rdi + {gpr} + 48]",
        "mov r8, [rdi + {gpr} + 64]", "mov r9, [rdi + {gpr} + 72]", "mov r10, [rdi + {gpr} + 80]",
        "mov r11, [rdi + {gpr} + 88]", "mov r12, [rdi + {gpr} + 96]", "mov r13, [rdi + {gpr} + 104]",
        "mov r14, [rdi + {gpr} + 112]", "mov r15, [rdi + {gpr} + 120]",
        "mov rdi, [rdi + {gpr} + 56]",
        "jnz 3f",
        "vmlaunch",
        "jmp 4f",
        "3: vmresume",
        // Only a failed entry comes here, with the guest's registers in place but the stack untouched.
        "4: mov rdi, [rsp]",
        "ldmxcsr [rdi + {host_mxcsr}]",
        "mov eax, 1",
        "jmp 5f",
        "2: push rdi",
        "mov rdi, [rsp + 8]",
        "mov [rdi + {gpr}], rax", "mov [rdi + {gpr} + 8], rcx", "mov [rdi + {gpr} + 16], rdx",
        "mov [rdi + {gpr} + 24], rbx", "mov [rdi + {gpr} + 40], rbp", "mov [rdi + {gpr} + 48], rsi",
        "mov [rdi + {gpr} + 64], r8", "mov [rdi + {gpr} + 72], r9", "mov [rdi + {gpr} + 80], r10",
        "mov [rdi + {gpr} + 88], r11", "mov [rdi + {gpr} + 96], r12", "mov [rdi + {gpr} + 104], r13",
        "mov [rdi + {gpr} + 112], r14", "mov [rdi + {gpr} + 120], r15",
        "pop rax",
        "mov [rdi + {gpr} + 56], rax",
        "movaps [rdi + {xmm}], xmm0", "movaps [rdi + {xmm} + 16], xmm1",
        "movaps [rdi + {xmm} + 32], xmm2", "movaps [rdi + {xmm} + 48], xmm3",
        "movaps [rdi + {xmm} + 64], xmm4", "movaps [rdi + {xmm} + 80], xmm5",
        "movaps [rdi + {xmm} + 96], xmm6", "movaps [rdi + {xmm} + 112], xmm7",
        "movaps [rdi + {xmm} + 128], xmm8", "movaps [rdi + {xmm} + 144], xmm9",
        "movaps [rdi + {xmm} + 160], xmm10", "movaps [rdi + {xmm} + 176], xmm11",
        "movaps [rdi + {xmm} + 192], xmm12", "movaps [rdi + {xmm} + 208], xmm13",
        "movaps [rdi + {xmm} + 224], xmm14", "movaps [rdi + {xmm} + 240], xmm15",
        "stmxcsr [rdi + {mxcsr}]",
        "ldmxcsr [rdi + {host_mxcsr}]",
        "cld",
        "xor eax, eax",
        "5: add rsp, 8",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        gpr = const GPR,
        xmm = const XMM,
        mxcsr = const MXCSR,
        host_mxcsr = const HOST_MXCSR,
        host_rsp = const HOST_RSP,
        host_rip = const HOST_RIP,
    )
}
