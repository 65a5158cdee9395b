//! What a checksum database answers to `/lookup/`: a record, its number, and a signed head of a tree that holds it.

use super::head::{NOTE_BYTES_MAX, SIZE_MAX};
use super::record::{RecordError, RecordText};

/// An answer to `/lookup/`: read, but nothing of it proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The record's number.
    pub id: u64,
    /// The record.
    pub record: RecordText,
    /// The head's note, as it was sent: [`super::SignedHead::open`] reads it.
    pub note: Vec<u8>,
}

/// Why bytes are no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// It does not begin with a line that is the record's number.
    #[error("a look-up without the record's number")]
    Id,
    /// What follows is no record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The note behind it is longer than 1 MB.
    #[error("a note of more than {NOTE_BYTES_MAX} bytes")]
    Note,
}

impl Lookup {
    /// Reads an answer (`tlog.ParseRecord`).
    ///
    /// # Errors
    ///
    /// [`LookupError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LookupError> {
        let end = bytes.iter().take(32).position(|b| *b == b'\n').ok_or(LookupError::Id)?;
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| LookupError::Id)?;
        let id = text.parse().ok().filter(|id: &u64| id.to_string() == text && *id <= SIZE_MAX).ok_or(LookupError::Id)?;
        let (record, note) = RecordText::cut(&bytes[end + 1..])?;
        if note.len() > NOTE_BYTES_MAX {
            return Err(LookupError::Note);
        }
        Ok(Self { id, record, note: note.to_vec() })
    }

    /// The bytes (`tlog.FormatRecord` and the note).
    pub fn to_bytes(&self) -> Vec<u8> {
        [format!("{}\n{}\n", self.id, self.record.as_str()).as_bytes(), &self.note].concat()
    }
}

#[cfg(test)]
mod tests;
