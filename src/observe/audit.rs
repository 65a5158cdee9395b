//! The audit trail: what was done, and by whom, for whoever has to answer for it later. One event a line.

use serde::Serialize;

use crate::module::{ModulePath, OwnerName, Version};

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
    /// A hosted version is gone.
    Delete {
        /// Whose it was.
        owner: OwnerName,
        /// The module.
        path: ModulePath,
        /// The version.
        version: Version,
        /// It was the path's last: the path is a tombstone now.
        last: bool,
    },
    /// A path was given to another owner.
    ClaimMoved {
        /// The path.
        path: ModulePath,
        /// Whose it was.
        from: OwnerName,
        /// Whose it is.
        to: OwnerName,
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
