// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine code of a run, and where its instructions are.
//!
//! Behind each operation, and before the first, stands a pad of PAUSE instructions. When exactly an interrupt arrives
//! is the processor's business: an address in a pad counts as the pad's start.

use arrayvec::ArrayVec;

use super::step::{MAX_OPERATIONS, Operation};

/// Longest code in bytes.
pub const MAX_LEN_BYTES: usize = 1000;
/// Length of a pad in bytes.
const PAD_LEN_BYTES: usize = 96;
const PAUSE: [u8; 2] = [0xf3, 0x90];

/// Length of INT n, which ends the code.
const INT_LEN_BYTES: u64 = 2;

/// State component 14, in EDX:EAX.
const COMPONENT: u32 = 1 << 14;

/// An instruction that can fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its linear address.
    pub address: u64,
    /// Address behind the operation: of its pad.
    pub next: u64,
}

/// Machine code.
#[derive(Clone, Debug)]
pub struct Program {
    /// The bytes; the machine appends the instruction that ends it.
    pub bytes: ArrayVec<u8, MAX_LEN_BYTES>,
    /// Linear address of the first byte.
    pub start: u64,
    /// Where the operations are.
    pub places: ArrayVec<Place, MAX_OPERATIONS>,
}

/// Addresses of what operations find in memory, by the operation's position.
#[derive(Clone, Copy, Debug)]
pub struct Areas {
    /// First frame for UIRET.
    pub frames: u64,
    /// First XSAVE area for XRSTORS.
    pub restored: u64,
    /// The XSAVE area for XSAVES.
    pub saved: u64,
}

/// Bytes between two frames.
pub const FRAME_STRIDE: u64 = 32;
/// Bytes between two XSAVE areas.
pub const XSAVE_STRIDE: u64 = 640;

impl Program {
    /// Assembles operations to be run at `start`.
    ///
    /// # Panics
    /// If they do not fit, which [`MAX_OPERATIONS`] excludes.
    pub fn new(start: u64, operations: &[Operation], areas: &Areas) -> Self {
        let mut program = Self {
            bytes: ArrayVec::new(),
            start,
            places: ArrayVec::new(),
        };
        program.pad();
        for (position, operation) in (0u64..).zip(operations) {
            program.prepare(operation, position, areas);
            let address = program.here();
            program.append(instruction(operation));
            let next = program.here();
            program.places.push(Place { address, next });
            program.pad();
        }
        program
    }

    /// Loads what the instruction of the operation at `position` takes.
    fn prepare(&mut self, operation: &Operation, position: u64, areas: &Areas) {
        match *operation {
            Operation::Senduipi(index) => self.load_rax(index),
            Operation::Rdmsr(msr) => self.load(RCX, msr),
            Operation::Wrmsr(msr, value) => {
                self.load(RCX, msr);
                self.load(RAX, value as u32);
                self.load(RDX, (value >> 32) as u32);
            }
            Operation::Uiret(frame) => {
                let own = areas.frames + position * FRAME_STRIDE;
                self.load_64(RSP, frame.address.unwrap_or(own));
            }
            Operation::Xsaves => self.prepare_xsave(areas.saved),
            Operation::Xrstors(_) | Operation::Initialize => {
                self.prepare_xsave(areas.restored + position * XSAVE_STRIDE);
            }
            Operation::Wait
            | Operation::Stui
            | Operation::Clui
            | Operation::StuiClui
            | Operation::Testui => {}
        }
    }

    fn prepare_xsave(&mut self, area: u64) {
        self.load_64(RDI, area);
        self.load(RAX, COMPONENT);
        self.load(RDX, 0);
    }

    fn load_rax(&mut self, value: u64) {
        self.load_64(RAX, value);
    }

    /// MOV r32, imm32: clears the upper half, and leaves the flags alone.
    fn load(&mut self, register: u8, value: u32) {
        self.append(&[0xb8 + register]);
        self.append(&value.to_le_bytes());
    }

