//! The committer: one thread that appends, in order, what is asked of the log.
//!
//! It takes what has gathered, at most [`BATCH_MAX`] asks. Those of which the log has a record are answered with it;
//! of several that ask for one version the first is appended. Then, for all the others together:
//!
//! 1. **Tiles**: records and hashes are written behind what is committed, and the new head, signed, to a file without a name. All of
//!    them are fsynced at once, with the folders of files that are new. *Crash before or within: they lie beyond the head, where nobody
//!    looks; the next commit writes over them. The new head is swept away.*
//! 2. **Commit**: `head_path` is looked at first, and must hold the head before this: whoever else signs with a copy of this log has
//!    written there. Then the new head is renamed into place, and its folder fsynced. *Crash before: nothing happened. Crash after: the
//!    records are in the log, though nobody was told.*
//! 3. **Head path**: the same head is written to `head_path`. *Crash before: the log is ahead of it, and holds it; the start writes
//!    it again.*
//! 4. **Show**: readers see the new head, then the new records by their names.
//! 5. **Answer**.
//!
//! Where 1 fails nothing happened, and that is its asks' error and no more. Where 2 or 3 fails the head may be on the disk, and a start
//! may find it: so nothing else is appended until this very head stands in both places, which each batch tries first.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;
use tokio::sync::{mpsc, oneshot};

use super::{Append, BATCH_MAX, Entry, LogError, Shared, head_path};
use crate::durable::{Disk, DurableError, Unsynced};
use crate::module::{ModulePath, Version};
use crate::store::DataDir;
use crate::tlog::{Grown, Hash, Record, RecordText, SignedHead, SignerKey, Tile, grow, write_data};

/// A record to append, and whom to tell.
pub(super) struct Ask {
    pub(super) record: Record,
    pub(super) reply: oneshot::Sender<Result<Append, LogError>>,
}

/// Somebody who waits for a commit, and what they are told when it is done.
struct Waiting {
    answer: Append,
    reply: oneshot::Sender<Result<Append, LogError>>,
}

/// A head whose tiles are durable, and which must come next.
struct Staged {
    head: SignedHead,
    /// Its note, durable, until it was first tried to give that its name.
    note: Option<TempPath>,
    /// The records that are new in it.
    entries: Vec<Entry>,
    /// See [`Committer::data_bytes`].
    data_bytes: u64,
}

/// What of a commit is on its way to the disk.
#[derive(Default)]
struct Written {
    files: Vec<Unsynced>,
    /// Of files that are new.
    folders: BTreeSet<PathBuf>,
}

impl Written {
    fn all(self) -> Vec<Unsynced> {
        let Self { mut files, folders } = self;
        files.extend(folders.into_iter().map(Unsynced::Folder));
        files
    }
}

/// The thread's state.
pub(super) struct Committer {
    data: Arc<DataDir>,
    shared: Arc<Shared>,
    key: SignerKey,
    /// How long the committed records of the last data tile are, if that is not full.
    data_bytes: u64,
    head_path: Option<PathBuf>,
    staged: Option<Staged>,
}

impl Committer {
    pub(super) fn new(data: Arc<DataDir>, shared: Arc<Shared>, key: SignerKey, data_bytes: u64, head_path: Option<PathBuf>) -> Self {
        Self { data, shared, key, data_bytes, head_path, staged: None }
    }

