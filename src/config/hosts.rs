//! Hosts whose character is known: public as a whole, or shared by strangers.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use super::problem::Wrong;

/// The shipped list.
const SHIPPED: &str = include_str!("../../config/public-hosts.txt");

/// Hosts whose character is known: lower-case names. A host is in at most one of `whole` and `shared`.
#[derive(Clone, Debug, Default)]
pub struct PublicHosts {
    /// Hosts, public as a whole (k8s.io).
    pub whole: BTreeSet<String>,
    /// Hosts shared by strangers (github.com).
    pub shared: BTreeSet<String>,
    /// Those of `shared` where a module may lie right below the host (gopkg.in/yaml.v3).
    pub flat: BTreeSet<String>,
    /// Where the settings list a host that the shipped list does not.
    pub sources: BTreeMap<String, Source>,
}

/// What a line of the list says of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// `host`: public as a whole.
    Whole,
    /// `host/*`: shared; its modules are `host/org/repo` and below.
    Shared,
    /// `host/* flat`: shared; a module may lie right below the host.
    Flat,
}

impl PublicHosts {
    /// The shipped list alone.
    pub fn shipped() -> Self {
        let mut hosts = Self::default();
        for line in SHIPPED.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            // A test holds that every line of the shipped list is one.
            if let Ok((host, kind)) = parse_host(line) {
                hosts.insert(host, kind);
            }
        }
        hosts
    }

    /// What is known of a host, given in lower case.
    pub fn kind(&self, host: &str) -> Option<HostKind> {
        if self.flat.contains(host) {
            Some(HostKind::Flat)
        } else if self.shared.contains(host) {
            Some(HostKind::Shared)
        } else {
            self.whole.contains(host).then_some(HostKind::Whole)
        }
    }

    /// Whether `host` (lower case) is shared and no module of it has fewer than three elements: then `host` and
    /// `host/org` are nobody's module.
    pub fn three_part(&self, host: &str) -> bool {
        self.kind(host) == Some(HostKind::Shared)
    }

    /// Every host of the list, the shared ones first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.shared.iter().chain(&self.whole).map(String::as_str)
    }

    pub(super) fn insert(&mut self, host: String, kind: HostKind) {
        match kind {
            HostKind::Whole => self.whole.insert(host),
            HostKind::Shared => self.shared.insert(host),
            HostKind::Flat => {
                self.flat.insert(host.clone());
                self.shared.insert(host)
            }
        };
    }
}

/// One entry of the list: `host`, `host/*` or `host/* flat`. The host comes back in lower case.
pub(super) fn parse_host(entry: &str) -> Result<(String, HostKind), Wrong> {
    let (host, kind) = if let Some(host) = entry.strip_suffix("/* flat") {
        (host, HostKind::Flat)
    } else if let Some(host) = entry.strip_suffix("/*") {
        (host, HostKind::Shared)
    } else {
        (entry, HostKind::Whole)
    };
    let host = host.to_ascii_lowercase();
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if host.contains('.') && host.split('.').all(label) {
        return Ok((host, kind));
    }
    Err(Wrong::expected("a host like \"k8s.io\" (public as a whole), or \"github.com/*\" (shared by strangers)"))
}
