//! Starts all CPUs, makes each one ready for its cell, then lets the cells go.

use arrayvec::ArrayVec;
use cell_config::{CellKind, Devices, System};
use log::{error, info};

use super::machine::Machine;
use super::{Image, InitError, verify};
use crate::address::{HostPhys, PAGE_SIZE};
use crate::arch::control_regs::{self, CR4_OSXSAVE, CR4_VMXE};
use crate::arch::descriptors::{Descriptors, IstStack, IstStacks};
use crate::arch::{apic, interrupts, msr, pic, tsc};
use crate::backtrace::{self, StackUse};
use crate::cell::{self, Cell, MAX_CELLS};
use crate::cpu::{self, CpuState, HostState, Vcpu, shared};
use crate::ioapic;
use crate::loader::Range;
use crate::memory::{self, PhysicalMemory};
use crate::vmx::VirtualApicPage;
use crate::vmx::capability::VmxCapabilities;
use crate::vmx::vmcs::{Vmcs, vmxon};

/// Stack of each application processor, in pages.
const STACK_PAGES: u64 = 8;
/// Where the trampoline goes if it is free; any page below 640 KiB will do.
const TRAMPOLINE_CANDIDATES: core::ops::Range<u64> = 8..0x90;
/// How long a CPU may take, in rounds of a short wait.
const PATIENCE: u32 = 50_000;
/// A short wait, in TSC ticks: some 10 microseconds on a machine, some thousand instructions in the emulator.
const SHORT_WAIT: u64 = 20_000;

/// What entry.S reads of a CPU that starts, at `boot_ap_params`.
#[repr(C)]
struct TrampolineParams {
    far_offset: u32,
    far_selector: u16,
    far_padding: u16,
    gdt_limit: u16,
    gdt_base: [u8; 4],
    gdt_padding: u16,
    cr3: u64,
    stack: u64,
    argument: u64,
    entry: u64,
}

const _: () = assert!(size_of::<TrampolineParams>() == 48);

/// Bytes of the trampoline's GDT, which stands right before its parameters.
const TRAMPOLINE_GDT_LEN: u64 = 24;

/// The configuration, for CPUs that come up.
static SYSTEM_FOR_CPUS: spin::Once<&'static System> = spin::Once::new();

/// Starts everything. Returns only if something fails before the first cell runs.
pub fn start(
    system: &'static System,
    machine: &Machine,
    image: &Image,
    cells: ArrayVec<Cell, MAX_CELLS>,
) -> Result<core::convert::Infallible, InitError> {
    SYSTEM_FOR_CPUS.call_once(|| system);
    pic::mask_all();
    mask_io_apics(system);
    if !apic::set_mode(system.machine.apic_mode) {
        return Err(InitError::ApicMode);
    }
    let boot_id = apic::id();
    for (index, &apic_id) in system.machine.cpus.iter().enumerate() {
        shared(index).set_apic_id(apic_id);
    }
    let cells = cell::publish(cells);
    let own = own_cpu(cells, system, boot_id)?;
    start_others(system, machine, image, cells, boot_id)?;
    let usage = memory::frame_use();
    info!(
        "hypervisor memory: {} KiB used of {} KiB",
        (image.end - image.start + usage.used) >> 10,
        system.hypervisor.memory.size >> 10
    );
    for cell in cells {
        info!(
            "cell '{}' starts on {} CPU(s)",
            cell.name(),
            cell.cpus.len()
        );
        for cpu in cell.cpu_shares().take(1) {
            cpu.mailbox.post_start();
            cpu::ring(cpu);
        }
    }
    match own {
        Some(vcpu) => cpu::run(vcpu),
        None => crate::arch::wait::halt_forever(),
    }
}

/// Masks what firmware routed. Masked entries name the first CPU of the cell that will have them, or any.
fn mask_io_apics(system: &System) {
    let owner = system
        .cells
        .iter()
        .find(|cell| cell.devices == Devices::Rest);
    let cpus = owner.map_or(&system.machine.cpus[..], |cell| &cell.cpus[..]);
    let target = cpus.iter().find_map(|&id| u8::try_from(id).ok());
    for io_apic in ioapic::all() {
        io_apic.reset(target.unwrap_or_default());
    }
}