    /// Works until every sender is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Ask>) {
        let mut asks = Vec::with_capacity(BATCH_MAX);
        while queue.blocking_recv_many(&mut asks, BATCH_MAX) > 0 {
            self.batch(asks.drain(..));
        }
    }

    fn batch(&mut self, asks: impl Iterator<Item = Ask>) {
        if let Err(error) = self.settle() {
            return asks.for_each(|ask| tell(ask.reply, Err(error.clone())));
        }
        let (entries, waiting) = self.gather(asks);
        if entries.is_empty() {
            return;
        }
        let done = self.stage(entries).and_then(|staged| {
            self.staged = Some(staged);
            self.settle()
        });
        for Waiting { answer, reply } in waiting {
            tell(reply, done.clone().map(|()| answer));
        }
    }

    /// Answers what the log knows; the rest becomes entries, one a version.
    fn gather(&self, asks: impl Iterator<Item = Ask>) -> (Vec<Entry>, Vec<Waiting>) {
        let size = self.shared.head.load().head().size;
        let (mut entries, mut waiting) = (Vec::<Entry>::new(), Vec::new());
        let mut places: HashMap<(ModulePath, Version), usize> = HashMap::new();
        for Ask { record, reply } in asks {
            match self.shared.find(&record.path, &record.version) {
                Err(error) => tell(reply, Err(error.into())),
                Ok(Some(entry)) => tell(reply, Ok(Append::Held(entry))),
                Ok(None) => {
                    let place = *places.entry((record.path.clone(), record.version.clone())).or_insert(entries.len());
                    let answer = match entries.get(place) {
                        Some(entry) => Append::Held(entry.clone()),
                        None => {
                            let entry = Entry { id: size + place as u64, record };
                            entries.push(entry.clone());
                            Append::Added(entry)
                        }
                    };
                    waiting.push(Waiting { answer, reply });
                }
            }
        }
        (entries, waiting)
    }

    /// Step 1.
    fn stage(&self, entries: Vec<Entry>) -> Result<Staged, LogError> {
        let older = *self.shared.head.load().head();
        let texts: Vec<RecordText> = entries.iter().map(|entry| entry.record.text()).collect();
        let leaves: Vec<Hash> = texts.iter().map(RecordText::hash).collect();
        let Grown { head, tiles } = self.shared.layout.with_tiles(|edge| grow(&older, &leaves, edge).map_err(LogError::from))?;
        let mut written = Written::default();
        let mut data_bytes = self.data_bytes;
        let mut rest = texts.as_slice();
        for tile in Tile::new_data(older.size, head.size) {
            let held = tile.width_in(older.size);
            let (now, later) = rest.split_at(usize::from(tile.width() - held));
            let at = if held == 0 { 0 } else { data_bytes };
            let content = write_data(now);
            self.write(tile, held, at, &content, &mut written)?;
            data_bytes = at + content.len() as u64;
            rest = later;
        }
        for (tile, content) in tiles {
            let held = tile.width_in(older.size);
            let at = usize::from(held) * Hash::BYTES;
            self.write(tile, held, at as u64, &content[at..], &mut written)?;
        }
        let head = self.key.sign(&head);
        let (note, path) = self.disk().stage_with(&self.data.tmp(), head.note())?.into_parts();
        written.files.push(Unsynced::File(note, path.to_path_buf()));
        self.disk().sync_all(&written.all())?;
        Ok(Staged { head, note: Some(path), entries, data_bytes })
    }

    /// Writes what is new in a tile of which `held` hashes or records are committed.
    fn write(&self, tile: Tile, held: u16, at: u64, new: &[u8], written: &mut Written) -> Result<(), DurableError> {
        let (disk, root) = (self.disk(), self.shared.layout.folder());
        let path = self.shared.layout.tile(tile);
        if held == 0 {
            let folder = path.parent().unwrap_or(root);
            disk.create_dirs(folder)?;
            // With a tile before it the folder's own name is durable. A commit that failed may have made it, and no more than that.
            let is_first = tile.is_first_in_folder();
            let new = folder.ancestors().take(if is_first { usize::MAX } else { 1 }).take_while(|folder| folder.starts_with(root));
            written.folders.extend(new.map(Path::to_owned));
        }
        let file = disk.open(&path)?;
        disk.write_at(&file, &path, new, at)?;
        written.files.push(Unsynced::File(file, path));
        Ok(())
    }

    /// Steps 2 to 4, for what is staged.
    fn settle(&mut self) -> Result<(), LogError> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        let (disk, head) = (self.data.disk(), self.shared.layout.head());
        if let Some(path) = &self.head_path
            // The staged one is there if the commit before this got that far, and failed.
            && !head_path::holds(path, &[&self.shared.head.load(), &staged.head])
        {
            return Err(LogError::HeadPath { path: path.clone() });
        }
        match staged.note.take() {
            Some(note) => disk.name(note, &head)?,
            None => disk.write(&self.data.tmp(), &head, staged.head.note())?,
        }
        if let Some(path) = &self.head_path {
            head_path::write(disk, path, staged.head.note())?;
        }
        if let Some(Staged { head, entries, data_bytes, .. }) = self.staged.take() {
            // The head first: whoever finds a record by its name then has a head that holds it.
            self.shared.head.store(Arc::new(head));
            for Entry { id, record } in entries {
                self.shared.index.add(&record.path, &record.version, id);
            }
            self.data_bytes = data_bytes;
        }
        Ok(())
    }

    fn disk(&self) -> &Disk {
        self.data.disk()
    }
}

fn tell(reply: oneshot::Sender<Result<Append, LogError>>, answer: Result<Append, LogError>) {
    // Nobody may be waiting any more: it is done all the same.
    let _ = reply.send(answer);
}
