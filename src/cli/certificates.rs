//! The certificate that `server.tls` asks for, and what clients need to trust it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::{Config, Sourced, Tls};
use crate::http::keeper::Prepared;
use crate::http::local_ca;
use crate::http::paste::Trust;
use crate::http::tls::TlsError;

/// Reads the certificate's files, or mends the local CA; `None` without `server.tls`.
///
/// # Errors
/// What is wrong, with file, line and key.
pub(super) fn prepare(config: &Config) -> anyhow::Result<Option<Prepared>> {
    match &config.server.tls {
        None => Ok(None),
        Some(Tls::Files { cert, key }) => Prepared::from_files(&cert.value, &key.value).map(Some).map_err(|error| named(error, cert, key)),
        Some(Tls::Local) => {
            let host = config.server.public_url.as_ref().and_then(|url| url.host_str().map(str::to_owned));
            let names: Vec<String> = host.into_iter().collect();
            let ca = local_ca::ensure(&local_ca::folder(&config.data_dir), &names).context("server.tls = \"local\"")?;
            Ok(Some(Prepared::from_local(ca)))
        }
    }
}

/// An error and the setting that it is about: `file:line: key: …`.
pub(super) fn named(error: TlsError, cert: &Sourced<PathBuf>, key: &Sourced<PathBuf>) -> anyhow::Error {
    let is_key = error.file() == Some(key.value.as_path());
    let (name, source) = if is_key { ("server.tls.key", &key.source) } else { ("server.tls.cert", &cert.source) };
    anyhow::Error::new(error).context(format!("{source}: {name}"))
}

/// With a CA of our own: what clients trust it by.
pub(super) fn trust(config: &Config) -> std::io::Result<Option<Trust>> {
    if config.server.tls != Some(Tls::Local) {
        return Ok(None);
    }
    let folder = local_ca::folder(&config.data_dir);
    let absolute = |path: &Path| std::path::absolute(path);
    Ok(Some(Trust { bundle: absolute(&local_ca::bundle_file(&folder))?, ca: absolute(&local_ca::ca_file(&folder))? }))
}
