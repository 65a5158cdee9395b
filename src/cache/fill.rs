//! One transfer from upstream into the cache, however many ask: the first who asks starts it, all wait for it, and
//! it goes on when they leave.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;

use crate::config::Hop;
use crate::module::dirhash::hash_zip;
use crate::module::{H1, ModulePath};
use crate::protocol::{ModuleAsk, SumdbWhat};
use crate::store::{Records, StoreError};
use crate::upstream::{Absent, Incoming, Reply, Target, UpstreamError};

use super::body::OpenFile;
use super::judge;
use super::passing::Passing;
use super::place::Asset;
use super::shelf::{Content, Kept, NotKept, SMALL_BYTES_MAX, Staged, strong, weak};
use super::{Body, CacheError, Inner};

/// Bytes collected before they are written.
const WRITE_BYTES: usize = 256 << 10;
/// A body in memory that grows past this waits for its turn.
const BIG_BODY_BYTES: usize = 64 << 10;
/// So many of those at once.
const BIG_BODIES_MAX: usize = 8;

/// How a fill ended, for everyone who waited.
pub(super) type Landed = Result<Filled, CacheError>;

#[derive(Clone)]
pub(super) enum Filled {
    /// It was there already.
    Fresh(Kept),
    /// It came; `stored`: and stays.
    Came { kept: Kept, stored: bool },
    /// It cannot be kept and is too long to hand around: whoever takes it first has it.
    Passing(Arc<Mutex<Option<Body>>>),
}

type Flight = Shared<BoxFuture<'static, Landed>>;

/// The fills that are under way.
pub(super) struct Flights {
    under_way: Mutex<HashMap<Asset, Flight>>,
    big_bodies: Semaphore,
    /// Hashing takes a whole processor: as many at once as there are.
    hashing: Semaphore,
    /// True once all are to end.
    abandoned: watch::Sender<bool>,
}

impl Default for Flights {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            under_way: Mutex::default(),
            big_bodies: Semaphore::new(BIG_BODIES_MAX),
            hashing: Semaphore::new(processors),
            abandoned: watch::Sender::new(false),
        }
    }
}

impl Flights {
    /// Ends all that are under way, and those that begin after this.
    pub(super) fn abandon(&self) {
        self.abandoned.send_replace(true);
    }
}

/// Takes a fill off the list when it ends, however it ends.
struct Landing(Arc<Inner>, Asset);

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.stock.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

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

impl Inner {
    /// Waits for this asset's fill; starts it if there is none.
    pub(super) async fn filled(self: &Arc<Self>, asset: &Asset, principal: &str) -> Landed {
        let flight = {
            let mut under_way = self.stock.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            match under_way.get(asset) {
                Some(flight) => flight.clone(),
                None => {
                    let flight = self.clone().start(asset.clone(), principal.to_owned());
                    under_way.insert(asset.clone(), flight.clone());
                    flight
                }
            }
        };
        flight.await
    }

    fn start(self: Arc<Self>, asset: Asset, principal: String) -> Flight {
        let landing = Landing(self.clone(), asset.clone());
        let mut abandoned = self.stock.flights.abandoned.subscribe();
        let filling = async move {
            let _landing = landing;
            let fill = async {
                // The one before may have ended between our look and now.
                match self.look_up(&asset).await {
                    Some((kept, true)) => Ok(Filled::Fresh(kept)),
                    _ => self.fetch(&asset, &principal, true).await,
                }
            };
            tokio::select! {
                landed = fill => landed,
                _ = abandoned.wait_for(|abandoned| *abandoned) => Err(CacheError::Storage("the process ends".to_owned())),
            }
        };
        // What goes wrong is logged with the request that began it, however many wait and whoever is gone.
        let task = tokio::spawn(filling.in_current_span());
        let flight = async { task.await.unwrap_or_else(|e| Err(CacheError::Storage(format!("a fill broke off: {e}")))) };
        flight.boxed().shared()
    }

