//! The one place that makes bytes last: write, fsync, rename, fsync the folder.
//!
//! A file that another start must find appears whole or not at all: its bytes are written and fsynced under a temporary
//! name, renamed, and the folder is fsynced. Only when all that is done may anyone be told. Everything here blocks;
//! async callers use `spawn_blocking`.
//!
//! Every step goes through [`Disk`], so that a test can make any one of them fail, before or after it took effect,
//! or forget what was never fsynced.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::io::Errno;
use tempfile::{NamedTempFile, TempPath};

/// Mode of every folder made here.
const DIR_MODE: u32 = 0o700;
/// Mode of every file made here, unless another is asked for.
const FILE_MODE: u32 = 0o600;

/// One thing done to the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// A folder is made.
    CreateDir,
    /// A file is made.
    Create,
    /// Bytes go to a file.
    Write,
    /// A file's bytes and length are made durable.
    SyncFile,
    /// A file gets its final name.
    Rename,
    /// The names in a folder are made durable.
    SyncDir,
    /// A file loses its name.
    Remove,
    /// A file is cut short.
    Truncate,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateDir => "make the folder",
            Self::Create => "create",
            Self::Write => "write to",
            Self::SyncFile => "fsync",
            Self::Rename => "rename to",
            Self::SyncDir => "fsync the folder",
            Self::Remove => "remove",
            Self::Truncate => "truncate",
        })
    }
}

/// A step failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}", path.display())]
pub struct DurableError {
    /// Which one.
    pub step: Step,
    /// On what; of a rename, the final name.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl DurableError {
    /// Whether there was no room: no space, no inodes, or over quota.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }

    /// Whether the file may stand under its final name all the same, now or after the next start.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.step, Step::Rename | Step::SyncDir)
    }
}

/// Whether an error means that the disk, or the user's share of it, is full: of bytes or of inodes. By its kind, since who passes an
/// error on may have wrapped the system's number away.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an error means that this process or the machine has run out of descriptors or memory: it says nothing about the file.
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)) || error.kind() == io::ErrorKind::OutOfMemory
}

/// What can still be put on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// Files and folders; `None`: as many as there are bytes for.
    pub inodes: Option<Inodes>,
}

/// What has to go before there is room enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// So many bytes.
    pub bytes: u64,
    /// So many files.
    pub inodes: u64,
}

impl Room {
    /// What is missing of so many bytes and inodes.
    pub fn lacks(&self, bytes: u64, inodes: u64) -> Shortage {
        let free = self.inodes.map_or(u64::MAX, |inodes| inodes.free);
        Shortage { bytes: bytes.saturating_sub(self.bytes), inodes: inodes.saturating_sub(free) }
    }
}

impl Shortage {
    /// Whether nothing is missing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether so much is enough for what `short` lacks.
    pub fn covers(&self, short: Self) -> bool {
        short.beyond(*self).is_none()
    }

    /// What is still missing when so much has gone.
    #[must_use]
    pub fn beyond(&self, gone: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(gone.bytes), inodes: self.inodes.saturating_sub(gone.inodes) }
    }
}

impl AddAssign for Shortage {
    fn add_assign(&mut self, more: Self) {
        *self = Self { bytes: self.bytes.saturating_add(more.bytes), inodes: self.inodes.saturating_add(more.inodes) };
    }
}

/// A file system that was made with so many inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inodes {
    /// Not in use.
    pub free: u64,
    /// In use or not.
    pub all: u64,
}

/// What was written, and is not durable yet.
#[derive(Debug)]
pub enum Unsynced {
    /// A file's bytes and length; the path is for messages.
    File(File, PathBuf),
    /// The names in a folder.
    Folder(PathBuf),
}

/// A hook around every step, for tests: it runs the step or does not, and answers what it likes.
pub trait Faults: Send + Sync + 'static {
    /// `run` does the step; it is run at most once. `path` is what [`DurableError::path`] would be.
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;

    /// What [`Disk::room`] is to answer where there is `room`.
    fn room(&self, room: Room) -> Room {
        room
    }
}

/// The way to the disk. Cheap to clone; the default is the real one.
#[derive(Clone, Default)]
pub struct Disk {
    faults: Option<Arc<dyn Faults>>,
    closed: Arc<AtomicBool>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.faults.is_some() { "Disk(with faults)" } else { "Disk" })
    }
}

impl Disk {
    /// A disk whose every step goes through `faults`.
    pub fn with_faults(faults: Arc<dyn Faults>) -> Self {
        Self { faults: Some(faults), closed: Arc::default() }
    }

