//! A record store in memory, for the tests of whatever needs no engine: what is hosted, the ledger and the known modules,
//! with a hook where races happen. All else is an error.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{
    Claim, Delete, Fresh, HostedIndex, HostedModule, KnownModules, Ledger, LedgerLine, MadePublic, MakePublic, MovePath, Moved, NewVersion,
    Publish, Records, Release, Rev, Seal, SealedContent, StoreError, TokenHash, TokenRecord, VersionRecord,
};
use crate::module::{ModulePath, OwnerName, Version};

type Hook = Box<dyn FnOnce(&Double) + Send>;

/// The double. Every change makes a new index, as the embedded store does.
#[derive(Default)]
pub(crate) struct Double {
    index: Mutex<Arc<HostedIndex>>,
    changes: tokio::sync::watch::Sender<Rev>,
    known: Arc<Known>,
    /// Known modules cannot be written.
    pub(crate) known_fails: AtomicBool,
    /// How often a permit was asked for.
    pub(crate) permits: AtomicUsize,
    pub(crate) ledger: Mutex<Vec<LedgerLine>>,
    /// Run once, while a ledger line is being written.
    pub(crate) meanwhile: Mutex<Option<Hook>>,
    /// The ledger cannot be written.
    pub(crate) ledger_fails: Mutex<bool>,
    /// What is hosted cannot be read.
    pub(crate) away: Mutex<bool>,
}

#[derive(Default)]
struct Known {
    paths: Mutex<BTreeSet<ModulePath>>,
}

impl KnownModules for Known {
    fn contains(&self, path: &ModulePath) -> bool {
        self.paths.lock().unwrap().contains(path)
    }

    fn any_at_or_below(&self, prefix: &str) -> bool {
        let below = format!("{prefix}/");
        let at_or_below =
            |path: &ModulePath| path.as_str().eq_ignore_ascii_case(prefix) || path.as_str().to_ascii_lowercase().starts_with(&below);
        self.paths.lock().unwrap().iter().any(at_or_below)
    }

    fn any_at(&self, lower: &str) -> bool {
        self.paths.lock().unwrap().iter().any(|path| path.as_str().eq_ignore_ascii_case(lower))
    }

    fn any_between(&self, from: &str, to: &str, is: &dyn Fn(&str) -> bool) -> bool {
        let lower = |path: &ModulePath| path.as_str().to_ascii_lowercase();
        self.paths.lock().unwrap().iter().map(lower).any(|path| *from <= *path && *path < *to && is(&path))
    }
}

impl Double {
    pub(crate) fn change(&self, change: impl FnOnce(&mut HostedIndex)) {
        let mut index = self.index.lock().unwrap();
        let mut new = HostedIndex::clone(&index);
        new.rev = Rev(index.rev.0 + 1);
        change(&mut new);
        let rev = new.rev;
        *index = Arc::new(new);
        drop(index);
        self.changes.send_replace(rev);
    }

    pub(crate) fn host(&self, path: &str, owner: &str) {
        self.change(|index| {
            index.tombstones.remove(&path.parse().unwrap());
            index.hosted.insert(path.parse().unwrap(), owner.parse().unwrap());
        });
    }

    pub(crate) fn bury(&self, path: &str, owner: &str) {
        self.change(|index| {
            index.hosted.remove(&path.parse().unwrap());
            index.tombstones.insert(path.parse().unwrap(), owner.parse().unwrap());
        });
    }

    pub(crate) fn claim(&self, host: &str, path: &str) {
        let claim = Claim {
            path: path.parse().unwrap(),
            owner: "platform".parse().unwrap(),
            by: "user:alice".to_owned(),
            since_unix: 1_780_000_000,
        };
        self.change(|index| {
            index.claims.insert(host.to_owned(), claim);
        });
    }

