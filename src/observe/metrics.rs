//! Every number that the gateway tells Prometheus: all families stand here, with their names, help and labels.
//!
//! No label holds a module's path: those are many, and private.

use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

/// All families of one gateway; nothing is shared between two in one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    ///
    /// Two families of one name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let build = IntGaugeVec::new(Opts::new("modgate_build_info", "Always 1; the version is in the label."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        Ok(Self { registry })
    }

    /// As Prometheus reads it: text, version 0.0.4.
    ///
    /// # Errors
    ///
    /// A family that cannot be written.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
