// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's command line: words `key=value` (`log=path`, `console=own`, `panic=restart`), and last `init=NAME ARGUMENT...`.

/// Which program to start, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init<'a> {
    /// Name of the program in the archive.
    pub name: &'a str,
    arguments: &'a str,
}

impl<'a> Init<'a> {
    /// Finds `init=NAME` and takes the words behind it as the program's arguments.
    pub fn parse(command_line: &'a str) -> Option<Self> {
        let mut rest = command_line.trim();
        loop {
            let (word, behind) = match rest.split_once(char::is_whitespace) {
                Some((word, behind)) => (word, behind.trim_start()),
                None => (rest, ""),
            };
            match word.strip_prefix("init=") {
                Some("") => return None,
                Some(name) => {
                    return Some(Self {
                        name,
                        arguments: behind,
                    });
                }
                None if behind.is_empty() => return None,
                None => rest = behind,
            }
        }
    }

    /// Returns the program's arguments; the first is its name.
    pub fn arguments(&self) -> impl Iterator<Item = &'a str> + Clone {
        core::iter::once(self.name).chain(self.arguments.split_whitespace())
    }
}

/// Tells whether a line on the console is wanted for each notification sent and received: `log=path` before `init=`.
pub fn logs_path(command_line: &str) -> bool {
    has_word(command_line, "log=path")
}

/// Tells whether init's standard input, output and error are the cell's own console: `console=own` before `init=`.
pub fn owns_console(command_line: &str) -> bool {
    has_word(command_line, "console=own")
}

/// Tells whether the cell is to start anew when its kernel fails: `panic=restart` before `init=`.
pub fn restarts_after_panic(command_line: &str) -> bool {
    has_word(command_line, "panic=restart")
}

fn has_word(command_line: &str, wanted: &str) -> bool {
    command_line
        .split_whitespace()
        .take_while(|word| !word.starts_with("init="))
        .any(|word| word == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command_line: &str) -> Option<Vec<&str>> {
        Init::parse(command_line).map(|init| init.arguments().collect())
    }

    extern crate std;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn the_words_behind_init_are_the_programs() {
        assert_eq!(words("init=demo"), Some(vec!["demo"]));
        assert_eq!(
            words("  quiet init=demo  one  init=two "),
            Some(vec!["demo", "one", "init=two"])
        );
    }

    #[test]
    fn a_line_without_a_program_names_none() {
        for line in ["", "  ", "quiet", "init=", "quiet init= demo", "xinit=demo"] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }

    #[test]
    fn the_console_is_inits_when_the_kernel_is_told_so() {
        assert!(owns_console("console=own init=sh"));
        assert!(owns_console("log=path console=own init=sh"));
        assert!(!owns_console("init=sh console=own"));
        assert!(!owns_console("console=linux init=sh"));
    }

    #[test]
    fn the_path_is_logged_when_the_kernel_is_told_so() {
        assert!(logs_path("log=path init=demo"));
        assert!(!logs_path("init=demo log=path"));
        assert!(!logs_path("log=paths init=demo"));
    }
}
