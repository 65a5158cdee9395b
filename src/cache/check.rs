//! Whether what is kept is what a checksum database says, before it is answered with.
//!
//! An entry remembers nothing itself. What remembers is the look-up that was kept as verified (`lookups.rs`), and, until the process ends,
//! a byte of the index, which says who vouched. So what entered while nothing was verified is checked before it is served again, what
//! another database or another key vouched for, and what lost its look-up too. Whoever serves a file uses its look-up, so that this is
//! never evicted before the file.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::index::Lease;
use super::judge;
use super::look_up::LookUpError;
use super::lookups::lookup;
use super::place::Asset;
use super::shelf::{Answer, Content, Kept};
use super::trust::Subject;
use super::verdicts::{Claim, FROM_CACHE};
use super::voucher::Voucher;
use super::{CacheError, Inner, Part, Stock, VouchError, Vouched};
use crate::module::dirhash::hash_go_mod;
use crate::module::{ModulePath, Version};
use crate::observe::spawn_blocking;

impl Inner {
    /// What is kept for an asset and may be answered with, as far as its age goes. What is kept and not what it is to be is set aside,
    /// and nothing is kept.
    ///
    /// # Errors
    ///
    /// It cannot be read, or nobody vouches for it.
    pub(super) async fn kept(&self, asset: &Asset, principal: &str) -> Result<Option<Arc<Answer>>, LookUpError> {
        let Some(answer) = self.stock.look_up(asset).await? else { return Ok(None) };
        match self.trust.due(asset) {
            Some((voucher, subject)) if !self.is_vouched(voucher, subject, &answer) => {
                self.checked(asset, voucher, subject, principal).await
            }
            _ => Ok(Some(answer)),
        }
    }

    fn is_vouched(&self, voucher: &Voucher, subject: Subject<'_>, answer: &Answer) -> bool {
        match (&answer.kept, subject) {
            (Kept::Absent(_), _) => true,
            (Kept::Found { .. }, Subject::Resolved(_)) => answer.voucher == Some(voucher.id),
            (Kept::Found { .. }, Subject::File(path, version, _)) => {
                let record = || lookup(voucher.asked.database(), path, version).place().file;
                // A look-up whose name is too long for a file is kept nowhere: then the byte alone remembers.
                answer.voucher == Some(voucher.id) && record().is_none_or(|record| self.stock.shelf.index.is_known(&record))
            }
        }
    }

    /// Asks for the record, and holds what is kept against it.
    async fn checked(
        &self,
        asset: &Asset,
        voucher: &Voucher,
        subject: Subject<'_>,
        principal: &str,
    ) -> Result<Option<Arc<Answer>>, LookUpError> {
        let before = self.stock.memory.before(asset);
        let Some((mut answer, lease)) = self.stock.look_up_on_disk(asset).await? else { return Ok(None) };
        let Kept::Found { content, .. } = &answer.kept else { return Ok(Some(Arc::new(answer))) };
        match subject {
            Subject::Resolved(path) => {
                let Content::Bytes(info) = content else { return Ok(None) };
                match self.vouch_for_info(path, info, voucher, principal).await {
                    // Upstream may know better by now.
                    Err(CacheError::Unvouched(unvouched)) if matches!(unvouched.error, VouchError::Unknown(_)) => return Ok(None),
                    vouched => vouched?,
                }
            }
            Subject::File(path, version, part) => {
                let found = match (part, answer.h1) {
                    (Part::Zip, Some(h1)) => h1,
                    (Part::Zip, None) => return Ok(None),
                    (Part::Mod, _) => hash_go_mod(&self.stock.whole(content.clone()).await?),
                };
                let vouched = self.vouch(path, version, voucher, principal).await?;
                let claim = Claim { path, version, part, database: voucher.asked.database(), from: FROM_CACHE };
                if part.of(&vouched) != found {
                    // Of many who find it one tells it.
                    if self.set_aside(asset, &answer, lease).await {
                        let _told = self.stock.verdicts.judge(claim, &vouched, found);
                        self.doubt(voucher.asked.database(), path, version).await;
                    }
                    return Ok(None);
                }
                self.stock.verdicts.judge(claim, &vouched, found)?;
                if lease.is_last_copy()
                    && let Some(record) = lookup(voucher.asked.database(), path, version).place().file
                {
                    self.stock.shelf.index.set_last_copy(&record, true);
                }
            }
        }
        lease.vouch(voucher.id);
        answer.voucher = Some(voucher.id);
        let answer = Arc::new(answer);
        self.stock.memory.put(asset, &answer, before);
        Ok(Some(answer))
    }

    async fn vouch(&self, path: &ModulePath, version: &Version, voucher: &Voucher, principal: &str) -> Result<Vouched, CacheError> {
        let vouched = voucher.asked.vouch(path, version, principal).await;
        vouched.map_err(|error| self.stock.verdicts.refused(error.of(path, version, voucher.asked.database())))
    }

    /// Whether the version that an `.info` names is there.
    pub(super) async fn vouch_for_info(
        &self,
        path: &ModulePath,
        info: &[u8],
        voucher: &Voucher,
        principal: &str,
    ) -> Result<(), CacheError> {
        let version = judge::version_of(info).map_err(CacheError::Storage)?;
        self.vouch(path, &version, voucher, principal).await?;
        self.stock.verdicts.vouched();
        Ok(())
    }

    /// Of a file that disagrees with its record either may be the damaged one: the next who needs the record asks for it anew.
    pub(super) async fn doubt(&self, database: &str, path: &ModulePath, version: &Version) {
        let asset = lookup(database, path, version);
        let dropped = self.stock.write(&asset, |shelf, asset| {
            shelf.forget(asset.place().file.as_deref());
            Ok(())
        });
        if let Err(why) = dropped.await {
            tracing::warn!(%asset, %why, "a look-up that may be damaged cannot be dropped");
        }
    }

    /// Whether it was this call that did.
    async fn set_aside(&self, asset: &Asset, answer: &Answer, lease: Arc<Lease>) -> bool {
        let (memory, asset, key) = (self.stock.memory.clone(), asset.clone(), answer.key.clone());
        let set_aside = self.stock.on_disk(move |shelf| {
            let set_aside = shelf.index.set_aside(&key, &lease);
            memory.forget(&asset);
            Ok(set_aside)
        });
        set_aside.await.unwrap_or(false)
    }
}

impl Stock {
    /// As [`Stock::look_up`], past the memory, and with the lease of what is kept.
    async fn look_up_on_disk(&self, asset: &Asset) -> Result<Option<(Answer, Arc<Lease>)>, LookUpError> {
        let (shelf, asset) = (self.shelf.clone(), asset.clone());
        spawn_blocking(move || shelf.look_up(&asset).map_err(|unreadable| LookUpError::Unreadable { asset, unreadable })).await?
    }

    /// All bytes of an answer that was judged in memory when it came: it is at most as long as the longest list.
    ///
    /// # Errors
    ///
    /// [`CacheError::Storage`].
    pub(super) async fn whole(&self, content: Content) -> Result<Bytes, CacheError> {
        let (file, from, len) = match content {
            Content::Bytes(bytes) => return Ok(bytes),
            Content::File { file, from, len } => (file, from, len),
        };
        let _turn = self.flights.big_bodies.acquire().await;
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, from).map(|()| bytes)
        });
        let cannot = |e: &dyn std::error::Error| CacheError::Storage(format!("cannot read what is cached: {e}"));
        Ok(read.await.map_err(|e| cannot(&e))?.map_err(|e| cannot(&e))?.into())
    }
}
