// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APIC in the hands of the cell with the rest of the devices: it routes the PIT's interrupt to itself, and tries
//! to route it to its neighbour in every way there is.

use super::{Failure, expect};
use crate::arch::apic::Apic;
use crate::arch::ioapic::{self, Odd};
use crate::arch::{cpu, pit, port, trap};
use crate::boot::Boot;
use crate::channel::Channel;

const VECTOR: u8 = 0x61;
/// Interrupt input of the PIT.
const PIN: u8 = 2;
const LOW: u8 = 0x10 + 2 * PIN;
const HIGH: u8 = LOW + 1;
const ID: u8 = 0;
const VERSION: u8 = 1;
/// What software can write of the ID register.
const ID_BITS: u32 = 0xf << 24;

const MASKED: u32 = 1 << 16;
const LOGICAL: u32 = 1 << 11;
const LOWEST_PRIORITY: u32 = 1 << 8;
const SMI: u32 = 2 << 8;
const NMI: u32 = 4 << 8;
const INIT: u32 = 5 << 8;
const EXTINT: u32 = 7 << 8;
const FIXED_VECTOR: u32 = VECTOR as u32;

/// Interrupts raised for each entry.
const PULSES: u32 = 3;
/// About a fifth of a millisecond.
const PIT_COUNT: u16 = 250;
const PATIENCE_MS: u64 = 100;
/// How long an interrupt may take from the PIT to its handler.
const SETTLE_MS: u64 = 1;

/// Port that ends the emulator.
const EMULATOR_EXIT: u16 = 0x8900;
/// Configuration space of the PIIX3's function 0: APIC base address relocation. (82371SB, "APICBASE")
const APICBASE: u32 = 0x8000_0880;
/// Page to which value 4 of that register moves the I/O APIC.
const MOVED: u64 = ioapic::BASE + 0x1000;

/// What cells try, and what the hypervisor makes of it.
struct Run<'a> {
    boot: &'a Boot,
    own: u32,
    foreign: u32,
    /// Writes that leave the entry unmasked for the cell and masked in the hardware.
    refusals: u32,
}

/// Runs the test. What comes last is the option `end`: it ends the cell one way or another.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    channel.set_ready(true);
    channel.await_peer();
    channel.ask(1);
    let own = boot.first_cpu();
    Apic::new(boot.is_x2apic()).set_logical_id(1 << own);
    cpu::enable_interrupts();
    let mut run = Run {
        boot,
        own,
        foreign: boot.options().number("foreign")? as u32,
        refusals: 0,
    };
    registers()?;
    run.own_interrupts()?;
    run.foreign_interrupts()?;
    run.by_halves()?;
    channel.ask(1);
    report!("name=ioapic refusals={}", run.refusals);
    end(boot.options().text("end")?)
}

/// What is no entry, and what entries hold at first.
fn registers() -> Result<(), Failure> {
    let version = ioapic::read(VERSION);
    let highest = (version >> 16 & 0xff) as u8;
    for pin in 0..=highest {
        let entry = (ioapic::read(0x10 + 2 * pin), ioapic::read(0x11 + 2 * pin));
        expect("masked at start", i64::from(entry == (MASKED, 0)), 1)?;
    }
    ioapic::write(VERSION, 0);
    expect("version", ioapic::read(VERSION).into(), version.into())?;
    let id = ioapic::exchange(ID, u32::MAX);
    expect("id", ioapic::read(ID).into(), ID_BITS.into())?;
    ioapic::write(ID, id);
    report!("name=registers version={version:#x} id={id:#x}");
    Ok(())
}

