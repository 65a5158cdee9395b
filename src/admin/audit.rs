//! `audit`: the audit trail, a page at a time.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{OperationError, Operations, PAGE_MAX};
use crate::observe::audit::{Page, Position};
use crate::observe::spawn_blocking;
use crate::store::StoreError;

/// `audit`
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditAsk {
    /// RFC 3339: nothing older.
    pub since: String,
    /// Where the page before ended.
    pub after: Option<Position>,
    /// At most so many lines.
    pub limit: usize,
}

impl Operations {
    pub(super) async fn audit_page(&self, ask: AuditAsk) -> Result<Page, OperationError> {
        let since = OffsetDateTime::parse(&ask.since, &Rfc3339).map_err(|e| OperationError::Bad(format!("since: {e}")))?;
        let audit = self.audit.clone();
        let read = move || audit.page(since, ask.after.as_ref(), ask.limit.min(PAGE_MAX));
        let page = spawn_blocking(read).await.map_err(std::io::Error::other).flatten();
        page.map_err(|error| OperationError::Store(StoreError::Unavailable(Box::new(error))))
    }
}
