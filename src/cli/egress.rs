//! `modgate egress`: every module path that was ever sent upstream.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::connection::Connection;
use super::out;
use crate::admin::EgressPage;
use crate::store::LedgerLine;

/// Lines asked for at once.
const PAGE: usize = 1000;

/// How to print it.
#[derive(Debug, Args)]
pub struct Options {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints the ledger, oldest first.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let mut from = 0;
    loop {
        let lines: Vec<LedgerLine> = server.call("egress", &EgressPage { from, limit: PAGE }).await?;
        let mut text = out::heading(options.json || from > 0 || lines.is_empty(), &["TIME", "PATH", "PRINCIPAL", "RULE"]);
        for line in &lines {
            if options.json {
                text += &out::json_line(line)?;
            } else {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}\t{}\t{}\t{}", line.time, line.path, line.principal, line.rule);
            }
        }
        if !out::print(&text)? || lines.len() < PAGE {
            return Ok(ExitCode::SUCCESS);
        }
        from += lines.len() as u64;
    }
}
