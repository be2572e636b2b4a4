// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts between threads.
//!
//! A thread with a handler is a *receiver*: it has a UPID. While it runs, UINV is [`crate::interrupts::USER_INTERRUPT`] and the
//! UPID names that vector and this CPU; posts are the processor's affair. While it does not run, posts stay in the UPID, without
//! notification, until it runs again. Only in `uintr_wait` they notify, with a vector that is not UINV, so that it arrives as an
//! ordinary interrupt and wakes the thread.
//!
//! A *sender* has an index into its process's target table. Nothing that a program says becomes an address in there: it names a
//! thread, which must have allowed it. (The raw address of a UPID, as other systems take it, would let a program have the
//! processor change any 64 bytes of the kernel's memory: SENDUIPI writes with supervisor privilege.) An index whose receiver has
//! ended is harmless: its posts go nowhere. So no sender is killed for what its receiver did.
#![expect(unsafe_code, reason = "switches the user-interrupt state of the CPU")]

use nimbos::abi::{Errno, TimeSpec, UINTR_CHANNEL};
use nimbos::layout::{USER_END, USER_START};
use uintr::{USER_VECTORS, Upid};

use super::{Cpu, Kernel, Outcome};
use crate::arch::user_interrupts::{self as state, Receiving};
use crate::arch::{cpu, uitt};
use crate::interrupts::{USER_INTERRUPT, USER_INTERRUPT_WAKE_UP};
use crate::process::{MAX_PROCESSES, ProcessNo};
use crate::receiver::{self, Handler, ReceiverNo, Receivers};
use crate::thread::{State, ThreadNo, Wait};

/// The kernel's part of user interrupts.
#[derive(Debug)]
pub struct UserInterrupts {
    /// The receivers.
    pub receivers: Receivers,
    /// A bit for each index in use of a process's target table.
    senders: [u64; MAX_PROCESSES],
    /// The index of each table that was given out last: the next one is another, as long as there are others.
    last: [u8; MAX_PROCESSES],
    /// What a CPU has loaded may be no longer right: the call that its thread makes has changed it. What a call has changed for
    /// other threads, they load when they run next.
    is_stale: bool,
}

/// What one CPU has loaded.
#[derive(Debug)]
pub struct Loaded {
    /// NDST of this CPU.
    pub ndst: u32,
    is_receiving: bool,
    table: usize,
}

impl UserInterrupts {
    /// Returns a system without receivers and senders.
    pub const fn new() -> Self {
        Self {
            receivers: Receivers::new(),
            senders: [0; MAX_PROCESSES],
            last: [0; MAX_PROCESSES],
            is_stale: false,
        }
    }

    fn table_of(&self, process: ProcessNo) -> usize {
        match self.senders[process.index()] {
            0 => uitt::KERNEL_TABLE,
            _ => process.index(),
        }
    }

    /// Gives a process an index that posts `vector` to `upid`, or -EBUSY if it has too many.
    pub fn add_sender(
        &mut self,
        process: ProcessNo,
        upid: &'static Upid,
        vector: u8,
    ) -> Result<usize, Errno> {
        let table = process.index();
        let indices = &mut self.senders[table];
        let used = *indices | 1 << uitt::KERNEL_ENTRY;
        let last = usize::from(self.last[table]);
        let index = (last + 1..=last + uitt::ENTRIES)
            .map(|index| index % uitt::ENTRIES)
            .find(|index| used & 1 << index == 0)
            .ok_or(Errno::Busy)?;
        uitt::set(table, index, upid, vector).map_err(|_| Errno::Invalid)?;
        *indices |= 1 << index;
        self.last[table] = index as u8;
        self.is_stale = true;
        Ok(index)
    }

    /// Takes an index from a process.
    pub fn remove_sender(&mut self, process: ProcessNo, index: usize) {
        let table = process.index();
        self.senders[table] &= !(1 << index);
        uitt::clear(table, index);
        self.is_stale = true;
    }

    /// Lets posts by an index of a process go nowhere.
    pub fn send_nowhere(&mut self, process: ProcessNo, index: usize) {
        if self.senders[process.index()] & 1 << index != 0 {
            uitt::redirect(process.index(), index, receiver::nowhere());
        }
    }

    /// Sends all entries of target tables that lead to a receiver nowhere, and removes it.
    fn remove(&mut self, number: ReceiverNo) {
        let upid = self.receivers[number].upid;
        let nowhere = receiver::nowhere();
        for (table, &indices) in self.senders.iter().enumerate() {
            for index in bits(indices) {
                if uitt::leads_to(table, index, upid) {
                    uitt::redirect(table, index, nowhere);
                }
            }
        }
        self.receivers.remove(number);
    }
}

impl Loaded {
    /// Returns what a CPU has loaded after [`state::enable`].
    pub const fn nothing(ndst: u32) -> Self {
        Self {
            ndst,
            is_receiving: false,
            table: uitt::KERNEL_TABLE,
        }
    }
}

