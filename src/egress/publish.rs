//! What publishing, `check` and `claim` ask of the policy.

use std::collections::BTreeMap;
use std::fmt;

use super::names::{Name, path_prefixes};
use super::policy::{Facts, Policy};
use super::rule::{Opened, Rule, Verdict};
use crate::config::Visibility;
use crate::module::{ModulePath, OwnerName};
use crate::store::{Claim, HostedIndex, KnownModules, StoreError};

/// Why a path takes the place of what is public. Its text ends the sentence "MODULE …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shadow {
    /// It is a known module, or lies above one.
    AtOrAboveKnown,
    /// It lies below this known module (lower case).
    BelowKnown(String),
    /// It is or lies under this public host.
    PublicHost(String),
}

impl fmt::Display for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOrAboveKnown => f.write_str("is, or lies above, a public module that was fetched here"),
            Self::BelowKnown(path) => write!(f, "lies below {path}, a public module that was fetched here"),
            Self::PublicHost(host) => write!(f, "is under {host}, a host of public modules"),
        }
    }
}

/// A path that may leave though it lies above what is hosted here: `check` lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The path.
    pub path: ModulePath,
    /// The rule that let it: [`Rule::Exception`] or [`Rule::Public`] (a known module).
    pub rule: Rule,
    /// What it lies above.
    pub opened: Opened,
}

impl Policy {
    /// The host, lower case, that the first publish of this path would claim: neither shared nor public, not claimed
    /// and not released before.
    pub async fn claim_for(&self, path: &ModulePath) -> Result<Option<String>, StoreError> {
        let name = Name::new(path);
        let host = name.host();
        if !self.claim_hosts || self.hosts.shared.contains(host) {
            return Ok(None);
        }
        let index = self.records.hosted_index().await?;
        if index.claims.contains_key(host) || index.released.contains(host) {
            return Ok(None);
        }
        let public = self.is_public_host(host, &index, &*self.records.known());
        Ok((!public).then(|| host.to_owned()))
    }

    /// Whether and by which rule the path is private for another reason than what is hosted; `with_claim` is a host
    /// (lower case) that this publish would claim. An owner that is not public may publish only such paths.
    ///
    /// What is hosted is left out whole: being above or below a hosted path keeps nothing private once that is gone. So is that the
    /// host is unknown: one module that is fetched from it makes it known.
    pub async fn privacy_without_hosting(&self, path: &ModulePath, with_claim: Option<&str>) -> Result<Option<Verdict>, StoreError> {
        let index = self.records.hosted_index().await?;
        let known = self.records.known();
        let facts = Facts { tree: None, claims: &index.claims, made_public: None, claiming: with_claim, known: &*known };
        let verdict = self.judge(path, facts);
        Ok((!verdict.is_public()).then_some(verdict))
    }

    /// Why publishing this path would take the place of something public, so that the publisher's own patterns must name
    /// it literally. None if `private.patterns` cover it. To be asked at a path's first version.
    pub async fn shadows(&self, path: &ModulePath) -> Result<Option<Shadow>, StoreError> {
        let name = Name::new(path);
        if self.operators.first_match(name.lower()).is_some() {
            return Ok(None);
        }
        let index = self.records.hosted_index().await?;
        let known = self.records.known();
        let plain = name.plain();
        if known.any_at_or_below(name.lower()) || known.any_at_or_below(&plain) {
            return Ok(Some(Shadow::AtOrAboveKnown));
        }
        let mut above = path_prefixes(name.lower()).chain(path_prefixes(&plain));
        if let Some(above) = above.find(|above| known.any_at(above)) {
            return Ok(Some(Shadow::BelowKnown(above.to_owned())));
        }
        let public = self.is_public_host(name.host(), &index, &*known);
        Ok(public.then(|| Shadow::PublicHost(name.host().to_owned())))
    }

    /// Hosted modules of owners that are not public, or are gone from the settings, which only being hosted keeps
    /// private: `check` and reload warn of them.
    pub async fn private_only_while_hosted(&self) -> Result<Vec<(ModulePath, OwnerName)>, StoreError> {
        let index = self.records.hosted_index().await?;
        Ok(self.bare(&index, &index.claims))
    }

    /// Those of [`Policy::private_only_while_hosted`] that the release of this host's claim (lower case) would add:
    /// it is refused while there are any, unless forced.
    pub async fn bared_by_release(&self, host: &str) -> Result<Vec<(ModulePath, OwnerName)>, StoreError> {
        let index = self.records.hosted_index().await?;
        let mut claims = index.claims.clone();
        claims.remove(host);
        let mut bare = self.bare(&index, &claims);
        bare.retain(|(path, _)| path.host().eq_ignore_ascii_case(host));
        Ok(bare)
    }

    /// Paths above what is hosted that an exception or a known module lets leave, in order.
    pub async fn openings(&self) -> Result<Vec<Opening>, StoreError> {
        let view = self.view().await?;
        let known = self.records.known();
        let mut found = BTreeMap::new();
        for leaf in view.index.hosted.keys().chain(view.index.tombstones.keys()) {
            for above in path_prefixes(leaf.as_str()) {
                let Ok(path) = above.parse::<ModulePath>() else { continue };
                if found.contains_key(&path) {
                    continue;
                }
                let verdict = self.judge(&path, view.facts(&*known));
                found.insert(path, verdict);
            }
        }
        let open = found.into_iter().filter_map(|(path, verdict)| {
            let Verdict { rule, opened, .. } = verdict;
            opened.filter(|opened| opened.rule == Rule::Ancestor).map(|opened| Opening { path, rule, opened })
        });
        Ok(open.collect())
    }

    fn bare(&self, index: &HostedIndex, claims: &BTreeMap<String, Claim>) -> Vec<(ModulePath, OwnerName)> {
        let known = self.records.known();
        let owned = index.hosted.iter().filter(|(_, owner)| self.owners.get(owner) != Some(&Visibility::Public));
        let facts = Facts { tree: None, claims, made_public: None, claiming: None, known: &*known };
        let bare = owned.filter(|(path, _)| self.judge(path, facts).is_public());
        bare.map(|(path, owner)| (path.clone(), owner.clone())).collect()
    }

    /// Whether the host is listed or made public, or is neither shared nor claimed and has a known module.
    fn is_public_host(&self, host: &str, index: &HostedIndex, known: &dyn KnownModules) -> bool {
        if self.hosts.whole.contains(host) || index.made_public.contains_key(host) {
            return true;
        }
        !self.hosts.shared.contains(host) && !index.claims.contains_key(host) && known.any_at_or_below(host)
    }

    /// Whether the host (lower case) is listed as public or shared: a claim of it says nothing new.
    pub fn is_listed(&self, host: &str) -> bool {
        self.hosts.whole.contains(host) || self.hosts.shared.contains(host)
    }

    /// The rule that keeps all of a host private, whether it is made public or not. `host`: a path of one element.
    pub async fn keeps_private(&self, host: &ModulePath) -> Result<Option<Verdict>, StoreError> {
        let index = self.records.hosted_index().await?;
        let known = self.records.known();
        if let Some(pattern) = self.private.all_of(&host.host().to_ascii_lowercase()) {
            return Ok(Some(Verdict::new(host, Rule::Pattern, pattern.where_().clone())));
        }
        let verdict = self.judge(host, Facts { tree: None, claims: &index.claims, made_public: None, claiming: None, known: &*known });
        // That a pattern spells the host out, to match below it, keeps nothing else of it.
        Ok((!verdict.is_public() && verdict.rule != Rule::Ancestor).then_some(verdict))
    }
}
