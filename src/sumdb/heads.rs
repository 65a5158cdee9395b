//! What is known of a checksum database for good: the newest of its heads that was seen, and the fork that it showed, if it did.
//!
//! ```text
//! sumdb/public/NAME+HASH/           a database by its key, a / of its name as %2f
//!     head                          the note of the newest head, byte for byte
//!     fork/kept, fork/shown         two notes of which one cannot follow from the other: nothing is believed while they stand here
//!     fork-UNIX/kept, …/shown       the evidence of a fork after an operator decided
//! ```
//!
//! Nobody is told anything that rests on a head before that head, or a newer one that follows from it, is on disk. Crash points:
//!
//! - before `head` is renamed into place: the older head stands, nothing was told; the newer one is proven anew when it is next seen.
//! - after it: a head is known of which nobody was told. It is the database's all the same.
//! - between `fork/kept` and `fork/shown`: no fork. `kept` is still the newest head, so the other one shows the fork again.
//! - of a decision, after `head` and before `fork/` is renamed: still forked, and the operator decides again.
//!
//! The head is replaced by a smaller one by that decision alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use tokio::sync::Mutex;

use crate::durable::DurableError;
use crate::observe::spawn_blocking;
use crate::store::DataDir;
use crate::tlog::{Head, NoteError, SignedHead, VerifierKey};

const HEAD: &str = "head";
const FORK: &str = "fork";
const KEPT: &str = "kept";
const SHOWN: &str = "shown";
/// Longest note that is read back, in bytes: more than any that is taken from a look-up.
const NOTE_BYTES_MAX: u64 = 1 << 20;

/// What is known cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what was written: which head was seen last is not to be guessed at.
    #[error("{}: {source}: put it back from a copy, or remove it: then the next head that the checksum database shows is believed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
}

/// What is known cannot be made to last.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeepError {
    /// The disk would not.
    #[error("cannot keep what the checksum database showed: {0}")]
    Disk(#[source] Arc<DurableError>),
    /// The thread that wrote it panicked.
    #[error("keeping what the checksum database showed broke off")]
    Broken,
}

/// Two heads of which one cannot follow from the other, both signed by the database.
#[derive(Clone, Debug)]
pub struct Fork {
    /// The newest one when the other was shown.
    pub kept: SignedHead,
    /// The one that was shown.
    pub shown: SignedHead,
}

/// Which head of a fork is believed from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The one that was known before the fork showed.
    Kept,
    /// The one that showed it: seen later.
    Shown,
}

impl Fork {
    /// Its head.
    pub fn side(&self, side: Side) -> &SignedHead {
        match side {
            Side::Kept => &self.kept,
            Side::Shown => &self.shown,
        }
    }
}

/// A tree as it is believed in, for a while: what was proven by one era's heads says nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) head: Head,
    /// How often an operator decided which tree it is, in this process.
    pub(super) era: u64,
}

struct Known {
    newest: Option<SignedHead>,
    fork: Option<Arc<Fork>>,
    era: u64,
}

/// What is known of one database. A process has one for each.
pub(super) struct Heads {
    key: VerifierKey,
    dir: PathBuf,
    data: Arc<DataDir>,
    known: RwLock<Known>,
    /// The size of the head on disk.
    durable: AtomicU64,
    /// Held by whoever writes, in whichever thread: no older head overtakes a newer one.
    writing: Arc<Mutex<()>>,
}

impl Heads {
    /// Reads what is known of the database of this key. Nothing: its first head is believed. Blocks on the disk.
    pub(super) fn open(data: &Arc<DataDir>, key: &VerifierKey) -> Result<Self, HeadsError> {
        let dir = data.sumdb().join("public").join(folder(key));
        let newest = read(&dir.join(HEAD), key)?;
        let fork = match (read(&dir.join(FORK).join(KEPT), key)?, read(&dir.join(FORK).join(SHOWN), key)?) {
            (Some(kept), Some(shown)) => Some(Arc::new(Fork { kept, shown })),
            _ => None,
        };
        let durable = newest.as_ref().map_or(0, |newest| newest.head().size);
        let known = RwLock::new(Known { newest, fork, era: 0 });
        Ok(Self { key: key.clone(), dir, data: data.clone(), known, durable: durable.into(), writing: Arc::default() })
    }

    pub(super) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The newest head; that of the empty tree where none was seen.
    ///
    /// # Errors
    ///
    /// The database is forked.
    pub(super) fn view(&self) -> Result<View, Arc<Fork>> {
        let known = self.read();
        match &known.fork {
            Some(fork) => Err(fork.clone()),
            None => Ok(View { head: known.newest.as_ref().map_or_else(Head::empty, |newest| *newest.head()), era: known.era }),
        }
    }

    /// The newest head, and the fork.
    pub(super) fn both(&self) -> (Option<SignedHead>, Option<Arc<Fork>>) {
        let known = self.read();
        (known.newest.clone(), known.fork.clone())
    }

