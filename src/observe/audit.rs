//! The audit trail: what was done, and by whom, for whoever has to answer for it later. One event a line.

use serde::Serialize;

use crate::module::{ModulePath, OwnerName};

/// Something that was done. Names and paths, never secrets.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A new path was published that its owner's `modules` name literally: it may shadow others.
    Shadowing {
        /// Under which owner.
        owner: OwnerName,
        /// What.
        path: ModulePath,
    },
}

/// Where events go. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Audit {}

impl Audit {
    /// Records an event. `by`: the principal, as it stands in logs.
    pub fn record(&self, by: &str, event: &Event) {
        let event = serde_json::to_string(event).unwrap_or_default();
        tracing::info!(target: "audit", by, event);
    }
}
