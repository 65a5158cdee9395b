//! The data directory: its layout, its format version, and the lock that keeps a second gateway out.
//!
//! ```text
//! format             which layout this is, JSON
//! lock               held while a gateway runs, and its process id; empty after that
//! blobs/             hosted zips and go.mod files by SHA-256
//! records/           the truth about what is hosted: a JSON file a version, and changes.journal
//! meta/              sled: an index over records/, made anew when it is gone or broken
//! cache/             what came from upstream; how it lies there is the cache's matter
//! index/             what the cache knows of its files, made anew when it is gone
//! sumdb/             what is known of checksum databases; sumdb's matter
//! sumdb-verifier     the verifier key of our own: where this file is, there was one
//! ledger/            what ever left, and which public modules are known
//! audit/             what was done, and by whom; the audit trail's matter
//! node               what this gateway is called in logs and the audit trail
//! tls/               certificates of the local CA
//! admin.sock         where the command line reaches the running gateway
//! admin-token        the first token
//! tmp/               being written; emptied at every start
//! ```
//!
//! A backup needs `format`, `records/`, `blobs/` and `ledger/`, `tls/` where clients trust the local CA, and the records of `sumdb/log/`: the
//! rest is made anew.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::hex;
use super::lock::Lock;
use super::room::{GiveWay, RESERVE_BYTES, Yielding, shortage};
use crate::durable::{Disk, DurableError, Shortage};

/// The layout that this program writes. It reads every one from 1 on: what an upgrade does is told here, and it is done at the
/// first start.
///
/// - 1 to 2: `records/changes.journal` may hold changes that programs of format 1 do not know (a module that moved to another
///   owner, a host that is public by an operator's word). Nothing that is there is rewritten.
/// - 2 to 3: what was kept of checksum databases goes: nobody had verified it, and from 3 on a look-up that is kept says that somebody did.
///   The cache's index may still list those files, so that its word goes first: the cache is looked at anew. A crash before the format
///   is written does all of it again.
pub const FORMAT: u32 = 3;
/// The first version of the program that knows [`FORMAT`].
pub(in crate::store) const FORMAT_NEEDS: &str = "0.3.0";
/// More than a format or lock file ever holds, bytes.
const SMALL_FILE_MAX: u64 = 4096;
/// The longest name of a gateway.
const NODE_BYTES_MAX: usize = 64;
/// What formats 1 and 2 kept of checksum databases.
const UNVERIFIED_RECORDS: &str = "cache/download/sumdb";
/// Says what the cache's index is worth.
const INDEX_STATE: &str = "index/state";
/// Every folder of the layout, a parent before what it holds.
const FOLDERS: [&str; 8] = [BLOBS, RECORDS, META, CACHE, INDEX, LEDGER, DataDir::TLS, TMP];
const BLOBS: &str = "blobs";
const RECORDS: &str = "records";
const META: &str = "meta";
const CACHE: &str = "cache";
const INDEX: &str = "index";
const LEDGER: &str = "ledger";
/// Made by whoever keeps something there.
const SUMDB: &str = "sumdb";
/// Tells that there was a checksum log.
pub(in crate::store) const LOG_VERIFIER: &str = "sumdb-verifier";
const TMP: &str = "tmp";
/// Which layout this is.
const FORMAT_FILE: &str = "format";
/// Below `tmp/`: a backup that is being unpacked.
pub(in crate::store) const STAGED_RESTORE: &str = "restore";

/// Why the data cannot be opened; the text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in it.
    #[error("data directory {} is in use{}; stop that process, or choose another data_dir", dir.display(), pid.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Who, if known.
        pid: Option<u32>,
    },
    /// It cannot be made or written to.
    #[error("data directory {} cannot be written: {source}", dir.display())]
    NotWritable {
        /// The data directory.
        dir: PathBuf,
        /// What failed.
        #[source]
        source: DurableError,
    },
    /// It has no room.
    #[error("data directory {}: the disk is full, and nothing that is cached there is left to give way; make room on its file system: {} MiB do", dir.display(), RESERVE_BYTES >> 20)]
    Full {
        /// The data directory.
        dir: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    NotReadable {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no randomness to be had from the system.
    #[error("the system gives no random bytes: {0}; a root of its own needs /dev/random and /dev/urandom")]
    NoRandomness(#[from] getrandom::Error),
    /// A newer program wrote it.
    #[error("data directory {} has format {found}, and this modgate ({}) knows none above {FORMAT}: start {} or newer", dir.display(), env!("CARGO_PKG_VERSION"), needs.as_deref().map_or_else(|| "a newer one".to_owned(), |needs| format!("modgate {needs}")))]
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// Its format.
        found: u64,
        /// The version of the program that is needed, where the directory tells.
        needs: Option<String>,
    },
    /// There are files where ours belong, and no `format` file.
    #[error("{} is not a modgate data directory: it has no file named format, but {} is not empty; choose an empty directory as data_dir, or, if this is a copy of one, copy the file format too", dir.display(), found.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// What is in the way.
        found: PathBuf,
    },
    /// What is stored contradicts itself; the text names the place.
    #[error("data directory {}: {text}", dir.display())]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong, and where.
        text: String,
    },
    /// The records, or their index, cannot be opened now.
    #[error("data directory {} cannot be opened: {source}", dir.display())]
    Unavailable {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something that must not be guessed at is damaged.
    #[error("{}{}: {text}", path.display(), line.map(|n| format!(":{n}")).unwrap_or_default())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What is wrong with it.
        text: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u64,
    /// The oldest version of the program that can open it.
    #[serde(default)]
    needs: Option<String>,
}

