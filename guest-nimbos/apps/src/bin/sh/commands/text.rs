// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands about what files hold.

use core::fmt::Write;

use nimbos_apps::file::{self, File, READ_ONLY};
use nimbos_apps::output::Buffered;
use nimbos_apps::shell::Words;
use nimbos_apps::{Error, println};

use super::{fail, for_each_path};

/// Prints files, or standard input.
pub fn cat(words: &Words) -> i32 {
    if words.count() == 1 {
        return match file::copy(File::STANDARD_INPUT, File::STANDARD_OUTPUT) {
            Ok(_) => 0,
            Err(error) => fail("cat", "standard input", error),
        };
    }
    for_each_path(words, 1, |path| {
        let file = File::open(path, READ_ONLY, 0)?;
        file::copy(file, File::STANDARD_OUTPUT)?;
        file.close()
    })
}

/// Prints its words.
pub fn echo(words: &Words) -> i32 {
    let has_end = words.get(1) != Some("-n");
    let mut output = Buffered::new(File::STANDARD_OUTPUT);
    let mut put = |text: &str| {
        // `Buffered` does not fail.
        let _ = output.write_str(text);
    };
    for (number, word) in words.from(if has_end { 1 } else { 2 }).enumerate() {
        if number > 0 {
            put(" ");
        }
        put(word);
    }
    if has_end {
        put("\n");
    }
    output.flush();
    0
}

/// Counts lines, words and bytes.
pub fn wc(words: &Words) -> i32 {
    if words.count() == 1 {
        return match count(File::STANDARD_INPUT) {
            Ok(Counts {
                lines,
                words,
                bytes,
            }) => {
                println!("{lines:7} {words:7} {bytes:7}");
                0
            }
            Err(error) => fail("wc", "standard input", error),
        };
    }
    for_each_path(words, 1, |path| {
        let file = File::open(path, READ_ONLY, 0)?;
        let Counts {
            lines,
            words,
            bytes,
        } = count(file)?;
        let name = path.to_str().unwrap_or("?");
        println!("{lines:7} {words:7} {bytes:7} {name}");
        file.close()
    })
}

#[derive(Default)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
}

fn count(file: File) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let mut is_in_word = false;
    let mut piece = [0; 4096];
    loop {
        let len = file.read(&mut piece)?;
        if len == 0 {
            return Ok(counts);
        }
        counts.bytes += len as u64;
        for byte in &piece[..len] {
            counts.lines += u64::from(*byte == b'\n');
            counts.words += u64::from(!is_in_word && !byte.is_ascii_whitespace());
            is_in_word = !byte.is_ascii_whitespace();
        }
    }
}
