//! `claim`: hosts that publishing made private, tombstones, and giving them up.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations, rfc3339};
use crate::module::ModulePath;
use crate::observe::audit::{Actor, Event};
use crate::store::Release;

/// A claimed host, or a tombstone.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClaimLine {
    /// `claim` or `tombstone`
    pub kind: String,
    /// The host, or the module path.
    pub name: String,
    /// Whose.
    pub owner: String,
    /// When it was claimed, RFC 3339.
    pub since: Option<String>,
    /// Who claimed it.
    pub by: Option<String>,
}

/// `release`
#[derive(Debug, Serialize, Deserialize)]
pub struct ReleaseAsk {
    /// A host or a module path.
    pub name: String,
    /// Even if modules lose what keeps them private.
    pub force: bool,
}

/// What was released.
#[derive(Debug, Serialize, Deserialize)]
pub struct Released {
    /// One line.
    pub text: String,
}

impl Operations {
    pub(super) async fn claims(&self) -> Result<Vec<ClaimLine>, OperationError> {
        let index = self.stores.records.hosted_index().await?;
        let claims = index.claims.iter().map(|(host, claim)| ClaimLine {
            kind: "claim".to_owned(),
            name: host.clone(),
            owner: claim.owner.to_string(),
            since: Some(rfc3339(claim.since_unix)),
            by: Some(claim.by.clone()),
        });
        let tombstones = index.tombstones.iter().map(|(path, owner)| ClaimLine {
            kind: "tombstone".to_owned(),
            name: path.to_string(),
            owner: owner.to_string(),
            since: None,
            by: None,
        });
        Ok(claims.chain(tombstones).collect())
    }

    /// Gives up a claimed host, or a tombstone. A name that is both is first a host.
    pub(super) async fn release(&self, ask: ReleaseAsk, actor: &Actor) -> Result<Released, OperationError> {
        let host = ask.name.to_ascii_lowercase();
        let index = self.stores.records.hosted_index().await?;
        if index.claims.contains_key(&host) {
            let bared = self.policy.bared_by_release(&host).await?;
            if let Some((path, owner)) = bared.first().filter(|_| !ask.force) {
                let more = match bared.len() - 1 {
                    0 => String::new(),
                    more => format!(", and {more} more,"),
                };
                return Err(OperationError::Refused(format!(
                    "{path} of owner {owner}{more} would be kept private by nothing but being hosted: \
                     add a pattern to private.patterns first, or use --force"
                )));
            }
            return match self.stores.records.release_host(&host, &actor.by).await? {
                Release::Released(_) => {
                    self.audit.record_durably(actor, &[Event::ClaimReleased { name: host.clone() }]).await;
                    Ok(Released { text: format!("{host} is not claimed any more, and publishing does not claim it again") })
                }
                Release::Absent | Release::Hosted => Err(OperationError::Absent(format!("{host} is not claimed"))),
            };
        }
        let path: ModulePath = ask.name.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
        match self.stores.records.release_path(&path, &actor.by).await? {
            Release::Released(_) => {
                self.audit.record_durably(actor, &[Event::ClaimReleased { name: path.to_string() }]).await;
                Ok(Released { text: format!("{path} is given up: anyone who may publish it can have it") })
            }
            Release::Absent => {
                Err(OperationError::Absent(format!("{path} is neither a claimed host nor a deleted module; see `modgate claim list`")))
            }
            Release::Hosted => Err(OperationError::Refused(format!("{path} has hosted versions: delete them first"))),
        }
    }
}
