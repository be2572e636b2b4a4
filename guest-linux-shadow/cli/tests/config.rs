//! `isthmus config` as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DEMO: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../configs/emulator-demo.toml"
);

fn isthmus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isthmus"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns an empty folder for the test `name`.
fn folder(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes the demonstration with a change to `folder`.
fn changed_demo(folder: &Path, old: &str, new: &str) -> String {
    let text = fs::read_to_string(DEMO).unwrap();
    assert!(text.contains(old));
    let path = folder.join("changed.toml");
    fs::write(&path, text.replacen(old, new, 1)).unwrap();
    path.to_str().unwrap().into()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn check_summarizes_an_accepted_configuration_on_one_screen() {
    let output = isthmus(&["config", "check", DEMO]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.lines().count() <= 24 && text.lines().skip(1).all(|line| line.len() <= 110),
        "{text}"
    );
    for part in [
        "accepted",
        "linux",
        "nimbos",
        "syscalls: nimbos to linux, 16M at 0x33800000, direct",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn check_warns_of_each_direct_channel() {
    let folder = folder("warns");
    let warning = "warning: channel 'syscalls' is direct: its cells trust each other (a cell can forge any notification)\n";
    assert_eq!(stderr(&isthmus(&["config", "check", DEMO])), warning);
    let filtered = changed_demo(&folder, "\"direct\"", "\"filtered\"");
    let output = isthmus(&["config", "check", &filtered]);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
}

#[test]
fn check_goes_on_after_a_refused_file_and_fails() {
    let folder = folder("goes-on");
    let bad = changed_demo(&folder, "cpus = [1]", "cpus = [0]");
    let output = isthmus(&["config", "check", &bad, DEMO, "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("emulator-demo.toml: accepted"));
    let errors = stderr(&output);
    assert!(errors.contains("changed.toml:"), "{errors}");
    assert!(
        errors.contains("CPU 0 is in both cell 'linux' and cell 'nimbos'"),
        "{errors}"
    );
    assert!(errors.contains("cannot read /nonexistent"), "{errors}");
    assert!(
        errors.ends_with("2 of 3 configurations refused\n"),
        "{errors}"
    );
}

#[test]
fn what_build_writes_show_reads_and_check_accepts() {
    let folder = folder("round-trip");
    let binary = folder.join("config.bin");
    let output = isthmus(&["config", "build", DEMO, "-o", binary.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("warning: "));
    assert_eq!(names_in(&folder), ["config.bin"]);

    let shown = isthmus(&["config", "show", binary.to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    let again = folder.join("again.toml");
    fs::write(&again, &shown.stdout).unwrap();
    let binary_again = folder.join("again.bin");
    isthmus(&[
        "config",
        "build",
        again.to_str().unwrap(),
        "-o",
        binary_again.to_str().unwrap(),
    ]);
    assert_eq!(fs::read(&binary).unwrap(), fs::read(&binary_again).unwrap());
}

#[test]
fn a_failed_build_leaves_the_old_file_and_nothing_else() {
    let folder = folder("failed-build");
    let bad = changed_demo(&folder, "cpus = [1]", "cpus = [0]");
    let binary = folder.join("config.bin");
    fs::write(&binary, "old").unwrap();
    let output = isthmus(&["config", "build", &bad, "-o", binary.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(&binary).unwrap(), b"old");
    assert_eq!(names_in(&folder), ["changed.toml", "config.bin"]);
}

#[test]
fn build_writes_through_links_but_to_no_folder_or_device() {
    let folder = folder("targets");
    let (link, target) = (folder.join("link"), folder.join("target"));
    fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink("target", &link).unwrap();
    let output = isthmus(&["config", "build", DEMO, "-o", link.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(fs::read(&target).unwrap(), b"old");
    for place in [
        folder.to_str().unwrap(),
        "/dev/null",
        "/nonexistent/config.bin",
    ] {
        let output = isthmus(&["config", "build", DEMO, "-o", place]);
        assert_eq!(output.status.code(), Some(1), "{place}");
    }
    assert_eq!(names_in(&folder), ["link", "target"]);
}

#[test]
fn show_refuses_a_damaged_binary_form() {
    let folder = folder("damaged");
    let binary = folder.join("config.bin");
    isthmus(&["config", "build", DEMO, "-o", binary.to_str().unwrap()]);
    let mut bytes = fs::read(&binary).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&binary, bytes).unwrap();
    let output = isthmus(&["config", "show", binary.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(
        stderr(&output).contains("config.bin: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["config"][..],
        &["config", "check"],
        &["config", "build", DEMO],
        &["cell"],
    ] {
        assert_eq!(isthmus(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
