// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shell's language: what a line means. Running it is the program's affair (`src/bin/sh`).
//!
//! ```text
//! line     = job { (";" | "&") job }         "&": in the background
//! job      = pipeline { ("&&" | "||") pipeline }
//! pipeline = command { "|" command }
//! command  = { word | ("<" | ">" | ">>") word }, one word at least
//! ```
//!
//! Words are divided by spaces. `'...'` keeps everything as it is; `"..."` keeps all but `$?`, `$!` and `\`; `\` keeps the
//! character behind it. `$?` is the status of the last command, `$!` the process in the background that was started last;
//! every other `$` stands for itself. `#` at a word's beginning starts a comment.
//!
//! Nothing here needs a heap: a line has at most [`MAX_TOKENS`] words and signs, and words are expanded one command at a
//! time into [`Words`].

mod lexer;
mod script;
mod words;

pub use lexer::{MAX_TOKENS, RawWord, SyntaxError};
pub use script::{Command, Connector, Job, Pipeline, Redirection, Script, Target};
pub use words::{MAX_BYTES, MAX_WORDS, TooLong, Variables, Words};
