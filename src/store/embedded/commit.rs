//! The committer: one thread that decides and makes durable, in order, what is asked of the record store.
//!
//! It takes what has gathered, at most [`BATCH_MAX`] asks, and goes, for each in turn:
//!
//! 1. **Decide**, against the index and what this batch did before. An ask that changes nothing is answered now.
//! 2. **Commit**: a publish renames its record file into place and fsyncs the folder; changes of other kinds that stand together
//!    and have nothing to do with each other become one line of the journal, fsynced. *Crash before: nothing happened; what was staged
//!    is swept. Crash after: it happened, though nobody was told; the next start finds it in `records/`, makes sure that it is
//!    durable, and goes on at 3.* Commits have the order of their revisions: what is decided on a thing is never durable without it.
//! 3. **Index**: all of the batch goes to sled in one write with the last revision, then flush, then fsync. *Crash before or within: the
//!    start compares sled with `records/`, key by key, and puts it right. If sled fails here while we run, the same code runs here.*
//! 4. **Show**: the new [`HostedIndex`](crate::store::HostedIndex) replaces the old one, and revisions are announced.
//! 5. **Clean**: record files and blobs of deleted versions go. *Crash before or within: the start removes them, since the journal says
//!    so.* That they cannot be removed now is no failure of the delete.
//! 6. **Answer**. 201 means kept.
//!
//! A failed commit that certainly did not happen is that ask's error and no more. When it may have happened, nothing is decided
//! any more until [`Committer::heal`] has read `records/` again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::decide::{Ask, Decision, Now};
use super::effects::{Writes, effects, keys};
use super::event::{Change, Entry, Event, StoredVersion};
use super::files::Pinned;
use super::heal::{self, Loaded};
use super::paths::Paths;
use super::shared::{Overlaid, Shared};
use super::sled::Index;
use super::truth::{CommitError, Truth};
use crate::module::ModulePath;
use crate::store::room::UNTOLD;
use crate::store::{BlobId, DataDir, Rev, StoreError, unix_now};

/// Asks in one batch, and waiting for the next.
pub(super) const BATCH_MAX: usize = 256;
/// A broken store is tried again when this many times as long has passed as the last try took.
const HEAL_PAUSE: u32 = 4;

/// One thing for the committer to do.
pub(super) enum Op {
    /// Decide and commit.
    Ask(Box<dyn Job>),
    /// Run this between two batches, when nothing is half done.
    Between(Box<dyn FnOnce(&mut Committer) + Send>),
    /// Look around: pins were dropped, or reading the index failed.
    Wake,
}

/// An [`Ask`] and whom to tell.
pub(super) trait Job: Send {
    fn subject(&self) -> Option<Vec<u8>>;
    /// Judges it; where nothing changes, answers.
    fn decide(&mut self, now: &Now<'_>) -> Result<Option<Event>, StoreError>;
    /// Answers: what was decided, if it is durable.
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

/// The one implementation of [`Job`].
pub(super) struct Asked<A: Ask> {
    ask: A,
    out: Option<A::Out>,
    reply: Option<oneshot::Sender<Result<A::Out, StoreError>>>,
    /// Blobs that stay until it is decided, even if whoever asked went away.
    _pins: Vec<Pinned>,
}

impl<A: Ask> Asked<A> {
    pub(super) fn new(ask: A, pins: Vec<Pinned>) -> (Box<Self>, oneshot::Receiver<Result<A::Out, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Self { ask, out: None, reply: Some(reply), _pins: pins }), answer)
    }

    fn tell(&mut self, answer: Result<A::Out, StoreError>) {
        if let Some(reply) = self.reply.take() {
            // Nobody may be waiting any more: it is decided all the same.
            let _ = reply.send(answer);
        }
    }
}

impl<A: Ask> Job for Asked<A> {
    fn subject(&self) -> Option<Vec<u8>> {
        self.ask.subject()
    }

    fn decide(&mut self, now: &Now<'_>) -> Result<Option<Event>, StoreError> {
        match self.ask.decide(now)? {
            Decision::Change(event, out) => {
                self.out = Some(out);
                Ok(Some(event))
            }
            Decision::Answer(out) => {
                self.tell(Ok(out));
                Ok(None)
            }
        }
    }