    /// The same way, which can be closed by itself.
    pub fn apart(&self) -> Self {
        Self { faults: self.faults.clone(), closed: Arc::default() }
    }

    /// From here on every step by this way and its clones fails: what it led to is somebody else's.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn step<T>(&self, step: Step, path: &Path, mut run: impl FnMut() -> io::Result<T>) -> Result<T, DurableError> {
        let fail = |source| DurableError { step, path: path.to_owned(), source };
        if self.closed.load(Ordering::SeqCst) {
            return Err(fail(io::Error::other("this process has let go of the directory")));
        }
        let Some(faults) = &self.faults else { return run().map_err(fail) };
        let mut out = None;
        faults
            .step(step, path, &mut || {
                out = Some(run()?);
                Ok(())
            })
            .map_err(fail)?;
        out.ok_or_else(|| fail(io::Error::other("the step was left out")))
    }

    /// What can still be put on the file system of `dir`.
    pub fn room(&self, dir: &Path) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(dir)?;
        // None at all: it makes them as they are needed.
        let inodes = (stat.f_files > 0).then_some(Inodes { free: stat.f_favail, all: stat.f_files });
        let room = Room { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), inodes };
        Ok(self.faults.as_ref().map_or(room, |faults| faults.room(room)))
    }

    /// Makes `dir` and what is missing above it (0700), and makes their names durable.
    ///
    /// A folder that exists is left alone: whether its own name is durable, whoever made it knows.
    pub fn create_dirs(&self, dir: &Path) -> Result<(), DurableError> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            self.create_dirs(parent)?;
        }
        self.step(Step::CreateDir, dir, || match fs::DirBuilder::new().mode(DIR_MODE).create(dir) {
            // Somebody else was faster; or it is no folder, which the next step on it will tell.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            other => other,
        })?;
        self.sync_parent(dir)
    }

    /// Makes durable the names in `dir` and in every folder above it, up to and including `root`.
    pub fn sync_up_to(&self, root: &Path, dir: &Path) -> Result<(), DurableError> {
        for folder in dir.ancestors().take_while(|folder| folder.starts_with(root)) {
            self.sync_dir(folder)?;
        }
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub fn sync_dir(&self, dir: &Path) -> Result<(), DurableError> {
        self.step(Step::SyncDir, dir, || File::open(dir)?.sync_all())
    }

    fn sync_parent(&self, path: &Path) -> Result<(), DurableError> {
        match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => self.sync_dir(Path::new(".")),
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// Makes a file's bytes and length durable; its name is not. `path` is for messages.
    pub fn sync_file(&self, file: &File, path: &Path) -> Result<(), DurableError> {
        self.step(Step::SyncFile, path, || file.sync_all())
    }

    /// Makes all of this durable at once, in whatever order: to most disks that is little more than one fsync. Returns when each was
    /// tried; the error is the first one's that failed, in the order given.
    pub fn sync_all(&self, written: &[Unsynced]) -> Result<(), DurableError> {
        let sync = |one: &Unsynced| match one {
            Unsynced::File(file, path) => self.sync_file(file, path),
            Unsynced::Folder(path) => self.sync_dir(path),
        };
        let Some((first, others)) = written.split_first() else { return Ok(()) };
        thread::scope(|scope| {
            // Where there is no thread to be had, it is done without.
            let beside = |one| thread::Builder::new().spawn_scoped(scope, move || sync(one)).map_err(|_| one);
            let running: Vec<_> = others.iter().map(beside).collect();
            let first = sync(first);
            let others = running.into_iter().map(|one| match one {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(one) => sync(one),
            });
            let others: Vec<_> = others.collect();
            first.and(others.into_iter().collect())
        })
    }

    /// A new file (0600) in `dir` under a random name, removed when dropped.
    pub fn stage(&self, dir: &Path) -> Result<NamedTempFile, DurableError> {
        self.step(Step::Create, &dir.join("a new file"), || tempfile::Builder::new().prefix("").rand_bytes(16).tempfile_in(dir))
    }

    /// Opens a file for writing at places, or makes an empty one (0600), whose name is not durable yet.
    pub fn open(&self, path: &Path) -> Result<File, DurableError> {
        let open = || fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
        self.step(Step::Create, path, open)
    }

    /// Makes a staged file durable as `to`, replacing what stands there. `to` lies on the same file system, in a folder that exists.
    ///
    /// When it fails, `staged` is removed unless it [may be](DurableError::may_have_happened) `to` by now.
    pub fn persist(&self, file: &File, staged: TempPath, to: &Path) -> Result<(), DurableError> {
        self.sync_file(file, &staged)?;
        self.name(staged, to)
    }

    /// The rest of [`Disk::persist`], for a staged file whose bytes are durable.
    pub fn name(&self, staged: TempPath, to: &Path) -> Result<(), DurableError> {
        self.step(Step::Rename, to, || fs::rename(&staged, to))?;
        // It has another name now. Disarming cannot fail on Unix, and dropping would find nothing to remove.
        drop(staged.keep());
        self.sync_parent(to)
    }

    /// Makes a file `to` (0600) with these bytes, durably, or leaves what was there; `tmp` is a folder on the same file system.
    pub fn write(&self, tmp: &Path, to: &Path, bytes: &[u8]) -> Result<(), DurableError> {
        self.write_with_mode(tmp, to, bytes, FILE_MODE)
    }

    /// As [`Disk::write`], with permission bits `mode`. The file is never open wider than that under any name.
    pub fn write_with_mode(&self, tmp: &Path, to: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
        let (file, path) = self.stage_with_mode(tmp, bytes, mode)?.into_parts();
        self.persist(&file, path, to)
    }

    /// A new file (0600) as [`Disk::stage`] makes it, with these bytes, which are not durable yet.
    pub fn stage_with(&self, dir: &Path, bytes: &[u8]) -> Result<NamedTempFile, DurableError> {
        self.stage_with_mode(dir, bytes, FILE_MODE)
    }

    fn stage_with_mode(&self, dir: &Path, bytes: &[u8], mode: u32) -> Result<NamedTempFile, DurableError> {
        let staged = self.stage(dir)?;
        self.step(Step::Write, staged.path(), || {
            let file = staged.as_file();
            file.write_all_at(bytes, 0)?;
            // Whatever the umask is.
            if mode == FILE_MODE { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode)) }
        })?;
        Ok(staged)
    }

    /// Writes bytes into an open file, from `at` on. `path` is for messages.
    pub fn write_at(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<(), DurableError> {
        self.step(Step::Write, path, || file.write_all_at(bytes, at))
    }

    /// Renames durably within one folder.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DurableError> {
        self.step(Step::Rename, to, || fs::rename(from, to))?;
        self.sync_parent(to)
    }

    /// Removes a file, durably; it may be gone already.
    pub fn remove(&self, path: &Path) -> Result<(), DurableError> {
        self.unlink(path)?;
        self.sync_parent(path)
    }

    /// Removes a file whose coming back after a power failure does no harm; it may be gone already.
    pub fn unlink(&self, path: &Path) -> Result<(), DurableError> {
        self.step(Step::Remove, path, || match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }
}

