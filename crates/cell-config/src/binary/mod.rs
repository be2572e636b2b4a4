//! The binary form: what `isthmus config build` writes and the hypervisor reads.
//!
//! Little-endian records of fixed layout without gaps, lists right behind the record that counts them. Texts are
//! padded with NULs to the field's size, at least one. An absent port is FFFFFFFFH, an absent name is empty, and
//! reserved bytes are zero: every configuration has exactly one binary form.
//!
//! | record | fields |
//! | --- | --- |
//! | header | signature \[u8; 8\], revision u32, length of the whole file u32, CRC-32 of all behind the header u32, reserved u32 |
//! | system | machine's name \[u8; 32\]; numbers of CPUs, regions, cells, channels u16 each; APIC mode, end action, log level u8 each, reserved u8; hypervisor's console u32, memory region; then CPUs, regions, cells, channels |
//! | CPU | APIC ID u32 |
//! | region | base u64, size u64 |
//! | cell | name, image, initrd \[u8; 32\] each; kind, devices, foreign ports, flags u8 each (flags: bit 0 may end the machine, bit 1 may restart); console u32; numbers of CPUs, cell regions, port ranges, MMIO regions u16 each; command line \[u8; 1024\]; then those lists |
//! | cell region | base u64, size u64, guest u64 |
//! | port range | base u16, size u16 |
//! | channel | name \[u8; 32\]; client, server, doorbell, reserved u8 each; reserved u32; memory region; user vectors to the client, to the server u64 each |

mod error;
mod read;
mod write;

pub use error::DecodeError;
pub use read::decode;
pub use write::encode;

/// Revision of the binary form.
pub const REVISION: u32 = 3;

/// First bytes of the binary form.
const SIGNATURE: [u8; 8] = *b"IsthmCfg";
/// The CRC-32 of Ethernet. `crc` has no feature that links `std`, which one for another package would turn on here too.
static CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
/// Bytes of the header.
const HEADER_LEN: usize = 24;
/// Bytes of a name.
const NAME_LEN: usize = 32;
/// Bytes of a command line.
const COMMAND_LINE_LEN: usize = 1024;
/// Flags of a cell.
const MAY_END_MACHINE: u8 = 1;
const MAY_RESTART: u8 = 1 << 1;
/// An absent port.
const NO_PORT: u32 = u32::MAX;
