//! `modgate verify`: re-hashes everything that is kept.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connection;
use super::{FAILED, out};
use crate::admin::Verified;

/// How to print it.
#[derive(Debug, Args)]
pub struct Options {
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// First make the index anew from the records; readers wait meanwhile
    #[arg(long)]
    rebuild: bool,
}

/// Prints a line a finding, then the counts; fails if there was any.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    if options.rebuild {
        let () = server.call("rebuild", &()).await?;
    }
    let verified: Verified = server.call("verify", &()).await?;
    if options.json {
        out::print_json(&verified)?;
    } else {
        let mut text = out::heading(verified.findings.is_empty(), &["KIND", "PATH", "WHAT"]);
        text.extend(verified.findings.iter().map(|line| format!("{}\t{}\t{}\n", line.kind, line.path, line.text)));
        text += &conclusion(&verified);
        out::print(&text)?;
    }
    Ok(if verified.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The last line: how much was looked at, and whether all of it is as it was written.
fn conclusion(verified: &Verified) -> String {
    let word = match verified.findings.len() {
        0 => "ok".to_owned(),
        1 => "1 finding".to_owned(),
        findings => format!("{findings} findings"),
    };
    format!("{word}: {} hosted, {} cached\n", verified.hosted, verified.cached)
}
