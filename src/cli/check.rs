//! `modgate check`: settings, data directory, listeners, the limit of file descriptors, the way upstream, keys and certificates, the
//! gateway's own checksum database, the clock, and what is hosted, all by the settings that a start or a reload would find now; a line a
//! finding. With `--server` no listener of this machine is tried.

mod clock;
mod descriptors;
mod disk;
mod environment;
mod keys;
mod listeners;
mod owners;
mod sockets;
mod sumdb;
mod upstream;

use std::process::ExitCode;

use super::connection::{self, Connection};
use super::{FAILED, Global, out};
use crate::admin::Listening;
use crate::config::{Config, ConfigError, Environment, Written};
use crate::observe::chain;

/// Prints a line a finding; fails if there was any.
pub fn run(global: &Global) -> anyhow::Result<ExitCode> {
    let loaded = match global.load(&[], &[]) {
        Ok(loaded) => loaded,
        Err(error) => match error.downcast_ref::<ConfigError>() {
            Some(problems) => {
                out::print(&format!("{problems}\n"))?;
                return Ok(ExitCode::from(FAILED));
            }
            None => return Err(error),
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = loaded.warnings;
    findings.extend(runtime.block_on(findings_of(global, &loaded.config)));
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    if findings.is_empty() {
        text += "ok\n";
    }
    out::print(&text)?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

async fn findings_of(global: &Global, config: &Config) -> Vec<String> {
    let mut findings = disk::findings(config);
    findings.extend(descriptors::findings(config));
    findings.extend(keys::findings(config));
    findings.extend(sumdb::findings(config));
    findings.extend(clock::findings(&config.data_dir));
    findings.extend(owners::findings(config));
    findings.extend(environment::findings(config));
    findings.extend(upstream::findings(&config.upstream).await);
    let mut running = None;
    // A directory that the first start will make holds nothing to be looked at; what stands against making it was told.
    if global.server.is_some() || !connection::is_unused(&config.data_dir) {
        let looked = async {
            let connection = Connection::open(global).await?;
            running = listening(&connection).await;
            sumdb::tell(&connection).await;
            hosted(global, &connection).await
        };
        findings.extend(looked.await.unwrap_or_else(|error| vec![format!("data_dir: {}", chain(error.as_ref()))]));
    }
    // A gateway elsewhere may be reached at a port here, by a tunnel or because it is this very one: its addresses are its own.
    if global.server.is_none() {
        findings.extend(listeners::findings(&config.server, running.as_ref()));
    }
    findings
}

/// Where the gateway of this data directory listens, if one runs.
async fn listening(connection: &Connection) -> Option<Listening> {
    match connection {
        Connection::Socket(_) => connection.call("listening", &()).await.ok(),
        Connection::Remote { .. } | Connection::Local(_) => None,
    }
}

/// What is hosted, from the gateway that runs, or from the data directory, which is opened for it: this finds one that cannot be used.
/// The settings that it is judged by are these here; those of a gateway elsewhere are its own.
async fn hosted(global: &Global, connection: &Connection) -> anyhow::Result<Vec<String>> {
    let written = match connection {
        Connection::Socket(_) => Some(Written::read(&global.flags(&[], &[]), &Environment::of_process())?),
        Connection::Remote { .. } | Connection::Local(_) => None,
    };
    connection.call("findings", &written).await
}
