//! A full client of the public checksum database, as `sumdb.Client` of x/mod is one: the note is signed, its head is of the same log as
//! every head before, and the log holds the record. Then, and only then, the look-up is kept.
//!
//! One that is kept is therefore believed, without another question. What a database says is asked for by way of the cache without a
//! voucher, and not believed for being there: tiles are proven at every use, or remembered as proven.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::database::Database;
use super::flights::Flights;
use super::heads::{Fork, View};
use super::tiles::Unproven;
use crate::cache::{Asker, Asset, Body, Cache, CacheError, CacheStatus, Cached, Resolved, Vouch, VouchError, Vouched};
use crate::module::{ModulePath, Version};
use crate::observe::audit::{Actor, Audit, Event};
use crate::observe::metrics::{SumdbMetrics, SumdbOutcome};
use crate::protocol::SumdbWhat;
use crate::tlog::{self, Head, Lookup, SignedHead};
use crate::upstream::UpstreamError;

/// The kind under which an answer that does not hold is recorded.
const KIND: &str = "checksum-database";

/// The client of one database, under one set of settings. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) database: Arc<Database>,
    pub(super) cache: Cache,
    audit: Audit,
    metrics: SumdbMetrics,
    records: Flights<(ModulePath, Version), Result<LookedUp, VouchError>>,
    heads: Flights<Head, Result<View, VouchError>>,
}

/// A look-up that was verified.
#[derive(Clone, Debug)]
pub struct LookedUp {
    /// What it says.
    pub vouched: Vouched,
    /// The database's answer, byte for byte.
    pub bytes: Bytes,
    /// The entity tag of that, where it is known by now.
    pub etag: Option<String>,
    /// How it came about: [`CacheStatus::Bypass`] where it could not be kept.
    pub status: CacheStatus,
}

impl Client {
    /// Of this database, asked by way of `cache`, which keeps no look-up by itself ([`Cache::for_database`]).
    pub fn new(database: Arc<Database>, cache: Cache, audit: Audit, metrics: SumdbMetrics) -> Self {
        Self { inner: Arc::new(Inner { database, cache, audit, metrics, records: Flights::default(), heads: Flights::default() }) }
    }

    /// The database.
    pub fn database(&self) -> &Arc<Database> {
        &self.inner.database
    }

    /// The verified look-up of a version: one that is kept, else the database is asked, once for all who ask at the same time. Kept when
    /// this returns, if it could be. A fork stops those that are not kept already.
    ///
    /// # Errors
    ///
    /// [`VouchError`].
    pub async fn look_up(&self, path: &ModulePath, version: &Version, principal: &str) -> Result<LookedUp, VouchError> {
        if let Some(kept) = self.inner.kept(path, version).await? {
            self.inner.metrics.looked_up(SumdbOutcome::Kept);
            return Ok(kept);
        }
        let (inner, key) = (self.inner.clone(), (path.clone(), version.clone()));
        let (path, version, principal) = (path.clone(), version.clone(), principal.to_owned());
        let find = async move { inner.find(&path, &version, &principal).await };
        let broken = || Err(VouchError::Storage("a look-up broke off".to_owned()));
        self.inner.records.join(key, find).await.unwrap_or_else(broken)
    }
}

#[async_trait]
impl Vouch for Client {
    fn database(&self) -> &str {
        self.inner.database.name()
    }

    fn identity(&self) -> String {
        self.inner.database.key().to_string()
    }

    async fn vouch(&self, path: &ModulePath, version: &Version, principal: &str) -> Result<Vouched, VouchError> {
        self.look_up(path, version, principal).await.map(|looked_up| looked_up.vouched)
    }

    fn admits(&self) -> Result<(), VouchError> {
        self.inner.view().map(drop)
    }
}

impl Inner {
    /// What is kept was verified before it was, by the key that signed it. What another key signed is dropped: here it says nothing.
    async fn kept(&self, path: &ModulePath, version: &Version) -> Result<Option<LookedUp>, VouchError> {
        let Some((bytes, etag)) = self.cache.kept_lookup(self.database.name(), path, version).await? else { return Ok(None) };
        let of = (path.clone(), version.clone());
        if let Some(vouched) = self.database.signed(&of, &bytes) {
            return Ok(Some(LookedUp { vouched, bytes, etag, status: CacheStatus::Hit }));
        }
        let read = || {
            let lookup = Lookup::parse(&bytes).ok()?;
            SignedHead::open(lookup.note, self.database.key()).ok()?;
            lookup.record.find(path, version)
        };
        match read() {
            Some(record) => {
                let vouched = Vouched { zip: record.zip, go_mod: record.go_mod };
                self.database.remember_signed(of, bytes.clone(), vouched);
                Ok(Some(LookedUp { vouched, bytes, etag, status: CacheStatus::Hit }))
            }
            None => {
                self.cache.drop_lookup(self.database.name(), path, version).await;
                Ok(None)
            }
        }
    }

