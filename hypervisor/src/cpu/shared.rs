//! What other CPUs may see of a CPU: atomics only.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::Mailbox;
use crate::lapic::icr::LogicalId;
use crate::vmx::ExitReason;

/// Most CPUs of a machine.
pub const MAX_CPUS: usize = 64;

/// What a CPU is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CpuState {
    /// Not started by the hypervisor.
    Offline = 0,
    /// In the hypervisor, ready for its cell; in the cell's eyes it waits for SIPI.
    Waiting = 1,
    /// Runs its cell.
    Running = 2,
    /// Its cell has ended.
    Ended = 3,
    /// Could not be set up.
    Failed = 4,
}

/// One CPU as others see it.
#[repr(align(64))]
pub struct CpuShared {
    /// Requests from others.
    pub mailbox: Mailbox,
    apic_id: AtomicU32,
    state: AtomicU32,
    has_vmcs: AtomicBool,
    is_parked: AtomicBool,
    rings: AtomicU32,
    xapic_ldr: AtomicU32,
    xapic_dfr: AtomicU32,
    exits: [AtomicU64; ExitReason::COUNTED],
    icr_exits: AtomicU64,
    xapic_exits: AtomicU64,
    exits_total: AtomicU64,
    notifications_sent: AtomicU64,
    notifications_dropped: AtomicU64,
}

static CPUS: [CpuShared; MAX_CPUS] = [const { CpuShared::new() }; MAX_CPUS];

/// Returns the CPU with this index in the configuration's list.
///
/// # Panics
/// If `index` is not below [`MAX_CPUS`]: indices come from the checked configuration.
pub fn shared(index: usize) -> &'static CpuShared {
    &CPUS[index]
}

impl CpuShared {
    const fn new() -> Self {
        Self {
            mailbox: Mailbox::new(),
            apic_id: AtomicU32::new(0),
            state: AtomicU32::new(CpuState::Offline as u32),
            has_vmcs: AtomicBool::new(false),
            is_parked: AtomicBool::new(false),
            rings: AtomicU32::new(0),
            xapic_ldr: AtomicU32::new(0),
            xapic_dfr: AtomicU32::new(u32::MAX),
            exits: [const { AtomicU64::new(0) }; ExitReason::COUNTED],
            icr_exits: AtomicU64::new(0),
            xapic_exits: AtomicU64::new(0),
            exits_total: AtomicU64::new(0),
            notifications_sent: AtomicU64::new(0),
            notifications_dropped: AtomicU64::new(0),
        }
    }

    /// Returns the APIC ID.
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }

    /// Sets the APIC ID; before the CPU starts.
    pub fn set_apic_id(&self, id: u32) {
        self.apic_id.store(id, Ordering::Relaxed);
    }

    /// Returns what the CPU does.
    pub fn state(&self) -> CpuState {
        match self.state.load(Ordering::Acquire) {
            0 => CpuState::Offline,
            1 => CpuState::Waiting,
            2 => CpuState::Running,
            3 => CpuState::Ended,
            _ => CpuState::Failed,
        }
    }

    /// Says what the CPU does; called by itself.
    pub fn set_state(&self, state: CpuState) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// Tells whether a VMCS is current on the CPU.
    pub fn has_vmcs(&self) -> bool {
        self.has_vmcs.load(Ordering::Relaxed)
    }

    /// Says that a VMCS is current on the CPU.
    pub fn set_has_vmcs(&self) {
        self.has_vmcs.store(true, Ordering::Relaxed);
    }

    /// Tells whether the CPU has left its cell, which starts anew.
    pub fn is_parked(&self) -> bool {
        self.is_parked.load(Ordering::Acquire)
    }

    /// Says that the CPU has left its cell, which starts anew, or, before it is asked to, that it has not.
    pub fn set_parked(&self, is_parked: bool) {
        self.is_parked.store(is_parked, Ordering::Release);
    }

    /// Counts a ring, before its NMI is sent.
    pub fn count_ring(&self) {
        self.rings.fetch_add(1, Ordering::Release);
    }

    /// Takes one ring away for an NMI that arrived; returns whether there was one. Of rings that came as one NMI the
    /// others remain, and each later hides an NMI of the cell's own: better than to take a ring for one.
    pub fn take_ring(&self) -> bool {
        self.rings
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |rings| {
                rings.checked_sub(1)
            })
            .is_ok()
    }

    /// Counts an exit. Only the CPU itself writes its counters, so that no locked operation is needed.
    pub fn count_exit(&self, reason: ExitReason) {
        bump(&self.exits_total);
        bump(&self.exits[reason.index()]);
    }

    /// Counts a write of the x2APIC ICR among the WRMSR exits.
    pub fn count_icr_exit(&self) {
        bump(&self.icr_exits);
    }

    /// Counts an access of the xAPIC page among the EPT violations.
    pub fn count_xapic_exit(&self) {
        bump(&self.xapic_exits);
    }

    /// Counts a notification that was sent for a filtered SENDUIPI.
    pub fn count_notification_sent(&self) {
        bump(&self.notifications_sent);
    }

    /// Counts a filtered SENDUIPI of which something was refused.
    pub fn count_notification_dropped(&self) {
        bump(&self.notifications_dropped);
    }

    /// Returns the number of notifications sent for filtered SENDUIPIs.
    pub fn notifications_sent(&self) -> u64 {
        self.notifications_sent.load(Ordering::Relaxed)
    }

    /// Returns the number of filtered SENDUIPIs of which something was refused.
    pub fn notifications_dropped(&self) -> u64 {
        self.notifications_dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of all exits.
    pub fn total_exits(&self) -> u64 {
        self.exits_total.load(Ordering::Relaxed)
    }

    /// Returns the number of exits with a reason.
    pub fn exits(&self, reason: ExitReason) -> u64 {
        self.exits[reason.index()].load(Ordering::Relaxed)
    }

    /// Returns the number of ICR writes that exited, in x2APIC mode.
    pub fn icr_exits(&self) -> u64 {
        self.icr_exits.load(Ordering::Relaxed)
    }

    /// Returns the number of xAPIC accesses that exited.
    pub fn xapic_exits(&self) -> u64 {
        self.xapic_exits.load(Ordering::Relaxed)
    }

    /// Returns the logical addressing registers that the cell wrote, in xAPIC mode.
    pub fn xapic_logical(&self) -> LogicalId {
        LogicalId {
            ldr: self.xapic_ldr.load(Ordering::Relaxed),
            dfr: self.xapic_dfr.load(Ordering::Relaxed),
        }
    }

    /// Remembers a write of the logical destination register.
    pub fn set_xapic_ldr(&self, value: u32) {
        self.xapic_ldr.store(value, Ordering::Relaxed);
    }

    /// Remembers a write of the destination format register.
    pub fn set_xapic_dfr(&self, value: u32) {
        self.xapic_dfr.store(value, Ordering::Relaxed);
    }
}

fn bump(counter: &AtomicU64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nmi_is_a_ring_as_long_as_rings_are_under_way() {
        let cpu = CpuShared::new();
        assert!(!cpu.take_ring());
        cpu.count_ring();
        cpu.count_ring();
        assert!(cpu.take_ring() && cpu.take_ring());
        assert!(!cpu.take_ring());
    }
}
