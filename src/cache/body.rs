//! The body of an answer, wherever it comes from: hosted modules, the cache, or straight from upstream.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;

use super::index::{Lease, Reservation};
use crate::durable::is_exhausted;

/// An open file that nobody changes any more; it may be unlinked meanwhile. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenFile {
    // Closed before that is let go.
    file: Arc<File>,
    held: Option<Arc<dyn Held>>,
}

/// What is held for as long as a file is open.
pub(super) trait Held: Send + Sync {
    /// The file cannot be read.
    fn set_unreadable(&self);
}

impl Held for Arc<Lease> {
    fn set_unreadable(&self) {
        self.as_ref().set_unreadable();
    }
}

impl Held for Lease {
    fn set_unreadable(&self) {
        Self::set_unreadable(self);
    }
}

impl Held for Reservation {
    /// It has no name: nobody else reads it.
    fn set_unreadable(&self) {}
}

impl fmt::Debug for dyn Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("held")
    }
}

impl OpenFile {
    /// A file, and what counts the bytes that it has on the disk.
    pub(super) fn holding(file: File, held: impl Held + 'static) -> Self {
        Self { file: Arc::new(file), held: Some(Arc::new(held)) }
    }

    /// Reading it failed so. Whoever asks for it next is answered with another copy, if one can be had.
    pub fn failed(&self, error: &io::Error) {
        if !is_exhausted(error)
            && let Some(held) = &self.held
        {
            held.set_unreadable();
        }
    }
}

impl From<Arc<File>> for OpenFile {
    fn from(file: Arc<File>) -> Self {
        Self { file, held: None }
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// What an answer carries.
pub enum Body {
    /// In memory; small.
    Bytes(Bytes),
    /// A range of a file.
    File {
        /// The file.
        file: OpenFile,
        /// First byte.
        from: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Passed through as it arrives; an error cuts the connection.
    Stream {
        /// Its length in bytes, where upstream told.
        len: Option<u64>,
        /// The bytes.
        stream: BoxStream<'static, io::Result<Bytes>>,
    },
}

impl Body {
    /// The length in bytes, where it is known.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File { len, .. } => Some(*len),
            Self::Stream { len, .. } => *len,
        }
    }

    /// Whether it is known to carry nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File { from, len, .. } => write!(f, "File({from}+{len})"),
            Self::Stream { len, .. } => write!(f, "Stream({len:?})"),
        }
    }
}
