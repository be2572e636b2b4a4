//! What users write, and what they are told when it is wrong.

use cell_config::{
    CheckError, Devices, Doorbell, EndAction, ForeignPorts, LogLevel, System, decode, encode,
};
use cell_config_toml::{from_toml, to_toml};

/// A system with two cells and all optional keys but `ports` and `mmio`.
const EXAMPLE: &str = r#"[machine]
name = "example"
cpus = [0, 1]
memory = [
  { base = 0x0, size = "640K" },
  { base = "1M", size = "1023M" },
]
apic_mode = "x2apic"
when_all_cells_end = "emulator-exit"

[hypervisor]
memory = { base = 0x3000_0000, size = "8M" }
console = { port = 0x2f8 }
log_level = "debug"

[[cell]]
name = "linux"
kind = "linux"
cpus = [0]
memory = [{ base = "1M", size = "767M" }]
console = { port = 0x3f8 }
devices = "rest"
foreign_ports = "absent"
may_end_machine = true
kernel = "linux"
initrd = "initrd"
cmdline = "console=ttyS0 \"quoted\" \\"

[[cell]]
name = "nimbos"
kind = "elf"
cpus = [1]
memory = [{ base = 0x3080_0000, size = "32M", guest = 0x4200_0000 }]
image = "nimbos"
may_restart = true

[[channel]]
name = "syscalls"
client = "nimbos"
server = "linux"
memory = { base = 0x3400_0000, size = "4M" }
doorbell = "direct"
"#;

fn example() -> System {
    from_toml(EXAMPLE).unwrap()
}

/// Returns the example with `old`, which must be in it, replaced.
fn with(old: &str, new: &str) -> String {
    assert!(EXAMPLE.contains(old), "{old:?}");
    EXAMPLE.replacen(old, new, 1)
}

/// Returns the error of the example with `old` replaced.
fn error_with(old: &str, new: &str) -> String {
    from_toml(&with(old, new)).unwrap_err().to_string()
}

#[test]
fn all_keys_reach_the_system() {
    let system = example();
    assert_eq!(system.machine.when_all_cells_end, EndAction::EmulatorExit);
    assert_eq!(system.machine.memory[1].base, 1 << 20);
    assert_eq!(system.hypervisor.console, Some(0x2f8));
    assert_eq!(system.hypervisor.log_level, LogLevel::Debug);
    let [linux, nimbos] = &system.cells[..] else {
        panic!()
    };
    assert_eq!(linux.devices, Devices::Rest);
    assert_eq!(linux.foreign_ports, ForeignPorts::Absent);
    assert!(linux.may_end_machine);
    assert_eq!(&linux.image, "linux");
    assert_eq!(linux.memory[0].guest, linux.memory[0].base);
    assert_eq!(&linux.cmdline, "console=ttyS0 \"quoted\" \\");
    assert_eq!(nimbos.memory[0].guest, 0x4200_0000);
    let channel = &system.channels[0];
    assert_eq!((channel.client, channel.server), (1, 0));
    assert_eq!(channel.doorbell, Doorbell::Direct);
}

#[test]
fn absent_keys_have_the_safe_meaning() {
    let text = with("log_level = \"debug\"\n", "").replace("console = { port = 0x2f8 }\n", "");
    let system = from_toml(&text.replace("when_all_cells_end = \"emulator-exit\"\n", "")).unwrap();
    assert_eq!(system.machine.when_all_cells_end, EndAction::Halt);
    assert_eq!(system.hypervisor.console, None);
    assert_eq!(system.hypervisor.log_level, LogLevel::Info);
    let nimbos = &system.cells[1];
    assert_eq!(nimbos.console, None);
    assert_eq!(nimbos.devices, Devices::None);
    assert_eq!(nimbos.foreign_ports, ForeignPorts::Stop);
    assert!(!nimbos.may_end_machine);
    assert!(nimbos.may_restart && !system.cells[0].may_restart);
    assert_eq!(nimbos.initrd, None);
    assert_eq!(&nimbos.cmdline, "");
    assert!(nimbos.ports.is_empty() && nimbos.mmio.is_empty());
}

