//! The names that clients must keep from public checksum databases.

use std::collections::BTreeSet;

use super::Operations;
use crate::access::Principal;
use crate::module::{OwnerName, Pattern};
use crate::store::StoreError;

/// Hosted paths that no pattern and no claim covers are named for GONOSUMDB up to this number: more wants a pattern.
const BARE_NAMES_MAX: usize = 100;

impl Operations {
    /// What GONOSUMDB must hold, as far as `who` may know it: every private pattern, the patterns of the owners that
    /// they see, the hosts that these claimed, and what is hosted beside all that. While the gateway has no checksum database of its own,
    /// this keeps private names from the public one.
    pub async fn private_names(&self, who: &Principal) -> Result<BTreeSet<String>, StoreError> {
        self.names(|owner| self.access.may_read(who, owner)).await
    }

    /// All of them: for the operator.
    pub async fn all_private_names(&self) -> Result<BTreeSet<String>, StoreError> {
        self.names(|_| true).await
    }

    async fn names(&self, sees: impl Fn(&OwnerName) -> bool) -> Result<BTreeSet<String>, StoreError> {
        let index = self.stores.records.hosted_index().await?;
        let owners = self.config.owners.iter().filter(|(name, _)| sees(name)).flat_map(|(_, owner)| &owner.modules);
        let patterns = self.config.private.patterns.iter().chain(owners).map(|pattern| pattern.value.as_str().to_owned());
        let claims = index.claims.iter().filter(|(_, claim)| sees(&claim.owner)).map(|(host, _)| host.clone());
        let mut names: BTreeSet<String> = patterns.chain(claims).collect();
        let covered: Vec<Pattern> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let hosted = index.hosted.iter().filter(|(_, owner)| sees(owner)).map(|(path, _)| path.as_str());
        let bare = hosted.filter(|path| !covered.iter().any(|pattern| pattern.matches(path)));
        names.extend(bare.take(BARE_NAMES_MAX).map(str::to_owned));
        Ok(names)
    }
}
