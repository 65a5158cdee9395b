//! go.mod files: parsed as golang.org/x/mod/modfile parses them, and made up where a module has none.
//!
//! A file is lines of tokens; `verb ( … )` over several lines is a block. Tokens are separated by white space, `()[]{},` stand
//! for themselves, `"…"` is a Go string; only `//` begins a comment. Text in backquotes is one token, and an error where a path
//! or version is wanted: so it is since x/mod 0.31 or so, whatever the reference says.
//!
//! Everything known is parsed strictly ([`GoMod::parse`], `modfile.Parse`) for a main module. For a dependency
//! ([`GoMod::parse_lax`], `modfile.ParseLax`) only `module`, `go`, `require`, `retract` and `ignore` count, and all else is passed
//! over, so that files from the future can be read. The go command reads all modules from a proxy so.

use std::borrow::Cow;
use std::fmt;

use super::quote::quote;
use super::{ModulePath, Version, semver};

mod lex;
mod rules;
mod syntax;

/// How many directives and lines of blocks a file may have. x/mod sets no limit; this one bounds memory.
pub const LINES_MAX: usize = 100_000;
/// How many errors are kept.
const ERRORS_MAX: usize = 100;

/// The go.mod that the go command makes up for a module without one (`modfetch.LegacyGoMod`).
pub fn synthesize_go_mod(path: &ModulePath) -> Vec<u8> {
    format!("module {}\n", auto_quote(path.as_str())).into_bytes()
}

/// The text, quoted if it must be to stand in a go.mod as one token (`modfile.AutoQuote`). No valid module path must.
pub fn auto_quote(text: &str) -> Cow<'_, str> {
    let special = |c: char| match c {
        ' ' | '"' | '\'' | '`' => true,
        '(' | ')' | '[' | ']' | '{' | '}' | ',' => text.len() > 1,
        c => !super::unicode::is_printable(c),
    };
    if text.is_empty() || text.contains("//") || text.contains("/*") || text.chars().any(special) {
        Cow::Owned(quote(text))
    } else {
        Cow::Borrowed(text)
    }
}

/// A parsed go.mod. Paths are not checked beyond what x/mod checks: they need not be [`ModulePath`]s.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoMod {
    /// `module`; its path may be empty.
    pub module: Option<Module>,
    /// `go`, as in `1.21` or `1.21rc1`.
    pub go: Option<String>,
    /// `toolchain`, as in `go1.21.0` or `default`. Strict only.
    pub toolchain: Option<String>,
    /// `require`.
    pub require: Vec<Require>,
    /// `exclude`: path and version. Strict only.
    pub exclude: Vec<(String, Version)>,
    /// `replace`. Strict only.
    pub replace: Vec<Replace>,
    /// `retract`.
    pub retract: Vec<Retract>,
    /// `godebug`: key and value. Strict only.
    pub godebug: Vec<(String, String)>,
    /// `tool`: package paths. Strict only.
    pub tool: Vec<String>,
    /// `ignore`: folders.
    pub ignore: Vec<String>,
}

/// The module line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The path, unquoted, unchecked.
    pub path: String,
    /// What stands behind `Deprecated:` in its comments, to the end of the paragraph; possibly empty.
    pub deprecated: String,
}

/// A required module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Require {
    /// The path, unchecked.
    pub path: String,
    /// The version, made canonical; fits the path's major suffix.
    pub version: Version,
    /// Whether it is marked `// indirect`.
    pub indirect: bool,
}

/// What is to be used instead of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replace {
    /// The path that is replaced, unchecked.
    pub old_path: String,
    /// The version that is replaced; all if absent.
    pub old_version: Option<Version>,
    /// A module's path, or a folder if there is no version.
    pub new_path: String,
    /// The version to use.
    pub new_version: Option<Version>,
}

/// Versions that should not be used: those from `low` to `high`, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retract {
    /// As written: usually a version, not necessarily canonical.
    pub low: String,
    /// As written; equal to `low` for a single version.
    pub high: String,
    /// The comments on the directive, joined by line ends; possibly empty.
    pub rationale: String,
}

impl Retract {
    /// Whether the version lies within.
    pub fn covers(&self, version: &Version) -> bool {
        semver::compare(&self.low, version.as_str()).is_le() && semver::compare(version.as_str(), &self.high).is_le()
    }
}

/// Where something stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// From 1 on.
    line: u32,
    /// In characters, from 1 on.
    column: u32,
    /// From 0 on.
    byte: usize,
}

/// One thing that is wrong with a go.mod, in the words of the go tool: `go.mod:3: unknown directive: foo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoModError {
    /// The line, from 1 on.
    pub line: u32,
    /// The character in the line, from 1 on; 1 is not shown.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for GoModError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message } = self;
        if *column > 1 { write!(f, "go.mod:{line}:{column}: {message}") } else { write!(f, "go.mod:{line}: {message}") }
    }
}

impl std::error::Error for GoModError {}

/// All that is wrong with a go.mod; at least one thing, at most 100. Displays as a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoModErrors(Vec<GoModError>);

impl GoModErrors {
    /// The errors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &GoModError> {
        self.0.iter()
    }
}

impl fmt::Display for GoModErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for GoModErrors {}

impl GoMod {
    /// Parses a main module's go.mod (`modfile.Parse` without a version fixer): what is unknown is an error.
    pub fn parse(content: &[u8]) -> Result<Self, GoModErrors> {
        Self::parse_as(content, true)
    }

    /// Parses a dependency's go.mod (`modfile.ParseLax` without a version fixer): what is unknown is passed over.
    pub fn parse_lax(content: &[u8]) -> Result<Self, GoModErrors> {
        Self::parse_as(content, false)
    }

    fn parse_as(content: &[u8], strict: bool) -> Result<Self, GoModErrors> {
        let text = decode(content);
        let statements = syntax::parse(&text).map_err(|error| GoModErrors(vec![error]))?;
        let mut rules = rules::Rules::new(strict);
        rules.add_all(&statements);
        rules.finish()
    }

    /// The path in the module line; `None` if there is none or it is empty.
    pub fn module_path(&self) -> Option<&str> {
        self.module.as_ref().map(|module| module.path.as_str()).filter(|path| !path.is_empty())
    }

    /// The retraction that covers the version, if any; the first one.
    pub fn retraction(&self, version: &Version) -> Option<&Retract> {
        self.retract.iter().find(|retract| retract.covers(version))
    }
}

/// The file as text; a byte that is no UTF-8 becomes one U+FFFD, as Go's decoder reads it.
fn decode(content: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(content) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(content.len());
    for chunk in content.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
