// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps the models and what they model together.
//!
//! In a function of a model, a comment that quotes a statement stands for that statement of the modelled function. The
//! statements must be there, in the comments' order, and the driver must touch a UPID nowhere else.

use std::fs;
use std::path::Path;

/// A function, the file it is in, and the model of it.
struct Modelled {
    file: &'static str,
    function: &'static str,
    model: &'static str,
    model_function: &'static str,
    /// Statements quoted.
    statements: usize,
}

const fn modelled(
    file: &'static str,
    function: &'static str,
    model: &'static str,
    model_function: &'static str,
    statements: usize,
) -> Modelled {
    Modelled {
        file,
        function,
        model,
        model_function,
        statements,
    }
}

const CONTEXT: &str = "guest-linux-shadow/driver/context.c";
const WAIT: &str = "guest-linux-shadow/driver/wait.c";
const SERVE: &str = "guest-linux-shadow/shadow/src/serve.rs";
const DOORBELL: &str = "hypervisor/src/doorbell.rs";
const INTERRUPTS: &str = "guest-nimbos/kernel/src/interrupts.rs";
const SCHEDULE: &str = "guest-nimbos/kernel/src/kernel/schedule.rs";
const FORWARD: &str = "guest-nimbos/kernel/src/kernel/forward/mod.rs";
const NIMBOS_SESSION: &str = "guest-nimbos/kernel/src/kernel/forward/session.rs";
const SERVICE: &str = "guest-linux-shadow/shadow/src/service/mod.rs";
const SESSION: &str = "guest-linux-shadow/shadow/src/service/session.rs";
const WORK: &str = "guest-linux-shadow/shadow/src/work/mod.rs";

const MODELLED: [Modelled; 21] = [
    modelled(
        CONTEXT,
        "isthmus_context_load",
        "linux.rs",
        "context_load",
        4,
    ),
    modelled(
        CONTEXT,
        "isthmus_context_unload",
        "linux.rs",
        "context_unload",
        2,
    ),
    modelled(WAIT, "has_posts", "linux.rs", "has_posts", 1),
    modelled(WAIT, "wake_receivers", "linux.rs", "wake_receivers", 3),
    modelled(WAIT, "start_waiting", "linux.rs", "start_waiting", 4),
    modelled(WAIT, "stop_waiting", "linux.rs", "stop_waiting", 3),
    modelled(
        WAIT,
        "sleep_until_posted",
        "linux.rs",
        "sleep_until_posted",
        4,
    ),
    modelled(WAIT, "isthmus_wait", "linux.rs", "wait", 3),
    modelled(SCHEDULE, "idle", "nimbos.rs", "idle", 2),
    modelled(FORWARD, "drain", "nimbos.rs", "drain", 1),
    modelled(
        NIMBOS_SESSION,
        "tick_channel",
        "nimbos.rs",
        "tick_channel",
        3,
    ),
    modelled(SERVE, "serve", "linux.rs", "wait_until", 6),
    modelled(SERVICE, "on_notification", "linux.rs", "deliver", 1),
    modelled(SESSION, "attend", "linux.rs", "attend", 2),
    modelled(WORK, "work", "workers.rs", "work", 3),
    modelled(WORK, "take_done", "workers.rs", "take_done", 2),
    modelled(CONTEXT, "isthmus_post", "workers.rs", "post", 4),
    modelled(CONTEXT, "set_upid", "workers.rs", "set_upid", 3),
    modelled(CONTEXT, "isthmus_unbind", "workers.rs", "end", 2),
    modelled(INTERRUPTS, "handle", "nimbos.rs", "handle", 1),
    modelled(DOORBELL, "relay", "processor.rs", "senduipi_by_proxy", 2),
];

/// Functions of the driver that change a UPID nobody posts to on purpose: before it is handed out.
const UNMODELLED: [&str; 1] = ["isthmus_register_handler"];