/// Makes the boot CPU ready, if it belongs to a cell.
fn own_cpu(
    cells: &'static [Cell],
    system: &System,
    boot_id: u32,
) -> Result<Option<Vcpu>, InitError> {
    let Some(index) = system.machine.cpus.iter().position(|&id| id == boot_id) else {
        info!("the boot CPU (APIC ID {boot_id}) belongs to no cell");
        return Ok(None);
    };
    let Some(cell) = cells.iter().find(|cell| cell.cpus.contains(&index)) else {
        return Ok(None);
    };
    prepare_cpu(index, cell).map(Some)
}

/// Makes this CPU ready to run a cell.
fn prepare_cpu(index: usize, cell: &'static Cell) -> Result<Vcpu, InitError> {
    let shared = shared(index);
    let stacks = IstStacks {
        exception: ist_stack()?,
        nmi: ist_stack()?,
    };
    let descriptors = super::load_descriptors(memory::leak(Descriptors::new())?, stacks);
    let idt = interrupts::load();
    if cell.config.kind == CellKind::Elf {
        // Linux takes the boot CPU over as firmware left it; ELF cells are promised masked interrupts.
        apic::mask_local_interrupts();
    }
    let vmx = verify::processor(cell.system.machine.apic_mode)?;
    enable_vmx(&vmx);
    // SAFETY: `enable_vmx` set up control registers and IA32_FEATURE_CONTROL; this VMCS is the CPU's only one.
    let vmcs = unsafe {
        vmxon(vmx.revision())?;
        Vmcs::activate(vmx.revision())?
    };
    let host = HostState {
        descriptors,
        idt,
        gs: cpu::claim(shared),
    };
    let virtual_apic = match cell.filter {
        Some(_) => Some(&*memory::leak(VirtualApicPage::default())?),
        None => None,
    };
    let vcpu = Vcpu::new(vmcs, shared, cell, vmx.controls(), &host, virtual_apic);
    shared.set_has_vmcs();
    Ok(vcpu)
}

/// Takes frames for a stack. (It is too large to be made on another and moved there.)
fn ist_stack() -> Result<&'static mut IstStack, InitError> {
    let frames = memory::allocate((size_of::<IstStack>() as u64).div_ceil(PAGE_SIZE))?;
    let place = core::ptr::with_exposed_provenance_mut(frames.0 as usize);
    // SAFETY: the frames are mapped, zeroed, page-aligned, large enough and nobody else's; a stack is bytes.
    Ok(unsafe { &mut *place })
}

/// Sets what VMXON asks for. (SDM 3C, "Enabling and Entering VMX Operation")
fn enable_vmx(vmx: &VmxCapabilities) {
    // SAFETY: the fixed bits are those of this CPU; paging and protection stay on. The MSR is unlocked where it is
    // written: the requirements refuse a lock without VMX.
    unsafe {
        if vmx.feature_control & 1 == 0 {
            msr::write(msr::IA32_FEATURE_CONTROL, vmx.feature_control | 0b101);
        }
        control_regs::write_cr0((control_regs::read_cr0() | vmx.cr0_fixed.0) & vmx.cr0_fixed.1);
        let cr4 = control_regs::read_cr4() | CR4_VMXE | CR4_OSXSAVE | vmx.cr4_fixed.0;
        control_regs::write_cr4(cr4 & vmx.cr4_fixed.1);
    }
}

fn start_others(
    system: &System,
    machine: &Machine,
    image: &Image,
    cells: &'static [Cell],
    boot_id: u32,
) -> Result<(), InitError> {
    let others = || {
        cells
            .iter()
            .flat_map(Cell::cpu_shares)
            .filter(|cpu| cpu.apic_id() != boot_id)
    };
    if others().next().is_none() {
        return Ok(());
    }
    let page = trampoline_page(machine).ok_or(InitError::NoLowMemory)?;
    let own = system.hypervisor.memory;
    let physical = super::physical_memory(machine, own.base, own.base + own.size);
    // The page is some cell's, and loaded already: it gets its contents back.
    let mut contents = [0; PAGE_SIZE as usize];
    physical.read(HostPhys(page), &mut contents)?;
    for cpu in others() {
        let index = system
            .machine
            .cpus
            .iter()
            .position(|&id| id == cpu.apic_id());
        write_trampoline(&physical, image, page, index.unwrap_or_default() as u64)?;
        start_cpu(cpu.apic_id(), page);
        for _ in 0..PATIENCE {
            if cpu.state() != CpuState::Offline {
                break;
            }
            tsc::delay(SHORT_WAIT);
        }
        match cpu.state() {
            CpuState::Offline => {
                return Err(InitError::CpuSilent {
                    apic_id: cpu.apic_id(),
                });
            }
            CpuState::Failed => {
                return Err(InitError::CpuFailed {
                    apic_id: cpu.apic_id(),
                });
            }
            _ => {}
        }
    }
    physical.write(HostPhys(page), &contents)?;
    Ok(())
}

