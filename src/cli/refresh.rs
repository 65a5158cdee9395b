//! `modgate refresh`: asks upstream again now for what is remembered of a module and may have changed, or drops what is cached.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connection;
use super::{FAILED, UsageError, out};
use crate::admin::{PurgeAsk, PurgeDone, RefreshAsk, RefreshLine};
use crate::module::path::PathError;
use crate::module::version::VersionError;

/// What to ask for again, or to drop.
#[derive(Debug, Args)]
pub struct Options {
    /// One JSON value
    #[arg(long)]
    json: bool,
    /// Drop every cached file of it instead
    #[arg(long)]
    purge: bool,
    /// A module, or one version of it
    #[arg(value_name = "MODULE[@VERSION]")]
    module: String,
}

/// Runs it.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    if options.purge { purge(server, options).await } else { refresh(server, options).await }
}

/// Prints how much was dropped.
async fn purge(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let done: PurgeDone = server.call("purge", &PurgeAsk { module: options.module.clone() }).await?;
    if options.json {
        out::print_json(&done)?;
    } else {
        out::print(&format!("purged: {} files, {} bytes\n", done.files, done.bytes))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a line a question: what was asked for, and the status of upstream's answer or how it failed. Fails if any did.
async fn refresh(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let lines: Vec<RefreshLine> = server.call("refresh", &asked(&options.module)?).await?;
    if options.json {
        out::print_json(&lines)?;
    } else {
        let said = |line: &RefreshLine| match (line.status, &line.error) {
            (Some(status), _) => status.to_string(),
            (None, error) => format!("failed: {}", error.as_deref().unwrap_or_default()),
        };
        let mut text = out::heading(lines.is_empty(), &["FILE", "STATUS"]);
        text.extend(lines.iter().map(|line| format!("{}\t{}\n", line.file, said(line))));
        out::print(&text)?;
    }
    Ok(if lines.iter().all(|line| line.status.is_some()) { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn asked(module: &str) -> Result<RefreshAsk, UsageError> {
    let (path, version) = match module.split_once('@') {
        Some((path, version)) => (path, Some(version.parse().map_err(|e: VersionError| UsageError(e.to_string()))?)),
        None => (module, None),
    };
    Ok(RefreshAsk { module: path.parse().map_err(|e: PathError| UsageError(e.to_string()))?, version })
}
