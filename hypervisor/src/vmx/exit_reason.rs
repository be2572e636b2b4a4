//! Basic exit reasons: an open set, so that an unknown number is a value and no panic.

use core::fmt;

/// Basic exit reason. (SDM 3D, "VMX Basic Exit Reasons")
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExitReason(pub u16);

macro_rules! reasons {
    ($($name:ident = $number:literal),* $(,)?) => {
        #[expect(missing_docs, reason = "the names are the manual's")]
        impl ExitReason {
            $(pub const $name: Self = Self($number);)*
        }

        impl ExitReason {
            /// Returns the manual's name, or "unknown".
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => stringify!($name),)*
                    _ => "unknown",
                }
            }
        }
    };
}

reasons! {
    EXCEPTION_OR_NMI = 0, EXTERNAL_INTERRUPT = 1, TRIPLE_FAULT = 2, INIT = 3, SIPI = 4, INTERRUPT_WINDOW = 7,
    NMI_WINDOW = 8, TASK_SWITCH = 9, CPUID = 10, GETSEC = 11, HLT = 12, INVD = 13, VMCALL = 18, VMCLEAR = 19,
    VMLAUNCH = 20, VMPTRLD = 21, VMPTRST = 22, VMREAD = 23, VMRESUME = 24, VMWRITE = 25, VMXOFF = 26, VMXON = 27,
    CR_ACCESS = 28, DR_ACCESS = 29, IO_INSTRUCTION = 30, RDMSR = 31, WRMSR = 32, ENTRY_FAIL_GUEST_STATE = 33,
    ENTRY_FAIL_MSR_LOAD = 34, ENTRY_FAIL_MACHINE_CHECK = 41, TPR_BELOW_THRESHOLD = 43, APIC_ACCESS = 44,
    EPT_VIOLATION = 48, EPT_MISCONFIGURATION = 49, INVEPT = 50, PREEMPTION_TIMER = 52, INVVPID = 53, WBINVD = 54,
    XSETBV = 55, APIC_WRITE = 56, VMFUNC = 59, ENCLS = 60, SEAMCALL = 76, TDCALL = 77,
}

impl ExitReason {
    /// Counters are kept for reasons below this number; the rest share the last one.
    pub const COUNTED: usize = 80;

    /// Returns the counter's index.
    pub fn index(self) -> usize {
        usize::from(self.0).min(Self::COUNTED - 1)
    }
}

impl fmt::Debug for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
