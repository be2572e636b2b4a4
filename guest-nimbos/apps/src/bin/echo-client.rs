// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends messages to an echo server and compares every byte that comes back: `echo-client ADDRESS PORT [COUNT] [SIZE]`.
//! At the end a line `echo-client: messages=N bytes=N wrong=N`.
#![no_std]
#![no_main]

use core::time::Duration;

use freestanding as _;
use nimbos_apps::file::File;
use nimbos_apps::net::{self, Direction, SocketAddress};
use nimbos_apps::{Arguments, Error, entry, eprintln, println, system, time};

entry!(main);

const USAGE: i32 = 2;
const DEFAULT_COUNT: u64 = 10;
const DEFAULT_SIZE: u64 = 1000;
/// What is sent before it is read back: less than the sockets' buffers hold, or both sides would wait for each other.
const PIECE: usize = 8 << 10;
/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

fn main(arguments: Arguments) -> i32 {
    let number = |place, default| arguments.get(place).map_or(Ok(default), str::parse);
    let port = arguments.get(2).map(str::parse);
    let (Some(host), Some(Ok(port)), Ok(count), Ok(size)) = (
        arguments.get(1),
        port,
        number(3, DEFAULT_COUNT),
        number(4, DEFAULT_SIZE),
    ) else {
        eprintln!("usage: echo-client ADDRESS PORT [COUNT] [SIZE]");
        return USAGE;
    };
    let address = match SocketAddress::new(host, port) {
        Ok(address) => address,
        Err(error) => {
            eprintln!("echo-client: {host}: {error}");
            return USAGE;
        }
    };
    match exchange(address, count, size) {
        Ok(wrong) => {
            println!(
                "echo-client: messages={count} bytes={} wrong={wrong}",
                count.saturating_mul(size)
            );
            i32::from(wrong > 0)
        }
        Err(error) => {
            eprintln!("echo-client: {address}: {error}");
            1
        }
    }
}

/// Exchanges the messages; returns how many bytes were wrong or missing.
fn exchange(address: SocketAddress, count: u64, size: u64) -> Result<u64, Error> {
    let connection = connect(address)?;
    // Two clients of one server do not send the same.
    let mut state = system::process_id() as u64;
    let mut wrong = 0;
    for _ in 0..count {
        let mut left = size;
        while left > 0 {
            let len = left.min(PIECE as u64) as usize;
            wrong += exchange_piece(connection, len, &mut state)?;
            left -= len as u64;
        }
    }
    net::shutdown(connection, Direction::Send)?;
    // Nothing more than was sent.
    wrong += connection.read(&mut [0; 64])? as u64;
    connection.close()?;
    Ok(wrong)
}

fn exchange_piece(connection: File, len: usize, state: &mut u64) -> Result<u64, Error> {
    let mut sent = [0; PIECE];
    let sent = &mut sent[..len];
    for byte in sent.iter_mut() {
        // Knuth's generator for 64 bits; only its high bits vary enough.
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = (*state >> 56) as u8;
    }
    connection.write_all(sent)?;
    let mut received = [0; PIECE];
    let count = connection.read_full(&mut received[..len])?;
    let differing = sent.iter().zip(&received[..count]);
    let differing = differing.filter(|(sent, received)| sent != received);
    Ok((differing.count() + len - count) as u64)
}

/// Connects; a server that has just been started may not listen yet.
fn connect(address: SocketAddress) -> Result<File, Error> {
    let end = time::now()? + PATIENCE;
    loop {
        match net::connect(address) {
            Err(Error::CONNECTION_REFUSED) if time::now()? < end => time::sleep(PAUSE)?,
            result => return result,
        }
    }
}