#[test]
fn a_system_survives_both_forms() {
    let image = "image = \"nimbos\"\nports = [{ base = 0x70, size = 2 }]\nmmio = [{ base = 0xfed0_0000, size = \"4K\" }]";
    let system = from_toml(&with("image = \"nimbos\"", image)).unwrap();
    assert_eq!(decode(&encode(&system)), Ok(system.clone()));
    assert_eq!(from_toml(&to_toml(&system)), Ok(system));
}

#[test]
fn the_repositorys_configurations_are_accepted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    assert!(files.len() >= 3);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let system = from_toml(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(from_toml(&to_toml(&system)), Ok(system));
    }
}

/// A change to the example, and what the error says.
#[rustfmt::skip]
const REJECTED: &[(&str, &str, &str)] = &[
    // Not TOML.
    ("cpus = [0]", "cpus = [0", "line 20: missing comma between array elements"),
    // Keys.
    ("log_level", "loglevel", "line 14: hypervisor.loglevel: unknown field `loglevel`"),
    ("may_end_machine", "maybe", "line 24: cell 'linux': maybe: unknown field `maybe`"),
    ("guest = ", "gest = ", "line 33: cell 'nimbos': memory[0].gest: unknown field `gest`"),
    ("apic_mode = \"x2apic\"\n", "", "line 1: machine: missing field `apic_mode`"),
    ("doorbell = \"direct\"\n", "", "line 37: channel 'syscalls': missing field `doorbell`"),
    ("[[cell]]\nname = \"nimbos\"\n", "[[cell]]\n", "line 29: cell[1]: missing field `name`"),
    (", size = \"8M\"", "", "line 12: hypervisor.memory: missing field `size`"),
    ("kernel = \"linux\"\n", "", "line 16: cell 'linux': kernel: missing"),
    ("image = \"nimbos\"\n", "", "line 29: cell 'nimbos': image: missing"),
    ("kernel = \"linux\"", "kernel = \"linux\"\nimage = \"linux\"", "line 26: cell 'linux': image: a cell of kind Linux has `kernel` instead"),
    ("image = \"nimbos\"", "kernel = \"nimbos\"", "line 34: cell 'nimbos': kernel: a cell of kind ELF has `image` instead"),
    ("log_level", "\"log\\u001blevel\"", "line 14: hypervisor.log\\u{1b}level: unknown field"),
    // Values.
    ("size = \"767M\"", "size = \"767MB\"", "line 20: cell 'linux': memory[0].size: \"767MB\" is no size"),
    ("size = \"767M\"", "size = -1", "line 20: cell 'linux': memory[0].size: -1 is negative"),
    ("size = \"767M\"", "size = 1.5", "line 20: cell 'linux': memory[0].size: invalid type: floating point `1.5`"),
    ("size = \"767M\"", "size = \"99999999T\"", "line 20: cell 'linux': memory[0].size: \"99999999T\" is more than 64 bits hold"),
    ("port = 0x2f8", "port = 0x102f8", "line 13: hypervisor.console.port: invalid value: integer `66296`"),
    ("cpus = [0, 1]", "cpus = [0, -1]", "line 3: machine.cpus[1]: invalid value: integer `-1`"),
    ("\"x2apic\"", "\"X2APIC\"", "line 8: machine.apic_mode: unknown word \"X2APIC\", possible are \"xapic\", \"x2apic\""),
    ("kind = \"elf\"", "kind = \"pe\"", "line 31: cell 'nimbos': kind: unknown word \"pe\", possible are \"linux\", \"elf\""),
    ("may_end_machine = true", "may_end_machine = 1", "line 24: cell 'linux': may_end_machine: invalid type: integer `1`"),
    ("name = \"example\"", "name = \"an example with a very long name\"", "line 2: machine.name: text of 32 bytes, at most 31 are possible"),
    ("\"direct\"", "\"filtered\"\nserver_vectors = [0, 64]", "line 43: channel 'syscalls': server_vectors: 64 is no user vector: those are 0 to 63"),
    ("\"direct\"", "\"direct\"\nclient_vectors = [1]", "line 43: client_vectors of channel 'syscalls' limits vectors, which needs doorbell"),
    ("client = \"nimbos\"", "client = \"nimbus\"", "line 39: channel 'syscalls': client: there is no cell 'nimbus'"),
    ("server = \"linux\"", "server = \"lin\\u001bux\"", "line 40: channel 'syscalls': server: there is no cell 'lin\\u{1b}ux'"),
    // Rules; the check's own tests have all of them.
    ("cpus = [1]", "cpus = [0]", "line 32: CPU 0 is in both cell 'linux' and cell 'nimbos'"),
    ("size = \"767M\"", "size = \"768M\"", "line 20: memory[0] of cell 'linux' overlaps memory of the hypervisor"),
    ("server = \"linux\"", "server = \"nimbos\"", "line 40: channel 'syscalls' has cell 'nimbos' as both client and server"),
];