    /// Takes a head that was proven to follow from that of `view`. False: the newest is another by now, and it has to be proven anew.
    pub(super) fn advance(&self, view: &View, to: &SignedHead) -> bool {
        let mut known = self.write();
        let newest = known.newest.as_ref().map_or_else(Head::empty, |newest| *newest.head());
        let good = known.fork.is_none() && (View { head: newest, era: known.era }) == *view;
        if good {
            known.newest = Some(to.clone());
        }
        good
    }

    /// Runs something while what is believed is what was in the view; does not where it is not any more.
    pub(super) fn during(&self, view: &View, run: impl FnOnce()) {
        let known = self.read();
        if known.fork.is_none() && known.era == view.era {
            run();
        }
    }

    /// Returns once a head of this size, or a newer one, is on disk.
    pub(super) async fn keep(self: &Arc<Self>, size: u64) -> Result<(), KeepError> {
        if self.durable.load(Ordering::Acquire) >= size {
            return Ok(());
        }
        let heads = self.clone();
        self.writes(move || {
            let Some(newest) = heads.read().newest.clone() else { return Ok(()) };
            // Whoever wrote before us may have written this one.
            if heads.durable.load(Ordering::Acquire) < newest.head().size {
                heads.put(&heads.dir, HEAD, newest.note())?;
                heads.durable.store(newest.head().size, Ordering::Release);
            }
            Ok(())
        })
        .await
    }

    /// The database showed a head that contradicts the newest: nothing is believed from here on, whether that can be written down or
    /// not. Of two that come at once the first is the evidence: false for the other.
    pub(super) async fn forked(self: &Arc<Self>, shown: &SignedHead) -> (Arc<Fork>, bool) {
        let (fork, first) = {
            let mut known = self.write();
            match (&known.fork, &known.newest) {
                (Some(fork), _) => (fork.clone(), false),
                (None, newest) => {
                    // There is a newest one: nothing contradicts the empty tree.
                    let kept = newest.clone().unwrap_or_else(|| shown.clone());
                    let fork = Arc::new(Fork { kept, shown: shown.clone() });
                    known.fork = Some(fork.clone());
                    (fork, true)
                }
            }
        };
        if first {
            let (heads, written) = (self.clone(), fork.clone());
            let evidence = self.writes(move || {
                let dir = heads.dir.join(FORK);
                heads.put(&dir, KEPT, written.kept.note())?;
                heads.put(&dir, SHOWN, written.shown.note())
            });
            if let Err(error) = evidence.await {
                tracing::error!(%error, "the evidence of a fork is in memory alone: it is found again after a restart only if it is shown again");
            }
        }
        (fork, first)
    }

    /// An operator decided. `decided` is run before anything is believed by it. None: there is no fork.
    pub(super) async fn trust(
        self: &Arc<Self>,
        side: Side,
        decided: impl FnOnce() + Send + 'static,
    ) -> Result<Option<Arc<Fork>>, KeepError> {
        let heads = self.clone();
        self.writes(move || {
            let Some(fork) = heads.read().fork.clone() else { return Ok(None) };
            let head = fork.side(side);
            heads.put(&heads.dir, HEAD, head.note())?;
            let evidence = heads.dir.join(FORK);
            if evidence.exists() {
                heads.data.disk().rename(&evidence, &free(&heads.dir))?;
            }
            let mut known = heads.write();
            heads.durable.store(head.head().size, Ordering::Release);
            known.newest = Some(head.clone());
            known.fork = None;
            known.era += 1;
            decided();
            Ok(Some(fork.clone()))
        })
        .await
    }

    async fn writes<T: Send + 'static>(&self, run: impl FnOnce() -> Result<T, DurableError> + Send + 'static) -> Result<T, KeepError> {
        let writing = self.writing.clone().lock_owned().await;
        let written = spawn_blocking(move || {
            let written = run();
            // Whoever waits for this may go away before it is done.
            drop(writing);
            written
        });
        written.await.map_err(|_| KeepError::Broken)?.map_err(|error| KeepError::Disk(Arc::new(error)))
    }

    fn put(&self, dir: &Path, name: &str, note: &[u8]) -> Result<(), DurableError> {
        let disk = self.data.disk();
        disk.create_dirs(dir)?;
        disk.write(&self.data.tmp(), &dir.join(name), note)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `NAME+HASH`: under another key it is another database.
fn folder(key: &VerifierKey) -> String {
    let text = key.to_string();
    let named = text.splitn(3, '+').take(2).collect::<Vec<_>>();
    named.join("+").replace('/', "%2f")
}

/// A name for evidence that nothing has yet.
fn free(dir: &Path) -> PathBuf {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let names = (unix..).map(|unix| dir.join(format!("{FORK}-{unix}")));
    names.into_iter().find(|name| !name.exists()).unwrap_or_else(|| dir.join(FORK))
}

fn read(path: &Path, key: &VerifierKey) -> Result<Option<SignedHead>, HeadsError> {
    let failed = |source| HeadsError::Read { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut note = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, NOTE_BYTES_MAX), &mut note).map_err(failed)?;
    SignedHead::open(note, key).map(Some).map_err(|source| HeadsError::Damaged { path: path.to_owned(), source })
}
