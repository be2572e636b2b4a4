// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line's structure: jobs, pipelines, commands.

use arrayvec::ArrayVec;

use super::lexer::{MAX_TOKENS, RawWord, SyntaxError, Token, tokens};

/// A line that has a meaning.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    tokens: ArrayVec<Token<'a>, MAX_TOKENS>,
}

/// Pipelines that depend on each other's status.
#[derive(Clone, Copy, Debug)]
pub struct Job<'s, 'a> {
    tokens: &'s [Token<'a>],
    /// Whether the shell goes on without waiting for it.
    pub is_background: bool,
}

/// When a pipeline is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// It is the first of its job.
    Always,
    /// If the status before it is 0.
    IfSucceeded,
    /// If the status before it is not 0.
    IfFailed,
}

/// Commands, the output of each the input of the next.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline<'s, 'a> {
    tokens: &'s [Token<'a>],
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command<'s, 'a> {
    tokens: &'s [Token<'a>],
}

/// Where input comes from, or where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirection<'a> {
    /// What is redirected, and how.
    pub target: Target,
    /// The file.
    pub file: RawWord<'a>,
}

/// What a redirection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard input comes from the file.
    Input,
    /// Standard output goes to the file, which is emptied.
    Output,
    /// Standard output goes to the file's end.
    Append,
}

impl<'a> Script<'a> {
    /// Takes a line apart. An empty one has no jobs.
    pub fn parse(line: &'a str) -> Result<Self, SyntaxError> {
        let tokens = tokens(line)?;
        check(&tokens)?;
        Ok(Self { tokens })
    }

    /// Returns the jobs, one after the other.
    pub fn jobs(&self) -> impl Iterator<Item = Job<'_, 'a>> {
        let is_end = |token: &Token<'_>| matches!(token, Token::Semicolon | Token::Background);
        self.tokens
            .split_inclusive(is_end)
            .map(|tokens| match tokens.split_last() {
                Some((Token::Semicolon, tokens)) => (tokens, false),
                Some((Token::Background, tokens)) => (tokens, true),
                _ => (tokens, false),
            })
            .map(|(tokens, is_background)| Job {
                tokens,
                is_background,
            })
    }
}

impl<'s, 'a> Job<'s, 'a> {
    /// Returns the job's command, if it has no other.
    pub fn only_command(&self) -> Option<Command<'s, 'a>> {
        let mut pipelines = self.pipelines();
        let (_, pipeline) = pipelines.next()?;
        let mut commands = pipeline.commands();
        let command = commands.next()?;
        (commands.next().is_none() && pipelines.next().is_none()).then_some(command)
    }

    /// Returns the pipelines, each with its condition.
    pub fn pipelines(&self) -> impl Iterator<Item = (Connector, Pipeline<'s, 'a>)> + use<'s, 'a> {
        let mut rest = Some((Connector::Always, self.tokens));
        core::iter::from_fn(move || {
            let (connector, tokens) = rest?;
            let end = tokens.iter().enumerate().find_map(|(end, token)| {
                let connector = match token {
                    Token::And => Connector::IfSucceeded,
                    Token::Or => Connector::IfFailed,
                    _ => return None,
                };
                Some((end, connector))
            });
            let tokens = match end {
                Some((end, next)) => {
                    rest = Some((next, &tokens[end + 1..]));
                    &tokens[..end]
                }
                None => {
                    rest = None;
                    tokens
                }
            };
            Some((connector, Pipeline { tokens }))
        })
    }
}

impl<'s, 'a> Pipeline<'s, 'a> {
    /// Returns the commands; there is one at least.
    pub fn commands(&self) -> impl Iterator<Item = Command<'s, 'a>> + use<'s, 'a> {
        self.tokens
            .split(|token| matches!(token, Token::Pipe))
            .map(|tokens| Command { tokens })
    }
}

impl<'s, 'a> Command<'s, 'a> {
    /// Returns the command's name and its arguments.
    pub fn words(&self) -> impl Iterator<Item = RawWord<'a>> + use<'s, 'a> {
        let mut is_file = false;
        self.tokens.iter().filter_map(move |token| match *token {
            Token::Word(word) => (!core::mem::take(&mut is_file)).then_some(word),
            _ => {
                is_file = true;
                None
            }
        })
    }

    /// Returns its redirections, in their order.
    pub fn redirections(&self) -> impl Iterator<Item = Redirection<'a>> + use<'s, 'a> {
        self.tokens.windows(2).filter_map(|pair| {
            let Token::Word(file) = pair[1] else {
                return None;
            };
            let target = match pair[0] {
                Token::Input => Target::Input,
                Token::Output => Target::Output,
                Token::Append => Target::Append,
                _ => return None,
            };
            Some(Redirection { target, file })
        })
    }
}

/// What the tokens so far ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// A command, or the end of the line.
    CommandOrEnd,
    /// A command.
    Command,
    /// A name of a file; whether the command has its name already.
    File { has_name: bool },
    /// The command's name, after a redirection.
    Name,
    /// Anything.
    Anything,
}

