// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random instructions: bytes judged by what iced-x86 knows of operands, and moves that its encoder writes.

use super::CodeSize::{Bits16, Bits32, Bits64};
use super::*;
use iced_x86::{Encoder, InstructionInfoFactory, MemoryOperand, MemorySize, Mnemonic, OpAccess};
use proptest::prelude::*;
use proptest::sample::select;

const SIZES: [CodeSize; 3] = [Bits16, Bits32, Bits64];

fn bitness(size: CodeSize) -> u32 {
    match size {
        Bits16 => 16,
        Bits32 => 32,
        Bits64 => 64,
    }
}

fn register_32(gpr: Gpr) -> Register {
    Register::EAX + gpr.index() as u32
}

/// Decodes with iced-x86 alone.
fn instruction(bytes: &[u8], rip: u64, size: CodeSize) -> Option<Instruction> {
    let bytes = &bytes[..bytes.len().min(15)];
    let mut decoder = Decoder::with_ip(bitness(size), bytes, rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (decoder.last_error() == DecoderError::None).then_some(instruction)
}

/// Tells whether an instruction moves 32 bits between memory and a general-purpose register, or to memory from
/// itself, and does nothing else.
fn is_plain_move(instruction: &Instruction) -> bool {
    let is_move = matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Xchg);
    let kinds = [instruction.op0_kind(), instruction.op1_kind()];
    is_move
        && instruction.op_count() == 2
        && kinds.contains(&OpKind::Memory)
        && instruction.memory_size() == MemorySize::UInt32
}

/// Compares an access with what iced-x86 says the instruction does to memory and registers.
fn judge(access: &Access, instruction: &Instruction) -> Result<(), TestCaseError> {
    prop_assert!(is_plain_move(instruction), "{:?}", instruction.code());
    prop_assert_eq!(usize::from(access.length), instruction.len());
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    let [memory] = info.used_memory() else {
        return Err(TestCaseError::fail("not one access"));
    };
    prop_assert_eq!(memory.memory_size().size(), 4);
    let does = |gpr: Gpr, access: OpAccess| {
        let wanted = register_32(gpr).full_register();
        let mut used = info.used_registers().iter();
        used.any(|used| used.register().full_register() == wanted && used.access() == access)
    };
    match access.kind {
        AccessKind::Read { destination } => {
            prop_assert_eq!(memory.access(), OpAccess::Read);
            prop_assert_eq!(instruction.op0_register(), register_32(destination));
        }
        AccessKind::Write {
            source: Source::Register(gpr),
        } => {
            prop_assert_eq!(memory.access(), OpAccess::Write);
            prop_assert!(does(gpr, OpAccess::Read));
            prop_assert_eq!(instruction.op1_register(), register_32(gpr));
        }
        AccessKind::Write {
            source: Source::Immediate(value),
        } => {
            prop_assert_eq!(memory.access(), OpAccess::Write);
            prop_assert_eq!(instruction.immediate(1), u64::from(value));
        }
        AccessKind::Exchange { register } => {
            prop_assert_eq!(memory.access(), OpAccess::ReadWrite);
            let (gpr, op) = (register_32(register), instruction.op1_register());
            prop_assert_eq!(op, gpr);
        }
    }
    Ok(())
}

/// Bytes that are likely to be a move: prefixes, its opcode, the rest.
fn likely_move() -> impl Strategy<Value = Vec<u8>> {
    const PREFIXES: [u8; 12] = [
        0x66, 0x67, 0x26, 0x2e, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3, 0x41, 0x48,
    ];
    const OPCODES: [u8; 16] = [
        0x88, 0x89, 0x8a, 0x8b, 0x8c, 0xa0, 0xa1, 0xa2, 0xa3, 0xc6, 0xc7, 0x86, 0x87, 0x0f, 0xb8,
        0x39,
    ];
    let prefixes = prop_oneof![
        8 => prop::collection::vec(select(&PREFIXES[..]), 0..3),
        1 => prop::collection::vec(select(&PREFIXES[..]), 0..16),
    ];
    let rest = prop::collection::vec(any::<u8>(), 0..14);
    (
        prefixes,
        prop::option::of(0x40u8..0x50),
        select(&OPCODES[..]),
        rest,
    )
        .prop_map(|(mut bytes, rex, opcode, rest)| {
            bytes.extend(rex);
            bytes.push(opcode);
            bytes.extend(rest);
            bytes
        })
}

