//! `modgate refresh`: drops what is cached of a module, so that it is fetched anew.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connection;
use super::out;
use crate::admin::{PurgeAsk, PurgeDone};

/// What to drop.
#[derive(Debug, Args)]
pub struct Options {
    /// Drop every cached file of it
    #[arg(long, required = true)]
    purge: bool,
    /// A module, or one version of it
    #[arg(value_name = "MODULE[@VERSION]")]
    module: String,
}

/// Prints how much was dropped.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let done: PurgeDone = server.call("purge", &PurgeAsk { module: options.module.clone() }).await?;
    out::print(&format!("purged: {} files, {} bytes\n", done.files, done.bytes))?;
    Ok(ExitCode::SUCCESS)
}
