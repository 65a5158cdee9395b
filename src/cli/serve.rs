//! `modgate serve`: puts the parts together and runs them until a signal ends it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Global, out, samples};
use crate::access::{self, ADMIN_TOKEN_FILE};
use crate::admin::{Foundation, Operations, SOCKET_FILE};
use crate::config::{Config, Tls};
use crate::http::front::{Front, House};
use crate::http::paste::{self, Reached, Trust};
use crate::http::{Drained, Server, local_ca, tls::Certificates};
use crate::observe::logs;

/// Where to listen, over what the settings say.
#[derive(Debug, Args)]
pub struct Options {
    /// Plain HTTP listener; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// HTTPS listener; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    tls_listen: Vec<String>,
}

/// Runs the gateway. Returns when it has drained.
pub fn run(global: &Global, options: &Options) -> anyhow::Result<ExitCode> {
    let loaded = global.load(&options.listen, &options.tls_listen)?;
    let server = &loaded.config.server;
    if server.listen.is_empty() && server.tls_listen.is_empty() {
        bail!("nothing to listen on: set server.listen or server.tls_listen, or give --listen ADDRESS");
    }
    logs::init(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(loaded.config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Signals are caught before anything that they could cut in half.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (_foundation, operations) = Foundation::open(config).await?;
    let config = operations.config.clone();
    let new_token = access::ensure_admin_token(&config.data_dir, &*operations.stores.records).await?;
    let (stop, stopping) = watch::channel(false);
    let Https { certificates, trust } = tls(&config, &stopping)?;
    let server = Server {
        plain: config.server.listen.clone(),
        tls: config.server.tls_listen.clone(),
        certificates,
        admin: config.server.admin_listen,
        admin_socket: Some(config.data_dir.join(SOCKET_FILE)),
    };
    let bound = server.bind(&config.limits)?;
    let reached = Reached::new(&config, bound.addresses());
    warn_of(&operations).await;
    greet(&operations, &reached, trust.as_ref(), new_token.as_deref()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        settings = config.file.as_ref().map(|file| file.display().to_string()),
        data_dir = %config.data_dir.display(),
        http = reached.http,
        https = reached.https,
        "serving"
    );
    let front = Arc::new(Front::new(House::new(operations, reached, stopping.clone())));
    let serving = tokio::spawn(bound.run(front, stopping, config.server.drain));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
    // The receivers live in the server that is waited for below.
    let _ = stop.send(true);
    match serving.await? {
        Drained::Whole => tracing::info!("drained"),
        Drained::Cut => tracing::warn!("requests were cut: they had not ended within server.drain"),
    }
    Ok(())
}

/// What the HTTPS listeners need, and what clients need for them.
#[derive(Default)]
struct Https {
    certificates: Option<Arc<Certificates>>,
    /// With a CA of our own.
    trust: Option<Trust>,
}

/// The certificate of the HTTPS listeners; a local one is kept renewed until `stopping`.
fn tls(config: &Config, stopping: &watch::Receiver<bool>) -> anyhow::Result<Https> {
    match &config.server.tls {
        None => Ok(Https::default()),
        Some(Tls::Files { cert, key }) => Ok(Https { certificates: Some(Certificates::from_files(cert, key)?), trust: None }),
        Some(Tls::Local) => {
            let host = config.server.public_url.as_ref().and_then(|url| url.host_str().map(str::to_owned));
            let names: Vec<String> = host.into_iter().collect();
            let folder = local_ca::folder(&config.data_dir);
            let ca = local_ca::ensure(&folder, &names).context("tls = \"local\"")?;
            let https = Https {
                certificates: Some(ca.certificates()),
                trust: Some(Trust { bundle: absolute(&local_ca::bundle_file(&folder))?, ca: absolute(&local_ca::ca_file(&folder))? }),
            };
            tokio::spawn(ca.keep_renewed(stopping.clone()));
            Ok(https)
        }
    }
}

/// What an operator should know before the first request.
async fn warn_of(operations: &Operations) {
    match operations.findings().await {
        Ok(findings) => findings.iter().for_each(|finding| tracing::warn!("{finding}")),
        Err(error) => tracing::error!("what is hosted cannot be looked over: {error}"),
    }
}

/// The lines to paste go to standard output, the log to standard error. The token is shown once, on a terminal only.
async fn greet(operations: &Operations, reached: &Reached, trust: Option<&Trust>, new_token: Option<&str>) -> anyhow::Result<()> {
    let config = &operations.config;
    let mut patterns = operations.all_private_names().await?;
    let token_file = absolute(&config.data_dir.join(ADMIN_TOKEN_FILE))?;
    let mut text = if config.file.is_some() {
        paste::serving(reached, &patterns)
    } else {
        let samples = samples::write(&absolute(&config.data_dir)?)?;
        patterns.insert(samples::HOST.to_owned());
        paste::first_run(reached, &token_file, trust, &patterns, &samples)
    };
    if let Some(token) = new_token {
        tracing::info!(file = %token_file.display(), "made an admin token");
        if std::io::stdout().is_terminal() {
            text += &format!("admin token (shown once; kept in {}): {token}\n\n", token_file.display());
        }
    }
    if let Err(error) = out::print(&text) {
        tracing::warn!(%error, "the lines to paste could not be printed");
    }
    Ok(())
}

/// For lines that are pasted elsewhere, where a relative path means another file.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}
