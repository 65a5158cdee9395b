//! Log-ins: what is remembered of right and wrong credentials, and what a wrong one costs whoever shows it.
//!
//! - A password that was right is not hashed again for [`FRESH_FOR`].
//! - A wrong one is hashed once an hour for each address, however often it is shown: one stale netrc costs one Argon2 and counts once.
//! - *Different* wrong ones are counted against the address; from [`Limiter`]'s limits on, what was not right there within
//!   the hour is not looked at, and at last no password is. Tokens are always looked up, and right ones always good: they cannot be guessed.
//! - Verifications wait for one of few turns, first come first served; so many may wait. Credentials that were right within the
//!   hour have a turn to themselves: a flood of wrong ones from many addresses never keeps them waiting.
//!
//! The memory is bounded in entries and in time, and holds digests under a key of this process's: neither a look into it nor its
//! timing tells a credential. A digest covers the hash that the password was held against, so it stays true whatever the
//! settings become: this state is made once and outlives their reloads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::NoRandomness;
use super::flights::Flights;
use super::limiter::{Limiter, Origin, Standing};
use super::password::{blocks_of, is_right};
use super::turns::{Turn, Turns};
use crate::observe::spawn_blocking;

/// How long a password that was right is not hashed again.
const FRESH_FOR: Duration = Duration::from_secs(60);
/// How many such are remembered.
const FRESH_MAX: u64 = 10_000;
/// How long it is remembered what a credential was at an address.
const HERE_FOR: Duration = Duration::from_secs(3600);
/// How many credentials at addresses are remembered.
const HERE_MAX: u64 = 65_536;
/// The most verifications at once; each has memory for the dearest hash.
const AT_ONCE_MAX: usize = 4;
/// How many verifications may wait: some ten seconds' worth on two cores.
const WAITING_MAX: usize = 1000;
/// When to come again where as many wait as may.
const BUSY_RETRY: Duration = Duration::from_secs(10);

/// A digest under this process's key.
pub(super) type Digest = [u8; 32];

/// Why a log-in failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The credential is wrong.
    Wrong,
    /// It was not looked at: its address showed too many wrong ones. Come again then.
    Limited(Duration),
    /// It was not looked at: too many wait. Come again then.
    Busy(Duration),
}

/// A name and a password, to be held against a hash.
pub(super) struct Claim<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    /// The user's, or a decoy.
    pub(super) hash: Arc<str>,
    /// The hash is no decoy.
    pub(super) known: bool,
    pub(super) origin: Origin,
}

/// The state of all log-ins. Cheap to clone; one for a process, handed to each [`Access`](super::Access) that a reload makes.
#[derive(Clone)]
pub struct LogIns(Arc<State>);

struct State {
    key: Digest,
    /// Right passwords, anywhere.
    fresh: Cache<Digest, ()>,
    /// What a credential was at an address.
    here: Cache<Digest, Here>,
    limiter: Limiter,
    flights: Flights,
    strangers: Arc<Turns>,
    /// For what was right here within the hour.
    familiar: Arc<Turns>,
    #[cfg(test)]
    hashed: std::sync::atomic::AtomicUsize,
}

/// What a credential was at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    Right,
    /// And counted.
    Wrong,
    /// Not looked at, but counted: its address was limited.
    Unseen,
}

/// What is to be done with a password, by what is remembered.
enum Known {
    Right,
    /// It has to be hashed.
    Open {
        /// It was right here within the hour.
        familiar: bool,
    },
}

/// A claim's digests.
#[derive(Clone, Copy)]
struct Keys {
    anywhere: Digest,
    here: Digest,
}

