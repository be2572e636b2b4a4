// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that change the shell or wait for its children, and so run in its own process.

use nimbos_apps::shell::{Command, Words};
use nimbos_apps::{directory, eprintln};

use crate::shell::{Flow, Shell};
use crate::{NOT_FOUND, USAGE, child};

/// Such a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// `cd DIRECTORY`.
    ChangeDirectory,
    /// `exit [STATUS]`.
    Exit,
    /// `wait [PROCESS]`.
    Wait,
}

/// Returns the command of that name.
pub fn find(name: &str) -> Option<Builtin> {
    match name {
        "cd" => Some(Builtin::ChangeDirectory),
        "exit" => Some(Builtin::Exit),
        "wait" => Some(Builtin::Wait),
        _ => None,
    }
}

/// Runs one of them.
pub fn run(shell: &mut Shell, builtin: Builtin, command: Command<'_, '_>, words: &Words) -> Flow {
    if !child::touch(command, shell.variables()) {
        shell.set_status(1);
        return Flow::Continue;
    }
    if words.count() > 2 {
        eprintln!(
            "sh: {}: too many arguments",
            words.get(0).unwrap_or_default()
        );
        shell.set_status(USAGE);
        return Flow::Continue;
    }
    match builtin {
        Builtin::ChangeDirectory => shell.set_status(change_directory(words)),
        Builtin::Exit => return exit(shell, words),
        Builtin::Wait => wait(shell, words),
    }
    Flow::Continue
}

fn change_directory(words: &Words) -> i32 {
    let path = words.c_str(1).unwrap_or(c"/");
    match directory::change_directory(path) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("cd: {}: {error}", words.get(1).unwrap_or("/"));
            1
        }
    }
}

fn exit(shell: &mut Shell, words: &Words) -> Flow {
    match words.get(1).map(str::parse) {
        None => Flow::Exit(shell.status()),
        Some(Ok(status)) => Flow::Exit(status),
        Some(Err(_)) => {
            eprintln!("exit: not a number");
            shell.set_status(USAGE);
            Flow::Continue
        }
    }
}

fn wait(shell: &mut Shell, words: &Words) {
    let waited = match words.get(1).map(str::parse) {
        None => shell.background.wait_for_all().map(|()| 0),
        Some(Ok(process)) => shell.background.wait_for(process),
        Some(Err(_)) => {
            eprintln!("wait: not a number");
            return shell.set_status(USAGE);
        }
    };
    match waited {
        Ok(status) => shell.set_status(status),
        Err(error) => {
            eprintln!("wait: {error}");
            shell.set_status(NOT_FOUND);
        }
    }
}