    /// MOV r64, imm64.
    fn load_64(&mut self, register: u8, value: u64) {
        self.append(&[0x48, 0xb8 + register]);
        self.append(&value.to_le_bytes());
    }

    fn pad(&mut self) {
        for _ in 0..PAD_LEN_BYTES / PAUSE.len() {
            self.append(&PAUSE);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes
            .try_extend_from_slice(bytes)
            .expect("operations and pads are short");
    }

    fn here(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Returns RIP as the end of the code shows it.
    pub fn end(&self) -> u64 {
        self.here() + INT_LEN_BYTES
    }

    /// Returns the start of the pad that holds `rip`, or `rip` itself outside of the pads. What loads registers for the
    /// next operation counts as the pad before it.
    pub fn normalized(&self, rip: u64) -> u64 {
        let mut pad = self.start;
        for place in &self.places {
            if (pad..place.address).contains(&rip) {
                return pad;
            }
            pad = place.next;
        }
        if (pad..self.here() + 1).contains(&rip) {
            return pad;
        }
        rip
    }

    /// Returns the frame that the operation at `position` finds at its own place, if it is UIRET: RIP, RFLAGS, RSP.
    pub fn frame(&self, position: usize, operation: &Operation) -> Option<[u64; 3]> {
        let Operation::Uiret(frame) = operation else {
            return None;
        };
        let next = self.places[position].next;
        Some([frame.rip.unwrap_or(next), frame.rflags, frame.rsp])
    }
}

const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RSP: u8 = 4;
const RDI: u8 = 7;

fn instruction(operation: &Operation) -> &'static [u8] {
    match operation {
        Operation::Wait => &[],
        Operation::Senduipi(_) => &[0xf3, 0x0f, 0xc7, 0xf0],
        Operation::Stui => &[0xf3, 0x0f, 0x01, 0xef],
        Operation::Clui => &[0xf3, 0x0f, 0x01, 0xee],
        Operation::StuiClui => &[0xf3, 0x0f, 0x01, 0xef, 0xf3, 0x0f, 0x01, 0xee],
        Operation::Testui => &[0xf3, 0x0f, 0x01, 0xed],
        Operation::Uiret(_) => &[0xf3, 0x0f, 0x01, 0xec],
        Operation::Rdmsr(_) => &[0x0f, 0x32],
        Operation::Wrmsr(..) => &[0x0f, 0x30],
        Operation::Xsaves => &[0x48, 0x0f, 0xc7, 0x2f],
        Operation::Xrstors(_) | Operation::Initialize => &[0x48, 0x0f, 0xc7, 0x1f],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREAS: Areas = Areas {
        frames: 0x5000,
        restored: 0x6000,
        saved: 0x6c80,
    };

    #[test]
    fn the_longest_operations_fit() {
        let longest = [Operation::Xsaves; MAX_OPERATIONS];
        let program = Program::new(0x1000, &longest, &AREAS);
        assert_eq!(program.end(), 0x1002 + program.bytes.len() as u64);
    }

    #[test]
    fn addresses_in_a_pad_are_its_start_and_instructions_themselves() {
        let program = Program::new(0x1000, &[Operation::Senduipi(3), Operation::Stui], &AREAS);
        let [send, stui] = [program.places[0], program.places[1]];
        assert_eq!(program.normalized(0x1000), 0x1000);
        assert_eq!(program.normalized(0x1002), 0x1000);
        // In the middle of what loads RAX, and right behind it.
        assert_eq!(program.normalized(send.address - 1), 0x1000);
        assert_eq!(program.normalized(send.address), send.address);
        assert_eq!(program.normalized(send.next), send.next);
        assert_eq!(program.normalized(stui.address), stui.address);
        assert_eq!(program.normalized(stui.next + 20), stui.next);
        assert_eq!(program.normalized(program.end() - 2), stui.next);
        assert_eq!(program.normalized(program.end()), program.end());
        let offset = (send.address - 0x1000) as usize;
        assert_eq!(
            &program.bytes[offset..offset + 4],
            &[0xf3, 0x0f, 0xc7, 0xf0]
        );
    }
}
