//! What an owner may publish: the operator's patterns bound it, what is public may not be shadowed unasked, and what
//! is not public must be private for a reason that outlives its being hosted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::refusal::{Outside, PublishRefusal};
use crate::config::{Config, Owner, Visibility};
use crate::egress::{Policy, Rule};
use crate::module::zip::Problems;
use crate::module::{ModulePath, OwnerName};
use crate::store::{Records, StoreError};

/// The longest escaped path: file paths that are made of it stay under 4096 bytes.
const PATH_BYTES_MAX: usize = 2048;

/// The most that is told of what would be shadowed: it may be a path of any length.
const REASON_CHARS_MAX: usize = 200;

/// What a publish may do beside making its version.
pub(super) struct Grant {
    /// The owner's own patterns name the path literally.
    pub(super) shadows: bool,
    /// The host to claim, lower case.
    pub(super) claim: Option<String>,
    /// The rule that keeps all of that host private without the claim.
    pub(super) private_anyway: Option<Rule>,
    /// The owner is not public, and of all rules the claim of the host is what keeps the path private.
    pub(super) needs_claim: bool,
    /// What the owner may hold, bytes.
    pub(super) max_bytes: Option<u64>,
}

/// Why an owner may not be given a path.
#[derive(Debug, thiserror::Error)]
pub enum NotForOwner {
    /// The settings forbid it.
    #[error("{0}")]
    Outside(Outside),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an owner that is given a path gets with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The owner is not public, and of all rules the claim of the host is what keeps the path private.
    pub needs_claim: bool,
    /// What the owner may hold, bytes.
    pub max_bytes: Option<u64>,
}

/// The rules, over the settings and what is hosted.
pub struct Rules {
    owners: BTreeMap<OwnerName, Owner>,
    claim_hosts: bool,
    policy: Arc<Policy>,
    records: Arc<dyn Records>,
}

/// What keeps the path of an owner that is not public private once it is not hosted any more.
enum Cover {
    /// The owner is public: no matter.
    NotNeeded,
    /// The claim of its host, which may be released before the publish is durable.
    Claim,
    /// The settings, or its name.
    Lasting,
    /// Nothing; this is why.
    Bare(String),
}

impl Rules {
    /// Of these settings.
    pub fn new(config: &Config, policy: Arc<Policy>, records: Arc<dyn Records>) -> Self {
        Self { owners: config.owners.clone(), claim_hosts: config.private.claim_hosts, policy, records }
    }

    /// The owners of the settings.
    pub(super) fn owners(&self) -> &BTreeMap<OwnerName, Owner> {
        &self.owners
    }

    /// Whether an operator may give this hosted path to `owner`: its `modules` must match, and an owner that is not public gets only what
    /// stays private without being hosted. That it may shadow others' paths the operator decides by asking.
    ///
    /// # Errors
    /// The rule that forbids it, in the words of a publish that it forbids.
    pub async fn give(&self, owner: &OwnerName, path: &ModulePath) -> Result<Given, NotForOwner> {
        let settings = self.publishes(owner, path).map_err(NotForOwner::Outside)?;
        let needs_claim = match self.cover(settings, path, None).await? {
            Cover::NotNeeded | Cover::Lasting => false,
            Cover::Claim => true,
            Cover::Bare(why) => {
                return Err(NotForOwner::Outside(Outside::NotPrivate { path: path.clone(), owner: owner.clone(), why }));
            }
        };
        Ok(Given { needs_claim, max_bytes: settings.max_bytes })
    }

    /// The owner's settings, if they let it publish this path.
    fn publishes(&self, owner: &OwnerName, path: &ModulePath) -> Result<&Owner, Outside> {
        let settings = self.owners.get(owner).ok_or_else(|| Outside::NoOwner(owner.clone()))?;
        let matches = settings.modules.is_empty() || settings.modules.iter().any(|pattern| pattern.value.matches(path.as_str()));
        if matches { Ok(settings) } else { Err(Outside::Modules { path: path.clone(), owner: owner.clone() }) }
    }