#[test]
fn a_wrong_text_is_refused_with_line_key_and_reason() {
    let mut failures = String::new();
    for (old, new, expected) in REJECTED {
        let error = error_with(old, new);
        if !error.starts_with(expected) || error.contains('\n') {
            failures += &format!("{new}\n  found    {error}\n  expected {expected}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn lists_that_are_too_long_are_refused() {
    let cpus = format!("cpus = {:?}", (0..65).collect::<Vec<_>>());
    assert!(
        error_with("cpus = [0, 1]", &cpus).starts_with("line 3: machine.cpus: more than 64 items")
    );
    let regions = "{ base = 0, size = 0 }, ".repeat(17);
    let error = error_with("{ base = \"1M\", size = \"767M\" }", &regions);
    assert!(
        error.starts_with("line 20: cell 'linux': memory: more than 16 items"),
        "{error}"
    );
    let cell = &EXAMPLE[EXAMPLE.find("[[cell]]\nname = \"nimbos\"").unwrap()
        ..EXAMPLE.find("[[channel]]").unwrap()];
    let error = error_with("[[channel]]", &(cell.repeat(7) + "[[channel]]"));
    assert!(error.contains("more than 8 items"), "{error}");
    let cmdline = format!("image = \"nimbos\"\ncmdline = \"{}\"", "x".repeat(1024));
    let error = error_with("image = \"nimbos\"", &cmdline);
    assert!(
        error.starts_with("line 35: cell 'nimbos': cmdline: text of 1024 bytes"),
        "{error}"
    );
}

#[test]
fn a_system_without_cells_is_refused() {
    let text = &EXAMPLE[..EXAMPLE.find("[[cell]]").unwrap()];
    let error = from_toml(text).unwrap_err();
    assert_eq!(error.broken_rule(), Some(&CheckError::NoCells));
    assert_eq!(error.line(), None);
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    for text in [
        "",
        "\0",
        "[",
        "cell = 1",
        "[machine]\n[machine]",
        "[[cell]]\n[cell]",
        "é = 1",
        "cell = [[[[",
    ] {
        assert!(from_toml(text).is_err(), "{text:?}");
    }
    for (at, _) in EXAMPLE.char_indices() {
        let _ = from_toml(&EXAMPLE[..at]);
    }
}

#[test]
fn user_vectors_are_a_list() {
    let text = with(
        "\"direct\"",
        "\"filtered\"\nclient_vectors = [63, 0, 5]\nserver_vectors = []",
    );
    let system = from_toml(&text).unwrap();
    assert_eq!(system.channels[0].client_vectors, 1 << 63 | 1 << 5 | 1);
    assert_eq!(system.channels[0].server_vectors, 0);
    let written = to_toml(&system);
    assert!(written.contains("client_vectors = [0, 5, 63]\nserver_vectors = []"));
    assert_eq!(from_toml(&written), Ok(system));
}
