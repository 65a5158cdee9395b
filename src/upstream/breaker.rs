//! The breakers: an upstream that failed several times in a row is left alone for a while; then its base is asked, after longer and
//! longer waits, until it answers.
//!
//! Nobody's failing paths are to cut the others off. What a connection failed with counts whatever was asked; a failing answer
//! counts once a module; and what is asked to find out whether the upstream is back names no module at all.
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

use super::hold::Holds;
use super::public_name;
use crate::module::ModulePath;
use crate::observe::metrics::{BreakerState, UpstreamRole};

/// Failures in a row after which an upstream counts as down.
const FAILURES: usize = 5;
/// The wait before the first try.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest that the `Retry-After` of a 429 holds back all that would be asked: it is about how much this gateway asks, and
/// perhaps about one module alone.
const RATE_HOLD_MAX: Duration = Duration::from_secs(30);

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
    /// It could not be reached, or began no answer in time: whatever was asked.
    Unreached { why: String },
    /// What was asked failed. `limited`: it is asked too much, and for how long it wants to be left alone.
    Badly { why: String, limited: Option<Duration> },
    /// Nothing came of it for another reason.
    Neither,
}

type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// By the proxy's URL.
type ByProxy = BTreeMap<(Url, UpstreamRole), Arc<Breaker>>;

/// All breakers of a process, and the URLs that upstreams want to be left alone with. Cheap to clone.
#[derive(Clone)]
pub struct Breakers {
    all: Arc<Mutex<ByProxy>>,
    holds: Holds,
    clock: Clock,
}

impl Default for Breakers {
    fn default() -> Self {
        Self::by(Arc::new(Instant::now))
    }
}

impl Breakers {
    pub(in crate::upstream) fn by(clock: Clock) -> Self {
        Self { all: Arc::default(), holds: Holds::default(), clock }
    }

    /// The breaker of a proxy; a new one knows of no failure.
    pub(super) fn of(&self, proxy: &Url, role: UpstreamRole) -> Arc<Breaker> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Breaker { host: public_name(proxy), role, clock: Arc::clone(&self.clock), state: Mutex::default() });
        Arc::clone(all.entry((proxy.clone(), role)).or_insert_with(new))
    }

    /// This URL is not asked for so long.
    pub(super) fn hold(&self, url: &Url, wish: Duration) {
        self.holds.hold(url, wish, (self.clock)());
    }

    /// For how long this URL is still not to be asked, if that was wished.
    pub(super) fn held(&self, url: &Url) -> Option<Duration> {
        self.holds.left(url, (self.clock)())
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
    /// Up to now.
    row: Row,
    outage: Option<Outage>,
}

/// Failures in a row.
#[derive(Default)]
struct Row {
    unreached: usize,
    /// Modules that failed, at most [`FAILURES`]; all that names none is one.
    failed: Vec<Option<ModulePath>>,
}

impl Row {
    /// Modules above and below each other are one: of a path that fails the go command asks for each of its parents.
    fn note(&mut self, module: Option<&ModulePath>) {
        let is_known = self.failed.iter().any(|known| match (known, module) {
            (Some(known), Some(module)) => {
                known == module || known.parents().any(|p| p == module.as_str()) || module.parents().any(|p| p == known.as_str())
            }
            (known, module) => known.is_none() && module.is_none(),
        });
        if !is_known && self.failed.len() < FAILURES {
            self.failed.push(module.cloned());
        }
    }

    fn is_full(&self) -> bool {
        self.unreached + self.failed.len() >= FAILURES
    }
}

struct Outage {
    since: SystemTime,
    begun: Instant,
    why: String,
    /// Nobody asks before.
    next_try: Instant,
    failed_tries: u32,
    /// Its base is being asked.
    trying: bool,
    /// The upstream itself asked to be left alone until `next_try`.
    on_request: bool,
}

