//! The files themselves: reading what is kept and keeping what came. Everything here blocks on the disk.
//!
//! A file appears by write, fsync, rename, fsync of the folder, all within bytes that the index set aside. Of a zip
//! its hash file gets its name first, so that a zip that is there has one. A file that is not what it should be is a
//! miss: it is set aside, counted and recorded. One that cannot be read is neither: that is the disk's failure, or the
//! process has no descriptors left. It stays, until upstream gives another copy that takes its place.

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
use crate::observe::audit::{Actor, Audit, Event};
use crate::store::StoreError;
use crate::upstream::Absent;

use super::body::OpenFile;
use super::index::{Bounds, Index, Lease, Reservation, Upkeep, gone, is_gone};
use super::judge;
use super::memo::{self, Memo};
use super::place::{Asset, Place, sidecar};
use super::voucher::VoucherId;

/// What is shorter is answered from memory, and checked each time.
pub(super) const SMALL_BYTES_MAX: u64 = 64 << 10;
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
    /// Of a zip: the hash that is kept beside it.
    pub(super) h1: Option<H1>,
    /// Who vouched for it, in this process.
    pub(super) voucher: Option<VoucherId>,
}

/// What was read of a file, if it is there, and what keeps that from being evicted.
pub(super) type Leased<T> = Option<(T, Arc<Lease>)>;

/// Why something is not kept; it is served all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    /// It does not fit into the bound.
    #[error("no room within cache.max_size and cache.min_free")]
    NoRoom,
    /// Nothing is kept now; that was told when it began.
    #[error("less of the file system is free than cache.min_free")]
    Paused,
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

impl NotKept {
    fn no_room(index: &Index) -> Self {
        if index.is_paused() { Self::Paused } else { Self::NoRoom }
    }
}

/// What is kept, or may be, and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {key}: {source}")]
pub(super) struct Unreadable {
    /// Its key.
    pub(super) key: String,
    #[source]
    pub(super) source: io::Error,
}

pub(super) struct Shelf {
    pub(super) index: Arc<Index>,
    pub(super) upkeep: Upkeep,
    disk: Disk,
    tmp: PathBuf,
    audit: Audit,
}

/// The kind under which a damaged file is recorded.
pub(crate) const DAMAGED: &str = "cache-damaged";

impl Shelf {
    /// Opens what is kept under `root`, and empties `tmp`, which is this shelf's alone. Returns before all that is kept is
    /// known; it is found all the same. The index's own files are in `index`. What is set aside is recorded in `audit`.
    pub(super) fn open(root: &Path, index: &Path, tmp: &Path, disk: Disk, bounds: Bounds, audit: Audit) -> Result<Self, io::Error> {
        for dir in [root, tmp] {
            disk.create_dirs(dir).map_err(io::Error::other)?;
        }
        for left in std::fs::read_dir(tmp)? {
            // The process before this one may still be ending: what it staged goes with it.
            gone(std::fs::remove_file(left?.path()))?;
        }
        let index = Arc::new(Index::open(root, index, disk.clone(), bounds)?);
        let upkeep = Upkeep::start(index.clone())?;
        Ok(Self { index, upkeep, disk, tmp: tmp.to_owned(), audit })
    }

