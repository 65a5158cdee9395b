//! The breakers: an upstream that failed several times in a row is left alone for a while; then one request at a time tries
//! it, after longer and longer waits, until one succeeds.
//!
//! Each proxy of the chain has two, by [`UpstreamRole`]. They live as long as the process: settings that are read again find them
//! as they were. A breaker only ever makes an ask fail sooner; it makes no answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::public_name;
use crate::observe::metrics::{BreakerState, UpstreamRole};

/// Failures in a row after which an upstream counts as down. One module that always fails must not cut off the others at once.
const FAILURES: u32 = 5;
/// The wait before the first try.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest that an upstream's `Retry-After` is heeded: it may be wrong, or the upstream may be back before.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// An upstream that is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Host and port.
    pub host: String,
    /// What of it.
    pub role: UpstreamRole,
    /// Since when, by the machine's clock.
    pub since: SystemTime,
    /// How it last failed.
    pub why: String,
}

impl Down {
    /// Without the reason, which may say more than everyone should read.
    pub fn summary(&self) -> String {
        self.summary_of(&self.host)
    }

    /// The same under another name than its host and port.
    pub fn summary_of(&self, name: &str) -> String {
        let what = if self.role == UpstreamRole::Sumdb { " (checksum database)" } else { "" };
        let since = OffsetDateTime::from(self.since).replace_nanosecond(0).ok().and_then(|since| since.format(&Rfc3339).ok());
        format!("{name}{what} is down since {}", since.unwrap_or_default())
    }
}

impl std::error::Error for Down {}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and was not asked ({})", self.summary(), self.why)
    }
}

/// How an ask went, as far as it tells whether the upstream works.
#[derive(Debug)]
pub(super) enum Went {
    /// It answered.
    Well,
    /// It failed, and perhaps said for how long it wants to be left alone.
    Badly { why: String, retry_after: Option<Duration> },
    /// Nothing came of it for another reason.
    Neither,
}

type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// By the proxy's URL.
type ByProxy = BTreeMap<(Url, UpstreamRole), Arc<Breaker>>;

/// All breakers of a process. Cheap to clone.
#[derive(Clone)]
pub struct Breakers {
    all: Arc<Mutex<ByProxy>>,
    clock: Clock,
}

impl Default for Breakers {
    fn default() -> Self {
        Self::by(Arc::new(Instant::now))
    }
}

impl Breakers {
    pub(in crate::upstream) fn by(clock: Clock) -> Self {
        Self { all: Arc::default(), clock }
    }

    /// The breaker of a proxy; a new one knows of no failure.
    pub(super) fn of(&self, proxy: &Url, role: UpstreamRole) -> Arc<Breaker> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Breaker { host: public_name(proxy), role, clock: Arc::clone(&self.clock), state: Mutex::default() });
        Arc::clone(all.entry((proxy.clone(), role)).or_insert_with(new))
    }
}

/// One breaker.
pub(super) struct Breaker {
    host: String,
    role: UpstreamRole,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a row, up to now.
    failures: u32,
    outage: Option<Outage>,
}

struct Outage {
    since: SystemTime,
    begun: Instant,
    why: String,
    /// Nobody asks before.
    next_try: Instant,
    failed_tries: u32,
    /// One is asking.
    trying: bool,
    /// The upstream itself asked to be left alone until `next_try`.
    on_request: bool,
}

impl Breaker {
    /// Leave to ask once.
    ///
    /// # Errors
    ///
    /// [`Down`] while the upstream is left alone, or somebody else tries it.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Pass, Down> {
        let mut state = self.lock();
        let Some(outage) = &mut state.outage else { return Ok(Pass { breaker: Arc::clone(self), tries: false }) };
        if outage.trying || (self.clock)() < outage.next_try {
            return Err(self.describe(outage));
        }
        outage.trying = true;
        Ok(Pass { breaker: Arc::clone(self), tries: true })
    }

    /// What it is now, if it is not well.
    pub(super) fn down(&self) -> Option<Down> {
        self.lock().outage.as_ref().map(|outage| self.describe(outage))
    }

    /// For whoever counts.
    pub(super) fn state(&self) -> BreakerState {
        match &self.lock().outage {
            None => BreakerState::Closed,
            Some(outage) if outage.trying => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    fn describe(&self, outage: &Outage) -> Down {
        Down { host: self.host.clone(), role: self.role, since: outage.since, why: outage.why.clone() }
    }

    fn succeeded(&self, tried: bool) {
        let mut state = self.lock();
        state.failures = 0;
        // An answer to what was asked before does not take back the upstream's own wish.
        let Some(outage) = state.outage.take_if(|outage| tried || !outage.on_request) else { return };
        let seconds = (self.clock)().saturating_duration_since(outage.begun).as_secs();
        tracing::info!(upstream = self.host, role = self.role.word(), seconds, "an upstream answers again");
    }

    fn failed(&self, tried: bool, why: String, retry_after: Option<Duration>) {
        let now = (self.clock)();
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let enough = state.failures >= FAILURES;
        let wish = retry_after.filter(|wish| !wish.is_zero()).map(|wish| now + wish.min(RETRY_AFTER_MAX));
        match &mut state.outage {
            Some(outage) => {
                if tried {
                    outage.failed_tries = outage.failed_tries.saturating_add(1);
                    outage.next_try = now + wait(outage.failed_tries, random());
                    outage.why = why;
                    outage.on_request = false;
                }
                if let Some(wish) = wish {
                    outage.next_try = outage.next_try.max(wish);
                    outage.on_request = true;
                }
            }
            None if wish.is_some() || enough => {
                tracing::warn!(upstream = self.host, role = self.role.word(), why, "an upstream is down: it is left alone for a while");
                state.outage = Some(Outage {
                    since: SystemTime::now(),
                    begun: now,
                    why,
                    next_try: wish.unwrap_or_else(|| now + wait(0, random())),
                    failed_tries: 0,
                    trying: false,
                    on_request: wish.is_some(),
                });
            }
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to ask once, to be settled by how that went, up to the last byte of the answer. One that is dropped has told nothing.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    /// The upstream is down, and this is the one ask that tries it.
    tries: bool,
}

impl Pass {
    pub(super) fn settle(self, went: Went) {
        match went {
            Went::Well => self.breaker.succeeded(self.tries),
            Went::Badly { why, retry_after } => self.breaker.failed(self.tries, why, retry_after),
            Went::Neither => {}
        }
    }

    /// The upstream works, and yet this ask is not over: others need not wait for its end.
    pub(super) fn vouch(&mut self) {
        if std::mem::take(&mut self.tries) {
            self.breaker.succeeded(true);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.tries
            && let Some(outage) = &mut self.breaker.lock().outage
        {
            outage.trying = false;
        }
    }
}

/// Twice as long after each failed try, up to the longest; of that between a half and all, so that many gateways do not
/// come back at once. `random`: any number.
fn wait(failed_tries: u32, random: u32) -> Duration {
    let longest = WAIT_FIRST.saturating_mul(1 << failed_tries.min(16)).min(WAIT_MAX);
    longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Where there is no randomness the waits are all as long as they can be.
fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
