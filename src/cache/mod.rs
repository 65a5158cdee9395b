//! What came from upstream, on disk: whatever was had once is had again, also with the upstream dead.
//!
//! A miss becomes one fill, however many ask; the fill completes before it is served. Answers that never change
//! are kept until evicted. The others are fresh for a while; then they are served once more while upstream is asked, up
//! to an age past which it is asked first; absences are fresh for a while and then asked again. While upstream fails all
//! are served whatever their age, and of a module's lists what the cache holds is made good use of (see `offline.rs`).
//! A failure is never an absence. What does not fit within `cache.max_size`, or cannot be written, is passed through. The
//! files' bytes, with those being filled, never exceed that bound. Small answers are kept in memory as well.
//!
//! On disk, below the data folder: `cache/download/`, `cache/queries/` and `cache/absent/` (see `place.rs`), `cache/aside/`
//! (corrupt files), `tmp/cache/` (fills).

mod answer;
pub mod body;
mod check;
mod fill;
mod first_use;
mod freshness;
pub mod index;
mod judge;
mod last_copy;
mod look_up;
mod lookups;
mod memo;
mod memory;
mod offline;
mod passing;
mod place;
mod queue;
mod recheck;
mod renew;
mod shelf;
mod sweep;
mod take;
mod trust;
mod verdicts;
mod verify;
mod versions;
mod vouch;
mod voucher;
mod witness;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

pub use answer::{Absence, CacheError, CacheStatus, Cached, Resolved};
pub use body::{Body, OpenFile};
pub use first_use::Known;
pub use index::Usage;
pub use memory::MemoryUsage;
pub use recheck::{FIRST_REST, Rounds};
pub use renew::Renewed;
pub use sweep::{Garbage, GcReport, Purged, Swept};
pub use verify::{Finding, Verified};
pub use vouch::{Mismatch, NoDatabase, Part, Unvouched, Vouch, VouchError, Vouched};

use crate::config::{self, Sourced};
use crate::durable::Shortage;
use crate::egress::Gate;
use crate::module::version::escape_query;
use crate::module::{ModulePath, Pattern, Version};
use crate::observe::audit::Audit;
use crate::observe::metrics::{Metrics, UpstreamRole};
use crate::observe::spawn_blocking;
use crate::protocol::ModuleAsk;
use crate::stop::Stop;
use crate::store::{DataDir, GiveWay, Records};
use crate::upstream::{self, Upstream};

use fill::{Filled, Flights};
use freshness::{Age, Terms};
use index::{Bounds, Index};
use look_up::LookUpError;
use memory::Memory;
pub(crate) use place::Asset;
use queue::Queue;
pub(crate) use shelf::DAMAGED;
use shelf::{Answer, Content, Kept, NotKept, Shelf};
use trust::Trust;
use verdicts::Verdicts;
use voucher::{Voucher, Vouchers};

/// Below its `tmp/`: what is being filled.
const TMP_DIR: &str = "cache";

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
    memory: Arc<Memory>,
    gate: Arc<Gate>,
    records: Arc<dyn Records>,
    flights: Arc<Flights>,
    /// Transfers of modules.
    queue: Arc<Queue>,
    /// Transfers from checksum databases: a file that has its turn waits for its record, which must not wait for files.
    sumdb_queue: Arc<Queue>,
    verdicts: Verdicts,
    vouchers: Vouchers,
    clock: Clock,
}

