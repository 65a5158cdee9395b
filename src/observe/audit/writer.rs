//! The thread that writes the trail.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::refusals::{Refusals, WINDOW};
use super::trail::Trail;
use super::{Actor, Event, line, log};
use crate::observe::chain;
use crate::observe::metrics::AuditMetrics;

/// Events that wait to be written. More are told by the log alone: who does something must not wait for a disk that stands still.
const WAITING_MAX: usize = 4096;
/// Events that share an fsync.
const GROUP_MAX: usize = 256;

struct Waiting {
    line: String,
    written: oneshot::Sender<()>,
}

/// A thread that writes; it ends when this is closed or dropped, after all that waits is written.
pub(super) struct Writer {
    running: Mutex<Option<Running>>,
    metrics: AuditMetrics,
}

struct Running {
    queue: SyncSender<Waiting>,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(trail: Trail, refusals: Arc<Mutex<Refusals>>, node: &str, metrics: AuditMetrics) -> io::Result<Self> {
        let (queue, waiting) = mpsc::sync_channel(WAITING_MAX);
        let mut work = Work { trail, refusals, node: node.to_owned(), metrics: metrics.clone(), failing: false };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || work.run(&waiting))?;
        Ok(Self { running: Mutex::new(Some(Running { queue, thread })), metrics })
    }

    /// Queues a line. What comes back ends when it was written, or could not be; `None` if that is known now.
    pub(super) fn send(&self, line: String) -> Option<oneshot::Receiver<()>> {
        let (written, receiver) = oneshot::channel();
        match self.running().as_ref()?.queue.try_send(Waiting { line, written }) {
            Ok(()) => Some(receiver),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.lost(1);
                tracing::error!("an event is in the log alone: {WAITING_MAX} others wait to be written to the audit trail");
                None
            }
        }
    }

    /// Writes what waits, and no more after that. Blocks.
    pub(super) fn close(&self) {
        let running = self.running().take();
        if let Some(Running { queue, thread }) = running {
            drop(queue);
            // If it panicked, that was told.
            let _ = thread.join();
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Work {
    trail: Trail,
    refusals: Arc<Mutex<Refusals>>,
    node: String,
    metrics: AuditMetrics,
    /// The last write failed.
    failing: bool,
}

impl Work {
    fn run(&mut self, queue: &mpsc::Receiver<Waiting>) {
        loop {
            let mut group = Vec::new();
            match queue.recv_timeout(WINDOW) {
                Ok(first) => group.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            group.extend(queue.try_iter().take(GROUP_MAX));
            let lines: Vec<String> = group.iter_mut().map(|waiting| std::mem::take(&mut waiting.line)).collect();
            self.write(&lines);
            for waiting in group {
                // Whoever waited may be gone.
                let _ = waiting.written.send(());
            }
            let due = self.refusals().due(Instant::now());
            self.write_refusals(due);
        }
        let rest = self.refusals().all();
        self.write_refusals(rest);
    }

    fn refusals(&self) -> std::sync::MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_refusals(&mut self, refusals: Vec<(Actor, super::Refused)>) {
        let events = refusals.into_iter().map(|(actor, refused)| (actor, Event::Refusal(refused)));
        let lines: Vec<String> = events
            .map(|(actor, event)| {
                self.metrics.event(event.name());
                line(&self.node, &actor, &event)
            })
            .collect();
        self.write(&lines);
    }

    fn write(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        match self.trail.append(&lines.concat(), OffsetDateTime::now_utc()) {
            Ok(trimmed) => {
                if std::mem::take(&mut self.failing) {
                    tracing::warn!("the audit trail is written again");
                }
                self.tell_trimmed(trimmed);
            }
            Err(error) => {
                self.metrics.lost(lines.len() as u64);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(error = chain(&error), "the audit trail cannot be written: its events are in the log alone");
                }
            }
        }
    }

    /// What was removed is told by the trail itself.
    fn tell_trimmed(&mut self, trimmed: Vec<super::trail::Trimmed>) {
        let actor = Actor::local("modgate");
        let events: Vec<Event> = trimmed.into_iter().map(|trimmed| Event::Trimmed { file: trimmed.file, bytes: trimmed.bytes }).collect();
        for event in &events {
            self.metrics.event(event.name());
            log(&actor, event);
        }
        let lines: Vec<String> = events.iter().map(|event| line(&self.node, &actor, event)).collect();
        self.write(&lines);
    }
}
