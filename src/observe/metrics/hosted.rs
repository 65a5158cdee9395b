//! Modules published here.

use prometheus::{IntGauge, Result};

use super::{Families, set};

/// What is hosted when the page is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostedState {
    /// Module paths with at least one version.
    pub modules: u64,
    /// Versions of all of them.
    pub versions: u64,
    /// Bytes of their zips and go.mod files.
    pub bytes: u64,
}

/// Modules published here. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HostedMetrics {
    modules: IntGauge,
    versions: IntGauge,
    bytes: IntGauge,
}

impl HostedMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        Ok(Self {
            modules: families.gauge("modgate_hosted_modules", "Module paths that have hosted versions.")?,
            versions: families.gauge("modgate_hosted_versions", "Hosted versions of all modules.")?,
            bytes: families.gauge("modgate_hosted_bytes", "Bytes of the zips and go.mod files of all hosted versions.")?,
        })
    }

    /// The state is now this.
    pub fn state(&self, state: &HostedState) {
        set(&self.modules, state.modules);
        set(&self.versions, state.versions);
        set(&self.bytes, state.bytes);
    }
}
