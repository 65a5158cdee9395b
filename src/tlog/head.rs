//! Heads: how large a log is and what it holds, and the note that signs that. As `note.go` of x/mod's tlog and of its note.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use signed_note::{Note, VerifierList};

use super::hash::Hash;
use super::key::VerifierKey;

/// The first line of a head's text.
const TITLE: &str = "go.sum database tree";
/// Longest note that is read, in bytes.
pub(super) const NOTE_BYTES_MAX: usize = 1_000_000;
/// Most records of a log: Go counts with 63 bits.
pub(super) const SIZE_MAX: u64 = i64::MAX as u64;

/// A tree: how many records it has, and its root.
///
/// Its text is `tlog.FormatTree`'s: a title, the size, the root in base64, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// How many records.
    pub size: u64,
    /// The hash over all of them.
    pub root: Hash,
}

impl Head {
    /// The tree without records.
    pub fn empty() -> Self {
        Self { size: 0, root: Hash::of_empty_tree() }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TITLE}\n{}\n{}\n", self.size, self.root)
    }
}

/// The text is no head's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed tree note")]
pub struct HeadError;

impl FromStr for Head {
    type Err = HeadError;

    /// Lines after the third are passed over, for what may be added one day.
    fn from_str(text: &str) -> Result<Self, HeadError> {
        if text.len() > NOTE_BYTES_MAX {
            return Err(HeadError);
        }
        let mut lines = text.splitn(4, '\n');
        let (Some(TITLE), Some(size), Some(root), Some(_)) = (lines.next(), lines.next(), lines.next(), lines.next()) else {
            return Err(HeadError);
        };
        let count = size.parse().ok().filter(|n: &u64| n.to_string() == size && *n <= SIZE_MAX).ok_or(HeadError)?;
        Ok(Self { size: count, root: root.parse().map_err(|_| HeadError)? })
    }
}

/// A head, and the note under which it was found, signed by a key that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    head: Head,
    note: Bytes,
}

/// Why a note is no signed head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than 1 MB, more than 100 signatures, or not a text and signatures.
    #[error("malformed note")]
    Malformed,
    /// The key that was asked for has not signed it.
    #[error("note is not signed by {0}")]
    Unsigned(String),
    /// A signature in the key's name is not the key's.
    #[error("invalid signature for key {0}")]
    Signature(String),
    /// What is signed is no head.
    #[error(transparent)]
    Head(#[from] HeadError),
}

impl SignedHead {
    /// Reads a note and verifies that `key` signed it (`note.Open`): signatures of other keys are passed over, a wrong one in the name of
    /// this key is an error. At most 1 MB and 100 signatures.
    ///
    /// # Errors
    ///
    /// [`NoteError`].
    pub fn open(note: impl Into<Bytes>, key: &VerifierKey) -> Result<Self, NoteError> {
        let note = note.into();
        let parsed = Note::from_bytes(&note).map_err(|_| NoteError::Malformed)?;
        parsed.verify(&VerifierList::new(vec![Box::new(key.verifier())])).map_err(|e| match e {
            signed_note::NoteError::InvalidSignature { name, .. } => NoteError::Signature(name),
            signed_note::NoteError::UnverifiedNote => NoteError::Unsigned(key.name().to_owned()),
            // Of one key there is no second to mix it up with.
            _ => NoteError::Malformed,
        })?;
        let text = std::str::from_utf8(parsed.text()).map_err(|_| HeadError)?;
        Ok(Self { head: text.parse()?, note })
    }

    /// What signing made.
    pub(super) fn signed(head: Head, note: Bytes) -> Self {
        Self { head, note }
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The note, byte for byte as it was read.
    pub fn note(&self) -> &Bytes {
        &self.note
    }
}

#[cfg(test)]
mod tests;
