//! What our own checksum database is called, also where it is off: of that one alone it is ever said that it is not here.

use std::fs;

use super::Log;
use crate::store::DataDir;
use crate::tlog::VerifierKey;

/// The name of our own database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnName {
    /// It is served.
    Served(String),
    /// It is off (`sumdb.enabled`), and was on once: clients may have its key.
    Off(String),
    /// There never was one.
    None,
}

impl OwnName {
    /// Of the log that is open, else of the one that the data directory says there was.
    pub fn of(log: Option<&Log>, data: &DataDir) -> Self {
        if let Some(log) = log {
            return Self::Served(log.key().name().to_owned());
        }
        let text = fs::read_to_string(data.log_verifier()).ok();
        let key = text.and_then(|text| text.trim_end().parse::<VerifierKey>().ok());
        key.map_or(Self::None, |key| Self::Off(key.name().to_owned()))
    }

    /// Whether clients are told that a database of this name is here. Every one is, as any other answer sends private names elsewhere;
    /// but our own where it is off, since nobody else has it.
    pub fn is_here(&self, name: &str) -> bool {
        !matches!(self, Self::Off(own) if own == name)
    }

    /// The same of a database that is asked by the last part of its name: ours alone is.
    pub fn is_here_by_hash(&self, hash: &str) -> bool {
        matches!(self, Self::Served(own) if own.rsplit('/').next() == Some(hash))
    }
}
