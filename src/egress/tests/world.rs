//! Settings and a store, built line by line, and the policy over them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Miss, Owner, Private, PublicHosts, Source, Sourced, UnknownHosts, Visibility};
use crate::egress::{Gate, Policy, Verdict};
use crate::module::{ModulePath, OwnerName, Pattern};
use crate::observe::audit::Audit;
use crate::store::double::Double;

pub(super) struct World {
    pub(super) settings: Private,
    pub(super) owners: BTreeMap<OwnerName, Owner>,
    pub(super) store: Arc<Double>,
    file: Arc<PathBuf>,
}

pub(super) fn path(text: &str) -> ModulePath {
    text.parse().unwrap()
}

impl World {
    /// No patterns; three hosts of either kind; an owner of each visibility: `open`, `office` and `platform`.
    pub(super) fn new(file: &str) -> Self {
        let hosts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let hosts = PublicHosts {
            whole: hosts(&["k8s.io", "golang.org", "go.uber.org"]),
            shared: hosts(&["github.com", "gitlab.com", "gopkg.in", "pagure.io"]),
            flat: hosts(&["gopkg.in", "pagure.io"]),
            sources: BTreeMap::new(),
        };
        let unknown_hosts = Sourced { value: UnknownHosts::Allow, source: Source::Default };
        let settings = Private { patterns: Vec::new(), public: Vec::new(), hosts, claim_hosts: true, unknown_hosts, miss: Miss::NotFound };
        let mut world = Self { settings, owners: BTreeMap::new(), store: Arc::default(), file: Arc::new(file.into()) };
        for (name, visibility) in [("open", Visibility::Public), ("office", Visibility::Internal), ("platform", Visibility::Private)] {
            world.owner(name, visibility, &[], 0);
        }
        world
    }

    pub(super) fn pattern(&mut self, text: &str, line: usize) {
        let pattern = self.sourced(text, line);
        self.settings.patterns.push(pattern);
    }

    pub(super) fn exception(&mut self, text: &str, line: usize) {
        let pattern = self.sourced(text, line);
        self.settings.public.push(pattern);
    }

    pub(super) fn public_host(&mut self, host: &str, line: usize) {
        self.settings.hosts.whole.insert(host.to_owned());
        self.settings.hosts.sources.insert(host.to_owned(), Source::File(Arc::clone(&self.file), line));
    }

    pub(super) fn owner(&mut self, name: &str, visibility: Visibility, modules: &[&str], line: usize) {
        let modules = modules.iter().map(|text| self.sourced(text, line)).collect();
        let source = Source::File(Arc::clone(&self.file), line);
        self.owners
            .insert(name.parse().unwrap(), Owner { visibility, members: Vec::new(), modules, max_bytes: None, retain: None, source });
    }

    pub(super) fn unknown_hosts(&mut self, word: &str) {
        self.settings.unknown_hosts.value = match word {
            "allow" => UnknownHosts::Allow,
            "audit" => UnknownHosts::Audit,
            "hold" => UnknownHosts::Hold,
            other => panic!("{other}"),
        };
    }

    fn sourced(&self, text: &str, line: usize) -> Sourced<Pattern> {
        Sourced { value: text.parse().unwrap(), source: Source::File(Arc::clone(&self.file), line) }
    }

    pub(super) fn policy(&self) -> Policy {
        Policy::of(&self.settings, &self.owners, Arc::clone(&self.store) as Arc<_>)
    }

    pub(super) fn gate(&self) -> Gate {
        Gate::new(Arc::new(self.policy()), Audit::default())
    }

    pub(super) async fn decide(&self, text: &str) -> Verdict {
        self.policy().decide(&path(text)).await.unwrap()
    }
}
