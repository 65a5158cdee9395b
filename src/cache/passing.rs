//! A body that is not kept: what was staged of it before that was known, and the rest as it arrives. Where somebody is to vouch for it,
//! it is hashed as it passes, and so much of its end is held back that no zip could be read without it.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use crate::module::zip::StreamHasher;
use crate::observe::spawn_blocking;
use crate::upstream::Incoming;

use super::Body;
use super::shelf::Staged;
use super::witness::Witness;

/// Bytes read from the staged file at once.
const PIECE_BYTES: u64 = 256 << 10;
/// Bytes hashed at once.
const HASH_BYTES: usize = 256 << 10;
/// The end of a zip that is to be vouched for: an end record, with the longest comment. No reader finds the directory without it.
pub(super) const END_BYTES: usize = 22 + u16::MAX as usize;

/// The way of the bytes: staged, then buffered, then incoming.
pub(super) struct Passing {
    staged: Option<(Staged, u64)>,
    buffered: VecDeque<Bytes>,
    incoming: Incoming,
    passed: u64,
    bytes_max: u64,
    /// What has arrived and is not given out: the last chunk, until all is known to be there, and before a verdict the end.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    trial: Option<Trial>,
    ended: bool,
}

/// The hash of what passes, and what it is to be.
struct Trial {
    witness: Witness,
    /// None while it is at work.
    hasher: Option<Box<StreamHasher>>,
    unhashed: Vec<Bytes>,
    unhashed_bytes: usize,
}

impl Passing {
    /// Makes no module known: without a witness nobody judges these bytes.
    pub(super) fn body(
        staged: Option<Staged>,
        buffered: VecDeque<Bytes>,
        incoming: Incoming,
        bytes_max: u64,
        witness: Option<Witness>,
    ) -> Body {
        let len = incoming.len;
        let staged = staged.map(|staged| (staged, 0));
        let trial = witness.map(Trial::new);
        let (held, held_bytes, passed, ended) = (VecDeque::new(), 0, 0, false);
        let passing = Self { staged, buffered, incoming, passed, bytes_max, held, held_bytes, trial, ended };
        let stream = futures::stream::try_unfold(passing, |mut passing| async {
            let chunk = passing.next().await?;
            Ok(chunk.map(|chunk| (chunk, passing)))
        });
        Body::Stream { len, stream: Box::pin(stream) }
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.ended && !self.is_enough_behind() {
            let chunk = self.arriving().await?;
            if let Some(trial) = &mut self.trial {
                trial.hear(chunk.as_ref(), self.incoming.host()).await?;
            }
            match chunk {
                Some(chunk) => {
                    self.held_bytes += chunk.len();
                    self.held.push_back(chunk);
                }
                None => self.ended = true,
            }
        }
        let chunk = self.held.pop_front();
        self.held_bytes -= chunk.as_ref().map_or(0, Bytes::len);
        Ok(chunk)
    }

    /// Whether so much is held that the first chunk of it may go.
    fn is_enough_behind(&self) -> bool {
        let Some(first) = self.held.front() else { return false };
        let behind = self.held_bytes - first.len();
        self.held.len() > 1 && (self.trial.is_none() || behind >= END_BYTES)
    }

    async fn arriving(&mut self) -> io::Result<Option<Bytes>> {
        let chunk = match self.staged_piece().await? {
            Some(chunk) => Some(chunk),
            None => match self.buffered.pop_front() {
                Some(chunk) => Some(chunk),
                None => self.incoming_chunk().await?,
            },
        };
        self.passed += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.passed > self.bytes_max {
            return Err(io::Error::other(self.incoming.malformed("longer than any such file may be")));
        }
        Ok(chunk)
    }

    /// The next chunk; that nobody vouches for it, once that is known.
    async fn incoming_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let Some(trial) = &self.trial else { return self.incoming.chunk().await.map_err(io::Error::other) };
        tokio::select! {
            biased;
            refused = trial.witness.refuses() => Err(io::Error::other(refused)),
            chunk = self.incoming.chunk() => chunk.map_err(io::Error::other),
        }
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

impl Trial {
    fn new(witness: Witness) -> Self {
        Self { witness, hasher: Some(Box::default()), unhashed: Vec::new(), unhashed_bytes: 0 }
    }

    /// The next chunk; or the end, which comes to a verdict.
    async fn hear(&mut self, chunk: Option<&Bytes>, from: &str) -> io::Result<()> {
        if let Some(chunk) = chunk {
            self.unhashed_bytes += chunk.len();
            self.unhashed.push(chunk.clone());
        }
        if chunk.is_some() && self.unhashed_bytes < HASH_BYTES {
            return Ok(());
        }
        self.unhashed_bytes = 0;
        let (unhashed, hasher) = (std::mem::take(&mut self.unhashed), self.hasher.take());
        let mut hasher = hasher.ok_or_else(|| io::Error::other("hashing broke off"))?;
        let hashing = spawn_blocking(move || unhashed.iter().try_for_each(|chunk| hasher.push(chunk)).map(|()| hasher));
        let undecided = |error| io::Error::other(self.witness.undecided(&error, from));
        let hasher = hashing.await.map_err(io::Error::other)?.map_err(undecided)?;
        if chunk.is_some() {
            self.hasher = Some(hasher);
            return Ok(());
        }
        let found = hasher.finish().map_err(undecided)?;
        self.witness.judge(found, from).await.map_err(io::Error::other)
    }
}
