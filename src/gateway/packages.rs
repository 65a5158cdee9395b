//! The registry's API: what an owner has. It seals nothing, and shows no hash of what is not sealed to those who merely read.

use super::{Gateway, Refusal};
use crate::access::Principal;
use crate::hosted::{Listing, Sums};
use crate::module::{ModulePath, OwnerName, Version};
use crate::protocol::{Base, PackageQuery};
use crate::store::{StoreError, VersionRecord};

impl Gateway {
    /// An owner's versions. Whoever may not see the owner is told what its base tells them.
    pub async fn packages(&self, owner: Option<&OwnerName>, query: &PackageQuery, who: &Principal) -> Result<Listing, Refusal> {
        let owner = self.api(owner, who)?;
        if !query.go {
            return Ok(Listing::default());
        }
        Ok(self.hosted.list(&owner, &query.contains, query.skip, query.limit).await?)
    }

    /// A version of an owner.
    pub async fn package(
        &self,
        owner: Option<&OwnerName>,
        path: &ModulePath,
        version: &Version,
        who: &Principal,
    ) -> Result<VersionRecord, Refusal> {
        let owner = self.api(owner, who)?;
        self.hosted.version(&owner, path, version).await?.ok_or_else(|| absent(&owner, path, version))
    }

    /// A version of an owner, and the checksums of its zip, if they may be told: to those who may publish or delete here, and of what
    /// has left already to everyone who reads.
    pub async fn package_files(
        &self,
        owner: Option<&OwnerName>,
        path: &ModulePath,
        version: &Version,
        who: &Principal,
    ) -> Result<(VersionRecord, Option<Sums>), Refusal> {
        let record = self.package(owner, path, version, who).await?;
        let writes = self.access.may_publish(who, &record.owner) || self.access.may_delete(who, &record.owner);
        if !writes && !self.hosted.is_sealed(&record).await? {
            return Ok((record, None));
        }
        match self.hosted.sums(&record).await {
            Ok(sums) => Ok((record, Some(sums))),
            // Deleted since it was looked up, its bytes went with it.
            Err(StoreError::Corrupt(_)) if self.hosted.version(&record.owner, path, version).await?.as_ref() != Some(&record) => {
                Err(absent(&record.owner, path, version))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The owner, for those who may see it.
    fn api(&self, owner: Option<&OwnerName>, who: &Principal) -> Result<OwnerName, Refusal> {
        let base = owner.map_or(Base::NoOwner, |owner| Base::Owner(owner.clone()));
        self.base(&base, who)?.cloned().ok_or_else(super::no_owner)
    }
}

fn absent(owner: &OwnerName, path: &ModulePath, version: &Version) -> Refusal {
    Refusal::Absent(format!("owner {owner} has no {path} {version}"))
}
