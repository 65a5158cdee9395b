//! Our own checksum database: an append-only log of what module versions hold, signed by a key of its own.
//!
//! One record a module version, for ever: the first that was appended is the log's word. `commit` is the one writer, and tells in
//! which order things become durable; `open` is what every start does, and what it refuses; `layout` is how it lies on the disk.
//! Reads never wait for a commit: they see the tree of the newest head, whole.
//!
//! Nobody is ever told of a record or a head that a later start does not have. With `head_path` that holds even where the
//! data directory is put back to an older copy: the start is refused then.

mod archive;
mod commit;
mod head_path;
mod index;
mod layout;
mod open;
mod own_name;
mod reread;
mod standing;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bytes::Bytes;
use moka::sync::Cache as Recent;
use tokio::sync::{mpsc, oneshot};

pub use archive::carry;
pub use head_path::{Yielded, folder as head_path_folder, set_aside as set_head_path_aside};
pub use layout::TileError;
pub use open::OpenError;
pub use own_name::OwnName;
pub use standing::LogFinding;

use self::commit::{Ask, Committer};
use self::index::Index;
use self::layout::Layout;
use self::open::Opened;
use crate::durable::DurableError;
use crate::module::{ModulePath, Version};
use crate::observe::spawn_blocking;
use crate::stop::Stop;
use crate::store::DataDir;
use crate::tlog::{GrowError, Lookup, Record, SignedHead, Tile, TileLevel, VerifierKey, write_data};

/// Records in one commit, and waiting for the next.
const BATCH_MAX: usize = 256;
/// Bytes of records that are remembered: some 17,000 of them.
const RECENT_BYTES_MAX: u64 = 8 << 20;
/// What one of these costs beside its names, about.
const RECENT_ENTRY_BYTES: usize = 450;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The host in the name of a log that is made now: without a port. One that is there keeps its name.
    pub host: String,
    /// A file that holds the newest head too, on a volume that does not go back in time with the data directory. Its folder exists.
    pub head_path: Option<PathBuf>,
}

/// The log does not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be written. What was to be appended may be in the log later all the same; asking again is safe.
    #[error("the checksum log: {0}")]
    Write(#[source] Arc<DurableError>),
    /// A tile of it cannot be read.
    #[error("the checksum log: {0}")]
    Tile(#[from] TileError),
    /// It does not grow.
    #[error("the checksum log: {0}")]
    Grow(#[from] GrowError),
    /// `head_path` does not hold the head that was written there last.
    #[error(
        "sumdb.head_path: {} is not as this gateway left it: its volume is gone, or another gateway with a copy of this log writes there; nothing is signed until it is put back, or a start has judged it", path.display()
    )]
    HeadPath {
        /// The file.
        path: PathBuf,
    },
    /// The process ends, or the log was opened to be read.
    #[error("the checksum log is closed")]
    Closed,
}

impl LogError {
    /// Whether there was no room on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Write(error) if error.is_full())
    }
}

impl From<DurableError> for LogError {
    fn from(error: DurableError) -> Self {
        Self::Write(Arc::new(error))
    }
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// What it says.
    pub record: Record,
}

/// What came of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// The record is in the log now.
    Added(Entry),
    /// The log held one of this version before, which may say something else: that is the log's word.
    Held(Entry),
}

impl Append {
    /// The log's word.
    pub fn entry(&self) -> &Entry {
        match self {
            Self::Added(entry) | Self::Held(entry) => entry,
        }
    }
}

/// What readers see.
struct Shared {
    layout: Layout,
    index: Index,
    head: ArcSwap<SignedHead>,
    /// Records that were read of late and are those that were committed, by their numbers: they never change.
    recent: Recent<u64, Arc<Record>>,
}

impl Shared {
    fn new(layout: Layout, index: Index, head: SignedHead) -> Self {
        let weigher = |_: &u64, record: &Arc<Record>| {
            let names = record.path.as_str().len() + record.version.as_str().len();
            u32::try_from(RECENT_ENTRY_BYTES + names).unwrap_or(u32::MAX)
        };
        let recent = Recent::builder().max_capacity(RECENT_BYTES_MAX).weigher(weigher).build();
        Self { layout, index, head: ArcSwap::from_pointee(head), recent }
    }

    fn find(&self, path: &ModulePath, version: &Version) -> Result<Option<Entry>, TileError> {
        let ids = self.index.find(path, version);
        if let Some(entry) = self.find_recent(&ids, path, version) {
            return Ok(Some(entry));
        }
        for id in ids {
            let Ok(record) = self.layout.record(id)?.as_str().parse::<Record>() else { continue };
            self.recent.insert(id, Arc::new(record.clone()));
            if record.path == *path && record.version == *version {
                return Ok(Some(Entry { id, record }));
            }
        }
        Ok(None)
    }