/// Where a memory operand is: base, index, scale, displacement, segment, by numbers of registers.
fn operand() -> impl Strategy<Value = (Option<u8>, Option<u8>, u32, i32, u8)> {
    let register = || prop::option::of(0u8..16);
    let displacement = prop_oneof![-0x80i32..0x80, any::<i32>()];
    (register(), register(), 0u32..4, displacement, 0u8..3)
}

fn memory_operand(
    (base, index, scale, displacement, segment): (Option<u8>, Option<u8>, u32, i32, u8),
    size: CodeSize,
) -> MemoryOperand {
    let first = if size == Bits64 {
        Register::RAX
    } else {
        Register::EAX
    };
    let count = if size == Bits64 { 16 } else { 8 };
    let register =
        |number: Option<u8>| number.map_or(Register::None, |n| first + u32::from(n % count));
    // RSP and ESP are no index.
    let index = register(index.filter(|&n| n % count != 4));
    let segment = [Register::None, Register::GS, Register::SS][usize::from(segment)];
    let scale = if index == Register::None {
        1
    } else {
        1 << scale
    };
    let displacement_len = if size == Bits64 { 8 } else { 4 };
    MemoryOperand::new(
        register(base),
        index,
        scale,
        displacement.into(),
        displacement_len,
        false,
        segment,
    )
}

/// Returns a move and what must come out of it.
fn written_move(
    form: u8,
    gpr: u8,
    immediate: u32,
    memory: MemoryOperand,
) -> (Instruction, AccessKind) {
    let (register, gpr) = (Register::EAX + u32::from(gpr), Gpr(gpr));
    let made = |made: Result<Instruction, _>| made.expect("operands fit the code");
    match form {
        0 => (
            made(Instruction::with2(Code::Mov_r32_rm32, register, memory)),
            AccessKind::Read { destination: gpr },
        ),
        1 => (
            made(Instruction::with2(Code::Mov_rm32_r32, memory, register)),
            AccessKind::Write {
                source: Source::Register(gpr),
            },
        ),
        2 => (
            made(Instruction::with2(Code::Mov_rm32_imm32, memory, immediate)),
            AccessKind::Write {
                source: Source::Immediate(immediate),
            },
        ),
        _ => (
            made(Instruction::with2(Code::Xchg_rm32_r32, memory, register)),
            AccessKind::Exchange { register: gpr },
        ),
    }
}

proptest! {
    #[test]
    fn what_is_decoded_is_what_the_instruction_does(
        bytes in prop_oneof![4 => likely_move(), 1 => prop::collection::vec(any::<u8>(), 0..20)],
        rip: u64, size in select(&SIZES[..]),
    ) {
        let known = instruction(&bytes, rip, size);
        match decode(&bytes, rip, size) {
            Ok(access) => {
                prop_assert!((1..=15).contains(&access.length));
                prop_assert!(usize::from(access.length) <= bytes.len());
                let known = known.ok_or_else(|| TestCaseError::fail("decoded what is no instruction"))?;
                judge(&access, &known)?;
            }
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                let is_instruction =
                    matches!(error, DecodeError::Width { .. } | DecodeError::Unsupported { .. });
                prop_assert_eq!(is_instruction, known.is_some(), "{}", error);
                prop_assert!(known.is_none_or(|known| !is_plain_move(&known)), "{}", error);
            }
        }
    }

    #[test]
    fn every_move_that_an_encoder_writes_is_decoded(
        form in 0u8..4, gpr in 0u8..16, immediate: u32, operand in operand(), rip: u64,
        size in select(&SIZES[..]), prefix in prop::option::of(select(&[0x26u8, 0x2e, 0x36, 0x3e, 0x64, 0x65][..])),
        behind in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let gpr = if size == Bits64 { gpr } else { gpr % 8 };
        let (instruction, expected) = written_move(form, gpr, immediate, memory_operand(operand, size));
        let mut encoder = Encoder::new(bitness(size));
        prop_assert!(encoder.encode(&instruction, rip).is_ok());
        let mut bytes = prefix.into_iter().collect::<Vec<u8>>();
        bytes.extend(encoder.take_buffer());
        let len = bytes.len();
        let whole = [&bytes[..], &behind].concat();
        let access = decode(&whole, rip, size);
        prop_assert_eq!(access, Ok(Access { kind: expected, length: len as u8 }), "{:02x?}", whole);
        for available in 0..len {
            prop_assert_eq!(decode(&bytes[..available], rip, size), Err(DecodeError::Truncated { available }));
        }
    }
}
