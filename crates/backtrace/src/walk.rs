// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chain of frame pointers.
//!
//! A function of code that was compiled with frame pointers begins with PUSH RBP and MOV RBP, RSP: RBP then names two
//! words, the caller's RBP and the return address. The outermost function finds 0 in RBP, and perhaps, if it was jumped to,
//! 0 as its return address too.

use core::fmt;

/// Most frames of a walk: a recursion without end fills no console.
pub const MAX_FRAMES: usize = 32;

/// Bytes of a word.
const WORD: u64 = 8;

/// Where a walk begins: the registers at the instruction in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Frame pointer.
    pub rbp: u64,
}

/// What a walk may look at.
pub trait Memory {
    /// Returns the rank of the stack in which all eight bytes at `address` lie, or `None` if that is no stack.
    ///
    /// A chain stays in stacks of one rank, or goes on in one of a lower rank: that of the code which an exception
    /// interrupted.
    fn rank(&self, address: u64) -> Option<u8>;

    /// Returns the word at `address`, a multiple of 8 that has a rank, or `None` if it cannot be read.
    fn read(&self, address: u64) -> Option<u64>;

    /// Tells whether there is code at `address`.
    fn is_code(&self, address: u64) -> bool;
}

/// A function that has not returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The walk's first instruction, or a return address.
    pub address: u64,
    /// Whether it is a return address: the call stands before it, perhaps as the last instruction of its function.
    pub is_return: bool,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the outermost function.
    Outermost,
    /// After [`MAX_FRAMES`].
    TooDeep,
    /// The frame pointer is unaligned, in no stack, or not behind the one before.
    BadPointer {
        /// The frame pointer.
        pointer: u64,
    },
    /// What should be a return address leads to no code.
    BadReturn {
        /// The address.
        address: u64,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outermost => f.write_str("the outermost function"),
            Self::TooDeep => write!(f, "only {MAX_FRAMES} frames are shown"),
            Self::BadPointer { pointer } => {
                write!(f, "the chain is broken: bad frame pointer {pointer:#x}")
            }
            Self::BadReturn { address } => {
                write!(f, "the chain is broken: no code at {address:#x}")
            }
        }
    }
}

/// A walk from the innermost function outwards. It ends, whatever is in memory: frame pointers grow, or the rank of
/// their stack falls.
#[derive(Debug)]
pub struct Walk<'a, M> {
    memory: &'a M,
    next: Option<Frame>,
    /// Where a call through a bad pointer left its return address.
    called_from: Option<u64>,
    /// The frame pointer to be followed.
    pointer: u64,
    /// Rank and address of the words that were followed last.
    last: Option<(u8, u64)>,
    count: usize,
    end: End,
}

impl<'a, M: Memory> Walk<'a, M> {
    /// Begins a walk. Where there is no code at its first instruction, a call led there: its return address is then
    /// the word on top of the stack, and the frame pointer still the caller's.
    pub fn new(start: Start, memory: &'a M) -> Self {
        let is_lost = !memory.is_code(start.rip) && start.rsp.is_multiple_of(WORD);
        Self {
            memory,
            next: Some(Frame {
                address: start.rip,
                is_return: false,
            }),
            called_from: is_lost.then_some(start.rsp),
            pointer: start.rbp,
            last: None,
            count: 0,
            end: End::Outermost,
        }
    }

    /// Returns how the walk ended, once there are no more frames.
    pub fn end(&self) -> End {
        self.end
    }

    /// Follows the frame pointer, and returns the function that it leads to.
    fn follow(&mut self) -> Result<Frame, End> {
        if let Some(address) = self.called_from.take().and_then(|place| self.caller(place)) {
            return Ok(Frame {
                address,
                is_return: true,
            });
        }
        let pointer = self.pointer;
        if pointer == 0 {
            return Err(End::Outermost);
        }
        if self.count == MAX_FRAMES {
            return Err(End::TooDeep);
        }
        let bad = End::BadPointer { pointer };
        let (rank, saved, address) = self.words(pointer).ok_or(bad)?;
        let is_outward = match self.last {
            Some((last_rank, last)) => rank < last_rank || rank == last_rank && pointer > last,
            None => true,
        };
        if !is_outward {
            return Err(bad);
        }
        if (saved, address) == (0, 0) {
            return Err(End::Outermost);
        }
        if !self.memory.is_code(address) {
            return Err(End::BadReturn { address });
        }
        self.last = Some((rank, pointer));
        self.pointer = saved;
        Ok(Frame {
            address,
            is_return: true,
        })
    }

