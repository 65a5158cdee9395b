//! `modgate refresh`: asks upstream again now for what is remembered of a module and may have changed.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connection;
use super::{FAILED, UsageError, out};
use crate::admin::{RefreshAsk, RefreshLine};
use crate::module::path::PathError;
use crate::module::version::VersionError;

/// What to ask for again.
#[derive(Debug, Args)]
pub struct Options {
    /// A JSON array
    #[arg(long)]
    json: bool,
    /// A module, or one version of it
    #[arg(value_name = "MODULE[@VERSION]")]
    module: String,
}

/// Prints a line a question: what was asked for, and the status of upstream's answer or how it failed. Fails if any did.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let lines: Vec<RefreshLine> = server.call("refresh", &asked(&options.module)?).await?;
    if options.json {
        out::print_json(&lines)?;
    } else {
        let said = |line: &RefreshLine| match (line.status, &line.error) {
            (Some(status), _) => status.to_string(),
            (None, error) => format!("failed: {}", error.as_deref().unwrap_or_default()),
        };
        out::print(&lines.iter().map(|line| format!("{}\t{}\n", line.file, said(line))).collect::<String>())?;
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
