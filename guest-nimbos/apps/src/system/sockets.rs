// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls about sockets, all forwarded.

use super::{Error, checked, int, invoke};
use crate::linux::{AF_INET, SO_REUSEADDR, SOCK_STREAM, SOCKADDR_IN_LEN, SOL_SOCKET, number};

/// A `struct sockaddr_in`.
pub type RawAddress = [u8; SOCKADDR_IN_LEN];

/// Makes a TCP socket.
pub fn socket() -> Result<i32, Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::SOCKET, [AF_INET, SOCK_STREAM, 0]) }).map(|fd| fd as i32)
}

/// Gives a socket its own address.
pub fn bind(fd: i32, address: &RawAddress) -> Result<(), Error> {
    with_address(number::BIND, fd, address)
}

/// Connects a socket; waits for the other side.
pub fn connect(fd: i32, address: &RawAddress) -> Result<(), Error> {
    with_address(number::CONNECT, fd, address)
}

/// Waits for connections, of which `backlog` may be waiting to be accepted.
pub fn listen(fd: i32, backlog: i32) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::LISTEN, [int(fd), int(backlog)]) }).map(drop)
}

/// Takes the next connection; returns its descriptor and the other side's address.
pub fn accept(fd: i32) -> Result<(i32, RawAddress), Error> {
    asking_address(number::ACCEPT, fd).map(|(fd, address)| (fd as i32, address))
}

/// Returns a socket's own address.
pub fn own_address(fd: i32) -> Result<RawAddress, Error> {
    asking_address(number::GETSOCKNAME, fd).map(|(_, address)| address)
}

/// Ends one direction of a connection (0 receiving, 1 sending), or both (2).
pub fn shutdown(fd: i32, how: i32) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::SHUTDOWN, [int(fd), int(how)]) }).map(drop)
}

/// Lets a listener take a port that was used a moment ago.
pub fn reuse_address(fd: i32) -> Result<(), Error> {
    let yes = 1_i32;
    let address = (&raw const yes).expose_provenance() as u64;
    let args = [int(fd), SOL_SOCKET, SO_REUSEADDR, address, 4];
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::SETSOCKOPT, args) }).map(drop)
}

fn with_address(number: u64, fd: i32, address: &RawAddress) -> Result<(), Error> {
    let pointer = address.as_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number, [int(fd), pointer, SOCKADDR_IN_LEN as u64]) }).map(drop)
}

fn asking_address(number: u64, fd: i32) -> Result<(i64, RawAddress), Error> {
    let mut address = [0; SOCKADDR_IN_LEN];
    let mut len = SOCKADDR_IN_LEN as u32;
    let pointer = address.as_mut_ptr().expose_provenance() as u64;
    let len_pointer = (&raw mut len).expose_provenance() as u64;
    // SAFETY: the kernel writes to `address`, at most the length that `len` has before, and to `len`.
    checked(unsafe { invoke(number, [int(fd), pointer, len_pointer]) })
        .map(|result| (result, address))
}
