//! `modgate serve`: puts the parts together and runs them until a signal ends it.

mod reload;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::reload::Running;
use super::{Global, certificates, descriptors, notify, out, samples};
use crate::access::{self, ADMIN_TOKEN_FILE};
use crate::admin::{Foundation, Operations, SOCKET_FILE};
use crate::cache::{FIRST_REST, Rounds};
use crate::config::{self, Environment, Flags, Loaded};
use crate::http::front::{Front, House};
use crate::http::keeper::Keeper;
use crate::http::paste::{self, Checksums, Reached};
use crate::http::{Drained, Inherited, Server};
use crate::observe::logs::{self, Logging};
use crate::stop::Stop;
use crate::store::DataDir;

/// Beyond the `server.drain` of the process before us, which lets go of the data directory within that.
const HANDOVER_GRACE: Duration = Duration::from_secs(5);
/// How long threads have at the very end that still read or write. What a drain takes beyond its own time, with this, is less than
/// [`HANDOVER_GRACE`].
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);
/// Between two looks at whether it has.
const HANDOVER_PAUSE: Duration = Duration::from_millis(20);

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
    let inherited = Inherited::from_env().context("the sockets that the service manager passed on")?;
    let flags = global.flags(&options.listen, &options.tls_listen);
    let loaded = config::load(&flags, &Environment::of_process())?;
    let server = &loaded.config.server;
    if server.listen.is_empty() && server.listen_unix.is_empty() && server.tls_listen.is_empty() {
        bail!("nothing to listen on: set server.listen or server.tls_listen, or give --listen ADDRESS");
    }
    let logging = logs::init(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(flags, loaded, logging, inherited));
    // A thread that hangs on a disk must not keep the data directory from the next process.
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    served?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(flags: Flags, loaded: Loaded, logging: Logging, inherited: Inherited) -> anyhow::Result<()> {
    // Signals are caught before anything that they could cut in half.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    if !inherited.is_empty() {
        tokio::select! {
            () = predecessor(&loaded.config) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
    let (foundation, operations) = Foundation::open(loaded.config.clone()).await?;
    let config = operations.config.clone();
    let new_token = access::ensure_admin_token(&config.data_dir, &*operations.stores.records).await?;
    let keeper = certificates::prepare(&config)?.map(|prepared| Arc::new(Keeper::new(prepared)));
    let server = Server {
        plain: config.server.listen.clone(),
        unix: config.server.listen_unix.clone(),
        tls: config.server.tls_listen.clone(),
        certificates: keeper.as_ref().map(|keeper| keeper.certificates()),
        admin: config.server.admin_listen,
        admin_socket: Some(config.data_dir.join(SOCKET_FILE)),
        inherited,
    };
    let bound = server.bind(&config.limits)?;
    let addresses = bound.addresses().clone();
    let reached = Reached::new(&config, &addresses);
    warn_of(&operations).await;
    greet(&operations, &reached, new_token.as_deref()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        settings = config.file.as_ref().map(|file| file.display().to_string()),
        data_dir = %config.data_dir.display(),
        http = reached.http,
        https = reached.https,
        listen = listed(addresses.plain.iter().map(ToString::to_string).chain(config.server.listen_unix.iter().map(|path| unix(path)))),
        tls_listen = listed(addresses.tls.iter().map(ToString::to_string)),
        admin_listen = listed(addresses.admin.iter().map(ToString::to_string)),
        admin_socket = unix(&config.data_dir.join(SOCKET_FILE)),
        "serving"
    );
    let (stop, stopping) = watch::channel(false);
    let front = Arc::new(Front::new(House::new(operations, reached, stopping.clone())));
    let (bounds, bounds_seen) = watch::channel(reload::bounds(&loaded));
    let serving = tokio::spawn(bound.run(front.clone(), stopping.clone(), bounds_seen));
    if let Some(keeper) = keeper.clone() {
        tokio::spawn(keeper.keep(stopping.clone()));
    }
    tokio::spawn(recheck(front.clone(), foundation.stop().clone(), stopping.clone()));
    let foundation = Arc::new(foundation);
    let mut running = Running { flags, loaded, foundation, front, keeper, bounds, logging, addresses, draining: stopping, resizing: None };
    notify::ready();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => running.reload().await,
        }
    }
    running.foundation.stop().ask();
    // From here on only the front holds the stores, and lets go of them before the last answers are sent.
    drop(running);
    notify::stopping();
    tracing::info!("draining");
    // The receivers live in the server that is waited for below.
    let _ = stop.send(true);
    match serving.await? {
        Drained::Whole => tracing::info!("drained"),
        Drained::Cut => tracing::warn!("requests were cut: they had not ended in time"),
    }
    Ok(())
}

/// Reads what is cached again, a file at a time, until the server drains.
async fn recheck(front: Arc<Front>, stop: Stop, mut stopping: watch::Receiver<bool>) {
    let (mut rounds, mut rest) = (Rounds::default(), FIRST_REST);
    loop {
        // It holds on to nothing while it rests: the house may be another one after that, or none.
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let Some(cache) = front.house().map(|house| house.operations().cache.clone()) else { return };
        rest = cache.recheck(&mut rounds, &stop).await;
    }
}

/// Listeners for the log; `None` if there are none.
fn listed(listeners: impl Iterator<Item = String>) -> Option<String> {
    let listed = listeners.collect::<Vec<_>>().join(", ");
    (!listed.is_empty()).then_some(listed)
}

/// A Unix socket as the settings write it.
fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Waits while the process before us, whose sockets were passed on to us, still works in the data directory. Gives up when it should
/// long have ended; then opening the directory fails, and says who is there.
async fn predecessor(config: &config::Config) {
    if DataDir::is_free(&config.data_dir) {
        return;
    }
    notify::waiting("waiting for the process before to let go of the data directory");
    let gone = async {
        while !DataDir::is_free(&config.data_dir) {
            tokio::time::sleep(HANDOVER_PAUSE).await;
        }
    };
    let _ = tokio::time::timeout(config.server.drain + HANDOVER_GRACE, gone).await;
}

/// What an operator should know before the first request.
async fn warn_of(operations: &Operations) {
    match operations.findings(None).await {
        Ok(findings) => findings.iter().for_each(|finding| tracing::warn!("{finding}")),
        Err(error) => tracing::error!("what is hosted cannot be looked over: {error}"),
    }
}

/// The lines to paste go to standard output, the log to standard error. The token is shown once, on a terminal only.
async fn greet(operations: &Operations, reached: &Reached, new_token: Option<&str>) -> anyhow::Result<()> {
    let config = &operations.config;
    let mut checksums = match &operations.log {
        Some(log) => Checksums::Own(Box::new(log.key().clone())),
        None => Checksums::Private(operations.all_private_names().await?),
    };
    let token_file = absolute(&config.data_dir.join(ADMIN_TOKEN_FILE))?;
    let trust = certificates::trust(config)?;
    let mut text = if config.file.is_some() {
        paste::serving(reached, trust.as_ref(), &checksums)
    } else {
        let samples = samples::write(&absolute(&config.data_dir)?)?;
        if let Checksums::Private(names) = &mut checksums {
            names.insert(samples::HOST.to_owned());
        }
        paste::first_run(reached, &token_file, trust.as_ref(), &checksums, &samples)
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
