// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a command's own process does before the command, and which command that is.

use nimbos_apps::file::{APPEND, CREATE, DEFAULT_MODE, File, READ_ONLY, TRUNCATE, WRITE_ONLY};
use nimbos_apps::process;
use nimbos_apps::shell::{Command, Target, Variables, Words};
use nimbos_apps::{Error, eprintln};

use crate::shell::close;
use crate::{NOT_EXECUTABLE, NOT_FOUND, USAGE, builtins, commands};

/// Ends of pipes.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// What the command reads.
    pub input: Option<File>,
    /// What it writes to.
    pub output: Option<File>,
    /// The other end of that, which is for the next command.
    pub not_ours: Option<File>,
}

impl Ends {
    /// Of a command outside of a pipeline.
    pub const NONE: Self = Self {
        input: None,
        output: None,
        not_ours: None,
    };
}

/// Runs a command in this process; returns its status.
pub fn main(command: Command<'_, '_>, variables: Variables, ends: Ends) -> i32 {
    let words = match Words::expand(command.words(), variables) {
        Ok(words) => words,
        Err(error) => {
            eprintln!("sh: {error}");
            return USAGE;
        }
    };
    if let Err(error) = connect(ends) {
        eprintln!("sh: cannot connect a pipe: {error}");
        return 1;
    }
    if !redirect(command, variables) {
        return 1;
    }
    let name = words.get(0).unwrap_or_default();
    match commands::find(name) {
        Some(run) => run(&words),
        // In a process of its own it changes nothing; other shells do the same.
        None if builtins::find(name).is_some() => 0,
        None => execute(&words),
    }
}

/// Gives a command in the background nothing to read: what is typed is for the shell.
pub fn detach_input() {
    let detached = File::open(c"/dev/null", READ_ONLY, 0).and_then(|null| {
        null.duplicate_to(File::STANDARD_INPUT)?;
        null.close()
    });
    if let Err(error) = detached {
        eprintln!("sh: cannot take the input from /dev/null: {error}");
    }
}

fn connect(ends: Ends) -> Result<(), Error> {
    ends.not_ours.map_or(Ok(()), File::close)?;
    let pairs = [
        (ends.input, File::STANDARD_INPUT),
        (ends.output, File::STANDARD_OUTPUT),
    ];
    for (end, standard) in pairs {
        if let Some(end) = end {
            end.duplicate_to(standard)?;
            end.close()?;
        }
    }
    Ok(())
}

/// Does a command's redirections for this process; says what is wrong with one.
fn redirect(command: Command<'_, '_>, variables: Variables) -> bool {
    open_each(command, variables, |standard, file| {
        file.duplicate_to(standard)?;
        file.close()
    })
}

/// Opens the files of a command's redirections and closes them again: a command that changes the shell has no output,
/// but its files are made.
pub fn touch(command: Command<'_, '_>, variables: Variables) -> bool {
    open_each(command, variables, |_, file| {
        close(file);
        Ok(())
    })
}

fn open_each(
    command: Command<'_, '_>,
    variables: Variables,
    mut use_file: impl FnMut(File, File) -> Result<(), Error>,
) -> bool {
    command.redirections().all(|redirection| {
        let (standard, flags) = match redirection.target {
            Target::Input => (File::STANDARD_INPUT, READ_ONLY),
            Target::Output => (File::STANDARD_OUTPUT, WRITE_ONLY | CREATE | TRUNCATE),
            Target::Append => (File::STANDARD_OUTPUT, WRITE_ONLY | CREATE | APPEND),
        };
        let words = match Words::expand([redirection.file].into_iter(), variables) {
            Ok(words) => words,
            Err(error) => {
                eprintln!("sh: {error}");
                return false;
            }
        };
        let path = words.c_str(0).unwrap_or_default();
        let result =
            File::open(path, flags, DEFAULT_MODE).and_then(|file| use_file(standard, file));
        result
            .inspect_err(|error| eprintln!("sh: {}: {error}", words.get(0).unwrap_or_default()))
            .is_ok()
    })
}

/// Runs a program: from the archive, or from a file of Linux if there is a `/` in its name.
fn execute(words: &Words) -> i32 {
    let name = words.c_str(0).unwrap_or_default();
    let arguments = (0..words.count()).filter_map(|number| words.c_str(number));
    let error = process::execute(name, arguments);
    let shown = words.get(0).unwrap_or_default();
    match error {
        Error::NO_ENTRY if !shown.contains('/') => {
            eprintln!("sh: {shown}: not found");
            NOT_FOUND
        }
        Error::NO_ENTRY | Error::NOT_DIRECTORY => {
            eprintln!("sh: {shown}: {error}");
            NOT_FOUND
        }
        _ => {
            eprintln!("sh: {shown}: {error}");
            NOT_EXECUTABLE
        }
    }
}
