//! Settings that are read again while the gateway runs: what changed, and what cannot before the next start.
//!
//! Invariant: what comes out was judged as a whole, with what cannot change as it is; a file that is wrong anywhere changes nothing.

use std::collections::BTreeSet;

use super::load::{Loaded, full_names};
use super::problem::ConfigError;
use super::raw::Layer;
use super::{Source, keys};

/// What reading the settings again came to.
#[derive(Debug)]
pub struct Reloaded {
    /// The settings from now on.
    pub loaded: Loaded,
    /// The keys whose values changed, in the order of the reference; of owners and users that came or went `owners.NAME`.
    pub changed: Vec<String>,
    /// What was set to another value and holds from the next start only.
    pub kept: Vec<Kept>,
}

/// A key that keeps its value until the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `section.key`
    pub key: String,
    /// Where its new value was set.
    pub source: Source,
}

impl std::fmt::Display for Kept {
    /// One line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {}: a running gateway keeps the value that it started with; the new one takes effect at a restart",
            self.source, self.key
        )
    }
}

impl Loaded {
    /// What the settings are when `next` is loaded while the gateway runs under these.
    ///
    /// # Errors
    /// What is new does not go with what cannot change.
    pub fn replaced_by(&self, next: Loaded) -> Result<Reloaded, ConfigError> {
        let mut layer = next.layer.clone();
        let mut kept = Vec::new();
        for key in keys::FIXED {
            if written(&self.layer, key) == written(&layer, key) {
                continue;
            }
            let source = layer.values.get(*key).map_or(Source::Default, |set| set.source.clone());
            kept.push(Kept { key: (*key).to_owned(), source });
            match self.layer.values.get(*key) {
                Some(set) => layer.values.insert((*key).to_owned(), set.clone()),
                None => layer.values.remove(*key),
            };
        }
        let mut loaded = Loaded::judged(layer, next.config.file.clone(), Vec::new())?;
        // What is to be warned of is in the file, whether it holds now or from the next start.
        loaded.warnings = next.warnings;
        Ok(Reloaded { changed: changed(&self.layer, &loaded.layer), loaded, kept })
    }
}

/// A key's value as text, secrets included: to be compared, not shown.
fn written(layer: &Layer, key: &str) -> Option<String> {
    layer.values.get(key).map(|set| set.value.toml())
}

fn changed(old: &Layer, new: &Layer) -> Vec<String> {
    let mut out = Vec::new();
    for key in keys::KEYS {
        // Of both: owners and users may have come and gone.
        let names: BTreeSet<String> = full_names(key.name, old).into_iter().chain(full_names(key.name, new)).collect();
        for name in names {
            if written(old, &name) != written(new, &name) {
                let told = whole(&name, old, new).unwrap_or(name);
                if !out.contains(&told) {
                    out.push(told);
                }
            }
        }
    }
    out
}

/// `owners.NAME` or `users.NAME` of a key, where that is in one of the two only.
fn whole(name: &str, old: &Layer, new: &Layer) -> Option<String> {
    let mut parts = name.splitn(3, '.');
    let (section, who, _) = (parts.next()?, parts.next()?, parts.next()?);
    let is_in = |layer: &Layer| match section {
        "owners" => Some(layer.owners.keys().any(|owner| owner.as_str() == who)),
        "users" => Some(layer.users.keys().any(|user| user.as_str() == who)),
        _ => None,
    };
    (is_in(old)? != is_in(new)?).then(|| format!("{section}.{who}"))
}