    /// Whether `owner` may publish this path, and what the publish may do.
    pub(super) async fn grant(&self, owner: &OwnerName, path: &ModulePath) -> Result<Grant, PublishRefusal> {
        self.judge_path(path)?;
        let settings = self.publishes(owner, path)?;
        let (path, owner) = (path.clone(), owner.clone());
        let max_bytes = settings.max_bytes;
        let shadows = settings.modules.iter().any(|pattern| pattern.value.names_literally(path.as_str()));
        if !shadows
            && self.is_first(&path).await?
            && let Some(shadow) = self.policy.shadows(&path).await?
        {
            let why = shadow.to_string().chars().take(REASON_CHARS_MAX).collect();
            return Err(Outside::Shadows { path, owner, why }.into());
        }
        let claim = self.policy.claim_for(&path).await?;
        let private_anyway = match claim.as_ref().and_then(|host| host.parse().ok()) {
            Some(host) => self.policy.keeps_private(&host).await?.map(|verdict| verdict.rule),
            None => None,
        };
        match self.cover(settings, &path, claim.as_deref()).await? {
            Cover::NotNeeded | Cover::Lasting => Ok(Grant { shadows, claim, private_anyway, needs_claim: false, max_bytes }),
            Cover::Claim => Ok(Grant { shadows, claim, private_anyway, needs_claim: true, max_bytes }),
            Cover::Bare(why) => Err(Outside::NotPrivate { path, owner, why }.into()),
        }
    }

    /// What is wrong with a path that Go itself would take.
    fn judge_path(&self, path: &ModulePath) -> Result<(), PublishRefusal> {
        let mut problems = Problems::default();
        let escaped_bytes = path.escaped().len();
        if escaped_bytes > PATH_BYTES_MAX {
            problems.push(format_args!("module path is too long ({escaped_bytes} bytes, escaped; at most {PATH_BYTES_MAX})"));
        }
        if self.policy.is_shared_root(path) {
            problems.push(format_args!("{path} is the root of a host, or of an organisation there, that strangers share: it is no module"));
        }
        if problems.is_empty() { Ok(()) } else { Err(PublishRefusal::BadZip(problems)) }
    }

    /// Whether the path has neither a hosted version nor a tombstone. Another owner's is no matter here: the store,
    /// which alone decides races, refuses it.
    async fn is_first(&self, path: &ModulePath) -> Result<bool, StoreError> {
        let index = self.records.hosted_index().await?;
        Ok(!index.hosted.contains_key(path) && !index.tombstones.contains_key(path))
    }

    /// What but being hosted keeps this owner's path private, if that matters; `claim` is the host that the publish claims.
    async fn cover(&self, owner: &Owner, path: &ModulePath, claim: Option<&str>) -> Result<Cover, StoreError> {
        match owner.visibility {
            Visibility::Public => return Ok(Cover::NotNeeded),
            Visibility::Internal | Visibility::Private => {}
        }
        match self.policy.privacy_without_hosting(path, claim).await? {
            Some(verdict) if verdict.rule == Rule::Claim => return Ok(Cover::Claim),
            Some(_) => return Ok(Cover::Lasting),
            None => {}
        }
        let host = path.host();
        let index = self.records.hosted_index().await?;
        Ok(Cover::Bare(if claim.is_some() || index.claims.contains_key(host) {
            "private.public lets it leave".to_owned()
        } else if !self.claim_hosts {
            "publishing claims no hosts (private.claim_hosts = false)".to_owned()
        } else if index.released.contains(host) {
            format!("the claim of {host} was released")
        } else if self.policy.claim_for(path).await?.is_some() {
            format!("{host} is not claimed")
        } else {
            format!("{host} is a host of public modules, which publishing does not claim")
        }))
    }
}