    /// Returns the return address at `place`, if it is one.
    fn caller(&self, place: u64) -> Option<u64> {
        self.memory.rank(place)?;
        let address = self.memory.read(place)?;
        self.memory.is_code(address).then_some(address)
    }

    /// Returns the rank of the stack at `pointer` and the two words there.
    fn words(&self, pointer: u64) -> Option<(u8, u64, u64)> {
        let behind = pointer.checked_add(WORD)?;
        if !pointer.is_multiple_of(WORD) {
            return None;
        }
        let rank = self.memory.rank(pointer)?;
        if self.memory.rank(behind)? != rank {
            return None;
        }
        Some((rank, self.memory.read(pointer)?, self.memory.read(behind)?))
    }
}

impl<M: Memory> Iterator for Walk<'_, M> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let frame = self.next.take()?;
        self.count += 1;
        match self.follow() {
            Ok(next) => self.next = Some(next),
            Err(end) => self.end = end,
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// Code, and stacks with their ranks; the words of a stack.
    struct Machine {
        stacks: Vec<(u8, u64, Vec<u64>)>,
    }

    const CODE: core::ops::Range<u64> = 0x3000_0000..0x3001_0000;
    const STACK: u64 = 0x10_0000;
    const START: Start = Start {
        rip: CODE.start + 4,
        rsp: STACK,
        rbp: STACK + 0x20,
    };

    impl Memory for Machine {
        fn rank(&self, address: u64) -> Option<u8> {
            self.stacks.iter().find_map(|(rank, base, words)| {
                let end = base + 8 * words.len() as u64;
                (*base <= address && address.checked_add(8)? <= end).then_some(*rank)
            })
        }

        fn read(&self, address: u64) -> Option<u64> {
            assert!(address.is_multiple_of(8), "{address:#x} is not aligned");
            let (_, base, words) = self
                .stacks
                .iter()
                .find(|(_, base, words)| (*base..base + 8 * words.len() as u64).contains(&address))
                .expect("only what has a rank is read");
            Some(words[((address - base) / 8) as usize])
        }

        fn is_code(&self, address: u64) -> bool {
            CODE.contains(&address)
        }
    }

    /// A stack of 32 words with three frames at 20H, 50H and 80H, called from code + 100H, 200H and 300H.
    fn sound() -> Vec<u64> {
        let mut words = [0; 32].to_vec();
        for (at, saved, address) in [
            (0x20, STACK + 0x50, 0x100),
            (0x50, STACK + 0x80, 0x200),
            (0x80, 0, 0x300),
        ] {
            words[at / 8] = saved;
            words[at / 8 + 1] = CODE.start + address;
        }
        words
    }

    fn walk(start: Start, machine: &Machine) -> (Vec<u64>, End) {
        let mut walk = Walk::new(start, machine);
        let frames: Vec<Frame> = walk.by_ref().collect();
        assert!(frames.iter().skip(1).all(|frame| frame.is_return) && !frames[0].is_return);
        let offsets = frames
            .iter()
            .map(|frame| frame.address.wrapping_sub(CODE.start));
        (offsets.collect(), walk.end())
    }

    fn one_stack(words: Vec<u64>) -> Machine {
        Machine {
            stacks: [(1, STACK, words)].to_vec(),
        }
    }

    /// Walks with one word of the sound stack changed.
    fn broken(at: usize, value: u64) -> (Vec<u64>, End) {
        let mut words = sound();
        words[at / 8] = value;
        walk(START, &one_stack(words))
    }

    #[test]
    fn a_sound_chain_is_followed_to_the_outermost_function() {
        assert_eq!(
            walk(START, &one_stack(sound())),
            ([4, 0x100, 0x200, 0x300].to_vec(), End::Outermost)
        );
    }

    #[test]
    fn a_frame_pointer_of_zero_ends_the_chain_at_once() {
        let start = Start { rbp: 0, ..START };
        assert_eq!(
            walk(start, &one_stack(sound())),
            ([4].to_vec(), End::Outermost)
        );
    }

    #[test]
    fn cycles_end_at_the_first_pointer_that_does_not_grow() {
        for pointer in [STACK + 0x20, STACK + 0x50, STACK + 0x18] {
            assert_eq!(
                broken(0x50, pointer),
                ([4, 0x100, 0x200].to_vec(), End::BadPointer { pointer })
            );
        }
    }

    #[test]
    fn pointers_that_are_unaligned_or_in_no_stack_are_not_followed() {
        // The stack ends at 100H: both words must lie in it.
        for pointer in [
            STACK + 0x51,
            STACK + 0x84,
            STACK + 0xf8,
            STACK - 8,
            8,
            u64::MAX,
            u64::MAX - 7,
            1 << 63,
        ] {
            assert_eq!(
                broken(0x20, pointer),
                ([4, 0x100].to_vec(), End::BadPointer { pointer })
            );
            let start = Start {
                rbp: pointer,
                ..START
            };
            assert_eq!(
                walk(start, &one_stack(sound())),
                ([4].to_vec(), End::BadPointer { pointer })
            );
        }
    }

    #[test]
    fn a_return_address_outside_the_code_ends_the_chain() {
        for address in [0, CODE.end, CODE.start - 1, u64::MAX] {
            assert_eq!(
                broken(0x58, address),
                ([4, 0x100].to_vec(), End::BadReturn { address })
            );
        }
    }

    #[test]
    fn memory_that_cannot_be_read_ends_the_chain() {
        struct Unmapped(Machine);
        impl Memory for Unmapped {
            fn rank(&self, address: u64) -> Option<u8> {
                self.0.rank(address)
            }
            fn read(&self, address: u64) -> Option<u64> {
                (address < STACK + 0x50).then(|| self.0.read(address))?
            }
            fn is_code(&self, address: u64) -> bool {
                self.0.is_code(address)
            }
        }
        let memory = Unmapped(one_stack(sound()));
        let mut walk = Walk::new(START, &memory);
        assert_eq!(walk.by_ref().count(), 2);
        assert_eq!(
            walk.end(),
            End::BadPointer {
                pointer: STACK + 0x50
            }
        );
    }

    #[test]
    fn a_long_chain_is_cut() {
        let mut words = [0; 128].to_vec();
        for frame in 0..60 {
            words[2 * frame] = STACK + 16 * (frame as u64 + 1);
            words[2 * frame + 1] = CODE.start + 0x100;
        }
        let start = Start {
            rbp: STACK,
            ..START
        };
        let (frames, end) = walk(start, &one_stack(words));
        assert_eq!((frames.len(), end), (MAX_FRAMES, End::TooDeep));
    }

    #[test]
    fn a_chain_goes_on_in_the_stack_that_an_exception_interrupted_and_not_back() {
        const OTHER: u64 = STACK - 0x1000;
        let mut upper = [0; 8].to_vec();
        upper[2] = STACK + 0x20;
        upper[3] = CODE.start + 0x80;
        let mut machine = Machine {
            stacks: [(1, STACK, sound()), (2, OTHER + 0x800, upper)].to_vec(),
        };
        let start = Start {
            rbp: OTHER + 0x810,
            ..START
        };
        assert_eq!(
            walk(start, &machine),
            ([4, 0x80, 0x100, 0x200, 0x300].to_vec(), End::Outermost)
        );
        // The outermost frame leads back to the upper stack.
        machine.stacks[0].2[0x80 / 8] = OTHER + 0x810;
        let (frames, end) = walk(start, &machine);
        assert_eq!(
            (frames.len(), end),
            (
                5,
                End::BadPointer {
                    pointer: OTHER + 0x810
                }
            )
        );
    }

    #[test]
    fn a_frame_does_not_lie_in_two_stacks() {
        let machine = Machine {
            stacks: [
                (1, STACK, [0; 4].to_vec()),
                (2, STACK + 0x20, [0; 4].to_vec()),
            ]
            .to_vec(),
        };
        let start = Start {
            rbp: STACK + 0x18,
            ..START
        };
        assert_eq!(
            walk(start, &machine).1,
            End::BadPointer {
                pointer: STACK + 0x18
            }
        );
    }

    #[test]
    fn a_call_through_a_bad_pointer_shows_who_called() {
        let mut words = sound();
        words[0] = CODE.start + 0x77;
        let start = Start { rip: 0, ..START };
        let bad = 0u64.wrapping_sub(CODE.start);
        let (frames, end) = walk(start, &one_stack(words));
        assert_eq!(
            (frames, end),
            ([bad, 0x77, 0x100, 0x200, 0x300].to_vec(), End::Outermost)
        );
        for rsp in [1, 8, STACK + 8, STACK + 0xfc, u64::MAX] {
            let start = Start {
                rip: 0,
                rsp,
                ..START
            };
            assert_eq!(
                walk(start, &one_stack(sound())).0,
                [bad, 0x100, 0x200, 0x300]
            );
        }
    }
}
