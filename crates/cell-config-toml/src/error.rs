//! Where in the text an error is.

use core::fmt;
use core::ops::Range;
use std::boxed::Box;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use cell_config::CheckError;
use cell_config::{Owner, Place};

/// Why a text is no configuration, in one line: the line in the text, the key, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TomlError {
    line: Option<usize>,
    message: String,
    broken_rule: Option<Box<CheckError>>,
}

impl TomlError {
    /// Returns the line in the text, counted from 1, if the error is at one.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Returns the key and what is wrong with it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the rule that the configuration breaks, if its text is well formed.
    pub fn broken_rule(&self) -> Option<&CheckError> {
        self.broken_rule.as_deref()
    }

    /// An error of the parser or of a value's type.
    pub(super) fn from_parser(text: &str, error: &toml::de::Error) -> Self {
        // The parser adds lines of help to some messages.
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        let Some(span) = error.span() else {
            return Self::new(None, what);
        };
        let key = DeTable::parse(text)
            .ok()
            .and_then(|root| Some(shown(root.get_ref(), &key_at(root.get_ref(), &span)?)));
        let message = key.map_or_else(|| what.clone(), |key| format!("{key}: {what}"));
        Self::new(Some(line_at(text, span.start)), message)
    }

    /// An error about the value at `path`, or where it should be.
    pub(super) fn at(text: &str, path: &[Step<'_>], what: impl fmt::Display) -> Self {
        let Ok(root) = DeTable::parse(text) else {
            return Self::new(None, what.to_string());
        };
        let key = shown(root.get_ref(), path);
        Self::new(
            line_of(text, root.get_ref(), path),
            format!("{key}: {what}"),
        )
    }

    /// An error about the configuration as a whole.
    pub(super) fn from_check(text: &str, error: CheckError) -> Self {
        let path = error.place().map(|place| steps(&place));
        let line = path.and_then(|path| {
            let root = DeTable::parse(text).ok()?;
            line_of(text, root.get_ref(), &path)
        });
        Self {
            broken_rule: Some(Box::new(error)),
            ..Self::new(line, error.to_string())
        }
    }

    /// Keys and the parser's messages repeat the text, which may have control characters.
    fn new(line: Option<usize>, message: String) -> Self {
        let mut shown = String::new();
        for c in message.chars() {
            if c.is_control() {
                shown.extend(c.escape_debug());
            } else {
                shown.push(c);
            }
        }
        Self {
            line,
            message: shown,
            broken_rule: None,
        }
    }
}

impl core::error::Error for TomlError {}

/// `line 31: cell 'linux': memory[0].size: ...`
impl fmt::Display for TomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// One step from a value of the text to a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Returns the way to what the checks are about.
fn steps(place: &Place) -> Vec<Step<'static>> {
    let mut path = match place.owner {
        Owner::Machine => vec![Step::Key("machine")],
        Owner::Hypervisor => vec![Step::Key("hypervisor")],
        Owner::Cell { index, .. } => vec![Step::Key("cell"), Step::Index(index.into())],
        Owner::Channel { index, .. } => vec![Step::Key("channel"), Step::Index(index.into())],
    };
    let (key, index) = place.field.key();
    path.push(Step::Key(key));
    path.extend(index.map(|index| Step::Index(index.into())));
    path
}

/// Returns the line of the value at `path`, or of the nearest value around it.
fn line_of(text: &str, root: &DeTable<'_>, path: &[Step<'_>]) -> Option<usize> {
    let (Step::Key(first), rest) = path.split_first()? else {
        return None;
    };
    let mut value = get(root, first)?;
    for step in rest {
        let next = match (step, value.get_ref()) {
            (Step::Key(key), DeValue::Table(table)) => get(table, key),
            (Step::Index(index), DeValue::Array(array)) => array.get(*index),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    Some(line_at(text, value.span().start))
}

fn get<'t, 'i>(table: &'t DeTable<'i>, wanted: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    table
        .iter()
        .find(|(key, _)| key.get_ref() == wanted)
        .map(|(_, value)| value)
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|&&byte| byte == b'\n').count()
}

/// Returns the way to the innermost key or value that covers `span`.
fn key_at<'t>(root: &'t DeTable<'_>, span: &Range<usize>) -> Option<Vec<Step<'t>>> {
    let mut best = None;
    visit(root, &mut Vec::new(), &mut |path, covered| {
        let is_inside = covered.start <= span.start && span.end <= covered.end;
        let is_better = best.as_ref().is_none_or(|(len, _)| covered.len() <= *len);
        if is_inside && is_better {
            best = Some((covered.len(), path.to_vec()));
        }
    });
    best.map(|(_, path)| path)
}

/// Calls `f` with every key and value of `table`: the way to it and where it stands.
fn visit<'t>(
    table: &'t DeTable<'_>,
    path: &mut Vec<Step<'t>>,
    f: &mut impl FnMut(&[Step<'t>], Range<usize>),
) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref()));
        f(path, key.span());
        visit_value(value, path, f);
        path.pop();
    }
}

fn visit_value<'t>(
    value: &'t Spanned<DeValue<'_>>,
    path: &mut Vec<Step<'t>>,
    f: &mut impl FnMut(&[Step<'t>], Range<usize>),
) {
    f(path, value.span());
    match value.get_ref() {
        DeValue::Table(table) => visit(table, path, f),
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                path.push(Step::Index(index));
                visit_value(item, path, f);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Shows a path: `cell 'linux': memory[0].size`, or `cell[1].name` where the cell's name cannot be told.
fn shown(root: &DeTable<'_>, path: &[Step<'_>]) -> String {
    if let [Step::Key(list), Step::Index(index), rest @ ..] = path
        && let Some(DeValue::Array(items)) = get(root, list).map(Spanned::get_ref)
        && let Some(DeValue::Table(item)) = items.get(*index).map(Spanned::get_ref)
        && let Some(DeValue::String(name)) = get(item, "name").map(Spanned::get_ref)
        && !rest.starts_with(&[Step::Key("name")])
    {
        let rest = dotted(rest);
        let colon = if rest.is_empty() { "" } else { ": " };
        return format!("{list} '{}'{colon}{rest}", name.escape_debug());
    }
    dotted(path)
}

fn dotted(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
