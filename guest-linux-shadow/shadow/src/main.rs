// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shadow process: serves the system calls that a co-kernel forwards over a channel.
//!
//! The client (a co-kernel in another cell) puts requests into the channel's ring and posts a user interrupt;
//! the handler of that interrupt executes them right here, in the thread's own context, puts completions into the
//! ring and posts back. No kernel runs on the way, but for the system calls themselves.
//!
//! | module | what |
//! | --- | --- |
//! | `options` | command line |
//! | `device` | /dev/isthmus: ioctls and the ring's mapping |
//! | `serve` | the main thread: start, idle, end |
//! | `handler` | the user-interrupt handler, and the mask that keeps it apart from the main thread |
//! | `service` | requests in, completions out; knows no hardware |
//! | `files` | what the client may open and use |
//! | `counters` | what happened |
//! | `syscall` | system calls that are fit for the handler |

mod counters;
mod device;
mod files;
mod handler;
mod options;
mod serve;
mod service;
#[cfg(test)]
mod service_tests;
mod stop;
mod syscall;
mod xstate;

use clap::Parser;

fn main() {
    let options = options::Options::parse();
    let status = match serve::run(&options) {
        Ok(status) => status,
        Err(error) => {
            println!("shadow: error: {error:#}");
            1
        }
    };
    std::process::exit(status);
}
