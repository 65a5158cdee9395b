//! What came from upstream, on disk: whatever was had once is had again, also with the upstream dead.
//!
//! A miss becomes one fill, however many ask; the fill completes before it is served. Answers that never change
//! are kept until evicted; the others, and absences, are fresh for a while, then asked again, and served stale
//! without limit while upstream fails. A failure is never an absence. What does not fit within `cache.max_size`, or
//! cannot be written, is passed through. The files' bytes, with those being filled, never exceed that bound.
//!
//! On disk, below the data folder: `cache/download/` and `cache/queries/` (see `place.rs`), `cache/aside/` (corrupt
//! files), `tmp/cache/` (fills).

pub mod body;
mod fill;
#[doc(hidden)] // For the bench alone.
pub mod index;
mod judge;
mod last_copy;
mod memo;
mod passing;
mod place;
mod shelf;
mod sweep;
mod verify;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

pub use body::{Body, OpenFile};
pub use index::Usage;
pub use sweep::{Garbage, GcReport, Purged, Swept};
pub use verify::{Finding, Verified};

use crate::config;
use crate::egress::{Denied, Gate};
use crate::module::version::escape_query;
use crate::module::{ModulePath, Version};
use crate::observe::spawn_blocking;
use crate::protocol::ModuleAsk;
use crate::store::{DataDir, Records};
use crate::upstream::{self, Upstream, UpstreamError};

use fill::{Filled, Flights};
use index::Bounds;
pub(crate) use place::Asset;
use shelf::{Content, Kept, NotKept, Shelf};

/// Below its `tmp/`: what is being filled.
const TMP_DIR: &str = "cache";

/// How an answer came about (RFC 9211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// From the cache.
    Hit,
    /// From upstream, and kept.
    Miss,
    /// From the cache though not fresh any more: upstream failed.
    Stale,
    /// From upstream, and not kept.
    Bypass,
}

impl CacheStatus {
    /// For logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
        }
    }
}

impl fmt::Display for CacheStatus {
    /// The value of a `Cache-Status` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hit => "modgate; hit",
            Self::Miss => "modgate; fwd=miss",
            Self::Stale => "modgate; fwd=stale",
            Self::Bypass => "modgate; fwd=bypass",
        })
    }
}

/// An answer with a body.
#[derive(Debug)]
pub struct Cached {
    /// The body.
    pub body: Body,
    /// Its media type.
    pub content_type: &'static str,
    /// How it came about.
    pub status: CacheStatus,
    /// Its entity tag, quoted, where there is one.
    pub etag: Option<String>,
}

/// Upstream says that it does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// 404 or 410.
    pub code: u16,
    /// What to tell the client: plain text, at most 600 bytes and 8 lines.
    pub text: String,
    /// How this came about.
    pub status: CacheStatus,
}

/// What a question came to.
#[derive(Debug)]
pub enum Resolved {
    /// It is there.
    Found(Cached),
    /// It is not.
    Absent(Absence),
}

/// Why there is no answer. None of these is an absence.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CacheError {
    /// The path may not leave.
    #[error(transparent)]
    Denied(Arc<Denied>),
    /// Upstream was too slow.
    #[error(transparent)]
    Timeout(Arc<UpstreamError>),
    /// Upstream failed in another way.
    #[error(transparent)]
    Upstream(Arc<UpstreamError>),
    /// There is no upstream, and it is not cached.
    #[error("upstream is off, and this is not cached")]
    Off,
    /// It broke here.
    #[error("{0}")]
    Storage(String),
}

impl From<UpstreamError> for CacheError {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Off => Self::Off,
            UpstreamError::Denied(denied) => Self::Denied(Arc::new(denied)),
            UpstreamError::Timeout { .. } => Self::Timeout(Arc::new(error)),
            UpstreamError::Down(_)
            | UpstreamError::Status { .. }
            | UpstreamError::Failed { .. }
            | UpstreamError::Cut { .. }
            | UpstreamError::Redirect { .. }
            | UpstreamError::Malformed { .. } => Self::Upstream(Arc::new(error)),
        }
    }
}

impl CacheError {
    /// Whether a stale answer is better than this.
    fn is_outage(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Upstream(_) | Self::Off => true,
            Self::Denied(_) | Self::Storage(_) => false,
        }
    }
}

