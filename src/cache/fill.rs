//! One transfer from upstream into the cache, however many ask: the first who asks starts it, all wait for it, and
//! it goes on when they leave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;

use crate::config::Hop;
use crate::protocol::SumdbWhat;
use crate::upstream::{Reply, Target, UpstreamError};

use super::freshness::Age;
use super::place::Asset;
use super::queue::TooBusy;
use super::shelf::{Answer, Kept};
use super::take::Taking;
use super::voucher::VoucherId;
use super::{Body, CacheError, Inner};

/// So many bodies that are long and in memory at once.
const BIG_BODIES_MAX: usize = 8;

/// How a fill ended, for everyone who waited.
pub(super) type Landed = Result<Filled, CacheError>;

#[derive(Clone)]
pub(super) enum Filled {
    /// It was there already.
    Fresh(Arc<Answer>),
    /// It came; `stored`: and stays; `voucher`: who vouched for it.
    Came { kept: Kept, stored: bool, voucher: Option<VoucherId> },
    /// It cannot be kept and is too long to hand around: whoever takes it first has it. `voucher`: who vouches for it before its end
    /// comes.
    Passing { body: Arc<Mutex<Option<Body>>>, voucher: Option<VoucherId> },
}

impl Filled {
    /// Whether this voucher vouched for it, if anybody need.
    fn is_vouched(&self, by: VoucherId) -> bool {
        match self {
            Self::Fresh(answer) => answer.voucher == Some(by) || matches!(answer.kept, Kept::Absent(_)),
            Self::Came { kept, voucher, .. } => *voucher == Some(by) || matches!(kept, Kept::Absent(_)),
            Self::Passing { voucher, .. } => *voucher == Some(by),
        }
    }
}

/// Why nothing became of an upstream's answer.
pub(super) enum NotTaken {
    /// The upstream failed: by the chain's separator another may be asked.
    Failed(UpstreamError),
    /// Nobody else is asked: a wrong answer is no outage, and what nobody vouches for would be no better from elsewhere.
    Refused(CacheError),
}

impl From<UpstreamError> for NotTaken {
    fn from(error: UpstreamError) -> Self {
        Self::Failed(error)
    }
}

/// A fill under way; it goes on when this is dropped.
type Flight = Shared<BoxFuture<'static, Landed>>;

/// The fills that are under way.
pub(super) struct Flights {
    under_way: Mutex<HashMap<Asset, Flight>>,
    pub(super) big_bodies: Semaphore,
    /// Hashing takes a whole processor: as many at once as there are.
    pub(super) hashing: Semaphore,
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

impl Inner {
    /// Waits for this asset's fill; starts it if there is none. `anew`: what is fresh does not do, unless it never changes.
    pub(super) async fn filled(self: &Arc<Self>, asset: &Asset, principal: &str, anew: bool) -> Landed {
        loop {
            let landed = self.flight(asset, principal, anew).await;
            // Another's flight, which found something fresh: it has ended, and the next one is ours, or goes out.
            if anew && matches!(&landed, Ok(Filled::Fresh(answer)) if answer.at.is_some()) {
                continue;
            }
            // As above: one that began under settings by which nobody need vouch for it, or somebody else.
            if let (Ok(filled), Some((voucher, _))) = (&landed, self.trust.due(asset))
                && !filled.is_vouched(voucher.id)
            {
                continue;
            }
            return landed;
        }
    }

    /// This asset's fill; started if there is none. Nobody needs to wait for it.
    pub(super) fn flight(self: &Arc<Self>, asset: &Asset, principal: &str, anew: bool) -> Flight {
        let mut under_way = self.stock.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(asset) {
            return flight.clone();
        }
        let flight = self.clone().start(asset.clone(), principal.to_owned(), anew);
        under_way.insert(asset.clone(), flight.clone());
        flight
    }

    fn start(self: Arc<Self>, asset: Asset, principal: String, anew: bool) -> Flight {
        let landing = Landing(self.clone(), asset.clone());
        let mut abandoned = self.stock.flights.abandoned.subscribe();
        let filling = async move {
            let _landing = landing;
            let fill = async {
                // The one before may have ended between our look and now.
                match self.kept(&asset, &principal).await {
                    Ok(Some(answer)) if self.is_good(&asset, &answer, anew) => Ok(Filled::Fresh(answer)),
                    Err(error) if !error.is_of_the_file() => Err(error.into()),
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

    fn is_good(&self, asset: &Asset, answer: &Answer, anew: bool) -> bool {
        self.age(asset, answer) == Age::Fresh && !(anew && answer.at.is_some())
    }

    /// Asks the chain, when it is this one's turn. `keep`: and keeps what comes.
    pub(super) async fn fetch(&self, asset: &Asset, principal: &str, keep: bool) -> Landed {
        let queue = match asset {
            Asset::Module(..) => &self.stock.queue,
            Asset::Sumdb(..) => &self.stock.sumdb_queue,
        };
        let turn = queue.turn(self.patience).await;
        let _turn = turn.map_err(|TooBusy(waited)| CacheError::Busy(waited))?;
        let taking = Taking { asset, principal, keep, witness: self.witness(asset, principal) };
        self.ask_all(taking).await
    }

    async fn ask_all(&self, mut taking: Taking<'_>) -> Landed {
        let Taking { asset, principal, .. } = taking;
        let mut walk = self.upstream.walk(asset.role());
        while let Some(hop) = walk.next() {
            let tried = match self.ask(hop, asset, principal).await {
                Ok(Reply::Absent(absent)) => {
                    walk.absent(absent);
                    continue;
                }
                Ok(Reply::Found(incoming)) => self.take(&mut taking, *incoming).await,
                Err(e) => Err(NotTaken::Failed(e)),
            };
            match tried {
                Ok(filled) => return Ok(filled),
                Err(NotTaken::Refused(error)) => return Err(error),
                Err(NotTaken::Failed(e @ UpstreamError::Denied(_))) => return Err(e.into()),
                Err(NotTaken::Failed(error)) => {
                    // That it is down was told when it went down, and why it is to be left alone when it said so.
                    if !matches!(error, UpstreamError::Down(_) | UpstreamError::Held { .. }) {
                        tracing::warn!(%asset, %error, "an upstream failed");
                    }
                    walk.failed(error);
                }
            }
        }
        let absent = walk.end()?;
        let stored = self.keep_absence(asset, &absent).await;
        Ok(Filled::Came { kept: Kept::Absent(absent), stored, voucher: None })
    }

    /// One hop, with a permit of its own.
    async fn ask(&self, hop: &Hop, asset: &Asset, principal: &str) -> Result<Reply, UpstreamError> {
        let permit = |path| self.stock.gate.permit(path, principal);
        match asset {
            Asset::Module(path, ask) => self.upstream.fetch(hop, Target::Module(&permit(path).await?, ask), principal).await,
            Asset::Sumdb(name, SumdbWhat::Lookup(path, version)) => {
                self.upstream.fetch(hop, Target::Lookup(name, &permit(path).await?, version), principal).await
            }
            Asset::Sumdb(name, SumdbWhat::Tile(tile)) => self.upstream.fetch(hop, Target::Tile(name, *tile), principal).await,
            Asset::Sumdb(name, SumdbWhat::Latest | SumdbWhat::Supported) => self.upstream.fetch(hop, Target::Head(name), principal).await,
        }
    }
}