    pub(crate) fn make_host_public(&self, host: &str) {
        let made = MadePublic { rev: Rev(1), by: "operator".to_owned(), since_unix: 1_780_000_000 };
        self.change(|index| {
            index.made_public.insert(host.to_owned(), made);
        });
    }

    pub(crate) fn knows(&self, path: &ModulePath) -> bool {
        self.known.contains(path)
    }

    pub(crate) fn know(&self, path: &str) {
        self.known.paths.lock().unwrap().insert(path.parse().unwrap());
    }
}

fn missing<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("not part of the double".into()))
}

#[async_trait]
impl Records for Double {
    async fn hosted_index(&self) -> Result<Fresh<HostedIndex>, StoreError> {
        if *self.away.lock().unwrap() { missing() } else { Ok(Fresh::new(Arc::clone(&self.index.lock().unwrap()))) }
    }

    fn known(&self) -> Arc<dyn KnownModules> {
        Arc::clone(&self.known) as Arc<dyn KnownModules>
    }

    async fn known_put(&self, path: &ModulePath) -> Result<(), StoreError> {
        if self.known_fails.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        self.know(path.as_str());
        Ok(())
    }

    async fn ledger_first(&self, path: &ModulePath, principal: &str, rule: &str) -> Result<Ledger, StoreError> {
        self.permits.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let hook = self.meanwhile.lock().unwrap().take();
        if let Some(hook) = hook {
            hook(self);
        }
        if *self.ledger_fails.lock().unwrap() {
            return Err(StoreError::Full);
        }
        let mut ledger = self.ledger.lock().unwrap();
        if ledger.iter().any(|line| line.path == *path) {
            return Ok(Ledger::Known);
        }
        let (principal, rule) = (principal.to_owned(), rule.to_owned());
        ledger.push(LedgerLine { time: "2026-06-01T00:00:00Z".to_owned(), path: path.clone(), principal, rule });
        Ok(Ledger::First)
    }

    async fn ledger(&self, from: u64, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let lines = self.ledger.lock().unwrap();
        Ok(lines.iter().skip(usize::try_from(from).unwrap()).take(limit).cloned().collect())
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<Rev> {
        self.changes.subscribe()
    }

    async fn publish(&self, _: NewVersion) -> Result<Publish, StoreError> {
        missing()
    }
    async fn delete(&self, _: &OwnerName, _: &ModulePath, _: &Version, _: &str) -> Result<Delete, StoreError> {
        missing()
    }
    async fn expire(&self, _: &VersionRecord, _: &str) -> Result<Delete, StoreError> {
        missing()
    }
    async fn move_path(&self, _: MovePath) -> Result<Moved, StoreError> {
        missing()
    }
    async fn seal(&self, _: &VersionRecord) -> Result<Seal, StoreError> {
        missing()
    }
    async fn sealed(&self, _: &ModulePath, _: &Version) -> Result<Option<SealedContent>, StoreError> {
        missing()
    }
    async fn release_host(&self, _: &str, _: &str) -> Result<Release, StoreError> {
        missing()
    }
    async fn make_public(&self, _: &str, _: &str) -> Result<MakePublic, StoreError> {
        missing()
    }
    async fn release_path(&self, _: &ModulePath, _: &str) -> Result<Release, StoreError> {
        missing()
    }
    async fn module(&self, _: &ModulePath) -> Result<Option<Arc<HostedModule>>, StoreError> {
        missing()
    }
    async fn token_put(&self, _: TokenRecord) -> Result<Rev, StoreError> {
        missing()
    }
    async fn token_revoke(&self, _: &str) -> Result<bool, StoreError> {
        missing()
    }
    async fn token(&self, _: &TokenHash) -> Result<Option<Arc<TokenRecord>>, StoreError> {
        missing()
    }
    async fn tokens(&self) -> Result<Vec<Arc<TokenRecord>>, StoreError> {
        missing()
    }
    async fn writable(&self) -> Result<(), StoreError> {
        missing()
    }
}
