// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names as they stand in symbol tables, and as people write them.

use core::fmt::{self, Write};

/// Longest name that is printed; of a longer one the end is left out.
const MAX_LEN: usize = 160;

/// A name from a symbol table, printed as in the source where it is a Rust name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Takes a name, or returns `None` if it is empty or has characters that do not belong on a console.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let is_printable = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
        core::str::from_utf8(bytes)
            .ok()
            .filter(|_| is_printable)
            .map(Self)
    }

    /// Returns the name as it stands in the table.
    pub fn raw(&self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shortened = Shortened { f, left: MAX_LEN };
        let is_rust = match self.0.strip_prefix("_R") {
            Some(path) => is_plain_path(path),
            None => self.0.starts_with("_ZN"),
        };
        let result = if is_rust {
            write!(shortened, "{:#}", rustc_demangle::demangle(self.0))
        } else {
            shortened.write_str(self.0)
        };
        match (result, shortened.left) {
            // The writer's own way to say that it is enough.
            (Err(_), 0) => f.write_str("..."),
            (result, _) => result,
        }
    }
}

/// Tells whether a name of the newer mangling, without its `_R`, is a path of modules and functions and nothing else:
/// names inside names are demangled by recursion, some hundred bytes of stack for each, and the name may be hostile and
/// the stack small. The precompiled standard library has such names, its generic ones are left as they are.
/// (RFC 2603, "Rust Symbol Name Mangling v0")
fn is_plain_path(path: &str) -> bool {
    const MAX_DEPTH: usize = 16;
    let mut rest = path.as_bytes();
    let mut depth = 0;
    while let [b'N', b'a'..=b'z' | b'A'..=b'Z', behind @ ..] = rest {
        depth += 1;
        rest = behind;
    }
    let [b'C', behind @ ..] = rest else {
        return false;
    };
    rest = behind;
    for _ in 0..=depth {
        match without_identifier(rest) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    // What may follow is the compiler's own: the crate that made an instance, or `.llvm.` and a number.
    depth <= MAX_DEPTH && (rest.is_empty() || rest.starts_with(b"."))
}

/// Takes an identifier off: an optional disambiguator (`s`, a number to the base 62, `_`), a length, so many bytes.
fn without_identifier(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    if let [b's', behind @ ..] = rest {
        let len = behind
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        rest = behind[len..].strip_prefix(b"_")?;
    }
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(digits);
    let len: usize = core::str::from_utf8(digits).ok()?.parse().ok()?;
    rest.strip_prefix(b"_").unwrap_or(rest).get(len..)
}

/// Passes the beginning of a text on, then fails.
struct Shortened<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl Write for Shortened<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let len = text.floor_char_boundary(self.left);
        self.f.write_str(&text[..len])?;
        if len < text.len() {
            self.left = 0;
            return Err(fmt::Error);
        }
        self.left -= len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::{String, ToString};

    use super::*;

    fn shown(name: &str) -> String {
        Name::new(name.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn rust_names_are_printed_as_in_the_source() {
        for (name, expected) in [
            (
                "_ZN18isthmus_hypervisor4exit8dispatch17hf88d9922f216a15dE",
                "isthmus_hypervisor::exit::dispatch",
            ),
            (
                "_ZN81_$LT$isthmus_hypervisor..boot..error..InitError$u20$as$u20$core..fmt..Display$GT$3fmt17h89f87219ac38d61dE",
                "<isthmus_hypervisor::boot::error::InitError as core::fmt::Display>::fmt",
            ),
            (
                "_ZN67_$LT$multiboot2_common..MemoryError$u20$as$u20$core..fmt..Debug$GT$3fmt17h92fcefc61af3740aE.llvm.16748773040607265675",
                "<multiboot2_common::MemoryError as core::fmt::Debug>::fmt",
            ),
            (
                "_RNvNtCsgEmfK2I1SDS_4core9panicking9panic_fmt",
                "core::panicking::panic_fmt",
            ),
            (
                "_RNvCsgEmfK2I1SDS_7___rustc17rust_begin_unwind",
                "__rustc::rust_begin_unwind",
            ),
            ("_RNCNvC1a4main0", "a::main::{closure#0}"),
            ("_RNCNvC1a4mains_0", "a::main::{closure#1}"),
        ] {
            assert_eq!(shown(name), expected);
        }
    }

    #[test]
    fn other_names_are_printed_as_they_are() {
        for name in [
            "memcpy",
            "boot_entry64",
            "_start",
            "_R",
            "_ZN",
            "_ZN3",
            "ZN1a1bE",
            "RNvC1a1b",
            "__RNvC1a1b",
            "_RNvC1a",
        ] {
            assert_eq!(shown(name), name);
        }
    }

    #[test]
    fn names_that_would_need_recursion_are_printed_as_they_are() {
        let nested = format!("_R{}C1a{}", "Nv".repeat(20), "1b".repeat(20));
        for name in [
            "_RINvC1a1fRB9_E",
            "_RNvXs_NtNtCsx_4core3fmt3numjNtB5_7Display3fmt",
            "_RNvMC1aNtB2_1b1c",
            "_RINvC1a1fRRRRRRuE",
            nested.as_str(),
        ] {
            assert_eq!(shown(name), &name[..name.len().min(MAX_LEN)]);
        }
    }

    #[test]
    fn long_names_are_cut() {
        let long = "x".repeat(MAX_LEN + 1);
        assert_eq!(shown(&long), format!("{}...", "x".repeat(MAX_LEN)));
        assert_eq!(shown(&long[1..]), long[1..]);
        let rust = format!("_ZN1a{}{}E", MAX_LEN, "y".repeat(MAX_LEN));
        assert_eq!(shown(&rust), format!("a::{}...", "y".repeat(MAX_LEN - 3)));
    }

    #[test]
    fn names_that_a_console_would_obey_are_none() {
        for name in [
            &b""[..],
            b"\x1b[2J",
            b"a b",
            b"a\n",
            b"\xff\xfe",
            "\u{e9}".as_bytes(),
            b"a\x7f",
        ] {
            assert_eq!(Name::new(name), None);
        }
    }
}
