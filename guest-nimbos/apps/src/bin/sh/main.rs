// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shell: `sh` reads lines from standard input and prompts for each, `sh FILE` runs the lines of a file of Linux,
//! `sh -c WORD...` runs one line, which is its words with spaces between them (the kernel's command line, where init's
//! arguments come from, knows no quotes). [`nimbos_apps::shell`] has the language; `help` lists the commands.
//!
//! Its status is that of the last command, or what `exit` says: 127 for a command that is not there, 126 for one that
//! is no program, 128 and the signal for one that was killed, 2 for a line that means nothing.
//!
//! It has no heap: what it keeps of a line has fixed limits.
#![no_std]
#![no_main]

mod background;
mod builtins;
mod child;
mod commands;
mod reader;
mod shell;

use arrayvec::ArrayString;
use freestanding as _;
use nimbos_apps::file::{CLOSE_ON_EXEC, File, READ_ONLY};
use nimbos_apps::{Arguments, entry, eprint, eprintln};
use reader::{Line, MAX_LINE, Reader};
use shell::{Flow, Shell};

entry!(main);

/// Status of a line that means nothing, and of wrong arguments.
const USAGE: i32 = 2;
/// Status of a command that is not there.
const NOT_FOUND: i32 = 127;
/// Status of one that is no program.
const NOT_EXECUTABLE: i32 = 126;
const PROMPT: &str = "nimbos$ ";

fn main(arguments: Arguments) -> i32 {
    match arguments.get(1) {
        None => run_lines(File::STANDARD_INPUT, PROMPT),
        Some("-c") => run_words(arguments),
        Some(_) => run_file(arguments),
    }
}

fn run_words(arguments: Arguments) -> i32 {
    let mut line = ArrayString::<MAX_LINE>::new();
    for number in 2..arguments.count() {
        let Some(word) = arguments.get(number) else {
            eprintln!("sh: argument {number} is not UTF-8");
            return USAGE;
        };
        if line.try_push_str(word).is_err() || line.try_push(' ').is_err() {
            eprintln!("sh: the line is longer than {MAX_LINE} bytes");
            return USAGE;
        }
    }
    let mut shell = Shell::default();
    match shell.run_line(&line) {
        Flow::Continue => shell.status(),
        Flow::Exit(status) => status,
    }
}

fn run_file(arguments: Arguments) -> i32 {
    let file = arguments.c_str(1).map(|path| {
        let file = File::open(path, READ_ONLY | CLOSE_ON_EXEC, 0);
        file.inspect_err(|error| eprintln!("sh: {}: {error}", path.to_str().unwrap_or("?")))
    });
    match file {
        Some(Ok(file)) => run_lines(file, ""),
        _ => NOT_FOUND,
    }
}

/// Runs all lines of a file; `prompt` is printed before each.
fn run_lines(file: File, prompt: &str) -> i32 {
    let mut reader = Reader::new(file);
    let mut shell = Shell::default();
    loop {
        eprint!("{prompt}");
        match reader.next_line() {
            Ok(Line::Text(line)) => {
                if let Flow::Exit(status) = shell.run_line(line) {
                    return status;
                }
            }
            Ok(Line::Refused(why)) => {
                eprintln!("sh: {why}");
                shell.set_status(USAGE);
            }
            Ok(Line::End) => {
                if !prompt.is_empty() {
                    // What comes next is not to stand behind the prompt.
                    eprintln!("");
                }
                return shell.status();
            }
            Err(error) => {
                eprintln!("sh: cannot read the next line: {error}");
                return 1;
            }
        }
    }
}
