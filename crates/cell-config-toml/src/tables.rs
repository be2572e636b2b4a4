//! The tables of the text as they stand there.

use serde::Deserialize;

use super::values::{Bytes, List, Text, UserVector, Word};
use cell_config::{
    ApicMode, CellKind, Devices, Doorbell, EndAction, ForeignPorts, LogLevel, MAX_CELLS,
    MAX_CHANNELS, MAX_CPUS, MAX_MACHINE_REGIONS, MAX_RANGES, MAX_REGIONS,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SystemTable {
    pub machine: MachineTable,
    pub hypervisor: HypervisorTable,
    #[serde(default)]
    pub cell: List<CellTable, MAX_CELLS>,
    #[serde(default)]
    pub channel: List<ChannelTable, MAX_CHANNELS>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MachineTable {
    pub name: Text<31>,
    pub cpus: List<u32, MAX_CPUS>,
    pub memory: List<RegionTable, MAX_MACHINE_REGIONS>,
    pub apic_mode: Word<ApicMode>,
    pub when_all_cells_end: Option<Word<EndAction>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HypervisorTable {
    pub memory: RegionTable,
    pub console: Option<ConsoleTable>,
    pub log_level: Option<Word<LogLevel>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CellTable {
    pub name: Text<31>,
    pub kind: Word<CellKind>,
    pub cpus: List<u32, MAX_CPUS>,
    pub memory: List<CellRegionTable, MAX_REGIONS>,
    pub console: Option<ConsoleTable>,
    #[serde(default)]
    pub ports: List<PortTable, MAX_RANGES>,
    #[serde(default)]
    pub mmio: List<RegionTable, MAX_RANGES>,
    pub devices: Option<Word<Devices>>,
    pub foreign_ports: Option<Word<ForeignPorts>>,
    #[serde(default)]
    pub may_end_machine: bool,
    #[serde(default)]
    pub may_restart: bool,
    pub kernel: Option<Text<31>>,
    pub image: Option<Text<31>>,
    pub initrd: Option<Text<31>>,
    pub cmdline: Option<Text<1023>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelTable {
    pub name: Text<31>,
    pub client: Text<31>,
    pub server: Text<31>,
    pub memory: RegionTable,
    pub doorbell: Word<Doorbell>,
    pub client_vectors: Option<List<UserVector, 64>>,
    pub server_vectors: Option<List<UserVector, 64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionTable {
    pub base: Bytes,
    pub size: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CellRegionTable {
    pub base: Bytes,
    pub size: Bytes,
    pub guest: Option<Bytes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsoleTable {
    pub port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PortTable {
    pub base: u16,
    pub size: u16,
}