    /// The same for what was read of late, of the records with these numbers: without the disk.
    fn find_recent(&self, ids: &[u64], path: &ModulePath, version: &Version) -> Option<Entry> {
        ids.iter().find_map(|id| {
            let record = self.recent.get(id).filter(|record| record.path == *path && record.version == *version)?;
            Some(Entry { id: *id, record: Record::clone(&record) })
        })
    }

    fn tile(&self, tile: Tile) -> Result<Option<Bytes>, TileError> {
        if tile.width() > tile.width_in(self.head.load().head().size) {
            return Ok(None);
        }
        Ok(Some(match tile.level() {
            TileLevel::Hashes(_) => self.layout.hashes(tile)?,
            TileLevel::Data => write_data(&self.layout.records(tile, tile.width())?).into(),
        }))
    }
}

/// The log. Whoever holds it keeps the data directory open: when the last one drops it, that returns once the last commit is done.
pub struct Log {
    shared: Arc<Shared>,
    key: VerifierKey,
    head_path: Option<PathBuf>,
    queue: Option<mpsc::Sender<Ask>>,
    committer: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens the log in the data directory, or makes it where there is none. Blocks for as long as it takes to read all of it.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: above all, where what is there is not what was signed, or an older state of it.
    pub fn open(data: &Arc<DataDir>, settings: &LogSettings) -> Result<Self, OpenError> {
        let opened = open::open(data, settings)?;
        let (key, data_bytes) = (opened.key.clone(), opened.data_bytes);
        let mut log = Self::of(opened, settings.head_path.clone());
        let (queue, asks) = mpsc::channel(BATCH_MAX);
        let committer = Committer::new(Arc::clone(data), Arc::clone(&log.shared), key, data_bytes, settings.head_path.clone());
        let thread = std::thread::Builder::new().name("modgate-log".to_owned()).spawn(move || committer.run(asks));
        log.committer = Some(thread.map_err(OpenError::Thread)?);
        log.queue = Some(queue);
        Ok(log)
    }

    /// Opens the log to read it, if there is one. It is judged as a start would, and nothing is made or written. Blocks like [`Log::open`].
    ///
    /// # Errors
    ///
    /// Those of [`Log::open`]; [`OpenError::Stopped`] once `stop` is asked.
    pub fn look(data: &DataDir, settings: &LogSettings, stop: &Stop) -> Result<Option<Self>, OpenError> {
        // A head_path that a start would write anew, or bring up to date, was judged, and nobody has written it.
        Ok(open::look(data, settings, stop)?.map(|opened| Self::of(opened, None)))
    }

    fn of(opened: Opened, head_path: Option<PathBuf>) -> Self {
        let Opened { layout, key, head, index, .. } = opened;
        let shared = Arc::new(Shared::new(layout, index, head));
        Self { shared, key: key.verifier(), head_path, queue: None, committer: None }
    }

    /// The log's name and public key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The newest head. A later start has it, or one that holds it.
    pub fn latest(&self) -> Arc<SignedHead> {
        self.shared.head.load_full()
    }

    /// What the log says of a version.
    ///
    /// # Errors
    ///
    /// [`LogError::Tile`].
    pub async fn find(&self, path: &ModulePath, version: &Version) -> Result<Option<Entry>, LogError> {
        let ids = self.shared.index.find(path, version);
        let recent = self.shared.find_recent(&ids, path, version);
        if ids.is_empty() || recent.is_some() {
            return Ok(recent);
        }
        let (shared, path, version) = (Arc::clone(&self.shared), path.clone(), version.clone());
        Ok(spawn_blocking(move || shared.find(&path, &version)).await.map_err(|_| LogError::Closed)??)
    }

    /// Appends a record, unless the log has one of its version, which is answered at once, whatever is being written: durable, with a head
    /// that holds it, before this returns. Those that are asked at once share a commit. Whoever stops waiting does not stop it.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn append(&self, record: Record) -> Result<Append, LogError> {
        if let Some(entry) = self.find(&record.path, &record.version).await? {
            return Ok(Append::Held(entry));
        }
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(LogError::Closed)?;
        queue.send(Ask { record, reply }).await.map_err(|_| LogError::Closed)?;
        answer.await.map_err(|_| LogError::Closed)?
    }

    /// The answer to a look-up of this entry: with the newest head, whose tree holds it.
    pub fn lookup(&self, entry: &Entry) -> Lookup {
        Lookup { id: entry.id, record: entry.record.text(), note: self.latest().note().to_vec() }
    }

    /// The content of a tile; `None` where the tree has none so wide.
    ///
    /// # Errors
    ///
    /// [`LogError::Tile`].
    pub async fn tile(&self, tile: Tile) -> Result<Option<Bytes>, LogError> {
        let shared = Arc::clone(&self.shared);
        Ok(spawn_blocking(move || shared.tile(tile)).await.map_err(|_| LogError::Closed)??)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.committer.take() {
            // If it panicked, whoever waited was told so.
            let _ = thread.join();
        }
    }
}
