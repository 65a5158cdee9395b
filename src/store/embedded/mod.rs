//! The embedded default: files are the truth, sled is an index over them, one process works in the data directory.
//!
//! `records/` ([`truth`]) and `blobs/` ([`files`]) hold all that was promised; [`commit`] is the one writer and tells in which order
//! things become durable; [`sled`] answers questions and can be lost at any time; [`heal`] is what every start does.

mod commit;
mod decide;
mod effects;
mod event;
mod files;
mod heal;
mod ledger;
mod lost;
mod paths;
mod shared;
mod sled;
mod snapshot;
mod truth;
mod verify;

use std::fs::File;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

pub use heal::HealReport;

use self::commit::{Asked, BATCH_MAX, Committer, Op};
use self::decide::{Ask, DeleteVersion, MakeHostPublic, PutToken, ReleaseHost, ReleasePath, RevokeToken, SealVersion};
use self::effects::{decode, keys};
use self::event::HeldToken;
use self::files::{Files, Pinned};
use self::heal::Loaded;
use self::ledger::{Egress, Known, Noted};
use self::shared::Shared;
use super::{
    BlobId, Blobs, DataDir, Delete, Fresh, HostedIndex, HostedModule, KnownModules, Ledger, LedgerLine, MakePublic, MovePath, Moved,
    NewVersion, OpenError, Pin, Publish, Records, Release, Rev, Seal, SealedContent, Staged, StoreError, Stores, TokenHash, TokenRecord,
    VersionRecord,
};
use crate::module::{ModulePath, OwnerName, Version};
use crate::observe::spawn_blocking;

/// How long [`Records::writable`] believes what it saw.
const PROBE_TTL: Duration = Duration::from_secs(2);

/// Records and blobs in a [`DataDir`].
pub struct Embedded {
    shared: Arc<Shared>,
    egress: Arc<Egress>,
    known: Known,
    queue: Option<mpsc::Sender<Op>>,
    committer: Option<JoinHandle<()>>,
    /// When storage was last tried, and whether it took a write.
    probed: Mutex<Option<(Instant, Result<(), StoreError>)>>,
    data: Arc<DataDir>,
}

impl Embedded {
    /// Opens the stores, healing what crashes left. Blocks for as long as it takes to read all records.
    ///
    /// What is damaged and could not be ignored without forgetting a private path is an error; what is merely missing is a finding.
    pub fn open(data: &Arc<DataDir>) -> Result<(Stores, HealReport), OpenError> {
        let (Loaded { index, truth, paths, rev, told, .. }, mut report) = heal::start(data)?;
        let (queue, asks) = mpsc::channel(BATCH_MAX);
        // Weak: files outlive the committer's queue in pins that somebody holds.
        let wake: Arc<OnceLock<mpsc::WeakSender<Op>>> = Arc::new(OnceLock::from(queue.downgrade()));
        let wake = move || {
            if let Some(queue) = wake.get().and_then(mpsc::WeakSender::upgrade) {
                // Full: the committer is awake.
                let _ = queue.try_send(Op::Wake);
            }
        };
        let files = Arc::new(Files::new(data.blobs(), data.tmp(), data.disk().clone(), Box::new(wake)));
        heal::blobs(&told, &files, &mut report).map_err(|e| heal::open_error(data, e))?;
        let (egress, torn_egress) = Egress::open(&data.ledger(), data.disk(), &mut report.findings)?;
        let (known, torn_known) = Known::open(&data.ledger(), data.disk(), &mut report.findings)?;
        report.torn_lines += torn_egress + torn_known;
        let shared = Arc::new(Shared::new(index, Arc::clone(paths.index()), files));
        let committer = Committer::new(Arc::clone(data), Arc::clone(&shared), truth, paths, rev);
        let thread = std::thread::Builder::new().name("modgate-commit".to_owned()).spawn(move || committer.run(asks));
        let thread = thread.map_err(|e| OpenError::Unavailable { dir: data.root().to_owned(), source: e.into() })?;
        let store = Arc::new(Self {
            shared,
            egress: Arc::new(egress),
            known,
            queue: Some(queue),
            committer: Some(thread),
            probed: Mutex::new(None),
            data: Arc::clone(data),
        });
        Ok((Stores { records: store.clone(), blobs: store.clone(), verify: store.clone(), backup: store }, report))
    }

