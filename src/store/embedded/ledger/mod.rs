//! `ledger/`: what ever left (`egress.log`) and which public modules are known (`known.log`).
//!
//! Lines are appended and fsynced by one thread a file; those that wait together share an fsync. What was noted before is in
//! memory, so that only the first time of a path costs anything. Crash before the fsync: nobody was told, and the path has
//! not left; a torn line is cut off at the start. Nothing is ever taken out.

mod egress;
mod known;

use std::collections::BTreeMap;
use std::io;

use tokio::sync::{mpsc, oneshot};

pub(super) use egress::Egress;
pub(super) use known::Known;

use crate::durable::DurableError;
use crate::store::StoreError;

/// Lines that share an fsync, and that wait for the next.
const GROUP_MAX: usize = 256;

/// Whether something was noted before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Noted {
    /// Not before; it is durable now.
    First,
    /// Before.
    Before,
}

/// Somewhere to note things, each once.
trait Lines: Send + 'static {
    /// What is to be noted.
    type Note: Send;
    /// What makes it the same thing.
    type Key: Ord;

    fn key(note: &Self::Note) -> Self::Key;
    fn holds(&self, key: &Self::Key) -> bool;
    /// The line to append, without its end.
    fn line(note: &Self::Note) -> String;
    /// Appends whole lines, durably, or none.
    fn append(&mut self, lines: &[String]) -> Result<(), DurableError>;
    /// This is durable now.
    fn noted(&mut self, key: Self::Key);
}

type Reply = oneshot::Sender<Result<Noted, StoreError>>;

/// A thread that appends; it ends when this is dropped.
struct Group<L: Lines> {
    queue: Option<mpsc::Sender<(L::Note, Reply)>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl<L: Lines> Group<L> {
    fn start(name: &str, mut lines: L) -> io::Result<Self> {
        let (queue, mut waiting) = mpsc::channel::<(L::Note, Reply)>(GROUP_MAX);
        let work = move || {
            let mut group = Vec::with_capacity(GROUP_MAX);
            while waiting.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
                note(&mut lines, group.drain(..));
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    async fn note(&self, note: L::Note) -> Result<Noted, StoreError> {
        let gone = || StoreError::Unavailable("the ledger is closed".into());
        let (reply, answer) = oneshot::channel();
        self.queue.as_ref().ok_or_else(gone)?.send((note, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl<L: Lines> Drop for Group<L> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, whoever waited was told so.
            let _ = thread.join();
        }
    }
}

fn note<L: Lines>(lines: &mut L, group: impl Iterator<Item = (L::Note, Reply)>) {
    let mut text = Vec::new();
    let mut fresh: BTreeMap<L::Key, Vec<Reply>> = BTreeMap::new();
    for (note, reply) in group {
        let key = L::key(&note);
        if lines.holds(&key) {
            // Whoever asked may be gone.
            let _ = reply.send(Ok(Noted::Before));
            continue;
        }
        let replies = fresh.entry(key).or_default();
        if replies.is_empty() {
            text.push(L::line(&note));
        }
        replies.push(reply);
    }
    if fresh.is_empty() {
        return;
    }
    let appended = lines.append(&text).map_err(StoreError::from);
    for (key, replies) in fresh {
        if appended.is_ok() {
            lines.noted(key);
        }
        for (at, reply) in replies.into_iter().enumerate() {
            let first = if at == 0 { Noted::First } else { Noted::Before };
            let _ = reply.send(appended.as_ref().map(|()| first).map_err(StoreError::again));
        }
    }
}
