//! The files themselves: reading what is kept and keeping what came. Everything here blocks on the disk.
//!
//! A file appears by write, fsync, rename, fsync of the folder, all within bytes that the index set aside. Of a zip
//! its hash file gets its name first, so that a zip that is there has one. A file that is not what it should be is a
//! miss: it is set aside and counted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tempfile::TempPath;

use crate::durable::{Disk, DurableError};
use crate::module::H1;
use crate::store::StoreError;
use crate::upstream::Absent;

use super::body::OpenFile;
use super::index::{Bounds, Index, Lease, Reservation, Upkeep};
use super::judge;
use super::memo::{self, Memo};
use super::place::{Asset, sidecar};

/// What is shorter is answered from memory, and checked each time.
pub(super) const SMALL_BYTES_MAX: u64 = 64 << 10;
/// How often a folder that went away is made again.
const PLACE_TRIES: u32 = 8;
/// Longest hash file, bytes.
const HASH_FILE_BYTES_MAX: u64 = 128;

/// Bytes that can be answered with any number of times.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Bytes),
    File { file: OpenFile, from: u64, len: u64 },
}

/// What answers an asset.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Found { content: Content, etag: Option<String> },
    Absent(Absent),
}

/// What is kept, and where.
#[derive(Debug)]
pub(super) struct Answer {
    /// The key that it was read from.
    pub(super) key: String,
    pub(super) kept: Kept,
    /// When upstream said so; `None` for what never changes.
    pub(super) at: Option<SystemTime>,
}

