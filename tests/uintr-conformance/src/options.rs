// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the command line asks for: words of the form `key=value`.

use core::fmt;

/// Mode of the local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicMode {
    /// Registers in a page of memory.
    Xapic,
    /// Registers in MSRs.
    X2apic,
}

/// Whose deviations are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emulator {
    /// A processor: none.
    #[default]
    None,
    /// Bochs.
    Bochs,
}

/// What is done at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The CPUs halt.
    #[default]
    Halt,
    /// The emulator is told to end.
    Emulator,
}

/// What this instance does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Runs the cases.
    #[default]
    Main,
    /// Serves the cases of the other cell.
    Peer,
}

/// The command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// `apic=`: the mode to switch to; on the bare machine only.
    pub apic: Option<ApicMode>,
    /// `emulator=`.
    pub emulator: Emulator,
    /// `end=`.
    pub end: End,
    /// `role=`.
    pub role: Role,
    /// `console=`: first port of a 16550.
    pub console: Option<u16>,
    /// `uiret=flexible`: the processor has flexible UIRET although CPUID does not say so.
    pub is_uiret_flexible: bool,
    /// `only=`: ids of cases, separated by commas.
    only: Option<&'a str>,
    /// The word `differential`: compare with the reference model, and run no cases.
    pub is_differential: bool,
    /// `seed=`: seeds of the comparison, separated by commas.
    seeds: Option<&'a str>,
    /// `steps=`: steps of each seed.
    pub steps: Option<u64>,
}

/// A word that is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionError<'a> {
    /// The word.
    pub word: &'a str,
}

impl fmt::Display for OptionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {} is not understood", self.word)
    }
}

impl<'a> Options<'a> {
    /// Reads a command line. Words without `=` are names of files and mean nothing, but for
    /// `differential`. Fails at the first other word that is
    /// not understood.
    pub fn parse(command_line: &'a str) -> Result<Self, OptionError<'a>> {
        let mut options = Self::default();
        for word in command_line.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                options.is_differential |= word == "differential";
                continue;
            };
            match (key, value) {
                ("apic", "x2apic") => options.apic = Some(ApicMode::X2apic),
                ("apic", "xapic") => options.apic = Some(ApicMode::Xapic),
                ("emulator", "bochs") => options.emulator = Emulator::Bochs,
                ("emulator", "none") => options.emulator = Emulator::None,
                ("end", "emulator") => options.end = End::Emulator,
                ("end", "halt") => options.end = End::Halt,
                ("uiret", "flexible") => options.is_uiret_flexible = true,
                ("role", "main") => options.role = Role::Main,
                ("role", "peer") => options.role = Role::Peer,
                ("console", port) => {
                    options.console = Some(parse_port(port).ok_or(OptionError { word })?);
                }
                ("only", list) if !list.is_empty() => options.only = Some(list),
                ("seed", list) if list.split(',').all(|seed| seed.parse::<u64>().is_ok()) => {
                    options.seeds = Some(list);
                }
                ("steps", steps) => {
                    options.steps = Some(steps.parse().map_err(|_| OptionError { word })?);
                }
                _ => return Err(OptionError { word }),
            }
        }
        Ok(options)
    }

    /// Tells whether the case `id` is wanted.
    pub fn wants(&self, id: &str) -> bool {
        self.only
            .is_none_or(|list| list.split(',').any(|wanted| wanted == id))
    }

    /// Returns the seeds; 1 if none is named.
    pub fn seeds(&self) -> impl Iterator<Item = u64> + use<'a> {
        let list = self.seeds.unwrap_or("1");
        list.split(',').filter_map(|seed| seed.parse().ok())
    }

    /// Returns the first wanted id that is not `is_known`.
    pub fn unknown_case(&self, is_known: impl Fn(&str) -> bool) -> Option<&'a str> {
        self.only?.split(',').find(|id| !is_known(id))
    }
}

fn parse_port(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl fmt::Display for ApicMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xapic => "xapic",
            Self::X2apic => "x2apic",
        })
    }
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bochs => "bochs",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_read() {
        let line = "/boot/image apic=xapic only=T18,V01 end=emulator console=0x3e8 role=peer emulator=bochs uiret=flexible";
        let options = Options::parse(line).unwrap();
        assert_eq!(options.apic, Some(ApicMode::Xapic));
        assert_eq!(options.emulator, Emulator::Bochs);
        assert_eq!(options.end, End::Emulator);
        assert_eq!(options.role, Role::Peer);
        assert!(options.is_uiret_flexible);
        assert_eq!(options.console, Some(0x3e8));
        assert!(options.wants("T18") && options.wants("V01"));
        assert!(!options.wants("T1") && !options.wants("V02"));
    }

    #[test]
    fn without_options_all_cases_run_and_no_deviation_is_known() {
        let options = Options::parse("").unwrap();
        assert_eq!(options, Options::default());
        assert!(options.wants("T01") && options.emulator == Emulator::None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for word in [
            "apic=x",
            "console=com1",
            "console=0x1ffff",
            "only=",
            "onyl=T01",
            "seed=1,x",
            "seed=",
            "steps=-1",
        ] {
            assert_eq!(Options::parse(word), Err(OptionError { word }));
        }
    }

    #[test]
    fn seeds_are_a_list() {
        let options = Options::parse("differential seed=3,18446744073709551615 steps=7").unwrap();
        assert!(options.is_differential && options.steps == Some(7));
        assert!(options.seeds().eq([3, u64::MAX]));
        assert!(Options::default().seeds().eq([1]));
    }

    #[test]
    fn a_case_that_does_not_exist_is_found() {
        let options = Options::parse("only=T01,T99").unwrap();
        assert_eq!(options.unknown_case(|id| id == "T01"), Some("T99"));
        assert_eq!(options.unknown_case(|_| true), None);
        assert_eq!(Options::default().unknown_case(|_| false), None);
    }
}
