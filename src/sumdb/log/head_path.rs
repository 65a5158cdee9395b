//! `head_path`: the newest head once more, on a volume that does not go back in time with the data directory.
//!
//! That it was written is noted beside the log, with its path: a file that is missing there later is a volume that is not mounted, or a
//! loss, and never a first time. *Crash between the file and the note: the next start finds the file, and notes it.*

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::layout::Layout;
use super::open::{OpenError, read};
use crate::durable::{Disk, DurableError};
use crate::tlog::{SignedHead, VerifierKey, consistency};

/// What there is to do with a `head_path` against which nothing speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds the log's head.
    Current,
    /// It holds an older head, of which the log goes on.
    Older,
    /// It was never written.
    New,
}

/// Judges what is there, and changes nothing: a head of this log, which this log holds, or nothing yet.
pub(super) fn judge(path: &Path, layout: &Layout, key: &VerifierKey, head: &SignedHead) -> Result<Standing, OpenError> {
    let Some(note) = read(path)? else {
        let noted = layout.head_path_note();
        return match read(&noted)? {
            Some(text) if text == note_of(path) => Err(OpenError::HeadPathGone { path: path.to_owned(), noted }),
            _ => Ok(Standing::New),
        };
    };
    let known = SignedHead::open(note, key).map_err(|source| OpenError::HeadPath { path: path.to_owned(), source })?;
    let (known, found) = (*known.head(), *head.head());
    if known.size > found.size {
        let folder = layout.folder().to_owned();
        return Err(OpenError::Behind { folder, path: path.to_owned(), found: found.size, known: known.size });
    }
    let fork = |source| OpenError::Fork { path: path.to_owned(), source };
    layout.with_tiles(|tiles| consistency(&known, &found, tiles).map_err(fork))?;
    Ok(if known.size < found.size { Standing::Older } else { Standing::Current })
}

/// Brings it up to date, and notes that it is there. `tmp`: where the note is staged.
pub(super) fn settle(
    disk: &Disk,
    tmp: &Path,
    path: &Path,
    layout: &Layout,
    head: &SignedHead,
    standing: Standing,
) -> Result<(), OpenError> {
    if standing == Standing::New && head.head().size > 0 {
        tracing::warn!(
            path = %path.display(),
            records = head.head().size,
            "sumdb.head_path held no head of this log, and does now: whether the log was put back to an older state before cannot be told"
        );
    }
    if standing != Standing::Current {
        write(disk, path, head.note())?;
    }
    let (noted, text) = (layout.head_path_note(), note_of(path));
    if read(&noted)?.is_none_or(|before| before != text) {
        disk.write(tmp, &noted, &text)?;
    }
    Ok(())
}

/// Writes a head there. It is staged beside it, as it lies on a volume of its own.
pub(super) fn write(disk: &Disk, path: &Path, note: &[u8]) -> Result<(), DurableError> {
    disk.write(folder(path), path, note)
}

/// Whether one of these heads lies there, byte for byte.
pub(super) fn holds(path: &Path, heads: &[&SignedHead]) -> bool {
    read(path).ok().flatten().is_some_and(|note| heads.iter().any(|head| note == head.note()))
}

/// What became of a `head_path` whose log is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yielded {
    /// Nothing lies there.
    Absent,
    /// What lies there is no head of that log, and stays.
    Foreign,
    /// The head has this name now.
    Aside(PathBuf),
}

/// Gives the head that lies there another name beside it, `FILE.old-XXXXXXXX`, if it is of the log with this key. For who begins a new one.
///
/// # Errors
///
/// [`OpenError::Read`], [`OpenError::Write`].
pub fn set_aside(path: &Path, key: &VerifierKey) -> Result<Yielded, OpenError> {
    let Some(content) = read(path)? else { return Ok(Yielded::Absent) };
    if SignedHead::open(content.clone(), key).is_err() {
        return Ok(Yielded::Foreign);
    }
    let digest = Sha256::digest(&content);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // The same content has the same name: nothing is lost where there is such a file.
    name.push(format!(".old-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]));
    let aside = path.with_file_name(name);
    Disk::default().rename(path, &aside)?;
    Ok(Yielded::Aside(aside))
}

/// The folder that it lies in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn note_of(path: &Path) -> Vec<u8> {
    [path.as_os_str().as_bytes(), b"\n"].concat()
}
