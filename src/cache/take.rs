//! What comes from upstream: judged, kept within the bound, and handed on.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};

use crate::module::dirhash::{hash_go_mod, hash_zip};
use crate::module::{H1, ModulePath};
use crate::observe::spawn_blocking;
use crate::protocol::{ModuleAsk, SumdbWhat};
use crate::store::{Records, StoreError};
use crate::upstream::{Absent, Incoming, UpstreamError};

use super::body::OpenFile;
use super::fill::{Filled, NotTaken};
use super::judge;
use super::passing::Passing;
use super::place::Asset;
use super::shelf::{Content, Kept, NotKept, SMALL_BYTES_MAX, Staged, strong, weak};
use super::trust::{Subject, Trust};
use super::voucher::VoucherId;
use super::witness::Witness;
use super::{CacheError, Inner, Stock};

/// Bytes collected before they are written.
const WRITE_BYTES: usize = 256 << 10;
/// A body in memory that grows past this waits for its turn.
const BIG_BODY_BYTES: usize = 64 << 10;

/// Notes that a file of this module was fetched, durably, unless that is known.
async fn note_known(records: &dyn Records, path: &ModulePath) -> Result<(), StoreError> {
    if records.known().contains(path) { Ok(()) } else { records.known_put(path).await }
}

/// The module that becomes known when this was fetched and judged.
fn makes_known(asset: &Asset) -> Option<&ModulePath> {
    match asset {
        Asset::Module(path, ModuleAsk::Mod(_) | ModuleAsk::Zip(_)) => Some(path),
        Asset::Module(..) | Asset::Sumdb(..) => None,
    }
}

/// Tells why something is not kept. That nothing is, was told once, when it began.
fn tell(asset: &Asset, why: &NotKept, what: &'static str) {
    match why {
        NotKept::Paused => tracing::debug!(%asset, %why, "{what}"),
        NotKept::NoRoom | NotKept::Closed | NotKept::NoPlace | NotKept::Disk(_) | NotKept::Records(_) | NotKept::Broken => {
            tracing::warn!(%asset, %why, "{what}");
        }
    }
}

/// What is being fetched, for whom, and who vouches for it.
pub(super) struct Taking<'a> {
    pub(super) asset: &'a Asset,
    pub(super) principal: &'a str,
    /// What comes is to be kept.
    pub(super) keep: bool,
    /// Taken along by what passes.
    pub(super) witness: Option<Witness>,
}

impl Inner {
    pub(super) async fn take(&self, taking: &mut Taking<'_>, mut incoming: Incoming) -> Result<Filled, NotTaken> {
        let asset = taking.asset;
        if incoming.is_html() {
            return Err(incoming.malformed("a page of HTML").into());
        }
        if incoming.len.is_some_and(|len| len > judge::bytes_max(asset)) {
            return Err(incoming.malformed("longer than any such answer may be").into());
        }
        match asset {
            Asset::Module(_, ModuleAsk::Zip(_)) => self.take_zip(taking, incoming).await,
            _ => self.take_small(taking, incoming).await,
        }
    }

