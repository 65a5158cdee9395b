//! A record on its way, beside the transfer of what it is to vouch for: so a file that was not here costs no further round trip.

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::place::Asset;
use super::trust::Subject;
use super::verdicts::{Claim, Verdicts};
use super::voucher::VoucherId;
use super::{CacheError, Inner, Part, Vouched};
use crate::module::zip::Unverifiable;
use crate::module::{H1, ModulePath, Version};

/// What somebody will say of a file that is being fetched.
pub(super) struct Witness {
    path: ModulePath,
    version: Version,
    part: Part,
    database: String,
    voucher: VoucherId,
    record: watch::Receiver<Option<Result<Vouched, CacheError>>>,
    verdicts: Verdicts,
    _asking: Asking,
}

/// Given up with the transfer.
struct Asking(JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// Begins to ask for the record of a file that is about to be fetched. None: it is believed as it is.
    pub(super) fn witness(&self, asset: &Asset, principal: &str) -> Option<Witness> {
        let Some((voucher, Subject::File(path, version, part))) = self.trust.due(asset) else { return None };
        let (say, record) = watch::channel(None);
        let (path, version, database) = (path.clone(), version.clone(), voucher.asked.database().to_owned());
        let asking = {
            let (voucher, path, version, principal) = (voucher.asked.clone(), path.clone(), version.clone(), principal.to_owned());
            async move {
                let said = match voucher.admits() {
                    Ok(()) => voucher.vouch(&path, &version, &principal).await,
                    Err(error) => Err(error),
                };
                // Nobody listens any more where the transfer came to nothing.
                say.send_replace(Some(said.map_err(|error| error.of(&path, &version, voucher.database()))));
            }
        };
        let asking = Asking(tokio::spawn(asking.in_current_span()));
        Some(Witness { path, version, part, database, voucher: voucher.id, record, verdicts: self.stock.verdicts.clone(), _asking: asking })
    }
}

impl Witness {
    /// Whose word it is.
    pub(super) fn voucher(&self) -> VoucherId {
        self.voucher
    }

    async fn said(&self) -> Result<Vouched, CacheError> {
        let mut record = self.record.clone();
        let said = record.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
        said.unwrap_or_else(|| Err(CacheError::Storage("asking for the record broke off".to_owned())))
    }

    /// That nobody vouches for it, once that is known: then the rest need not come. For ever where somebody does.
    pub(super) async fn refuses(&self) -> CacheError {
        match self.said().await {
            Err(error) => self.verdicts.refused(error),
            Ok(_) => std::future::pending().await,
        }
    }

    /// Whether what came `from` an upstream, with this hash, is what it is to be.
    pub(super) async fn judge(&self, found: H1, from: &str) -> Result<(), CacheError> {
        let vouched = self.said().await.map_err(|error| self.verdicts.refused(error))?;
        self.verdicts.judge(self.claim(from), &vouched, found)
    }

    /// What came `from` an upstream has a hash that cannot be told as it passes.
    pub(super) fn undecided(&self, why: &Unverifiable, from: &str) -> CacheError {
        self.verdicts.undecided(self.claim(from), why)
    }

    fn claim<'a>(&'a self, from: &'a str) -> Claim<'a> {
        let Self { path, version, part, database, .. } = self;
        Claim { path, version, part: *part, database, from }
    }
}
