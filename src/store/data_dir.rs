//! The data directory: its layout, its format version, and the lock that keeps a second gateway out.
//!
//! ```text
//! format             which layout this is, JSON
//! lock               held while a gateway runs; its process id
//! blobs/             hosted zips and go.mod files by SHA-256
//! records/           the truth about what is hosted: a JSON file a version, and changes.journal
//! meta/              sled: an index over records/, made anew when it is gone or broken
//! cache/             what came from upstream; how it lies there is the cache's matter
//! index/             what the cache knows of its files, made anew when it is gone
//! sumdb/             what is known of checksum databases; sumdb's matter
//! ledger/            what ever left, and which public modules are known
//! audit/             what was done, and by whom; the audit trail's matter
//! node               what this gateway is called in logs and the audit trail
//! tls/               certificates of the local CA
//! admin.sock         where the command line reaches the running gateway
//! admin-token        the first token
//! tmp/               being written; emptied at every start
//! ```
//!
//! A backup needs `format`, `records/`, `blobs/` and `ledger/`, and `tls/` where clients trust the local CA: the rest is made anew.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::hex;
use crate::durable::{Disk, DurableError};

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
/// How long a lock that somebody holds is waited for: a process that is just ending, or a child between its fork and
/// its exec, which holds what its parent held.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
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
const TMP: &str = "tmp";
/// Locked by the process that works here.
const LOCK_FILE: &str = "lock";
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
    #[error("data directory {}: the disk is full", dir.display())]
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
    _lock: File,
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
        let disk = disk.apart();
        let failed = |source: DurableError| failed(root, source);
        // Absolute, so that a later change of the working directory means nothing.
        let absolute = std::path::absolute(root).map_err(|source| OpenError::NotReadable { path: root.to_owned(), source })?;
        let root = absolute.as_path();
        disk.create_dirs(root).map_err(failed)?;
        // Before anything is read: who else is at work here may be changing it.
        let lock = take_lock(root)?;
        let found = judge_format(root)?;
        if found.is_none() {
            refuse_strangers(root, None)?;
        }
        if found.is_some_and(|found| found < 3) {
            forget_unverified(root, &disk).map_err(failed)?;
        }
        if found != Some(FORMAT) {
            // Before any folder is made, and therefore staged beside it: a folder of ours that is found without it is a stranger's.
            // And before anything is written that an older program would not understand.
            declare(root, &disk, FORMAT, FORMAT_NEEDS).map_err(failed)?;
        }
        for folder in FOLDERS {
            disk.create_dirs(&root.join(folder)).map_err(failed)?;
        }
        let swept = sweep(&root.join(TMP))?;
        // A full disk or a read-only one shows here, not at the first publish.
        let tmp = root.join(TMP);
        let probe = tmp.join("probe");
        disk.write(&tmp, &probe, b"probe\n").and_then(|()| disk.unlink(&probe)).map_err(failed)?;
        let node = node(root, &disk)?;
        Ok(Self { root: root.to_owned(), disk, swept, node, _lock: lock })
    }

    /// Whether no process works in it now, or it is not there. For whoever waits; [`DataDir::open`] alone decides.
    pub fn is_free(root: &Path) -> bool {
        let Ok(lock) = File::open(root.join(LOCK_FILE)) else { return true };
        flock(&lock, FlockOperation::NonBlockingLockShared).is_ok()
    }

    /// Takes a directory for something to be put into, or makes it; `None` if it holds a gateway's data already. Other
    /// processes are kept out.
    pub(in crate::store) fn claim_empty(root: &Path) -> Result<Option<Empty>, OpenError> {
        let root = std::path::absolute(root).map_err(|source| OpenError::NotReadable { path: root.to_owned(), source })?;
        let disk = Disk::default();
        disk.create_dirs(&root).map_err(|source| failed(&root, source))?;
        let lock = take_lock(&root)?;
        if judge_format(&root)?.is_some() {
            return Ok(None);
        }
        refuse_strangers(&root, Some(STAGED_RESTORE))?;
        disk.create_dirs(&root.join(TMP)).map_err(|source| failed(&root, source))?;
        Ok(Some(Empty { root, disk, _lock: lock }))
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
        self.root.join("sumdb")
    }

    /// `tmp/`: on the same file system as all the others.
    pub fn tmp(&self) -> PathBuf {
        self.root.join(TMP)
    }
}

/// A directory that holds nothing yet, ours alone as long as this lives.
pub(in crate::store) struct Empty {
    root: PathBuf,
    disk: Disk,
    _lock: File,
}

impl Empty {
    pub(in crate::store) fn root(&self) -> &Path {
        &self.root
    }

    pub(in crate::store) fn tmp(&self) -> PathBuf {
        self.root.join(TMP)
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

fn take_lock(root: &Path) -> Result<File, OpenError> {
    let path = root.join(LOCK_FILE);
    let wrong = |source| failed(root, DurableError { step: crate::durable::Step::Create, path: path.clone(), source });
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(wrong)?;
    // flock belongs to this open file: a second gateway in the same process is kept out too, and the kernel lets go when we die.
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                let pid = read_small(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(OpenError::InUse { dir: root.to_owned(), pid });
            }
            Err(errno) => return Err(wrong(errno.into())),
        }
    }
    // For people only; not worth an fsync.
    file.set_len(0).and_then(|()| file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)).map_err(wrong)?;
    Ok(file)
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
            getrandom::fill(&mut random).map_err(|e| OpenError::NotReadable { path: path.clone(), source: io::Error::other(e) })?;
            let name = hex(&random);
            disk.write(&root.join(TMP), &path, format!("{name}\n").as_bytes()).map_err(|source| failed(root, source))?;
            Ok(name)
        }
        Err(source) => Err(OpenError::NotReadable { path, source }),
    }
}

/// Somebody's home directory may have a `tmp` folder too, and it would be emptied. `but`: what may be in `tmp/`.
fn refuse_strangers(root: &Path, but: Option<&str>) -> Result<(), OpenError> {
    for folder in FOLDERS {
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
    Ok(())
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

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SMALL_FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