/// A file that only grows, a durable piece at a time.
#[derive(Debug)]
pub struct Journal {
    disk: Disk,
    file: File,
    path: PathBuf,
    len: u64,
    torn: bool,
}

impl Journal {
    /// Opens the file, or makes an empty one, durably. `len`: what of it is good; the rest is cut off.
    /// What is kept is durable when this returns, whoever wrote it.
    pub fn open(disk: &Disk, path: &Path, len: u64) -> Result<Self, DurableError> {
        let file = disk.open(path)?;
        let mut journal = Self { disk: disk.clone(), file, path: path.to_owned(), len, torn: false };
        journal.cut()?;
        disk.sync_parent(path)?;
        Ok(journal)
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends all of `bytes`, durably. When it fails nothing was appended: what had been written is cut off again, so that the
    /// next piece does not stick to it; where that fails too, so does every append until the cut succeeds.
    ///
    /// After a crash in here any part of `bytes` may be missing, in the middle too: give it one line at a time.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), DurableError> {
        if self.torn {
            self.cut()?;
        }
        self.torn = true;
        let written = self
            .disk
            .step(Step::Write, &self.path, || self.file.write_all_at(bytes, self.len))
            .and_then(|()| self.disk.sync_file(&self.file, &self.path));
        if let Err(error) = written {
            // The first error is the one to tell; a second leaves `torn` set.
            let _ = self.cut();
            return Err(error);
        }
        self.torn = false;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Whether the last append failed and what it had written could not be cut off: it may be whole.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    fn cut(&mut self) -> Result<(), DurableError> {
        self.disk.step(Step::Truncate, &self.path, || {
            // A longer length would be filled with zeros: the caller asked for more than there is.
            if self.file.metadata()?.len() < self.len { Err(io::ErrorKind::UnexpectedEof.into()) } else { self.file.set_len(self.len) }
        })?;
        self.disk.sync_file(&self.file, &self.path)?;
        self.torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
