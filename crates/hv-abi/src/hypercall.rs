//! Hypercall numbers and errors. Numbers below 100H are Jailhouse's.
//!
//! VMCALL at CPL 0: code in RAX, arguments in RDI and RSI, result in RAX.

/// State or exit counter of a CPU of the calling cell. RDI: APIC ID, RSI: see [`CPU_STATE`], [`CPU_STAT_BASE`].
pub const CPU_GET_INFO: u64 = 7;
/// One character for the hypervisor's log. RDI: the character.
pub const DEBUG_CONSOLE_PUTC: u64 = 8;
/// Writes [`crate::BootInfo`] to the page at guest-physical address RDI.
pub const BOOT_INFO: u64 = 0x100;
/// Starts the calling cell anew: its CPUs stop, its memory is filled as at its first start, and its first CPU enters it. Returns
/// only with an error: [`errno::EPERM`] where the configuration does not allow it.
pub const CELL_RESTART: u64 = 0x101;

/// Type of [`CPU_GET_INFO`]: whether the CPU runs ([`CPU_RUNNING`]) or not.
pub const CPU_STATE: u64 = 0;
/// Type of [`CPU_GET_INFO`]: this plus an exit class.
pub const CPU_STAT_BASE: u64 = 1000;
/// Type of [`CPU_GET_INFO`]: this plus a basic exit reason. (SDM 3D, "VMX Basic Exit Reasons")
pub const CPU_REASON_BASE: u64 = 2000;

/// Result of [`CPU_STATE`]: the CPU runs the cell.
pub const CPU_RUNNING: u64 = 0;
/// Result of [`CPU_STATE`]: the CPU waits for SIPI or is halted by the hypervisor.
pub const CPU_PARKED: u64 = 1;
/// Result of [`CPU_STATE`]: the cell was stopped for what it did.
pub const CPU_FAILED: u64 = 2;

/// Exit classes of [`CPU_STAT_BASE`], with Jailhouse's numbers.
pub mod stat {
    /// All VM exits.
    pub const TOTAL: u64 = 0;
    /// EPT violations on device memory.
    pub const MMIO: u64 = 1;
    /// NMI exits: the hypervisor's own kick.
    pub const MANAGEMENT: u64 = 2;
    /// VMCALL.
    pub const HYPERCALL: u64 = 3;
    /// I/O instructions.
    pub const PIO: u64 = 4;
    /// xAPIC page.
    pub const XAPIC: u64 = 5;
    /// Control-register accesses.
    pub const CR: u64 = 6;
    /// CPUID.
    pub const CPUID: u64 = 7;
    /// XSETBV.
    pub const XSETBV: u64 = 8;
    /// Exceptions.
    pub const EXCEPTION: u64 = 9;
    /// RDMSR and WRMSR but the x2APIC ICR.
    pub const MSR_OTHER: u64 = 10;
    /// WRMSR of the x2APIC ICR (830H).
    pub const MSR_X2APIC_ICR: u64 = 11;
    /// SENDUIPI whose notification exited, in a cell without a direct channel. From here on the numbers are Isthmus's.
    pub const DOORBELL: u64 = 12;
    /// Notifications that the hypervisor sent for such SENDUIPIs. Not an exit class.
    pub const NOTIFICATIONS_SENT: u64 = 13;
    /// Posts and notifications that it refused. Not an exit class.
    pub const NOTIFICATIONS_DROPPED: u64 = 14;
    /// Number of classes.
    pub const COUNT: u64 = 15;
}

/// Error results, Linux's numbers.
pub mod errno {
    /// Not permitted.
    pub const EPERM: i64 = -1;
    /// No such object.
    pub const ENOENT: i64 = -2;
    /// Address outside the cell.
    pub const EFAULT: i64 = -14;
    /// Invalid argument.
    pub const EINVAL: i64 = -22;
    /// No such hypercall.
    pub const ENOSYS: i64 = -38;
}
