// SPDX-License-Identifier: MIT OR Apache-2.0
//! `conformance`: the conformance cases of user interrupts in the emulator, or the judgement of a log from elsewhere.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;

use system_tests::bench::Bench;
use system_tests::conformance::case::CaseId;
use system_tests::conformance::markdown::Markdown;
use system_tests::conformance::report::{Report, Subject};
use system_tests::conformance::run::Place;
use system_tests::conformance::{logs, parts, runs};

/// Runs the conformance cases of user interrupts in the emulator, on the bare machine and in cells, then the differential
/// test, the long regressions and the mutants; or judges logs of the image from other machines. Exits with 0 only when
/// nothing failed.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Run only these cases (T01 to T72, V01 to V27), and nothing else.
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    only: Vec<CaseId>,
    /// Run only this column, and nothing else: bare, direct or filtered. With --log: the logs must be of it.
    #[arg(long, value_parser = place)]
    column: Option<Place>,
    /// Run all cases in all columns, and nothing else.
    #[arg(long)]
    cases: bool,
    /// Judge this console log of the image instead of running anything. Can be given many times.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "jobs"])]
    log: Vec<PathBuf>,
    /// What to call the machine of the logs: model, processor, microcode.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "log",
        default_value = "not named"
    )]
    machine: String,
    /// Write the results as JSON here [default: target/conformance/results.json, for logs nowhere].
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Print the tables of docs/uintr-conformance.md instead of the text.
    #[arg(long)]
    markdown: bool,
    /// How many machines run at the same time.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
}

fn main() -> ExitCode {
    match perform(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does it and returns whether nothing failed.
fn perform(options: &Options) -> Result<bool> {
    let report = if options.log.is_empty() {
        run(options)?
    } else {
        let subject = Subject {
            machine: options.machine.clone(),
            commit: None,
            emulator: None,
        };
        logs::judge(
            &options.log,
            options.column,
            &wanted(&options.only),
            subject,
        )?
    };
    if let Some(path) = &options.json {
        write(path, &serde_json::to_string_pretty(&report)?)?;
    }
    if options.markdown {
        println!("{}", Markdown(&report));
    } else {
        println!("{report}");
    }
    Ok(report.failed == 0)
}

fn run(options: &Options) -> Result<Report> {
    let bench = Bench::prepare()?;
    let places = match options.column {
        Some(place) => vec![place],
        None => Place::ALL.to_vec(),
    };
    let wanted = wanted(&options.only);
    let jobs = usize::from(options.jobs);
    let is_everything = options.only.is_empty() && options.column.is_none() && !options.cases;
    let mut columns = runs::columns(&bench, &places, &wanted, jobs);
    if is_everything {
        parts::differential(&bench, &mut columns, jobs);
    }
    let mut parts = parts::of_columns(&columns);
    let root = bench.lab.root().to_owned();
    let subject = Subject {
        machine: "emulated Sapphire Rapids server".to_owned(),
        commit: Some(commit(&root)?),
        emulator: runs::emulator(&bench, places[0]),
    };
    if is_everything {
        // The regressions are a program of their own that takes its turn in the lab.
        drop(bench);
        parts.push(parts::regressions(&root));
        parts.push(parts::mutants(&root));
    }
    let report = Report::new(subject, columns, parts);
    let folder = root.join("target/conformance");
    write(&folder.join("results.txt"), &format!("{report}\n"))?;
    let json = serde_json::to_string_pretty(&report)?;
    write(&folder.join("results.json"), &json)?;
    Ok(report)
}

/// Returns the wanted cases in their order.
fn wanted(only: &[CaseId]) -> Vec<CaseId> {
    let is_wanted = |id: &CaseId| only.is_empty() || only.contains(id);
    CaseId::all().filter(is_wanted).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the commit that is checked out, with `-dirty` where files were changed since.
fn commit(root: &Path) -> Result<String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output()
        .context("cannot start git")?;
    if !output.status.success() {
        return Ok("unknown: no git repository".to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn place(text: &str) -> Result<Place> {
    match Place::ALL.into_iter().find(|place| place.name() == text) {
        Some(place) => Ok(place),
        None => bail!("the columns are bare, direct and filtered"),
    }
}
