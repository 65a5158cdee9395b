//! `modgate gc`: what is of no use any more, and what is kept though upstream has it no more.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connection;
use super::out;
use crate::admin::{GcAsk, GcDone, GcLine};

/// Whether to remove it.
#[derive(Debug, Args)]
pub struct Options {
    /// Remove what would go
    #[arg(long)]
    force: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Prints KIND, PATH, BYTES and WHY of each thing, then the sum.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let done: GcDone = server.call("gc", &GcAsk { force: options.force }).await?;
    if options.json {
        out::print_json(&done)?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = |line: &GcLine| format!("{}\t{}\t{}\t{}\n", line.kind, line.path, line.bytes, line.why);
    let mut text = out::heading(done.stays.is_empty() && done.goes.is_empty(), &["KIND", "PATH", "BYTES", "WHY"]);
    text.extend(done.stays.iter().chain(&done.goes).map(line));
    text += &match (options.force, done.files) {
        (_, 0) => "nothing to remove\n".to_owned(),
        (true, files) => format!("removed: {files} files, {} bytes\n", done.bytes),
        (false, files) => format!("would remove: {files} files, {} bytes; --force removes them\n", done.bytes),
    };
    out::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
