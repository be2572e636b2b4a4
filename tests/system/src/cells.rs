// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configurations of the tests, as TOML.
//!
//! Physical memory (1 GiB): Linux from 0 to 256 MiB, the hypervisor's 8 MiB at 3000_0000H, the small cells at 3080_0000H
//! in steps of 4 MiB, a page for real-mode code at 3180_0000H, channels at 3200_0000H, attackers at 3440_0000H. Consoles: the hypervisor's is COM2;
//! cells a, b and c have COM1, COM3 and COM4.

use std::fmt::Write;

/// Guest-physical address of a small cell's memory.
pub const GUEST_BASE: u64 = 0x4200_0000;
/// Size of a small cell's memory.
pub const CELL_SIZE: u64 = 4 << 20;
/// Guest-physical page in which a second CPU starts.
const START_PAGE: u64 = 0x8000;
/// Its host-physical address.
const START_PAGE_HOST: u64 = 0x3180_0000;
const CHANNEL_BASE: u64 = 0x3200_0000;
const ATTACKERS_BASE: u64 = 0x3400_0000;
const CHANNEL_SIZE: u64 = 2 << 20;

/// How local APICs are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through MSRs.
    X2apic,
    /// Through a page of memory.
    Xapic,
}

impl Mode {
    /// Returns the configuration's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X2apic => "x2apic",
            Self::Xapic => "xapic",
        }
    }
}

/// A small cell: where its memory and its console are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Cell a, COM1.
    A,
    /// Cell b, COM3.
    B,
    /// Cell c, COM4.
    C,
}

impl Slot {
    /// Returns the cell's name, which its console's lines are labelled with.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
        }
    }

    /// Returns the host-physical address of the cell's memory.
    pub fn memory(self) -> u64 {
        0x3080_0000 + self as u64 * CELL_SIZE
    }

    /// Returns the first port of the cell's console.
    pub fn port(self) -> u16 {
        match self {
            Self::A => 0x3f8,
            Self::B => 0x3e8,
            Self::C => 0x2e8,
        }
    }
}

/// A configuration in the making.
#[derive(Clone, Debug)]
pub struct Cells {
    text: String,
    channels: u64,
}

impl Cells {
    /// Begins with the machine, which has the CPUs 0 to `cpus` - 1, and the hypervisor.
    pub fn new(mode: Mode, cpus: u32) -> Self {
        Self::with_memory(mode, cpus, 1021)
    }

