//! What an operator asks of a gateway: one set of commands, whether they come through `admin.sock`, over
//! `admin_listen`, or from a command line that found no server and opened the store itself.
//!
//! Arguments and answers are JSON values, so that all three ways are one.

mod audit;
mod backup;
mod cache;
mod claims;
mod explain;
mod foundation;
mod gc;
mod listening;
mod metrics;
mod moving;
mod names;
mod refresh;
mod retention;
mod sumdb;
mod tokens;
mod verify;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Mutex, RwLock};
use tracing::Instrument as _;

use crate::access::Access;
use crate::cache::Cache;
use crate::config::Config;
use crate::egress::Policy;
use crate::observe::audit::{Actor, Audit};
use crate::observe::metrics::Metrics;
use crate::stop::Stop;
use crate::store::{DataDir, StoreError, Stores};
use crate::sumdb::Client;
use crate::sumdb::log::{self, Log, OwnName};
use crate::upstream::Upstream;

pub use audit::AuditAsk;
pub use cache::{PurgeAsk, PurgeDone};
pub use claims::{ClaimLine, MakePublicAsk, ReleaseAsk, Released};
pub use explain::Explain;
pub use foundation::{Foundation, OpenError, SettingsError, log_settings};
pub use gc::{GcAsk, GcDone, GcLine};
pub use listening::Listening;
pub use moving::{MoveAsk, MoveDone};
pub use refresh::{RefreshAsk, RefreshLine};
pub use sumdb::{LogLine, SumdbLine, SumdbTrust, SumdbTrusted};
pub use tokens::{TokenAsk, TokenLine, TokenMade, TokenRevoke};
pub use verify::{FindingLine, UNVERIFIED, Verified};

/// The socket in the data directory at which a running server takes these commands.
pub const SOCKET_FILE: &str = DataDir::ADMIN_SOCKET;
/// Lines of the ledger that are given at once, at most.
const PAGE_MAX: usize = 10_000;

/// The command that answers with an archive: [`Operations::backup`].
pub const BACKUP: &str = "backup";

/// The command that may bring a settings file with password hashes: [`Operations::findings`]. Such a file comes over `admin.sock` alone.
pub const FINDINGS: &str = "findings";

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
    /// The process ends, and what takes long was not done to its end.
    #[error("the gateway is ending: {0}")]
    Ending(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store failed midway.
    #[error("{done}; the rest failed: {source}")]
    Midway {
        /// What was done, for people.
        done: String,
        /// Why no more.
        #[source]
        source: StoreError,
    },
}

/// `egress`: lines from number `from` on.
#[derive(Debug, Serialize, Deserialize)]
pub struct EgressPage {
    /// The first line's number, from 0.
    pub from: u64,
    /// At most so many.
    pub limit: usize,
}

/// The commands, over the parts that they need, under one set of settings.
pub struct Operations {
    /// The settings.
    pub config: Arc<Config>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The stores.
    pub stores: Stores,
    /// What may leave.
    pub policy: Arc<Policy>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// The way upstream.
    pub upstream: Arc<Upstream>,
    /// What came from there.
    pub cache: Cache,
    /// Who verifies what the public checksum database says; nobody where nothing is verified.
    pub sumdb: Option<Client>,
    /// Our own checksum database, if there is one.
    pub log: Option<Arc<Log>>,
    /// Why it cannot be used, though it should be there. Where a server runs it can.
    pub log_wrong: Option<Arc<log::OpenError>>,
    /// What it is called, also where it is off.
    pub own_name: OwnName,
    /// What was done.
    pub audit: Audit,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// Asked when the process ends: what takes long stops then.
    pub stop: Stop,
    /// Held by each command that was begun.
    begun: Arc<RwLock<()>>,
    /// Held while `findings` are looked for.
    looking: Arc<Mutex<()>>,
}

impl Operations {
    /// As [`Operations::call`], in a task of its own: what was begun is done to its end and recorded, whether anyone still waits or not.
    pub async fn begin(self: &Arc<Self>, command: &str, args: Value, actor: &Actor) -> Result<Value, OperationError> {
        let (operations, command, actor) = (self.clone(), command.to_owned(), actor.clone());
        let begun = self.begun.clone().read_owned().await;
        let doing = async move {
            let done = operations.call(&command, args, &actor).await;
            drop(begun);
            done
        };
        tokio::spawn(doing.in_current_span()).await.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))?
    }

    /// Returns when nothing is under way that was begun, under whichever settings.
    pub async fn ended(&self) {
        drop(self.begun.write().await);
    }

    /// Runs a command by its name. `actor`: for whom, for the audit trail.
    pub async fn call(&self, command: &str, args: Value, actor: &Actor) -> Result<Value, OperationError> {
        match command {
            "explain" => told(self.explain(asked(args)?).await?),
            "egress" => {
                let EgressPage { from, limit } = asked(args)?;
                told(self.stores.records.ledger(from, limit.min(PAGE_MAX)).await?)
            }
            "claims" => told(self.claims().await?),
            "make-public" => told(self.make_public(asked(args)?, actor).await?),
            "release" => told(self.release(asked(args)?, actor).await?),
            "move" => told(self.move_path(asked(args)?, actor).await?),
            "token-create" => told(self.token_create(asked(args)?, actor).await?),
            "tokens" => {
                let tokens = self.stores.records.tokens().await?;
                told(tokens.iter().map(|token| TokenLine::of(token)).collect::<Vec<_>>())
            }
            "token-revoke" => told(self.token_revoke(asked(args)?, actor).await?),
            "purge" => told(self.purge(asked(args)?, actor).await?),
            "gc" => told(self.gc(asked(args)?, actor).await?),
            "audit" => told(self.audit_page(asked(args)?).await?),
            "refresh" => told(self.refresh(asked(args)?).await?),
            "sumdb-own" => told(self.sumdb_own()?),
            "sumdb" => told(self.sumdb_state()?),
            "sumdb-trust" => told(self.sumdb_trust(asked(args)?, actor).await?),
            "verify" => told(self.verify(actor).await?),
            "rebuild" => told(self.stores.verify.rebuild().await?),
            FINDINGS => told(self.findings(asked(args)?).await?),
            "listening" => told(Listening::of(&self.config.server)),
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

/// A time as people and scripts read it: RFC 3339, UTC.
fn rfc3339(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix.to_string())
}

#[cfg(test)]
mod tests;
