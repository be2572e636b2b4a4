//! From the boot loader to running cells, in three steps: look at everything (`machine`, `modules`,
//! `verify`), prepare everything (`cells`), start everything (`bring_up`). Whatever can be refused is refused
//! in the first two, with one line, and nothing is started.
#![expect(unsafe_code, reason = "takes the machine over")]

mod bring_up;
mod cells;
mod error;
mod machine;
mod modules;
mod symbols;
mod tags;
mod verify;

use cell_config::{LogLevel, System};
use log::{LevelFilter, error, info};
use spin::{Mutex, MutexGuard, Once};

use crate::address::HostPhys;
use crate::arch::descriptors::{DescriptorBases, Descriptors, IstStack, IstStacks};
use crate::arch::{interrupts, tsc, wait};
use crate::backtrace::{self, StackUse};
use crate::loader::Range;
use crate::log_ring;
use crate::memory::{self, PhysicalMemory};
use error::InitError;
use machine::Machine;
use modules::Modules;

/// What Multiboot2 loaders leave in EAX. (Multiboot2, "Machine state")
const MULTIBOOT2_MAGIC: u32 = 0x36d7_6289;
/// UART of the log where neither command line nor configuration names one: COM1.
const DEFAULT_CONSOLE: u16 = 0x3f8;

/// Where the image is and what entry.S brings for other CPUs.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// First byte.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
    /// Its code.
    pub code: Range,
    /// The stack of the boot CPU.
    pub stack: Range,
    /// Code for the application processors, position-independent below 1 MiB.
    pub trampoline: &'static [u8],
    /// Offset of its 64-bit part.
    pub trampoline_entry64: usize,
    /// Offset of its parameters.
    pub trampoline_params: usize,
}

static SYSTEM: Once<System> = Once::new();
/// GDT and TSS of the boot CPU until it gets those that it keeps.
static EARLY_DESCRIPTORS: Mutex<Descriptors> = Mutex::new(Descriptors::new());
static EARLY_STACKS: Mutex<[IstStack; 2]> = Mutex::new([const { IstStack::new() }; 2]);

/// Starts the hypervisor. Called by entry.S through `main.rs`.
pub fn start(magic: u32, boot_information: u32, image: Image) -> ! {
    log_ring::init();
    backtrace::set_code(image.code);
    // SAFETY: the stack is part of the image.
    unsafe { backtrace::add_stack(StackUse::Ordinary, image.stack) };
    // From here on a fault of the hypervisor's own is a line in the log, not a triple fault.
    let [exception, nmi] = MutexGuard::leak(EARLY_STACKS.lock());
    load_descriptors(
        MutexGuard::leak(EARLY_DESCRIPTORS.lock()),
        IstStacks { exception, nmi },
    );
    interrupts::load();
    match run(magic, boot_information, image) {
        Ok(never) => match never {},
        Err(error) => {
            error!("{error}");
            error!("nothing was started; halted");
            wait::halt_forever()
        }
    }
}

/// Loads a CPU's descriptor tables and says where their stacks are.
fn load_descriptors(descriptors: &'static mut Descriptors, stacks: IstStacks) -> DescriptorBases {
    for (purpose, stack) in [
        (StackUse::Exception, &stacks.exception),
        (StackUse::Nmi, &stacks.nmi),
    ] {
        let (start, end) = stack.bounds();
        // SAFETY: the stack is this CPU's for good.
        unsafe { backtrace::add_stack(purpose, Range::new(start, end - start)) };
    }
    descriptors.load(stacks)
}

fn run(
    magic: u32,
    boot_information: u32,
    image: Image,
) -> Result<core::convert::Infallible, InitError> {
    if magic != MULTIBOOT2_MAGIC {
        attach_console(DEFAULT_CONSOLE);
        return Err(InitError::NotMultiboot2 { magic });
    }
    // SAFETY: the magic says that a Multiboot2 loader left its information there; nothing has been written since.
    let machine = unsafe { Machine::read(boot_information, &image) };
    let console = machine
        .as_ref()
        .ok()
        .and_then(|m| m.console)
        .unwrap_or(DEFAULT_CONSOLE);
    attach_console(console);
    info!(
        "Isthmus {} ({} KiB image at {:#x})",
        env!("CARGO_PKG_VERSION"),
        (image.end - image.start) >> 10,
        image.start
    );
    let machine = machine?;
    symbols::keep(&machine);
    let modules = Modules::new(&machine)?;
    let system = SYSTEM.try_call_once(|| modules.configuration())?;
    log::set_max_level(level(system.hypervisor.log_level));
    if let Some(port) = system.hypervisor.console.filter(|&port| port != console) {
        info!("log continues at port {port:#x}");
        attach_console(port);
    }
    let vmx = verify::processor(system.machine.apic_mode)?;
    verify::machine(system, &machine, &image)?;
    take_memory(system, &machine, &image)?;
    let cells = cells::prepare(system, &machine, modules, &vmx)?;
    bring_up::start(system, &machine, &image, cells)
}

fn attach_console(port: u16) {
    // SAFETY: no cell runs, and the configuration check keeps the port out of all cells.
    if !unsafe { log_ring::attach_uart(port) } {
        // Nobody will read it but from the ring: there is no other way to say it.
        info!("no UART at port {port:#x}: the log stays in memory");
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    }
}

/// Takes the hypervisor's region over and maps all memory.
fn take_memory(system: &System, machine: &Machine, image: &Image) -> Result<(), InitError> {
    let region = system.hypervisor.memory;
    // SAFETY: `verify::machine` found the region in RAM with the image at its start, and no module in it; all of it
    // lies below 4 GiB, which entry.S mapped. The processor has 1 GiB pages.
    unsafe {
        memory::init_frames(HostPhys(image.end), HostPhys(region.base + region.size));
        memory::map_all(machine.memory_end)?;
    }
    Ok(())
}

/// Returns physical memory as seen from here on.
fn physical_memory(machine: &Machine, own_start: u64, own_end: u64) -> PhysicalMemory {
    // SAFETY: `entry.S` mapped the first 4 GiB, `map_all` everything up to `memory_end`; callers read device memory
    // nowhere but in tables that firmware points to.
    unsafe { PhysicalMemory::new(machine.memory_end, HostPhys(own_start), HostPhys(own_end)) }
}

/// Finds out the TSC's frequency in kHz, 0 if nothing tells it. The PIT is asked before CPUID, because emulators and
/// hypervisors hand on the CPUID leaf of a machine that runs at another pace.
fn tsc_khz() -> u32 {
    let (pit, cpuid) = (tsc::khz_from_pit(), tsc::khz_from_cpuid());
    match (pit, cpuid) {
        (Some(measured), Some(told)) if measured.abs_diff(told) > told / 20 => {
            log::warn!("TSC: CPUID says {told} kHz, the PIT {measured} kHz; taking the latter");
            measured
        }
        (_, Some(told)) => told,
        (Some(measured), None) => measured,
        (None, None) => 0,
    }
}
