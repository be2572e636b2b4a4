// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends back what it receives: `echo-server PORT [CLIENTS]`. Each client gets a process of its own. After so many
//! clients it ends; without that number it runs until it is killed.
#![no_std]
#![no_main]

use freestanding as _;
use nimbos_apps::file::File;
use nimbos_apps::net::{Listener, SocketAddress};
use nimbos_apps::{Arguments, Error, entry, eprintln, file, process};

entry!(main);

const USAGE: i32 = 2;

fn main(arguments: Arguments) -> i32 {
    let port = arguments.get(1).map(str::parse);
    let clients = arguments.get(2).map_or(Ok(u64::MAX), str::parse);
    let (Some(Ok(port)), Ok(clients)) = (port, clients) else {
        eprintln!("usage: echo-server PORT [CLIENTS]");
        return USAGE;
    };
    match serve(port, clients) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("echo-server: {error}");
            1
        }
    }
}

fn serve(port: u16, clients: u64) -> Result<(), Error> {
    let host = SocketAddress::ANY;
    let listener = Listener::bind(SocketAddress { host, port })?;
    eprintln!("echo-server: listening at {}", listener.address()?);
    for _ in 0..clients {
        let (connection, peer) = listener.accept()?;
        let child = process::run(|| {
            // It is the parent's; here it would only keep the port taken.
            let _ = listener.close();
            match file::copy(connection, connection) {
                Ok(_) => 0,
                Err(error) => {
                    eprintln!("echo-server: {peer}: {error}");
                    1
                }
            }
        });
        match child {
            Ok(_) => connection.close()?,
            Err(error) => refuse(connection, peer, error)?,
        }
        while let Ok(Some(_)) = process::try_wait_any() {}
    }
    listener.close()?;
    // Those that are not done yet.
    while process::wait_any().is_ok() {}
    Ok(())
}

/// No process for this client: it sees the connection end.
fn refuse(connection: File, peer: SocketAddress, error: Error) -> Result<(), Error> {
    eprintln!("echo-server: {peer} refused: {error}");
    connection.close()
}
