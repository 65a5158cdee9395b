//! Logs go to standard error: text on a terminal, JSON otherwise.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// The log of this process.
pub struct Logging(reload::Handle<Targets, Registry>);

impl Logging {
    /// Takes another `log.level`; how lines look stays.
    pub fn set_level(&self, level: Level) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "log.level cannot be changed");
        }
    }
}

/// What is told at this level.
fn filter(level: Level) -> Targets {
    // The server's libraries speak up about every handshake that fails; what matters of it is in our own lines.
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("modgate", level)
        .with_target("access", level)
        // What was done is told however quiet the rest is.
        .with_target("audit", level.max(Level::INFO))
        .with_target("pingora_core", LevelFilter::OFF)
        .with_target("sled", LevelFilter::OFF)
}

/// Starts logging for this process. The binary alone calls this; a library that is tested has no logs of its own.
pub fn init(log: &Log) -> Logging {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(filter);
    let text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if text {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal())).init();
    } else {
        registry.with(lines.json().flatten_event(true).with_current_span(true).with_span_list(false)).init();
    }
    Logging(handle)
}
