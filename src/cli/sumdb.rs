//! `modgate sumdb`: which tree of the public checksum database is believed.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::connection::Connection;
use super::{FAILED, out};
use crate::admin::{SumdbLine, SumdbTrust, SumdbTrusted};
use crate::sumdb::Side;

/// The checksum database's commands.
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
pub async fn run(server: &Connection, command: &Command) -> anyhow::Result<ExitCode> {
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
