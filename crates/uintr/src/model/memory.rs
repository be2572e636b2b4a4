// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory as the processor sees it: linear addresses, access rights, page faults.
//!
//! The model reads and writes through [`Memory`], so a test can put anything behind it. [`Pages`] is a small address
//! space of single pages, each with rights of its own. CR0.WP is 1 throughout.
//!
//! SDM 3A, "Determination of Access Rights" and "Page-Fault Exceptions".

/// With whose rights an access is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// An access by a program at CPL 3.
    User,
    /// An access by a program at CPL below 3; RFLAGS.AC lifts SMAP for it.
    Supervisor {
        /// RFLAGS.AC.
        alignment_check: bool,
    },
    /// An access that the processor makes by itself to a system data structure, at any CPL. Nothing lifts SMAP.
    ImplicitSupervisor,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Read.
    Read,
    /// Write, or read that is followed by a write under one lock.
    Write,
}

/// An access that paging refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageFault {
    /// Linear address of the first byte that is refused.
    pub address: u64,
    /// Error code: bits P, W/R and U/S.
    pub error_code: u32,
}

/// An address space. Addresses are linear and canonical: the caller has checked that. Every access is 8 bytes, and
/// the model makes one access after the other, so each is atomic.
pub trait Memory {
    /// Returns the 8 bytes at `address`; `direction` says for which right the page is checked.
    fn read(
        &self,
        address: u64,
        direction: Direction,
        privilege: Privilege,
    ) -> Result<u64, PageFault>;

    /// Writes 8 bytes at `address`, all or none of them.
    fn write(&mut self, address: u64, value: u64, privilege: Privilege) -> Result<(), PageFault>;
}

/// Size of a page.
pub const PAGE_LEN_BYTES: u64 = 4096;

const WORDS: usize = PAGE_LEN_BYTES as usize / 8;

/// A page and its rights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// Linear address of its first byte.
    pub address: u64,
    /// P of all levels.
    pub present: bool,
    /// R/W of all levels.
    pub writable: bool,
    /// U/S of all levels: a page of the user.
    pub user: bool,
    words: [u64; WORDS],
}

impl Page {
    /// Returns a present, writable page of zeroes at `address`, which is rounded down to a page's start.
    pub const fn new(address: u64, user: bool) -> Self {
        Self {
            address: address & !(PAGE_LEN_BYTES - 1),
            present: true,
            writable: true,
            user,
            words: [0; WORDS],
        }
    }
}

/// An address space of `COUNT` pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pages<const COUNT: usize> {
    /// The pages. Where two have one address, the first one counts.
    pub pages: [Page; COUNT],
    /// CR4.SMAP.
    pub smap: bool,
}

const PRESENT: u32 = 1 << 0;
const WRITE: u32 = 1 << 1;
const USER: u32 = 1 << 2;

impl<const COUNT: usize> Pages<COUNT> {
    /// Returns the aligned 8 bytes that contain `address`, whatever the page's rights, or `None` if no page is there.
    pub fn peek(&self, address: u64) -> Option<u64> {
        let page = self.pages.iter().find(|page| page.contains(address))?;
        Some(page.words[page.word(address)])
    }

    /// Overwrites the aligned 8 bytes that contain `address`, whatever the page's rights; tells whether a page is
    /// there.
    pub fn poke(&mut self, address: u64, value: u64) -> bool {
        let Some(page) = self.pages.iter_mut().find(|page| page.contains(address)) else {
            return false;
        };
        let word = page.word(address);
        page.words[word] = value;
        true
    }

    /// Returns the page that contains `address`.
    pub fn page_mut(&mut self, address: u64) -> Option<&mut Page> {
        self.pages.iter_mut().find(|page| page.contains(address))
    }

    fn check(
        &self,
        address: u64,
        direction: Direction,
        privilege: Privilege,
    ) -> Result<(), PageFault> {
        let mut error_code = match direction {
            Direction::Read => 0,
            Direction::Write => WRITE,
        };
        if privilege == Privilege::User {
            error_code |= USER;
        }
        let page = self.pages.iter().find(|page| page.contains(address));
        let Some(page) = page.filter(|page| page.present) else {
            return Err(PageFault {
                address,
                error_code,
            });
        };
        let may_reach = match privilege {
            Privilege::User => page.user,
            Privilege::Supervisor { alignment_check } => {
                !page.user || !self.smap || alignment_check
            }
            Privilege::ImplicitSupervisor => !page.user || !self.smap,
        };
        if may_reach && (page.writable || direction == Direction::Read) {
            return Ok(());
        }
        Err(PageFault {
            address,
            error_code: error_code | PRESENT,
        })
    }

