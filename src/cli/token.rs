//! `modgate token`: make, list and revoke tokens.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::connection::Connection;
use super::{UsageError, out};
use crate::admin::{TokenAsk, TokenLine, TokenMade, TokenRevoke};
use crate::config;

/// The token commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it: it is shown this once
    Create {
        /// What you call it
        #[arg(long)]
        name: String,
        /// What it may do: read, publish, delete, admin
        #[arg(long, value_delimiter = ',', required = true)]
        scope: Vec<String>,
        /// Bind it to these owners
        #[arg(long, value_delimiter = ',')]
        owner: Vec<String>,
        /// When it ends, from now: 30d, 12h
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// List tokens, without their secrets
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token, or all of a name, at once
    Revoke {
        /// Its id, as `token list` shows it, or its name: then all that are called so
        #[arg(value_name = "ID|NAME")]
        id: String,
    },
}

/// Runs one.
pub async fn run(server: &Connection, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create { name, scope, owner, expires, json } => {
            let duration = |text: &String| {
                config::parse_duration(text).ok_or_else(|| UsageError(format!("--expires {text}: no duration, like 30d or 12h")))
            };
            let expires: Option<Duration> = expires.as_ref().map(duration).transpose()?;
            let ask = TokenAsk {
                name: name.clone(),
                scopes: scope.clone(),
                owners: owner.clone(),
                expires_in_s: expires.map(|duration| duration.as_secs()),
            };
            let made: TokenMade = server.call("token-create", &ask).await?;
            if *json {
                out::print_json(&made)?;
            } else {
                out::print(&format!("{}\n", made.token))?;
                out::tell(&format!("its id is {}: `modgate token revoke {}` ends it", made.id, made.id));
            }
        }
        Command::List { json } => {
            let lines: Vec<TokenLine> = server.call("tokens", &()).await?;
            let mut text = out::heading(*json || lines.is_empty(), &["ID", "NAME", "SCOPES", "OWNERS", "CREATED", "ENDS"]);
            for line in lines {
                text += &if *json { out::json_line(&line)? } else { columns(&line) };
            }
            out::print(&text)?;
        }
        Command::Revoke { id } => {
            let revoked: Vec<TokenLine> = server.call("token-revoke", &TokenRevoke { id: id.clone() }).await?;
            out::print(&revoked.iter().map(|line| format!("revoked\t{}\t{}\n", line.id, line.name)).collect::<String>())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn columns(line: &TokenLine) -> String {
    let ends = line.expires.as_deref().map_or_else(
        || "no end".to_owned(),
        |end| match line.expired {
            true => format!("expired {end}"),
            false => format!("expires {end}"),
        },
    );
    let (scopes, owners) = (line.scopes.join(","), line.owners.join(","));
    format!("{}\t{}\t{scopes}\t{owners}\tcreated {}\t{ends}\n", line.id, line.name, line.created)
}
