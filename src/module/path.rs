//! Module paths: what is a valid one, and its escaped form in URLs and file names.
//!
//! The specification is `CheckPath`, `CheckFilePath`, `EscapePath` and `UnescapePath` of golang.org/x/mod/module.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::major::split_path_version;
use super::quote::{quote, quote_char};
use super::unicode::is_letter;

/// A valid module path, as `module.CheckPath` of golang.org/x/mod has it. Cheap to clone.
///
/// One or more elements joined by `/`. Elements are ASCII letters, digits and `-._~`, begin and end with no dot, are no reserved
/// name of Windows and no short name of it (`x~1`). The first element is lower case, has a dot and begins with no dash. A last
/// element `vN` has N of 2 or more without leading zeros; under `gopkg.in/` the last element ends in `.vN` or `.vN-unstable`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModulePath(Arc<str>);

/// Why a string is not a module path, in the words of the go tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed module path {}: {reason}", quote(.path))]
pub struct PathError {
    /// What was given.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ModulePath {
    /// The path as written in import statements, never escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first path element.
    pub fn host(&self) -> &str {
        self.elements().next().unwrap_or_default()
    }

    /// The path elements, the host first.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Every proper ancestor, the nearest first, down to the host. They need not be module paths themselves.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        let mut rest: &str = &self.0;
        std::iter::from_fn(move || {
            rest = &rest[..rest.rfind('/')?];
            Some(rest)
        })
    }

    /// The path without its major suffix, and that suffix: `/v2` and above, `.v1` or `.v1-unstable` under gopkg.in, else empty
    /// (`module.SplitPathVersion`). The two joined are the path.
    pub fn split_major(&self) -> (&str, &str) {
        split_path_version(&self.0).unwrap_or((&self.0, ""))
    }

    /// Whether this is the module that the go command downloads its own toolchains as.
    pub fn is_toolchain(&self) -> bool {
        &*self.0 == "golang.org/toolchain"
    }

    /// The escaped form (`module.EscapePath`): every upper-case letter becomes `!` and its lower-case twin.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }

    /// Reads the escaped form (`module.UnescapePath`); a raw upper-case letter is an error.
    pub fn unescape(escaped: &str) -> Result<Self, PathError> {
        match unescape(escaped) {
            Some(path) => path.parse(),
            None => Err(PathError { path: escaped.to_owned(), reason: "invalid escaped module path".to_owned() }),
        }
    }
}

/// Escapes upper-case letters as `!` and the lower-case letter.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Undoes [`escape`]; `None` where the text could not have come from it.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut bang = false;
    for c in text.chars() {
        if bang {
            if !c.is_ascii_lowercase() {
                return None;
            }
            out.push(c.to_ascii_uppercase());
            bang = false;
        } else if c == '!' {
            bang = true;
        } else if c.is_ascii_uppercase() || !c.is_ascii() {
            return None;
        } else {
            out.push(c);
        }
    }
    (!bang).then_some(out)
}

/// Checks a slash-separated file name within a module (`module.CheckFilePath`): Unicode letters, digits, spaces and most
/// punctuation; no element that Windows cannot have. The error is the bare reason.
pub fn check_file_path(path: &[u8]) -> Result<(), String> {
    check_path(path, Kind::File)
}

/// Checks a package import path (`module.CheckImportPath`). The error is the bare reason.
pub fn check_import_path(path: &str) -> Result<(), String> {
    check_path(path.as_bytes(), Kind::Import)
}

fn check_module_path(path: &str) -> Result<(), String> {
    check_path(path.as_bytes(), Kind::Module)?;
    let first = path.split('/').next().unwrap_or_default();
    if !first.contains('.') {
        return Err("missing dot in first path element".to_owned());
    }
    if let Some(c) = first.chars().find(|c| !matches!(c, '-' | '.' | '0'..='9' | 'a'..='z')) {
        return Err(format!("invalid char {} in first path element", quote_char(c)));
    }
    match split_path_version(path) {
        Some(_) => Ok(()),
        None => Err("invalid version".to_owned()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Module,
    Import,
    File,
}

fn check_path(path: &[u8], kind: Kind) -> Result<(), String> {
    let fail = |reason: &str| Err(reason.to_owned());
    let Ok(path) = std::str::from_utf8(path) else {
        return fail("invalid UTF-8");
    };
    if path.is_empty() {
        return fail("empty string");
    }
    if path.starts_with('-') && kind != Kind::File {
        return fail("leading dash");
    }
    if path.contains("//") {
        return fail("double slash");
    }
    if path.ends_with('/') {
        return fail("trailing slash");
    }
    path.split('/').try_for_each(|elem| check_element(elem, kind))
}

/// The names that Windows reserves, whatever follows their first dot.
const WINDOWS_NAMES: [&str; 22] = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9", "LPT1", "LPT2", "LPT3", "LPT4",
    "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
];

pub(super) fn check_element(elem: &str, kind: Kind) -> Result<(), String> {
    let fail = |reason: &str| Err(reason.to_owned());
    if elem.is_empty() {
        return fail("empty path element");
    }
    if elem.bytes().all(|b| b == b'.') {
        return Err(format!("invalid path element {}", quote(elem)));
    }
    if elem.starts_with('.') && kind == Kind::Module {
        return fail("leading dot in path element");
    }
    if elem.ends_with('.') {
        return fail("trailing dot in path element");
    }
    if let Some(c) = elem.chars().find(|&c| !char_ok(c, kind)) {
        return Err(format!("invalid char {}", quote_char(c)));
    }
    let short = elem.split('.').next().unwrap_or_default();
    if WINDOWS_NAMES.iter().any(|bad| bad.eq_ignore_ascii_case(short)) {
        return Err(format!("{} disallowed as path element component on Windows", quote(short)));
    }
    let short_name = short.rsplit_once('~').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if short_name && kind != Kind::File {
        return fail("trailing tilde and digits in path element");
    }
    Ok(())
}

fn char_ok(c: char, kind: Kind) -> bool {
    let module = c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    match kind {
        Kind::Module => module,
        Kind::Import => module || c == '+',
        Kind::File if c.is_ascii() => module || "!#$%&()+,=@[]^{} ".contains(c),
        Kind::File => is_letter(c),
    }
}

impl FromStr for ModulePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        match check_module_path(path) {
            Ok(()) => Ok(Self(path.into())),
            Err(reason) => Err(PathError { path: path.to_owned(), reason }),
        }
    }
}

impl fmt::Display for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl serde::Serialize for ModulePath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ModulePath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
