//! Decoding of the instruction that touched the page of the xAPIC or of an I/O APIC.
//!
//! Called on each EPT violation there with the bytes at the cell's RIP; holds no state. The caller
//! performs the access at the faulting address, which the processor reports: the instruction only says which way the
//! data goes. The bytes are the cell's and may change under it; whatever they say, the access stays within its APIC.
//!
//! Registers of both are 32 bits wide, so only accesses of that width are taken. (SDM 3A, "The Local APIC Block
//! Diagram": 32-bit accesses on 128-bit boundaries) iced-x86 builds its tables on the heap (about 360 KiB) at first
//! use.

use core::fmt;

use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Instruction, OpKind, Register};

/// Longest instruction in bytes. (SDM 2A, "Instruction Format")
pub const MAX_INSTRUCTION_LEN: usize = 15;

/// Default operand and address size of the code: CS.D and, in IA-32e mode, CS.L.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSize {
    /// Real mode, or CS.D = 0.
    Bits16,
    /// CS.D = 1.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// A general-purpose register by its hardware number: RAX 0, RCX 1, RDX 2, RBX 3, RSP 4, RBP 5, RSI 6, RDI 7, R8 to
/// R15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpr(u8);

/// Where the value of a write comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The low 32 bits of a register.
    Register(Gpr),
    /// The instruction itself.
    Immediate(u32),
}

/// Which way the 32 bits go. A register that receives them loses its upper half, as after any 32-bit operation in
/// 64-bit mode. (SDM 1, "General-Purpose Registers in 64-Bit Mode")
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// From memory.
    Read {
        /// Register that receives the value.
        destination: Gpr,
    },
    /// To memory.
    Write {
        /// The value.
        source: Source,
    },
    /// XCHG: a read, then a write of the register's old value.
    Exchange {
        /// The register.
        register: Gpr,
    },
}

/// A 32-bit access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Which way the data goes.
    pub kind: AccessKind,
    /// Length of the instruction in bytes.
    pub length: u8,
}

/// Why an instruction is not emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end within the instruction.
    Truncated {
        /// How many there were.
        available: usize,
    },
    /// No instruction.
    Invalid {
        /// Its first byte.
        first_byte: u8,
    },
    /// A move, but not of 32 bits.
    Width {
        /// Width of the access in bits.
        bits: u8,
    },
    /// An instruction that does more than move 32 bits between memory and a general-purpose register.
    Unsupported {
        /// iced-x86's number of the instruction form.
        code: u16,
    },
}

/// Decodes the instruction at the start of `bytes`, which stand at `rip`.
pub fn decode(bytes: &[u8], rip: u64, code_size: CodeSize) -> Result<Access, DecodeError> {
    let bytes = &bytes[..bytes.len().min(MAX_INSTRUCTION_LEN)];
    let bitness = match code_size {
        CodeSize::Bits16 => 16,
        CodeSize::Bits32 => 32,
        CodeSize::Bits64 => 64,
    };
    let mut decoder = Decoder::with_ip(bitness, bytes, rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => {}
        // At the greatest length, a missing byte means that the instruction is too long.
        DecoderError::NoMoreBytes if bytes.len() < MAX_INSTRUCTION_LEN => {
            return Err(DecodeError::Truncated {
                available: bytes.len(),
            });
        }
        _ => {
            return Err(DecodeError::Invalid {
                first_byte: bytes.first().copied().unwrap_or(0),
            });
        }
    }
    let kind = access_kind(&instruction)?;
    // An instruction that decoded has at most 15 bytes.
    Ok(Access {
        kind,
        length: instruction.len().to_le_bytes()[0],
    })
}

fn access_kind(instruction: &Instruction) -> Result<AccessKind, DecodeError> {
    let unsupported = DecodeError::Unsupported {
        code: instruction.code() as u16,
    };
    let memory_operand = [instruction.op0_kind(), instruction.op1_kind()]
        .iter()
        .position(|&kind| kind == OpKind::Memory)
        .ok_or(unsupported)?;
    let register = |register| Gpr::from_32_bit(register).ok_or(unsupported);
    match instruction.code() {
        Code::Mov_r32_rm32 | Code::Mov_EAX_moffs32 if memory_operand == 1 => Ok(AccessKind::Read {
            destination: register(instruction.op0_register())?,
        }),
        Code::Mov_rm32_r32 | Code::Mov_moffs32_EAX if memory_operand == 0 => {
            Ok(AccessKind::Write {
                source: Source::Register(register(instruction.op1_register())?),
            })
        }
        Code::Mov_rm32_imm32 => Ok(AccessKind::Write {
            source: Source::Immediate(instruction.immediate32()),
        }),
        Code::Xchg_rm32_r32 => Ok(AccessKind::Exchange {
            register: register(instruction.op1_register())?,
        }),
        code => Err(move_width(code).map_or(unsupported, |bits| DecodeError::Width { bits })),
    }
}

