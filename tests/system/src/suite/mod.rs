// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tests, by what they are about.

mod attacks;
mod backtraces;
mod boot;
mod conformance;
mod demo;
mod forward;
mod guests;
mod hostile;
mod hostile_channel;
mod hostile_stops;
mod ioapic;
mod linux;
mod load;
mod network;
mod nimbos;
mod refusals;
mod regressions;
mod rings;
mod shell;
mod stress;
mod user_interrupts;

use anyhow::Result;

use crate::scenario::Trial;

/// A test.
#[derive(Debug)]
pub struct Test {
    /// What it is called: a behaviour.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&Trial) -> Result<()>,
    /// Whether it takes minutes, so that it runs only where that is wanted.
    pub is_long: bool,
}

impl Test {
    const fn new(name: &'static str, run: fn(&Trial) -> Result<()>) -> Self {
        Self {
            name,
            run,
            is_long: false,
        }
    }

    const fn long(name: &'static str, run: fn(&Trial) -> Result<()>) -> Self {
        Self {
            is_long: true,
            ..Self::new(name, run)
        }
    }
}

/// All tests. The long ones come first, so that none runs alone at the end.
pub const TESTS: &[Test] = &[
    Test::long(
        "regress: switching tasks, a million sends",
        regressions::million_direct,
    ),
    Test::long(
        "regress: switching tasks, a million sends, filtered",
        regressions::million_filtered,
    ),
    Test::long(
        "regress: every defect of the switch is noticed",
        regressions::defects_are_noticed,
    ),
    Test::long("stress: calls of all kinds, ten minutes", stress::long),
    Test::long(
        "stress: calls of all kinds, ten minutes, two CPUs",
        stress::long_two_cpus,
    ),
    Test::long("regress: Linux and NimbOS under load, long", load::long),
    Test::long(
        "regress: Linux and NimbOS under load, long, filtered",
        load::long_filtered,
    ),
    Test::long(
        "forward: the server is killed a thousand times",
        forward::thousand_kills,
    ),
    Test::long(
        "forward: NimbOS starts anew a hundred times",
        forward::hundred_resets,
    ),
    Test::new("regress: Linux and NimbOS under load", load::direct),
    Test::new(
        "regress: Linux and NimbOS under load, filtered, logged",
        load::filtered_logged,
    ),
    Test::new("nimbos: usertests", nimbos::usertests),
    Test::new("nimbos: usertests, two CPUs", nimbos::usertests_two_cpus),
    Test::new(
        "nimbos: usertests, two CPUs, xapic",
        nimbos::usertests_two_cpus_xapic,
    ),
    Test::new(
        "nimbos: usertests without XSAVEOPT",
        nimbos::usertests_without_xsaveopt,
    ),
    Test::new("nimbos: idle CPUs are halted", nimbos::idle),
    Test::new("forward: all calls", forward::all_calls),
    Test::new(
        "forward: all calls, two CPUs, filtered",
        forward::all_calls_more,
    ),
    Test::new("forward: the server is killed", forward::kills),
    Test::new("forward: NimbOS starts anew", forward::resets),
    Test::new("forward: NimbOS fails and starts anew", forward::panics),
    Test::new("forward: NimbOS dies", forward::deaths),
    Test::new("rings: processes with rings of their own", rings::one_cpu),
    Test::new("rings: processes with rings, two CPUs", rings::two_cpus),
    Test::new("rings: processes with rings, filtered", rings::filtered),
    Test::new("demo: the main job", demo::main_job),
    Test::new("demo: two CPUs for Linux", demo::two_linux_cpus),
    Test::new("demo: two CPUs for NimbOS", demo::two_nimbos_cpus),
    Test::new("demo: filtered doorbell", demo::filtered),
    Test::new("demo: xapic", demo::xapic),
    Test::new("demo: by UEFI", demo::by_uefi),
    Test::new("demo: finer interleaving", demo::finer_interleaving),
    Test::new("stress: calls of all kinds", stress::short),
    Test::new(
        "stress: calls of all kinds, filtered",
        stress::short_filtered,
    ),
    Test::new(
        "stress: calls of all kinds, two CPUs",
        stress::short_two_cpus,
    ),
    Test::new("shell: a script on NimbOS's console", shell::script),
    Test::new("shell: the end of what is typed", shell::end_of_file),
    Test::new("shell: TCP with programs of Linux", network::with_linux),
    Test::new("conformance: bare", conformance::bare),
    Test::new("conformance: direct", conformance::direct),
    Test::new("conformance: filtered", conformance::filtered),
    Test::new("linux: 2 CPUs, xapic", linux::two_cpus_xapic),
    Test::new("linux: 2 CPUs, x2apic", linux::two_cpus_x2apic),
    Test::new(
        "linux: 1 CPU, x2apic, power-off ends the cell only",
        linux::power_off_ends_the_cell,
    ),
    Test::new("linux: 1 CPU, xapic", linux::one_cpu_xapic),
    Test::new("boot: by UEFI", boot::by_uefi),
    Test::new("boot: by BIOS", boot::by_bios),
    Test::new("boot: NimbOS runs a program", boot::nimbos),
    Test::new("nimbos: user interrupts, x2apic", user_interrupts::x2apic),
    Test::new("nimbos: user interrupts, xapic", user_interrupts::xapic),
    Test::new(
        "nimbos: user interrupts, two CPUs",
        user_interrupts::two_cpus,
    ),
    Test::new(
        "nimbos: user interrupts, two CPUs, xapic",
        user_interrupts::two_cpus_xapic,
    ),
    Test::new("nimbos: alarms", user_interrupts::alarms),
    Test::new("nimbos: alarms, two CPUs", user_interrupts::alarms_two_cpus),
    Test::new("boot: three cells", boot::three_cells),
    Test::new("boot: in xAPIC mode without x2APIC", boot::without_x2apic),
    Test::new(
        "boot: a cell not on the boot CPU",
        boot::not_on_the_boot_cpu,
    ),
    Test::new(
        "uintr: round trips and priority, x2apic",
        guests::ping_pong_x2apic,
    ),
    Test::new(
        "uintr: round trips and priority, xapic",
        guests::ping_pong_xapic,
    ),
    Test::new(
        "uintr: filtered round trips and priority, x2apic",
        guests::ping_pong_filtered_x2apic,
    ),
    Test::new(
        "uintr: filtered round trips and priority, xapic",
        guests::ping_pong_filtered_xapic,
    ),
    Test::new("uintr: filtered doorbell, x2apic", guests::doorbell_x2apic),
    Test::new("uintr: filtered doorbell, xapic", guests::doorbell_xapic),
    Test::new(
        "regress: switching tasks, x2apic",
        regressions::direct_x2apic,
    ),
    Test::new(
        "regress: switching tasks, filtered, x2apic",
        regressions::filtered_x2apic,
    ),
    Test::new("regress: switching tasks, xapic", regressions::direct_xapic),
    Test::new(
        "regress: switching tasks, filtered, xapic",
        regressions::filtered_xapic,
    ),
    Test::new(
        "regress: switching tasks, quantum 1",
        regressions::quantum_1,
    ),
    Test::new(
        "regress: switching tasks, quantum 5",
        regressions::quantum_5,
    ),
    Test::new(
        "regress: switching tasks, quantum 32",
        regressions::quantum_32,
    ),
    Test::new(
        "regress: delivery step by step, x2apic",
        regressions::delivery_direct_x2apic,
    ),
    Test::new(
        "regress: delivery step by step, xapic",
        regressions::delivery_direct_xapic,
    ),
    Test::new(
        "regress: delivery step by step, filtered, x2apic",
        regressions::delivery_filtered_x2apic,
    ),
    Test::new(
        "regress: delivery step by step, filtered, xapic",
        regressions::delivery_filtered_xapic,
    ),
    Test::new("regress: frames of handlers", regressions::frame),
    Test::new("regress: a kernel as receiver", regressions::inbox_direct),
    Test::new(
        "regress: a kernel as receiver, filtered",
        regressions::inbox_filtered,
    ),
    Test::new("smp: x2apic", guests::smp_x2apic),
    Test::new("smp: xapic", guests::smp_xapic),
    Test::new("timer: x2apic", guests::timer_x2apic),
    Test::new("timer: xapic", guests::timer_xapic),
    Test::new("denials: the cell goes on", guests::denials),
    Test::new("hostile: every MSR", hostile::msrs),
    Test::new(
        "hostile: a client against Linux's shadow process",
        hostile_channel::client,
    ),
    Test::new("hostile: servers against NimbOS", hostile_channel::servers),
    Test::new("hostile: every port", hostile::ports),
    Test::new(
        "hostile: stopped in a storm of interrupts, x2apic",
        hostile::storm_interrupts,
    ),
    Test::new(
        "hostile: stopped in a storm of interrupts, xapic",
        hostile::storm_interrupts_xapic,
    ),
    Test::new("hostile: stopped in a storm of INITs", hostile::storm_inits),
    Test::new(
        "hostile: stopped in a storm of hypercalls",
        hostile::storm_hypercalls,
    ),
    Test::new("hostile: stopped in a storm of posts", hostile::storm_posts),
    Test::new("hostile: stopped in a storm of I/O", hostile::storm_ports),
    Test::new(
        "hostile: forged descriptors, filtered, x2apic",
        hostile::descriptors_filtered_x2apic,
    ),
    Test::new(
        "hostile: forged descriptors, filtered, xapic",
        hostile::descriptors_filtered_xapic,
    ),
    Test::new(
        "hostile: forged descriptors, direct",
        hostile::descriptors_direct,
    ),
    Test::new("hostile: writes to the APIC page", hostile::apic_page),
    Test::new(
        "hostile stop: forms of writes to the APIC page",
        hostile_stops::apic_page,
    ),
    Test::new("hostile stop: ports", hostile_stops::ports),
    Test::new("hostile stop: MSRs", hostile_stops::msrs),
    Test::new("hostile stop: IA32_APIC_BASE", hostile_stops::apic_base),
    Test::new("hostile stop: memory", hostile_stops::memory),
    Test::new(
        "hostile stop: interrupt commands, x2apic",
        hostile_stops::commands_x2apic,
    ),
    Test::new(
        "hostile stop: interrupt commands, xapic",
        hostile_stops::commands_xapic,
    ),
    Test::new("hostile: hypercalls and CPUID", hostile::calls),
    Test::new(
        "hostile: interrupt commands, x2apic",
        hostile::interrupts_x2apic,
    ),
    Test::new(
        "hostile: interrupt commands, xapic",
        hostile::interrupts_xapic,
    ),
    Test::new(
        "hostile: control registers and instructions",
        hostile::registers,
    ),
    Test::new(
        "attack: read of the neighbour's memory",
        attacks::read_neighbour,
    ),
    Test::new(
        "attack: read of the hypervisor's memory",
        attacks::read_hypervisor,
    ),
    Test::new(
        "attack: write to the hypervisor's memory",
        attacks::write_hypervisor,
    ),
    Test::new(
        "attack: write to the neighbour's memory",
        attacks::write_neighbour,
    ),
    Test::new("attack: write to the neighbour's console", attacks::port),
    Test::new(
        "attack: write to the PCI configuration port",
        attacks::pci_port,
    ),
    Test::new("attack: microcode update", attacks::microcode),
    Test::new("attack: moved APIC page", attacks::apic_base),
    Test::new(
        "attack: INIT to the neighbour, x2apic",
        attacks::init_x2apic,
    ),
    Test::new("attack: INIT to the neighbour, xapic", attacks::init_xapic),
    Test::new(
        "attack: interrupt to the neighbour, x2apic",
        attacks::interrupt_x2apic,
    ),
    Test::new(
        "attack: interrupt to the neighbour, xapic",
        attacks::interrupt_xapic,
    ),
    Test::new("attack: SMI to the neighbour", attacks::smi),
    Test::new("attack: triple fault", attacks::triple_fault),
    Test::new("ioapic: a hostile cell, x2apic", ioapic::x2apic),
    Test::new("ioapic: a hostile cell, xapic", ioapic::xapic),
    Test::new("ioapic: a store of 8 bits", ioapic::byte),
    Test::new("ioapic: a store of 16 bits", ioapic::word),
    Test::new("ioapic: a store of 64 bits", ioapic::quadword),
    Test::new("ioapic: an OR", ioapic::or),
    Test::new("ioapic: a moved page", ioapic::moved),
    Test::new(
        "backtrace: an exception of the hypervisor",
        backtraces::exception,
    ),
    Test::new("backtrace: a panic of the hypervisor", backtraces::panic),
    Test::new("backtrace: a corrupt stack", backtraces::corrupt_stack),
    Test::new("backtrace: a call of what is no code", backtraces::bad_call),
    Test::new(
        "backtrace: a report that fails itself",
        backtraces::failed_report,
    ),
    Test::new("backtrace: without symbols", backtraces::without_symbols),
    Test::new("backtrace: NimbOS's kernel", backtraces::nimbos),
    Test::new(
        "backtrace: stacks of NimbOS's kernel",
        backtraces::nimbos_stack,
    ),
    Test::new("backtrace: programs of NimbOS", backtraces::program_faults),
    Test::new("refusal: no configuration", refusals::no_configuration),
    Test::new("refusal: truncated configuration", refusals::truncated),
    Test::new(
        "refusal: a flipped bit in the configuration",
        refusals::flipped_bit,
    ),
    Test::new("refusal: a missing module", refusals::missing_module),
    Test::new("refusal: a duplicate module", refusals::duplicate_module),
    Test::new("refusal: a kernel that is no bzImage", refusals::no_bzimage),
    Test::new("refusal: an image that is no ELF file", refusals::no_elf),
    Test::new(
        "refusal: an image too large for its cell",
        refusals::large_image,
    ),
    Test::new(
        "refusal: a CPU that the machine lacks",
        refusals::missing_cpu,
    ),
    Test::new(
        "refusal: memory that the machine lacks",
        refusals::missing_memory,
    ),
    Test::new("refusal: no VMX", refusals::no_vmx),
    Test::new("refusal: no user interrupts", refusals::no_uintr),
    Test::new("refusal: no x2APIC", refusals::no_x2apic),
    Test::new(
        "refusal: no VMX, user interrupts and x2APIC",
        refusals::old_processor,
    ),
];