    async fn send(&self, op: Op) -> Result<(), StoreError> {
        self.queue.as_ref().ok_or_else(closed)?.send(op).await.map_err(|_| closed())
    }

    async fn ask<A: Ask>(&self, ask: A, pins: Vec<Pinned>) -> Result<A::Out, StoreError> {
        let (job, answer) = Asked::new(ask, pins);
        self.send(Op::Ask(job)).await?;
        answer.await.map_err(|_| closed())?
    }

    /// Runs `work` when nothing is half done.
    async fn between<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Committer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let work = move |committer: &mut Committer| {
            // Whoever asked may be gone.
            let _ = reply.send(work(committer));
        };
        self.send(Op::Between(Box::new(work))).await?;
        answer.await.map_err(|_| closed())?
    }
}

impl Drop for Embedded {
    /// Returns when the last commit is done and the files are closed.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.committer.take() {
            // If it panicked, whoever waited was told so.
            let _ = thread.join();
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    spawn_blocking(work).await.map_err(|e| StoreError::Unavailable(e.into()))?
}

#[async_trait]
impl Records for Embedded {
    async fn publish(&self, version: NewVersion) -> Result<Publish, StoreError> {
        // Whoever asks may go away, and its pins with it, before this is decided.
        let pins = vec![self.shared.files.pin(version.zip), self.shared.files.pin(version.go_mod)];
        self.ask(version, pins).await
    }

    async fn delete(&self, owner: &OwnerName, path: &ModulePath, version: &Version, by: &str) -> Result<Delete, StoreError> {
        let ask = DeleteVersion { owner: owner.clone(), path: path.clone(), version: version.clone(), rev: None, by: by.to_owned() };
        self.ask(ask, Vec::new()).await
    }

    async fn expire(&self, record: &VersionRecord, by: &str) -> Result<Delete, StoreError> {
        let VersionRecord { rev, owner, path, version, .. } = record.clone();
        self.ask(DeleteVersion { owner, path, version, rev: Some(rev), by: by.to_owned() }, Vec::new()).await
    }

    async fn move_path(&self, ask: MovePath) -> Result<Moved, StoreError> {
        self.ask(ask, Vec::new()).await
    }

    async fn seal(&self, record: &VersionRecord) -> Result<Seal, StoreError> {
        if self.shared.sealed.contains_key(&record.rev) {
            return Ok(Seal::Sealed { first: false });
        }
        let (shared, known) = (Arc::clone(&self.shared), record.clone());
        if blocking(move || shared.is_sealed(&known)).await? {
            return Ok(Seal::Sealed { first: false });
        }
        self.ask(SealVersion(record.clone()), Vec::new()).await
    }

    async fn sealed(&self, path: &ModulePath, version: &Version) -> Result<Option<SealedContent>, StoreError> {
        let (shared, path, version) = (Arc::clone(&self.shared), path.clone(), version.clone());
        let sealed = blocking(move || shared.read(|index| effects::seal(index, &path, &version))).await?;
        Ok(sealed.map(|event::Sealed { h1, go_mod_h1, owner, .. }| SealedContent { h1, go_mod_h1, owner }))
    }

    async fn release_host(&self, host: &str, by: &str) -> Result<Release, StoreError> {
        self.ask(ReleaseHost { host: host.to_ascii_lowercase(), by: by.to_owned() }, Vec::new()).await
    }

    async fn make_public(&self, host: &str, by: &str) -> Result<MakePublic, StoreError> {
        self.ask(MakeHostPublic { host: host.to_ascii_lowercase(), by: by.to_owned() }, Vec::new()).await
    }

    async fn release_path(&self, path: &ModulePath, by: &str) -> Result<Release, StoreError> {
        self.ask(ReleasePath { path: path.clone(), by: by.to_owned() }, Vec::new()).await
    }

    async fn module(&self, path: &ModulePath) -> Result<Option<Arc<HostedModule>>, StoreError> {
        if let Some(module) = self.shared.modules.get(path) {
            return Ok(Some(module));
        }
        let (shared, path) = (Arc::clone(&self.shared), path.clone());
        blocking(move || shared.module(&path)).await
    }

