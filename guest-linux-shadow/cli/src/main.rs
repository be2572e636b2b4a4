//! The `isthmus` command line: verbs as Jailhouse has them, today those of `config`.
//!
//! Exit status: 0 done, 1 refused or failed, 2 wrong usage. Results go to standard output, all else to standard error.
#![forbid(unsafe_code)]

mod config;
mod output;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Configures the Isthmus partitioning hypervisor.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check, build and show configurations of cells.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check configurations and summarize their cells.
    ///
    /// Checks that each CPU, byte of memory, I/O port and page of device memory has one owner at most, and that the
    /// machine described has it. Whether the real machine is the one described shows when the hypervisor starts.
    ///
    /// Exits with 0 if all files are accepted, with 1 if one is not.
    Check {
        /// Configurations in TOML.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Check a configuration and write its binary form for the hypervisor.
    ///
    /// GRUB hands it over as the module `config`:  module2 /boot/config.bin config
    Build {
        /// Configuration in TOML.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// File to write or replace; stays as it is if anything fails.
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
    },
    /// Show a binary form as TOML.
    Show {
        /// Binary form, as `isthmus config build` writes it.
        #[arg(value_name = "BIN")]
        binary: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::Config(command) = Arguments::parse().command;
    let result = match command {
        ConfigCommand::Check { files } => config::check(&files),
        ConfigCommand::Build { file, output } => config::build(&file, &output),
        ConfigCommand::Show { binary } => config::show(&binary),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
