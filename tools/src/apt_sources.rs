// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine's own apt sources, read to learn which Debian mirror it uses.
//!
//! Both forms are read: one-line `.list` files and deb822 `.sources` files. Only what the lab needs
//! is kept: enabled binary sources.

use std::fs;
use std::path::{Path, PathBuf};

/// The keyring that Debian's own packages install.
const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One archive and the suites taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where the archive is.
    pub uri: String,
    /// Suites, such as `bookworm`.
    pub suites: Vec<String>,
    /// Components, such as `main`.
    pub components: Vec<String>,
    /// The keyring file that its signatures are checked with.
    pub keyring: Option<PathBuf>,
}

impl Source {
    /// Says whether this is one of Debian's own archives (or a mirror laid out as they are).
    pub fn is_debian(&self) -> bool {
        self.is_archive() || self.path_has("debian-security")
    }

    /// Says whether this is Debian's main archive, which has the suite `testing`.
    pub fn is_archive(&self) -> bool {
        self.path_has("debian")
    }

    fn path_has(&self, segment: &str) -> bool {
        self.uri.split('/').skip(3).any(|part| part == segment)
    }

    /// Writes one line of a `.list` file for each of `suites`.
    pub fn lines(&self, suites: &[String]) -> String {
        let keyring = self
            .keyring
            .as_deref()
            .unwrap_or(Path::new(ARCHIVE_KEYRING));
        let line = |suite| {
            format!(
                "deb [signed-by={}] {} {suite} main\n",
                keyring.display(),
                self.uri
            )
        };
        suites.iter().map(line).collect()
    }
}

/// Reads all sources that apt would read below `etc_apt` (`/etc/apt`); files that can't be read are left out.
pub fn read_all(etc_apt: &Path) -> Vec<Source> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let parse = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_list(&text),
            Some("sources") => parse_deb822(&text),
            _ => Vec::new(),
        }
    };
    files.iter().flat_map(parse).collect()
}

/// Reads a one-line-style file.
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    let line = line
        .strip_prefix([' ', '\t', '['].as_slice())
        .map(|_| line.trim_start())?;
    let (options, rest) = match line.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", line),
    };
    let keyring = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        keyring: keyring.and_then(keyring_file),
    })
}

/// Reads a deb822-style file.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .flat_map(parse_stanza)
        .collect()
}

fn parse_stanza(lines: &[&str]) -> Vec<Source> {
    let field = |name: &str| stanza_field(lines, name);
    let words = |name: &str| {
        field(name)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let is_disabled =
        ["no", "false", "0"].contains(&field("Enabled").trim().to_lowercase().as_str());
    if is_disabled || !words("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let source = |uri| Source {
        uri,
        suites: words("Suites"),
        components: words("Components"),
        keyring: keyring_file(field("Signed-By").trim()),
    };
    words("URIs").into_iter().map(source).collect()
}

/// Returns the value of a field with its continuation lines, or an empty text.
fn stanza_field(lines: &[&str], name: &str) -> String {
    let starts = |line: &&str| {
        line.split_once(':')
            .is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let Some(first) = lines.iter().position(starts) else {
        return String::new();
    };
    let mut value = lines[first][name.len() + 1..].to_owned();
    for line in lines[first + 1..]
        .iter()
        .take_while(|line| line.starts_with([' ', '\t']))
    {
        value.push('\n');
        value.push_str(line);
    }
    value
}

/// A keyring may also be given as the key itself or as fingerprints; only files are of use here.
fn keyring_file(text: &str) -> Option<PathBuf> {
    text.starts_with('/').then(|| PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_sources_are_read_with_and_without_options() {
        let text = "# deb http://mirror.example/debian old main\n\
                    deb http://mirror.example/debian bookworm main contrib # why\n\
                    deb-src http://mirror.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian-security bookworm-security main\n";
        let sources = parse_list(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(sources[0].keyring, None);
        assert_eq!(sources[1].keyring.as_deref(), Some(Path::new("/k.gpg")));
        assert_eq!(sources[1].suites, ["bookworm-security"]);
    }

    #[test]
    fn deb822_stanzas_may_be_disabled_continued_or_commented() {
        let text = "Types: deb deb-src\n# a remark\nURIs: http://a.example/debian/\nSuites: bookworm\n bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\n\
                    Types: deb\nURIs: http://b.example/debian\nSuites: sid\nEnabled: no\n\n\
                    types: deb-src\nuris: http://c.example/debian\nsuites: sid\n";
        let sources = parse_deb822(text);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(sources[0].keyring.as_deref(), Some(Path::new("/k.gpg")));
    }

    #[test]
    fn an_inline_key_is_not_taken_for_a_file() {
        let text = "Types: deb\nURIs: http://a.example/debian\nSuites: x\nSigned-By:\n -----BEGIN\n .\n abc\n";
        assert_eq!(parse_deb822(text)[0].keyring, None);
    }

    #[test]
    fn only_debian_archives_count() {
        let source = |uri: &str| Source {
            uri: uri.to_owned(),
            suites: Vec::new(),
            components: Vec::new(),
            keyring: None,
        };
        assert!(source("http://m.example/debian").is_archive());
        assert!(source("http://m.example/archive/debian/20250520T000000Z/").is_archive());
        assert!(!source("http://m.example/debian-security").is_archive());
        assert!(source("http://m.example/debian-security").is_debian());
        assert!(!source("http://debian/ubuntu").is_debian());
    }

    #[test]
    fn a_list_line_names_its_keyring() {
        let source = parse_list("deb http://m.example/debian bookworm main").remove(0);
        let lines = source.lines(&["testing".to_owned()]);
        assert_eq!(
            lines,
            format!("deb [signed-by={ARCHIVE_KEYRING}] http://m.example/debian testing main\n")
        );
    }
}
