//! Every number that the gateway tells Prometheus, by subject: a subject owns its families, with their names, help and labels.
//!
//! Whoever does something holds a clone of its subject and counts as it happens. What is a state, not an event (bytes on disk,
//! hosted versions), is set by whoever writes the page, just before: see `admin/metrics.rs`.
//!
//! The page is open to everyone who reaches an operations listener. So a label's values are a small closed set of words, made
//! by the methods here: no path, no owner, no user, no host.
//!
//! A new family is a field of its subject, a method that counts it, and a row in `docs/operating.md`.

mod access;
mod audit;
mod cache;
mod fills;
mod hosted;
mod http;
mod log;
mod process;
mod sumdb;
mod upstream;
mod verify;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result, TextEncoder,
};

pub use access::{AccessMetrics, LoginFailure};
pub use audit::AuditMetrics;
pub use cache::{CacheMetrics, CacheState};
pub use fills::{FillMetrics, InFlight};
pub use hosted::{HostedMetrics, HostedState};
pub use http::{Answered, HttpMetrics, OwnerClass};
pub use log::LogMetrics;
pub use sumdb::{SumdbMetrics, SumdbOutcome};
pub use upstream::{BreakerState, UpstreamMetrics, UpstreamOutcome, UpstreamRole};
pub use verify::{Verification, VerifyMetrics};

/// Durations of answers, seconds: from what memory gives to a large module from afar.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// All families of one gateway; nothing is shared between two in one process.
#[derive(Debug)]
pub struct Metrics {
    /// Requests and answers.
    pub http: HttpMetrics,
    /// What goes out.
    pub upstream: UpstreamMetrics,
    /// What the public checksum database said.
    pub sumdb: SumdbMetrics,
    /// Our own checksum database.
    pub log: LogMetrics,
    /// What is kept of what comes from upstream.
    pub cache: CacheMetrics,
    /// Whether what comes in is what it is to be.
    pub verify: VerifyMetrics,
    /// Transfers into the cache, and who waits.
    pub fills: FillMetrics,
    /// Log-ins.
    pub access: AccessMetrics,
    /// Modules published here.
    pub hosted: HostedMetrics,
    /// The audit trail.
    pub audit: AuditMetrics,
    families: Families,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    ///
    /// Two families of one name.
    pub fn new() -> Result<Self> {
        let mut families = Families::default();
        let build = families.gauges("modgate_build_info", "Always 1; the version is in the label.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        process::register(&mut families)?;
        Ok(Self {
            http: HttpMetrics::new(&mut families)?,
            upstream: UpstreamMetrics::new(&mut families)?,
            sumdb: SumdbMetrics::new(&mut families)?,
            log: LogMetrics::new(&mut families)?,
            cache: CacheMetrics::new(&mut families)?,
            verify: VerifyMetrics::new(&mut families)?,
            fills: FillMetrics::new(&mut families)?,
            access: AccessMetrics::new(&mut families)?,
            hosted: HostedMetrics::new(&mut families)?,
            audit: AuditMetrics::new(&mut families)?,
            families,
        })
    }

    /// As Prometheus reads it: text, version 0.0.4.
    ///
    /// # Errors
    ///
    /// A family that cannot be written.
    pub fn text(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.families.registry.gather())
    }

    /// The names of all families, of those without a sample yet too.
    pub fn names(&self) -> &[String] {
        &self.families.names
    }
}

/// Makes families and registers them.
#[derive(Debug, Default)]
struct Families {
    registry: Registry,
    names: Vec<String>,
}

impl Families {
    fn register<C: Collector + Clone + 'static>(&mut self, collector: C) -> Result<C> {
        self.names.extend(collector.desc().iter().map(|desc| desc.fq_name.clone()));
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&mut self, name: &str, help: &str) -> Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&mut self, name: &str, help: &str) -> Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// Of seconds.
    fn histogram(&mut self, name: &str, help: &str) -> Result<Histogram> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?)
    }

    /// Of seconds.
    fn histograms(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?)
    }
}

/// Sets a gauge to what cannot be more than fits into one.
fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests;
