// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Serves the system calls that a co-kernel forwards over a channel.
#[derive(Debug, Parser)]
#[command(name = "isthmus-shadow", version)]
pub struct Options {
    /// Device of the isthmus driver
    #[arg(long, default_value = "/dev/isthmus")]
    pub device: PathBuf,
    /// Name or index of the channel; this cell must be its server
    #[arg(long, default_value = "0")]
    pub channel: String,
    /// What to do while there are no requests
    #[arg(long, value_enum, default_value_t = Idle::Wait)]
    pub idle: Idle,
    /// How long to spin for the next request before waiting, in microseconds
    #[arg(long, default_value_t = 200)]
    pub spin_us: u64,
    /// Directory that the client sees as its root directory: no path leads out of it
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// Serve the next client when one has ended or has broken the ring, until a signal comes
    #[arg(long)]
    pub stay: bool,
    /// Tell more
    #[arg(short, long)]
    pub verbose: bool,
}

/// What to do while there are no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Idle {
    /// Keep the CPU: shortest latency.
    Spin,
    /// Spin for a while, then sleep in the driver.
    Wait,
}
