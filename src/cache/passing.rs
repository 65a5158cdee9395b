//! A body that is not kept: what was staged of it before that was known, and the rest as it arrives.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use crate::observe::spawn_blocking;
use crate::upstream::Incoming;

use super::Body;
use super::shelf::Staged;

/// Bytes read from the staged file at once.
const PIECE_BYTES: u64 = 256 << 10;

/// The way of the bytes: staged, then buffered, then incoming.
pub(super) struct Passing {
    staged: Option<(Staged, u64)>,
    buffered: VecDeque<Bytes>,
    incoming: Incoming,
    passed: u64,
    bytes_max: u64,
    /// The chunk before the one that is being asked for: the last one is held until all is known to be there.
    held: Option<Bytes>,
    ended: bool,
}

impl Passing {
    /// Makes no module known: nobody judges these bytes.
    pub(super) fn body(staged: Option<Staged>, buffered: VecDeque<Bytes>, incoming: Incoming, bytes_max: u64) -> Body {
        let len = incoming.len;
        let staged = staged.map(|staged| (staged, 0));
        let passing = Self { staged, buffered, incoming, passed: 0, bytes_max, held: None, ended: false };
        let stream = futures::stream::try_unfold(passing, |mut passing| async {
            let chunk = passing.next().await?;
            Ok(chunk.map(|chunk| (chunk, passing)))
        });
        Body::Stream { len, stream: Box::pin(stream) }
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.ended {
            match self.arriving().await? {
                Some(chunk) => {
                    if let Some(before) = self.held.replace(chunk) {
                        return Ok(Some(before));
                    }
                }
                None => self.ended = true,
            }
        }
        Ok(self.held.take())
    }

    async fn arriving(&mut self) -> io::Result<Option<Bytes>> {
        let chunk = match self.staged_piece().await? {
            Some(chunk) => Some(chunk),
            None => match self.buffered.pop_front() {
                Some(chunk) => Some(chunk),
                None => self.incoming.chunk().await.map_err(io::Error::other)?,
            },
        };
        self.passed += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.passed > self.bytes_max {
            return Err(io::Error::other(self.incoming.malformed("longer than any such file may be")));
        }
        Ok(chunk)
    }

    async fn staged_piece(&mut self) -> io::Result<Option<Bytes>> {
        let Some((staged, at)) = self.staged.take() else { return Ok(None) };
        let len = (staged.len() - at).min(PIECE_BYTES);
        if len == 0 {
            return Ok(None);
        }
        let read = move || staged.read_at(at, len).map(|bytes| (staged, bytes));
        let (staged, bytes) = spawn_blocking(read).await.map_err(io::Error::other)??;
        self.staged = Some((staged, at + len));
        Ok(Some(bytes))
    }
}
