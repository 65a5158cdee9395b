//! Our own checksum database: who is told what of it.
//!
//! A look-up obeys what the principal may see: of a module that is hosted and not in sight it has the very answer of one that is not
//! there. It is the same at every base: of several owners' bases in its GOPROXY the go command asks the first, for all modules. The newest
//! head and hash tiles hold nothing but hashes, and are for whoever may read at all; data tiles hold every name.

use std::sync::Arc;

use moka::sync::Cache as Memory;
use tracing::Instrument as _;

use super::{Answer, Caller, Gateway, Refusal, View, given_out};
use crate::cache::{Asker, CacheError, Known};
use crate::egress::{Denied, Verdict};
use crate::hosted::{Recorded, Sight};
use crate::module::{ModulePath, OwnerName, Version};
use crate::observe::audit::{Actor, Audit, Event};
use crate::observe::chain;
use crate::observe::metrics::{LogMetrics, OwnerClass};
use crate::protocol::{Base, SumdbWhat};
use crate::sumdb::log::{Append, Entry, Log, LogError};
use crate::tlog::{Record, Tile, TileLevel};

/// Numbers of records that are remembered as public: a few megabytes.
const PUBLIC_MAX: u64 = 65_536;

/// Our own checksum database, and where it is told what it did.
#[derive(Clone)]
pub struct OwnDatabase {
    /// The log.
    pub log: Arc<Log>,
    /// What was recorded without anyone who vouched for it.
    pub audit: Audit,
    /// Numbers.
    pub metrics: LogMetrics,
    /// Records of versions that nothing hosted was sealed as when they were there already: they are copies of public ones for good.
    public: Memory<u64, ()>,
}

impl OwnDatabase {
    /// Over this log.
    pub fn new(log: Arc<Log>, audit: Audit, metrics: LogMetrics) -> Self {
        Self { log, audit, metrics, public: Memory::new(PUBLIC_MAX) }
    }

    /// The last part of its name.
    fn hash(&self) -> &str {
        self.log.key().name().rsplit('/').next().unwrap_or_default()
    }

    /// The log's word on a version, which may be another than this record. `first_use`: nobody vouched for it.
    async fn append(&self, record: Record, first_use: bool, actor: &Actor) -> Result<Entry, Refusal> {
        let entry = match self.log.find(&record.path, &record.version).await? {
            Some(entry) => entry,
            None => self.append_anew(record.clone(), first_use, actor).await?,
        };
        if entry.record != record {
            let Record { path, version, .. } = &record;
            tracing::warn!(%path, %version, "our checksum database has another record of this version, which stands: clients refuse it");
        }
        Ok(entry)
    }

    /// The same where the log had none a moment ago. Done to its end, whoever waits.
    async fn append_anew(&self, record: Record, first_use: bool, actor: &Actor) -> Result<Entry, Refusal> {
        let (this, actor) = (self.clone(), actor.clone());
        let appending = async move {
            if first_use {
                // Before: whatever fails from here on, the log has no such record that the trail does not tell of.
                let Record { path, version, zip, go_mod } = record.clone();
                this.audit.record_durably(&actor, &[Event::SumdbFirstUse { path, version, zip, go_mod }]).await;
            }
            this.log.append(record).await
        };
        let append: Result<Append, LogError> =
            tokio::spawn(appending.in_current_span()).await.map_err(|stopped| Refusal::Storage(chain(&stopped)))?;
        Ok(append?.entry().clone())
    }

    async fn tile(&self, tile: Tile, caller: &Caller) -> Result<Answer, Refusal> {
        if tile.level() == TileLevel::Data && !caller.who.is_admin() {
            return Err(Refusal::Forbidden("data tiles hold the names of all modules: they are for admins".to_owned()));
        }
        let Some(content) = self.log.tile(tile).await? else {
            self.metrics.beyond();
            let size = self.log.latest().head().size;
            return Err(Refusal::Absent(format!("{tile} lies beyond the tree of this checksum database, which has {size} records")));
        };
        Ok(plain(SumdbWhat::Tile(tile).media_type(), content.to_vec()))
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        if error.is_full() { Self::FullAtFirst } else { Self::Storage(chain(&error)) }
    }
}

fn plain(media: &'static str, bytes: Vec<u8>) -> Answer {
    Answer { media, body: bytes.into(), cache: None, etag: None, owner: OwnerClass::None }
}

impl Gateway {
    /// Our own database, if this is its name.
    pub(super) fn own(&self, name: &str) -> Option<&OwnDatabase> {
        self.own.as_ref().filter(|own| own.log.key().name() == name)
    }

