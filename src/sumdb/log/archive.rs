//! The log in a backup, and out of one.
//!
//! An archive holds the public key, a head and the records of it: not the secret key. Whoever could go on signing with an older state of
//! the log would show two trees to those who saw what came after it. So out of an archive comes another log: a new key signs the
//! same records, and what was trusted on first use stays so.

use std::path::Path;

use super::layout::Layout;
use super::open::{OpenError, read, sign_anew};
use super::reread::{Reread, compare, reread};
use super::{Log, Shared};
use crate::durable::Disk;
use crate::stop::Stop;
use crate::store::CarriedLog;
use crate::store::backup::{ARCHIVED_VERIFIER, ArchivedLog};
use crate::tlog::{KeyError, SignedHead, Tile, VerifierKey};

impl Log {
    /// What a backup takes: the newest head, and the data tiles of exactly its tree, which are read and judged now. They go on being the
    /// beginnings of their files, whatever is appended meanwhile. Blocks for as long as it takes to read all of the log.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where the log is not what its head signs; [`OpenError::Stopped`] once `stop` is asked.
    pub fn archived(&self, stop: &Stop) -> Result<ArchivedLog, OpenError> {
        let Shared { layout, head, .. } = &*self.shared;
        let head = head.load_full();
        let mut tiles = Vec::new();
        reread(layout, head.head(), stop, |read| {
            match read {
                Reread::Hashes(tile, content) => compare(layout, tile, content)?,
                Reread::Records { tile, bytes, .. } => tiles.push((tile.full(), layout.tile(tile), bytes)),
            }
            Ok(())
        })?;
        Ok(ArchivedLog { verifier: self.key().clone(), head: SignedHead::clone(&head), tiles })
    }
}

/// Makes a log of what an archive holds of another, in the folder where that was unpacked: its records, with a new key for `host` and a
/// head that this signs. They must be the records that the archived head is of. Blocks.
///
/// The caller makes the whole folder durable before it gives it its place.
///
/// # Errors
///
/// [`OpenError`]; the folder is no log then.
pub fn carry(folder: &Path, host: &str) -> Result<CarriedLog, OpenError> {
    let (layout, disk) = (Layout::new(folder.to_owned()), Disk::default());
    let (verifier, head) = (folder.join(ARCHIVED_VERIFIER), layout.head());
    let lost = |path: &Path| OpenError::Lost { path: path.to_owned() };
    let text = read(&verifier)?.ok_or_else(|| lost(&verifier))?;
    let old = std::str::from_utf8(&text).map_err(|_| KeyError::Malformed).and_then(|key| key.trim_end().parse::<VerifierKey>());
    let old = old.map_err(|source| OpenError::Key { path: verifier.clone(), source })?;
    let note = read(&head)?.ok_or_else(|| lost(&head))?;
    let signed = SignedHead::open(note, &old).map_err(|source| OpenError::Head { path: head, source })?;
    reread(&layout, signed.head(), &Stop::default(), |read| match read {
        Reread::Hashes(tile, content) => write(&disk, &layout, tile, content),
        Reread::Records { .. } => Ok(()),
    })?;
    disk.unlink(&verifier)?;
    let key = sign_anew(&disk, &layout, host, signed.head())?;
    Ok(CarriedLog { old, key })
}

fn write(disk: &Disk, layout: &Layout, tile: Tile, content: &[u8]) -> Result<(), OpenError> {
    let path = layout.tile(tile);
    let folder = path.parent().unwrap_or(layout.folder());
    disk.create_dirs(folder)?;
    let file = disk.open(&path)?;
    Ok(disk.write_at(&file, &path, content, 0)?)
}