/// Why something is not kept; it is served all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    /// It does not fit into the bound.
    #[error("no room within cache.max_size and cache.min_free")]
    NoRoom,
    /// The cache is closed: the process ends.
    #[error("the cache is closed")]
    Closed,
    /// Its name is too long for the file system.
    #[error("its name is too long")]
    NoPlace,
    /// The disk would not.
    #[error(transparent)]
    Disk(#[from] DurableError),
    /// That the module is known could not be noted first.
    #[error("cannot note the module as known: {0}")]
    Records(#[from] StoreError),
    /// The thread that wrote it panicked.
    #[error("writing broke off")]
    Broken,
}

pub(super) struct Shelf {
    pub(super) index: Arc<Index>,
    pub(super) upkeep: Upkeep,
    disk: Disk,
    tmp: PathBuf,
}

impl Shelf {
    /// Opens what is kept under `root`, and empties `tmp`, which is this shelf's alone. Returns before all that is kept is
    /// known; it is found all the same. The index's own files are in `index`.
    pub(super) fn open(root: &Path, index: &Path, tmp: &Path, disk: Disk, bounds: Bounds) -> Result<Self, io::Error> {
        for dir in [root, tmp] {
            disk.create_dirs(dir).map_err(io::Error::other)?;
        }
        for left in std::fs::read_dir(tmp)? {
            std::fs::remove_file(left?.path())?;
        }
        let index = Arc::new(Index::open(root, index, disk.clone(), bounds)?);
        let upkeep = Upkeep::start(index.clone())?;
        Ok(Self { index, upkeep, disk, tmp: tmp.to_owned() })
    }

    /// What is kept for an asset.
    pub(super) fn look_up(&self, asset: &Asset) -> Option<Answer> {
        let place = asset.place();
        if let Some(key) = place.file
            && let Some(kept) = self.file(asset, &key)
        {
            return Some(Answer { key, kept, at: None });
        }
        let key = place.memo?;
        let (memo, content) = self.checked(&key, |file, len, noted| (len == noted).then(|| read_memo(&key, file, len))?)?;
        let kept = match (memo.status, content) {
            (200, content) => Kept::Found { content, etag: Some(strong(&memo.sha256)) },
            (status, Content::Bytes(text)) => Kept::Absent(Absent { status, text: String::from_utf8_lossy(&text).into_owned() }),
            (_, Content::File { .. }) => return None,
        };
        Some(Answer { key, kept, at: Some(memo.at()) })
    }

    fn file(&self, asset: &Asset, key: &str) -> Option<Kept> {
        match sidecar(key) {
            Some(beside) => self.checked(key, |file, len, noted| {
                let h1 = read_hash(&self.index.path(&beside))?;
                let whole = len > 0 && len + h1.to_string().len() as u64 == noted;
                let content = if whole { content(file, 0, len)? } else { return None };
                Some(Kept::Found { content, etag: Some(weak(&h1)) })
            }),
            None => self.checked(key, |file, len, noted| (len == noted).then(|| read_file(asset, file, len))?),
        }
    }

    /// Opens a file that the index knows and has `read` judge it, by its length and the one that the index noted; what
    /// `read` does not accept is set aside.
    fn checked<T>(&self, key: &str, read: impl FnOnce(&OpenFile, u64, u64) -> Option<T>) -> Option<T> {
        let lease = self.index.lease(key)?;
        let noted = lease.bytes();
        let opened = File::open(self.index.path(key)).and_then(|file| file.metadata().map(|meta| (file, meta.len())));
        let (file, len) = match opened {
            Ok(opened) => opened,
            // Removed by hand, or replaced this moment: if it is gone, it is no entry either.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                drop(lease);
                self.index.forget_if_gone(key);
                return None;
            }
            Err(error) => {
                tracing::warn!(file = key, %error, "cannot read a cached file");
                return None;
            }
        };
        // If it was replaced meanwhile, which of the two was opened is not known, and nothing is wrong.
        if !lease.is_current() {
            return None;
        }
        let read = read(&OpenFile::holding(file, lease), len, noted);
        if read.is_none() && self.index.lease(key).is_some_and(|lease| lease.bytes() == noted) {
            tracing::warn!(file = key, "a cached file is corrupt; it is set aside");
            self.index.set_aside(key);
        }
        read
    }

    /// Keeps an answer that never changes.
    pub(super) fn keep_file(&self, key: Option<&str>, body: &Bytes) -> Result<(), NotKept> {
        self.write(key.ok_or(NotKept::NoPlace)?, body)
    }

    /// Keeps an answer with a date.
    pub(super) fn keep_memo(&self, key: Option<&str>, status: u16, now: SystemTime, body: &[u8]) -> Result<(), NotKept> {
        let key = key.ok_or(NotKept::NoPlace)?;
        let file = Memo::new(key, status, now, body).file(body).ok_or(NotKept::NoPlace)?;
        self.write(key, &file)
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), NotKept> {
        let reservation = self.index.reserve(bytes.len() as u64).ok_or(NotKept::NoRoom)?;
        let mut staged = Staged { file: self.stage_file()?, reservation, len: 0, disk: self.disk.clone() };
        staged.write(bytes)?;
        self.disk.sync_file(&staged.file.0, &staged.file.1)?;
        let to = self.index.path(key);
        let Staged { mut reservation, file: (_, tmp), len, disk } = staged;
        let lease = reservation.commit(key, len, || place(&disk, &tmp, &to))?;
        lease.map(drop).ok_or(NotKept::Closed)
    }

    fn stage_file(&self) -> Result<(File, TempPath), DurableError> {
        Ok(self.disk.stage(&self.tmp)?.into_parts())
    }

    /// Begins a file that is to grow; `len`: its length in bytes, if that is known.
    pub(super) fn stage(&self, len: Option<u64>) -> Result<Staged, NotKept> {
        let reservation = self.index.reserve(len.unwrap_or(0)).ok_or(NotKept::NoRoom)?;
        Ok(Staged { file: self.stage_file()?, reservation, len: 0, disk: self.disk.clone() })
    }

    /// Keeps a staged zip and its hash. Returns it open, kept or not, and why it is not kept.
    pub(super) fn keep_zip(&self, key: Option<&str>, mut staged: Staged, h1: &H1) -> io::Result<(OpenFile, Result<(), NotKept>)> {
        match self.commit_zip(key, &mut staged, h1) {
            Ok(lease) => Ok((OpenFile::holding(staged.reader()?, lease), Ok(()))),
            Err(why) => Ok((staged.unkept()?, Err(why))),
        }
    }

    fn commit_zip(&self, key: Option<&str>, staged: &mut Staged, h1: &H1) -> Result<Lease, NotKept> {
        let key = key.ok_or(NotKept::NoPlace)?;
        let beside = sidecar(key).ok_or(NotKept::NoPlace)?;
        let hash = h1.to_string();
        let bytes = staged.len + hash.len() as u64;
        if !staged.make_sure(bytes) {
            return Err(NotKept::NoRoom);
        }
        let (hash_file, hash_tmp) = self.stage_file()?;
        self.disk.write_at(&hash_file, &hash_tmp, hash.as_bytes(), 0)?;
        self.disk.sync_file(&hash_file, &hash_tmp)?;
        self.disk.sync_file(&staged.file.0, &staged.file.1)?;
        let (to, hash_to) = (self.index.path(key), self.index.path(&beside));
        let Staged { reservation, file: (_, tmp), disk, .. } = staged;
        // Crash after the first: a hash without a zip, which a scan removes.
        let lease = reservation.commit(key, bytes, || place(disk, &hash_tmp, &hash_to).and_then(|()| place(disk, tmp, &to)))?;
        lease.ok_or(NotKept::Closed)
    }

    /// Forgets an absence that is none any more.
    pub(super) fn forget(&self, key: Option<&str>) {
        if let Some(key) = key.filter(|key| self.index.contains(key))
            && let Err(error) = self.index.remove(key)
        {
            tracing::warn!(file = key, %error, "cannot remove an absence that is over");
        }
    }
}