    /// What is judged whole, in memory.
    async fn take_small(&self, taking: &Taking<'_>, mut incoming: Incoming) -> Result<Filled, NotTaken> {
        let asset = taking.asset;
        let bytes_max = usize::try_from(judge::bytes_max(asset)).unwrap_or(usize::MAX);
        let mut body = BytesMut::new();
        let mut turn = None;
        while let Some(chunk) = incoming.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                return Err(incoming.malformed("longer than any such answer may be").into());
            }
            if turn.is_none() && body.len() + chunk.len() > BIG_BODY_BYTES {
                // Never closed.
                turn = self.stock.flights.big_bodies.acquire().await.ok();
            }
            body.extend_from_slice(&chunk);
        }
        let body = judge::judge(asset, body.freeze()).map_err(|reason| incoming.malformed(reason))?;
        let voucher = self.vouched_for(taking, &body, incoming.host()).await.map_err(NotTaken::Refused)?;
        // Later answers from a long file have none: no tag is better than one that comes and goes.
        let tagged = !asset.is_immutable() || body.len() as u64 <= SMALL_BYTES_MAX;
        let etag = tagged.then(|| strong(&super::memo::sha256(&body)));
        let stored = match self.keep_body(asset, &body, voucher).await {
            Ok(()) => true,
            Err(why) => {
                tell(asset, &why, "served without being kept");
                false
            }
        };
        Ok(Filled::Came { kept: Kept::Found { content: Content::Bytes(body), etag }, stored, voucher })
    }

    /// Who vouches for this body; none where nobody need.
    async fn vouched_for(&self, taking: &Taking<'_>, body: &Bytes, from: &str) -> Result<Option<VoucherId>, CacheError> {
        if let Some(witness) = &taking.witness {
            let judged = witness.judge(hash_go_mod(body), from).await;
            self.doubt_after(&judged).await;
            return judged.map(|()| Some(witness.voucher()));
        }
        let Some((voucher, Subject::Resolved(path))) = self.trust.due(taking.asset) else { return Ok(None) };
        self.vouch_for_info(path, body, voucher, taking.principal).await.map(|()| Some(voucher.id))
    }

    async fn keep_body(&self, asset: &Asset, body: &Bytes, voucher: Option<VoucherId>) -> Result<(), NotKept> {
        if matches!((asset, &self.trust), (Asset::Sumdb(_, SumdbWhat::Lookup(..)), Trust::Database)) {
            return Ok(());
        }
        self.note(asset).await?;
        let (body, now, database) = (body.clone(), (self.stock.clock)(), self.trust.database().map(str::to_owned));
        self.stock
            .write(asset, move |shelf, asset| {
                shelf.note_presence(asset, &body, database.as_deref());
                let place = asset.place();
                let is_memo = !asset.is_immutable() || matches!(asset, Asset::Sumdb(_, SumdbWhat::Lookup(..)));
                let lease = match is_memo {
                    true => Some(shelf.keep_memo(&place, now, &body)?),
                    false if body.is_empty() => None,
                    false => Some(shelf.keep_file(place.file.as_deref(), &body)?),
                };
                if let (Some(lease), Some(voucher)) = (lease, voucher) {
                    lease.vouch(voucher);
                }
                if !is_memo {
                    shelf.forget_dated(&place);
                }
                Ok(())
            })
            .await
    }

    /// Before anything of it is kept: what is served from the cache later is known without being noted again.
    async fn note(&self, asset: &Asset) -> Result<(), NotKept> {
        match makes_known(asset) {
            Some(path) => Ok(note_known(&*self.stock.records, path).await?),
            None => Ok(()),
        }
    }

    pub(super) async fn keep_absence(&self, asset: &Asset, absent: &Absent) -> bool {
        if !asset.keeps_absence() {
            return false;
        }
        let (absent, now, database) = (absent.clone(), (self.stock.clock)(), self.trust.database().map(str::to_owned));
        let kept = self.stock.write(asset, move |shelf, asset| {
            shelf.note_absence(asset, database.as_deref());
            shelf.keep_absence(&asset.place(), &absent, now)
        });
        match kept.await {
            Ok(()) => true,
            Err(why) => {
                tell(asset, &why, "an absence is not kept");
                false
            }
        }
    }

    async fn take_zip(&self, taking: &mut Taking<'_>, incoming: Incoming) -> Result<Filled, NotTaken> {
        let Taking { asset, keep, .. } = *taking;
        let mut landing = Arriving { staged: None, buffered: VecDeque::new(), buffered_bytes: 0, incoming };
        let len = landing.incoming.len;
        if !keep || asset.place().file.is_none() {
            return Ok(pass(taking, landing));
        }
        match self.stock.on_disk(move |shelf| shelf.stage(len)).await {
            Ok(staged) => landing.staged = Some(staged),
            Err(why) => {
                tell(asset, &why, "passed through without being kept");
                return Ok(pass(taking, landing));
            }
        }
        let mut received = 0;
        loop {
            let chunk = landing.chunk(taking.witness.as_ref()).await?;
            let ended = chunk.is_none();
            if let Some(chunk) = chunk {
                received += chunk.len() as u64;
                landing.buffered_bytes += chunk.len();
                landing.buffered.push_back(chunk);
            }
            if received > judge::ZIP_BYTES_MAX {
                return Err(landing.incoming.malformed("longer than any zip may be").into());
            }
            if (ended || landing.buffered_bytes >= WRITE_BYTES)
                && let Err(why) = landing.write().await
            {
                tell(asset, &why, "passed through without being kept");
                return Ok(pass(taking, landing));
            }
            if ended {
                return self.keep_zip(taking, landing).await;
            }
        }
    }

    async fn keep_zip(&self, taking: &Taking<'_>, landing: Arriving) -> Result<Filled, NotTaken> {
        let asset = taking.asset;
        let Arriving { staged, mut incoming, .. } = landing;
        let host = incoming.host().to_owned();
        let broken =
            |e: String| UpstreamError::Failed { host: host.clone(), connected: true, reason: format!("cannot check the zip: {e}") };
        let staged = staged.ok_or_else(|| broken("it was not staged".to_owned()))?;
        let len = staged.len();
        let reader = staged.reader().map_err(|e| broken(e.to_string()))?;
        let turn = self.stock.flights.hashing.acquire().await;
        let hashed = spawn_blocking(move || hash_zip(reader)).await.map_err(|e| broken(e.to_string()))?;
        drop(turn);
        let h1 = hashed.map_err(|reason| incoming.malformed(format!("not a module zip: {reason}")))?;
        let voucher = taking.witness.as_ref().map(Witness::voucher);
        if let Some(witness) = &taking.witness {
            let judged = witness.judge(h1, &host).await;
            self.doubt_after(&judged).await;
            judged.map_err(NotTaken::Refused)?;
        }
        let etag = Some(weak(&h1));
        let (file, kept) = self.keep_staged(asset, staged, h1, voucher).await.map_err(|e| broken(e.to_string()))?;
        if let Err(why) = &kept {
            tell(asset, why, "served without being kept");
        }
        let content = Content::File { file, from: 0, len };
        Ok(Filled::Came { kept: Kept::Found { content, etag }, stored: kept.is_ok(), voucher })
    }

    /// After a mismatch the record is asked for anew by the next.
    async fn doubt_after(&self, judged: &Result<(), CacheError>) {
        if let Err(CacheError::Mismatch(mismatch)) = judged {
            self.doubt(&mismatch.database, &mismatch.path, &mismatch.version).await;
        }
    }

    /// The zip, open, and why it is not kept if it is not.
    async fn keep_staged(
        &self,
        asset: &Asset,
        staged: Staged,
        h1: H1,
        voucher: Option<VoucherId>,
    ) -> io::Result<(OpenFile, Result<(), NotKept>)> {
        if let Err(why) = self.note(asset).await {
            return Ok((staged.unkept()?, Err(why)));
        }
        let Stock { shelf, memory, data, .. } = self.stock.clone();
        let (asset, place, database) = (asset.clone(), asset.place(), self.trust.database().map(str::to_owned));
        let keep = move || {
            shelf.note_presence(&asset, &[], database.as_deref());
            let kept = shelf.keep_zip(place.file.as_deref(), staged, &h1, voucher)?;
            if kept.1.is_ok() {
                shelf.forget_dated(&place);
            }
            memory.forget(&asset);
            // As in `Stock::on_disk`.
            drop(data);
            Ok(kept)
        };
        spawn_blocking(keep).await.map_err(io::Error::other)?
    }
}

