//! `modgate sumdb`: this gateway's own checksum database; and which tree of the public one is believed.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::connection::Connection;
use super::{FAILED, out};
use crate::admin::{LogLine, SumdbLine, SumdbTrust, SumdbTrusted};
use crate::sumdb::Side;

/// Without a command: this gateway's own database.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// The commands about the public database.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the newest head that was seen; or, where the database showed two trees, one head of each, and fail
    State {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Where the database showed two trees: say which one is believed, so that new modules are taken in again
    ///
    /// `modgate sumdb state` prints both heads. Compare them with what others see of the database, over another network. What was
    /// verified by the other tree stays in the cache, and the two notes stay below sumdb/ in the data directory: signed, they prove what
    /// the database did.
    Trust {
        /// kept: the tree that was known first. shown: the one that was seen later and contradicts it
        #[arg(value_name = "kept|shown")]
        which: Which,
    },
}

/// One of two heads.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Which {
    /// The tree that was known first
    Kept,
    /// The tree that was seen later
    Shown,
}

/// Runs one.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let Some(command) = &options.command else {
        let line: LogLine = server.call("sumdb-own", &()).await?;
        // The key alone on its line: `$(modgate sumdb | head -n 1)` is a GOSUMDB.
        let text = || format!("{}\nsize {}\nroot {}\n", line.key, line.size, line.root);
        out::print(&if options.json { out::json_line(&line)? } else { text() })?;
        return Ok(ExitCode::SUCCESS);
    };
    match command {
        Command::State { json } => {
            let lines: Vec<SumdbLine> = server.call("sumdb", &()).await?;
            let mut text = String::new();
            for line in &lines {
                text += &if *json {
                    out::json_line(line)?
                } else {
                    format!("{}\t{}\t{}\t{}\n", line.what, line.database, line.size, line.root)
                };
            }
            out::print(&text)?;
            Ok(if lines.len() > 1 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
        }
        Command::Trust { which } => {
            let side = match which {
                Which::Kept => Side::Kept,
                Which::Shown => Side::Shown,
            };
            let trusted: SumdbTrusted = server.call("sumdb-trust", &SumdbTrust { side }).await?;
            out::print(&format!("{}\n", trusted.text))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