/// Gives a synced file its name, durably, and makes the folder that it lies in. An empty folder may be removed at any
/// moment until then.
pub(super) fn place(disk: &Disk, tmp: &Path, to: &Path) -> Result<(), DurableError> {
    let mut tries = 0;
    loop {
        let placed = to.parent().map_or(Ok(()), |dir| disk.create_dirs(dir)).and_then(|()| disk.rename(tmp, to));
        match placed {
            Err(e) if e.source.kind() == io::ErrorKind::NotFound && tries < PLACE_TRIES => tries += 1,
            placed => return placed,
        }
    }
}

/// A file that grows within bytes set aside; removed, and they given back, when dropped.
pub(super) struct Staged {
    // Dropped before the reservation: bytes are given back when they are gone.
    file: (File, TempPath),
    reservation: Reservation,
    len: u64,
    disk: Disk,
}

impl Staged {
    /// Appends. When it fails, what was there before is there still.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), NotKept> {
        let len = self.len + bytes.len() as u64;
        if !self.make_sure(len) {
            return Err(NotKept::NoRoom);
        }
        self.disk.write_at(&self.file.0, &self.file.1, bytes, self.len)?;
        self.reservation.wrote(len - self.len);
        self.len = len;
        Ok(())
    }

    /// The file without its name, at its start; its bytes are counted while it is open.
    pub(super) fn unkept(self) -> io::Result<OpenFile> {
        let file = self.reader()?;
        let Self { file: (_, name), reservation, .. } = self;
        drop(name);
        Ok(OpenFile::holding(file, reservation))
    }

    /// Has at least so many bytes set aside.
    fn make_sure(&mut self, bytes: u64) -> bool {
        let missing = bytes.saturating_sub(self.reservation.bytes());
        missing == 0 || self.reservation.grow(missing)
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from `at` on; both within its length.
    pub(super) fn read_at(&self, at: u64, len: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.file.0.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }

    /// Another handle to the file, at its start.
    pub(super) fn reader(&self) -> io::Result<File> {
        let mut file = self.file.0.try_clone()?;
        io::Seek::rewind(&mut file)?;
        Ok(file)
    }
}

/// Reads the whole file if it is small.
fn content(file: &OpenFile, from: u64, len: u64) -> Option<Content> {
    if len > SMALL_BYTES_MAX {
        return Some(Content::File { file: file.clone(), from, len });
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_exact_at(&mut bytes, from).ok()?;
    Some(Content::Bytes(bytes.into()))
}

fn read_file(asset: &Asset, file: &OpenFile, len: u64) -> Option<Kept> {
    if len == 0 || len > judge::bytes_max(asset) {
        return None;
    }
    let content = content(file, 0, len)?;
    let etag = match &content {
        Content::Bytes(bytes) if !judge::is_intact(asset, bytes) => return None,
        Content::Bytes(bytes) => Some(strong(&memo::sha256(bytes))),
        Content::File { .. } => None,
    };
    Some(Kept::Found { content, etag })
}

fn read_memo(key: &str, file: &OpenFile, len: u64) -> Option<(Memo, Content)> {
    let mut start = vec![0; memo::HEAD_BYTES_MAX.min(usize::try_from(len).ok()?)];
    file.read_exact_at(&mut start, 0).ok()?;
    let (memo, from) = Memo::read(key, &start, len)?;
    let content = content(file, from as u64, memo.len)?;
    match &content {
        Content::Bytes(bytes) if memo::sha256(bytes) != memo.sha256 => None,
        _ => Some((memo, content)),
    }
}

pub(super) fn read_hash(path: &Path) -> Option<H1> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path).ok()?, HASH_FILE_BYTES_MAX), &mut text).ok()?;
    text.trim_end().parse().ok()
}

/// The bytes have this SHA-256.
pub(super) fn strong(sha256: &str) -> String {
    format!("\"{sha256}\"")
}

/// The files in the zip have this hash; its bytes may differ from those of another.
pub(super) fn weak(h1: &H1) -> String {
    format!("W/\"{h1}\"")
}
