// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judges logs of runs that took place elsewhere.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::case::CaseId;
use super::column::{Column, RunRecord};
use super::log;
use super::report::{Report, Subject};
use super::run::Place;

/// Largest log that is read, in bytes.
const MAX_LOG: u64 = 16 << 20;

/// Judges all runs of these logs together, for the wanted cases. With `place` all must be of that column.
pub fn judge(
    paths: &[PathBuf],
    place: Option<Place>,
    wanted: &[CaseId],
    subject: Subject,
) -> Result<Report> {
    let mut records: Vec<(Place, RunRecord)> = Vec::new();
    for path in paths {
        let text = read(path)?;
        let found = log::parse(text.lines()).with_context(|| path.display().to_string())?;
        for run in found {
            let name = format!("{} (run {})", run.header.apic, records.len() + 1);
            records.push((run.header.place, RunRecord::new(name, None, run)));
        }
    }
    let is_other = |other: Place| place.is_some_and(|place| place != other);
    if let Some((other, record)) = records.iter().find(|(other, _)| is_other(*other)) {
        bail!("{} is a run of the column {other}", record.name);
    }
    let column = |place| {
        let of_place = records.iter().filter(|(other, _)| *other == place);
        let runs: Vec<RunRecord> = of_place.map(|(_, record)| record.clone()).collect();
        (!runs.is_empty()).then(|| Column::merge(place, runs, wanted))
    };
    let columns = Place::ALL.into_iter().filter_map(column).collect();
    Ok(Report::new(subject, columns, Vec::new()))
}

/// Reads a log. Bytes that are no UTF-8 are replaced, so that lines with them are refused later: the image writes none.
fn read(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(MAX_LOG + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        bytes.len() as u64 <= MAX_LOG,
        "{} has more than {} MiB",
        path.display(),
        MAX_LOG >> 20
    );
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::conformance::test_data::log;

    const CASES: [(&str, &str); 2] = [("T01", "pass"), ("T02", "skip")];

    fn judged(contents: &[Vec<u8>], place: Option<Place>) -> Result<Report> {
        let folder = tempfile::tempdir()?;
        let mut paths = Vec::new();
        for (number, content) in contents.iter().enumerate() {
            let path = folder.path().join(format!("{number}.log"));
            fs::write(&path, content)?;
            paths.push(path);
        }
        let subject = Subject {
            machine: "m".to_owned(),
            commit: None,
            emulator: None,
        };
        judge(&paths, place, &["T01".parse()?, "T02".parse()?], subject)
    }

    fn hardware(place: Place, cases: &[(&str, &str)]) -> Vec<u8> {
        log(place, cases)
            .replace("emulator=bochs", "emulator=none")
            .into_bytes()
    }

    #[test]
    fn several_logs_are_judged_together() {
        let logs = [
            hardware(Place::Bare, &CASES),
            hardware(Place::Bare, &[("T01", "skip"), ("T02", "pass")]),
        ];
        let report = judged(&logs, None).unwrap();
        assert_eq!((report.passed, report.failed), (2, 0));
        assert_eq!(report.columns[0].counts.passed, 2);
    }

    #[test]
    fn a_log_of_another_column_is_refused() {
        let logs = [hardware(Place::Direct, &CASES)];
        assert!(judged(&logs, Some(Place::Direct)).is_ok());
        let error = judged(&logs, Some(Place::Bare)).unwrap_err();
        assert!(
            error.to_string().contains("of the column direct"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let cut = hardware(Place::Bare, &CASES);
        let mut noisy = cut.clone();
        let at = noisy.windows(4).position(|bytes| bytes == b"seen").unwrap();
        noisy[at] = 0xff;
        for bytes in [
            Vec::new(),
            vec![0; 1000],
            vec![0xff; 1000],
            vec![b'a'; MAX_LOG as usize + 1],
            noisy,
        ] {
            assert!(judged(&[bytes], None).is_err());
        }
        assert!(
            judge(
                &["/nonexistent".into()],
                None,
                &[],
                judged(&[cut], None).unwrap().subject
            )
            .is_err()
        );
    }

    #[test]
    fn a_log_that_stops_is_judged_as_far_as_it_goes() {
        let whole = String::from_utf8(hardware(Place::Bare, &CASES)).unwrap();
        let (cut, _) = whole.split_once("conf: done").unwrap();
        let report = judged(&[cut.into()], None).unwrap();
        assert_eq!(report.failed, 1, "{:?}", report.failures);
        assert!(report.failures[0].contains("no 'conf: done' line"));
    }
}
