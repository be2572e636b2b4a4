//! Ways to wait.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use super::cpuid;

/// Halts this CPU for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: with IF = 0 only an NMI ends HLT, and the loop halts again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Tells whether the processor has MONITOR and MWAIT. (CPUID.1:ECX bit 3)
pub fn has_monitor() -> bool {
    cpuid::read(1, 0).ecx & 1 << 3 != 0
}

/// Waits until `word` may differ from `seen`: with MWAIT, which leaves no window between check and sleep, else by
/// one PAUSE. May return early. (SDM 3A, "MONITOR/MWAIT Address Range Determination")
pub fn while_equal(word: &AtomicU32, seen: u32, monitor: bool) {
    if !monitor {
        core::hint::spin_loop();
        return;
    }
    // SAFETY: MONITOR takes any readable address; MWAIT ends by a write to it, an NMI or at will.
    unsafe {
        asm!("monitor", in("rax") word.as_ptr(), in("ecx") 0, in("edx") 0, options(nostack, preserves_flags));
        if word.load(Ordering::Acquire) == seen {
            asm!("mwait", in("eax") 0, in("ecx") 0, options(nostack, preserves_flags));
        }
    }
}