impl Breaker {
    /// Leave to ask for this module once, or to find out first whether the upstream is back.
    ///
    /// # Errors
    ///
    /// [`Down`] while the upstream is left alone, or somebody else tries it.
    pub(super) fn admit(self: &Arc<Self>, module: Option<&ModulePath>) -> Result<Admitted, Down> {
        let mut state = self.lock();
        let Some(outage) = &mut state.outage else { return Ok(Admitted::Asks(self.pass(module))) };
        if outage.trying || (self.clock)() < outage.next_try {
            return Err(self.describe(outage));
        }
        outage.trying = true;
        Ok(Admitted::Tries(Trial { breaker: Arc::clone(self) }))
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

    fn pass(self: &Arc<Self>, module: Option<&ModulePath>) -> Pass {
        Pass { breaker: Arc::clone(self), module: module.cloned() }
    }

    fn describe(&self, outage: &Outage) -> Down {
        Down { host: self.host.clone(), role: self.role, since: outage.since, why: outage.why.clone() }
    }

    fn succeeded(&self, tried: bool) {
        let mut state = self.lock();
        state.row = Row::default();
        // An answer to what was asked before does not take back the upstream's own wish.
        let Some(outage) = state.outage.take_if(|outage| tried || !outage.on_request) else { return };
        let seconds = (self.clock)().saturating_duration_since(outage.begun).as_secs();
        tracing::info!(upstream = self.host, role = self.role.word(), seconds, "an upstream answers again");
    }

    /// An ask failed. `limited`: for how long everything is to be held back.
    fn failed(&self, note: impl FnOnce(&mut Row), why: String, limited: Option<Duration>) {
        let now = (self.clock)();
        let mut state = self.lock();
        note(&mut state.row);
        let wish = limited.filter(|wish| !wish.is_zero()).map(|wish| now + wish.min(RATE_HOLD_MAX));
        let enough = state.row.is_full();
        match (&mut state.outage, wish) {
            (Some(outage), Some(wish)) => {
                outage.next_try = outage.next_try.max(wish);
                outage.on_request = true;
            }
            (Some(_), None) => {}
            (None, wish) if wish.is_some() || enough => {
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
            (None, _) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be done with an upstream.
pub(super) enum Admitted {
    /// To ask it.
    Asks(Pass),
    /// It is down, and whoever has this finds out whether it still is.
    Tries(Trial),
}

/// Leave to ask once, to be settled by how that went, up to the last byte of the answer. One that is dropped has told nothing.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    module: Option<ModulePath>,
}

impl Pass {
    /// Host and port of whom it is for.
    pub(super) fn host(&self) -> &str {
        &self.breaker.host
    }

    pub(super) fn settle(self, went: Went) {
        match went {
            Went::Well => self.breaker.succeeded(false),
            Went::Unreached { why } => self.breaker.failed(|row| row.unreached = row.unreached.saturating_add(1), why, None),
            Went::Badly { why, limited } => self.breaker.failed(|row| row.note(self.module.as_ref()), why, limited),
            Went::Neither => {}
        }
    }
}

/// The one try at a time of an upstream that is down. One that is dropped leaves the next one free.
pub(super) struct Trial {
    breaker: Arc<Breaker>,
}

impl Trial {
    /// It answered, whatever: it may be asked.
    pub(super) fn answered(self, module: Option<&ModulePath>) -> Pass {
        self.breaker.succeeded(true);
        self.breaker.pass(module)
    }

    /// It is still down, and left alone for longer.
    pub(super) fn failed(self, why: String) -> Down {
        let now = (self.breaker.clock)();
        let mut state = self.breaker.lock();
        // Something that was asked before the outage may have been answered meanwhile.
        let Some(outage) = &mut state.outage else {
            return Down { host: self.breaker.host.clone(), role: self.breaker.role, since: SystemTime::now(), why };
        };
        outage.failed_tries = outage.failed_tries.saturating_add(1);
        outage.on_request &= outage.next_try > now;
        outage.next_try = outage.next_try.max(now + wait(outage.failed_tries, random()));
        outage.why = why;
        self.breaker.describe(outage)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(outage) = &mut self.breaker.lock().outage {
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
