// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line cut into words and signs.

use core::fmt;

use arrayvec::ArrayVec;

/// Most words and signs of a line.
pub const MAX_TOKENS: usize = 128;

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(RawWord<'a>),
    /// `|`
    Pipe,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `&`
    Background,
    /// `;`
    Semicolon,
    /// `<`
    Input,
    /// `>`
    Output,
    /// `>>`
    Append,
}

/// A word as it was written, quotes and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawWord<'a>(pub(super) &'a str);

/// Why a line means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntaxError {
    /// A quotation mark without its partner.
    OpenQuote(char),
    /// A backslash with nothing behind it.
    LastBackslash,
    /// A sign where a command or a file name should be.
    Unexpected(&'static str),
    /// The line ends where a command or a file name should be.
    UnexpectedEnd,
    /// More than [`MAX_TOKENS`] words and signs.
    TooManyTokens,
    /// A NUL, which no argument of a program can hold.
    Nul,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenQuote(quote) => write!(f, "syntax error: a {quote} has no partner"),
            Self::LastBackslash => f.write_str("syntax error: nothing follows the backslash"),
            Self::Unexpected(sign) => write!(f, "syntax error near '{sign}'"),
            Self::UnexpectedEnd => f.write_str("syntax error: the line ends too early"),
            Self::TooManyTokens => write!(f, "more than {MAX_TOKENS} words and signs in a line"),
            Self::Nul => f.write_str("a NUL in the line"),
        }
    }
}

impl core::error::Error for SyntaxError {}

impl Token<'_> {
    /// Returns a sign as it is written.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Word(_) => "word",
            Self::Pipe => "|",
            Self::And => "&&",
            Self::Or => "||",
            Self::Background => "&",
            Self::Semicolon => ";",
            Self::Input => "<",
            Self::Output => ">",
            Self::Append => ">>",
        }
    }
}

/// Cuts a line into its parts.
pub(super) fn tokens(line: &str) -> Result<ArrayVec<Token<'_>, MAX_TOKENS>, SyntaxError> {
    if line.contains('\0') {
        return Err(SyntaxError::Nul);
    }
    let mut tokens = ArrayVec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (token, len) = first_token(rest)?;
        tokens
            .try_push(token)
            .map_err(|_| SyntaxError::TooManyTokens)?;
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

/// Returns the token at the beginning of `text`, which has one, and its length.
fn first_token(text: &str) -> Result<(Token<'_>, usize), SyntaxError> {
    // Longer signs come before those that they begin with.
    const SIGNS: [Token<'static>; 8] = [
        Token::And,
        Token::Or,
        Token::Append,
        Token::Pipe,
        Token::Background,
        Token::Semicolon,
        Token::Input,
        Token::Output,
    ];
    match SIGNS
        .into_iter()
        .find(|token| text.starts_with(token.sign()))
    {
        Some(token) => Ok((token, token.sign().len())),
        None => {
            let len = word_len(text)?;
            Ok((Token::Word(RawWord(&text[..len])), len))
        }
    }
}

fn word_len(text: &str) -> Result<usize, SyntaxError> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match (quote, character) {
            (None | Some('"'), '\\') => {
                characters.next().ok_or(SyntaxError::LastBackslash)?;
            }
            (None, '\'' | '"') => quote = Some(character),
            (None, '|' | '&' | ';' | '<' | '>') => return Ok(place),
            (None, space) if space.is_whitespace() => return Ok(place),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    match quote {
        Some(quote) => Err(SyntaxError::OpenQuote(quote)),
        None => Ok(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn signs(line: &str) -> Vec<&str> {
        let text = |token| match token {
            Token::Word(RawWord(word)) => word,
            sign => sign.sign(),
        };
        tokens(line).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn signs_need_no_spaces_around_them() {
        assert_eq!(
            signs("a|b>c>>d<e;f&&g||h&"),
            [
                "a", "|", "b", ">", "c", ">>", "d", "<", "e", ";", "f", "&&", "g", "||", "h", "&"
            ]
        );
        assert_eq!(signs("  ls   -l  "), ["ls", "-l"]);
        assert!(signs("").is_empty() && signs(" \t ").is_empty());
    }

    #[test]
    fn quotes_and_backslashes_keep_a_word_together() {
        assert_eq!(signs("echo 'a b;c'"), ["echo", "'a b;c'"]);
        assert_eq!(
            signs(r#"echo "a 'b" c' "'d"#),
            ["echo", r#""a 'b""#, r#"c' "'d"#]
        );
        assert_eq!(
            signs(r#"a\ b\| "x\"y" '\'"#),
            [r"a\ b\|", r#""x\"y""#, r"'\'"]
        );
    }

    #[test]
    fn a_comment_begins_with_a_word() {
        assert_eq!(signs("a # b | 'c"), ["a"]);
        assert_eq!(signs("a#b"), ["a#b"]);
        assert_eq!(signs("'#' x"), ["'#'", "x"]);
    }

    #[test]
    fn what_does_not_end_is_an_error() {
        assert_eq!(tokens("echo 'a"), Err(SyntaxError::OpenQuote('\'')));
        assert_eq!(tokens("echo \"a'"), Err(SyntaxError::OpenQuote('"')));
        assert_eq!(tokens("echo a\\"), Err(SyntaxError::LastBackslash));
        assert_eq!(tokens("echo \"a\\"), Err(SyntaxError::LastBackslash));
        assert_eq!(tokens("a\0b"), Err(SyntaxError::Nul));
    }

    #[test]
    fn a_line_has_a_limit() {
        let fits = "a ".repeat(MAX_TOKENS);
        assert_eq!(tokens(&fits).unwrap().len(), MAX_TOKENS);
        let line = fits + "b";
        assert_eq!(tokens(&line), Err(SyntaxError::TooManyTokens));
    }
}
