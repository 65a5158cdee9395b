//! Puts a backup back: into a data directory that nothing lives in, all of it or nothing.
//!
//! Everything is unpacked below `tmp/restore/`, judged, made durable, and then renamed into place folder by folder; `format`, without
//! which no gateway starts there, comes last. *Crash before the first rename: the next restore begins anew. Crash between
//! them: a start and a restore both refuse the directory, naming it; it holds nothing but what the archive holds.*
//!
//! What becomes of the checksum log of an archive is not the store's to know: such an archive is refused, or the caller makes a log of
//! what was unpacked of it, before anything has its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::archived::{LOG, shown};
use super::backup::{self, ARCHIVED_HEAD, ARCHIVED_VERIFIER, BackupError, Counted, Foot, Head};
use super::data_dir::{DataDir, Empty, FORMAT, LOG_VERIFIER, OpenError, STAGED_RESTORE};
use super::hex::hex;
use crate::tlog::{self, VerifierKey};

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The state of the records.
    pub head: Head,
    /// How much there is.
    pub foot: Foot,
    /// Blobs whose content is not what their name says.
    pub damaged: Vec<String>,
    /// The checksum log that was made of the one that came with it.
    pub log: Option<CarriedLog>,
}

/// A checksum log that was made of an archived one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedLog {
    /// The key of the archived one.
    pub old: VerifierKey,
    /// Its own.
    pub key: VerifierKey,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive.
    #[error("nothing was restored")]
    Backup(#[source] BackupError),
    /// The checksum log of the archive.
    #[error("nothing was restored: no log can be made of the checksum database in the backup")]
    Log(#[source] CarryError),
    /// The data directory.
    #[error(transparent)]
    DataDir(OpenError),
    /// Its disk is full.
    #[error("data directory {}: the disk is full; make room on its file system, or name another directory with --data-dir", .0.display())]
    Full(PathBuf),
    /// It holds a gateway's data.
    #[error("data directory {} is not empty: a backup is restored into an empty one; move that away, or name another with --data-dir", .0.display())]
    NotEmpty(PathBuf),
    /// The disk.
    #[error("cannot write to {}: {source}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<OpenError> for RestoreError {
    fn from(error: OpenError) -> Self {
        match error {
            // It holds no gateway's cache that could give way.
            OpenError::Full { dir } => Self::Full(dir),
            other => Self::DataDir(other),
        }
    }
}

/// Why [`restore_with_log`]'s caller made no log.
pub type CarryError = Box<dyn std::error::Error + Send + Sync>;

/// Reads the archive into the data directory `root`, which is made, or holds nothing yet. One with a checksum log is refused. Blocks.
///
/// # Errors
///
/// [`RestoreError`]; nothing of the archive is left then, nor of the directory if it was not there, unless the disk fails between the
/// last renames.
pub fn restore(root: &Path, archive: impl Read) -> Result<Restored, RestoreError> {
    put(root, archive, None::<fn(&Path) -> Result<CarriedLog, CarryError>>)
}

/// [`restore`], of an archive with a checksum log too: `carry` makes a log of it in the folder that it is given, as it will lie in the data
/// directory, where `verifier`, `head` and the data tiles were unpacked. What it wrote is made durable with all the rest, and so is the file
/// that tells of the log from then on.
///
/// # Errors
///
/// As [`restore`]; and [`RestoreError::Log`].
pub fn restore_with_log(
    root: &Path,
    archive: impl Read,
    carry: impl FnOnce(&Path) -> Result<CarriedLog, CarryError>,
) -> Result<Restored, RestoreError> {
    put(root, archive, Some(carry))
}

fn put(
    root: &Path,
    archive: impl Read,
    carry: Option<impl FnOnce(&Path) -> Result<CarriedLog, CarryError>>,
) -> Result<Restored, RestoreError> {
    let empty = DataDir::claim_empty(root)?.ok_or_else(|| RestoreError::NotEmpty(root.to_owned()))?;
    let stage = empty.tmp().join(STAGED_RESTORE);
    let disk = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Disk { path, source }
    };
    if let Err(error) = clear(&stage) {
        empty.abandon();
        return Err(disk(&stage)(error));
    }
    let unpacked = unpack(&stage, archive, carry.is_some()).map_err(RestoreError::Backup).and_then(|restored| match carry {
        Some(carry) if stage.join(LOG).exists() => {
            let log = carry(&stage.join(LOG)).map_err(RestoreError::Log)?;
            let text = format!("{}\n", log.key);
            copy(&mut text.as_bytes(), LOG_VERIFIER, &stage.join(LOG_VERIFIER)).map_err(RestoreError::Backup)?;
            Ok(Restored { log: Some(log), ..restored })
        }
        _ => Ok(restored),
    });
    let restored = match unpacked {
        Ok(restored) => restored,
        Err(error) => {
            // Whatever stands against removing it stands in the way of the next try, which says so.
            let _ = clear(&stage);
            empty.abandon();
            return Err(error);
        }
    };
    settle(&empty, &stage, &restored.head).map_err(disk(root))?;
    Ok(restored)
}

