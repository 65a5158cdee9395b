//! `modgate claim`: what publishing made private, what an operator made public, and how to undo both.

use std::process::ExitCode;

use clap::Subcommand;

use super::connection::Connection;
use super::out;
use crate::admin::{ClaimLine, MakePublicAsk, MoveAsk, MoveDone, ReleaseAsk, Released};

/// The claim commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List claimed hosts, hosts made public, the paths of deleted modules that stay private, and hosts released for good
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Say that a host is public: private.unknown_hosts does not hold it, and publishing does not claim it
    Public {
        /// A host
        host: String,
    },
    /// Give up a claimed host, a host made public, or the path of a module whose last version was deleted
    Release {
        /// Also while modules of owners that are not public would no longer be kept private by anything but being hosted
        #[arg(long)]
        force: bool,
        /// A host, or a module path
        #[arg(value_name = "HOST|MODULE")]
        name: String,
    },
    /// Give a hosted module, all its versions, or the path of a deleted one to another owner
    Move {
        /// The module's path
        #[arg(value_name = "MODULE")]
        module: String,
        /// Who is to have it
        #[arg(long, value_name = "O")]
        owner: String,
    },
}

/// Runs one.
pub async fn run(server: &Connection, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { json } => {
            let lines: Vec<ClaimLine> = server.call("claims", &()).await?;
            let mut text = out::heading(*json || lines.is_empty(), &["KIND", "NAME", "OWNER", "SINCE", "BY"]);
            for line in lines {
                text += &if *json { out::json_line(&line)? } else { columns(&line) };
            }
            out::print(&text)?;
        }
        Command::Public { host } => {
            let made: Released = server.call("make-public", &MakePublicAsk { host: host.clone() }).await?;
            out::print(&format!("{}\n", made.text))?;
        }
        Command::Release { force, name } => {
            let released: Released = server.call("release", &ReleaseAsk { name: name.clone(), force: *force }).await?;
            out::print(&format!("{}\n", released.text))?;
        }
        Command::Move { module, owner } => {
            let moved: MoveDone = server.call("move", &MoveAsk { module: module.clone(), owner: owner.clone() }).await?;
            out::print(&format!("{}\n", moved.text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn columns(line: &ClaimLine) -> String {
    let (since, by) = (line.since.as_deref().unwrap_or_default(), line.by.as_deref().unwrap_or_default());
    format!("{}\t{}\t{}\t{since}\t{by}\n", line.kind, line.name, line.owner)
}
