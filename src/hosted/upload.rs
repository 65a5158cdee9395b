//! What a client sends, on its way to the staging file: counted, hashed, never whole in memory.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::PublishRefusal;
use crate::durable::is_full;
use crate::observe::spawn_blocking;
use crate::store::{BlobId, Staged, StoreError};

/// How much is gathered before it is written: two such pieces are in memory while a body streams.
const PIECE_BYTES: usize = 512 << 10;

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The connection is gone.
    #[error("the client went away before the end of the body")]
    Gone,
    /// Nothing came for `limits.stall`.
    #[error("the body made no progress for too long")]
    Stalled,
    /// The framing is wrong, or the body is not as long as was declared.
    #[error("the body is malformed: {0}")]
    Malformed(String),
}

/// A request's body, read piece by piece: the next piece is taken off the wire only when it is asked for.
#[async_trait]
pub trait Upload: Send {
    /// Its length in bytes, where the client declared one.
    fn declared_len(&self) -> Option<u64>;
    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError>;
}

/// A body that is held to what its client declared.
pub(super) struct Counted<'a> {
    upload: &'a mut dyn Upload,
    got: u64,
}

impl<'a> Counted<'a> {
    pub(super) fn new(upload: &'a mut dyn Upload) -> Self {
        Self { upload, got: 0 }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        let declared = self.upload.declared_len();
        let piece = self.upload.next().await?;
        self.got += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        match declared {
            Some(declared) if self.got > declared || (piece.is_none() && self.got < declared) => {
                Err(UploadError::Malformed(format!("{declared} bytes were declared, {} came", self.got)))
            }
            _ => Ok(piece),
        }
    }
}

/// The staging file of one upload. Dropped before [`Sink::finish`], it takes its file with it.
pub(super) struct Sink {
    limit: u64,
    len: u64,
    gathered: Vec<u8>,
    disk: Disk,
}

/// A body's bytes go to disk on a blocking thread while the next are gathered; no thread is held while none are.
enum Disk {
    Idle(Writer),
    Busy(JoinHandle<io::Result<Writer>>),
    Broken,
}

struct Writer {
    staged: Staged,
    sha256: Sha256,
    /// What was written last, emptied: the next buffer.
    spare: Vec<u8>,
}

impl Writer {
    fn write(mut self, piece: Vec<u8>) -> io::Result<Self> {
        self.staged.write(&piece)?;
        self.sha256.update(&piece);
        self.spare = piece;
        self.spare.clear();
        Ok(self)
    }
}

impl Sink {
    /// `limit`: the most bytes that are taken.
    pub(super) fn new(staged: Staged, limit: u64) -> Self {
        let writer = Writer { staged, sha256: Sha256::new(), spare: Vec::new() };
        Self { limit, len: 0, gathered: Vec::new(), disk: Disk::Idle(writer) }
    }

    /// Takes bytes; waits for the disk when it is behind.
    pub(super) async fn write(&mut self, mut piece: Bytes) -> Result<(), PublishRefusal> {
        self.len += piece.len() as u64;
        if self.len > self.limit {
            return Err(PublishRefusal::TooLarge { limit: self.limit });
        }
        while !piece.is_empty() {
            if self.gathered.capacity() == 0 {
                self.gathered.reserve_exact(PIECE_BYTES);
            }
            let room = PIECE_BYTES.saturating_sub(self.gathered.len());
            self.gathered.extend_from_slice(&piece.split_to(room.min(piece.len())));
            if self.gathered.len() >= PIECE_BYTES {
                self.write_gathered().await?;
            }
        }
        Ok(())
    }

    /// The file, whole, at whatever position, and the name of its content.
    pub(super) async fn finish(mut self) -> Result<(Staged, BlobId), PublishRefusal> {
        self.write_gathered().await?;
        let writer = self.idle().await?;
        let id = BlobId { sha256: writer.sha256.finalize().into(), len: self.len };
        Ok((writer.staged, id))
    }

    async fn write_gathered(&mut self) -> Result<(), PublishRefusal> {
        let mut writer = self.idle().await?;
        let piece = std::mem::replace(&mut self.gathered, std::mem::take(&mut writer.spare));
        self.disk = Disk::Busy(spawn_blocking(move || writer.write(piece)));
        Ok(())
    }

    async fn idle(&mut self) -> Result<Writer, PublishRefusal> {
        match std::mem::replace(&mut self.disk, Disk::Broken) {
            Disk::Idle(writer) => Ok(writer),
            Disk::Busy(writing) => match writing.await {
                Ok(written) => written.map_err(disk_error),
                Err(stopped) => Err(PublishRefusal::Storage(StoreError::Unavailable(Box::new(stopped)))),
            },
            Disk::Broken => Err(disk_error(io::Error::other("an earlier write failed"))),
        }
    }
}

/// A failed write by its kind.
pub(super) fn disk_error(error: io::Error) -> PublishRefusal {
    if is_full(&error) { PublishRefusal::Full } else { PublishRefusal::Storage(StoreError::Unavailable(Box::new(error))) }
}
