// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that a program asks for.

use nimbos::abi::{Errno, map};
use nimbos::layout::{PAGE_LEN, page_align_up};
use nimbos::user_memory::Rights;

use super::{Kernel, Outcome};
use crate::thread::ThreadNo;

impl Kernel {
    /// `mmap(address, length, protection, flags, fd, offset)`: zeroed memory of the process's own, at an address of the kernel's
    /// choice, with an unmapped page below and above.
    pub fn mmap(
        &mut self,
        thread: ThreadNo,
        [_, len, protection, flags, fd, offset]: [u64; 6],
    ) -> Result<i64, Errno> {
        let rights = match protection {
            map::PROT_READ => Rights::Read,
            protection if protection == map::PROT_READ | map::PROT_WRITE => Rights::Write,
            _ => return Err(Errno::Invalid),
        };
        let is_plain = flags == map::MAP_PRIVATE | map::MAP_ANONYMOUS
            && fd as i32 == -1
            && offset == 0
            && len != 0;
        if !is_plain {
            return Err(Errno::Invalid);
        }
        let len = page_align_up(len).ok_or(Errno::NoMemory)?;
        let process = self.threads[thread].process;
        let address = self.processes[process]
            .space_mut()
            .add_anywhere(len, rights)
            .map_err(|_| Errno::NoMemory)?;
        Ok(address as i64)
    }

    /// `munmap(address, length)`: all of what one `mmap` gave.
    pub fn munmap(&mut self, thread: ThreadNo, [address, len]: [u64; 2]) -> Result<Outcome, Errno> {
        let end = address
            .checked_add(len)
            .and_then(page_align_up)
            .ok_or(Errno::Invalid)?;
        if !address.is_multiple_of(PAGE_LEN) || len == 0 {
            return Err(Errno::Invalid);
        }
        let process = self.threads[thread].process;
        let space = self.processes[process].space_mut();
        let pages = space.remove(address, end).ok_or(Errno::Invalid)?;
        self.forget_mappings(process);
        drop(pages);
        Ok(Outcome::Return(0))
    }
}
