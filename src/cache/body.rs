//! The body of an answer, wherever it comes from: hosted modules, the cache, or straight from upstream.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;

/// What an answer carries.
pub enum Body {
    /// In memory; small.
    Bytes(Bytes),
    /// A range of an open file that nobody changes any more; it may be unlinked meanwhile.
    File {
        /// The file.
        file: Arc<File>,
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

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File { from, len, .. } => write!(f, "File({from}+{len})"),
            Self::Stream { len, .. } => write!(f, "Stream({len:?})"),
        }
    }
}