    /// Asks the chain. `keep`: and keeps what comes.
    pub(super) async fn fetch(&self, asset: &Asset, principal: &str, keep: bool) -> Landed {
        let mut walk = self.upstream.walk();
        while let Some(hop) = walk.next() {
            let tried = match self.ask(hop, asset, principal).await {
                Ok(Reply::Absent(absent)) => {
                    walk.absent(absent);
                    continue;
                }
                Ok(Reply::Found(incoming)) => self.take(asset, incoming, keep).await,
                Err(e) => Err(e),
            };
            match tried {
                Ok(filled) => return Ok(filled),
                Err(e @ UpstreamError::Denied(_)) => return Err(e.into()),
                Err(error) => {
                    // That it is down was told when it went down.
                    if !matches!(error, UpstreamError::Down(_)) {
                        tracing::warn!(%asset, %error, "an upstream failed");
                    }
                    walk.failed(error);
                }
            }
        }
        let absent = walk.end()?;
        let stored = self.keep_absence(asset, &absent).await;
        Ok(Filled::Came { kept: Kept::Absent(absent), stored })
    }

    /// One hop, with a permit of its own.
    async fn ask(&self, hop: &Hop, asset: &Asset, principal: &str) -> Result<Reply, UpstreamError> {
        let permit = |path| self.stock.gate.permit(path, principal);
        match asset {
            Asset::Module(path, ask) => self.upstream.fetch(hop, Target::Module(&permit(path).await?, ask), principal).await,
            Asset::Sumdb(name, SumdbWhat::Lookup(path, version)) => {
                self.upstream.fetch(hop, Target::Lookup(name, &permit(path).await?, version), principal).await
            }
            Asset::Sumdb(name, SumdbWhat::Tile(tile)) => self.upstream.fetch(hop, Target::Tile(name, tile), principal).await,
            Asset::Sumdb(name, SumdbWhat::Latest | SumdbWhat::Supported) => self.upstream.fetch(hop, Target::Head(name), principal).await,
        }
    }

    async fn take(&self, asset: &Asset, incoming: Incoming, keep: bool) -> Result<Filled, UpstreamError> {
        if incoming.is_html() {
            return Err(incoming.malformed("a page of HTML"));
        }
        if incoming.len.is_some_and(|len| len > judge::bytes_max(asset)) {
            return Err(incoming.malformed("longer than any such answer may be"));
        }
        match asset {
            Asset::Module(_, ModuleAsk::Zip(_)) => self.take_zip(asset, incoming, keep).await,
            _ => self.take_small(asset, incoming).await,
        }
    }

