// SPDX-License-Identifier: MIT OR Apache-2.0
//! Breaks the notify/wait protocol in small ways and expects the tests to notice: that each ordering, each order of steps
//! and each second look matters, and that the tests see it.
//!
//! Each mutation is applied to a copy of the sources below the target folder, where `interleavings` is built and run with
//! loom. A mutation that nothing notices fails, unless it is known to do no harm; such a one fails if it is noticed,
//! because then what is said about it is wrong.

mod mutations;
mod project;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;

use mutations::{Effect, Mutation};
use project::{Outcome, Project};

/// Breaks the notify/wait protocol in small ways and expects the tests to notice.
#[derive(Debug, Parser)]
struct Options {
    /// Applies only mutations whose name contains this text.
    #[arg(long, default_value = "")]
    filter: String,
    /// Applies only mutations of the product, not those of the tests' models of C code, scheduler and instructions.
    #[arg(long)]
    product: bool,
    /// Lists the mutations and ends.
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mutations: Vec<&Mutation> = mutations::all(options.product)
        .filter(|mutation| mutation.name.contains(&options.filter))
        .collect();
    if options.list {
        for mutation in mutations {
            println!("{}", mutation.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!mutations.is_empty(), "no mutation has such a name");
    let project = Project::copy()?;
    let mut failed = 0;
    let mut report = |name: &str, verdict: Result<String>| match verdict {
        Ok(text) => println!("  ok   {name}: {text}"),
        Err(error) => {
            println!("  FAIL {name}: {error:#}");
            failed += 1;
        }
    };
    report("(none)", without_mutation(&project));
    for mutation in &mutations {
        report(mutation.name, judge(&project, mutation));
    }
    println!("{} passed, {failed} failed", mutations.len() + 1 - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn without_mutation(project: &Project) -> Result<String> {
    match project.test()? {
        Outcome::Passed => Ok("the tests pass".into()),
        outcome => anyhow::bail!("{outcome}"),
    }
}

/// Says how a mutation was noticed, or why it need not be.
fn judge(project: &Project, mutation: &Mutation) -> Result<String> {
    let outcome = project.test_with(mutation)?;
    match (mutation.effect, outcome) {
        (Effect::Broken(by), Outcome::Failed(tests)) => {
            let tests: Vec<&str> = tests
                .iter()
                .filter_map(|test| test.strip_prefix(by))
                .collect();
            ensure!(!tests.is_empty(), "noticed, but not by any of {by}");
            Ok(match tests[1..] {
                [] => format!("noticed by {}", tests[0]),
                ref others => format!("noticed by {} and {} more", tests[0], others.len()),
            })
        }
        (Effect::Harmless(reason), Outcome::Passed) => Ok(format!("not noticed: {reason}")),
        (Effect::Harmless(_), outcome) => anyhow::bail!("it was said to be harmless: {outcome}"),
        (Effect::Broken(_), outcome) => anyhow::bail!("{outcome}"),
    }
}
