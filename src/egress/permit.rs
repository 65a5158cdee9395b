//! The one way out: a [`PublicPath`], made here and nowhere else, after the ledger holds the path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::policy::Policy;
use super::rule::{Rule, Verdict};
use crate::module::ModulePath;
use crate::observe::audit::{Actor, Audit, Event, Firsts};
use crate::store::{Fresh, HostedIndex, StoreError};

/// For how long the first path at an unknown host stands for all of its paths.
const DAY: Duration = Duration::from_secs(86_400);

/// A module path that may leave, and stands in the egress ledger, durably.
///
/// Only [`Gate::permit`] makes one, by the policy in force and from an index that the store vouches for as current. It is good for one attempt:
/// every retry, redirect and refresh asks again.
///
/// It cannot be put together elsewhere:
///
/// ```compile_fail,E0451
/// fn forge(path: modgate::module::ModulePath) -> modgate::egress::PublicPath {
///     modgate::egress::PublicPath { path }
/// }
/// ```
///
/// nor made from a path:
///
/// ```compile_fail,E0277
/// fn forge(path: modgate::module::ModulePath) -> modgate::egress::PublicPath {
///     path.into()
/// }
/// ```
///
/// ```compile_fail,E0624
/// fn forge(index: modgate::store::Fresh<modgate::store::HostedIndex>, verdict: modgate::egress::Verdict) {
///     modgate::egress::PublicPath::new(&index, verdict);
/// }
/// ```
///
/// nor read from anything, nor made of nothing:
///
/// ```compile_fail,E0277
/// let forged: modgate::egress::PublicPath = serde_json::from_str("\"corp.example.com/secret\"").unwrap();
/// ```
///
/// ```compile_fail,E0277
/// fn forge<T: Default>() -> T { T::default() }
/// let forged: modgate::egress::PublicPath = forge();
/// ```
///
/// What may be done with one:
///
/// ```
/// fn send(path: &modgate::egress::PublicPath) -> String {
///     path.path().escaped()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPath {
    path: ModulePath,
}

impl PublicPath {
    /// The path.
    pub fn path(&self) -> &ModulePath {
        &self.path
    }

    /// The only constructor. `_index` is what the verdict was reached on.
    fn new(_index: &Fresh<HostedIndex>, verdict: Verdict) -> Result<Self, Denied> {
        if verdict.is_public() { Ok(Self { path: verdict.path }) } else { Err(Denied::Private(Box::new(verdict))) }
    }
}

/// Why a path may not leave now.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It is private. The text is for logs: clients get [`super::miss_text`].
    #[error("{} is private (rule: {})", .0.path, .0.rule)]
    Private(Box<Verdict>),
    /// What is hosted cannot be known, or the ledger cannot be written: nothing leaves.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What lets paths leave, by the policy in force. It lives as long as the process, and the policy in it as long as the settings:
/// a transfer that began under other settings, and asks here for its next attempt, is judged by those that hold now.
pub struct Gate {
    in_force: ArcSwap<Policy>,
    /// Sent to when another policy has come into force.
    enforced: watch::Sender<()>,
    audit: Audit,
    /// What was recorded at unknown hosts, under whichever policy.
    watched: Firsts,
}

impl Gate {
    /// Opens with `policy` in force. Records in `audit` what is let out at unknown hosts.
    pub fn new(policy: Arc<Policy>, audit: Audit) -> Self {
        Self { in_force: ArcSwap::new(policy), enforced: watch::Sender::new(()), audit, watched: Firsts::each(DAY) }
    }

    /// Puts `policy` in force. No permit that is given after this returns rests on the one before.
    pub fn enforce(&self, policy: Arc<Policy>) {
        self.in_force.store(policy);
        self.enforced.send_replace(());
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.in_force.load_full()
    }

    /// Lets a path leave, for one attempt, or says why not.
    ///
    /// Judges on a current index; notes the path in the ledger, durably, if it never left before; then judges again, because somebody
    /// may have published under that name meanwhile, or another policy come into force. `principal` is for the ledger, as it stands in
    /// logs. A path that the second judgement stops stays in the ledger without having left: the ledger may say too much, never too little.
    pub async fn permit(&self, path: &ModulePath, principal: &str) -> Result<PublicPath, Denied> {
        let policy = self.policy();
        let before = policy.view().await?;
        let verdict = policy.judge(path, before.facts(&*policy.records.known()));
        if !verdict.is_public() {
            return Err(Denied::Private(Box::new(verdict)));
        }
        policy.records.ledger_first(path, principal, verdict.rule.name()).await?;
        loop {
            let policy = self.policy();
            let after = policy.view().await?;
            let verdict = policy.judge(path, after.facts(&*policy.records.known()));
            // What is hosted took time to be looked at: the policy that judged must still be in force.
            if Arc::ptr_eq(&policy, &self.policy()) {
                let watched = verdict.rule == Rule::UnknownHost;
                let public = PublicPath::new(&after.index, verdict)?;
                if watched {
                    self.watch(path, principal);
                }
                return Ok(public);
            }
        }
    }

    /// Records that a path is let out at an unknown host, once a host and day. All of them are in the ledger, and counted.
    fn watch(&self, path: &ModulePath, principal: &str) {
        let host = path.host().to_ascii_lowercase();
        let event = Event::UnknownHost { host: host.clone(), path: path.clone() };
        if self.watched.admits(event.name(), &host, Instant::now()) {
            tracing::warn!(host = path.host(), %path, by = principal, "a path at a host that nobody knows leaves");
            self.audit.record(&Actor::local(principal), &event);
        } else {
            self.audit.count(&event);
        }
    }
}

impl Gate {
    /// Waits until this path may not leave any more, and says why. A permit is for now: names are looked up and connections made for
    /// seconds after it was given, and whatever waits for them is to end when somebody publishes under that name meanwhile.
    pub async fn until_denied(&self, path: &ModulePath) -> Denied {
        let mut enforced = self.enforced.subscribe();
        loop {
            let policy = self.policy();
            let mut changes = policy.records.changes();
            let view = match policy.view().await {
                Ok(view) => view,
                Err(error) => return Denied::Store(error),
            };
            let verdict = policy.judge(path, view.facts(&*policy.records.known()));
            if !verdict.is_public() {
                return Denied::Private(Box::new(verdict));
            }
            tokio::select! {
                // A store that is closed changes no more.
                Ok(()) = changes.changed() => {}
                Ok(()) = enforced.changed() => {}
                else => std::future::pending().await,
            }
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}
