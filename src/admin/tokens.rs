//! `token`: made, listed and revoked at run time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{OperationError, Operations, rfc3339};
use crate::observe::audit::{Actor, Event};
use crate::store::{Scope, StoreError, TokenRecord};

/// `token-create`
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenAsk {
    /// What the operator calls it.
    pub name: String,
    /// `read`, `publish`, `delete`, `admin`
    pub scopes: Vec<String>,
    /// Owners that it is bound to; all if empty.
    pub owners: Vec<String>,
    /// Seconds from now until it ends.
    pub expires_in_s: Option<u64>,
}

/// A token just made: the only time its secret is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenMade {
    /// For `token revoke`.
    pub id: String,
    /// What the operator called it.
    pub name: String,
    /// The secret.
    pub token: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Owners that it is bound to.
    pub owners: Vec<String>,
    /// When it ends, RFC 3339.
    pub expires: Option<String>,
}

/// A token, without its secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenLine {
    /// For `token revoke`.
    pub id: String,
    /// What the operator called it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Owners that it is bound to.
    pub owners: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339.
    pub expires: Option<String>,
    /// That is over: it lets nobody in any more.
    pub expired: bool,
}

/// `token-revoke`
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenRevoke {
    /// Its id, or what several may be called.
    pub id: String,
}

impl Operations {
    pub(super) async fn token_create(&self, ask: TokenAsk, actor: &Actor) -> Result<TokenMade, OperationError> {
        let bad = |text: String| Err(OperationError::Bad(text));
        let mut scopes = Vec::new();
        for text in &ask.scopes {
            let Ok(scope) = serde_json::from_value::<Scope>(Value::String(text.clone())) else {
                return bad(format!("no scope {text:?}: read, publish, delete, admin"));
            };
            scopes.push(scope);
        }
        let mut owners = Vec::new();
        for text in &ask.owners {
            let owner = text.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
            if !self.config.owners.contains_key(&owner) {
                return Err(OperationError::Absent(format!("there is no owner {owner} in the settings")));
            }
            owners.push(owner);
        }
        let (record, token) = crate::access::new_token(&ask.name, scopes, owners, ask.expires_in_s.map(Duration::from_secs))
            .map_err(|e| OperationError::Bad(e.to_string()))?;
        let line = TokenLine::of(&record);
        self.stores.records.token_put(record).await?;
        let made = Event::TokenMade {
            id: line.id.clone(),
            name: line.name.clone(),
            scopes: line.scopes.clone(),
            owners: line.owners.clone(),
            expires: line.expires.clone(),
        };
        self.audit.record_durably(actor, &[made]).await;
        Ok(TokenMade { id: line.id, name: line.name, token, scopes: line.scopes, owners: line.owners, expires: line.expires })
    }

    /// Revokes the token with this id, else all of this name; those that it revoked. Where the store fails at one of several, the error
    /// names those that were revoked before.
    pub(super) async fn token_revoke(&self, ask: TokenRevoke, actor: &Actor) -> Result<Vec<TokenLine>, OperationError> {
        let tokens = self.stores.records.tokens().await?;
        let by_id = tokens.iter().filter(|token| token.id == ask.id).collect::<Vec<_>>();
        let meant = if by_id.is_empty() { tokens.iter().filter(|token| token.name == ask.id).collect() } else { by_id };
        let mut revoked = Vec::new();
        for token in meant {
            let was_there = self.stores.records.token_revoke(&token.id).await.map_err(|error| midway(&revoked, error))?;
            if was_there {
                self.audit.record_durably(actor, &[Event::TokenRevoked { id: token.id.clone() }]).await;
                revoked.push(TokenLine::of(token));
            }
        }
        match revoked.is_empty() {
            true => Err(OperationError::Absent(format!("no token has the id or the name {}; `modgate token list` shows them", ask.id))),
            false => Ok(revoked),
        }
    }
}

fn midway(revoked: &[TokenLine], source: StoreError) -> OperationError {
    if revoked.is_empty() {
        return source.into();
    }
    let ids = revoked.iter().map(|line| line.id.as_str()).collect::<Vec<_>>().join(", ");
    OperationError::Midway { done: format!("revoked {ids}"), source }
}

impl TokenLine {
    pub(super) fn of(token: &TokenRecord) -> Self {
        let scope = |scope: &Scope| serde_json::to_value(scope).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            scopes: token.scopes.iter().map(scope).collect(),
            owners: token.owners.iter().map(ToString::to_string).collect(),
            created: rfc3339(token.created_unix),
            expires: token.expires_unix.map(rfc3339),
            expired: token.has_ended(),
        }
    }
}
