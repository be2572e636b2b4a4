// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP over IPv4, by Linux's sockets.

use core::fmt;
use core::str::FromStr;

use crate::file::File;
use crate::linux::{AF_INET, field};
use crate::system::{Error, sockets};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// An IPv4 address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddress {
    /// The address.
    pub host: [u8; 4],
    /// The port.
    pub port: u16,
}

/// A text that is no `a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAddress;

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an IPv4 address")
    }
}

impl core::error::Error for NotAnAddress {}

/// Which direction of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Nothing more is received.
    Receive = 0,
    /// Nothing more is sent: the other side reads to an end.
    Send = 1,
    /// Both.
    Both = 2,
}

impl SocketAddress {
    /// All addresses of this machine, for a listener.
    pub const ANY: [u8; 4] = [0; 4];
    /// This machine.
    pub const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

    /// Returns an address from its text and a port.
    pub fn new(host: &str, port: u16) -> Result<Self, NotAnAddress> {
        let host = core::net::Ipv4Addr::from_str(host).map_err(|_| NotAnAddress)?;
        let host = host.octets();
        Ok(Self { host, port })
    }

    /// As a `struct sockaddr_in`: family u16, port and address big-endian. (ip(7))
    fn to_bytes(self) -> sockets::RawAddress {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&(AF_INET as u16).to_le_bytes());
        bytes[2..4].copy_from_slice(&self.port.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.host);
        bytes
    }

    fn from_bytes(bytes: &sockets::RawAddress) -> Self {
        Self {
            host: field(bytes, 4),
            port: u16::from_be_bytes(field(bytes, 2)),
        }
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.host;
        write!(f, "{a}.{b}.{c}.{d}:{}", self.port)
    }
}

/// A socket that waits for connections.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    socket: File,
}

impl Listener {
    /// Listens at an address; port 0 lets Linux choose one.
    pub fn bind(address: SocketAddress) -> Result<Self, Error> {
        let socket = sockets::socket()?;
        let prepare = || {
            sockets::reuse_address(socket)?;
            sockets::bind(socket, &address.to_bytes())?;
            sockets::listen(socket, BACKLOG)
        };
        let socket = File::from_descriptor(socket);
        match prepare() {
            Ok(()) => Ok(Self { socket }),
            Err(error) => {
                // What went wrong before is worth more than what closing says.
                let _ = socket.close();
                Err(error)
            }
        }
    }

    /// Returns where it listens.
    pub fn address(&self) -> Result<SocketAddress, Error> {
        sockets::own_address(self.socket.descriptor())
            .map(|bytes| SocketAddress::from_bytes(&bytes))
    }

    /// Waits for a connection; returns it with the other side's address. It is read and written as a file.
    pub fn accept(&self) -> Result<(File, SocketAddress), Error> {
        let (socket, peer) = sockets::accept(self.socket.descriptor())?;
        Ok((
            File::from_descriptor(socket),
            SocketAddress::from_bytes(&peer),
        ))
    }

    /// Stops listening.
    pub fn close(self) -> Result<(), Error> {
        self.socket.close()
    }
}

/// Connects to a listener. The connection is read and written as a file.
pub fn connect(address: SocketAddress) -> Result<File, Error> {
    let socket = sockets::socket()?;
    let connected = sockets::connect(socket, &address.to_bytes());
    let socket = File::from_descriptor(socket);
    match connected {
        Ok(()) => Ok(socket),
        Err(error) => {
            // As in `bind`.
            let _ = socket.close();
            Err(error)
        }
    }
}

/// Ends one direction of a connection, or both.
pub fn shutdown(connection: File, direction: Direction) -> Result<(), Error> {
    sockets::shutdown(connection.descriptor(), direction as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::ToString;

    #[test]
    fn addresses_have_a_text_and_a_place_in_memory() {
        let address = SocketAddress::new("127.0.0.1", 7777).unwrap();
        assert_eq!(address.to_string(), "127.0.0.1:7777");
        let bytes = address.to_bytes();
        assert_eq!(bytes[..8], [2, 0, 0x1e, 0x61, 127, 0, 0, 1]);
        assert_eq!(SocketAddress::from_bytes(&bytes), address);
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in [
            "",
            "localhost",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "::1",
            " 1.2.3.4",
        ] {
            assert_eq!(SocketAddress::new(text, 1), Err(NotAnAddress), "{text}");
        }
    }
}