    /// Asks the database, verifies, and keeps.
    async fn find(self: &Arc<Self>, path: &ModulePath, version: &Version, principal: &str) -> Result<LookedUp, VouchError> {
        // The flight before may have ended between our look and now.
        if let Some(kept) = self.kept(path, version).await? {
            return Ok(kept);
        }
        let found = self.asked(path, version, principal).await;
        self.metrics.looked_up(match &found {
            Ok(_) => SumdbOutcome::Verified,
            Err(error) => outcome(error),
        });
        if let Err(VouchError::Bad(why)) = &found {
            let asset = format!("{} lookup {path}@{version}", self.database.name());
            self.record_bad(&asset, why);
        }
        found
    }

    async fn asked(self: &Arc<Self>, path: &ModulePath, version: &Version, principal: &str) -> Result<LookedUp, VouchError> {
        self.view()?;
        let what = SumdbWhat::Lookup(path.clone(), version.clone());
        // A memo of the time when nobody verified is worth as much as what upstream says, and is older.
        let bytes = match self.get(what, Asker { principal, anew: true }).await? {
            Got::Found(bytes) => bytes,
            Got::Absent(text) => return Err(VouchError::Unknown(text)),
        };
        let vouched = self.verify(path, version, &bytes).await?;
        let kept = self.cache.keep_lookup(self.database.name(), path, version, bytes.clone()).await;
        let status = if kept { CacheStatus::Miss } else { CacheStatus::Bypass };
        Ok(LookedUp { vouched, bytes, etag: None, status })
    }

    async fn verify(self: &Arc<Self>, path: &ModulePath, version: &Version, bytes: &[u8]) -> Result<Vouched, VouchError> {
        let lookup = Lookup::parse(bytes).map_err(bad)?;
        let record =
            lookup.record.find(path, version).ok_or_else(|| bad(format!("record {}: not one record of {path}@{version}", lookup.id)))?;
        let shown = SignedHead::open(lookup.note.clone(), self.database.key()).map_err(bad)?;
        if lookup.id >= shown.head().size {
            return Err(bad(format!("record {} is not in its own tree of size {}", lookup.id, shown.head().size)));
        }
        loop {
            let view = self.follow(&shown).await?;
            self.include(&view, &lookup).await?;
            // Nobody is told before the head is on disk.
            self.database.heads.keep(view.head.size).await.map_err(|error| VouchError::Storage(error.to_string()))?;
            // What was proven was proven of the tree that was believed in then.
            if self.view()?.era == view.era {
                return Ok(Vouched { zip: record.zip, go_mod: record.go_mod });
            }
        }
    }

    /// Has the head follow from the newest, or the newest from it; together for all who were shown the same one.
    async fn follow(self: &Arc<Self>, shown: &SignedHead) -> Result<View, VouchError> {
        let view = self.view()?;
        if self.database.is_consistent(&view, shown.head()) {
            return Ok(view);
        }
        let (inner, shown) = (self.clone(), shown.clone());
        let key = *shown.head();
        let judge = async move { inner.judge(&shown).await };
        let broken = || Err(VouchError::Storage("judging a head broke off".to_owned()));
        self.heads.join(key, judge).await.unwrap_or_else(broken)
    }

    async fn judge(self: &Arc<Self>, shown: &SignedHead) -> Result<View, VouchError> {
        loop {
            let view = self.view()?;
            if self.database.is_consistent(&view, shown.head()) {
                return Ok(view);
            }
            let grows = shown.head().size > view.head.size;
            let (older, newer) = if grows { (view.head, *shown.head()) } else { (*shown.head(), view.head) };
            let (proven, tiles) = match self.prove(|tiles| tlog::consistency(&older, &newer, tiles)).await {
                Ok(proven) => proven,
                Err(Unproven::Fork(why)) if self.view()?.era == view.era => return Err(self.fork(shown, &why).await),
                Err(Unproven::Fork(_)) => continue,
                Err(Unproven::Failed(error)) => return Err(error),
            };
            // Of a head that does not become the newest nothing is known beside another that did.
            if grows && !self.database.heads.advance(&view, shown) {
                continue;
            }
            self.database.remember(&view, &proven.tiles, &tiles);
            self.database.remember_consistent(&view, shown.head());
            let now = self.view()?;
            if now.era == view.era {
                return Ok(now);
            }
        }
    }