fn check(tokens: &[Token<'_>]) -> Result<(), SyntaxError> {
    let mut expected = Expected::CommandOrEnd;
    for token in tokens {
        expected = match (expected, token) {
            (Expected::File { has_name: false }, Token::Word(_)) => Expected::Name,
            (_, Token::Word(_)) => Expected::Anything,
            (Expected::File { .. }, sign) => return Err(SyntaxError::Unexpected(sign.sign())),
            (Expected::Anything, Token::Input | Token::Output | Token::Append) => {
                Expected::File { has_name: true }
            }
            (_, Token::Input | Token::Output | Token::Append) => Expected::File { has_name: false },
            (Expected::Anything, Token::Pipe | Token::And | Token::Or) => Expected::Command,
            (Expected::Anything, _) => Expected::CommandOrEnd,
            (_, sign) => return Err(SyntaxError::Unexpected(sign.sign())),
        };
    }
    match expected {
        Expected::CommandOrEnd | Expected::Anything => Ok(()),
        _ => Err(SyntaxError::UnexpectedEnd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::String;
    use std::vec::Vec;
    use std::{format, vec};

    /// Writes the structure down: `[..]` for a job, `{..}` for a pipeline, `(..)` for a command.
    fn structure(line: &str) -> Result<String, SyntaxError> {
        let mut text = String::new();
        for job in Script::parse(line)?.jobs() {
            text += "[";
            for (connector, pipeline) in job.pipelines() {
                text += match connector {
                    Connector::Always => "{",
                    Connector::IfSucceeded => "&&{",
                    Connector::IfFailed => "||{",
                };
                for command in pipeline.commands() {
                    let words: Vec<&str> = command.words().map(|word| word.0).collect();
                    text += &format!("({}", words.join(" "));
                    for Redirection { target, file } in command.redirections() {
                        text += &format!(" {target:?}={}", file.0);
                    }
                    text += ")";
                }
                text += "}";
            }
            text += if job.is_background { "]&" } else { "]" };
        }
        Ok(text)
    }

    #[test]
    fn lines_have_jobs_pipelines_and_commands() {
        for (line, expected) in [
            ("", ""),
            ("# nothing", ""),
            ("ls -l", "[{(ls -l)}]"),
            ("a; b ;c;", "[{(a)}][{(b)}][{(c)}]"),
            ("a & b", "[{(a)}]&[{(b)}]"),
            ("a && b || c d", "[{(a)}&&{(b)}||{(c d)}]"),
            ("a | b x | c && d &", "[{(a)(b x)(c)}&&{(d)}]&"),
        ] {
            assert_eq!(structure(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_job_may_be_a_single_command() {
        for (line, expected) in [
            ("a x > f &", Some("a")),
            ("a", Some("a")),
            ("a | b", None),
            ("a && b &", None),
        ] {
            let script = Script::parse(line).unwrap();
            let job = script.jobs().next().unwrap();
            let name = job
                .only_command()
                .and_then(|command| command.words().next());
            assert_eq!(name.map(|word| word.0), expected, "{line}");
        }
    }

    #[test]
    fn redirections_stand_anywhere_in_a_command() {
        for (line, expected) in [
            ("a < in > out", "[{(a Input=in Output=out)}]"),
            ("<in a >>out b", "[{(a b Input=in Append=out)}]"),
            ("a>x>y|b", "[{(a Output=x Output=y)(b)}]"),
            ("> x a", "[{(a Output=x)}]"),
        ] {
            assert_eq!(structure(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn signs_in_wrong_places_are_errors() {
        let unexpected = |sign| Err(SyntaxError::Unexpected(sign));
        for (line, expected) in [
            ("|", unexpected("|")),
            ("a | | b", unexpected("|")),
            ("a && ; b", unexpected(";")),
            ("; a", unexpected(";")),
            ("a ;; b", unexpected(";")),
            ("& a", unexpected("&")),
            ("a & & b", unexpected("&")),
            ("a > | b", unexpected("|")),
            ("a > > b", unexpected(">")),
            ("> x | b", unexpected("|")),
            ("a &&& b", unexpected("&")),
            ("a |", Err(SyntaxError::UnexpectedEnd)),
            ("a &&", Err(SyntaxError::UnexpectedEnd)),
            ("a >", Err(SyntaxError::UnexpectedEnd)),
            ("> x", Err(SyntaxError::UnexpectedEnd)),
        ] {
            assert_eq!(structure(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_at_random_are_never_taken_apart_wrongly() {
        const PARTS: [&str; 14] = [
            "a", " ", "|", "&", ";", "<", ">", "'", "\"", "\\", "$?", "#", "&&", "\u{e9}",
        ];
        let mut seed = 1_u64;
        let mut accepted = 0;
        for _ in 0..100_000 {
            let mut line = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                line += PARTS[(seed >> 33) as usize % PARTS.len()];
            }
            let Ok(script) = Script::parse(&line) else {
                continue;
            };
            accepted += 1;
            // Every command has a name, and every word of the line is in exactly one place.
            let mut seen = vec![];
            for job in script.jobs() {
                for (_, pipeline) in job.pipelines() {
                    for command in pipeline.commands() {
                        assert!(command.words().next().is_some(), "{line}");
                        seen.extend(command.words().map(|word| word.0));
                        seen.extend(command.redirections().map(|redirection| redirection.file.0));
                    }
                }
            }
            let words = script
                .tokens
                .iter()
                .filter(|token| matches!(token, Token::Word(_)));
            assert_eq!(seen.len(), words.count(), "{line}");
        }
        assert!(accepted > 1_000);
    }
}