impl Kernel {
    /// Loads what a thread needs that is about to run: nothing is written where it has no part in user interrupts and its
    /// predecessor had none.
    #[inline(always)]
    pub fn load_user_interrupts(&mut self, cpu: &mut Cpu, thread: ThreadNo) {
        self.load_table(cpu, thread);
        if let Some(number) = self.threads[thread].receiver {
            self.load_receiver(cpu, number);
        }
    }

    /// Takes down what the CPU has of a thread that has run.
    #[inline(always)]
    pub fn unload_user_interrupts(&mut self, cpu: &mut Cpu, thread: ThreadNo) {
        if cpu.user_interrupts.is_receiving {
            self.unload_receiver(cpu, thread);
        }
    }

    /// Loads anew what a call of this thread has changed.
    #[inline(always)]
    pub fn refresh_user_interrupts(&mut self, cpu: &mut Cpu, thread: ThreadNo) {
        if core::mem::take(&mut self.user_interrupts.is_stale) {
            self.unload_user_interrupts(cpu, thread);
            self.load_user_interrupts(cpu, thread);
        }
    }

    /// Gives the CPU the target table of a thread's process, and tells whether it had another one: another thread of the process
    /// can have made the first entry while this one ran.
    #[inline(always)]
    pub fn load_table(&mut self, cpu: &mut Cpu, thread: ThreadNo) -> bool {
        let table = self.user_interrupts.table_of(self.threads[thread].process);
        if table == cpu.user_interrupts.table {
            return false;
        }
        cpu.user_interrupts.table = table;
        // SAFETY: only with user interrupts there are senders, and thereby another table than the first.
        unsafe { uitt::activate(table) };
        true
    }

    #[inline(never)]
    fn load_receiver(&mut self, cpu: &mut Cpu, number: ReceiverNo) {
        let receiver = &mut self.user_interrupts.receivers[number];
        receiver.runs_at = Some(cpu.user_interrupts.ndst);
        let posted = receiver
            .upid
            .retarget(USER_INTERRUPT, cpu.user_interrupts.ndst);
        // SAFETY: there are receivers only with user interrupts. The addresses were checked when it was made one.
        unsafe {
            state::load(&Receiving {
                handler: receiver.handler,
                stack_adjust: receiver.stack_adjust,
                upid: receiver.upid,
                requests: receiver.requests | posted,
                uif: receiver.uif,
            });
        }
        cpu.user_interrupts.is_receiving = true;
    }

    #[inline(never)]
    fn unload_receiver(&mut self, cpu: &mut Cpu, thread: ThreadNo) {
        cpu.user_interrupts.is_receiving = false;
        // SAFETY: a receiver was loaded.
        let (requests, uif) = unsafe { state::unload() };
        let Some(number) = self.threads[thread].receiver else {
            return;
        };
        let waits = self.waits_for_user_interrupt(thread);
        let receiver = &mut self.user_interrupts.receivers[number];
        (receiver.requests, receiver.uif) = (requests, uif);
        receiver.runs_at = None;
        if !waits {
            return receiver.upid.set_suppress(true);
        }
        receiver
            .upid
            .init(USER_INTERRUPT_WAKE_UP, cpu.user_interrupts.ndst);
        // What was posted before has notified nobody who would wake the thread.
        if requests != 0 || receiver.upid.requests() != 0 {
            self.finish_call(thread, 0);
        }
    }

    /// Tells whether a thread waits for a user interrupt.
    pub fn waits_for_user_interrupt(&self, thread: ThreadNo) -> bool {
        matches!(
            self.threads[thread].state,
            State::Waiting(Wait::UserInterrupt { .. })
        )
    }

    /// Lets all threads go on that wait for a user interrupt which has come.
    pub fn wake_receivers(&mut self) {
        for number in self.threads.numbers() {
            let Some(receiver) = self.threads[number].receiver else {
                continue;
            };
            if self.waits_for_user_interrupt(number)
                && self.user_interrupts.receivers[receiver].upid.requests() != 0
            {
                self.finish_call(number, 0);
            }
        }
    }

    /// A thread ends, or gets another program: it is no receiver any more.
    pub fn end_receiver(&mut self, thread: ThreadNo) {
        self.end_ring_of(thread);
        if let Some(number) = self.threads[thread].receiver.take() {
            self.user_interrupts.remove(number);
        }
    }

    /// A process ends, or gets another program: it has no targets any more.
    pub fn end_senders(&mut self, process: ProcessNo) {
        let table = process.index();
        for index in bits(core::mem::take(&mut self.user_interrupts.senders[table])) {
            uitt::clear(table, index);
        }
    }