/// An opened data directory: ours alone as long as this lives. So whatever writes to it holds this: the committer, and each thread that
/// keeps something in the cache. What only reads files that it has open, as answers do, needs none: the next process may remove
/// them, and never changes them. Once this is dropped, its [`Disk`] refuses every step: nothing can be written by oversight.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    disk: Disk,
    swept: u64,
    node: String,
    yielding: Yielding,
    _lock: Lock,
}

impl Drop for DataDir {
    fn drop(&mut self) {
        self.disk.close();
        tracing::debug!(data_dir = %self.root.display(), "let go of the data directory");
    }
}

impl DataDir {
    /// The socket below the root, where the command line reaches the gateway that runs.
    pub const ADMIN_SOCKET: &str = "admin.sock";
    /// The file below the root that holds the first token.
    pub const ADMIN_TOKEN: &str = "admin-token";
    /// The folder below the root for the certificates of the local CA.
    pub const TLS: &str = "tls";

    /// Opens the directory, or makes it: takes the lock, judges the format, makes the folders (0700), empties `tmp/`.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Self::open_on(root, Disk::default())
    }

    /// [`DataDir::open`] with the steps of `disk`.
    pub fn open_on(root: &Path, disk: Disk) -> Result<Self, OpenError> {
        Self::open_with(root, disk, |_, _| {})
    }

    /// [`DataDir::open_on`]; where the disk has less room than a start may need, `make_room` is called before anything is written to a
    /// directory that holds a gateway's data.
    pub fn open_with(root: &Path, disk: Disk, make_room: impl FnOnce(&Self, Shortage)) -> Result<Self, OpenError> {
        let disk = disk.apart();
        let failed = |source: DurableError| failed(root, source);
        // Absolute, so that a later change of the working directory means nothing.
        let absolute = std::path::absolute(root).map_err(|source| OpenError::NotReadable { path: root.to_owned(), source })?;
        let root = absolute.as_path();
        disk.create_dirs(root).map_err(failed)?;
        // Before anything is read: who else is at work here may be changing it.
        let lock = Lock::take(root)?;
        let (found, lock) = lock.unless_refused(judge(root, None))?;
        let swept = sweep(&root.join(TMP))?;
        let mut data = Self { root: root.to_owned(), disk, swept, node: String::new(), yielding: Yielding::default(), _lock: lock };
        // Where it cannot be told, writing shows.
        let short = shortage(&data.disk, root, 0).unwrap_or_default();
        if found.is_some() && !short.is_none() {
            make_room(&data, short);
        }
        let disk = &data.disk;
        if found.is_some_and(|found| found < 3) {
            forget_unverified(root, disk).map_err(failed)?;
            data.swept += sweep(&root.join(TMP))?;
        }
        if found != Some(FORMAT) {
            // Before any folder is made, and therefore staged beside it: a folder of ours that is found without it is a stranger's.
            // And before anything is written that an older program would not understand.
            declare(root, disk, FORMAT, FORMAT_NEEDS).map_err(failed)?;
        }
        for folder in FOLDERS {
            disk.create_dirs(&root.join(folder)).map_err(failed)?;
        }
        data.node = node(root, disk)?;
        // A full disk or a read-only one shows here, not at the first publish.
        let tmp = data.tmp();
        let probe = tmp.join("probe");
        data.disk.write(&tmp, &probe, b"probe\n").and_then(|()| data.disk.unlink(&probe)).map_err(failed)?;
        Ok(data)
    }

    /// Who gives way from now on where the disk is full. Only the first one counts.
    pub fn yields(&self, give_way: GiveWay) {
        self.yielding.set(give_way);
    }

    /// Has others give way until so many bytes could be written beside [`RESERVE_BYTES`] and
    /// [`RESERVE_INODES`](super::RESERVE_INODES); whether they could. Blocks.
    ///
    /// # Errors
    ///
    /// The room cannot be told.
    pub fn make_room(&self, bytes: u64) -> io::Result<bool> {
        self.yielding.make_room(&self.disk, &self.root, bytes)
    }

    /// Has others give up so much, though the file system may say that there is room; whether anything went. Blocks.
    pub(in crate::store) fn give_way(&self, short: Shortage) -> bool {
        self.yielding.give_way(short)
    }

    /// Whether no process works in it now, or it is not there. For whoever waits; [`DataDir::open`] alone decides.
    pub fn is_free(root: &Path) -> bool {
        Lock::is_free(root)
    }

    /// Takes a directory for something to be put into, or makes it; `None` if it holds a gateway's data already. Other
    /// processes are kept out. Where it is not taken, it is left as it was found.
    pub(in crate::store) fn claim_empty(root: &Path) -> Result<Option<Empty>, OpenError> {
        let root = std::path::absolute(root).map_err(|source| OpenError::NotReadable { path: root.to_owned(), source })?;
        let disk = Disk::default();
        let mut made = Made::default();
        let claimed = made.claim(&root, &disk);
        match claimed {
            Ok(Some(lock)) => Ok(Some(Empty { root, made, disk, lock })),
            Ok(None) => Ok(None),
            Err(error) => {
                made.undo();
                Err(error)
            }
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The way to its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// How many leftovers `tmp/` held.
    pub fn swept(&self) -> u64 {
        self.swept
    }

    /// What this gateway is called in logs and the audit trail.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// `audit/`, which may not be there yet.
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// `blobs/`
    pub fn blobs(&self) -> PathBuf {
        self.root.join(BLOBS)
    }

    /// `records/`
    pub fn records(&self) -> PathBuf {
        self.root.join(RECORDS)
    }

    /// `meta/`
    pub fn meta(&self) -> PathBuf {
        self.root.join(META)
    }

    /// `cache/`
    pub fn cache(&self) -> PathBuf {
        self.root.join(CACHE)
    }

    /// `index/`: the cache's.
    pub fn index(&self) -> PathBuf {
        self.root.join(INDEX)
    }

    /// `ledger/`
    pub fn ledger(&self) -> PathBuf {
        self.root.join(LEDGER)
    }

    /// `sumdb/`, which may not be there yet.
    pub fn sumdb(&self) -> PathBuf {
        self.root.join(SUMDB)
    }

    /// `sumdb-verifier`, which may not be there yet: outside `sumdb/`, so that it does not go with it.
    pub fn log_verifier(&self) -> PathBuf {
        self.root.join(LOG_VERIFIER)
    }

    /// `tmp/`: on the same file system as all the others.
    pub fn tmp(&self) -> PathBuf {
        self.root.join(TMP)
    }
}

/// Folders that were not there before, what holds others first.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn make(&mut self, dir: &Path, disk: &Disk) -> Result<(), DurableError> {
        let at = self.0.len();
        self.0.extend(dir.ancestors().take_while(|above| !above.is_dir()).map(Path::to_owned));
        self.0[at..].reverse();
        disk.create_dirs(dir)
    }

    /// Makes what is missing of a directory, and takes it; `None`: it holds a gateway's data. The lock is gone where it fails.
    fn claim(&mut self, root: &Path, disk: &Disk) -> Result<Option<Lock>, OpenError> {
        self.make(root, disk).map_err(|source| failed(root, source))?;
        let lock = Lock::take(root)?;
        let (found, lock) = lock.unless_refused(judge(root, Some(STAGED_RESTORE)))?;
        if found.is_some() {
            lock.undo();
            return Ok(None);
        }
        let ready = self.make(&root.join(TMP), disk).map_err(|source| failed(root, source));
        let ((), lock) = lock.unless_refused(ready)?;
        Ok(Some(lock))
    }

    /// Removes them again. What cannot be removed stays: it is empty, or somebody has put something there.
    fn undo(self) {
        for folder in self.0.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A directory that holds nothing yet, ours alone as long as this lives.
pub(in crate::store) struct Empty {
    root: PathBuf,
    made: Made,
    disk: Disk,
    lock: Lock,
}

impl Empty {
    pub(in crate::store) fn root(&self) -> &Path {
        &self.root
    }

    pub(in crate::store) fn tmp(&self) -> PathBuf {
        self.root.join(TMP)
    }

    /// Leaves it as it was found, once what was staged in it is gone.
    pub(in crate::store) fn abandon(self) {
        self.lock.undo();
        self.made.undo();
    }

    /// Makes it a data directory of this format, durably.
    pub(in crate::store) fn declare(&self, format: u32, needs: &str) -> Result<(), DurableError> {
        declare(&self.root, &self.disk, format, needs)
    }
}

/// What a failed step at start means to the operator.
pub(in crate::store) fn failed(dir: &Path, source: DurableError) -> OpenError {
    let dir = dir.to_owned();
    if source.is_full() { OpenError::Full { dir } } else { OpenError::NotWritable { dir, source } }
}

/// Writes the format file.
fn declare(root: &Path, disk: &Disk, format: u32, needs: &str) -> Result<(), DurableError> {
    let text = serde_json::json!({ "format": format, "needs": needs });
    disk.write(root, &root.join(FORMAT_FILE), format!("{text}\n").as_bytes())
}

/// From format 2 to 3. Renamed first: a removal that a power failure undoes would bring back what then counts as verified.
fn forget_unverified(root: &Path, disk: &Disk) -> Result<(), DurableError> {
    disk.unlink(&root.join(INDEX_STATE))?;
    let records = root.join(UNVERIFIED_RECORDS);
    if !records.exists() {
        return Ok(());
    }
    disk.create_dirs(&root.join(TMP))?;
    // What is in there goes in a moment.
    disk.rename(&records, &root.join(TMP).join("unverified"))
}

/// The format that the directory is in, if it is in any; an error if this program must not touch it, or if it is somebody else's. `but`:
/// what may be in `tmp/` of one without a format.
fn judge(root: &Path, but: Option<&str>) -> Result<Option<u32>, OpenError> {
    let found = judge_format(root)?;
    if found.is_none() {
        refuse_strangers(root, but)?;
    }
    Ok(found)
}

/// The format that the directory is in, if it is in any; an error if this program must not touch it.
fn judge_format(root: &Path) -> Result<Option<u32>, OpenError> {
    let path = root.join(FORMAT_FILE);
    let text = match read_small(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::NotReadable { path, source }),
    };
    let format: Format =
        serde_json::from_str(&text).map_err(|e| OpenError::Corrupt { path, line: None, text: format!("not a format file: {e}") })?;
    match u32::try_from(format.format) {
        Ok(known @ 1..=FORMAT) => Ok(Some(known)),
        _ => Err(OpenError::NewerFormat { dir: root.to_owned(), found: format.format, needs: format.needs }),
    }
}

