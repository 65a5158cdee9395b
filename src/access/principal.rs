//! Who asks.

use std::fmt;
use std::sync::Arc;

use crate::module::{OwnerName, UserName};
use crate::store::{Scope, TokenRecord};

/// Who asks, authenticated. Only [`Access`](super::Access) makes one that is somebody. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    pub(super) who: Who,
    text: Arc<str>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Who {
    Anonymous,
    User { name: UserName, admin: bool },
    Token(Arc<TokenRecord>),
}

impl Principal {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { who: Who::Anonymous, text: "anonymous".into() }
    }

    pub(super) fn of_user(name: UserName, admin: bool) -> Self {
        Self { text: format!("user:{name}").into(), who: Who::User { name, admin } }
    }

    pub(super) fn of_token(token: Arc<TokenRecord>) -> Self {
        Self { text: format!("token:{}", token.name).into(), who: Who::Token(token) }
    }

    /// For logs, the ledger and records: `anonymous`, `user:alice`, `token:NAME`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether no credentials were given.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.who, Who::Anonymous)
    }

    /// Whether they may do everything, at owners that are gone from the settings too.
    pub fn is_admin(&self) -> bool {
        match &self.who {
            Who::Anonymous => false,
            Who::User { admin, .. } => *admin,
            Who::Token(token) => token.owners.is_empty() && token.scopes.contains(&Scope::Admin),
        }
    }
}

/// Whether a token's scopes hold `scope`, by themselves or by implication.
pub(super) fn holds(token: &TokenRecord, scope: Scope) -> bool {
    let has = |scope: Scope| token.scopes.contains(&scope);
    has(Scope::Admin) || has(scope) || (scope == Scope::Read && (has(Scope::Publish) || has(Scope::Delete)))
}

/// Whether a token speaks for an owner's members.
pub(super) fn reaches(token: &TokenRecord, owner: &OwnerName) -> bool {
    token.owners.is_empty() || token.owners.contains(owner)
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({})", self.text)
    }
}
