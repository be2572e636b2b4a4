//! A machine's firmware tables, for tests.

use super::{OutOfRange, PhysMem, Rsdp, sum};

/// Memory in pieces, and the tables placed there so far.
#[derive(Clone, Debug)]
pub struct Machine {
    pieces: Vec<(u64, Vec<u8>)>,
    next: u64,
    tables: Vec<u64>,
}

/// Returns a table with header and right checksum.
pub fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.extend(b"\x01\0OEMID TABLEID \x01\0\0\0TEST\x01\0\0\0");
    bytes.extend(body);
    bytes[9] = 0u8.wrapping_sub(sum(&bytes));
    bytes
}

/// Returns the body of a MADT.
pub fn madt(entries: &[&[u8]]) -> Vec<u8> {
    [&[0, 0, 0xe0, 0xfe, 1, 0, 0, 0], &*entries.concat()].concat()
}

impl Machine {
    /// No tables yet, but root tables.
    pub fn new() -> Self {
        let mut machine = Self {
            pieces: Vec::new(),
            next: 0x3fff_0000,
            tables: Vec::new(),
        };
        machine.write_root_tables();
        machine
    }

    /// Places a table and lists it.
    pub fn add(&mut self, signature: &[u8; 4], body: &[u8]) -> u64 {
        let address = self.place(table(signature, body));
        self.list(address);
        address
    }

    /// Lists an address as a table's.
    pub fn list(&mut self, address: u64) {
        self.tables.push(address);
        self.write_root_tables();
    }

    fn write_root_tables(&mut self) {
        let xsdt: Vec<u8> = self.tables.iter().flat_map(|t| t.to_le_bytes()).collect();
        let rsdt: Vec<u8> = self
            .tables
            .iter()
            .flat_map(|t| (*t as u32).to_le_bytes())
            .collect();
        self.pieces.retain(|(at, _)| ![0x1000, 0x2000].contains(at));
        self.map(0x1000, table(b"XSDT", &xsdt));
        self.map(0x2000, table(b"RSDT", &rsdt));
    }

    /// Places bytes somewhere.
    pub fn place(&mut self, bytes: Vec<u8>) -> u64 {
        let address = self.next;
        self.next += bytes.len() as u64 + 3;
        self.map(address, bytes);
        address
    }

    /// Places bytes at an address.
    pub fn map(&mut self, address: u64, bytes: Vec<u8>) {
        self.pieces.push((address, bytes));
    }

    /// Changes a byte by adding to it.
    pub fn poke(&mut self, address: u64, add: u8) {
        let mut byte = [0];
        self.read(address, &mut byte).unwrap();
        self.poke_all(address, &[byte[0].wrapping_add(add)]);
    }

    /// Overwrites bytes.
    pub fn poke_all(&mut self, address: u64, bytes: &[u8]) {
        let (start, piece) = self.pieces.iter_mut().find(|p| holds(p, address)).unwrap();
        let at = (address - *start) as usize;
        piece[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The tables by way of an XSDT.
    pub fn xsdt(&self) -> Rsdp {
        Rsdp {
            oem_id: *b"OEMID ",
            rsdt: 0x2000,
            xsdt: Some(0x1000),
        }
    }

    /// The tables by way of an RSDT alone.
    pub fn rsdt(&self) -> Rsdp {
        Rsdp {
            xsdt: None,
            ..self.xsdt()
        }
    }
}

fn holds(piece: &(u64, Vec<u8>), address: u64) -> bool {
    address
        .checked_sub(piece.0)
        .is_some_and(|offset| offset < piece.1.len() as u64)
}

impl PhysMem for Machine {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        let (start, piece) = self
            .pieces
            .iter()
            .find(|p| holds(p, address))
            .ok_or(OutOfRange)?;
        let at = (address - start) as usize;
        buf.copy_from_slice(piece.get(at..at + buf.len()).ok_or(OutOfRange)?);
        Ok(())
    }
}