/// The cache cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the cache in {dir}: {source}")]
pub struct OpenError {
    /// The data directory.
    pub dir: String,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// What time it is.
type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What is kept and what is being filled, whatever the settings: a process has one for its data directory. Cheap to clone.
#[derive(Clone)]
pub struct Stock {
    // Dropped before the data directory: it writes down what it knows.
    shelf: Arc<Shelf>,
    /// Keeps other processes out.
    data: Arc<DataDir>,
    gate: Arc<Gate>,
    records: Arc<dyn Records>,
    flights: Arc<Flights>,
    clock: Clock,
}

impl Stock {
    /// Opens what a data directory has, within the bounds of these settings, and removes what was being filled when the last process
    /// ended. Returns at once: how much is there is found out meanwhile, and evicted what is over the bound. Blocks on the disk. A
    /// directory is open once at a time.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(data: &Arc<DataDir>, config: &config::Cache, gate: Arc<Gate>, records: Arc<dyn Records>) -> Result<Self, OpenError> {
        Self::open_at(data, config, gate, records, Arc::new(SystemTime::now))
    }

    fn open_at(
        data: &Arc<DataDir>,
        config: &config::Cache,
        gate: Arc<Gate>,
        records: Arc<dyn Records>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let shelf = Shelf::open(&data.cache(), &data.index(), &data.tmp().join(TMP_DIR), data.disk().clone(), bounds(config))
            .map_err(|source| OpenError { dir: data.root().display().to_string(), source })?;
        Ok(Self { shelf: Arc::new(shelf), data: data.clone(), gate, records, flights: Arc::default(), clock })
    }

    /// Ends all writing: what comes from now on passes through. What is known of the files is written down, so that the
    /// next start need not look at each. Done when the last clone is dropped, too. Blocks on the disk.
    pub fn close(&self) {
        self.shelf.upkeep.close();
    }

    /// Holds to the bounds of other settings from now on: what is over is evicted now, and whatever is being filled is counted. Blocks on the disk.
    pub fn resize(&self, config: &config::Cache) {
        self.shelf.index.resize(bounds(config));
    }
}

fn bounds(config: &config::Cache) -> Bounds {
    Bounds { bytes_max: config.max_size, free_min: config.min_free }
}

/// The stock under one set of settings, and the only way through it to upstream. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    stock: Stock,
    upstream: Arc<Upstream>,
    fresh: Duration,
    not_found: Duration,
}

impl Cache {
    /// Ends all writing, as [`Stock::close`] says. Blocks on the disk.
    pub fn close(&self) {
        self.inner.stock.close();
    }

    /// The stock under these settings. A fill goes on by the way upstream that it began with; whether it may make another attempt is
    /// for the stock's gate to say. The bounds are not looked at: they are the stock's.
    pub fn new(stock: Stock, config: &config::Cache, upstream: Arc<Upstream>) -> Self {
        Self { inner: Arc::new(Inner { stock, upstream, fresh: config.fresh, not_found: config.not_found }) }
    }

    /// Answers a question about a public module. `principal`: for whom, as it stands in the egress ledger.
    ///
    /// Nothing goes out without the policy's permit for `path`, asked anew for every attempt; what is cached is
    /// answered without asking it, so whoever calls has judged the path first.
    ///
    /// # Errors
    ///
    /// [`CacheError`].
    pub async fn resolve(&self, path: &ModulePath, ask: &ModuleAsk, principal: &str) -> Result<Resolved, CacheError> {
        let never = match ask {
            ModuleAsk::Alias(_) | ModuleAsk::NoVersion(_) => true,
            ModuleAsk::Query(query) => escape_query(query).is_err(),
            ModuleAsk::List | ModuleAsk::Latest | ModuleAsk::Info(_) | ModuleAsk::Mod(_) | ModuleAsk::Zip(_) => false,
        };
        if never {
            let text = format!("not found: {path}: not a version\n");
            return Ok(Resolved::Absent(Absence { code: 404, text, status: CacheStatus::Miss }));
        }
        self.get(Asset::Module(path.clone(), ask.clone()), principal).await
    }

