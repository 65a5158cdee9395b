//! The breakers: an upstream that failed several times in a row is left alone for a while; then its base is asked, after longer and
//! longer waits. When that answers, a few modules are asked for, and the rest waits until one of them goes well.
//!
//! Nobody's failing paths are to cut the others off. That no connection comes about counts whatever was asked; all else counts once a
//! module; what is asked to find out whether the upstream is back names no module at all; and what is asked for then are modules that
//! differ. A base that answers says little of what is behind it: while those fail, the waits go on growing.
//!
//! Each proxy of the chain has two, by [`UpstreamRole`]. They live as long as the process: settings that are read again find them
//! as they were. A breaker only ever makes an ask fail sooner; it makes no answer.

mod row;

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
use row::{LIMITED, Modules, Row};

/// The wait before the first try.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Modules that may be asked for when the base answers again, until one of them goes well.
const LET_THROUGH: usize = 3;
/// An outage that begins so soon after the last one goes on with its waits.
const RELAPSE: Duration = WAIT_MAX;
/// The longest that the `Retry-After` of 429s holds back all that would be asked.
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
    /// It could not be reached: whatever was asked.
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
    /// How the last outage ended.
    over: Option<Over>,
    /// Rounds so far.
    rounds: u64,
}

impl State {
    /// With how many failed tries an outage begins.
    fn failed_tries(&self, now: Instant) -> u32 {
        let relapse = self.over.as_ref().filter(|over| now.saturating_duration_since(over.at) < RELAPSE);
        relapse.map_or(0, |over| over.failed_tries.saturating_add(1))
    }

    /// The round that this pass belongs to, if that is the present one.
    fn round_of(&mut self, pass: &Pass) -> Option<&mut Round> {
        let round = self.outage.as_mut()?.round.as_mut()?;
        (Some(round.number) == pass.round).then_some(round)
    }
}

struct Over {
    at: Instant,
    failed_tries: u32,
}

struct Outage {
    since: SystemTime,
    begun: Instant,
    why: String,
    /// Nobody asks its base before.
    next_try: Instant,
    failed_tries: u32,
    /// Its base is being asked.
    trying: bool,
    /// Its base answered, and what is behind it is found out.
    round: Option<Round>,
    /// The upstream itself asked to be left alone until `next_try`.
    on_request: bool,
}

/// What is let through after the base answered.
struct Round {
    number: u64,
    /// Asked for, and no answer has begun.
    waiting: Modules,
    failed: Modules,
}

impl Round {
    fn has_room(&self) -> bool {
        self.waiting.len() + self.failed.len() < LET_THROUGH
    }

    fn admits(&self, module: Option<&ModulePath>) -> bool {
        self.has_room() && !self.waiting.has(module) && !self.failed.has(module)
    }
}