    /// `uintr_register_handler(handler, stack_adjust, flags)`.
    pub fn register_handler(
        &mut self,
        thread: ThreadNo,
        [address, stack_adjust, flags]: [u64; 3],
    ) -> Result<i64, Errno> {
        self.need_user_interrupts()?;
        if flags & !UINTR_CHANNEL != 0 || stack_adjust > USER_END {
            return Err(Errno::Invalid);
        }
        if !(USER_START..USER_END).contains(&address) {
            return Err(Errno::Fault);
        }
        if self.threads[thread].receiver.is_some() {
            return Err(Errno::Busy);
        }
        let handler = Handler {
            address,
            stack_adjust,
        };
        let shared = match flags & UINTR_CHANNEL {
            0 => None,
            _ => Some(self.find_shared_upid().ok_or(Errno::Busy)?),
        };
        let number = self.user_interrupts.receivers.add(handler, shared);
        self.threads[thread].receiver = Some(number.ok_or(Errno::Busy)?);
        self.user_interrupts.is_stale = true;
        Ok(0)
    }

    /// `uintr_unregister_handler()`.
    pub fn unregister_handler(&mut self, thread: ThreadNo) -> Result<i64, Errno> {
        self.receiver_of(thread)?;
        self.end_receiver(thread);
        self.user_interrupts.is_stale = true;
        Ok(0)
    }

    /// `uintr_register_sender(tid, vector)`.
    pub fn register_sender(
        &mut self,
        thread: ThreadNo,
        [id, vector]: [u64; 2],
    ) -> Result<i64, Errno> {
        self.need_user_interrupts()?;
        let vector = u8::try_from(vector)
            .ok()
            .filter(|&vector| vector < USER_VECTORS)
            .ok_or(Errno::Invalid)?;
        let target = u32::try_from(id)
            .ok()
            .and_then(|id| self.threads.find_id(id));
        let target = target.ok_or(Errno::NoProcess)?;
        let number = self.receiver_of(target)?;
        let process = self.threads[thread].process;
        let receiver = &self.user_interrupts.receivers[number];
        let is_own = self.threads[target].process == process;
        if !is_own && !receiver.grants.allows(vector, self.processes[process].id) {
            return Err(Errno::Access);
        }
        let upid = receiver.upid;
        let index = self.user_interrupts.add_sender(process, upid, vector)?;
        Ok(index as i64)
    }

    /// `uintr_unregister_sender(index)`.
    pub fn unregister_sender(&mut self, thread: ThreadNo, [index]: [u64; 1]) -> Result<i64, Errno> {
        let process = self.threads[thread].process;
        let indices = self.user_interrupts.senders[process.index()];
        if index >= uitt::ENTRIES as u64 || indices & 1 << index == 0 {
            return Err(Errno::Invalid);
        }
        self.user_interrupts.remove_sender(process, index as usize);
        Ok(0)
    }

    /// `uintr_allow(vector, pid)`.
    pub fn allow_sender(
        &mut self,
        thread: ThreadNo,
        [vector, process]: [u64; 2],
    ) -> Result<i64, Errno> {
        let number = self.receiver_of(thread)?;
        let grants = &mut self.user_interrupts.receivers[number].grants;
        grants.allow(vector, process).ok_or(Errno::Invalid)?;
        Ok(0)
    }

    /// `uintr_wait(*timespec)`.
    pub fn wait_for_user_interrupt(
        &mut self,
        thread: ThreadNo,
        [time]: [u64; 1],
    ) -> Result<Outcome, Errno> {
        let number = self.receiver_of(thread)?;
        let deadline = match time {
            0 => u64::MAX,
            address => {
                let space = self.process_of(thread).space();
                let mut bytes = [0; TimeSpec::LEN];
                space.read(address, &mut bytes)?;
                let time = TimeSpec::from_bytes(bytes).ok_or(Errno::Invalid)?;
                self.clock.after(cpu::tsc(), time)
            }
        };
        if self.has_lost_ring(thread) {
            return Err(Errno::Io);
        }
        // SAFETY: there are receivers only with user interrupts.
        let pending = unsafe { state::pending() };
        if pending | self.user_interrupts.receivers[number].upid.requests() != 0 {
            return Ok(Outcome::Return(0));
        }
        if deadline <= cpu::tsc() {
            return Err(Errno::TimedOut);
        }
        self.threads[thread].state = State::Waiting(Wait::UserInterrupt { deadline });
        self.first_deadline = self.first_deadline.min(deadline);
        Ok(Outcome::Wait)
    }

    fn receiver_of(&self, thread: ThreadNo) -> Result<ReceiverNo, Errno> {
        self.threads[thread].receiver.ok_or(Errno::Invalid)
    }

    fn need_user_interrupts(&self) -> Result<(), Errno> {
        if self.features.has_uintr {
            Ok(())
        } else {
            Err(Errno::NoSystemCall)
        }
    }
}

/// Returns the numbers of the bits that are set.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    (0..u64::BITS as usize).filter(move |bit| word & 1 << bit != 0)
}