    /// Answers for any asset.
    pub(crate) async fn get(&self, asset: Asset, principal: &str) -> Result<Resolved, CacheError> {
        let stale = match self.inner.look_up(&asset).await {
            Some((kept, true)) => return Ok(resolved(&asset, kept, CacheStatus::Hit)),
            Some((kept, false)) => Some(kept),
            None => None,
        };
        let mut landed = self.inner.filled(&asset, principal).await;
        if let Ok(Filled::Passing(slot)) = &landed {
            let body = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(body) = body {
                return Ok(passing(&asset, body));
            }
            landed = self.inner.fetch(&asset, principal, false).await;
        }
        match landed {
            Ok(Filled::Fresh(kept)) => Ok(resolved(&asset, kept, CacheStatus::Hit)),
            Ok(Filled::Came { kept, stored: true }) => Ok(resolved(&asset, kept, CacheStatus::Miss)),
            Ok(Filled::Came { kept, stored: false }) => Ok(resolved(&asset, kept, CacheStatus::Bypass)),
            Ok(Filled::Passing(slot)) => match slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(body) => Ok(passing(&asset, body)),
                None => Err(CacheError::Storage("a body was taken twice".to_owned())),
            },
            Err(e) => match stale.filter(|_| e.is_outage()) {
                Some(kept) => Ok(resolved(&asset, kept, CacheStatus::Stale)),
                None => Err(e),
            },
        }
    }

    /// Ends the fills that are under way, soon: whoever waits for one gets an error, and what was staged is removed. For the end of the
    /// process, when nobody waits any more and the next one waits for the directory.
    pub fn abandon_fills(&self) {
        self.inner.stock.flights.abandon();
    }

    /// How much is there.
    pub fn usage(&self) -> Usage {
        self.inner.stock.shelf.index.usage()
    }

    /// Drops everything that is kept of a module, or of one version of it. That it is known stays. Blocks on the disk, and
    /// until all files are known.
    pub fn purge(&self, path: &ModulePath, version: Option<&Version>) -> Purged {
        self.inner.stock.shelf.purge(path, version)
    }

    /// What is of no use any more, and what upstream has no more. Blocks as [`Cache::purge`].
    pub fn gc_report(&self) -> GcReport {
        self.inner.stock.shelf.gc((self.inner.stock.clock)(), false)
    }

    /// Removes what is of no use any more, and tells what went. Blocks as [`Cache::purge`].
    pub fn gc(&self) -> GcReport {
        self.inner.stock.shelf.gc((self.inner.stock.clock)(), true)
    }

    /// Re-reads everything that is kept. What is not as it was written is set aside, and found. Blocks on the disk.
    pub fn verify(&self) -> Verified {
        self.inner.stock.shelf.verify()
    }
}

impl Inner {
    async fn look_up(&self, asset: &Asset) -> Option<(Kept, bool)> {
        let (shelf, asset, now) = (self.stock.shelf.clone(), asset.clone(), (self.stock.clock)());
        let (fresh, not_found) = (self.fresh, self.not_found);
        let looked = spawn_blocking(move || shelf.look_up(&asset, now, fresh, not_found)).await;
        looked.unwrap_or_default()
    }

    async fn on_disk<T: Send + 'static>(&self, run: impl FnOnce(&Shelf) -> Result<T, NotKept> + Send + 'static) -> Result<T, NotKept> {
        // Whoever waits for this may go away: what is being written keeps the directory ours until it is done.
        let (shelf, data) = (self.stock.shelf.clone(), self.stock.data.clone());
        let on_disk = spawn_blocking(move || {
            let ran = run(&shelf);
            drop(data);
            ran
        });
        on_disk.await.unwrap_or(Err(NotKept::Broken))
    }
}

fn resolved(asset: &Asset, kept: Kept, status: CacheStatus) -> Resolved {
    match kept {
        Kept::Found { content, etag } => {
            let body = match content {
                Content::Bytes(bytes) => Body::Bytes(bytes),
                Content::File { file, from, len } => Body::File { file, from, len },
            };
            Resolved::Found(Cached { body, content_type: content_type(asset), status, etag })
        }
        Kept::Absent(upstream::Absent { status: code, text }) => Resolved::Absent(Absence { code, text, status }),
    }
}

fn passing(asset: &Asset, body: Body) -> Resolved {
    Resolved::Found(Cached { body, content_type: content_type(asset), status: CacheStatus::Bypass, etag: None })
}

fn content_type(asset: &Asset) -> &'static str {
    match asset {
        Asset::Module(_, ask) => ask.media_type(),
        Asset::Sumdb(_, what) => what.media_type(),
    }
}
