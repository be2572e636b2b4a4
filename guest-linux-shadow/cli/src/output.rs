//! Standard output and standard error. A reader that goes away ends neither with a panic.

use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Context, Result};

/// Writes `text` to standard output; a closed pipe is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a line about a failure to standard error.
pub fn error(message: &str) {
    line("error", message);
}

/// Writes a line about a danger to standard error.
pub fn warning(message: &str) {
    line("warning", message);
}

fn line(kind: &str, message: &str) {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(stderr(), "{kind}: {message}");
}