impl Breaker {
    /// Leave to ask for this module once, or to find out first whether the upstream is back.
    ///
    /// # Errors
    ///
    /// [`Down`] while the upstream is left alone, or others find out whether it is back.
    pub(super) fn admit(self: &Arc<Self>, module: Option<&ModulePath>) -> Result<Admitted, Down> {
        let mut state = self.lock();
        let Some(outage) = &mut state.outage else { return Ok(Admitted::Asks(self.pass(module, None))) };
        let is_awaited = match &mut outage.round {
            Some(round) if round.admits(module) => {
                round.waiting.note(module);
                return Ok(Admitted::Asks(self.pass(module, Some(round.number))));
            }
            round => round.as_ref().is_some_and(|round| round.waiting.len() > 0),
        };
        if outage.trying || is_awaited || (self.clock)() < outage.next_try {
            return Err(self.describe(outage));
        }
        outage.trying = true;
        outage.round = None;
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
            Some(Outage { round: Some(round), .. }) if round.has_room() || round.waiting.len() > 0 => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    /// `round`: which one it is let through in.
    fn pass(self: &Arc<Self>, module: Option<&ModulePath>, round: Option<u64>) -> Pass {
        Pass { breaker: Arc::clone(self), module: module.cloned(), round, waits: round.is_some() }
    }

    fn describe(&self, outage: &Outage) -> Down {
        Down { host: self.host.clone(), role: self.role, since: outage.since, why: outage.why.clone() }
    }

    fn succeeded(&self, pass: &Pass) {
        let mut state = self.lock();
        state.row = Row::default();
        let is_of_round = state.round_of(pass).is_some();
        // An answer to what was asked before does not take back the upstream's own wish.
        let Some(outage) = state.outage.take_if(|outage| is_of_round || !outage.on_request) else { return };
        let now = (self.clock)();
        state.over = Some(Over { at: now, failed_tries: outage.failed_tries });
        let seconds = now.saturating_duration_since(outage.begun).as_secs();
        tracing::info!(upstream = self.host, role = self.role.word(), seconds, "an upstream answers again");
    }

    fn failed(&self, pass: &Pass, why: String, how: Failure) {
        let now = (self.clock)();
        let mut state = self.lock();
        let module = pass.module.as_ref();
        let mut wish = None;
        match how {
            Failure::Unreached => state.row.unreached = state.row.unreached.saturating_add(1),
            Failure::Answered { limited } => {
                state.row.failed.note(module);
                wish = limited.filter(|wish| !wish.is_zero());
                if wish.is_some() {
                    state.row.limited.note(module);
                }
            }
        }
        // It may be about that module alone.
        let wish = wish.filter(|_| state.row.limited.len() >= LIMITED).map(|wish| now + wish.min(RATE_HOLD_MAX));
        let is_first = state.round_of(pass).map(|round| {
            round.failed.note(module);
            round.failed.len() == 1
        });
        let (is_full, failed_tries) = (state.row.is_full(), state.failed_tries(now));
        match &mut state.outage {
            Some(outage) => {
                if let Some(is_first) = is_first {
                    outage.failed_tries = outage.failed_tries.saturating_add(u32::from(is_first));
                    outage.next_try = outage.next_try.max(now + wait(outage.failed_tries, random()));
                    outage.on_request = false;
                    outage.why = why;
                    // No other module will fare better.
                    outage.round.take_if(|_| matches!(how, Failure::Unreached));
                }
                if let Some(wish) = wish {
                    outage.next_try = outage.next_try.max(wish);
                    outage.on_request = true;
                    outage.round = None;
                }
            }
            None if wish.is_some() || is_full => {
                tracing::warn!(upstream = self.host, role = self.role.word(), why, "an upstream is down: it is left alone for a while");
                state.outage = Some(Outage {
                    since: SystemTime::now(),
                    begun: now,
                    why,
                    next_try: wish.unwrap_or_else(|| now + wait(failed_tries, random())),
                    failed_tries,
                    trying: false,
                    round: None,
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

/// What may be done with an upstream.
pub(super) enum Admitted {
    /// To ask it.
    Asks(Pass),
    /// It is down, and whoever has this finds out whether it still is.
    Tries(Trial),
}

/// How an ask failed.
#[derive(Clone, Copy)]
enum Failure {
    Unreached,
    Answered { limited: Option<Duration> },
}

/// Leave to ask once, to be settled by how that went, up to the last byte of the answer. One that is dropped has told nothing.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    module: Option<ModulePath>,
    /// It is let through to find out whether the upstream is back.
    round: Option<u64>,
    /// No answer has begun, and others wait for it.
    waits: bool,
}

impl Pass {
    /// Host and port of whom it is for.
    pub(super) fn host(&self) -> &str {
        &self.breaker.host
    }

    /// An answer has begun, which may be long: others need not wait for its end.
    pub(super) fn begun(&mut self) {
        if std::mem::take(&mut self.waits)
            && let Some(round) = self.breaker.lock().round_of(self)
        {
            round.waiting.forget(self.module.as_ref());
        }
    }

    pub(super) fn settle(self, went: Went) {
        match went {
            Went::Well => self.breaker.succeeded(&self),
            Went::Unreached { why } => self.breaker.failed(&self, why, Failure::Unreached),
            Went::Badly { why, limited } => self.breaker.failed(&self, why, Failure::Answered { limited }),
            Went::Neither => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.begun();
    }
}

/// The one try at a time of an upstream that is down. One that is dropped leaves the next one free.
pub(super) struct Trial {
    breaker: Arc<Breaker>,
}

impl Trial {
    /// It answered, whatever: a few modules may be asked for, this one first.
    pub(super) fn answered(self, module: Option<&ModulePath>) -> Pass {
        let mut state = self.breaker.lock();
        state.rounds = state.rounds.wrapping_add(1);
        let number = state.rounds;
        // Something that was asked before the outage may have been answered meanwhile.
        let round = state.outage.as_mut().map(|outage| {
            let mut round = Round { number, waiting: Modules::default(), failed: Modules::default() };
            round.waiting.note(module);
            outage.round = Some(round);
            number
        });
        drop(state);
        self.breaker.pass(module, round)
    }

    /// It is still down, and left alone for longer.
    pub(super) fn failed(self, why: String) -> Down {
        let now = (self.breaker.clock)();
        let mut state = self.breaker.lock();
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