    /// Begins with a machine with so much memory above 1 MiB.
    pub fn with_memory(mode: Mode, cpus: u32, memory_mib: u32) -> Self {
        let mode = mode.name();
        let ids: Vec<u32> = (0..cpus).collect();
        let text = format!(
            "[machine]
name = \"emulator\"
cpus = {ids:?}
memory = [{{ base = 0x0, size = \"636K\" }}, {{ base = \"1M\", size = \"{memory_mib}M\" }}]
apic_mode = \"{mode}\"
when_all_cells_end = \"emulator-exit\"

[hypervisor]
memory = {{ base = 0x3000_0000, size = \"8M\" }}
console = {{ port = 0x2f8 }}
"
        );
        Self { text, channels: 0 }
    }

    /// Adds a cell with the tests' image. `cmdline` begins with `test=`.
    pub fn test(self, slot: Slot, cpus: &[u32], cmdline: &str) -> Self {
        self.test_with(slot, cpus, cmdline, "")
    }

    /// Adds a cell with the tests' image and further keys.
    pub fn test_with(self, slot: Slot, cpus: &[u32], cmdline: &str, more: &str) -> Self {
        self.image_with(slot, cpus, "test-cell", GUEST_BASE, cmdline, more)
    }

    /// Adds a cell with the tests' image and the rest of the devices; it may end the machine.
    pub fn test_with_devices(self, slot: Slot, cpus: &[u32], cmdline: &str) -> Self {
        // The keys go on with the cell's table.
        self.test(slot, cpus, cmdline)
            .raw("devices = \"rest\"\nmay_end_machine = true")
    }

    /// Adds a cell with an image that wants its memory at the guest-physical address `base`.
    pub fn image(self, slot: Slot, cpus: &[u32], image: &str, base: u64, cmdline: &str) -> Self {
        self.image_with(slot, cpus, image, base, cmdline, "")
    }

    fn image_with(
        self,
        slot: Slot,
        cpus: &[u32],
        image: &str,
        base: u64,
        cmdline: &str,
        more: &str,
    ) -> Self {
        let low = if cpus.len() > 1 {
            format!(", {{ base = {START_PAGE_HOST:#x}, size = \"4K\", guest = {START_PAGE:#x} }}")
        } else {
            String::new()
        };
        let memory = format!(
            "[{{ base = {:#x}, size = \"4M\", guest = {base:#x} }}{low}]",
            slot.memory()
        );
        let more = format!("cmdline = \"{cmdline}\"\n{more}");
        self.elf(slot, cpus, image, &memory, &more)
    }

    /// Adds attacker `number`, which has the CPU of this number, no console and no channel.
    pub fn attacker(self, number: u32, cmdline: &str, more: &str) -> Self {
        let memory = ATTACKERS_BASE + u64::from(number) * CELL_SIZE;
        self.raw(&format!(
            "[[cell]]
name = \"x{number}\"
kind = \"elf\"
cpus = [{number}]
memory = [{{ base = {memory:#x}, size = \"4M\", guest = {GUEST_BASE:#x} }}]
image = \"test-cell\"
cmdline = \"{cmdline}\"
{more}"
        ))
    }

    /// Adds an ELF cell.
    pub fn elf(self, slot: Slot, cpus: &[u32], image: &str, memory: &str, more: &str) -> Self {
        self.raw(&format!(
            "[[cell]]
name = \"{}\"
kind = \"elf\"
cpus = {cpus:?}
memory = {memory}
console = {{ port = {:#x} }}
image = \"{image}\"
{more}",
            slot.name(),
            slot.port()
        ))
    }

    /// Adds a Linux cell with the rest of the devices and COM1; it takes the place of cell a. `more` are further keys.
    pub fn linux(self, cpus: &[u32], more: &str) -> Self {
        self.raw(&format!(
            "[[cell]]
name = \"a\"
kind = \"linux\"
cpus = {cpus:?}
memory = [{{ base = 0x0, size = \"636K\" }}, {{ base = \"1M\", size = \"255M\" }}]
console = {{ port = 0x3f8 }}
devices = \"rest\"
foreign_ports = \"absent\"
kernel = \"linux\"
initrd = \"initrd\"
cmdline = \"console=ttyS0,115200 lpj=100000 tsc=reliable hpet=disable 8250.nr_uarts=1 panic=-1\"
{more}"
        ))
    }

    /// Adds a channel between two cells.
    pub fn channel(self, client: Slot, server: Slot) -> Self {
        self.channel_with(client, server, "direct")
    }

    /// Adds a channel with this doorbell policy.
    pub fn channel_with(self, client: Slot, server: Slot, doorbell: &str) -> Self {
        self.channel_between(client.name(), server.name(), doorbell)
    }

    /// Adds a channel between two cells by their names.
    pub fn channel_between(self, client: &str, server: &str, doorbell: &str) -> Self {
        self.channel_of_size(client, server, doorbell, CHANNEL_SIZE)
    }

    /// Adds a channel of `size` bytes; a larger one than usual is the last one.
    pub fn channel_of_size(
        mut self,
        client: &str,
        server: &str,
        doorbell: &str,
        size: u64,
    ) -> Self {
        let base = CHANNEL_BASE + self.channels * CHANNEL_SIZE;
        self.channels += 1;
        let number = self.channels;
        self.raw(&format!(
            "[[channel]]
name = \"channel-{number}\"
client = \"{client}\"
server = \"{server}\"
memory = {{ base = {base:#x}, size = {size:#x} }}
doorbell = \"{doorbell}\""
        ))
    }

    /// Adds further keys to the table that was added last.
    pub fn with(self, keys: &str) -> Self {
        Self {
            text: format!("{}\n{keys}\n", self.text.trim_end()),
            ..self
        }
    }

    /// Returns the text.
    pub fn toml(&self) -> &str {
        &self.text
    }

    fn raw(mut self, table: &str) -> Self {
        writeln!(self.text, "\n{table}").expect("a string takes all that is written");
        self
    }
}
