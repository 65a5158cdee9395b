//! `claim`: hosts that publishing made private, hosts that an operator made public, tombstones, and giving them up.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations, rfc3339};
use crate::egress::Rule;
use crate::module::ModulePath;
use crate::observe::audit::{Actor, Event};
use crate::store::{MakePublic, Release};

/// A claimed host, one made public, one released for good, or a tombstone.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClaimLine {
    /// `claim`, `public`, `tombstone` or `released`
    pub kind: String,
    /// The host, or the module path.
    pub name: String,
    /// Whose; empty for a host that was made public or released.
    pub owner: String,
    /// When it was claimed or made public, RFC 3339.
    pub since: Option<String>,
    /// By whom.
    pub by: Option<String>,
}

/// `make-public`
#[derive(Debug, Serialize, Deserialize)]
pub struct MakePublicAsk {
    /// A host.
    pub host: String,
}

/// `release`
#[derive(Debug, Serialize, Deserialize)]
pub struct ReleaseAsk {
    /// A host or a module path.
    pub name: String,
    /// Even if modules lose what keeps them private.
    pub force: bool,
}

/// What was released, or made public.
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
        let made_public = index.made_public.iter().map(|(host, made)| ClaimLine {
            kind: "public".to_owned(),
            name: host.clone(),
            owner: String::new(),
            since: Some(rfc3339(made.since_unix)),
            by: Some(made.by.clone()),
        });
        let tombstones = index.tombstones.iter().map(|(path, owner)| ClaimLine {
            kind: "tombstone".to_owned(),
            name: path.to_string(),
            owner: owner.to_string(),
            since: None,
            by: None,
        });
        // A host that was made public after that is told as public.
        let released = index.released.iter().filter(|host| !index.claims.contains_key(*host) && !index.made_public.contains_key(*host));
        let released =
            released.map(|host| ClaimLine { kind: "released".to_owned(), name: host.clone(), owner: String::new(), since: None, by: None });
        Ok(claims.chain(made_public).chain(tombstones).chain(released).collect())
    }

    /// Makes a host public: it is not unknown any more, and publishing does not claim it.
    pub(super) async fn make_public(&self, ask: MakePublicAsk, actor: &Actor) -> Result<Released, OperationError> {
        let host = ask.host.to_ascii_lowercase();
        let path: ModulePath = host.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
        if path.host() != path.as_str() {
            return Err(OperationError::Bad(format!("{host} is no host: name the first element alone, {}", path.host())));
        }
        if self.policy.is_listed(&host) {
            return Err(OperationError::Refused(format!("{host} is listed as public or shared: no claim changes that")));
        }
        if let Some(verdict) = self.policy.keeps_private(&path).await? {
            let undo = if verdict.rule == Rule::Claim { format!("; `modgate claim release {host}` first") } else { String::new() };
            return Err(OperationError::Refused(format!("{host} stays private: rule {}, {}{undo}", verdict.rule, verdict.where_)));
        }
        match self.stores.records.make_public(&host, &actor.by).await? {
            MakePublic::Public(_) => {
                self.audit.record_durably(actor, &[Event::ClaimPublic { host: host.clone() }]).await;
                Ok(Released { text: format!("{host} is public; `modgate claim release {host}` undoes it") })
            }
            MakePublic::Claimed => {
                Err(OperationError::Refused(format!("{host} was claimed meanwhile; `modgate claim release {host}` first")))
            }
        }
    }

    /// Gives up a claimed host, a host that was made public, or a tombstone. A name that is both is first a host.
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
                    let text = format!("{host} is not claimed any more, and publishing does not claim it again");
                    Ok(Released { text: text + &self.stays_private(&host).await? })
                }
                Release::Absent | Release::Hosted => Err(OperationError::Absent(format!("{host} is not claimed"))),
            };
        }
        if index.made_public.contains_key(&host) {
            return match self.stores.records.release_host(&host, &actor.by).await? {
                Release::Released(_) => {
                    self.audit.record_durably(actor, &[Event::ClaimReleased { name: host.clone() }]).await;
                    Ok(Released { text: format!("{host} is not made public any more") })
                }
                Release::Absent | Release::Hosted => Err(OperationError::Absent(format!("{host} was not made public"))),
            };
        }
        self.release_path(ask, actor).await
    }

    /// What still keeps all of a host private: the end of a sentence, empty if nothing does.
    async fn stays_private(&self, host: &str) -> Result<String, OperationError> {
        let Ok(path) = host.parse::<ModulePath>() else { return Ok(String::new()) };
        let kept = self.policy.keeps_private(&path).await?;
        Ok(kept.map_or_else(String::new, |verdict| format!("; it stays private: rule {}, {}", verdict.rule, verdict.where_)))
    }

    /// Gives up a tombstone.
    async fn release_path(&self, ask: ReleaseAsk, actor: &Actor) -> Result<Released, OperationError> {
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
