//! `sumdb-own`: our own checksum database. `sumdb`: which tree of the public checksum database is believed, and the decision where it showed two.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::observe::audit::{Actor, Event};
use crate::store::StoreError;
use crate::sumdb::{Client, Side};
use crate::tlog::Head;

/// What is said of our own database before a server ever ran.
const UNMADE: &str = "this gateway has no checksum database of its own yet: the next start makes it";

/// A head of the public checksum database.
#[derive(Debug, Serialize, Deserialize)]
pub struct SumdbLine {
    /// The database's name.
    pub database: String,
    /// `newest`; or, of a fork, `kept` and `shown`.
    pub what: String,
    /// How many records its tree has.
    pub size: u64,
    /// The tree's root, in base64.
    pub root: String,
}

/// Our own checksum database.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// Its verifier key: a client's `GOSUMDB`.
    pub key: String,
    /// How many records it has.
    pub size: u64,
    /// Its root, in base64.
    pub root: String,
}

/// `sumdb-trust`
#[derive(Debug, Serialize, Deserialize)]
pub struct SumdbTrust {
    /// Which of the two heads is believed from now on.
    pub side: Side,
}

/// What is believed now.
#[derive(Debug, Serialize, Deserialize)]
pub struct SumdbTrusted {
    /// One line.
    pub text: String,
}

impl Operations {
    /// The newest head, if one was seen, and those of a fork.
    pub(super) fn sumdb_state(&self) -> Result<Vec<SumdbLine>, OperationError> {
        let database = self.sumdb_client()?.database();
        let line = |what: &str, head: &Head| SumdbLine {
            database: database.name().to_owned(),
            what: what.to_owned(),
            size: head.size,
            root: head.root.to_string(),
        };
        Ok(match database.fork() {
            Some(fork) => vec![line("kept", fork.kept.head()), line("shown", fork.shown.head())],
            None => database.newest().iter().map(|newest| line("newest", newest)).collect(),
        })
    }

    /// Our own database.
    pub(super) fn sumdb_own(&self) -> Result<LogLine, OperationError> {
        let none = || match &self.log_wrong {
            Some(wrong) => OperationError::Refused(wrong.to_string()),
            None if self.config.sumdb.enabled => OperationError::Absent(UNMADE.to_owned()),
            None => OperationError::Absent("this gateway has no checksum database of its own: see sumdb.enabled".to_owned()),
        };
        let log = self.log.as_ref().ok_or_else(none)?;
        let head = *log.latest().head();
        Ok(LogLine { key: log.key().to_string(), size: head.size, root: head.root.to_string() })
    }

    pub(super) async fn sumdb_trust(&self, ask: SumdbTrust, actor: &Actor) -> Result<SumdbTrusted, OperationError> {
        let client = self.sumdb_client()?;
        let database = client.database();
        let trusted = database.trust(ask.side).await.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let Some(fork) = trusted else {
            return Err(OperationError::Refused(format!("{} shows one tree: there is nothing to decide", database.name())));
        };
        let head = fork.side(ask.side).head();
        let side = match ask.side {
            Side::Kept => "kept",
            Side::Shown => "shown",
        };
        let event = Event::SumdbTrusted { database: database.name().to_owned(), side, head: head.into() };
        self.audit.record_durably(actor, &[event]).await;
        Ok(SumdbTrusted {
            text: format!(
                "{} is believed by its head of {} records, {}; the other one was evidence, and is kept",
                database.name(),
                head.size,
                head.root
            ),
        })
    }

    fn sumdb_client(&self) -> Result<&Client, OperationError> {
        let none = || OperationError::Absent("no checksum database is verified here: see upstream.sumdb and upstream.verify".to_owned());
        self.sumdb.as_ref().ok_or_else(none)
    }
}