    /// What is kept for an asset, which is not evicted while the lease lives.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub(super) fn look_up(&self, asset: &Asset) -> Result<Leased<Answer>, Unreadable> {
        let unreadable = |key: &str| {
            let key = key.to_owned();
            move |source| Unreadable { key, source }
        };
        let place = asset.place();
        if let Some(key) = place.file
            && let Some(((kept, h1), lease)) = self.file(asset, &key).map_err(unreadable(&key))?
        {
            return Ok(Some((Answer { key, kept, at: None, h1, voucher: lease.voucher() }, lease)));
        }
        let mut newest: Leased<Answer> = None;
        // A crash between the writing of one and the removal of the other leaves both.
        for key in [place.memo, place.absence].into_iter().flatten() {
            if let Some(((kept, at), lease)) = self.memo(&key).map_err(unreadable(&key))?
                && newest.as_ref().is_none_or(|(newest, _)| newest.at < Some(at))
            {
                newest = Some((Answer { key, kept, at: Some(at), h1: None, voucher: lease.voucher() }, lease));
            }
        }
        Ok(newest)
    }

    fn memo(&self, key: &str) -> io::Result<Leased<(Kept, SystemTime)>> {
        let read = self.checked(key, |file, len, noted| if len == noted { read_memo(key, file, len) } else { Ok(None) })?;
        let Some(((memo, content), lease)) = read else { return Ok(None) };
        let kept = match (memo.status, content) {
            (200, content) => Kept::Found { content, etag: Some(strong(&memo.sha256)) },
            (status, Content::Bytes(text)) => Kept::Absent(Absent { status, text: String::from_utf8_lossy(&text).into_owned() }),
            (_, Content::File { .. }) => return Ok(None),
        };
        Ok(Some(((kept, memo.at()), lease)))
    }

    fn file(&self, asset: &Asset, key: &str) -> io::Result<Leased<(Kept, Option<H1>)>> {
        match sidecar(key) {
            Some(beside) => self.checked(key, |file, len, noted| {
                let Some(h1) = read_hash(&self.index.path(&beside))? else { return Ok(None) };
                if len == 0 || len + h1.to_string().len() as u64 != noted {
                    return Ok(None);
                }
                Ok(Some((Kept::Found { content: content(file, 0, len)?, etag: Some(weak(&h1)) }, Some(h1))))
            }),
            None => self.checked(key, |file, len, noted| {
                let kept = if len == noted { read_file(asset, file, len)? } else { None };
                Ok(kept.map(|kept| (kept, None)))
            }),
        }
    }

    /// Opens a file that the index knows and has `read` judge it, by its length and the one that the index noted; what
    /// `read` does not accept, or is shorter than it was when it was opened, is set aside.
    fn checked<T>(&self, key: &str, read: impl FnOnce(&OpenFile, u64, u64) -> io::Result<Option<T>>) -> io::Result<Leased<T>> {
        let Some(lease) = self.index.lease(key)?.map(Arc::new) else { return Ok(None) };
        if lease.is_unreadable() {
            return Err(io::Error::other("it could not be read to its end"));
        }
        let noted = lease.bytes();
        let opened = File::open(self.index.path(key)).and_then(|file| file.metadata().map(|meta| (file, meta.len())));
        let (file, len) = match opened {
            Ok(opened) => opened,
            // Removed by hand, or replaced this moment: if it is gone, it is no entry either.
            Err(e) if is_gone(&e) => {
                drop(lease);
                self.index.forget_if_gone(key);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // If it was replaced meanwhile, which of the two was opened is not known, and nothing is wrong.
        if !lease.is_current() {
            return Ok(None);
        }
        let judged = match read(&OpenFile::holding(file, lease.clone()), len, noted) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            judged => judged?,
        };
        if judged.is_none() && self.index.set_aside(key, &lease) {
            tracing::warn!(file = key, "a cached file is corrupt; it is set aside");
            let (kind, text) = (DAMAGED.to_owned(), "not as it was written; it is set aside".to_owned());
            self.record(&Event::Integrity { kind, path: key.to_owned(), text });
        }
        Ok(judged.map(|judged| (judged, lease)))
    }

    /// Into the audit trail, as what the gateway found by itself.
    pub(super) fn record(&self, event: &Event) {
        self.audit.record(&Actor::local("modgate"), event);
    }

    /// The first line of an answer with a date; `None`: it is gone, or not what it should be.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn memo_head(&self, key: &str) -> io::Result<Option<Memo>> {
        let file = match File::open(self.index.path(key)) {
            Err(e) if is_gone(&e) => return Ok(None),
            opened => opened?,
        };
        let len = file.metadata()?.len();
        let mut start = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, memo::HEAD_BYTES_MAX as u64), &mut start)?;
        Ok(Memo::read(key, &start, len).map(|(memo, _)| memo))
    }

    /// Keeps an answer that never changes.
    pub(super) fn keep_file(&self, key: Option<&str>, body: &Bytes) -> Result<Lease, NotKept> {
        self.write(key.ok_or(NotKept::NoPlace)?, body)
    }

    /// Keeps an answer with a date.
    pub(super) fn keep_memo(&self, place: &Place, now: SystemTime, body: &[u8]) -> Result<Lease, NotKept> {
        let key = place.memo.as_deref().ok_or(NotKept::NoPlace)?;
        let file = Memo::new(key, 200, now, body).file(body).ok_or(NotKept::NoPlace)?;
        let lease = self.write(key, &file)?;
        self.forget(place.absence.as_deref());
        Ok(lease)
    }

    /// Keeps that something is absent, in the place of an answer with a date.
    pub(super) fn keep_absence(&self, place: &Place, absent: &Absent, now: SystemTime) -> Result<(), NotKept> {
        let (Some(asked), Some(key)) = (place.memo.as_deref(), place.absence.as_deref()) else { return Err(NotKept::NoPlace) };
        let text = absent.text.as_bytes();
        let file = Memo::new(asked, absent.status, now, text).file(text).ok_or(NotKept::NoPlace)?;
        self.write(key, &file)?;
        self.forget(Some(asked));
        self.index.bound_absences();
        Ok(())
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<Lease, NotKept> {
        let reservation = self.index.reserve(bytes.len() as u64).ok_or_else(|| NotKept::no_room(&self.index))?;
        let mut staged = Staged { file: self.stage_file()?, reservation, len: 0, disk: self.disk.clone() };
        staged.write(bytes)?;
        self.disk.sync_file(&staged.file.0, &staged.file.1)?;
        let to = self.index.path(key);
        let Staged { mut reservation, file: (_, tmp), len, .. } = staged;
        let lease = reservation.commit(key, len, || self.index.place(&tmp, &to))?;
        lease.ok_or(NotKept::Closed)
    }

    fn stage_file(&self) -> Result<(File, TempPath), DurableError> {
        Ok(self.disk.stage(&self.tmp)?.into_parts())
    }

    /// Begins a file that is to grow; `len`: its length in bytes, if that is known.
    pub(super) fn stage(&self, len: Option<u64>) -> Result<Staged, NotKept> {
        let reservation = self.index.reserve(len.unwrap_or(0)).ok_or_else(|| NotKept::no_room(&self.index))?;
        Ok(Staged { file: self.stage_file()?, reservation, len: 0, disk: self.disk.clone() })
    }

    /// Keeps a staged zip and its hash; `voucher`: who vouched for it. Returns it open, kept or not, and why it is not kept.
    pub(super) fn keep_zip(
        &self,
        key: Option<&str>,
        mut staged: Staged,
        h1: &H1,
        voucher: Option<VoucherId>,
    ) -> io::Result<(OpenFile, Result<(), NotKept>)> {
        match self.commit_zip(key, &mut staged, h1) {
            Ok(lease) => {
                if let Some(voucher) = voucher {
                    lease.vouch(voucher);
                }
                Ok((OpenFile::holding(staged.reader()?, lease), Ok(())))
            }
            Err(why) => Ok((staged.unkept()?, Err(why))),
        }
    }

    fn commit_zip(&self, key: Option<&str>, staged: &mut Staged, h1: &H1) -> Result<Lease, NotKept> {
        let key = key.ok_or(NotKept::NoPlace)?;
        let beside = sidecar(key).ok_or(NotKept::NoPlace)?;
        let hash = h1.to_string();
        let bytes = staged.len + hash.len() as u64;
        if !staged.make_sure(bytes) {
            return Err(NotKept::no_room(&self.index));
        }
        let (hash_file, hash_tmp) = self.stage_file()?;
        self.disk.write_at(&hash_file, &hash_tmp, hash.as_bytes(), 0)?;
        self.disk.sync_file(&hash_file, &hash_tmp)?;
        self.disk.sync_file(&staged.file.0, &staged.file.1)?;
        let (to, hash_to) = (self.index.path(key), self.index.path(&beside));
        let Staged { reservation, file: (_, tmp), .. } = staged;
        let place = |tmp: &Path, to: &Path| self.index.place(tmp, to);
        // Crash after the first: a hash without a zip, which a scan removes.
        let lease = reservation.commit(key, bytes, || place(&hash_tmp, &hash_to).and_then(|()| place(tmp, &to)))?;
        lease.ok_or(NotKept::Closed)
    }

    /// Forgets the answers with a date, and absences, of which none counts any more.
    pub(super) fn forget_dated(&self, place: &Place) {
        self.forget(place.memo.as_deref());
        self.forget(place.absence.as_deref());
    }

    /// Drops what does not count any more: an absence that is over, say.
    pub(super) fn forget(&self, key: Option<&str>) {
        if let Some(key) = key.filter(|key| !matches!(self.index.lease(key), Ok(None)))
            && let Err(error) = self.index.remove(key)
        {
            tracing::warn!(file = key, %error, "cannot remove what does not count any more");
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
            return Err(NotKept::no_room(self.reservation.index()));
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
fn content(file: &OpenFile, from: u64, len: u64) -> io::Result<Content> {
    if len > SMALL_BYTES_MAX {
        return Ok(Content::File { file: file.clone(), from, len });
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, from)?;
    Ok(Content::Bytes(bytes.into()))
}

/// `None`: it is not what it should be. So with the two below.
fn read_file(asset: &Asset, file: &OpenFile, len: u64) -> io::Result<Option<Kept>> {
    if len == 0 || len > judge::bytes_max(asset) {
        return Ok(None);
    }
    let content = content(file, 0, len)?;
    let etag = match &content {
        Content::Bytes(bytes) if !judge::is_intact(asset, bytes) => return Ok(None),
        Content::Bytes(bytes) => Some(strong(&memo::sha256(bytes))),
        Content::File { .. } => None,
    };
    Ok(Some(Kept::Found { content, etag }))
}

fn read_memo(key: &str, file: &OpenFile, len: u64) -> io::Result<Option<(Memo, Content)>> {
    let mut start = vec![0; usize::try_from(len).map_or(memo::HEAD_BYTES_MAX, |len| len.min(memo::HEAD_BYTES_MAX))];
    file.read_exact_at(&mut start, 0)?;
    let Some((memo, from)) = Memo::read(key, &start, len) else { return Ok(None) };
    let content = content(file, from as u64, memo.len)?;
    match &content {
        Content::Bytes(bytes) if memo::sha256(bytes) != memo.sha256 => Ok(None),
        _ => Ok(Some((memo, content))),
    }
}

pub(super) fn read_hash(path: &Path) -> io::Result<Option<H1>> {
    let file = match File::open(path) {
        Err(e) if is_gone(&e) => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, HASH_FILE_BYTES_MAX), &mut bytes)?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok()))
}

/// The bytes have this SHA-256.
pub(super) fn strong(sha256: &str) -> String {
    format!("\"{sha256}\"")
}

/// The files in the zip have this hash; its bytes may differ from those of another.
pub(super) fn weak(h1: &H1) -> String {
    format!("W/\"{h1}\"")
}
