//! `claim move`: a hosted path, or that of a deleted module, becomes another owner's.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::config::Visibility;
use crate::hosted::{NotForOwner, Rules};
use crate::module::{ModulePath, OwnerName, UserName};
use crate::observe::audit::{Actor, Event};
use crate::store::{MovePath, Moved};

/// `move`
#[derive(Debug, Serialize, Deserialize)]
pub struct MoveAsk {
    /// The path.
    pub module: String,
    /// Who is to have it.
    pub owner: String,
}

/// What was moved.
#[derive(Debug, Serialize, Deserialize)]
pub struct MoveDone {
    /// One line.
    pub text: String,
}

impl Operations {
    /// Gives a path to another owner, if that owner could publish it and has room for it. That it may then lie above or below others'
    /// paths is decided by whoever asks.
    pub(super) async fn move_path(&self, ask: MoveAsk, actor: &Actor) -> Result<MoveDone, OperationError> {
        let path: ModulePath = ask.module.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
        let to: OwnerName = ask.owner.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
        let rules = Rules::new(&self.config, self.policy.clone(), self.stores.records.clone());
        let given = rules.give(&to, &path).await.map_err(|error| match error {
            NotForOwner::Outside(outside) => OperationError::Refused(outside.to_string()),
            NotForOwner::Store(error) => error.into(),
        })?;
        let ask = MovePath {
            path: path.clone(),
            to: to.clone(),
            needs_claim: given.needs_claim,
            max_bytes: given.max_bytes,
            by: actor.by.to_string(),
        };
        match self.stores.records.move_path(ask).await? {
            Moved::Moved { from, holding, .. } => {
                let moved = Event::ClaimMoved { path: path.clone(), from: from.clone(), to: to.clone() };
                self.audit.record_durably(actor, &[moved]).await;
                let what = match holding.versions {
                    0 => "a tombstone".to_owned(),
                    versions => format!("{versions} versions, {} bytes", holding.bytes),
                };
                let (before, now) = (self.readers(&from), self.readers(&to));
                let readers =
                    if before == now { format!("read by {now}, as before") } else { format!("read by {now}, and was by {before}") };
                Ok(MoveDone { text: format!("{path} is owner {to}'s now, and was {from}'s: {what}; {readers}") })
            }
            Moved::Absent => Err(OperationError::Absent(format!("{path} is neither hosted here nor a deleted module"))),
            Moved::Theirs => Err(OperationError::Refused(format!("{path} is owner {to}'s already"))),
            Moved::NotClaimed => Err(OperationError::Refused(format!(
                "owner {to} is not public, and no rule keeps {path} private: the claim of {} was released; add a pattern for it to private.patterns",
                path.host()
            ))),
            Moved::OverQuota(over) => {
                Err(OperationError::Refused(format!("owner {to} has no room for {path}: {over} (owners.{to}.max_bytes)")))
            }
        }
    }

    /// Who may read what this owner has, beside admins and tokens for it.
    fn readers(&self, owner: &OwnerName) -> String {
        let Some(settings) = self.config.owners.get(owner) else { return format!("admins alone ({owner} is not in the settings)") };
        match settings.visibility {
            Visibility::Public if self.config.access.anonymous_read => "everyone (public)".to_owned(),
            Visibility::Public => "everyone who signs in (public)".to_owned(),
            Visibility::Internal => "every user (internal)".to_owned(),
            Visibility::Private if settings.members.is_empty() => "no user but admins (private)".to_owned(),
            Visibility::Private => {
                let members: Vec<&str> = settings.members.iter().map(UserName::as_str).collect();
                format!("{} (private)", members.join(", "))
            }
        }
    }
}
