//! Passwords: made into hashes, and held against them without a caller's learning whether the user exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::limiter::Origin;
use super::log_ins::{Claim, Failed, LogIns};
use crate::config::User;
use crate::module::UserName;

/// The longest password, bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
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

/// The users' passwords, as the settings have them.
pub(super) struct Passwords {
    hashes: BTreeMap<UserName, Arc<str>>,
    log_ins: LogIns,
}

impl Passwords {
    pub(super) fn new(users: &BTreeMap<UserName, User>, log_ins: LogIns) -> Self {
        Self { hashes: users.iter().map(|(name, user)| (name.clone(), user.password_hash.as_str().into())).collect(), log_ins }
    }

    /// The user, if this is their password.
    pub(super) async fn verify(&self, user: &str, password: &str, origin: Origin) -> Result<UserName, Failed> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Failed::Wrong);
        }
        let name = user.parse::<UserName>().ok().filter(|name| self.hashes.contains_key(name));
        let hash = match &name {
            Some(name) => self.hashes.get(name).cloned(),
            None => self.decoy(user),
        };
        let hash = hash.unwrap_or_else(|| DECOY.into());
        self.log_ins.verify(Claim { user, password, hash, known: name.is_some(), origin }).await?;
        name.ok_or(Failed::Wrong)
    }

    /// A real user's hash, always the same one for a name: so an unknown name takes as long as some known one.
    pub(super) fn decoy(&self, user: &str) -> Option<Arc<str>> {
        let count = u64::try_from(self.hashes.len()).ok().filter(|count| *count > 0)?;
        self.hashes.values().nth(usize::try_from(self.log_ins.number(user) % count).ok()?).cloned()
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
