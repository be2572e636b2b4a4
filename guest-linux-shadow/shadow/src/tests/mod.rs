// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service against a client in the same process and a machine that only takes notes.

mod bench;
mod blocking;
mod descriptors;
mod files;
mod hostile;
mod memory;
mod notifications;
mod paths;
mod processes;
mod rings;
mod sessions;
mod sockets;