impl Stock {
    /// Opens what a data directory has, within the bounds of these settings, and removes what was being filled when the last process
    /// ended. Returns at once: how much is there is found out meanwhile, and evicted what is over the bound. Blocks on the disk. A
    /// directory is open once at a time. Files that are set aside are recorded in `audit`.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(
        data: &Arc<DataDir>,
        config: &config::Cache,
        gate: Arc<Gate>,
        records: Arc<dyn Records>,
        metrics: &Metrics,
        audit: Audit,
    ) -> Result<Self, OpenError> {
        Self::open_at(data, config, gate, records, metrics, audit, Arc::new(SystemTime::now))
    }

    fn open_at(
        data: &Arc<DataDir>,
        config: &config::Cache,
        gate: Arc<Gate>,
        records: Arc<dyn Records>,
        metrics: &Metrics,
        audit: Audit,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let shelf =
            Shelf::open(&data.cache(), &data.index(), &data.tmp().join(TMP_DIR), data.disk().clone(), bounds(config), audit.clone())
                .map_err(|source| OpenError { dir: data.root().display().to_string(), source })?;
        Ok(Self {
            shelf: Arc::new(shelf),
            data: data.clone(),
            memory: Arc::new(Memory::new(config.memory)),
            gate,
            records,
            flights: Arc::default(),
            queue: Arc::new(Queue::new(queue::TRANSFERS_MAX, metrics.fills.clone())),
            sumdb_queue: Arc::new(Queue::new(queue::TRANSFERS_MAX, metrics.fills.clone())),
            verdicts: Verdicts::new(audit, metrics.verify.clone()),
            vouchers: Vouchers::default(),
            clock,
        })
    }

    /// What is kept for an asset: in memory, else on disk.
    ///
    /// # Errors
    ///
    /// [`LookUpError`]
    async fn look_up(&self, asset: &Asset) -> Result<Option<Arc<Answer>>, LookUpError> {
        if let Some(answer) = self.memory.get(asset) {
            // It counts as used on disk, too; and is gone if it is gone there.
            if self.shelf.index.is_known(&answer.key) {
                return Ok(Some(answer));
            }
            self.memory.forget(asset);
        }
        let (shelf, memory, asset) = (self.shelf.clone(), self.memory.clone(), asset.clone());
        let looked = spawn_blocking(move || {
            let before = memory.before(&asset);
            let looked = match shelf.look_up(&asset) {
                Ok(looked) => looked,
                Err(unreadable) => return Err(LookUpError::Unreadable { asset, unreadable }),
            };
            let Some(answer) = looked.map(|(answer, _)| Arc::new(answer)) else { return Ok(None) };
            memory.put(&asset, &answer, before);
            Ok(Some(answer))
        });
        looked.await?
    }

    async fn on_disk<T: Send + 'static>(&self, run: impl FnOnce(&Shelf) -> Result<T, NotKept> + Send + 'static) -> Result<T, NotKept> {
        // Whoever waits for this may go away: what is being written keeps the directory ours until it is done.
        let (shelf, data) = (self.shelf.clone(), self.data.clone());
        let on_disk = spawn_blocking(move || {
            let ran = run(&shelf);
            drop(data);
            ran
        });
        on_disk.await.unwrap_or(Err(NotKept::Broken))
    }

    /// Ends all writing: what comes from now on passes through. What is known of the files is written down, so that the
    /// next start need not look at each. Done when the last clone is dropped, too. Blocks on the disk.
    pub fn close(&self) {
        self.shelf.upkeep.close();
    }

    /// Gives way to what is published, where the disk is full.
    pub fn gives_way(&self) -> GiveWay {
        let index = self.shelf.index.clone();
        Box::new(move |short| index.give_way(short))
    }

    /// Holds to the bounds of other settings from now on: what is over is evicted now, and whatever is being filled is counted. Blocks on
    /// the disk.
    pub fn resize(&self, config: &config::Cache) {
        self.shelf.index.resize(bounds(config));
    }

    /// Changes an asset's files, and has the memory follow.
    async fn write(&self, asset: &Asset, run: impl FnOnce(&Shelf, &Asset) -> Result<(), NotKept> + Send + 'static) -> Result<(), NotKept> {
        let (memory, asset) = (self.memory.clone(), asset.clone());
        let run = move |shelf: &Shelf| {
            let written = run(shelf, &asset);
            // Also when it failed: what stands there then may be the old or the new.
            memory.forget(&asset);
            written
        };
        self.on_disk(run).await
    }
}

