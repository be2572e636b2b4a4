// SPDX-License-Identifier: MIT OR Apache-2.0
//! The conformance image: checks user interrupts against the manual, case by case, on the machine that it runs on.
//!
//! One file for two places: GRUB starts it on the bare machine (Multiboot2), Isthmus in a cell (`kind = "elf"`). Its
//! console has one line for each case and a last one with the counts; docs/uintr-conformance.md explains them.
//!
//! * `machine`: everything that needs the processor's instructions.
//! * `bench`: what the cases work with; it gives each of them the same state.
//! * `cases`: the cases themselves, one module for each group.
//! * `vmm`: guests of the image's own, for the cases about VMX on the bare machine.
//! * `peer`: the second cell of the cases that need two, the same image with `role=peer`.
#![no_std]
#![no_main]
#![expect(
    clippy::result_large_err,
    reason = "failures carry their text: there is no heap, and a case fails once"
)]

use freestanding as _;

#[macro_use]
mod machine;

#[macro_use]
mod case;
mod bench;
mod cases;
mod differential_run;
mod peer;
mod runner;
mod vmm;

use hv_abi::Doorbell;
use machine::place::Place;
use machine::stop::{self, stop};
use machine::{console, cpu, smp, trap, uintr};
use uintr_conformance::{End, Options, Role};

/// Runs the image; `machine::entry` calls it once, on the first CPU.
fn run(place: Place, command_line: &str) -> ! {
    let parsed = Options::parse(command_line);
    let asked = parsed.ok().and_then(|options| options.console);
    if let Some(port) = asked.or(place.console()) {
        console::init(port);
    }
    let options = match parsed {
        Ok(options) => options,
        Err(error) => {
            report!("error detail=\"{error}\"");
            stop();
        }
    };
    if options.end == End::Emulator
        && let Place::Bare = place
    {
        // In a cell the hypervisor ends it.
        stop::end_emulator();
    }
    let Some(mode) = machine::start(place, options.apic) else {
        report!("error detail=\"the wanted APIC mode is not to be had here\"");
        stop();
    };
    report!(
        "machine={} doorbell={} apic={mode} cpus={} vmx={} uintr={} family={} emulator={}",
        place.name(),
        doorbell(place),
        smp::count(),
        u8::from(has_vmx()),
        u8::from(uintr::is_enumerated()),
        Family,
        options.emulator,
    );
    match options.role {
        Role::Main if options.is_differential => {
            differential_run::run_all(&bench::Bench::new(place, mode), &options);
        }
        Role::Main => runner::run_all(place, mode, &options),
        Role::Peer => peer::serve(&bench::Bench::new(place, mode)),
    }
    stop()
}

fn doorbell(place: Place) -> &'static str {
    match place.doorbell() {
        None => "none",
        Some(Doorbell::Direct) => "direct",
        Some(Doorbell::Filtered) => "filtered",
    }
}

fn has_vmx() -> bool {
    const CPUID_1_ECX_VMX: u32 = 1 << 5;
    cpu::cpuid(1, 0).ecx & CPUID_1_ECX_VMX != 0
}

/// Family, model and stepping of the processor, in hexadecimal.
struct Family;

impl core::fmt::Display for Family {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let signature = cpu::cpuid(1, 0).eax;
        let family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
        let model = signature >> 4 & 0xf | signature >> 12 & 0xf0;
        write!(f, "{family:02x}-{model:02x}-{:x}", signature & 0xf)
    }
}

/// A panic in a case is a failure of that case: it goes to the landing by #UD.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let text = uintr_conformance::Text::new(format_args!("{info}"));
    if trap::has_landing() {
        report!("panic detail=\"{text}\"");
        trap::raise();
    }
    report!("fatal detail=\"{text}\"");
    stop()
}
