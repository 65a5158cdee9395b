//! Records: what a checksum database says of one version, as `note.go` of x/mod's tlog has their text.

use std::fmt;
use std::str::FromStr;

use super::hash::Hash;
use crate::module::{H1, ModulePath, Version};

/// Longest text of a record, in bytes. Two lines with the longest paths are a tenth of it.
const TEXT_MAX: usize = 64 << 10;

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than 64 KiB.
    #[error("a record of more than {TEXT_MAX} bytes")]
    TooLong,
    /// Not lines of UTF-8, each with its end, no empty one behind another, no control characters.
    #[error("malformed record data")]
    Text,
    /// Not the two lines of one version.
    #[error("not the two go.sum lines of one version")]
    Lines,
}

/// The text of a record: one or more lines, whatever they say. Its hash is what a log holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecordText(Box<str>);

impl RecordText {
    /// Reads a whole text (`tlog.isValidRecordText`, of at most 64 KiB).
    ///
    /// # Errors
    ///
    /// [`RecordError::TooLong`], [`RecordError::Text`].
    pub fn new(text: &[u8]) -> Result<Self, RecordError> {
        if text.len() > TEXT_MAX {
            return Err(RecordError::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| RecordError::Text)?;
        let is_text = text.ends_with('\n') && !text.contains("\n\n") && text.chars().all(|c| c >= ' ' || c == '\n');
        if is_text { Ok(Self(text.into())) } else { Err(RecordError::Text) }
    }

    /// Reads a text up to the empty line behind it, and gives what follows that.
    pub(super) fn cut(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        let window = &bytes[..bytes.len().min(TEXT_MAX + 1)];
        match window.windows(2).position(|pair| pair == b"\n\n") {
            Some(end) => Ok((Self::new(&bytes[..=end])?, &bytes[end + 2..])),
            None if bytes.len() > TEXT_MAX => Err(RecordError::TooLong),
            None => Err(RecordError::Text),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the log holds of it.
    pub fn hash(&self) -> Hash {
        Hash::of_record(self.0.as_bytes())
    }

    /// What it says of a version, however many lines there are beside: of its zip, and of its go.mod. As the go command reads it, a line
    /// of another algorithm is passed over; two h1 lines for one thing are [`None`], as they would let two clients see two things.
    pub fn find(&self, path: &ModulePath, version: &Version) -> Option<Record> {
        let one = |subject: String| {
            let mut found = self.0.lines().filter_map(|line| line.strip_prefix(&subject)?.parse::<H1>().ok());
            found.next().filter(|_| found.next().is_none())
        };
        let zip = one(format!("{path} {version} "))?;
        let go_mod = one(format!("{path} {version}/go.mod "))?;
        Some(Record { path: path.clone(), version: version.clone(), zip, go_mod })
    }
}

impl fmt::Debug for RecordText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a record of a go.sum database says: `path version h1:…` and `path version/go.mod h1:…`, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The module.
    pub path: ModulePath,
    /// The version.
    pub version: Version,
    /// The hash of its zip.
    pub zip: H1,
    /// The hash of its go.mod.
    pub go_mod: H1,
}

impl Record {
    /// Its text.
    pub fn text(&self) -> RecordText {
        RecordText(self.to_string().into())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, version, zip, go_mod } = self;
        write!(f, "{path} {version} {zip}\n{path} {version}/go.mod {go_mod}\n")
    }
}

impl FromStr for Record {
    type Err = RecordError;

    /// Reads exactly what [`Record::text`] writes.
    fn from_str(text: &str) -> Result<Self, RecordError> {
        let parse = || {
            let (path, rest) = text.split_once(' ')?;
            let (version, _) = rest.split_once(' ')?;
            RecordText::new(text.as_bytes()).ok()?.find(&path.parse().ok()?, &version.parse().ok()?)
        };
        parse().filter(|record| record.to_string() == text).ok_or(RecordError::Lines)
    }
}

#[cfg(test)]
mod tests;
