//! Passwords: made into hashes, and held against them without a caller's learning whether the user exists.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::NoRandomness;
use crate::config::User;
use crate::module::UserName;

/// The longest password, bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// How long a password that was right is not hashed again.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// How many such passwords are remembered.
const REMEMBERED_MAX: u64 = 10_000;
/// The most verifications at once; each has memory for the dearest hash.
const AT_ONCE_MAX: usize = 4;
/// What an unknown user's password is held against where there are no users: what `modgate password` would have written.
pub(super) const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyBpdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Nothing to hash.
    #[error("the password is empty")]
    Empty,
    /// Over the limit.
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// The hash function failed.
    #[error("the password could not be hashed: {0}")]
    Failed(argon2::password_hash::Error),
}

/// Hashes a password with a fresh salt: Argon2id with 19 MiB and two passes, as a PHC string. Takes some 20 ms.
pub fn hash_password(password: &str) -> Result<String, HashError> {
    match password.len() {
        0 => Err(HashError::Empty),
        n if n > PASSWORD_BYTES_MAX => Err(HashError::TooLong),
        _ => Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(HashError::Failed),
    }
}

/// The users' passwords.
pub(super) struct Passwords {
    hashes: BTreeMap<UserName, Arc<str>>,
    /// Digests of user and password, keyed by `key`: a dump of memory is no list of passwords.
    remembered: Cache<[u8; 32], ()>,
    key: [u8; 32],
    turns: Arc<Turns>,
}

impl Passwords {
    pub(super) fn new(users: &BTreeMap<UserName, User>) -> Result<Self, NoRandomness> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let at_once = std::thread::available_parallelism().map_or(1, |n| n.get().min(AT_ONCE_MAX));
        let dearest = users.values().filter_map(|user| blocks_of(&user.password_hash)).max();
        let turns = Turns::new(at_once, dearest.or_else(|| blocks_of(DECOY)).unwrap_or_default());
        Ok(Self {
            hashes: users.iter().map(|(name, user)| (name.clone(), user.password_hash.as_str().into())).collect(),
            remembered: Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build(),
            key,
            turns: Arc::new(turns),
        })
    }

    /// The user, if this is their password.
    pub(super) async fn verify(&self, user: &str, password: &str) -> Option<UserName> {
        if password.len() > PASSWORD_BYTES_MAX {
            return None;
        }
        let name = user.parse::<UserName>().ok();
        let known = name.filter(|name| self.hashes.contains_key(name));
        let digest = self.digest(user, password);
        if self.is_remembered(&digest) {
            return known;
        }
        let mut turn = self.turns.take().await?;
        // The go command asks many things at once: all but the first find the answer here.
        if self.is_remembered(&digest) {
            return known;
        }
        let hash = match &known {
            Some(name) => self.hashes.get(name).cloned(),
            None => self.decoy(user),
        };
        let hash = hash.unwrap_or_else(|| DECOY.into());
        let password = password.to_owned();
        let right = tokio::task::spawn_blocking(move || {
            // The turn is held to the end even if nobody waits any more: the bound is on work, not on callers.
            is_right(&hash, &password, turn.memory())
        });
        if !right.await.unwrap_or(false) {
            return None;
        }
        let name = known?;
        self.remembered.insert(digest, ());
        Some(name)
    }

    fn is_remembered(&self, digest: &[u8; 32]) -> bool {
        self.remembered.get(digest).is_some()
    }

    #[cfg(test)]
    pub(super) fn remembers(&self, user: &str, password: &str) -> bool {
        self.is_remembered(&self.digest(user, password))
    }

    #[cfg(test)]
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    fn digest(&self, user: &str, password: &str) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update((user.len() as u64).to_be_bytes());
        hasher.update(user);
        hasher.update(password);
        hasher.finalize().into()
    }

    /// A real user's hash, always the same one for a name: so an unknown name takes as long as some known one.
    pub(super) fn decoy(&self, user: &str) -> Option<Arc<str>> {
        let digest = self.digest(user, "");
        let number = digest.first_chunk::<8>().map_or(0, |chunk| u64::from_be_bytes(*chunk));
        let count = u64::try_from(self.hashes.len()).ok().filter(|count| *count > 0)?;
        self.hashes.values().nth(usize::try_from(number % count).ok()?).cloned()
    }
}

/// Verifications wait here for their turn, and get the memory to work in with it. That is not left to the allocator:
/// it would keep a piece of the size for every thread that ever verified.
pub(super) struct Turns {
    free: Arc<Semaphore>,
    /// What no turn has now. As many as there are permits, less those in use; empty until its first turn.
    memories: Mutex<Vec<Vec<Block>>>,
    /// How large each is.
    blocks: usize,
}

/// The right to verify, and the memory for it.
pub(super) struct Turn {
    turns: Arc<Turns>,
    memory: Vec<Block>,
    /// Given back last: whoever gets it finds memory.
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    /// `blocks`: what the dearest hash needs, KiB.
    pub(super) fn new(at_once: usize, blocks: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(at_once)), memories: Mutex::new(vec![Vec::new(); at_once]), blocks }
    }

    /// Waits for a turn.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Turn> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let memory = self.memories.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Turn { turns: Arc::clone(self), memory, _permit: permit })
    }

    /// Addresses and capacities, KiB, of what lies free.
    #[cfg(test)]
    pub(super) fn memories(&self) -> Vec<(*const Block, usize)> {
        self.memories.lock().unwrap().iter().map(|memory| (memory.as_ptr(), memory.capacity())).collect()
    }
}

impl Turn {
    /// Zeros, as many as the dearest hash needs; none if the system has no memory.
    pub(super) fn memory(&mut self) -> &mut [Block] {
        let blocks = self.turns.blocks;
        if self.memory.len() < blocks {
            match self.memory.try_reserve_exact(blocks - self.memory.len()) {
                Ok(()) => self.memory.resize(blocks, Block::new()),
                Err(error) => tracing::error!(%error, kib = blocks, "no memory to verify a password in"),
            }
        }
        &mut self.memory
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.turns.memories.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// The memory that this hash needs, KiB.
pub(super) fn blocks_of(hash: &str) -> Option<usize> {
    let hash = PasswordHash::new(hash).ok()?;
    Params::try_from(&hash).ok().map(|params| params.block_count())
}

/// Whether this is the password of the hash; not, if `memory` is less than [`blocks_of`] it. Leaves zeros in `memory`.
pub(super) fn is_right(hash: &str, password: &str, memory: &mut [Block]) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    let Ok(params) = Params::try_from(&hash) else { return false };
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return false };
    let Ok(algorithm) = Algorithm::try_from(hash.algorithm.as_str()) else { return false };
    let Ok(version) = hash.version.map_or(Ok(Version::default()), Version::try_from) else { return false };
    let Some(memory) = memory.get_mut(..params.block_count()) else { return false };
    let mut out = [0; Output::MAX_LENGTH];
    let Some(out) = out.get_mut(..expected.len()) else { return false };
    let hasher = Argon2::new(algorithm, version, params);
    let made = hasher.hash_password_into_with_memory(password.as_bytes(), &salt, out, &mut *memory);
    // What is left of a password in there is quicker to try guesses against than its hash.
    memory.fill(Block::new());
    // `Output` compares in constant time.
    made.is_ok() && Output::new(out).is_ok_and(|out| out == expected)
}