    fn answer(mut self: Box<Self>, durable: Result<(), StoreError>) {
        let out = self.out.take();
        self.tell(durable.and_then(|()| out.ok_or_else(|| StoreError::Unavailable("nothing was decided".into()))));
    }
}

/// What a batch did so far.
#[derive(Default)]
struct Batch {
    /// Its effects on the index.
    overlay: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Its events, durable.
    events: Vec<Event>,
    /// Versions that it deleted.
    deleted: Vec<StoredVersion>,
    /// Asks whose event is durable.
    committed: Vec<Box<dyn Job>>,
    /// Journal entries that wait to be one line, and their asks.
    run: Vec<(Entry, Box<dyn Job>)>,
    /// What the run is about.
    subjects: BTreeSet<Vec<u8>>,
}

/// The thread's state.
pub(super) struct Committer {
    data: Arc<DataDir>,
    shared: Arc<Shared>,
    truth: Truth,
    paths: Paths,
    /// The last revision given out.
    rev: Rev,
    /// Why nothing can be decided until `records/` was read again.
    broken: Option<StoreError>,
    /// When healing may be tried again.
    not_before: Option<Instant>,
}

impl Committer {
    pub(super) fn new(data: Arc<DataDir>, shared: Arc<Shared>, truth: Truth, paths: Paths, rev: Rev) -> Self {
        Self { data, shared, truth, paths, rev, broken: None, not_before: None }
    }

