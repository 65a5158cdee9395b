//! The file `lock` of a data directory: held by the process that works there, whose id it holds for as long.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::data_dir::{OpenError, failed, read_small};
use crate::durable::{DurableError, Step, is_full};

/// Below the root.
const NAME: &str = "lock";
/// How long a lock that somebody holds is waited for: a process that is just ending, or a child between its fork and
/// its exec, which holds what its parent held.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// The file was not there.
    made: bool,
}

impl Lock {
    /// Takes it, or says who has it.
    pub(super) fn take(root: &Path) -> Result<Self, OpenError> {
        let path = root.join(NAME);
        let wrong = |source: io::Error| failed(root, DurableError { step: Step::Create, path: path.clone(), source });
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            let (file, made) = open(&path).map_err(wrong)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever had it may have taken the file away: then this is the lock of nothing.
                Ok(()) if is_at(&file, &path) => {
                    // For people only: not worth an fsync, and a full disk may do without.
                    let pid = format!("{}\n", std::process::id());
                    return match file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0)) {
                        Err(e) if !is_full(&e) => Err(wrong(e)),
                        _ => Ok(Self { file, path, made }),
                    };
                }
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let pid = read_small(&path).ok().and_then(|text| text.trim().parse().ok());
                    return Err(OpenError::InUse { dir: root.to_owned(), pid });
                }
                Err(errno) => return Err(wrong(errno.into())),
            }
        }
    }

    /// Whether nobody holds it, or it is not there.
    pub(super) fn is_free(root: &Path) -> bool {
        let Ok(lock) = File::open(root.join(NAME)) else { return true };
        flock(&lock, FlockOperation::NonBlockingLockShared).is_ok()
    }

    /// What was found in the directory, and the lock of it; undone where that is a refusal to work there.
    pub(super) fn unless_refused<T>(self, found: Result<T, OpenError>) -> Result<(T, Self), OpenError> {
        match found {
            Ok(found) => Ok((found, self)),
            Err(refused) => {
                self.undo();
                Err(refused)
            }
        }
    }

    /// Takes the file away again, if this made it: nothing was begun there.
    pub(super) fn undo(self) {
        if self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still ours: whoever takes it next has not written yet. A number that stays would be taken for that of a process.
        let _ = self.file.set_len(0);
    }
}

/// The file, and whether it was made here. flock belongs to this open file: a second gateway in the same process is kept out too, and the
/// kernel lets go when we die.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create(true).truncate(false).open(path).map(|file| (file, false))
        }
        Err(error) => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let there = fs::symlink_metadata(path).and_then(|there| file.metadata().map(|ours| (there, ours)));
    there.is_ok_and(|(there, ours)| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_a_process_id_for_as_long_as_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let lock = Lock::take(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert!(!Lock::is_free(dir.path()));
        drop(lock);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert!(Lock::is_free(dir.path()));
        Lock::take(dir.path()).unwrap().undo();
        assert!(path.exists(), "it was there before");
        fs::remove_file(&path).unwrap();
        Lock::take(dir.path()).unwrap().undo();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_taken_away_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (file, _) = open(&path).unwrap();
        assert!(is_at(&file, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path));
        let lock = Lock::take(dir.path()).unwrap();
        assert!(is_at(&lock.file, &path) && !is_at(&file, &path));
    }
}