    /// What is judged whole, in memory.
    async fn take_small(&self, asset: &Asset, mut incoming: Incoming) -> Result<Filled, UpstreamError> {
        let bytes_max = usize::try_from(judge::bytes_max(asset)).unwrap_or(usize::MAX);
        let mut body = BytesMut::new();
        let mut turn = None;
        while let Some(chunk) = incoming.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                return Err(incoming.malformed("longer than any such answer may be"));
            }
            if turn.is_none() && body.len() + chunk.len() > BIG_BODY_BYTES {
                // Never closed.
                turn = self.stock.flights.big_bodies.acquire().await.ok();
            }
            body.extend_from_slice(&chunk);
        }
        let body = judge::judge(asset, body.freeze()).map_err(|reason| incoming.malformed(reason))?;
        // Later answers from a long file have none: no tag is better than one that comes and goes.
        let tagged = !asset.is_immutable() || body.len() as u64 <= SMALL_BYTES_MAX;
        let etag = tagged.then(|| strong(&super::memo::sha256(&body)));
        let stored = match self.keep_body(asset, &body).await {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(%asset, %why, "served without being kept");
                false
            }
        };
        Ok(Filled::Came { kept: Kept::Found { content: Content::Bytes(body), etag }, stored })
    }

    async fn keep_body(&self, asset: &Asset, body: &Bytes) -> Result<(), NotKept> {
        self.note(asset).await?;
        let (asset, body, now) = (asset.clone(), body.clone(), (self.stock.clock)());
        self.on_disk(move |shelf| {
            shelf.note_presence(&asset, &body);
            let place = asset.place();
            if !asset.is_immutable() {
                return shelf.keep_memo(place.memo.as_deref(), 200, now, &body);
            }
            if !body.is_empty() {
                shelf.keep_file(place.file.as_deref(), &body)?;
            }
            shelf.forget(place.memo.as_deref());
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

    async fn keep_absence(&self, asset: &Asset, absent: &Absent) -> bool {
        if !asset.keeps_absence() {
            return false;
        }
        let (asset, absent, now) = (asset.clone(), absent.clone(), (self.stock.clock)());
        let kept = self.on_disk(move |shelf| {
            shelf.note_absence(&asset);
            shelf.keep_memo(asset.place().memo.as_deref(), absent.status, now, absent.text.as_bytes())
        });
        match kept.await {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(%why, "an absence is not kept");
                false
            }
        }
    }

    async fn take_zip(&self, asset: &Asset, incoming: Incoming, keep: bool) -> Result<Filled, UpstreamError> {
        let mut landing = Arriving { staged: None, buffered: VecDeque::new(), buffered_bytes: 0, incoming };
        let len = landing.incoming.len;
        if !keep || asset.place().file.is_none() {
            return Ok(pass(asset, landing));
        }
        match self.on_disk(move |shelf| shelf.stage(len)).await {
            Ok(staged) => landing.staged = Some(staged),
            Err(why) => {
                tracing::warn!(%asset, %why, "passed through without being kept");
                return Ok(pass(asset, landing));
            }
        }
        let mut received = 0;
        loop {
            let chunk = landing.incoming.chunk().await?;
            let ended = chunk.is_none();
            if let Some(chunk) = chunk {
                received += chunk.len() as u64;
                landing.buffered_bytes += chunk.len();
                landing.buffered.push_back(chunk);
            }
            if received > judge::ZIP_BYTES_MAX {
                return Err(landing.incoming.malformed("longer than any zip may be"));
            }
            if (ended || landing.buffered_bytes >= WRITE_BYTES)
                && let Err(why) = landing.write().await
            {
                tracing::warn!(%asset, %why, "passed through without being kept");
                return Ok(pass(asset, landing));
            }
            if ended {
                return self.keep_zip(asset, landing).await;
            }
        }
    }

    async fn keep_zip(&self, asset: &Asset, landing: Arriving) -> Result<Filled, UpstreamError> {
        let Arriving { staged, incoming, .. } = landing;
        let broken = |e: String| UpstreamError::Failed { host: incoming.host().to_owned(), reason: format!("cannot check the zip: {e}") };
        let staged = staged.ok_or_else(|| broken("it was not staged".to_owned()))?;
        let len = staged.len();
        let reader = staged.reader().map_err(|e| broken(e.to_string()))?;
        let turn = self.stock.flights.hashing.acquire().await;
        let hashed = tokio::task::spawn_blocking(move || hash_zip(reader)).await.map_err(|e| broken(e.to_string()))?;
        drop(turn);
        let h1 = hashed.map_err(|reason| incoming.malformed(format!("not a module zip: {reason}")))?;
        let etag = Some(weak(&h1));
        let (file, kept) = self.keep_staged(asset, staged, h1).await.map_err(|e| broken(e.to_string()))?;
        if let Err(why) = &kept {
            tracing::warn!(%asset, %why, "served without being kept");
        }
        let content = Content::File { file, from: 0, len };
        Ok(Filled::Came { kept: Kept::Found { content, etag }, stored: kept.is_ok() })
    }

    /// The zip, open, and why it is not kept if it is not.
    async fn keep_staged(&self, asset: &Asset, staged: Staged, h1: H1) -> std::io::Result<(OpenFile, Result<(), NotKept>)> {
        if let Err(why) = self.note(asset).await {
            return Ok((staged.unkept()?, Err(why)));
        }
        let (shelf, asset, place) = (self.stock.shelf.clone(), asset.clone(), asset.place());
        let keep = move || {
            shelf.note_presence(&asset, &[]);
            let kept = shelf.keep_zip(place.file.as_deref(), staged, &h1)?;
            if kept.1.is_ok() {
                shelf.forget(place.memo.as_deref());
            }
            Ok(kept)
        };
        tokio::task::spawn_blocking(keep).await.map_err(std::io::Error::other)?
    }
}

/// Hands a zip on unkept and unjudged.
fn pass(asset: &Asset, landing: Arriving) -> Filled {
    let body = Passing::body(landing.staged, landing.buffered, landing.incoming, judge::bytes_max(asset));
    Filled::Passing(Arc::new(Mutex::new(Some(body))))
}

/// A zip on its way: staged, then buffered, then still to come.
struct Arriving {
    staged: Option<Staged>,
    buffered: VecDeque<Bytes>,
    buffered_bytes: usize,
    incoming: Incoming,
}

impl Arriving {
    /// Writes what is buffered. When it fails, nothing is lost: what is not in the file is still buffered.
    async fn write(&mut self) -> Result<(), NotKept> {
        let Some(mut staged) = self.staged.take() else { return Ok(()) };
        let buffered = self.buffered.clone();
        let written = tokio::task::spawn_blocking(move || {
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