impl Run<'_> {
    /// What the cell may have, in the ways an operating system may write it.
    fn own_interrupts(&mut self) -> Result<(), Failure> {
        let own_bit = 1 << self.own;
        let both = own_bit | 1 << self.foreign;
        for (name, low, destination) in [
            ("own-fixed", FIXED_VECTOR, self.own),
            ("own-lowest", FIXED_VECTOR | LOWEST_PRIORITY, self.own),
            ("own-logical", FIXED_VECTOR | LOGICAL, own_bit),
            (
                "own-logical-lowest",
                FIXED_VECTOR | LOGICAL | LOWEST_PRIORITY,
                own_bit,
            ),
            // Of what reaches further, the cell's part remains.
            ("both-logical", FIXED_VECTOR | LOGICAL, both),
            (
                "both-logical-lowest",
                FIXED_VECTOR | LOGICAL | LOWEST_PRIORITY,
                both,
            ),
            ("broadcast", FIXED_VECTOR, 0xff),
            ("broadcast-lowest", FIXED_VECTOR | LOWEST_PRIORITY, 0xff),
            ("broadcast-logical", FIXED_VECTOR | LOGICAL, 0xff),
        ] {
            self.try_entry(name, low, destination, PULSES)?;
        }
        Ok(())
    }

    /// What it may not have: a delivery mode that reaches further than an interrupt, or the neighbour.
    fn foreign_interrupts(&mut self) -> Result<(), Failure> {
        let (own, foreign) = (self.own, self.foreign);
        for (name, low, destination) in [
            ("fixed", FIXED_VECTOR, foreign),
            ("lowest", FIXED_VECTOR | LOWEST_PRIORITY, foreign),
            ("smi", SMI, foreign),
            ("reserved-3", FIXED_VECTOR | 3 << 8, foreign),
            ("nmi", FIXED_VECTOR | NMI, foreign),
            ("init", INIT, foreign),
            ("reserved-6", FIXED_VECTOR | 6 << 8, foreign),
            ("extint", EXTINT, foreign),
            ("logical", FIXED_VECTOR | LOGICAL, 1 << foreign),
            (
                "logical-lowest",
                FIXED_VECTOR | LOGICAL | LOWEST_PRIORITY,
                1 << foreign,
            ),
            ("logical-nmi", NMI | LOGICAL, 1 << foreign),
            ("nobody", FIXED_VECTOR, 0x7f),
            ("broadcast-nmi", NMI, 0xff),
            ("broadcast-init", INIT, 0xff),
            ("broadcast-smi", SMI, 0xff),
            ("broadcast-extint", EXTINT, 0xff),
            ("own-smi", SMI, own),
            ("own-nmi", NMI, own),
            ("own-init", INIT, own),
            ("own-extint", EXTINT, own),
            ("vector-15", 0x0f, own),
        ] {
            self.try_entry(name, low, destination, 0)?;
            self.refusals += 1;
        }
        Ok(())
    }

    /// An entry that works, spoilt and mended by one half while it is unmasked.
    fn by_halves(&mut self) -> Result<(), Failure> {
        let (own, foreign) = (self.own << 24, self.foreign << 24);
        for (name, number, value, adds) in [
            ("destination-first", HIGH, own, 0),
            ("then-unmasked", LOW, FIXED_VECTOR, PULSES),
            ("foreign-by-high-half", HIGH, foreign, 0),
            ("own-by-high-half", HIGH, own, PULSES),
            ("nmi-by-low-half", LOW, NMI, 0),
            ("foreign-under-nmi", HIGH, foreign, 0),
            ("foreign-by-low-half", LOW, FIXED_VECTOR, 0),
            ("own-again", HIGH, own, PULSES),
            ("masked", LOW, FIXED_VECTOR | MASKED, 0),
            ("foreign-masked", HIGH, foreign, 0),
            ("unmasked", LOW, FIXED_VECTOR, 0),
            ("masked-again", LOW, MASKED, 0),
        ] {
            ioapic::write(number, value);
            expect(name, ioapic::read(number).into(), value.into())?;
            self.pulse(name, adds)?;
            let is_refused = adds == 0 && ioapic::read(LOW) & MASKED == 0;
            self.refusals += u32::from(is_refused);
        }
        Ok(())
    }

    /// Writes an entry as operating systems do: masked, destination, unmasked; raises the interrupt; masks it.
    fn try_entry(
        &self,
        name: &'static str,
        low: u32,
        destination: u32,
        adds: u32,
    ) -> Result<(), Failure> {
        ioapic::write(LOW, low | MASKED);
        ioapic::write(HIGH, destination << 24);
        ioapic::write(LOW, low);
        // Delivery status, bit 12, may be set at any time.
        expect(name, i64::from(ioapic::read(LOW) & !(1 << 12)), low.into())?;
        expect(
            name,
            ioapic::read(HIGH).into(),
            i64::from(destination << 24),
        )?;
        self.pulse(name, adds)?;
        ioapic::write(LOW, low | MASKED);
        Ok(())
    }

    /// Raises the interrupt some times and checks how many arrive here, all of them with the vector.
    fn pulse(&self, name: &'static str, adds: u32) -> Result<(), Failure> {
        let counts = || (trap::count_all(0), trap::count(0, VECTOR));
        let before = counts();
        for _ in 0..PULSES {
            pit::start(PIT_COUNT);
            if !cpu::wait_until(self.boot.ticks(PATIENCE_MS), pit::has_risen) {
                return Err(Failure::Late("pit"));
            }
            cpu::delay(self.boot.ticks(SETTLE_MS));
        }
        let (all, ours) = counts();
        report!("entry={name} interrupts={}", all - before.0);
        expect(name, i64::from(all - before.0), adds.into())?;
        expect(name, i64::from(ours - before.1), adds.into())
    }
}

/// Ends the cell.
fn end(how: &'static str) -> Result<(), Failure> {
    match how {
        "power-off" => port::write(EMULATOR_EXIT, b'S'),
        "byte" => ioapic::access_oddly(Odd::Byte),
        "word" => ioapic::access_oddly(Odd::Word),
        "quadword" => ioapic::access_oddly(Odd::Quadword),
        "or" => ioapic::access_oddly(Odd::Or),
        "moved" => {
            port::write_dword(0xcf8, APICBASE);
            port::write(0xcfc, 4);
            ioapic::load(MOVED);
        }
        _ => return Err(Failure::UnknownTest(how)),
    }
    Err(Failure::Survived)
}
