//! What is wrong with settings: where, in which key, and what was expected.

use std::fmt;
use std::path::PathBuf;

use super::Source;

/// The longest piece of a wrong value that is repeated in an error, characters.
const FOUND_CHARS_MAX: usize = 80;
/// How many problems are told at once.
const TOLD_MAX: usize = 50;

/// Settings could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the settings: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The settings are wrong. At least one problem, in the order of the file's lines.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// In which key; empty where the file is not TOML.
    pub key: String,
    /// What.
    pub fault: Fault,
    /// How to mend it, where that is known.
    pub hint: Option<String>,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file is not TOML.
    Syntax(String),
    /// There is no such key.
    UnknownKey,
    /// The value is not what the key takes, or does not go with another value.
    Wrong {
        /// What the key takes.
        expected: String,
        /// What stands there; secrets are left out.
        found: String,
    },
}

impl fmt::Display for Problem {
    /// `file:line: key: expected …, found …; hint`, one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", clip(&self.key))?;
        }
        match &self.fault {
            Fault::Syntax(text) => write!(f, "not TOML: {text}")?,
            Fault::UnknownKey => f.write_str("unknown key")?,
            Fault::Wrong { expected, found } => write!(f, "expected {expected}, found {found}")?,
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    let mut out: Vec<String> = problems.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    if let Some(more) = problems.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        out.push(format!("and {more} more"));
    }
    out.join("\n")
}

/// `text` in quotes, on one line, not too long.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", clip(text))
}

/// `text` on one line, not too long.
fn clip(text: &str) -> String {
    let mut out: String = text.chars().take(FOUND_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(FOUND_CHARS_MAX).is_some() {
        out.push('…');
    }
    out.replace("\\'", "'")
}

/// Why a value is wrong, before it is known where it stands.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) expected: String,
    /// Replaces the value itself, where that would tell a secret or say too little.
    pub(super) found: Option<String>,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn expected(text: impl Into<String>) -> Self {
        Self { expected: text.into(), found: None, hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn found(self, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..self }
    }

    /// The problem that this is at a place; `found` is what stands there.
    pub(super) fn at(self, source: Source, key: impl Into<String>, found: impl Into<String>) -> Problem {
        let found = self.found.unwrap_or_else(|| found.into());
        Problem { source, key: key.into(), fault: Fault::Wrong { expected: self.expected, found }, hint: self.hint }
    }
}