    async fn hosted_index(&self) -> Result<Fresh<HostedIndex>, StoreError> {
        Ok(Fresh::new(self.shared.hosted()))
    }

    fn changes(&self) -> watch::Receiver<Rev> {
        self.shared.changes.subscribe()
    }

    async fn ledger_first(&self, path: &ModulePath, principal: &str, rule: &str) -> Result<Ledger, StoreError> {
        Ok(match self.egress.first(path, principal, rule).await? {
            Noted::First => Ledger::First,
            Noted::Before => Ledger::Known,
        })
    }

    async fn ledger(&self, from: u64, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let egress = Arc::clone(&self.egress);
        blocking(move || egress.page(from, limit)).await
    }

    async fn known_put(&self, path: &ModulePath) -> Result<(), StoreError> {
        self.known.put(path).await
    }

    fn known(&self) -> Arc<dyn KnownModules> {
        self.known.modules()
    }

    async fn token_put(&self, token: TokenRecord) -> Result<Rev, StoreError> {
        self.ask(PutToken(token), Vec::new()).await
    }

    async fn token_revoke(&self, id: &str) -> Result<bool, StoreError> {
        self.ask(RevokeToken(id.to_owned()), Vec::new()).await
    }

    async fn token(&self, hash: &TokenHash) -> Result<Option<Arc<TokenRecord>>, StoreError> {
        let (shared, key) = (Arc::clone(&self.shared), keys::token(hash));
        let held = blocking(move || shared.read(|index| index.get(&key)?.as_deref().map(decode::<HeldToken>).transpose())).await?;
        Ok(held.map(|held| Arc::new(held.token)))
    }

    async fn tokens(&self) -> Result<Vec<Arc<TokenRecord>>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut held: Vec<HeldToken> = blocking(move || shared.all(keys::TOKENS)).await?;
        held.sort_by_key(|held| held.rev);
        Ok(held.into_iter().map(|held| Arc::new(held.token)).collect())
    }

    async fn writable(&self) -> Result<(), StoreError> {
        // Anybody may ask as often as they like. The lock makes those who come meanwhile wait for one answer.
        let mut probed = self.probed.lock().await;
        let known = probed.as_ref().filter(|(at, _)| at.elapsed() < PROBE_TTL);
        let answer = match known {
            Some((_, answer)) => answer.as_ref().copied().map_err(StoreError::again),
            None => self.between(Committer::probe).await,
        };
        if known.is_none() {
            *probed = Some((Instant::now(), answer.as_ref().copied().map_err(StoreError::again)));
        }
        answer
    }
}

#[async_trait]
impl Blobs for Embedded {
    async fn stage(&self) -> Result<Staged, StoreError> {
        let files = Arc::clone(&self.shared.files);
        let data = Arc::downgrade(&self.data);
        let stage = move || {
            // Whether there is room for a file, making it shows.
            let _ = data.upgrade().map(|data| data.make_room(0));
            let (file, path) = files.stage()?;
            Ok(Staged::new(file, path, data))
        };
        blocking(stage).await
    }

    async fn put(&self, id: BlobId, staged: Staged) -> Result<Pin, StoreError> {
        let files = Arc::clone(&self.shared.files);
        let pin = blocking(move || files.put(id, &staged.file, staged.path)).await?;
        Ok(Pin::new(Box::new(pin)))
    }

    async fn open(&self, id: &BlobId) -> Result<Option<Arc<File>>, StoreError> {
        let (shared, id) = (Arc::clone(&self.shared), *id);
        blocking(move || {
            let file = shared.files.open(&id)?;
            let users = keys::users_of(&id);
            // Named by a record and not there is no absence.
            if file.is_none() && shared.read(|index| Ok(index.next(&users, &users)?.is_some()))? {
                return Err(StoreError::Corrupt(format!("blobs/{} is gone", files::name(&id))));
            }
            Ok(file.map(Arc::new))
        })
        .await
    }

    async fn sweep(&self, id: &BlobId) -> Result<(), StoreError> {
        let id = *id;
        self.between(move |committer| committer.sweep(&id)).await
    }
}
