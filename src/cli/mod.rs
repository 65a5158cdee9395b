//! The command line: one file a subcommand.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Environment, Flags, Loaded};
use crate::observe::chain;

pub mod audit;
pub mod backup;
mod certificates;
mod descriptors;
pub mod check;
pub mod claim;
pub mod config;
pub mod connection;
pub mod egress;
pub mod explain;
pub mod gc;
pub mod healthcheck;
mod notify;
mod out;
pub mod password;
pub mod refresh;
mod samples;
pub mod serve;
pub mod sumdb;
pub mod token;
pub mod verify;

/// Exit code of a command that failed or found something.
pub const FAILED: u8 = 1;
/// Exit code of a command line that is not understood.
pub const USAGE: u8 = 2;

/// A caching reverse proxy and registry for Go modules: private modules stay private, public ones come through a cache.
#[derive(Debug, Parser)]
#[command(name = "modgate", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// The settings file [default: $MODGATE_CONFIG, else /etc/modgate/modgate.toml if there, else built in]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Ask the server at this URL (its admin_listen) with the token in MODGATE_TOKEN
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::Options),
    /// Check settings, data directory and certificates; a line a finding
    Check,
    /// Print every setting and where it comes from
    Config(config::Options),
    /// Tell whether a module may leave, and which rule says so
    Explain(explain::Options),
    /// List every module path that was ever sent upstream
    Egress(egress::Options),
    /// List what was done, and by whom
    Audit(audit::Options),
    /// List, release and move what publishing made private
    #[command(subcommand)]
    Claim(claim::Command),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Hash a password for the settings file
    Password,
    /// Ask upstream again now for what is remembered of a module and may have changed, or drop what is cached
    Refresh(refresh::Options),
    /// List, or remove, what is of no use any more
    Gc(gc::Options),
    /// Print the verifier key of this gateway's own checksum database, its size and its root; or see to the public one
    Sumdb(sumdb::Options),
    /// Re-hash everything that is kept
    Verify(verify::Options),
    /// Write all that cannot be made anew into one archive, while serving
    Backup(backup::Options),
    /// Put such an archive into a data directory that is empty
    Restore(backup::RestoreOptions),
    /// Succeed if the server answers and its storage is writable
    Healthcheck,
}

impl Global {
    /// Reads the settings; all that is wrong with them is in the error.
    fn load(&self, listen: &[String], tls_listen: &[String]) -> anyhow::Result<Loaded> {
        Ok(crate::config::load(&self.flags(listen, tls_listen), &Environment::of_process())?)
    }

    fn flags(&self, listen: &[String], tls_listen: &[String]) -> Flags {
        Flags { config: self.config.clone(), data_dir: self.data_dir.clone(), listen: listen.to_vec(), tls_listen: tls_listen.to_vec() }
    }
}

/// A command line that says something malformed, or something that nobody can do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Runs the command line. Errors are printed here, once.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(code) => code,
        Err(error) => {
            // There is nobody left to tell if this fails.
            let _ = writeln!(io::stderr(), "modgate: {}", out::plain(&chain(error.as_ref())));
            ExitCode::from(if error.is::<UsageError>() { USAGE } else { FAILED })
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    if global.server.is_some() && matches!(cli.command, Command::Serve(_) | Command::Config(_) | Command::Password | Command::Restore(_)) {
        return Err(UsageError("this command works on this machine alone: leave --server out".to_owned()).into());
    }
    match &cli.command {
        Command::Serve(options) => serve::run(global, options),
        Command::Check => check::run(global),
        Command::Config(options) => config::run(global, options),
        Command::Explain(options) => connected(global, async |server| explain::run(&server, options).await),
        Command::Egress(options) => connected(global, async |server| egress::run(&server, options).await),
        Command::Audit(options) => connected(global, async |server| audit::run(&server, options).await),
        Command::Claim(command) => connected(global, async |server| claim::run(&server, command).await),
        Command::Token(command) => connected(global, async |server| token::run(&server, command).await),
        Command::Password => password::run(),
        Command::Refresh(options) => connected(global, async |server| refresh::run(&server, options).await),
        Command::Gc(options) => connected(global, async |server| gc::run(&server, options).await),
        Command::Sumdb(options) => connected(global, async |server| sumdb::run(&server, options).await),
        Command::Verify(options) => connected(global, async |server| verify::run(&server, options).await),
        Command::Backup(options) => connected(global, async |server| backup::take(server, options).await),
        Command::Restore(options) => backup::put(global, options),
        Command::Healthcheck => healthcheck::run(global),
    }
}

/// Runs a command against the server that answers, or against the store itself.
fn connected(global: &Global, command: impl AsyncFnOnce(connection::Connection) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connection = connection::Connection::open(global).await?;
        command(connection).await
    })
}
