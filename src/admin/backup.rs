//! `backup`: the one command whose answer is no JSON but an archive, as it is made.

use std::io::{self, Write};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::{OperationError, Operations};
use crate::cache::Body;
use crate::observe::audit::{Actor, Event};
use crate::observe::spawn_blocking;
use crate::store::backup::Snapshot;

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

    /// What a backup made now holds.
    pub async fn snapshot(&self, actor: &Actor) -> Result<Snapshot, OperationError> {
        let snapshot = self.stores.backup.snapshot().await?;
        self.audit.record_durably(actor, &[Event::Backup { versions: snapshot.versions() }]).await;
        Ok(snapshot)
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