/// Returns the width of a plain move or exchange that is not 32 bits wide.
fn move_width(code: Code) -> Option<u8> {
    match code {
        Code::Mov_r8_rm8
        | Code::Mov_rm8_r8
        | Code::Mov_rm8_imm8
        | Code::Mov_AL_moffs8
        | Code::Mov_moffs8_AL
        | Code::Xchg_rm8_r8 => Some(8),
        Code::Mov_r16_rm16
        | Code::Mov_rm16_r16
        | Code::Mov_rm16_imm16
        | Code::Mov_AX_moffs16
        | Code::Mov_moffs16_AX
        | Code::Xchg_rm16_r16 => Some(16),
        Code::Mov_r64_rm64
        | Code::Mov_rm64_r64
        | Code::Mov_rm64_imm32
        | Code::Mov_RAX_moffs64
        | Code::Mov_moffs64_RAX
        | Code::Xchg_rm64_r64 => Some(64),
        _ => None,
    }
}

impl Gpr {
    /// Returns the hardware number, 0 to 15.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// iced-x86 lists the 32-bit registers in hardware order.
    fn from_32_bit(register: Register) -> Option<Self> {
        let index = (register as usize).checked_sub(Register::EAX as usize)?;
        u8::try_from(index)
            .ok()
            .filter(|&index| index < 16)
            .map(Self)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { available } => {
                write!(
                    f,
                    "APIC access by an instruction of which only {available} bytes can be read"
                )
            }
            Self::Invalid { first_byte } => {
                write!(
                    f,
                    "APIC access by an invalid instruction, first byte {first_byte:#04x}"
                )
            }
            Self::Width { bits } => write!(f, "APIC access of {bits} bits instead of 32"),
            Self::Unsupported { code } => {
                write!(
                    f,
                    "APIC access by an instruction that is no plain 32-bit move (iced-x86 code {code})"
                )
            }
        }
    }
}