    /// Checks both ends of the 8 bytes at `address`; the first byte of the page that is refused is reported.
    fn check_word(
        &self,
        address: u64,
        direction: Direction,
        privilege: Privilege,
    ) -> Result<(), PageFault> {
        self.check(address, direction, privilege)?;
        let last = address.wrapping_add(7);
        if last & !(PAGE_LEN_BYTES - 1) == address & !(PAGE_LEN_BYTES - 1) {
            return Ok(());
        }
        self.check(last & !(PAGE_LEN_BYTES - 1), direction, privilege)
    }
}

impl Page {
    fn contains(&self, address: u64) -> bool {
        address & !(PAGE_LEN_BYTES - 1) == self.address
    }

    fn word(&self, address: u64) -> usize {
        (address % PAGE_LEN_BYTES / 8) as usize
    }
}

impl<const COUNT: usize> Memory for Pages<COUNT> {
    fn read(
        &self,
        address: u64,
        direction: Direction,
        privilege: Privilege,
    ) -> Result<u64, PageFault> {
        self.check_word(address, direction, privilege)?;
        let low = self.peek(address).unwrap_or(0);
        let high = self.peek(address.wrapping_add(7)).unwrap_or(0);
        let both = u128::from(high) << 64 | u128::from(low);
        let shift = address % 8 * 8;
        Ok(if shift == 0 {
            low
        } else {
            (both >> shift) as u64
        })
    }

    fn write(&mut self, address: u64, value: u64, privilege: Privilege) -> Result<(), PageFault> {
        self.check_word(address, Direction::Write, privilege)?;
        let shift = address % 8 * 8;
        let mask = u128::from(u64::MAX) << shift;
        let value = u128::from(value) << shift;
        for (half, address) in [(0, address), (64, address.wrapping_add(7))] {
            let (mask, value) = ((mask >> half) as u64, (value >> half) as u64);
            if mask != 0 {
                let old = self.peek(address).unwrap_or(0);
                self.poke(address, old & !mask | value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMPLICIT: Privilege = Privilege::ImplicitSupervisor;

    fn pages() -> Pages<3> {
        Pages {
            pages: [
                Page::new(0x1000, false),
                Page::new(0x2000, true),
                Page::new(0x3000, true),
            ],
            smap: true,
        }
    }

    fn error_code<T>(result: Result<T, PageFault>) -> Option<u32> {
        result.err().map(|fault| fault.error_code)
    }

    #[test]
    fn rights_decide_and_the_error_code_says_why() {
        let mut memory = pages();
        assert_eq!(memory.read(0x1000, Direction::Read, IMPLICIT), Ok(0));
        let user_read = memory.read(0x1000, Direction::Read, Privilege::User);
        assert_eq!(error_code(user_read), Some(USER | PRESENT));
        let smap = memory.read(0x2000, Direction::Read, IMPLICIT);
        assert_eq!(error_code(smap), Some(PRESENT));
        for (alignment_check, expected) in [(false, Some(PRESENT)), (true, None)] {
            let access = Privilege::Supervisor { alignment_check };
            let read = memory.read(0x2000, Direction::Read, access);
            assert_eq!(error_code(read), expected);
        }
        memory.pages[1].writable = false;
        let write = memory.write(0x2000, 1, Privilege::User);
        assert_eq!(error_code(write), Some(USER | WRITE | PRESENT));
        let absent = memory.read(0x9008, Direction::Write, IMPLICIT);
        assert_eq!(
            absent,
            Err(PageFault {
                address: 0x9008,
                error_code: WRITE
            })
        );
    }

    #[test]
    fn unaligned_words_join_two_pages_or_fault_at_the_second() {
        let mut memory = pages();
        let value = 0x1122_3344_5566_7788;
        assert_eq!(memory.write(0x2ffd, value, Privilege::User), Ok(()));
        let read = memory.read(0x2ffd, Direction::Read, Privilege::User);
        assert_eq!(read, Ok(value));
        assert_eq!(memory.peek(0x3000), Some(0x11_2233_4455));
        memory.pages[2].present = false;
        let before = memory.clone();
        let refused = memory.write(0x2ffd, 0, Privilege::User);
        assert_eq!(
            refused,
            Err(PageFault {
                address: 0x3000,
                error_code: WRITE | USER
            })
        );
        assert_eq!(memory, before);
    }
}