    /// Works until every sender is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        let mut ops = Vec::with_capacity(BATCH_MAX);
        while queue.blocking_recv_many(&mut ops, BATCH_MAX) > 0 {
            self.batch(ops.drain(..));
        }
    }

    fn batch(&mut self, ops: impl Iterator<Item = Op>) {
        let mut batch = Batch::default();
        let mut between = Vec::new();
        if self.shared.take_suspicion() && self.broken.is_none() {
            self.broken = Some(StoreError::Unavailable("the index could not be read".into()));
            self.not_before = None;
        }
        self.try_to_heal();
        let was_broken = self.broken.is_some();
        for op in ops {
            match op {
                Op::Ask(job) => self.take(job, &mut batch),
                Op::Between(work) => between.push(work),
                Op::Wake => {}
            }
        }
        self.commit_run(&mut batch);
        // Broken from the start, it did nothing.
        if !was_broken {
            self.finish(batch);
        }
        for id in self.shared.files.garbage() {
            self.sweep_or_log(&id);
        }
        for work in between {
            work(self);
        }
    }

    /// Steps 1 and 2 for one ask; the second waits if it can be shared.
    fn take(&mut self, mut job: Box<dyn Job>, batch: &mut Batch) {
        let subject = job.subject();
        if subject.as_ref().is_none_or(|subject| batch.subjects.contains(subject)) {
            self.commit_run(batch);
        }
        if let Some(error) = &self.broken {
            return job.answer(Err(error.again()));
        }
        let rev = Rev(self.rev.0 + 1);
        let decided = self.shared.read(|index| {
            let view = Overlaid { index, overlay: &batch.overlay };
            job.decide(&Now { view: &view, paths: &self.paths, rev, unix: unix_now() })
        });
        match decided {
            Err(error) => job.answer(Err(error)),
            Ok(None) => {}
            Ok(Some(Event::Change(entry))) => {
                self.rev = rev;
                let shared = subject.is_some();
                batch.subjects.extend(subject);
                batch.run.push((*entry, job));
                if !shared {
                    self.commit_run(batch);
                }
            }
            Ok(Some(event)) => {
                self.rev = rev;
                if let Event::Publish(stored) = &event {
                    let new_path = !self.paths.index().hosted.contains_key(&stored.record.path);
                    let ready = self.has_room().and_then(|()| self.blobs_are_there(stored)).map_err(CommitError::from);
                    let publish = |truth: &mut Truth| truth.publish(stored, new_path);
                    if let Err(error) = ready.and_then(|()| self.despite_a_full_disk(publish)) {
                        return self.not_committed(error, vec![job]);
                    }
                }
                self.committed(event, job, batch);
            }
        }
    }

    /// Whether there is room enough to publish; others give way for it.
    fn has_room(&self) -> Result<(), StoreError> {
        match self.data.make_room(0).map_err(|e| StoreError::Unavailable(e.into()))? {
            true => Ok(()),
            false => Err(StoreError::Full),
        }
    }

    /// Does it, and again as long as the disk is full and others give way.
    fn despite_a_full_disk(&mut self, commit: impl Fn(&mut Truth) -> Result<(), CommitError>) -> Result<(), CommitError> {
        let mut done = commit(&mut self.truth);
        for short in UNTOLD {
            let is_full = matches!(done, Err(CommitError { error: StoreError::Full, may_have_happened: false }));
            if is_full && self.data.give_way(short) {
                done = commit(&mut self.truth);
            }
        }
        done
    }

    /// A record that names what is not there would be a finding from the start.
    fn blobs_are_there(&self, stored: &StoredVersion) -> Result<(), StoreError> {
        for blob in [&stored.record.zip, &stored.record.go_mod] {
            if self.shared.files.open(blob)?.is_none() {
                return Err(StoreError::Corrupt(format!("blobs/{} was to be published and is not there", super::files::name(blob))));
            }
        }
        Ok(())
    }

    /// Step 2 for what waits.
    fn commit_run(&mut self, batch: &mut Batch) {
        batch.subjects.clear();
        let (entries, jobs): (Vec<Entry>, Vec<Box<dyn Job>>) = std::mem::take(&mut batch.run).into_iter().unzip();
        if entries.is_empty() {
            return;
        }
        // What is deleted makes room, and needs some first. Without, it may succeed all the same.
        let _ = self.has_room();
        if let Err(error) = self.despite_a_full_disk(|truth| truth.append(&entries)) {
            return self.not_committed(error, jobs);
        }
        for (entry, job) in entries.into_iter().zip(jobs) {
            self.committed(Event::Change(Box::new(entry)), job, batch);
        }
    }

    fn not_committed(&mut self, CommitError { error, may_have_happened }: CommitError, jobs: Vec<Box<dyn Job>>) {
        for job in jobs {
            job.answer(Err(error.again()));
        }
        if may_have_happened {
            self.broken = Some(error);
        }
    }

    /// Takes a durable event's effects into the batch.
    fn committed(&mut self, event: Event, job: Box<dyn Job>, batch: &mut Batch) {
        let shared = Arc::clone(&self.shared);
        let taken = shared.read(|index| {
            let mut gone = None;
            if let Event::Change(entry) = &event
                && let Change::Delete { path, version, .. } = &entry.change
            {
                let view = Overlaid { index, overlay: &batch.overlay };
                gone = super::effects::version(&view, path, version)?;
                batch.deleted.extend(gone.clone());
            }
            let writes = effects(&event, &Overlaid { index, overlay: &batch.overlay })?;
            batch.overlay.extend(writes);
            self.paths.follow(&event, gone.as_ref(), &Overlaid { index, overlay: &batch.overlay })
        });
        // It is durable, but the index cannot tell any more: healing reads it from `records/`.
        if let Err(error) = taken {
            self.broken = Some(error);
        }
        batch.events.push(event);
        batch.committed.push(job);
    }

    /// Steps 3 to 6.
    fn finish(&mut self, batch: Batch) {
        if self.broken.is_none()
            && !batch.events.is_empty()
            && let Err(error) = self.write_index(&batch)
        {
            self.broken = Some(error);
        }
        if self.broken.is_some() {
            // What was committed is in records/ and comes back with this.
            self.heal();
        } else if !batch.events.is_empty() {
            self.shared.show(Arc::clone(self.paths.index()));
        }
        if self.broken.is_none() {
            for stored in batch.deleted {
                self.clean(&stored);
            }
        }
        for job in batch.committed {
            job.answer(self.broken.as_ref().map_or(Ok(()), |error| Err(error.again())));
        }
    }

    /// Step 3.
    fn write_index(&self, batch: &Batch) -> Result<(), StoreError> {
        let writes: Writes = batch.overlay.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let touched: Vec<&ModulePath> = batch.events.iter().filter_map(Event::touches).collect();
        let rev = batch.events.last().map(Event::rev).unwrap_or(self.rev);
        self.shared.commit(self.data.disk(), &writes, rev, &touched, &batch.deleted)
    }

    /// Step 5 for one deleted version.
    fn clean(&self, stored: &StoredVersion) {
        let (path, version) = (&stored.record.path, &stored.record.version);
        // Published again in the same batch, its file is another's.
        let again = self.shared.read(|index| index.get(&keys::version(path, version)));
        if matches!(again, Ok(None))
            && let Err(error) = self.truth.remove(path, version)
        {
            tracing::warn!(%error, module = %path, %version, "the record of a deleted version stays until the next start");
        }
        self.sweep_or_log(&stored.record.zip);
        self.sweep_or_log(&stored.record.go_mod);
    }

    fn sweep_or_log(&self, id: &BlobId) {
        if let Err(error) = self.sweep(id) {
            tracing::warn!(%error, blob = super::files::name(id), "an unused blob cannot be removed yet");
            self.shared.files.try_again(id);
        }
    }

    /// Removes a blob that no record names and nobody pins.
    pub(super) fn sweep(&self, id: &BlobId) -> Result<(), StoreError> {
        if self.is_used(id)? {
            return Ok(());
        }
        self.shared.files.remove(id).map(|_| ())
    }

    /// Whether a record names the blob.
    pub(super) fn is_used(&self, id: &BlobId) -> Result<bool, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.again());
        }
        let users = keys::users_of(id);
        self.shared.read(|index| Ok(index.next(&users, &users)?.is_some()))
    }

    /// The last revision.
    pub(super) fn rev(&self) -> Rev {
        self.paths.index().rev
    }

    /// The record files.
    pub(super) fn truth(&self) -> &Truth {
        &self.truth
    }

    /// What readers see.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether something can be made durable now.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        self.try_to_heal();
        if let Some(error) = &self.broken {
            return Err(error.again());
        }
        self.has_room()?;
        let tmp = self.data.tmp();
        let probe = tmp.join("probe");
        self.data.disk().write(&tmp, &probe, b"probe\n")?;
        Ok(self.data.disk().unlink(&probe)?)
    }

    fn try_to_heal(&mut self) {
        if self.broken.is_some() && self.not_before.is_none_or(|then| Instant::now() >= then) {
            self.heal();
        }
    }

    /// Reads `records/` again, as a start does, and puts the index right. Readers wait.
    fn heal(&mut self) {
        let begun = Instant::now();
        if matches!(self.broken, Some(StoreError::Full)) {
            let _ = self.has_room();
        }
        let reloaded = self.reload(false);
        self.not_before = Some(Instant::now() + begun.elapsed() * HEAL_PAUSE);
        match reloaded {
            Ok(()) => {
                let why = self.broken.take().map(|e| e.to_string());
                tracing::warn!(why, "the store was read again from records/");
                self.shared.show(Arc::clone(self.paths.index()));
            }
            Err(error) => {
                tracing::error!(%error, "nothing can be written until records/ and its index can be read and written again");
                self.broken = Some(error);
            }
        }
        // Whatever readers ran into was the old index.
        self.shared.take_suspicion();
    }

    /// Makes the index anew from `records/`, though it seems to be right. Readers wait.
    pub(super) fn rebuild(&mut self) -> Result<(), StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.again());
        }
        // As it is it bears witness to what was recorded: what `records/` lost since stops this here.
        self.reload(false)?;
        self.reload(true)?;
        self.shared.show(Arc::clone(self.paths.index()));
        Ok(())
    }

    /// `anew`: without the index that is there.
    fn reload(&mut self, anew: bool) -> Result<(), StoreError> {
        let told = heal::read_again(&self.data, &self.shared.hosted())?;
        let dead = told.dead.clone();
        let shared = Arc::clone(&self.shared);
        let (truth, paths, rev) = shared.replace(told.index.clone(), || {
            if anew {
                Index::remove(&self.data.meta(), self.data.disk())?;
            }
            let Loaded { index, truth, paths, rev, .. } = heal::load(&self.data, told)?;
            Ok((index, (truth, paths, rev)))
        })?;
        (self.truth, self.paths, self.rev) = (truth, paths, self.rev.max(rev));
        // What the broken store left behind, as a start would find it.
        for file in dead {
            if let Err(error) = self.data.disk().unlink(&file) {
                tracing::warn!(%error, "the record of a deleted version stays until the next start");
            }
        }
        let blobs = shared.files.list()?;
        blobs.iter().filter_map(|(_, id)| id.as_ref()).for_each(|id| shared.files.try_again(id));
        Ok(())
    }
}
