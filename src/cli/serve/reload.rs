//! Settings that are read again at SIGHUP, all or nothing: whatever can fail is made first, and then all of it put in force.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::certificates;
use crate::admin::{Foundation, OPERATOR, Operations};
use crate::config::{Config, Environment, Flags, Loaded, Reloaded, load};
use crate::http::front::{Front, House};
use crate::http::keeper::{Keeper, Prepared};
use crate::http::paste::Reached;
use crate::http::{Addresses, Bounds};
use crate::observe::audit::{Actor, Event};
use crate::observe::logs::Logging;
use crate::observe::{chain, spawn_blocking};

/// A running gateway, as far as settings can change it.
pub(super) struct Running {
    /// The command line's.
    pub(super) flags: Flags,
    /// What holds.
    pub(super) loaded: Loaded,
    pub(super) foundation: Arc<Foundation>,
    pub(super) front: Arc<Front>,
    /// With HTTPS listeners.
    pub(super) keeper: Option<Arc<Keeper>>,
    pub(super) bounds: watch::Sender<Bounds>,
    pub(super) logging: Logging,
    pub(super) addresses: Addresses,
    pub(super) draining: watch::Receiver<bool>,
    /// The last reload's change of the cache's bounds.
    pub(super) resizing: Option<JoinHandle<()>>,
}

/// All that other settings need, made before any of it counts.
struct Plan {
    reloaded: Reloaded,
    operations: Operations,
    certificate: Option<Prepared>,
}

fn plan(flags: &Flags, running: &Loaded, foundation: &Foundation) -> anyhow::Result<Plan> {
    let reloaded = running.replaced_by(load(flags, &Environment::of_process())?)?;
    let config = &reloaded.loaded.config;
    let operations = foundation.plan(config.clone())?;
    let certificate = certificates::prepare(config)?;
    Ok(Plan { reloaded, operations, certificate })
}

impl Running {
    /// Reads the settings again and puts them in force, or logs why the old ones still hold.
    pub(super) async fn reload(&mut self) {
        let (flags, running, foundation) = (self.flags.clone(), self.loaded.clone(), self.foundation.clone());
        match spawn_blocking(move || plan(&flags, &running, &foundation)).await.map_err(anyhow::Error::from).flatten() {
            Ok(plan) => self.enforce(plan).await,
            Err(error) => {
                let text = chain(error.as_ref());
                // A line a problem, as `check` prints them.
                for problem in text.lines() {
                    tracing::error!("{problem}");
                }
                self.foundation.audit().record(&Actor::local(OPERATOR), &Event::Reload { taken: false, text });
                tracing::error!("the settings were not reloaded: those from before hold");
            }
        }
    }

    /// What may leave comes first: from there on nothing rests on the old policy, whichever house it was asked for in.
    async fn enforce(&mut self, plan: Plan) {
        let Plan { reloaded: Reloaded { loaded, changed, kept }, operations, certificate } = plan;
        let config = operations.config.clone();
        self.foundation.enforce(&operations);
        let reached = Reached::new(&config, &self.addresses);
        self.front.rebuild(House::new(operations, reached, self.draining.clone()));
        if let (Some(keeper), Some(certificate)) = (self.keeper.clone(), certificate) {
            // It may wait for a look at the files, which reads them.
            let replaced = spawn_blocking(move || keeper.replace(certificate)).await;
            replaced.unwrap_or_else(|error| tracing::error!(%error, "the certificate was not replaced"));
        }
        // Nobody listens any more where the server has ended.
        self.bounds.send_replace(bounds(&loaded));
        self.logging.set_level(config.log.level);
        self.loaded = loaded;
        for warning in &self.loaded.warnings {
            tracing::warn!("{warning}");
        }
        for kept in &kept {
            tracing::warn!("{kept}");
        }
        let waiting: Vec<&str> = kept.iter().map(|kept| kept.key.as_str()).collect();
        let (changed, waiting) = (changed.join(", "), waiting.join(", "));
        if waiting.is_empty() {
            tracing::info!(changed, "the settings were reloaded");
        } else {
            tracing::info!(changed, waiting_for_restart = waiting, "the settings were reloaded");
        }
        let text = came_of(&changed, &waiting);
        self.foundation.audit().record(&Actor::local(OPERATOR), &Event::Reload { taken: true, text });
        if let Some(house) = self.front.house() {
            super::warn_of(house.operations()).await;
        }
        self.resize(config);
    }

    /// Brings the cache within these settings' bounds, once the reload before has: it takes as long as there is much to evict, and the
    /// next signal is not to wait for it.
    fn resize(&mut self, config: Arc<Config>) {
        let (foundation, before) = (self.foundation.clone(), self.resizing.take());
        self.resizing = Some(tokio::spawn(async move {
            if let Some(before) = before {
                // How it ended is in the log.
                let _ = before.await;
            }
            let resized = spawn_blocking(move || foundation.resize(&config)).await;
            resized.unwrap_or_else(|error| tracing::error!(%error, "the cache was not brought within cache.max_size"));
        }));
    }
}

/// What a reload did, for the audit trail: the keys that changed, and those that wait for a restart.
fn came_of(changed: &str, waiting: &str) -> String {
    match (changed, waiting) {
        ("", "") => "nothing changed".to_owned(),
        (changed, "") => changed.to_owned(),
        ("", waiting) => format!("waiting for a restart: {waiting}"),
        (changed, waiting) => format!("{changed}; waiting for a restart: {waiting}"),
    }
}

/// What the server takes from the settings while it runs.
pub(super) fn bounds(loaded: &Loaded) -> Bounds {
    Bounds { limits: Arc::new(loaded.config.limits.clone()), drain: loaded.config.server.drain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_tells_what_changed_and_what_waits_for_a_restart() {
        assert_eq!(came_of("", ""), "nothing changed");
        assert_eq!(came_of("log.level", ""), "log.level");
        assert_eq!(came_of("", "server.listen"), "waiting for a restart: server.listen");
        assert_eq!(came_of("log.level", "server.listen, log.format"), "log.level; waiting for a restart: server.listen, log.format");
    }
}