/// Finds a page of RAM below 1 MiB for code that starts in real mode.
fn trampoline_page(machine: &Machine) -> Option<u64> {
    TRAMPOLINE_CANDIDATES
        .map(|page| page * PAGE_SIZE)
        .find(|&page| {
            machine
                .ram()
                .any(|ram| ram.contains(Range::new(page, PAGE_SIZE)))
        })
}

fn write_trampoline(
    physical: &PhysicalMemory,
    image: &Image,
    page: u64,
    argument: u64,
) -> Result<(), InitError> {
    let stack = Range::new(memory::allocate(STACK_PAGES)?.0, STACK_PAGES * PAGE_SIZE);
    // SAFETY: the frames are this stack's for good.
    unsafe { backtrace::add_stack(StackUse::Ordinary, stack) };
    let params_at = page + image.trampoline_params as u64;
    let gdt = params_at - TRAMPOLINE_GDT_LEN;
    // All below 1 MiB.
    let low = |address: u64| (address & 0xffff_ffff) as u32;
    let params = TrampolineParams {
        far_offset: low(page + image.trampoline_entry64 as u64),
        far_selector: 8,
        far_padding: 0,
        gdt_limit: (TRAMPOLINE_GDT_LEN - 1) as u16,
        gdt_base: low(gdt).to_le_bytes(),
        gdt_padding: 0,
        cr3: memory::cr3(),
        stack: stack.end(),
        argument,
        entry: (ap_main as extern "C" fn(u64) -> !) as *const () as u64,
    };
    // SAFETY: plain data without padding.
    let bytes = unsafe {
        core::slice::from_raw_parts(
            (&raw const params).cast::<u8>(),
            size_of::<TrampolineParams>(),
        )
    };
    physical.write(HostPhys(page), image.trampoline)?;
    physical.write(HostPhys(params_at), bytes)?;
    Ok(())
}

/// INIT, SIPI, SIPI. (SDM 3A, "MP Initialization Protocol Algorithm")
fn start_cpu(apic_id: u32, page: u64) {
    let vector = (page / PAGE_SIZE) as u32 & 0xff;
    // SAFETY: the target is a CPU of the configuration that no cell runs on yet; the page holds the trampoline.
    unsafe {
        apic::send_ipi(apic_id, apic::ICR_INIT);
        tsc::delay(10 * SHORT_WAIT);
        apic::send_ipi(apic_id, apic::ICR_STARTUP | vector);
        tsc::delay(SHORT_WAIT);
        apic::send_ipi(apic_id, apic::ICR_STARTUP | vector);
    }
}

/// First Rust code of an application processor; `index` is its place in the machine's list.
extern "C" fn ap_main(index: u64) -> ! {
    let index = index as usize;
    let cpu = shared(index);
    // The second SIPI of a CPU that already runs is ignored; the state is set once the CPU is ready.
    match prepare_ap(index) {
        Ok(vcpu) => {
            cpu.set_state(CpuState::Waiting);
            cpu::run(vcpu)
        }
        Err(error) => {
            error!("CPU with APIC ID {}: {error}", cpu.apic_id());
            cpu.set_state(CpuState::Failed);
            crate::arch::wait::halt_forever()
        }
    }
}

fn prepare_ap(index: usize) -> Result<Vcpu, InitError> {
    let system = SYSTEM_FOR_CPUS.get().ok_or(InitError::ApicMode)?;
    if !apic::set_mode(system.machine.apic_mode) {
        return Err(InitError::ApicMode);
    }
    let cell = cell::all().iter().find(|cell| cell.cpus.contains(&index));
    prepare_cpu(
        index,
        cell.ok_or(InitError::CpuSilent {
            apic_id: apic::id(),
        })?,
    )
}
