// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random texts for the reader; `make fuzz` runs it long.

use cell_config::{decode, encode};
use cell_config_toml::{from_toml, to_toml};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The configurations that come with Isthmus.
const EXAMPLES: [&str; 3] = [
    include_str!("../../../configs/emulator-demo.toml"),
    include_str!("../../../configs/emulator-demo-smp.toml"),
    include_str!("../../../configs/sapphire-rapids.toml"),
];

/// Pieces that mean something to the reader.
const WORDS: [&str; 40] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\n",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "#",
    "\\",
    "\\u0000",
    "\u{7f}",
    "\t",
    "é",
    "\u{10ffff}",
    "[machine]",
    "[[cell]]",
    "[[channel]]",
    "[hypervisor]",
    "cpus = [0]",
    "name = ",
    "memory = [{}]",
    "{ base = 0, size = 0 }",
    "guest = 0x42000000",
    "\"8M\"",
    "\"16777216T\"",
    "-1",
    "0xffff_ffff_ffff_ffff",
    "9223372036854775807",
    "1e400",
    "nan",
    "1979-05-27T07:32:00Z",
    "true",
    "a.b.c = 1",
];

/// What must hold of every text: it is refused with one line that can be printed, or it survives both round trips.
fn judge(text: &str) -> Result<(), TestCaseError> {
    match from_toml(text) {
        Ok(system) => {
            let again = to_toml(&system);
            let from_text =
                from_toml(&again).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(&from_text, &system);
            prop_assert_eq!(decode(&encode(&system)), Ok(system));
        }
        Err(error) => {
            let line = error.to_string();
            prop_assert!(
                !line.is_empty() && !line.chars().any(char::is_control),
                "{:?}",
                line
            );
            // The end of a text may be told as a line behind its last.
            prop_assert!(
                error
                    .line()
                    .is_none_or(|line| line <= text.split('\n').count())
            );
        }
    }
    Ok(())
}

/// A change of a text; positions are characters, counts too.
#[derive(Clone, Debug)]
enum Change {
    Insert(Index, &'static str),
    Replace(Index, usize, String),
    /// A line moved elsewhere, its place kept or not.
    Line {
        from: Index,
        to: Index,
        keep: bool,
    },
    /// Another number for one of the text.
    Number(Index, String),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let number = prop_oneof![
        (0u64..300).prop_map(|n| n.to_string()),
        (0u32..64, -2i64..3)
            .prop_map(|(bit, by)| format!("{:#x}", (1u64 << bit).wrapping_add_signed(by))),
        "-?[0-9a-fx_.]{1,20}|\"[0-9]{0,20}[KMGTkB]?\"",
    ];
    prop_oneof![
        2 => (at(), select(&WORDS[..])).prop_map(|(at, word)| Change::Insert(at, word)),
        1 => (at(), 0usize..40, "\\PC{0,8}").prop_map(|(at, len, text)| Change::Replace(at, len, text)),
        1 => (at(), 1usize..40).prop_map(|(at, len)| Change::Replace(at, len, String::new())),
        2 => (at(), at(), any::<bool>()).prop_map(|(from, to, keep)| Change::Line { from, to, keep }),
        4 => (at(), number).prop_map(|(at, number)| Change::Number(at, number)),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let chars: Vec<char> = text.chars().collect();
    let splice = |from: usize, to: usize, new: &str| {
        let (head, tail) = (&chars[..from], &chars[to.min(chars.len())..]);
        head.iter()
            .copied()
            .chain(new.chars())
            .chain(tail.iter().copied())
            .collect()
    };
    match change {
        Change::Insert(at, word) => {
            let at = at.index(chars.len() + 1);
            splice(at, at, word)
        }
        Change::Replace(at, len, new) => {
            let at = at.index(chars.len() + 1);
            splice(at, at + len, new)
        }
        Change::Line { from, to, keep } => {
            let mut lines: Vec<&str> = text.split('\n').collect();
            let from = from.index(lines.len());
            let line = if *keep {
                lines[from]
            } else {
                lines.remove(from)
            };
            lines.insert(to.index(lines.len() + 1), line);
            lines.join("\n")
        }
        Change::Number(at, number) => {
            let starts: Vec<usize> = (0..chars.len())
                .filter(|&i| {
                    chars[i].is_ascii_digit() && (i == 0 || !chars[i - 1].is_ascii_alphanumeric())
                })
                .collect();
            if starts.is_empty() {
                return text.to_owned();
            }
            let from = *at.get(&starts);
            let is_number = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
            let len = chars[from..].iter().take_while(|c| is_number(c)).count();
            splice(from, from + len, number)
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_refused_or_a_configuration(text in "\\PC{0,200}|[\\[\\]{}=,.\"'#\n a-c0-9]{0,200}") {
        judge(&text)?;
    }

    #[test]
    fn any_words_are_refused_or_a_configuration(words in prop::collection::vec(select(&WORDS[..]), 0..60)) {
        judge(&words.concat())?;
        judge(&words.join(" "))?;
    }

    #[test]
    fn a_changed_configuration_is_refused_or_another(
        example in select(&EXAMPLES[..]), changes in prop::collection::vec(change(), 0..6),
    ) {
        judge(&changes.iter().fold(example.to_owned(), |text, change| apply(&text, change)))?;
    }

    #[test]
    fn nesting_of_any_depth_comes_to_an_end(depth in 0usize..2_000, open in select(&["[", "{a=", "a.", "[[", "a=[{b="][..])) {
        judge(&open.repeat(depth))?;
        judge(&format!("cpus = {}", open.repeat(depth)))?;
    }
}
