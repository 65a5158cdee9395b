//! What an operator asks of a gateway: one set of commands, whether they come through `admin.sock`, over
//! `admin_listen`, or from a command line that found no server and opened the store itself.
//!
//! Arguments and answers are JSON values, so that all three ways are one.

mod claims;
mod explain;
mod names;
mod tokens;
mod verify;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::access::Access;
use crate::cache::{Cache, Stock};
use crate::config::Config;
use crate::egress::Policy;
use crate::observe::audit::Audit;
use crate::observe::metrics::Metrics;
use crate::store::{DataDir, Embedded, HealReport, StoreError, Stores};
use crate::upstream::Upstream;

pub use claims::{ClaimLine, ReleaseAsk, Released};
pub use explain::Explain;
pub use tokens::{TokenAsk, TokenLine, TokenMade, TokenRevoke};
pub use verify::{FindingLine, Verified};

/// The socket in the data directory at which a running server takes these commands.
pub const SOCKET_FILE: &str = DataDir::ADMIN_SOCKET;
/// Lines of the ledger that are given at once, at most.
const PAGE_MAX: usize = 10_000;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The arguments are wrong, or there is no such command.
    #[error("{0}")]
    Bad(String),
    /// What it names is not there.
    #[error("{0}")]
    Absent(String),
    /// Something stands against it.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// `egress`: lines from number `from` on.
#[derive(Debug, Serialize, Deserialize)]
pub struct EgressPage {
    /// The first line's number, from 0.
    pub from: u64,
    /// At most so many.
    pub limit: usize,
}

/// The commands, over the parts that they need.
pub struct Operations {
    /// The settings.
    pub config: Arc<Config>,
    /// The stores.
    pub stores: Stores,
    /// What may leave.
    pub policy: Arc<Policy>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// What came from upstream.
    pub cache: Cache,
    /// What was done.
    pub audit: Audit,
    /// Numbers.
    pub metrics: Arc<Metrics>,
}

/// The parts cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory, or the store in it.
    #[error(transparent)]
    Store(#[from] crate::store::OpenError),
    /// The way upstream.
    #[error(transparent)]
    Upstream(#[from] crate::upstream::SetupError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] crate::cache::OpenError),
    /// Access.
    #[error(transparent)]
    Access(#[from] crate::access::NoRandomness),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The thread that opens them ended.
    #[error("opening was cut off: {0}")]
    Cut(#[from] tokio::task::JoinError),
}

impl Operations {
    /// Opens the data directory and puts the parts together over it. What start-up mended is logged.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        tokio::task::spawn_blocking(move || Self::open_blocking(config)).await?
    }

    fn open_blocking(config: Config) -> Result<Self, OpenError> {
        let config = Arc::new(config);
        let data = Arc::new(DataDir::open(&config.data_dir)?);
        let (stores, healed) = Embedded::open(&data)?;
        log_healing(&healed);
        let policy = Arc::new(Policy::new(&config, stores.records.clone()));
        let access = Arc::new(Access::new(&config, stores.records.clone())?);
        let upstream = Arc::new(Upstream::new(&config.upstream, policy.clone())?);
        let stock = Stock::open(&data, &config.cache, policy.clone(), stores.records.clone())?;
        let cache = Cache::new(stock, &config.cache, config.limits.queue, upstream);
        let metrics = Arc::new(Metrics::new()?);
        Ok(Self { config, stores, policy, access, cache, audit: Audit::default(), metrics })
    }

    /// Runs a command by its name.
    pub async fn call(&self, command: &str, args: Value) -> Result<Value, OperationError> {
        match command {
            "explain" => told(self.explain(asked(args)?).await?),
            "egress" => {
                let EgressPage { from, limit } = asked(args)?;
                told(self.stores.records.ledger(from, limit.min(PAGE_MAX)).await?)
            }
            "claims" => told(self.claims().await?),
            "release" => told(self.release(asked(args)?).await?),
            "token-create" => told(self.token_create(asked(args)?).await?),
            "tokens" => {
                let tokens = self.stores.records.tokens().await?;
                told(tokens.iter().map(|token| TokenLine::of(token)).collect::<Vec<_>>())
            }
            "token-revoke" => {
                let TokenRevoke { id } = asked(args)?;
                if !self.stores.records.token_revoke(&id).await? {
                    return Err(OperationError::Absent(format!("there is no token {id}; `modgate token list` shows them")));
                }
                told(())
            }
            "verify" => told(self.verify().await?),
            "findings" => told(self.findings().await?),
            _ => Err(OperationError::Absent(format!("there is no command {command}"))),
        }
    }

    /// Whether storage can be written now.
    pub async fn writable(&self) -> Result<(), StoreError> {
        self.stores.records.writable().await
    }
}

/// Who an operator's command is done by, in records.
pub const OPERATOR: &str = "operator";

fn asked<T: DeserializeOwned>(args: Value) -> Result<T, OperationError> {
    serde_json::from_value(args).map_err(|e| OperationError::Bad(format!("arguments: {e}")))
}

fn told<T: Serialize>(value: T) -> Result<Value, OperationError> {
    serde_json::to_value(value).map_err(|e| OperationError::Bad(format!("answer: {e}")))
}

/// What start-up found and did: an operator reads it after a crash.
fn log_healing(report: &HealReport) {
    if !report.is_clean() {
        tracing::warn!(
            replayed = report.replayed,
            index_rebuilt = report.rebuilt,
            index_set_aside = report.set_aside.as_ref().map(|path| path.display().to_string()),
            blobs_removed = report.blobs_removed,
            records_removed = report.records_removed,
            tmp_removed = report.tmp_removed,
            torn_lines = report.torn_lines,
            "start-up mended what the last run left"
        );
    }
    for finding in &report.findings {
        tracing::error!(kind = %finding.kind, path = %finding.path.display(), "{}", finding.text);
    }
}

/// A time as people and scripts read it: RFC 3339, UTC.
fn rfc3339(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix.to_string())
}
