// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that are part of the shell's program and run in processes of their own.

mod files;
mod list;
mod system;
mod text;

use nimbos_apps::shell::Words;
use nimbos_apps::{Error, eprintln, println};

use crate::USAGE;

/// A command: gets its words, returns its status.
pub type Run = fn(&Words) -> i32;

/// Name, what `help` says of it, and what it does.
const COMMANDS: [(&str, &str, Run); 17] = [
    ("cat", "cat [FILE]...", text::cat),
    ("cp", "cp FROM TO", files::cp),
    ("echo", "echo [-n] [WORD]...", text::echo),
    ("false", "false", |_| 1),
    ("help", "help", help),
    ("kill", "kill [-SIGNAL] PROCESS...", system::kill),
    ("ls", "ls [-l] [PATH]...", list::ls),
    ("mkdir", "mkdir DIRECTORY...", files::mkdir),
    ("mv", "mv FROM TO", files::mv),
    ("ps", "ps", system::ps),
    ("pwd", "pwd", system::pwd),
    ("rm", "rm FILE...", files::rm),
    ("rmdir", "rmdir DIRECTORY...", files::rmdir),
    ("sleep", "sleep SECONDS", system::sleep),
    ("true", "true", |_| 0),
    ("uptime", "uptime", system::uptime),
    ("wc", "wc [FILE]...", text::wc),
];

/// Returns the command of that name.
pub fn find(name: &str) -> Option<Run> {
    let place = COMMANDS.binary_search_by_key(&name, |&(name, ..)| name);
    place.ok().map(|place| COMMANDS[place].2)
}

fn help(_words: &Words) -> i32 {
    println!("cd [DIRECTORY]");
    println!("exit [STATUS]");
    println!("wait [PROCESS]");
    for (_, usage, _) in COMMANDS {
        println!("{usage}");
    }
    println!("NAME [WORD]...           a program of the archive");
    println!("PATH [WORD]...           a NimbOS program in a file of Linux; with a / in its path");
    println!("A ; B   A && B   A || B   A | B   A &   A < FILE   A > FILE   A >> FILE   $?   $!");
    0
}

/// Says how a command is used; returns its status.
fn usage(name: &str) -> i32 {
    let usage = COMMANDS.iter().find(|(known, ..)| *known == name);
    eprintln!("usage: {}", usage.map_or(name, |(_, usage, _)| usage));
    USAGE
}

/// Says what is wrong with something; returns the status of that.
fn fail(command: &str, what: &str, error: Error) -> i32 {
    eprintln!("{command}: {what}: {error}");
    1
}

/// Runs `one` for each argument from `first` on; returns 1 if one of them failed.
fn for_each_path(
    words: &Words,
    first: usize,
    mut one: impl FnMut(&core::ffi::CStr) -> Result<(), Error>,
) -> i32 {
    let command = words.get(0).unwrap_or_default();
    let mut status = 0;
    for number in first..words.count() {
        let Some(path) = words.c_str(number) else {
            continue;
        };
        if let Err(error) = one(path) {
            status = fail(command, words.get(number).unwrap_or_default(), error);
        }
    }
    status
}
