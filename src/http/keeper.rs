//! Keeps the certificate of the HTTPS listeners current: files that are changed are read anew, one of the local CA is renewed, and
//! other settings put another in its place. Connections that stand go on; new ones are shown what is current.
//!
//! Invariant: what is shown was whole. Files that are half written, or do not fit each other, change nothing until they do.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::Instant;

use super::local_ca::LocalCa;
use super::tls::{self, Certificates, TlsError};
use crate::observe::spawn_blocking;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked whether a certificate of the local CA is due.
const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// Where a certificate comes from.
#[derive(Debug)]
enum Source {
    Files(Files),
    Local { ca: LocalCa, due: Instant },
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    /// Of both files when what is shown was read from them.
    shown: [Option<Stamp>; 2],
    /// What is wrong with them since, as it was told.
    told: Option<String>,
}

impl Files {
    /// What to show from now on, if the files have changed. While they cannot be used they are tried at each look.
    fn look(&mut self) -> Option<Arc<CertifiedKey>> {
        let now = [&self.cert, &self.key].map(|path| stamp(path));
        if now == self.shown {
            self.told = None;
            return None;
        }
        match tls::load(&self.cert, &self.key) {
            Ok(pair) => {
                (self.shown, self.told) = (now, None);
                tracing::info!(cert = %self.cert.display(), "new connections are shown the certificate that was put there");
                Some(pair)
            }
            Err(error) => {
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the certificate's files changed and cannot be used: the one before is shown");
                    self.told = Some(text);
                }
                None
            }
        }
    }
}

/// What changes when a file does: device, inode, length, and the times of its content and of itself, in nanoseconds.
type Stamp = (u64, u64, u64, [i64; 4]);

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]))
}

/// A certificate that can be shown, and where the next ones come from.
#[derive(Debug)]
pub struct Prepared {
    source: Source,
    pair: Arc<CertifiedKey>,
}

impl Prepared {
    /// From a chain and its key, PEM. Reads the files.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn from_files(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        // Looked at before they are read: a change in between is seen at the next look.
        let shown = [cert, key].map(stamp);
        let pair = tls::load(cert, key)?;
        Ok(Self { source: Source::Files(Files { cert: cert.to_owned(), key: key.to_owned(), shown, told: None }), pair })
    }

    /// From a local CA.
    pub fn from_local(ca: LocalCa) -> Self {
        let pair = ca.pair();
        Self { source: Source::Local { ca, due: Instant::now() + RENEW_EVERY }, pair }
    }
}

/// Keeps a certificate current.
#[derive(Debug)]
pub struct Keeper {
    certificates: Arc<Certificates>,
    source: Mutex<Source>,
}

impl Keeper {
    /// Shows what was prepared.
    pub fn new(prepared: Prepared) -> Self {
        Self { certificates: Certificates::of(prepared.pair), source: Mutex::new(prepared.source) }
    }

    /// For the HTTPS listeners.
    pub fn certificates(&self) -> Arc<Certificates> {
        self.certificates.clone()
    }

    /// Shows what was prepared, and keeps that current from now on. Waits for a look that is under way.
    pub fn replace(&self, prepared: Prepared) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        *source = prepared.source;
        self.certificates.swap(prepared.pair);
    }

    /// Looks every few seconds until `stop` is true or its sender gone.
    pub async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let this = self.clone();
            if let Err(error) = spawn_blocking(move || this.look()).await {
                tracing::error!(%error, "cannot look after the certificate");
            }
        }
    }

    /// Shows another certificate if there is one. What is wrong is told once. Reads and writes files.
    fn look(&self) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match &mut *source {
            Source::Files(files) => files.look(),
            Source::Local { due, .. } if Instant::now() < *due => None,
            Source::Local { ca, due } => {
                *due = Instant::now() + RENEW_EVERY;
                match ca.renew(SystemTime::now()) {
                    Ok(()) => Some(ca.pair()),
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "cannot renew the local certificate");
                        None
                    }
                }
            }
        };
        if let Some(pair) = found {
            self.certificates.swap(pair);
        }
    }
}

#[cfg(test)]
mod tests;