/// Hands a zip on unkept. If somebody is to vouch for it, its end is held back until that was done.
fn pass(taking: &mut Taking<'_>, landing: Arriving) -> Filled {
    let Arriving { staged, buffered, incoming, .. } = landing;
    let witness = taking.witness.take();
    let voucher = witness.as_ref().map(Witness::voucher);
    let body = Passing::body(staged, buffered, incoming, judge::bytes_max(taking.asset), witness);
    Filled::Passing { body: Arc::new(Mutex::new(Some(body))), voucher }
}

/// A zip on its way: staged, then buffered, then still to come.
struct Arriving {
    staged: Option<Staged>,
    buffered: VecDeque<Bytes>,
    buffered_bytes: usize,
    incoming: Incoming,
}

impl Arriving {
    /// The next bytes; that nobody vouches for them, once that is known.
    async fn chunk(&mut self, witness: Option<&Witness>) -> Result<Option<Bytes>, NotTaken> {
        let Some(witness) = witness else { return Ok(self.incoming.chunk().await?) };
        tokio::select! {
            biased;
            refused = witness.refuses() => Err(NotTaken::Refused(refused)),
            chunk = self.incoming.chunk() => Ok(chunk?),
        }
    }

    /// Writes what is buffered. When it fails, nothing is lost: what is not in the file is still buffered.
    async fn write(&mut self) -> Result<(), NotKept> {
        let Some(mut staged) = self.staged.take() else { return Ok(()) };
        let buffered = self.buffered.clone();
        let written = spawn_blocking(move || {
            let bytes: Vec<&[u8]> = buffered.iter().map(AsRef::as_ref).collect();
            let bytes = bytes.concat();
            let result = staged.write(&bytes);
            (staged, result)
        });
        let (staged, result) = written.await.map_err(|_| NotKept::Broken)?;
        self.staged = Some(staged);
        result?;
        self.buffered.clear();
        self.buffered_bytes = 0;
        Ok(())
    }
}
