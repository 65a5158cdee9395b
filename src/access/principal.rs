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

    /// What a token lacks for `scope` at this owner, or at a name that no owner can have. None: nothing that its own record tells. It is
    /// said by that record alone, so that an owner who is not there sounds like one who is.
    pub fn lacks(&self, scope: Scope, owner: Option<&OwnerName>) -> Option<String> {
        let Who::Token(token) = &self.who else { return None };
        if !holds(token, scope) {
            return Some(format!("token {} has no scope {scope}", token.name));
        }
        if token.owners.is_empty() || owner.is_some_and(|owner| reaches(token, owner)) {
            return None;
        }
        let owners: Vec<&str> = token.owners.iter().map(OwnerName::as_str).collect();
        let other = owner.map_or("another", OwnerName::as_str);
        Some(format!("token {} is for {}, not {other}", token.name, owners.join(", ")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TokenHash;

    #[test]
    fn what_a_token_lacks_is_told_by_its_own_record() {
        let principal = |scope, owners: &[&str]| {
            Principal::of_token(Arc::new(TokenRecord {
                id: "1".to_owned(),
                name: "ci".to_owned(),
                hash: TokenHash([0; 32]),
                scopes: vec![scope],
                owners: owners.iter().map(|owner| owner.parse().unwrap()).collect(),
                created_unix: 0,
                expires_unix: None,
            }))
        };
        let (team, other): (OwnerName, OwnerName) = ("team".parse().unwrap(), "other".parse().unwrap());
        let bound = principal(Scope::Publish, &["team"]);
        assert_eq!(bound.lacks(Scope::Publish, Some(&team)), None);
        assert_eq!(bound.lacks(Scope::Publish, Some(&other)).unwrap(), "token ci is for team, not other");
        assert_eq!(bound.lacks(Scope::Publish, None).unwrap(), "token ci is for team, not another");
        let reader = principal(Scope::Read, &["team"]);
        assert_eq!(reader.lacks(Scope::Publish, Some(&other)).unwrap(), "token ci has no scope publish");
        assert_eq!(principal(Scope::Publish, &[]).lacks(Scope::Publish, Some(&other)), None);
        assert_eq!(Principal::anonymous().lacks(Scope::Publish, Some(&other)), None);
    }
}
