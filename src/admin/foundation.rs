//! What lives as long as the process: the data directory, what is kept in it, and what is counted. What a set of settings makes of it
//! is [`Operations`]: made whole or not at all, never changed, and in force once [`Foundation::enforce`] says so.

use std::sync::Arc;

use tokio::sync::RwLock;

use super::Operations;
use crate::access::{Access, LogIns, NoRandomness};
use crate::cache::{self, Cache, NoDatabase, Stock};
use crate::config::{self, Config, Verify};
use crate::durable::Disk;
use crate::egress::{Gate, Policy};
use crate::observe::audit::{Actor, Audit, Event};
use crate::observe::metrics::Metrics;
use crate::observe::spawn_blocking;
use crate::stop::Stop;
use crate::store::{self, DataDir, Embedded, HealReport, Stores};
use crate::sumdb::log::{self, Log, LogSettings, OwnName};
use crate::sumdb::{self, Client, Databases};
use crate::upstream::{self, Breakers, Upstream};

/// The data directory cannot be opened, or settings not be put over it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory, or the store in it.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] cache::OpenError),
    /// Our own checksum database.
    #[error(transparent)]
    Log(#[from] log::OpenError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// Log-ins.
    #[error(transparent)]
    LogIns(#[from] NoRandomness),
    /// The audit trail's thread.
    #[error("cannot start the audit trail: {0}")]
    Audit(#[source] std::io::Error),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The thread that opens them ended.
    #[error("opening was cut off: {0}")]
    Cut(#[from] tokio::task::JoinError),
}

/// What these settings ask for cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The way upstream.
    #[error(transparent)]
    Upstream(#[from] upstream::SetupError),
    /// What is known of the public checksum database.
    #[error(transparent)]
    Sumdb(#[from] sumdb::HeadsError),
}

/// What lives as long as the process.
pub struct Foundation {
    stores: Stores,
    gate: Arc<Gate>,
    stock: Stock,
    data: Arc<DataDir>,
    databases: Databases,
    log: Option<Arc<Log>>,
    log_wrong: Option<Arc<log::OpenError>>,
    own_name: OwnName,
    breakers: Breakers,
    log_ins: LogIns,
    audit: Audit,
    metrics: Arc<Metrics>,
    stop: Stop,
    begun: Arc<RwLock<()>>,
}

impl Foundation {
    /// Opens the data directory of these settings, and puts them in force over it. What start-up mended is logged, what it found
    /// wrong is recorded.
    pub async fn open(config: Config) -> Result<(Self, Operations), OpenError> {
        spawn_blocking(move || Self::open_blocking(config, |data, settings| Ok((Some(Log::open(data, settings)?), None)))).await?
    }

    /// [`Foundation::open`], for a command where no server runs: our own checksum database is read, and neither made nor written to. What is
    /// wrong with it keeps nobody from the rest, and is in [`Operations::log_wrong`].
    pub async fn look(config: Config) -> Result<(Self, Operations), OpenError> {
        let look = |data: &Arc<DataDir>, settings: &LogSettings| {
            Ok(Log::look(data, settings, &Stop::default()).map_or_else(|wrong| (None, Some(wrong)), |log| (log, None)))
        };
        spawn_blocking(move || Self::open_blocking(config, look)).await?
    }

    fn open_blocking(
        config: Config,
        open_log: impl FnOnce(&Arc<DataDir>, &LogSettings) -> Result<(Option<Log>, Option<log::OpenError>), log::OpenError>,
    ) -> Result<(Self, Operations), OpenError> {
        let metrics = Arc::new(Metrics::new()?);
        let make_room = |data: &DataDir, short| cache::give_way(data, &config.cache, short);
        let data = Arc::new(DataDir::open_with(&config.data_dir, Disk::default(), make_room)?);
        let audit = Audit::open(&data.audit(), data.disk(), data.node(), metrics.audit.clone()).map_err(OpenError::Audit)?;
        let (stores, healed) = Embedded::open(&data)?;
        tell_healing(&healed, &audit);
        let (log, log_wrong) = if config.sumdb.enabled { open_log(&data, &log_settings(&config))? } else { (None, None) };
        let own_name = OwnName::of(log.as_ref(), &data);
        let policy = Arc::new(Policy::new(&config, stores.records.clone()));
        let gate = Arc::new(Gate::new(policy.clone(), audit.clone()));
        let stock = Stock::open(&data, &config.cache, gate.clone(), stores.records.clone(), &metrics, audit.clone())?;
        data.yields(stock.gives_way());
        let log_ins = LogIns::new()?;
        let foundation = Self {
            stores,
            gate,
            stock,
            databases: Databases::new(data.clone()),
            data,
            log: log.map(Arc::new),
            log_wrong: log_wrong.map(Arc::new),
            own_name,
            breakers: Breakers::default(),
            log_ins,
            audit,
            metrics,
            stop: Stop::default(),
            begun: Arc::default(),
        };
        let operations = foundation.operations(config, policy)?;
        Ok((foundation, operations))
    }

    /// What other settings make of this; not in force yet, and nothing is changed by it. Reads files: not for an async thread.
    pub fn plan(&self, config: Config) -> Result<Operations, SettingsError> {
        let policy = Arc::new(Policy::new(&config, self.stores.records.clone()));
        self.operations(config, policy)
    }

    fn operations(&self, config: Config, policy: Arc<Policy>) -> Result<Operations, SettingsError> {
        let Self { stores, gate, stock, data, databases, log, log_wrong, own_name, breakers, log_ins, audit, metrics, stop, begun } = self;
        let access = Arc::new(Access::new(&config, stores.records.clone(), log_ins.clone()));
        let upstream = Arc::new(Upstream::new(&config.upstream, gate.clone(), breakers.clone(), metrics.upstream.clone())?);
        let cache = Cache::new(stock.clone(), &config.cache, config.limits.queue, upstream.clone());
        let config::Upstream { verify, unverified, sumdb, .. } = &config.upstream;
        // Two caches over one stock: the client's own asks need no voucher, so neither holds on to the other.
        let (cache, sumdb) = match (verify.value, sumdb.as_ref().and_then(|sumdb| sumdb.key.as_ref())) {
            (Verify::Off, _) => (cache, None),
            (Verify::Require, None) => (cache.vouched(Arc::new(NoDatabase), unverified), None),
            (Verify::Require, Some(key)) => {
                let client = Client::new(databases.of(key)?, cache.for_database(), audit.clone(), metrics.sumdb.clone());
                (cache.vouched(Arc::new(client.clone()), unverified), Some(client))
            }
        };
        let (data, log, log_wrong, own_name) = (data.clone(), log.clone(), log_wrong.clone(), own_name.clone());
        let (stores, audit, metrics, stop, begun) = (stores.clone(), audit.clone(), metrics.clone(), stop.clone(), begun.clone());
        Ok(Operations {
            config: Arc::new(config),
            data,
            stores,
            policy,
            access,
            upstream,
            cache,
            sumdb,
            log,
            log_wrong,
            own_name,
            audit,
            metrics,
            stop,
            begun,
            looking: Arc::default(),
        })
    }

    /// The audit trail.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Asked when the process ends: what takes long stops then, under whichever settings it began.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Puts what was planned in force: from here on its policy alone lets paths leave, for whatever is under way as well.
    pub fn enforce(&self, operations: &Operations) {
        self.gate.enforce(operations.policy.clone());
    }

    /// Brings the cache within other bounds. Blocks on the disk.
    pub fn resize(&self, config: &Config) {
        self.stock.resize(&config.cache);
    }
}

/// How our own checksum database is opened by these settings.
pub fn log_settings(config: &Config) -> LogSettings {
    let of_url = || config.server.public_url.as_ref().and_then(|url| url.host_str()).map(str::to_ascii_lowercase);
    // An IPv6 address is no host of a name: it has colons.
    let of_url = of_url().filter(|host| !host.starts_with('['));
    let host = config.sumdb.host.clone().or(of_url).unwrap_or_else(|| "localhost".to_owned());
    LogSettings { host, head_path: config.sumdb.head_path.clone() }
}

/// What start-up found and did, into the log: an operator reads it after a crash. What it found wrong, into the audit trail too.
fn tell_healing(report: &HealReport, audit: &Audit) {
    if !report.is_clean() {
        tracing::warn!(
            replayed = report.replayed,
            index_rebuilt = report.rebuilt,
            index_set_aside = report.set_aside.as_ref().map(|path| path.display().to_string()),
            blobs_removed = report.blobs_removed,
            records_removed = report.records_removed,
            tmp_removed = report.tmp_removed,
            torn_lines = report.torn_lines,
            "start-up mended what the last run left"
        );
    }
    for finding in &report.findings {
        tracing::error!(kind = %finding.kind, path = %finding.path.display(), "{}", finding.text);
        let (kind, path) = (finding.kind.to_string(), finding.path.display().to_string());
        audit.record(&Actor::local("modgate"), &Event::Integrity { kind, path, text: finding.text.clone() });
    }
}
