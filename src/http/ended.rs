//! What stays of a request that has ended: a line in the log, a count in the metrics, and of what was tried in vain a line in the
//! audit trail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::response::Note;
use super::{End, Summary};
use crate::access::masked;
use crate::admin::Operations;
use crate::cache::CacheStatus;
use crate::gateway::{CREDENTIALS, LOG_INS_LIMITED};
use crate::observe::audit::{Actor, Audit, Event, Refused};
use crate::observe::metrics::{Answered, LoginFailure, Metrics};

/// Stands in the audit trail for whoever showed credentials that are not theirs, or none that are anyone's.
const UNKNOWN: &str = "unknown";
/// Stands before the name of a user that wrong credentials name.
const CLAIMED: &str = "claimed:";

/// What notes them; it outlives the stores.
pub(super) struct Observed {
    metrics: Arc<Metrics>,
    node: String,
    log_access: AtomicBool,
}

impl Observed {
    pub(super) fn new(operations: &Operations) -> Self {
        let log_access = AtomicBool::new(operations.config.log.access);
        Self { metrics: operations.metrics.clone(), node: operations.audit.node().to_owned(), log_access }
    }

    /// Whether each request is a line in the log from now on.
    pub(super) fn log_access(&self, log: bool) {
        self.log_access.store(log, Ordering::Relaxed);
    }
}

/// Notes a request that has ended; in the audit trail while that is ours.
pub(super) fn ended(observed: &Observed, trail: Option<&Audit>, mut summary: Summary<Note>) {
    let note = summary.note.take().unwrap_or_default();
    count(&observed.metrics, &summary, &note);
    if let Some(trail) = trail {
        audit(trail, &summary, &note);
    }
    if let Some(cause) = &note.cause {
        tracing::warn!(request_id = summary.request_id, status = summary.status, path = summary.path, "{cause}");
    }
    if observed.log_access.load(Ordering::Relaxed) {
        log(&observed.node, &summary, &note);
    }
}

fn count(metrics: &Metrics, summary: &Summary<Note>, note: &Note) {
    match note.rule {
        Some(CREDENTIALS) => metrics.access.failed(LoginFailure::Wrong),
        Some(LOG_INS_LIMITED) => metrics.access.failed(LoginFailure::Limited),
        _ => {}
    }
    metrics.http.answered(&Answered {
        kind: note.kind,
        owner: note.owner,
        status: summary.status,
        cache: note.cache.map(CacheStatus::word),
        rule: note.rule,
        bytes_in: summary.bytes_in,
        bytes_out: summary.bytes_out,
        duration: summary.duration,
    });
}

/// What was tried in vain: to change something, to operate, or to log in. Reads are in the log alone.
fn audit(audit: &Audit, summary: &Summary<Note>, note: &Note) {
    let Some(rule) = note.rule else { return };
    let changes = matches!(note.kind, "publish" | "delete" | "admin") && matches!(summary.status, 401 | 403 | 404 | 409);
    let logs_in = matches!(rule, CREDENTIALS | LOG_INS_LIMITED);
    if !changes && !logs_in {
        return;
    }
    let by = match (&note.named, note.principal.as_str()) {
        // Only who says so: the credentials were not theirs.
        (Some(named), _) => format!("{CLAIMED}{named}"),
        (None, "") => UNKNOWN.to_owned(),
        (None, principal) => principal.to_owned(),
    };
    let actor = Actor {
        by: by.as_str().into(),
        request_id: Some(summary.request_id.as_str().into()),
        peer: note.forwarded_for.or_else(|| summary.peer.map(|peer| peer.ip())),
    };
    let (module, version) = note.of.clone().unzip();
    let (path, status, reason) = (summary.path.clone(), summary.status, note.reason);
    let refused = Refused { rule, reason, kind: note.kind, path, module, version, status, times: 1 };
    audit.record(&actor, &Event::Refusal(refused));
}

fn log(node: &str, summary: &Summary<Note>, note: &Note) {
    // A Unix socket's client has no address.
    let connected = summary.peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string());
    // It may repeat what was asked for.
    let refusal = note.refusal.as_deref().map(masked);
    tracing::info!(
        target: "access",
        request_id = summary.request_id,
        node,
        peer = note.forwarded_for.map(|client| client.to_string()).unwrap_or_else(|| connected.clone()),
        via = note.forwarded_for.map(|_| connected),
        principal = note.principal,
        method = summary.method,
        path = summary.path,
        kind = note.kind,
        status = summary.status,
        cache = note.cache.map(CacheStatus::word),
        rule = note.rule,
        set = note.set,
        refusal = refusal.as_deref(),
        bytes_in = summary.bytes_in,
        bytes_out = summary.bytes_out,
        ms = (summary.duration.as_secs_f64() * 1e6).round() / 1e3,
        protocol = summary.protocol,
        cut = summary.end != End::Complete,
        detail = summary.detail,
    );
}
