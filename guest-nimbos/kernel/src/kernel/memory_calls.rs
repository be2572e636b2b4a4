// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that a program asks for.

use nimbos::abi::{Errno, map};
use nimbos::layout::{PAGE_LEN, page_align_up};
use nimbos::user_memory::Rights;

use super::cpus::CpuSet;
use super::{Kernel, Outcome};
use crate::arch::per_cpu::{self, MAX_CPUS};
use crate::process::ProcessNo;
use crate::thread::{State, ThreadNo, Wait};

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
        let cpus = self.forget_mappings(process);
        if cpus == 0 {
            return Ok(Outcome::Return(0));
        }
        // Until those CPUs have forgotten it too, nobody else may have the memory.
        self.threads[thread].state = State::Waiting(Wait::Unmap { pages, cpus });
        self.unmapping += 1;
        Ok(Outcome::Wait)
    }

    /// Lets this CPU forget mappings of a process that were taken away, and calls the others that run threads of it; returns a
    /// bit for each of those.
    pub fn forget_mappings(&mut self, process: ProcessNo) -> CpuSet {
        self.reload_space();
        let mut cpus = 0;
        for thread in self.threads.of(process) {
            if let State::Running { cpu } = self.threads[thread].state {
                cpus |= 1 << cpu;
            }
        }
        cpus &= !(1 << per_cpu::number());
        for cpu in (0..MAX_CPUS).filter(|cpu| cpus >> cpu & 1 != 0) {
            self.cpus.call(cpu);
        }
        cpus
    }

    /// The CPU `cpu` was called, and has forgotten what was taken away: finishes calls that wait for no other one, and frees rings.
    pub fn forgotten_by(&mut self, cpu: usize) {
        self.rings.forgotten_by(cpu);
        if self.unmapping == 0 {
            return;
        }
        for number in self.threads.numbers() {
            let thread = &mut self.threads[number];
            let State::Waiting(Wait::Unmap { cpus, .. }) = &mut thread.state else {
                continue;
            };
            *cpus &= !(1 << cpu);
            if *cpus != 0 {
                continue;
            }
            self.unmapping -= 1;
            if let State::Waiting(Wait::Unmap { pages, .. }) =
                core::mem::replace(&mut thread.state, State::Ready)
            {
                drop(pages);
            }
            if thread.is_killed {
                self.end_thread(number);
            } else {
                self.finish_call(number, 0);
            }
        }
    }
}
