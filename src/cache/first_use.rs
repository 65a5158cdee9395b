//! What a public version is recorded as in a checksum database of our own: what another database vouches for; else, where nobody need
//! vouch, what came from upstream first.

use super::place::Asset;
use super::shelf::Kept;
use super::trust::Subject;
use super::{Absence, Asker, Cache, CacheError, CacheStatus, Resolved, VouchError, Vouched};
use crate::module::dirhash::hash_go_mod;
use crate::module::{H1, ModulePath, Version};
use crate::protocol::ModuleAsk;

/// What a version is, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The database that is required says so; verified.
    Vouched(Vouched),
    /// Nobody need vouch for it, and these are the hashes of what is kept.
    FirstUse(Vouched),
    /// The database, or upstream, has no such version.
    Absent(Absence),
}

impl Cache {
    /// What a version of a public module is. Where nobody need vouch for it its files are fetched, if they are not kept.
    ///
    /// # Errors
    ///
    /// [`CacheError`]; its storage too, where the files cannot be kept.
    pub async fn known(&self, path: &ModulePath, version: &Version, asker: Asker<'_>) -> Result<Known, CacheError> {
        let zip = Asset::Module(path.clone(), ModuleAsk::Zip(version.clone()));
        let Some((voucher, Subject::File(..))) = self.inner.trust.due(&zip) else { return self.first_use(path, version, asker).await };
        match voucher.asked.vouch(path, version, asker.principal).await {
            Ok(vouched) => Ok(Known::Vouched(vouched)),
            Err(VouchError::Unknown(text)) => Ok(Known::Absent(Absence { code: 404, text, status: CacheStatus::Miss })),
            Err(error) => Err(error.of(path, version, voucher.asked.database())),
        }
    }

    async fn first_use(&self, path: &ModulePath, version: &Version, asker: Asker<'_>) -> Result<Known, CacheError> {
        let mut hashes = [H1([0; 32]); 2];
        for (hash, ask) in hashes.iter_mut().zip([ModuleAsk::Mod(version.clone()), ModuleAsk::Zip(version.clone())]) {
            let asset = Asset::Module(path.clone(), ask);
            if let Resolved::Absent(absence) = self.get(asset.clone(), asker).await? {
                return Ok(Known::Absent(absence));
            }
            let kept = self.hash(&asset).await?;
            *hash = kept.ok_or_else(|| CacheError::Storage(format!("{asset} could not be kept, so nobody can tell what it is")))?;
        }
        let [go_mod, zip] = hashes;
        Ok(Known::FirstUse(Vouched { zip, go_mod }))
    }

    /// The hash of a file that is kept.
    async fn hash(&self, asset: &Asset) -> Result<Option<H1>, CacheError> {
        let stock = &self.inner.stock;
        let Some(answer) = stock.look_up(asset).await? else { return Ok(None) };
        match (&answer.kept, answer.h1) {
            (Kept::Absent(_), _) => Ok(None),
            (Kept::Found { .. }, Some(h1)) => Ok(Some(h1)),
            (Kept::Found { .. }, None) if matches!(asset, Asset::Module(_, ModuleAsk::Zip(_))) => Ok(None),
            (Kept::Found { content, .. }, None) => Ok(Some(hash_go_mod(&stock.whole(content.clone()).await?))),
        }
    }
}