impl core::error::Error for DecodeError {}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use CodeSize::{Bits16, Bits32, Bits64};
    use proptest::prelude::*;

    fn read(index: u8) -> AccessKind {
        AccessKind::Read {
            destination: Gpr(index),
        }
    }

    fn write(index: u8) -> AccessKind {
        AccessKind::Write {
            source: Source::Register(Gpr(index)),
        }
    }

    fn immediate(value: u32) -> AccessKind {
        AccessKind::Write {
            source: Source::Immediate(value),
        }
    }

    fn kind(bytes: &[u8], code_size: CodeSize) -> Result<AccessKind, DecodeError> {
        let access = decode(bytes, 0xffff_ffff_8100_0000, code_size)?;
        assert_eq!(usize::from(access.length), bytes.len(), "{bytes:02x?}");
        Ok(access.kind)
    }

    #[test]
    fn moves_between_memory_and_a_register_are_decoded() {
        for (bytes, expected) in [
            (&[0x8b, 0x00][..], read(0)),                      // mov eax, [rax]
            (&[0x89, 0x08], write(1)),                         // mov [rax], ecx
            (&[0x8b, 0x57, 0x20], read(2)),                    // mov edx, [rdi+20h]
            (&[0x89, 0x98, 0x00, 0x03, 0x00, 0x00], write(3)), // mov [rax+300h], ebx
            (&[0x89, 0x20], write(4)),                         // mov [rax], esp
            (&[0x8b, 0x28], read(5)),                          // mov ebp, [rax]
            (&[0x89, 0xb7, 0x00, 0xd0, 0x5f, 0xff], write(6)), // mov [rdi-0a03000h], esi
            (&[0x89, 0x3c, 0x25, 0xb0, 0xd0, 0x5f, 0xff], write(7)), // mov [0ffffffffff5fd0b0h], edi
            (&[0x44, 0x89, 0x00], write(8)),                         // mov [rax], r8d
            (&[0x44, 0x8b, 0x3c, 0xc8], read(15)),                   // mov r15d, [rax+rcx*8]
            (&[0x47, 0x89, 0x54, 0xa5, 0x10], write(10)),            // mov [r13+r12*4+10h], r10d
            (&[0x41, 0x8b, 0x04, 0x24], read(0)),                    // mov eax, [r12]
            (&[0x8b, 0x0d, 0x44, 0x33, 0x22, 0x11], read(1)),        // mov ecx, [rip+11223344h]
            (&[0x3e, 0x8b, 0x00], read(0)),                          // mov eax, ds:[rax]
            (&[0x65, 0x8b, 0x00], read(0)),                          // mov eax, gs:[rax]
            (&[0x67, 0x8b, 0x00], read(0)),                          // mov eax, [eax]
            (
                &[0xc7, 0x00, 0x78, 0x56, 0x34, 0x12],
                immediate(0x1234_5678),
            ), // mov dword [rax], 12345678h
            (
                &[0xc7, 0x47, 0x30, 0xff, 0xff, 0xff, 0xff],
                immediate(u32::MAX),
            ), // mov dword [rdi+30h], -1
            (&[0xa1, 0x20, 0, 0xe0, 0xfe, 0, 0, 0, 0], read(0)),     // mov eax, [0fee00020h]
            (&[0xa3, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0], write(0)),    // mov [0fee000b0h], eax
            (&[0x87, 0x08], AccessKind::Exchange { register: Gpr(1) }), // xchg [rax], ecx
            (
                &[0x41, 0x87, 0x16],
                AccessKind::Exchange { register: Gpr(2) },
            ), // xchg [r14], edx
            (
                &[0xf0, 0x87, 0x08],
                AccessKind::Exchange { register: Gpr(1) },
            ), // lock xchg [rax], ecx
        ] {
            assert_eq!(kind(bytes, Bits64), Ok(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn the_code_size_decides_the_operand_size() {
        assert_eq!(kind(&[0x8b, 0x07], Bits32), Ok(read(0)));
        assert_eq!(kind(&[0xa1, 0x20, 0, 0xe0, 0xfe], Bits32), Ok(read(0)));
        assert_eq!(
            kind(&[0x8b, 0x07], Bits16),
            Err(DecodeError::Width { bits: 16 })
        );
        assert_eq!(kind(&[0x66, 0x67, 0x89, 0x18], Bits16), Ok(write(3)));
    }

    #[test]
    fn other_widths_are_refused() {
        for (bytes, bits) in [
            (&[0x8a, 0x00][..], 8),
            (&[0x88, 0x00], 8),
            (&[0xc6, 0x00, 0x01], 8),
            (&[0x66, 0x8b, 0x00], 16),
            (&[0x66, 0xc7, 0x00, 0x01, 0x00], 16),
            (&[0x48, 0x8b, 0x00], 64),
            (&[0x48, 0x89, 0x00], 64),
            (&[0x48, 0xc7, 0x00, 0x01, 0, 0, 0], 64),
            (&[0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0], 64),
            (&[0x48, 0x87, 0x00], 64),
        ] {
            assert_eq!(
                decode(bytes, 0, Bits64),
                Err(DecodeError::Width { bits }),
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn other_instructions_are_refused() {
        for bytes in [
            &[0x0f, 0xb6, 0x00][..],      // movzx eax, byte [rax]
            &[0x09, 0x08],                // or [rax], ecx
            &[0x83, 0x20, 0x01],          // and dword [rax], 1
            &[0x01, 0x08],                // add [rax], ecx
            &[0xf7, 0x00, 0, 0x10, 0, 0], // test dword [rax], 1000h
            &[0x39, 0x08],                // cmp [rax], ecx
            &[0xa5],                      // movsd
            &[0xab],                      // stosd
            &[0xff, 0x30],                // push qword [rax]
            &[0x0f, 0x6e, 0x00],          // movd mm0, [rax]
            &[0x8c, 0x18],                // mov [rax], ds
            &[0x89, 0xc8],                // mov eax, ecx
            &[0x87, 0xc8],                // xchg eax, ecx
            &[0x90],                      // nop
        ] {
            let result = decode(bytes, 0, Bits64);
            assert!(
                matches!(result, Err(DecodeError::Unsupported { .. })),
                "{bytes:02x?}: {result:?}"
            );
        }
    }

    #[test]
    fn bytes_that_end_too_soon_are_told_from_invalid_ones() {
        let whole = [
            0x41, 0xc7, 0x84, 0x24, 0x00, 0x03, 0x00, 0x00, 0x78, 0x56, 0x34, 0x12,
        ];
        for available in 0..whole.len() {
            assert_eq!(
                decode(&whole[..available], 0, Bits64),
                Err(DecodeError::Truncated { available })
            );
        }
        assert_eq!(kind(&whole, Bits64), Ok(immediate(0x1234_5678)));
        assert_eq!(
            decode(&[0x66; 40], 0, Bits64),
            Err(DecodeError::Invalid { first_byte: 0x66 })
        );
        assert_eq!(
            decode(&[0x06, 0x00], 0, Bits64),
            Err(DecodeError::Invalid { first_byte: 0x06 })
        );
        // LOCK goes with no plain move.
        assert_eq!(
            decode(&[0xf0, 0x89, 0x08], 0, Bits64),
            Err(DecodeError::Invalid { first_byte: 0xf0 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..20), rip: u64, size in 0usize..3,
        ) {
            if let Ok(access) = decode(&bytes, rip, [Bits16, Bits32, Bits64][size]) {
                prop_assert!(usize::from(access.length) <= bytes.len().min(MAX_INSTRUCTION_LEN));
            }
        }
    }
}
