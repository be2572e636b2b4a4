// SPDX-License-Identifier: MIT OR Apache-2.0
//! `system-tests`: runs the system tests.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

use system_tests::bench::Bench;
use system_tests::{runner, suite};

/// Exit status where nothing was tried.
const USAGE: u8 = 2;

/// Boots the hypervisor in the emulator and checks what its cells do. Builds and sets up whatever is missing.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Show the tests' names and run none.
    #[arg(long)]
    list: bool,
    /// Run only tests with this in their name; can be given many times.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Run the tests too that take minutes.
    #[arg(long)]
    long: bool,
    /// How many tests run at the same time.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let is_wanted = |test: &&suite::Test| {
        let is_named = |text: &String| test.name.contains(text);
        (options.long || !test.is_long)
            && (options.filter.is_empty() || options.filter.iter().any(is_named))
    };
    let tests: Vec<&suite::Test> = suite::TESTS.iter().filter(is_wanted).collect();
    if options.list {
        tests.iter().for_each(|test| println!("{}", test.name));
        return ExitCode::SUCCESS;
    }
    if tests.is_empty() {
        eprintln!("system-tests: no test has that in its name; --list shows them, with --long all");
        return ExitCode::from(USAGE);
    }
    match Bench::prepare() {
        Ok(bench) if runner::run(&bench, &tests, usize::from(options.jobs)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("system-tests: cannot begin: {error:#}");
            ExitCode::FAILURE
        }
    }
}
