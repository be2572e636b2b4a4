// SPDX-License-Identifier: MIT OR Apache-2.0
//! The emulated machine: what it has, and the configuration file that says so to Bochs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Lab;
use crate::emulator::Emulator;

/// Left out always: the model has TILEDATA without XFD, and Linux dies of that.
const NEVER: [&str; 3] = ["amx", "amx_int8", "amx_bf16"];
/// The UEFI firmware of Debian's package ovmf: variables, then code.
const OVMF: [&str; 2] = [
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
];

/// What starts the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// Bochs' own BIOS.
    Bios,
    /// OVMF. Needs 512 MiB and several seconds to reach the boot loader.
    Uefi,
}

/// What the machine boots from.
#[derive(Debug, Clone)]
pub enum Medium {
    /// A CD.
    Iso(PathBuf),
    /// A 1.44 MB floppy disk.
    Floppy(PathBuf),
}

/// A serial port whose output is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// The port, 1 to 4.
    pub com: u8,
    /// What its lines are called by.
    pub label: String,
    /// The terminal device that it is connected to, in both directions; its lines are not followed then.
    pub terminal: Option<PathBuf>,
}

impl Console {
    /// Names the serial port `com` (1 to 4).
    pub fn new(com: u8, label: impl Into<String>) -> Self {
        Self {
            com,
            label: label.into(),
            terminal: None,
        }
    }

    /// Returns the file in the run's folder that the port writes to.
    pub(crate) fn file_name(&self) -> String {
        format!("com{}.log", self.com)
    }
}

/// A machine to emulate: a Sapphire Rapids server with VMX and user interrupts.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// How many processors it has.
    pub cpus: u32,
    /// Its memory.
    pub memory_mib: u32,
    /// Emulated instructions per emulated second: how fast time runs. Small values make the BIOS's
    /// waits short.
    pub ips: u64,
    /// How many instructions a processor in HLT counts for, whenever the others have had their turn; other values give other
    /// interleavings. (docs/emulator.md, "Ticks")
    pub quantum: u32,
    /// What starts it.
    pub firmware: Firmware,
    /// Features that the processor has beyond its model, in Bochs' words (`flexible_uiret`).
    pub add_features: Vec<String>,
    /// Features of the processor to leave out, in Bochs' words (`vmx`, `uintr`, `x2apic`).
    pub exclude_features: Vec<String>,
    /// The serial ports to follow.
    pub consoles: Vec<Console>,
    /// Whether port 0xe9 is followed too, as a console of the label `e9`.
    pub e9: bool,
    /// How long it may run, in wall-clock time.
    pub time_limit: Duration,
}

impl Default for MachineSpec {
    /// A small machine that is quick to start: 1 CPU, 256 MiB, BIOS, COM1 as `com1`, one minute.
    fn default() -> Self {
        Self {
            cpus: 1,
            memory_mib: 256,
            ips: 10_000_000,
            quantum: 16,
            firmware: Firmware::Bios,
            add_features: Vec::new(),
            exclude_features: Vec::new(),
            consoles: vec![Console::new(1, "com1")],
            e9: false,
            time_limit: Duration::from_secs(60),
        }
    }
}

impl MachineSpec {
    /// Returns Bochs' configuration, for files in the folder that it runs in.
    fn bochsrc(&self, medium: &Medium) -> String {
        let mut text = String::from(
            "config_interface: textconfig\ndisplay_library: rfb, options=\"timeout=0\"\n",
        );
        let mut line = |entry: String| {
            text.push_str(&entry);
            text.push('\n');
        };
        line(format!("memory: guest={0}, host={0}", self.memory_mib));
        self.firmware_lines().into_iter().for_each(&mut line);
        let excluded: Vec<&str> = NEVER
            .into_iter()
            .chain(self.exclude_features.iter().map(String::as_str))
            .collect();
        let added = match self.add_features.as_slice() {
            [] => String::new(),
            features => format!("add_features=\"{}\", ", features.join(",")),
        };
        line(format!(
            "cpu: model=sapphire_rapids, {}exclude_features=\"{}\", count={}, ips={}, reset_on_triple_fault=0, \
             ignore_bad_msrs=1, quantum={}",
            added,
            excluded.join(","),
            self.cpus,
            self.ips,
            self.quantum
        ));
        line("clock: sync=none, time0=1700000000".into());
        line("pci: enabled=1, chipset=i440fx".into());
        medium_lines(medium).into_iter().for_each(&mut line);
        for console in &self.consoles {
            let device = match &console.terminal {
                Some(path) => format!("mode=term, dev={}", path.display()),
                None => format!("mode=file, dev={}", console.file_name()),
            };
            line(format!("com{}: enabled=1, {device}", console.com));
        }
        if self.e9 {
            line("port_e9_hack: enabled=1".into());
        }
        // What a processor says includes its registers at a triple fault; the devices only chatter.
        let processors: String = (0..self.cpus)
            .map(|cpu| format!(", cpu{cpu}=report"))
            .collect();
        line(format!(
            "log: bochs.log\npanic: action=fatal\nerror: action=report\ninfo: action=ignore{processors}\n\
             debug: action=ignore"
        ));
        text
    }