/// Gives way to a start on a full disk, before any stock is open: evicts so much of what the data directory has cached, or what
/// there is of it. Looks at every file first, if the last process was killed. Blocks on the disk.
pub fn give_way(data: &DataDir, config: &config::Cache, short: Shortage) {
    tracing::warn!(bytes = short.bytes, inodes = short.inodes, "the disk is full: cached files go, as many as a start needs room for");
    if let Err(error) = Index::give_way_closed(&data.cache(), &data.index(), data.disk(), bounds(config), short) {
        tracing::warn!(%error, "cached files cannot give way");
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
    terms: Terms,
    /// `limits.queue`
    patience: Duration,
    trust: Trust,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// For whom, as it stands in the egress ledger.
    pub principal: &'a str,
    /// Upstream is to be asked first, however young the last answer is; what never changes is answered all the same.
    pub anew: bool,
}

impl Cache {
    /// Ends all writing, as [`Stock::close`] says. Blocks on the disk.
    pub fn close(&self) {
        self.inner.stock.close();
    }

    /// The stock under these settings. A fill goes on by the way upstream that it began with; whether it may make another attempt
    /// is for the stock's gate to say. `patience`: how long a fill may wait for its turn. The bounds on disk and memory are the
    /// stock's. Nothing is verified: `upstream.verify = "off"`.
    pub fn new(stock: Stock, config: &config::Cache, patience: Duration, upstream: Arc<Upstream>) -> Self {
        let terms = Terms { fresh: config.fresh, stale: config.stale, not_found: config.not_found };
        Self { inner: Arc::new(Inner { stock, upstream, terms, patience, trust: Trust::Unchecked }) }
    }

    /// The same for the client of a checksum database, which verifies what it asks for: a look-up is kept by [`Cache::keep_lookup`] alone.
    pub fn for_database(&self) -> Self {
        self.trusting(Trust::Database)
    }

    /// The same where `voucher` vouches for every zip and go.mod before its last byte is given out, and before it is kept; for all but
    /// the modules that `unverified` matches.
    pub fn vouched(&self, voucher: Arc<dyn Vouch>, unverified: &[Sourced<Pattern>]) -> Self {
        let voucher = Voucher { id: self.inner.stock.vouchers.id(&*voucher), asked: voucher };
        self.trusting(Trust::Required { voucher, unverified: unverified.into() })
    }

    fn trusting(&self, trust: Trust) -> Self {
        let Inner { stock, upstream, terms, patience, .. } = &*self.inner;
        Self { inner: Arc::new(Inner { stock: stock.clone(), upstream: upstream.clone(), terms: *terms, patience: *patience, trust }) }
    }

    /// Answers a question about a public module.
    ///
    /// Nothing goes out without the policy's permit for `path`, asked anew for every attempt; what is cached is
    /// answered without asking it, so whoever calls has judged the path first.
    ///
    /// # Errors
    ///
    /// [`CacheError`].
    pub async fn resolve(&self, path: &ModulePath, ask: &ModuleAsk, asker: Asker<'_>) -> Result<Resolved, CacheError> {
        let never = match ask {
            ModuleAsk::Alias(_) | ModuleAsk::NoVersion(_) => true,
            ModuleAsk::Query(query) => escape_query(query).is_err(),
            ModuleAsk::List | ModuleAsk::Latest | ModuleAsk::Info(_) | ModuleAsk::Mod(_) | ModuleAsk::Zip(_) => false,
        };
        if never {
            let text = format!("not found: {path}: not a version\n");
            return Ok(Resolved::Absent(Absence { code: 404, text, status: CacheStatus::Miss }));
        }
        self.get(Asset::Module(path.clone(), ask.clone()), asker).await
    }

    /// Answers for any asset.
    pub(crate) async fn get(&self, asset: Asset, asker: Asker<'_>) -> Result<Resolved, CacheError> {
        let inner = &self.inner;
        let kept = match inner.kept(&asset, asker.principal).await {
            Err(error) if error.is_of_the_file() => return inner.instead(&asset, asker, error).await,
            looked => looked?,
        };
        if let Some(answer) = &kept
            && (!asker.anew || answer.at.is_none())
        {
            match inner.age(&asset, answer) {
                Age::Fresh => return Ok(resolved(&asset, answer.kept.clone(), CacheStatus::Hit)),
                Age::Stale => {
                    // It runs by itself: nobody waits for it.
                    drop(inner.flight(&asset, asker.principal, false));
                    return Ok(inner.stale(&asset, answer).await);
                }
                Age::Old => {}
            }
        }
        match inner.from_upstream(&asset, asker).await {
            Err(e) if e.is_outage() => inner.offline(&asset, kept.as_deref()).await?.ok_or(e),
            // Upstream has it, so that an absence would be a lie.
            Err(e) if e.is_unverifiable() => match kept {
                Some(answer) if matches!(answer.kept, Kept::Found { .. }) => Ok(resolved(&asset, answer.kept.clone(), CacheStatus::Stale)),
                _ => Err(e),
            },
            answered => answered,
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

    /// Whether nothing new is kept because less of the file system is free than `cache.min_free`, whatever would be evicted.
    pub fn is_paused(&self) -> bool {
        self.inner.stock.shelf.index.is_paused()
    }

    /// How much of it is in memory.
    pub fn memory_usage(&self) -> MemoryUsage {
        self.inner.stock.memory.usage()
    }

    /// Drops everything that is kept of a module, or of one version of it. That it is known stays. Blocks on the disk, and
    /// until all files are known.
    pub fn purge(&self, path: &ModulePath, version: Option<&Version>) -> Purged {
        self.inner.stock.shelf.purge(path, version)
    }

    /// What is of no use any more, and what upstream has no more. Blocks as [`Cache::purge`]. Ends early, with what it has
    /// found, once `stop` is asked.
    pub fn gc_report(&self, stop: &Stop) -> GcReport {
        self.inner.stock.shelf.gc((self.inner.stock.clock)(), false, stop)
    }

    /// Removes what is of no use any more, and tells what went. Blocks as [`Cache::purge`]. Ends early, with what went,
    /// once `stop` is asked.
    pub fn gc(&self, stop: &Stop) -> GcReport {
        self.inner.stock.shelf.gc((self.inner.stock.clock)(), true, stop)
    }

    /// Re-reads everything that is kept. What is not as it was written, or not what its verified record says, is set aside, and found.
    /// Blocks on the disk. Ends early, with what it has found, once `stop` is asked.
    pub fn verify(&self, stop: &Stop) -> Verified {
        self.inner.stock.shelf.verify(self.inner.trust.database(), stop)
    }
}

impl Inner {
    fn age(&self, asset: &Asset, answer: &Answer) -> Age {
        self.terms.age(asset, answer, (self.stock.clock)())
    }

    /// From upstream, what is kept and cannot be read: what comes takes the place of the file. Otherwise that stays, and it is a
    /// failure; but a list is made of what is held, as where it was never asked for.
    async fn instead(self: &Arc<Self>, asset: &Asset, asker: Asker<'_>, error: LookUpError) -> Result<Resolved, CacheError> {
        tracing::warn!(%error, "a cached file cannot be read: upstream is asked for another copy");
        let mut made_instead = None;
        match self.from_upstream(asset, asker).await {
            // It is here: that upstream has it no more does not make it absent.
            Ok(Resolved::Absent(_)) if error.never_changes() => {}
            Err(e) if e.is_outage() => {
                // Not `@latest`: upstream's last word on that is here, and may be another than what is held.
                if let Asset::Module(_, ModuleAsk::List) = asset
                    && let Ok(Some(made)) = self.offline(asset, None).await
                {
                    made_instead = Some(made);
                }
            }
            answered => return answered,
        }
        // It may be readable the next time.
        error.key().into_iter().for_each(|key| self.stock.shelf.index.try_again(key));
        made_instead.ok_or_else(|| error.into())
    }

    /// What is not fresh any more, at once; while upstream is known to be away, with all that is known besides.
    async fn stale(&self, asset: &Asset, answer: &Answer) -> Resolved {
        let offline = match self.upstream.is_away(UpstreamRole::Modules) {
            true => self.offline(asset, Some(answer)).await,
            false => Ok(None),
        };
        offline
            .unwrap_or_else(|error| {
                tracing::warn!(%asset, %error, "the last answer is all that there is");
                None
            })
            .unwrap_or_else(|| resolved(asset, answer.kept.clone(), CacheStatus::Stale))
    }

    async fn from_upstream(self: &Arc<Self>, asset: &Asset, asker: Asker<'_>) -> Result<Resolved, CacheError> {
        let mut landed = self.filled(asset, asker.principal, asker.anew).await?;
        if let Filled::Passing { body, .. } = &landed {
            let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(body) = body {
                return Ok(passing(asset, body));
            }
            landed = self.fetch(asset, asker.principal, false).await?;
        }
        match landed {
            Filled::Fresh(answer) => Ok(resolved(asset, answer.kept.clone(), CacheStatus::Hit)),
            Filled::Came { kept, stored: true, .. } => Ok(resolved(asset, kept, CacheStatus::Miss)),
            Filled::Came { kept, stored: false, .. } => Ok(resolved(asset, kept, CacheStatus::Bypass)),
            Filled::Passing { body, .. } => match body.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(body) => Ok(passing(asset, body)),
                None => Err(CacheError::Storage("a body was taken twice".to_owned())),
            },
        }
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
