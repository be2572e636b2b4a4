// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections of a thread with itself.

use nimbos_apps::net::{self, Direction, Listener, SocketAddress};

use crate::worker::{Kind, Worker, Wrong};

/// Less than a connection holds.
const MAX_LEN: usize = 8 << 10;

/// A port at which the thread listens.
pub struct Port {
    listener: Listener,
    address: SocketAddress,
}

impl Port {
    /// Listens at a port that Linux chooses.
    pub fn open(worker: &mut Worker) -> Result<Self, Wrong> {
        worker.begin(Kind::Socket);
        let host = SocketAddress::LOOPBACK;
        let address = SocketAddress { host, port: 0 };
        let listener = worker.call("listen", || Listener::bind(address))?;
        let address = worker.call("getsockname", || listener.address())?;
        worker.check("getsockname", address.host == host && address.port != 0)?;
        Ok(Self { listener, address })
    }

    /// Connects, and sends in both directions.
    pub fn exchange(&self, worker: &mut Worker) -> Result<(), Wrong> {
        worker.begin(Kind::Socket);
        let client = worker.call("connect", || net::connect(self.address))?;
        let (server, _) = worker.call("accept", || self.listener.accept())?;
        for (from, to) in [(client, server), (server, client)] {
            let mut sent = [0; MAX_LEN];
            let len = worker.random.usize(1..MAX_LEN + 1);
            worker.random.fill(&mut sent[..len]);
            worker.call("write", || from.write_all(&sent[..len]))?;
            let mut received = [0; MAX_LEN];
            let count = worker.call("read", || to.read_full(&mut received[..len]))?;
            worker.check("length", count == len)?;
            worker.check("bytes", received[..len] == sent[..len])?;
        }
        worker.call("shutdown", || net::shutdown(client, Direction::Send))?;
        let count = worker.call("read", || server.read(&mut [0; 8]))?;
        worker.check("end", count == 0)?;
        worker.call("close", || client.close())?;
        worker.call("close", || server.close())
    }

    /// Stops listening.
    pub fn close(self, worker: &mut Worker) -> Result<(), Wrong> {
        worker.begin(Kind::Socket);
        worker.call("close", || self.listener.close())
    }
}
