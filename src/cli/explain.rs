//! `modgate explain`: may this module leave, and which rule says so.

use std::process::ExitCode;

use clap::Args;

use super::connection::Connection;
use super::out;
use crate::admin::Explain;
use crate::egress::Explanation;

/// What to explain.
#[derive(Debug, Args)]
pub struct Options {
    /// A module path, with or without @VERSION, or the address of its repository
    module: String,
    /// Tell also whether this user sees it
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the class, the rule and where it was set.
pub async fn run(server: &Connection, options: &Options) -> anyhow::Result<ExitCode> {
    let ask = Explain { module: options.module.clone(), user: options.user.clone() };
    let told: Explanation = server.call("explain", &ask).await?;
    if options.json {
        out::print_json(&told)?;
    } else {
        out::print(&told.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
