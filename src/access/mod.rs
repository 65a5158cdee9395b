//! Who asks, and what they may do: credentials become a [`Principal`], and [`Access`] alone makes one and judges its rights.
//!
//! Users and owners come from the settings, tokens from the store. Users' passwords are hashed with Argon2id, off the
//! async threads and a few at a time; right and wrong ones are remembered for a while, and wrong ones counted against the address
//! that shows them ([`LogIns`]). Tokens are random, kept as SHA-256, and looked up in the store at each request: one that
//! is revoked or has ended is refused from then on.
//!
//! What a token may do: the acts of its scopes (`publish` and `delete` imply `read`, `admin` implies all), at the owners
//! that it is bound to, or at every owner if it is bound to none. Besides, it reads what is public. Only an
//! unbound token with the scope `admin` is an admin; a bound one may do everything at its owners.

mod admin_token;
mod credentials;
mod flights;
mod limiter;
mod log_ins;
mod password;
mod principal;
mod rights;
mod token;
mod turns;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use admin_token::{ADMIN_TOKEN_FILE, AdminTokenError, ensure_admin_token};
pub use credentials::{Credentials, Malformed};
pub use log_ins::LogIns;
pub use password::{HashError, PASSWORD_BYTES_MAX, hash_password};
pub use principal::Principal;
pub use rights::BaseAccess;
pub use token::{TokenError, masked, new_token, token_hash};

use crate::config::{Config, Owner, User};
use crate::module::{OwnerName, UserName};
use crate::store::{Records, StoreError};

/// Why there is no principal.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The credentials are wrong: no such user or token, another password, expired, revoked, or not understood.
    #[error("wrong credentials")]
    BadCredentials,
    /// The credentials were not looked at: too many wrong ones came from the same address. It is better after this time.
    #[error("too many wrong credentials from this address")]
    Limited(Duration),
    /// The credentials were not looked at: too many wait for that. It is better after this time.
    #[error("too many credentials wait to be verified")]
    Busy(Duration),
    /// The token could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<log_ins::Failed> for AuthError {
    fn from(failed: log_ins::Failed) -> Self {
        match failed {
            log_ins::Failed::Wrong => Self::BadCredentials,
            log_ins::Failed::Limited(wait) => Self::Limited(wait),
            log_ins::Failed::Busy(wait) => Self::Busy(wait),
        }
    }
}

/// There is no randomness to be had from the system.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct NoRandomness(#[from] getrandom::Error);

/// Users, owners and tokens. Share it in an `Arc`.
pub struct Access {
    anonymous_read: bool,
    owners: BTreeMap<OwnerName, Owner>,
    users: BTreeMap<UserName, User>,
    passwords: password::Passwords,
    records: Arc<dyn Records>,
}

impl Access {
    /// Takes users and owners from the settings, and tokens from the store. `log_ins` outlives the settings.
    pub fn new(config: &Config, records: Arc<dyn Records>, log_ins: LogIns) -> Self {
        Self {
            anonymous_read: config.access.anonymous_read,
            owners: config.owners.clone(),
            users: config.users.clone(),
            passwords: password::Passwords::new(&config.users, log_ins),
            records,
        }
    }

    /// Who asks, by the value of the `Authorization` header, and from where (`None`: by a Unix socket). No header: anonymous.
    ///
    /// Whether a user exists cannot be told from the answer, nor from the time that it takes.
    pub async fn authenticate(&self, authorization: Option<&str>, from: Option<IpAddr>) -> Result<Principal, AuthError> {
        let Some(header) = authorization else { return Ok(Principal::anonymous()) };
        let origin = limiter::Origin::of(from);
        match Credentials::from_header(header).map_err(|Malformed| AuthError::BadCredentials)? {
            Credentials::Token(text) => match self.token(&text).await? {
                Some(principal) => Ok(principal),
                // Not counted: nobody guesses one, and a stale one in some job must not lock out who signs in by password.
                None => Err(AuthError::BadCredentials),
            },
            Credentials::Password { user, password } => {
                let name = self.passwords.verify(&user, &password, origin).await?;
                self.user(&name).ok_or(AuthError::BadCredentials)
            }
        }
    }

    /// The token's principal; `None` for one that is unknown, revoked or has ended.
    async fn token(&self, text: &str) -> Result<Option<Principal>, StoreError> {
        let record = self.records.token(&token_hash(text)).await?;
        Ok(record.filter(|record| !record.has_ended()).map(Principal::of_token))
    }

    /// The user of the settings whose name stands in an `Authorization` header, whoever sent it. A name that is no user's may be a password
    /// in the wrong place: it is not told.
    pub fn named_user(&self, header: &str) -> Option<UserName> {
        match Credentials::from_header(header) {
            Ok(Credentials::Password { user, .. }) => user.parse().ok().filter(|name| self.users.contains_key(name)),
            Ok(Credentials::Token(_)) | Err(Malformed) => None,
        }
    }

    /// A user of the settings, without a password: for an operator's "what would they see".
    pub fn user(&self, name: &UserName) -> Option<Principal> {
        self.users.get(name).map(|user| Principal::of_user(name.clone(), user.admin))
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("owners", &self.owners.keys()).field("users", &self.users.keys()).finish_non_exhaustive()
    }
}
