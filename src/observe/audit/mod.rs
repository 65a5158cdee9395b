//! The audit trail: what was done, and by whom, for whoever has to answer for it later. One event a line of JSON, in `audit/` of the
//! data directory (see `trail.rs`), and in the log.
//!
//! A thread writes; those who wait share its fsyncs. Where the trail cannot be written, that is logged and counted, and nothing
//! else stops: the events are in the log.

mod event;
mod firsts;
mod log;
mod read;
mod refusals;
mod trail;
mod writer;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use tokio::sync::oneshot;

pub use event::{Event, Refused, TreeHead};
pub use firsts::Firsts;
pub use read::{Page, Position};

use crate::durable::Disk;
use crate::observe::metrics::AuditMetrics;
use log::log;
use refusals::Refusals;
use writer::Writer;

/// How long one of those events stands for all that are like it that whoever asks can cause again and again.
const ALIKE: Duration = Duration::from_secs(3600);

/// Who did it, and in which request. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The principal, as it stands in logs: `anonymous`, `user:alice`, `token:NAME`, `operator`, or `modgate` itself.
    pub by: Arc<str>,
    /// The id of the request, where there is one.
    pub request_id: Option<Arc<str>>,
    /// Who asked: the other end of the connection, or the address that a trusted front told.
    pub peer: Option<IpAddr>,
}

impl Actor {
    /// Somebody whom no request brought: a command that opened the store itself, or the gateway.
    pub fn local(by: &str) -> Self {
        Self { by: by.into(), request_id: None, peer: None }
    }
}

/// Where events go. Cheap to clone; what was recorded is on disk when the last clone is gone. The default writes to the log alone.
#[derive(Clone, Default)]
pub struct Audit {
    kept: Option<Arc<Kept>>,
}

struct Kept {
    dir: PathBuf,
    node: String,
    refusals: Arc<Mutex<Refusals>>,
    /// Of an hour.
    firsts: Firsts,
    metrics: AuditMetrics,
    writer: Writer,
}

impl Audit {
    /// A trail in `dir`, which may not be there yet. `node`: what this gateway is called in it. Nobody else writes there.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn open(dir: &Path, disk: &Disk, node: &str, metrics: AuditMetrics) -> io::Result<Self> {
        let refusals = Arc::<Mutex<Refusals>>::default();
        let trail = trail::Trail::new(dir, disk, trail::BOUNDS);
        let writer = Writer::start(trail, refusals.clone(), node, metrics.clone())?;
        let firsts = Firsts::each(ALIKE);
        Ok(Self { kept: Some(Arc::new(Kept { dir: dir.to_owned(), node: node.to_owned(), refusals, firsts, metrics, writer })) })
    }

    /// What this gateway is called in it.
    pub fn node(&self) -> &str {
        self.kept.as_ref().map_or("", |kept| &kept.node)
    }

    /// Records an event, soon; returns at once. Of refusals that are alike, one a minute.
    pub fn record(&self, actor: &Actor, event: &Event) {
        drop(self.send(actor, event));
    }

    /// Records an event that whoever asks can cause again and again, soon: the first of an hour that says just this, and of each
    /// kind of event a thousand at most. All are counted.
    pub fn record_first(&self, actor: &Actor, event: &Event) {
        // Strings and numbers: this cannot fail.
        let says = serde_json::to_string(event).unwrap_or_default();
        if self.kept.as_ref().is_none_or(|kept| kept.firsts.admits(event.name(), &says, Instant::now())) {
            self.record(actor, event);
        } else {
            self.count(event);
        }
    }

    /// Counts an event that is not worth a line: others like it were recorded.
    pub fn count(&self, event: &Event) {
        if let Some(kept) = &self.kept {
            kept.metrics.event(event.name());
        }
    }

    /// Records events, and waits until they last: for what is answered with "done". Whoever waits at the same time shares one
    /// fsync. It does not fail: where the trail cannot be written, that is logged and counted, and the events are in the log.
    pub async fn record_durably(&self, actor: &Actor, events: &[Event]) {
        // Written in this order: the last is enough to wait for.
        let mut last = None;
        for event in events {
            last = self.send(actor, event).or(last);
        }
        if let Some(written) = last {
            // Answered whether it was written or not.
            let _ = written.await;
        }
    }

    /// Writes what waits; what comes after is in the log alone. For whoever is about to let go of the data directory. Blocks on the disk.
    pub fn close(&self) {
        if let Some(kept) = &self.kept {
            kept.writer.close();
        }
    }

    /// A page of the trail: events from `since` on, at most `limit`. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The trail cannot be read.
    pub fn page(&self, since: OffsetDateTime, after: Option<&Position>, limit: usize) -> io::Result<Page> {
        let Some(kept) = &self.kept else { return Ok(Page { lines: Vec::new(), next: None }) };
        read::page(&kept.dir, &read::Ask { since, after, limit })
    }

    /// Hands an event to the writer; what comes back ends when it was dealt with.
    fn send(&self, actor: &Actor, event: &Event) -> Option<oneshot::Receiver<()>> {
        match event {
            // It is in the log already: each request is a line there.
            Event::Refusal(refused) => {
                let kept = self.kept.as_ref()?;
                let mut refusals = kept.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                let (actor, refused) = refusals.admit(actor, refused, Instant::now())?;
                drop(refusals);
                kept.send(&actor, &Event::Refusal(refused))
            }
            event => {
                log(actor, event);
                self.kept.as_ref()?.send(actor, event)
            }
        }
    }
}

impl Kept {
    fn send(&self, actor: &Actor, event: &Event) -> Option<oneshot::Receiver<()>> {
        self.metrics.event(event.name());
        self.writer.send(line(&self.node, actor, event))
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("dir", &self.kept.as_ref().map(|kept| &kept.dir)).finish()
    }
}

/// A line as it is written.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event,
    by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    node: &'a str,
}

/// RFC 3339 in UTC, to the millisecond.
const TIME: &[FormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

fn line(node: &str, actor: &Actor, event: &Event) -> String {
    let time = OffsetDateTime::now_utc().format(TIME).unwrap_or_default();
    let line = Line { time, event, by: &actor.by, request_id: actor.request_id.as_deref(), peer: actor.peer, node };
    // Strings and numbers: this cannot fail.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests;