    fn firmware_lines(&self) -> Vec<String> {
        let lines: &[&str] = match self.firmware {
            Firmware::Bios => &[
                "plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1",
                "romimage: file=$BXSHARE/BIOS-bochs-latest",
                "vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest",
            ],
            Firmware::Uefi => &[
                "romimage: file=ovmf.fd, address=0xffc00000",
                "vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest",
                "fw_cfg: enabled=1",
                // OVMF sets a 32-bit graphics mode otherwise, and the display dies of that.
                "vga: extension=none",
            ],
        };
        lines.iter().map(|&line| line.to_owned()).collect()
    }
}

fn medium_lines(medium: &Medium) -> Vec<String> {
    match medium {
        Medium::Iso(path) => vec![
            "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14".into(),
            format!(
                "ata0-master: type=cdrom, path=\"{}\", status=inserted",
                path.display()
            ),
            "boot: cdrom".into(),
        ],
        Medium::Floppy(path) => {
            vec![
                format!("floppya: 1_44=\"{}\", status=inserted", path.display()),
                "boot: floppy".into(),
            ]
        }
    }
}

/// A machine that can be booted in the lab.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) emulator: &'a Emulator,
    pub(crate) spec: MachineSpec,
}

impl<'a> Machine<'a> {
    /// Describes the machine `spec`, emulated by `emulator`.
    pub fn new(lab: &'a Lab, emulator: &'a Emulator, spec: MachineSpec) -> Self {
        Self {
            lab,
            emulator,
            spec,
        }
    }

    /// Writes what the emulator reads into the run's `folder`; returns the configuration's path.
    pub(crate) fn write_config(&self, medium: &Medium, folder: &Path) -> Result<PathBuf> {
        if self.spec.firmware == Firmware::Uefi {
            let mut flash = Vec::new();
            for path in OVMF {
                flash.extend(
                    fs::read(path).with_context(|| format!("cannot read {path}: run lab setup"))?,
                );
            }
            fs::write(folder.join("ovmf.fd"), flash).context("cannot write the firmware")?;
        }
        let rc = folder.join("bochsrc");
        fs::write(&rc, self.spec.bochsrc(medium))
            .with_context(|| format!("cannot write {}", rc.display()))?;
        Ok(rc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_line(spec: &MachineSpec, wanted: &str) -> bool {
        spec.bochsrc(&Medium::Iso("/boot.iso".into()))
            .lines()
            .any(|line| line == wanted)
    }

    #[test]
    fn the_configuration_says_what_the_spec_says() {
        let spec = MachineSpec {
            cpus: 4,
            memory_mib: 1024,
            quantum: 5,
            exclude_features: vec!["uintr".into()],
            consoles: vec![Console::new(1, "isthmus"), Console::new(3, "nimbos")],
            e9: true,
            ..MachineSpec::default()
        };
        for line in [
            "memory: guest=1024, host=1024",
            "cpu: model=sapphire_rapids, exclude_features=\"amx,amx_int8,amx_bf16,uintr\", count=4, ips=10000000, \
             reset_on_triple_fault=0, ignore_bad_msrs=1, quantum=5",
            "com1: enabled=1, mode=file, dev=com1.log",
            "com3: enabled=1, mode=file, dev=com3.log",
            "ata0-master: type=cdrom, path=\"/boot.iso\", status=inserted",
            "port_e9_hack: enabled=1",
            "info: action=ignore, cpu0=report, cpu1=report, cpu2=report, cpu3=report",
        ] {
            assert!(has_line(&spec, line), "{line}");
        }
    }

    #[test]
    fn a_serial_port_can_be_a_terminal() {
        let mut console = Console::new(3, "nimbos");
        console.terminal = Some("/dev/pts/7".into());
        let spec = MachineSpec {
            consoles: vec![console],
            ..MachineSpec::default()
        };
        assert!(has_line(
            &spec,
            "com3: enabled=1, mode=term, dev=/dev/pts/7"
        ));
    }

    #[test]
    fn features_can_be_added() {
        let spec = MachineSpec {
            add_features: vec!["flexible_uiret".into(), "fred".into()],
            ..MachineSpec::default()
        };
        let text = spec.bochsrc(&Medium::Iso("/boot.iso".into()));
        assert!(text.contains("add_features=\"flexible_uiret,fred\", exclude_features="));
    }

    #[test]
    fn amx_is_left_out_of_every_machine() {
        let text = MachineSpec::default().bochsrc(&Medium::Iso("/boot.iso".into()));
        assert!(text.contains("exclude_features=\"amx,amx_int8,amx_bf16\","));
        assert!(!text.contains("port_e9_hack"));
    }

    #[test]
    fn uefi_has_its_firmware_and_no_plugin_line() {
        let spec = MachineSpec {
            firmware: Firmware::Uefi,
            ..MachineSpec::default()
        };
        assert!(has_line(
            &spec,
            "romimage: file=ovmf.fd, address=0xffc00000"
        ));
        assert!(has_line(&spec, "vga: extension=none"));
        assert!(
            !spec
                .bochsrc(&Medium::Iso("/b".into()))
                .contains("plugin_ctrl")
        );
    }

    #[test]
    fn a_floppy_is_booted_without_a_cd() {
        let text = MachineSpec::default().bochsrc(&Medium::Floppy("/boot.img".into()));
        assert!(text.contains("floppya: 1_44=\"/boot.img\"") && text.contains("boot: floppy"));
        assert!(!text.contains("cdrom"));
    }
}
