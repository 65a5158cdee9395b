//! `backup`: the one command whose answer is no JSON but an archive, as it is made.
//!
//! The snapshot of what is hosted comes first, and the head of our own checksum database after it. A version is in the log only after it is
//! sealed, so that the log in the archive has every record of a sealed version there that it had when the snapshot was taken. It may
//! have records of later ones, which are then published again, as they were, or not at all.

use std::io::{self, Write};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::{OperationError, Operations, log_settings};
use crate::cache::Body;
use crate::observe::audit::{Actor, Event};
use crate::observe::spawn_blocking;
use crate::store::StoreError;
use crate::store::backup::{ArchivedLog, Snapshot};
use crate::sumdb::log::{Log, LogSettings, OpenError};

/// Bytes that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for a slow reader.
const PIECES_WAITING: usize = 16;

impl Operations {
    /// A backup as it is made. It ends early, and with it the connection, when reading fails.
    pub async fn backup(&self, actor: &Actor) -> Result<Body, OperationError> {
        let snapshot = self.snapshot(actor).await?;
        let (pieces, mut waiting) = mpsc::channel::<io::Result<Bytes>>(PIECES_WAITING);
        spawn_blocking(move || {
            let mut out = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces.clone()));
            match snapshot.write(&mut out) {
                Ok(foot) => tracing::info!(versions = foot.versions, blobs = foot.blobs, bytes = foot.bytes, "backup taken"),
                Err(error) => {
                    tracing::warn!(%error, "backup failed");
                    // Whoever read it may be gone.
                    let _ = pieces.blocking_send(Err(io::Error::other(error)));
                }
            }
        });
        let stream = futures::stream::poll_fn(move |context| waiting.poll_recv(context)).boxed();
        Ok(Body::Stream { len: None, stream })
    }

    /// What a backup made now holds. Our own checksum database is left out where it is damaged; that, and all else that a start would
    /// refuse it for, is one of its findings then.
    pub async fn snapshot(&self, actor: &Actor) -> Result<Snapshot, OperationError> {
        let mut snapshot = self.stores.backup.snapshot().await?;
        match self.archived_log().await? {
            Ok(log) => {
                log.into_iter().for_each(|log| snapshot.add_log(log));
                self.log_wrong.iter().for_each(|wrong| snapshot.add_finding(format!("sumdb: {wrong}")));
            }
            Err(wrong) => snapshot.add_finding(format!("sumdb/log: {wrong}: left out")),
        }
        self.audit.record_durably(actor, &[Event::Backup { versions: snapshot.versions() }]).await;
        Ok(snapshot)
    }

    /// Our own checksum database, also where the settings have it off. The error inside is the database's.
    async fn archived_log(&self) -> Result<Result<Option<ArchivedLog>, OpenError>, OperationError> {
        let (log, data, stop) = (self.log.clone(), self.data.clone(), self.stop.clone());
        // A log that is whole is worth saving, whatever is wrong with sumdb.head_path; that was told.
        let settings = LogSettings { head_path: None, ..log_settings(&self.config) };
        let reading = spawn_blocking(move || match log {
            Some(log) => log.archived(&stop).map(Some),
            None => Log::look(&data, &settings, &stop)?.map(|log| log.archived(&stop)).transpose(),
        });
        match reading.await.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))? {
            Err(OpenError::Stopped) => Err(OperationError::Ending("no backup was taken".to_owned())),
            read => Ok(read),
        }
    }
}

/// Sends what is written.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