fn clear(stage: &Path) -> io::Result<()> {
    match fs::remove_dir_all(stage) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn unpack(stage: &Path, archive: impl Read, log_welcome: bool) -> Result<Restored, BackupError> {
    // There may be no file in it: a store that holds nothing.
    folders(stage)?;
    let mut head = None;
    let mut damaged = Vec::new();
    let foot = backup::read(
        archive,
        |found| {
            head = Some(found.clone());
            if found.format > FORMAT { Err(BackupError::newer(found)) } else { Ok(()) }
        },
        |name, content| {
            let sha256 = copy(content, name, &stage.join(name))?;
            if !log_welcome && name.strip_prefix(LOG).is_some_and(|name| name != format!("/{ARCHIVED_VERIFIER}")) {
                return Err(holds_log(&stage.join(LOG)));
            }
            if name.strip_prefix("blobs/").is_some_and(|blob| blob != sha256) {
                damaged.push(format!("{}: has other content than was published", shown(name)));
            }
            Ok(())
        },
    )?;
    let head = head.ok_or(BackupError::Cut)?;
    if !log_welcome && stage.join(LOG).exists() {
        // It began one, and had no more of it.
        return Err(holds_log(&stage.join(LOG)));
    }
    Ok(Restored { head, foot, damaged, log: None })
}

/// The log that is in an archive, as far as it was unpacked.
fn holds_log(folder: &Path) -> BackupError {
    let text = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let key = text(ARCHIVED_VERIFIER).trim_end().parse::<VerifierKey>();
    match (key, text(ARCHIVED_HEAD).parse::<tlog::Head>()) {
        (Ok(key), Ok(head)) => BackupError::HoldsLog { name: shown(key.name()), records: head.size },
        _ => BackupError::Damaged("its checksum database has no key, or no head, where it begins".to_owned()),
    }
}

fn folders(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn both(name: &str) -> BackupError {
    BackupError::Damaged(format!("\"{}\", or what it lies below, stands in it as a file and as a folder", shown(name)))
}

/// Writes a new file (0600) of this name in the archive; the SHA-256 of what is in it.
fn copy(content: &mut dyn Read, name: &str, to: &Path) -> Result<String, BackupError> {
    if let Some(folder) = to.parent() {
        folders(folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => both(name),
            _ => BackupError::Io(error),
        })?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists if to.is_dir() => both(name),
        io::ErrorKind::AlreadyExists => BackupError::Damaged(format!("\"{}\" stands in it twice", shown(name))),
        _ => BackupError::Io(error),
    })?;
    let mut sha256 = Sha256::new();
    io::copy(&mut Counted { inner: content, print: &mut sha256, bytes: 0 }, &mut file)?;
    Ok(hex(&sha256.finalize()))
}

/// Gives what was unpacked its place.
fn settle(empty: &Empty, stage: &Path, head: &Head) -> io::Result<()> {
    // One for all of it: a file at a time takes a minute for a hundred thousand records.
    rustix::fs::syncfs(File::open(stage)?)?;
    for folder in fs::read_dir(stage)? {
        let folder = folder?;
        let to = empty.root().join(folder.file_name());
        // An empty one may stand there.
        fs::rename(folder.path(), to)?;
    }
    File::open(empty.root())?.sync_all()?;
    fs::remove_dir(stage)?;
    empty.declare(head.format, &head.needs).map_err(io::Error::other)
}
