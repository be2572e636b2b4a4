// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shadow process: serves the system calls that a co-kernel forwards over a channel.
//!
//! The client (a co-kernel in another cell) puts requests into the channel's rings and posts a user interrupt; the
//! handler of that interrupt takes them out. What never waits it does right there, in the main thread's own context, puts
//! completions into the ring and posts back: no kernel runs on the way, but for the system calls themselves. Everything
//! else is done by workers, threads that may block; they post a user interrupt to the main thread when they are done. Only
//! the main thread touches the rings and the tables.
//!
//! | module | what |
//! | --- | --- |
//! | `options` | command line |
//! | `device` | /dev/isthmus: ioctls and the rings' mapping |
//! | `serve` | the main thread: start, idle, end |
//! | `handler` | the user-interrupt handler, and the mask that keeps it apart from the main thread |
//! | `service` | requests in, completions out, clients that come and go; knows no hardware |
//! | `files` | the client's processes, their descriptors, open files |
//! | `work` | workers, and the calls that they make |
//! | `area` | a call's buffer as workers see it |
//! | `counters` | what happened |
//! | `number` | numbers of Linux's calls |
//! | `syscall` | system calls that are fit for the handler |

/// Prints a line. That nobody takes it is no reason to end.
macro_rules! say {
    ($($word:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($word)*);
    }};
}

mod area;
mod counters;
mod device;
mod files;
mod handler;
mod number;
mod options;
mod serve;
mod service;
mod stop;
mod syscall;
#[cfg(test)]
mod tests;
mod work;
mod xstate;

use clap::Parser;

fn main() {
    let options = options::Options::parse();
    let status = match serve::run(&options) {
        Ok(status) => status,
        Err(error) => {
            say!("shadow: error: {error:#}");
            1
        }
    };
    std::process::exit(status);
}