#[test]
fn the_models_have_the_steps_of_what_they_model() {
    for item in MODELLED {
        let source = body(&read(item.file), item.function);
        let model = body(
            &read(&format!("tests/interleavings/src/{}", item.model)),
            item.model_function,
        );
        let statements = quoted(&model);
        assert_eq!(
            statements.len(),
            item.statements,
            "{} quotes {statements:?}",
            item.model_function
        );
        let mut rest = source.as_str();
        for statement in statements {
            let at = rest.find(&statement).unwrap_or_else(|| {
                panic!(
                    "{} in {} has no `{statement}` at this place",
                    item.function, item.file
                )
            });
            rest = &rest[at + statement.len()..];
        }
    }
}

#[test]
fn the_driver_touches_a_upid_where_the_model_does() {
    let accesses =
        |text: &str| text.matches("upid->control").count() + text.matches("upid->pir").count();
    for file in [
        "context.c",
        "wait.c",
        "device.c",
        "channel.c",
        "cpu.c",
        "main.c",
    ] {
        let file = format!("guest-linux-shadow/driver/{file}");
        let text = read(&file);
        let in_models: usize = MODELLED
            .iter()
            .filter(|item| item.file == file)
            .map(|item| {
                let model = format!("tests/interleavings/src/{}", item.model);
                quoted(&body(&read(&model), item.model_function))
                    .iter()
                    .map(|statement| accesses(statement))
                    .sum::<usize>()
            })
            .sum();
        let elsewhere: usize = UNMODELLED
            .iter()
            .filter_map(|function| find_body(&text, function))
            .map(|body| accesses(&body))
            .sum();
        assert_eq!(accesses(&text), in_models + elsewhere, "{file}");
    }
}

/// The co-kernel's HLT is the model's: nothing is accepted between the last look and the sleep.
#[test]
fn the_co_kernel_enables_interrupts_for_hlt_only() {
    let body = body(
        &read("guest-nimbos/kernel/src/arch/cpu.rs"),
        "wait_for_interrupt",
    );
    assert!(body.contains(r#"asm!("sti", "hlt", "cli", "#), "{body}");
    let body = self::body(&read(INTERRUPTS), "take_notification");
    assert!(body.contains("inbox.take_requests()"), "{body}");
}

/// Reads a file of the project.
fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the body of a function that is there.
fn body(text: &str, function: &str) -> String {
    find_body(text, function).unwrap_or_else(|| panic!("no function {function}"))
}

/// Returns the body of a function, C or Rust, if `text` has it (the last of that name): line by line with single spaces,
/// statements of several lines in one.
fn find_body(text: &str, function: &str) -> Option<String> {
    let call = format!("{function}(");
    let (at, _) = text.rmatch_indices(&call).find(|(at, _)| {
        let before = &text[..*at];
        let line = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
        // Rust says so; in C a definition is what starts a line without indentation, and is no declaration.
        line.ends_with("fn ")
            || line.ends_with([' ', '*']) && !line.starts_with(char::is_whitespace)
    })?;
    let parameters = balanced(&text[at + call.len() - 1..], '(', ')')?;
    let rest = &text[at + call.len() - 1 + parameters.len()..];
    let body = balanced(&rest[rest.find('{')?..], '{', '}')?;
    let mut lines = String::new();
    for line in body.lines() {
        let line = line.trim();
        // A continued statement of C.
        if !lines.ends_with([',', '|']) {
            lines.push('\n');
        } else {
            lines.push(' ');
        }
        lines.push_str(line);
    }
    Some(lines)
}

/// Returns the start of `text`, which begins with `open`, up to the matching `close`.
fn balanced(text: &str, open: char, close: char) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(&text[..=at]);
            }
        }
    }
    None
}

/// Returns the statements that a model's function quotes.
fn quoted(model: &str) -> Vec<String> {
    model
        .lines()
        .filter_map(|line| line.strip_prefix("// "))
        // A sentence ends with a full stop, a statement does not.
        .filter(|line| !line.ends_with('.'))
        .map(str::to_owned)
        .collect()
}
