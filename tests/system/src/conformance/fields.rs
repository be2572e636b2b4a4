// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of a report line: `key=value` or `key="some text"`.

use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};

/// Longest report line in bytes: the image's own limit for texts is far below.
const MAX_LINE: usize = 4096;

/// The fields of a line that nobody has asked for yet.
#[derive(Debug)]
pub struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    /// Cuts a line. Fails where it is no list of fields, each with a key of its own.
    pub fn parse(line: &'a str) -> Result<Self> {
        ensure!(line.len() <= MAX_LINE, "longer than {MAX_LINE} bytes");
        // Also what a terminal would obey: the texts are printed again.
        let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        ensure!(
            !line.contains(is_odd),
            "damaged: it has bytes that are no text"
        );
        let mut fields: Vec<(&str, &str)> = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (key, value) = rest
                .split_once('=')
                .with_context(|| format!("no key=value at {rest:?}"))?;
            let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            ensure!(
                !key.is_empty() && key.chars().all(is_key),
                "{key:?} is no key"
            );
            ensure!(
                fields.iter().all(|&(other, _)| other != key),
                "{key}= is there twice"
            );
            let (value, after) = match value.strip_prefix('"') {
                Some(text) => text
                    .split_once('"')
                    .with_context(|| format!("the text of {key}= has no end"))?,
                None => value.split_at(value.find(' ').unwrap_or(value.len())),
            };
            fields.push((key, value));
            rest = match after.strip_prefix(' ') {
                Some(next) if !next.is_empty() => next,
                None if after.is_empty() => "",
                _ => bail!("no blank and field after {key}="),
            };
        }
        Ok(Self(fields))
    }

    /// Takes the value of `key`, which must be there.
    pub fn text(&mut self, key: &str) -> Result<&'a str> {
        self.optional_text(key)
            .with_context(|| format!("{key}= is missing"))
    }

    /// Takes the value of `key`, if it is there.
    pub fn optional_text(&mut self, key: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|&(other, _)| other == key)?;
        Some(self.0.remove(at).1)
    }

    /// Takes and reads the value of `key`, which must be there.
    pub fn value<T: FromStr<Err: Into<Error>>>(&mut self, key: &str) -> Result<T> {
        read(key, self.text(key)?)
    }

    /// Takes and reads the value of `key`, if it is there.
    pub fn optional_value<T: FromStr<Err: Into<Error>>>(&mut self, key: &str) -> Result<Option<T>> {
        self.optional_text(key)
            .map(|text| read(key, text))
            .transpose()
    }

    /// Takes `key`, whose value must be `0` or `1`.
    pub fn flag(&mut self, key: &str) -> Result<bool> {
        self.choice(key, &[("0", false), ("1", true)])
    }

    /// Takes `key`, whose value must be one of these words.
    pub fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<T> {
        let text = self.text(key)?;
        match words.iter().find(|&&(word, _)| word == text) {
            Some(&(_, value)) => Ok(value),
            None => bail!("{key}={text:?} is not understood"),
        }
    }

    /// Fails if a field is left.
    pub fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => bail!("{key}= does not belong there"),
        }
    }
}

fn read<T: FromStr<Err: Into<Error>>>(key: &str, text: &str) -> Result<T> {
    let value = text.parse().map_err(Into::<Error>::into);
    value.with_context(|| format!("{key}={text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_one_by_one() {
        let mut fields = Fields::parse("id=T18 n=12 on=1 detail=\"a = b, c\" empty=").unwrap();
        assert_eq!(fields.text("id").unwrap(), "T18");
        assert_eq!(fields.value::<u32>("n").unwrap(), 12);
        assert!(fields.flag("on").unwrap());
        assert_eq!(fields.text("detail").unwrap(), "a = b, c");
        assert_eq!(fields.optional_text("id"), None);
        assert!(fields.text("id").is_err());
        assert!(fields.finish().is_err());
    }

    #[test]
    fn what_is_no_list_of_fields_is_refused() {
        for line in [
            "id",
            "=1",
            "ID=1",
            "id=1 id=2",
            "id=1  n=2",
            "id=1 ",
            "detail=\"no end",
            "detail=\"a\"b",
            "detail=\"a\" ",
            "detail=\"\x1b[2J\"",
            "detail=\"\u{fffd}\"",
        ] {
            assert!(Fields::parse(line).is_err(), "{line:?}");
        }
        assert!(Fields::parse(&format!("detail={}", "x".repeat(MAX_LINE))).is_err());
    }

    #[test]
    fn a_number_must_be_one() {
        for text in ["n=", "n=-1", "n=4294967296", "n=x"] {
            assert!(Fields::parse(text).unwrap().value::<u32>("n").is_err());
        }
        assert!(Fields::parse("on=2").unwrap().flag("on").is_err());
    }
}
