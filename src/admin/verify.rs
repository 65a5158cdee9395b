//! `verify` re-reads everything; `findings` is what an operator should mend.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{OperationError, Operations};
use crate::cache::DAMAGED;
use crate::config::{Config, Written};
use crate::egress::Policy;
use crate::observe::audit::{Actor, Event};
use crate::observe::spawn_blocking;
use crate::store::{Records, StoreError};
use crate::sumdb::log::{Log, LogFinding, OpenError};
use crate::upstream::Upstream;

/// Something that is not as it was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct FindingLine {
    /// What kind.
    pub kind: String,
    /// The file.
    pub path: String,
    /// What is wrong, for people.
    pub text: String,
}

/// What is said wherever an operator looks, while nothing is verified.
pub const UNVERIFIED: &str = "nothing that comes from upstream is verified";
/// The kind of what is found in our own checksum database.
const LOG: &str = "log";
/// What a verification says that was stopped.
const NOT_ALL: &str = "not all was verified";

impl FindingLine {
    fn event(&self) -> Event {
        Event::Integrity { kind: self.kind.clone(), path: self.path.clone(), text: self.text.clone() }
    }
}

/// What `verify` found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Verified {
    /// A line each.
    pub findings: Vec<FindingLine>,
    /// Hosted versions that were looked at.
    pub hosted: u64,
    /// Cached files that were looked at.
    pub cached: u64,
}

/// Whether nine tenths of what an owner may hold are used, or more.
fn is_nearly_full(used: u64, max_bytes: u64) -> bool {
    used > 0 && used >= max_bytes - max_bytes / 10
}

impl Operations {
    pub(super) async fn verify(&self, actor: &Actor) -> Result<Verified, OperationError> {
        let hosted = match self.stores.verify.verify(&self.stop).await {
            Err(_) if self.stop.is_asked() => return Err(OperationError::Ending(NOT_ALL.to_owned())),
            hosted => hosted?,
        };
        let stop = self.stop.clone();
        let cached = self.with_cache(move |cache| cache.verify(&stop)).await?;
        let of_hosted = hosted.findings.iter().map(|finding| FindingLine {
            kind: finding.kind.to_string(),
            path: finding.path.display().to_string(),
            text: finding.text.clone(),
        });
        let of_cached = cached.findings.iter().map(|finding| FindingLine {
            kind: DAMAGED.to_owned(),
            path: finding.file.clone(),
            text: finding.text.clone(),
        });
        let of_log = self.verify_log().await?;
        let verified =
            Verified { findings: of_hosted.chain(of_cached).chain(of_log).collect(), hosted: hosted.hosted, cached: cached.good };
        let findings = &verified.findings;
        let mut events: Vec<Event> = findings.iter().map(FindingLine::event).collect();
        if self.stop.is_asked() {
            // What was found was set aside.
            self.audit.record_durably(actor, &events).await;
            return Err(OperationError::Ending(NOT_ALL.to_owned()));
        }
        events.push(Event::Verify { hosted: verified.hosted, cached: verified.cached, findings: findings.len() as u64 });
        self.audit.record_durably(actor, &events).await;
        Ok(verified)
    }

    /// All of our own checksum database, read again.
    async fn verify_log(&self) -> Result<Vec<FindingLine>, OperationError> {
        if let Some(wrong) = &self.log_wrong {
            let folder = self.data.sumdb().join("log").display().to_string();
            return Ok(vec![FindingLine { kind: LOG.to_owned(), path: folder, text: wrong.to_string() }]);
        }
        let Some(log) = self.log.clone() else { return Ok(Vec::new()) };
        let stop = self.stop.clone();
        let found = spawn_blocking(move || log.verify(&stop)).await.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))?;
        let line = |LogFinding { path, text }| FindingLine { kind: LOG.to_owned(), path: path.display().to_string(), text };
        Ok(found.into_iter().map(line).collect())
    }

    /// What an operator should mend beyond what the settings tell by themselves. `written`: other settings to judge by, which may be
    /// about to come in force; those in force if none. Of files it reads a few small ones of our own checksum database.
    pub async fn findings(&self, written: Option<Written>) -> Result<Vec<String>, OperationError> {
        let looking = Looking {
            config: self.config.clone(),
            policy: self.policy.clone(),
            records: self.stores.records.clone(),
            upstream: self.upstream.clone(),
            log: self.log.clone(),
            log_wrong: self.log_wrong.clone(),
        };
        // Thousands of owners, each with patterns, over what is hosted take seconds: off the async threads, and one at a time.
        let turn = self.looking.clone().lock_owned().await;
        let runtime = Handle::current();
        let looked = spawn_blocking(move || {
            let found = runtime.block_on(looking.findings(written));
            drop(turn);
            found
        });
        looked.await.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))?
    }
}

/// What `findings` looks at.
struct Looking {
    config: Arc<Config>,
    policy: Arc<Policy>,
    records: Arc<dyn Records>,
    upstream: Arc<Upstream>,
    log: Option<Arc<Log>>,
    log_wrong: Option<Arc<OpenError>>,
}

impl Looking {
    async fn findings(&self, written: Option<Written>) -> Result<Vec<String>, OperationError> {
        let Some(written) = written else { return self.under(&self.config, &self.policy).await };
        let config = written.judge().map_err(|error| OperationError::Bad(error.to_string()))?;
        self.under(&config, &Policy::new(&config, self.records.clone())).await
    }

    async fn under(&self, config: &Config, policy: &Policy) -> Result<Vec<String>, OperationError> {
        let mut findings = Vec::new();
        for (path, owner) in policy.private_only_while_hosted().await? {
            findings.push(format!("{path} of owner {owner}, which is not public, is kept private by nothing but being hosted: add a pattern to private.patterns"));
        }
        for opening in policy.openings().await? {
            findings.push(format!("{} may leave (rule: {}) though it is {}", opening.path, opening.rule, opening.opened.relation()));
        }
        let upstream = &self.config.upstream;
        if upstream.is_believed() {
            findings.push(format!("{UNVERIFIED} (upstream.verify, {})", upstream.verify.source));
        }
        findings.extend(self.upstream.clock_finding());
        findings.extend(self.log_wrong.iter().map(|wrong| format!("sumdb: {wrong}")));
        let standing = self.log.iter().flat_map(|log| log.standing());
        findings.extend(standing.map(|LogFinding { path, text }| format!("sumdb: {}: {text}", path.display())));
        let index = self.records.hosted_index().await?;
        for host in index.made_public.keys() {
            let path = host.parse().map_err(|_| StoreError::Corrupt(format!("{host} is no host")))?;
            if let Some(verdict) = policy.keeps_private(&path).await? {
                findings.push(format!("{host} was made public, but stays private: rule {}, {}", verdict.rule, verdict.where_));
            }
        }
        let gone: BTreeSet<_> = index.hosted.values().filter(|owner| !config.owners.contains_key(*owner)).collect();
        for owner in gone {
            findings.push(format!("owner {owner} has hosted modules but is not in the settings: only admins see them"));
        }
        for (name, owner) in &config.owners {
            let used = index.holdings.get(name).map_or(0, |holding| holding.bytes);
            if let Some(max_bytes) = owner.max_bytes.filter(|max_bytes| is_nearly_full(used, *max_bytes)) {
                findings.push(format!("owner {name} holds {used} bytes and may hold {max_bytes} (owners.{name}.max_bytes)"));
            }
        }
        Ok(findings)
    }
}