    /// What a client is told that has the key of another database at our host, which is not the public one: one that was given up. Its
    /// user reads this where an absence would say nothing.
    pub(super) fn renewed(&self, name: &str) -> Option<String> {
        let own = self.own.as_ref()?.log.key().name();
        let is_former = name != own
            && !self.sumdb.is_of(name)
            && name.rsplit_once('/').map(|(host, _)| host) == own.rsplit_once('/').map(|(host, _)| host);
        let told = || {
            format!(
                "the checksum database {name} is not served here any more: this gateway's is {own} now, with another key; ask whoever \
                 runs it why, and for the new GOSUMDB"
            )
        };
        is_former.then(told)
    }

    /// Answers for our own checksum database, asked by the last part of its name. `head`: only the head of the answer will be sent.
    pub async fn log(&self, hash: &str, what: &SumdbWhat, caller: &Caller, head: bool) -> Result<Answer, Refusal> {
        match self.own.as_ref().filter(|own| own.hash() == hash) {
            Some(own) => self.ask_own(own, &Base::Root, what, caller, head).await,
            None => Err(Refusal::Absent(format!("no checksum database {hash} is served here"))),
        }
    }

    /// Answers for our own checksum database.
    pub(super) async fn ask_own(
        &self,
        own: &OwnDatabase,
        base: &Base,
        what: &SumdbWhat,
        caller: &Caller,
        head: bool,
    ) -> Result<Answer, Refusal> {
        self.base(base, &caller.who)?;
        match what {
            SumdbWhat::Supported => Ok(plain(what.media_type(), Vec::new())),
            SumdbWhat::Latest => Ok(plain(what.media_type(), own.log.latest().note().to_vec())),
            SumdbWhat::Tile(tile) => own.tile(*tile, caller).await,
            SumdbWhat::Lookup(path, version) => {
                let body = match self.entry(own, path, version, caller, !head).await? {
                    Some(entry) => own.log.lookup(&entry).to_bytes(),
                    // It has no number yet, and is not given one for a HEAD.
                    None => Vec::new(),
                };
                Ok(plain(what.media_type(), body))
            }
        }
    }

    /// The record of a version that the caller may see; none of one that is hosted and was not given out, which is that now if `seal`.
    async fn entry(
        &self,
        own: &OwnDatabase,
        path: &ModulePath,
        version: &Version,
        caller: &Caller,
        seal: bool,
    ) -> Result<Option<Entry>, Refusal> {
        let Caller { who, actor, .. } = caller;
        let sees = |owner: &OwnerName| self.access.may_read(who, owner);
        let view = View { owner: None, sees: &sees, actor };
        match self.hosted.record(&view, path, version, seal).await.map_err(given_out)? {
            Recorded::Sealed(record) => return own.append(record, false, actor).await.map(Some),
            Recorded::Unsealed => return Ok(None),
            Recorded::Missing(text) => return Err(Refusal::Absent(text)),
            Recorded::NotHosted => {}
        }
        let verdict = self.policy.decide(path).await?;
        if !verdict.is_public() {
            return Err(self.miss(&view, verdict, self.reader(caller)).await);
        }
        if let Some(entry) = own.log.find(path, version).await?
            && self.is_for(own, &entry, &view).await?
        {
            return Ok(Some(entry));
        }
        let asker = Asker { principal: who.text(), anew: false };
        let (vouched, first_use) = match self.cache.known(path, version, asker).await {
            Ok(Known::Vouched(vouched)) => (vouched, false),
            Ok(Known::FirstUse(vouched)) => (vouched, true),
            Ok(Known::Absent(absence)) => return Err(Refusal::NotUpstream(absence)),
            // Published here, or claimed, since it was judged above.
            Err(CacheError::Denied(denied)) => {
                return Err(match &*denied {
                    Denied::Private(verdict) => self.miss(&view, Verdict::clone(verdict), self.reader(caller)).await,
                    Denied::Store(error) => error.into(),
                });
            }
            Err(error) => return Err(self.refuse(error)),
        };
        let record = Record { path: path.clone(), version: version.clone(), zip: vouched.zip, go_mod: vouched.go_mod };
        let entry = own.append(record.clone(), first_use, actor).await?;
        // Also where something was sealed since it was looked for.
        if entry.record != record && !self.is_for(own, &entry, &view).await? {
            return Err(Refusal::Absent(format!("{path} {version} has no record here that is for you")));
        }
        Ok(Some(entry))
    }

    /// Whether a record is for whoever may see its path, which may leave now: what was an owner's when it was recorded is still theirs.
    async fn is_for(&self, own: &OwnDatabase, entry: &Entry, view: &View<'_>) -> Result<bool, Refusal> {
        if own.public.contains_key(&entry.id) {
            return Ok(true);
        }
        let sight = self.hosted.sight_of_seal(view, &entry.record.path, &entry.record.version).await?;
        // A version is sealed before it is recorded, and stays sealed.
        if sight == Sight::NoSeal {
            own.public.insert(entry.id, ());
        }
        Ok(sight != Sight::OutOfSight)
    }
}