/// Reads the gateway's name, or makes one up. An operator may write another into the file.
fn node(root: &Path, disk: &Disk) -> Result<String, OpenError> {
    let path = root.join("node");
    match read_small(&path) {
        Ok(text) => {
            let name = text.trim();
            let good = (1..=NODE_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            let text = || format!("not a name of 1 to {NODE_BYTES_MAX} letters, digits, and -._");
            if good { Ok(name.to_owned()) } else { Err(OpenError::Corrupt { path, line: None, text: text() }) }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut random = [0; 4];
            getrandom::fill(&mut random)?;
            let name = hex(&random);
            disk.write(&root.join(TMP), &path, format!("{name}\n").as_bytes()).map_err(|source| failed(root, source))?;
            Ok(name)
        }
        Err(source) => Err(OpenError::NotReadable { path, source }),
    }
}

/// Somebody's home directory may have a `tmp` folder too, and it would be emptied. `but`: what may be in `tmp/`.
fn refuse_strangers(root: &Path, but: Option<&str>) -> Result<(), OpenError> {
    for folder in FOLDERS.into_iter().chain([SUMDB]) {
        let path = root.join(folder);
        let but = but.filter(|_| folder == TMP);
        let holds_any = match fs::read_dir(&path) {
            Ok(mut entries) => entries.any(|entry| entry.map_or(true, |entry| but.is_none_or(|but| entry.file_name() != but))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(OpenError::NotReadable { path, source }),
        };
        if holds_any {
            return Err(OpenError::NotOurs { dir: root.to_owned(), found: path });
        }
    }
    // It tells of a log that may come back: another one beside it would be refused by every start.
    let path = root.join(LOG_VERIFIER);
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::NotOurs { dir: root.to_owned(), found: path }),
        Err(source) => Err(OpenError::NotReadable { path, source }),
    }
}

fn sweep(tmp: &Path) -> Result<u64, OpenError> {
    let wrong = |source| OpenError::NotReadable { path: tmp.to_owned(), source };
    let mut swept = 0;
    let entries = match fs::read_dir(tmp) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(wrong)?,
    };
    for entry in entries {
        let entry = entry.map_err(wrong)?;
        // Folders there are somebody's room for staging, not left-overs themselves.
        let removed = if entry.file_type().map_err(wrong)?.is_dir() {
            swept += sweep(&entry.path())?;
            fs::remove_dir(entry.path())
        } else {
            swept += 1;
            fs::remove_file(entry.path())
        };
        // The process before us may be about to remove what it had staged.
        let removed = removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) });
        removed.map_err(|source| failed(tmp, DurableError { step: crate::durable::Step::Remove, path: entry.path(), source }))?;
    }
    Ok(swept)
}

pub(super) fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SMALL_FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