    /// That the tree holds the record. The head of its look-up is of the same log and holds its number, and so holds it too.
    async fn include(self: &Arc<Self>, view: &View, lookup: &Lookup) -> Result<(), VouchError> {
        if self.database.leaf(lookup.id) == Some(lookup.record.hash()) {
            return Ok(());
        }
        match self.prove(|tiles| tlog::inclusion(&view.head, lookup.id, &lookup.record, tiles)).await {
            Ok((proven, tiles)) => {
                self.database.remember(view, &proven.tiles, &tiles);
                Ok(())
            }
            Err(Unproven::Fork(why)) => Err(bad(why)),
            Err(Unproven::Failed(error)) => Err(error),
        }
    }

    /// Stops everything, and tells it once.
    async fn fork(&self, shown: &SignedHead, why: &str) -> VouchError {
        let (fork, first) = self.database.heads.forked(shown).await;
        if first {
            let (kept, shown) = (fork.kept.head(), fork.shown.head());
            tracing::error!(
                database = self.database.name(),
                kept_size = kept.size,
                kept_root = %kept.root,
                shown_size = shown.size,
                shown_root = %shown.root,
                "the checksum database shows two trees ({why}): nothing new is taken from upstream until `modgate sumdb trust` decides"
            );
            let event = Event::SumdbFork {
                database: self.database.name().to_owned(),
                kept: fork.kept.head().into(),
                shown: fork.shown.head().into(),
            };
            self.audit.record_durably(&Actor::local("modgate"), &[event]).await;
        }
        forked(&fork)
    }

    /// The newest head, unless the database is forked.
    pub(super) fn view(&self) -> Result<View, VouchError> {
        self.database.heads.view().map_err(|fork| forked(&fork))
    }

    /// Asks by way of the cache.
    pub(super) async fn get(&self, what: SumdbWhat, asker: Asker<'_>) -> Result<Got, VouchError> {
        // Of a look-up whoever asked knows which.
        let of = if let SumdbWhat::Tile(tile) = &what { format!("{tile}: ") } else { String::new() };
        let asset = Asset::Sumdb(self.database.name().to_owned(), what);
        match self.cache.get(asset, asker).await {
            Ok(Resolved::Found(Cached { body: Body::Bytes(bytes), .. })) => Ok(Got::Found(bytes)),
            Ok(Resolved::Found(_)) => Err(bad(format!("{of}longer than any such answer may be"))),
            Ok(Resolved::Absent(absence)) => Ok(Got::Absent(absence.text)),
            // It was reached, and said something else.
            Err(CacheError::Upstream(error)) if matches!(*error, UpstreamError::Malformed { .. }) => Err(bad(format!("{of}{error}"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Records what does not hold.
    pub(super) fn record_bad(&self, asset: &str, why: &str) {
        let event = Event::Integrity { kind: KIND.to_owned(), path: asset.to_owned(), text: why.to_owned() };
        self.audit.record_first(&Actor::local("modgate"), &event);
    }
}

/// What the database, or the cache, has.
pub(super) enum Got {
    Found(Bytes),
    Absent(String),
}

pub(super) fn bad(why: impl Display) -> VouchError {
    VouchError::Bad(why.to_string())
}

fn forked(fork: &Fork) -> VouchError {
    let (kept, shown) = (fork.kept.head(), fork.shown.head());
    VouchError::Forked(format!("one of {} records, {}, and one of {}, {}", kept.size, kept.root, shown.size, shown.root))
}

fn outcome(error: &VouchError) -> SumdbOutcome {
    match error {
        VouchError::Unknown(_) => SumdbOutcome::Unknown,
        VouchError::Away(_) => SumdbOutcome::Away,
        VouchError::Bad(_) => SumdbOutcome::Bad,
        VouchError::Forked(_) => SumdbOutcome::Forked,
        VouchError::Denied(_) => SumdbOutcome::Denied,
        VouchError::Storage(_) => SumdbOutcome::Storage,
    }
}

#[cfg(test)]
mod tests;