impl LogIns {
    /// Nothing remembered, nobody limited.
    pub fn new() -> Result<Self, NoRandomness> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let at_once = std::thread::available_parallelism().map_or(1, |n| n.get().min(AT_ONCE_MAX));
        Ok(Self(Arc::new(State {
            key,
            fresh: Cache::builder().max_capacity(FRESH_MAX).time_to_live(FRESH_FOR).build(),
            here: Cache::builder().max_capacity(HERE_MAX).time_to_live(HERE_FOR).build(),
            limiter: Limiter::new(),
            flights: Flights::default(),
            strangers: Arc::new(Turns::new(at_once, WAITING_MAX)),
            familiar: Arc::new(Turns::new(1, WAITING_MAX)),
            #[cfg(test)]
            hashed: std::sync::atomic::AtomicUsize::new(0),
        })))
    }

    /// Whether the claim is right.
    pub(super) async fn verify(&self, claim: Claim<'_>) -> Result<(), Failed> {
        let state = &self.0;
        let keys = state.keys(&claim);
        if let Known::Right = state.judge(&keys, claim.origin)? {
            return Ok(());
        }
        // The go command asks many things at once: all but the first find the answer when their turn comes.
        let _flight = state.flights.board(keys.anywhere).await;
        let Known::Open { familiar } = state.judge(&keys, claim.origin)? else { return Ok(()) };
        let turns = if familiar { &state.familiar } else { &state.strangers };
        let mut turn = turns.take().await.map_err(|super::turns::Busy| Failed::Busy(BUSY_RETRY))?;
        // Meanwhile others' wrong ones may have been counted: what waited is not looked at any more.
        let Known::Open { .. } = state.judge(&keys, claim.origin)? else { return Ok(()) };
        let (state, password) = (Arc::clone(state), claim.password.to_owned());
        let Claim { hash, known, origin, .. } = claim;
        // The turn is held, and the verdict remembered, even if nobody waits any more: the bound is on work, not on callers.
        let right = spawn_blocking(move || state.hash(&password, &hash, known, &keys, origin, &mut turn));
        if right.await.unwrap_or(false) { Ok(()) } else { Err(Failed::Wrong) }
    }

    /// A number of `name`'s own, always the same in this process.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.0.digest(&[name.as_bytes()]).first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
    }

    #[cfg(test)]
    pub(super) fn hashed(&self) -> usize {
        self.0.hashed.load(std::sync::atomic::Ordering::SeqCst)
    }

    #[cfg(test)]
    pub(super) fn is_limited(&self, origin: Origin) -> bool {
        !matches!(self.0.limiter.standing(origin, Instant::now()), Standing::Free)
    }

    #[cfg(test)]
    pub(super) fn turns(&self) -> &Arc<Turns> {
        &self.0.strangers
    }

    /// As if [`FRESH_FOR`] were over.
    #[cfg(test)]
    pub(super) fn grow_stale(&self) {
        self.0.fresh.invalidate_all();
    }
}

impl State {
    /// By what is remembered, without hashing. Counts what an address shows while it is limited.
    fn judge(&self, keys: &Keys, origin: Origin) -> Result<Known, Failed> {
        let here = self.here.get(&keys.here);
        match (self.limiter.standing(origin, Instant::now()), here) {
            (_, Some(Here::Wrong)) => return Err(Failed::Wrong),
            (Standing::Shut(wait), _) | (Standing::Limited(wait), Some(Here::Unseen)) => return Err(Failed::Limited(wait)),
            (Standing::Limited(wait), None) => {
                self.wrong(keys.here, Here::Unseen, origin);
                return Err(Failed::Limited(wait));
            }
            (Standing::Limited(_), Some(Here::Right)) | (Standing::Free, _) => {}
        }
        let familiar = here == Some(Here::Right);
        if !self.fresh.contains_key(&keys.anywhere) {
            return Ok(Known::Open { familiar });
        }
        if !familiar {
            self.here.insert(keys.here, Here::Right);
        }
        Ok(Known::Right)
    }

    /// Holds the password against the hash, and remembers what came of it.
    fn hash(&self, password: &str, hash: &str, known: bool, keys: &Keys, origin: Origin, turn: &mut Turn) -> bool {
        #[cfg(test)]
        self.hashed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let memory = turn.memory(blocks_of(hash).unwrap_or_default());
        let right = is_right(hash, password, memory) && known;
        if right {
            self.fresh.insert(keys.anywhere, ());
            self.here.insert(keys.here, Here::Right);
        } else {
            self.wrong(keys.here, Here::Wrong, origin);
        }
        right
    }

    /// Remembers and counts a wrong credential. One that was counted before it was looked at is not counted again.
    fn wrong(&self, key: Digest, what: Here, origin: Origin) {
        let before = self.here.get(&key);
        self.here.insert(key, what);
        if before == Some(Here::Unseen) {
            return;
        }
        let now = Instant::now();
        let was = self.limiter.standing(origin, now);
        self.limiter.count(origin, now);
        if let (Standing::Free, Standing::Limited(wait)) = (was, self.limiter.standing(origin, now)) {
            tracing::warn!(peer = %origin, seconds = wait.as_secs(), "too many different wrong credentials: log-ins from here are limited");
        }
    }

    fn keys(&self, claim: &Claim<'_>) -> Keys {
        let anywhere = self.digest(&[claim.user.as_bytes(), claim.password.as_bytes(), claim.hash.as_bytes()]);
        Keys { anywhere, here: self.digest(&[&anywhere, &claim.origin.bytes()]) }
    }

    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

impl std::fmt::Debug for LogIns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogIns")
    }
}
