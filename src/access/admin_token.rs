//! The first token: a new data directory gets one for the admin, kept in a file that only its owner can read.

use std::io;
use std::path::{Path, PathBuf};

use super::token::{self, TokenError, new_token};
use super::token_hash;
use crate::durable::{Disk, DurableError};
use crate::observe::spawn_blocking;
use crate::store::{DataDir, Records, Scope, StoreError};

/// Its file in the data directory: the token and a newline, 0600.
pub const ADMIN_TOKEN_FILE: &str = DataDir::ADMIN_TOKEN;
/// The same before the store knows the token.
const PENDING_FILE: &str = "admin-token.new";
/// What the token is called.
const NAME: &str = "admin";

/// The first token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    /// The file could not be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] DurableError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token could not be made.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Gives a new data directory (no tokens, no file) an admin token without end. Its text comes back when it was made, once,
/// to be shown on a terminal; `None` if there is nothing to do. Called at every start, before anything is served.
///
/// The order, and what a crash after each step leaves:
/// 1. The text is durable in `admin-token.new`. The store does not know it yet; the next start goes on at 2 with this text.
/// 2. The store knows the token. The next start finds it there and goes on at 3.
/// 3. The file is durable as `admin-token`. Done: from here on it is only read by people, and revoking the token
///    is final, since a start that finds the file leaves the store alone.
pub async fn ensure_admin_token(data_dir: &Path, records: &dyn Records) -> Result<Option<String>, AdminTokenError> {
    let (file, pending) = (data_dir.join(ADMIN_TOKEN_FILE), data_dir.join(PENDING_FILE));
    if read(&file)?.is_some() {
        return Ok(None);
    }
    let found = read(&pending)?.filter(|text| token::looks_like_one(text));
    let (mut record, fresh) = new_token(NAME, vec![Scope::Admin], Vec::new(), None)?;
    let text = match found {
        Some(text) => {
            record.hash = token_hash(&text);
            text
        }
        None if records.tokens().await?.is_empty() => {
            let (to, bytes) = (pending.clone(), format!("{fresh}\n"));
            let tmp = data_dir.join("tmp");
            blocking(move |disk| disk.create_dirs(&tmp).and_then(|()| disk.write(&tmp, &to, bytes.as_bytes()))).await?;
            fresh
        }
        None => return Ok(None),
    };
    if records.token(&record.hash).await?.is_none() {
        records.token_put(record).await?;
    }
    blocking(move |disk| disk.rename(&pending, &file)).await?;
    Ok(Some(text))
}

/// The file's text without its newline; `None` if it is not there.
fn read(path: &Path) -> Result<Option<String>, AdminTokenError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AdminTokenError::Read { path: path.to_owned(), error }),
    }
}

async fn blocking(step: impl FnOnce(&Disk) -> Result<(), DurableError> + Send + 'static) -> Result<(), AdminTokenError> {
    match spawn_blocking(move || step(&Disk::default())).await {
        Ok(done) => Ok(done?),
        Err(died) => Err(StoreError::Unavailable(Box::new(died)).into()),
    }
}
