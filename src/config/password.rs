//! What a password hash must be before it is used: computing one costs what it says itself.

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;

/// The most memory that one verification may take, KiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// The most passes.
const PASSES_MAX: u32 = 64;
/// The most lanes.
const LANES_MAX: u32 = 64;
/// The most work of one verification: KiB times passes; about ten seconds of an old machine.
const WORK_MAX: u64 = 4 << 20;
/// The least work that is not warned of, KiB times passes: what OWASP asks for.
const WORK_ADVISED: u64 = 7 * 1024 * 5;
/// The shortest salt and hash, bytes.
const SALT_BYTES_MIN: usize = 8;
const HASH_BYTES_MIN: usize = 16;
/// The version of Argon2 that `modgate password` writes, 1.3.
const ARGON2_VERSION: u32 = 0x13;

/// The text is no password hash that we verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PasswordHashError(pub &'static str);

/// Judges a PHC string: Argon2id, version 19, and a cost within bounds. Returns its cost in KiB times passes.
pub fn check_password_hash(text: &str) -> Result<u64, PasswordHashError> {
    let fail = |why| Err(PasswordHashError(why));
    let Ok(hash) = PasswordHash::new(text) else { return fail("it is not a PHC string") };
    if hash.algorithm.as_str() != "argon2id" || hash.version.is_some_and(|version| version != ARGON2_VERSION) {
        return fail("it is of another algorithm or version");
    }
    let Ok(params) = Params::try_from(&hash) else { return fail("its parameters are not valid") };
    if !params.keyid().is_empty() || !params.data().is_empty() {
        return fail("keyid and data are not supported");
    }
    if hash.salt.is_none_or(|salt| salt.len() < SALT_BYTES_MIN) {
        return fail("its salt is missing or too short");
    }
    if hash.hash.is_none_or(|hash| hash.len() < HASH_BYTES_MIN) {
        return fail("the hash itself is missing or too short");
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX || work > WORK_MAX {
        return fail("verifying it would cost too much (at most m=1048576, t=64, p=64 and m*t=4194304)");
    }
    Ok(work)
}

/// Whether a hash of this cost is easily guessed.
pub(super) fn is_cheap(work: u64) -> bool {
    work < WORK_ADVISED
}
