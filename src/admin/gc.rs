//! `gc`: what may go, and removing it, only when it is asked for.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::observe::audit::Actor;

/// Lines that are told, at most; the rest is counted.
const LINES_MAX: usize = 10_000;

/// `gc`
#[derive(Debug, Serialize, Deserialize)]
pub struct GcAsk {
    /// Removes what would go.
    pub force: bool,
}

/// A thing that goes, or went.
#[derive(Debug, Serialize, Deserialize)]
pub struct GcLine {
    /// `hosted-expired`
    pub kind: String,
    /// Which.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Why, for people.
    pub why: String,
}

/// What `gc` found.
#[derive(Debug, Serialize, Deserialize)]
pub struct GcDone {
    /// What goes, or went if that was asked for.
    pub goes: Vec<GcLine>,
    /// All that goes, also beyond the lines told.
    pub files: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl Operations {
    pub(super) async fn gc(&self, ask: GcAsk, actor: &Actor) -> Result<GcDone, OperationError> {
        let mut goes = self.expired(ask.force, actor).await?;
        let (files, bytes) = (goes.len() as u64, goes.iter().map(|line| line.bytes).sum());
        goes.truncate(LINES_MAX);
        Ok(GcDone { goes, files, bytes })
    }
}
