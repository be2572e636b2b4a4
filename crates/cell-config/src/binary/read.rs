//! Reads the binary form, which may be anything.

use arrayvec::{ArrayString, ArrayVec};

use super::{
    CHECKSUM, COMMAND_LINE_LEN, DecodeError, HEADER_LEN, MAY_END_MACHINE, MAY_RESTART, NAME_LEN,
    NO_PORT, REVISION, SIGNATURE,
};
use crate::{
    ApicMode, Cell, CellKind, CellRegion, Channel, Devices, Doorbell, EndAction, ForeignPorts,
    Hypervisor, LogLevel, Machine, Name, PortRange, Region, System,
};

/// Reads and checks the binary form. `bytes` must be all of it and nothing else.
pub fn decode(bytes: &[u8]) -> Result<System, DecodeError> {
    header(bytes)?;
    let mut reader = Reader {
        bytes,
        offset: HEADER_LEN,
    };
    let system = system(&mut reader)?;
    if reader.offset != bytes.len() {
        return Err(DecodeError::TrailingBytes {
            offset: reader.offset,
        });
    }
    system.check()?;
    Ok(system)
}

fn header(bytes: &[u8]) -> Result<(), DecodeError> {
    let (header, body) = bytes
        .split_at_checked(HEADER_LEN)
        .ok_or(DecodeError::NoHeader { len: bytes.len() })?;
    let mut reader = Reader {
        bytes: header,
        offset: 0,
    };
    if reader.array()? != SIGNATURE {
        return Err(DecodeError::Signature);
    }
    let found = reader.u32()?;
    if found != REVISION {
        return Err(DecodeError::Revision { found });
    }
    let stated = reader.u32()?;
    if usize::try_from(stated) != Ok(bytes.len()) {
        return Err(DecodeError::Length {
            stated,
            actual: bytes.len(),
        });
    }
    let stated = reader.u32()?;
    let computed = CHECKSUM.checksum(body);
    if stated != computed {
        return Err(DecodeError::Checksum { stated, computed });
    }
    reader.reserved::<4>()
}

fn system(reader: &mut Reader) -> Result<System, DecodeError> {
    let name = reader.name("machine name")?;
    let cpus = reader.count("CPUs", crate::MAX_CPUS)?;
    let regions = reader.count("machine regions", crate::MAX_MACHINE_REGIONS)?;
    let cells = reader.count("cells", crate::MAX_CELLS)?;
    let channels = reader.count("channels", crate::MAX_CHANNELS)?;
    let apic_mode = reader.choice("APIC mode", ApicMode::from_number)?;
    let when_all_cells_end = reader.choice("end action", EndAction::from_number)?;
    let log_level = reader.choice("log level", LogLevel::from_number)?;
    reader.reserved::<1>()?;
    let console = reader.port("console")?;
    let memory = region(reader)?;
    Ok(System {
        machine: Machine {
            name,
            cpus: reader.list(cpus, Reader::u32)?,
            memory: reader.list(regions, region)?,
            apic_mode,
            when_all_cells_end,
        },
        hypervisor: Hypervisor {
            memory,
            console,
            log_level,
        },
        cells: reader.list(cells, cell)?,
        channels: reader.list(channels, channel)?,
    })
}

fn cell(reader: &mut Reader) -> Result<Cell, DecodeError> {
    let name = reader.name("cell name")?;
    let image = reader.name("image name")?;
    let initrd = reader.name("initrd name")?;
    let kind = reader.choice("cell kind", CellKind::from_number)?;
    let devices = reader.choice("choice of devices", Devices::from_number)?;
    let foreign_ports = reader.choice("treatment of foreign ports", ForeignPorts::from_number)?;
    let flags = reader.choice("set of flags", |number| (number < 4).then_some(number))?;
    let console = reader.port("console")?;
    let cpus = reader.count("CPUs of a cell", crate::MAX_CPUS)?;
    let regions = reader.count("memory regions of a cell", crate::MAX_REGIONS)?;
    let ports = reader.count("port ranges of a cell", crate::MAX_RANGES)?;
    let mmio = reader.count("MMIO ranges of a cell", crate::MAX_RANGES)?;
    let cmdline = reader.text::<COMMAND_LINE_LEN, 1023>("command line")?;
    Ok(Cell {
        name,
        kind,
        cpus: reader.list(cpus, Reader::u32)?,
        memory: reader.list(regions, cell_region)?,
        console,
        ports: reader.list(ports, port_range)?,
        mmio: reader.list(mmio, region)?,
        devices,
        foreign_ports,
        may_end_machine: flags & MAY_END_MACHINE != 0,
        may_restart: flags & MAY_RESTART != 0,
        image,
        initrd: Some(initrd).filter(|name| !name.is_empty()),
        cmdline,
    })
}

fn channel(reader: &mut Reader) -> Result<Channel, DecodeError> {
    let name = reader.name("channel name")?;
    let [client, server] = reader.array()?;
    let doorbell = reader.choice("doorbell", Doorbell::from_number)?;
    reader.reserved::<5>()?;
    Ok(Channel {
        name,
        client,
        server,
        memory: region(reader)?,
        doorbell,
        client_vectors: reader.u64()?,
        server_vectors: reader.u64()?,
    })
}

fn region(reader: &mut Reader) -> Result<Region, DecodeError> {
    Ok(Region {
        base: reader.u64()?,
        size: reader.u64()?,
    })
}

fn cell_region(reader: &mut Reader) -> Result<CellRegion, DecodeError> {
    Ok(CellRegion {
        base: reader.u64()?,
        size: reader.u64()?,
        guest: reader.u64()?,
    })
}

fn port_range(reader: &mut Reader) -> Result<PortRange, DecodeError> {
    Ok(PortRange {
        base: reader.u16()?,
        size: reader.u16()?,
    })
}

/// Takes fields from the front; `offset` never passes the end.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let field = rest.first_chunk().ok_or(DecodeError::Truncated {
            offset: self.offset,
        })?;
        self.offset += N;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn reserved<const N: usize>(&mut self) -> Result<(), DecodeError> {
        let offset = self.offset;
        if self.array::<N>()? == [0; N] {
            Ok(())
        } else {
            Err(DecodeError::Reserved { offset })
        }
    }

    fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let offset = self.offset;
        let found = self.u16()?;
        if usize::from(found) > limit {
            return Err(DecodeError::Count {
                what,
                offset,
                found,
                limit,
            });
        }
        Ok(found.into())
    }

    fn choice<T>(
        &mut self,
        what: &'static str,
        from: impl Fn(u8) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let offset = self.offset;
        let found = self.u8()?;
        from(found).ok_or(DecodeError::Value {
            what,
            offset,
            found: found.into(),
        })
    }

    fn port(&mut self, what: &'static str) -> Result<Option<u16>, DecodeError> {
        let offset = self.offset;
        match self.u32()? {
            NO_PORT => Ok(None),
            found => u16::try_from(found)
                .map(Some)
                .map_err(|_| DecodeError::Value {
                    what,
                    offset,
                    found,
                }),
        }
    }

    fn name(&mut self, what: &'static str) -> Result<Name, DecodeError> {
        self.text::<NAME_LEN, 31>(what)
    }

    /// Reads a text of at most `CAPACITY` = `N` - 1 bytes.
    fn text<const N: usize, const CAPACITY: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<ArrayString<CAPACITY>, DecodeError> {
        let malformed = DecodeError::Text {
            what,
            offset: self.offset,
        };
        let field = self.array::<N>()?;
        let len = field.iter().position(|&byte| byte == 0).ok_or(malformed)?;
        let (text, padding) = field.split_at(len);
        if padding.iter().any(|&byte| byte != 0) {
            return Err(malformed);
        }
        let text = str::from_utf8(text).map_err(|_| malformed)?;
        ArrayString::from(text).map_err(|_| malformed)
    }

    /// Reads `count` records; the caller has compared `count` with `CAPACITY`.
    fn list<T, const CAPACITY: usize>(
        &mut self,
        count: usize,
        mut record: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<ArrayVec<T, CAPACITY>, DecodeError> {
        (0..count).map(|_| record(self)).collect()
    }
}
