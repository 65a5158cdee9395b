//! Patterns of the settings, found by what they spell out: a path is held only against patterns that begin like it.

use std::collections::HashMap;

use super::names::{path_prefixes, plain_element};
use super::rule::Where;
use crate::config::Sourced;
use crate::module::{OwnerName, Pattern};

/// A pattern and where it was set.
#[derive(Debug)]
pub(super) struct Set {
    pattern: Pattern,
    where_: Where,
}

impl Set {
    pub(super) fn where_(&self) -> &Where {
        &self.where_
    }

    /// The leading elements without a glob, lower case, without a final slash; empty if there are none.
    pub(super) fn literal(&self) -> String {
        self.pattern.literal_prefix().trim_end_matches('/').to_ascii_lowercase()
    }

    /// Whether the pattern is nothing but literal elements.
    pub(super) fn is_literal(&self) -> bool {
        self.pattern.as_str().trim_end_matches('/').eq_ignore_ascii_case(&self.literal())
    }
}

fn is_glob(element: &str) -> bool {
    element.contains(['*', '?', '[', '\\'])
}

/// Patterns in their order; the first that matches is the one that is named.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    all: Vec<Set>,
    by_literal: HashMap<String, Vec<usize>>,
}

impl Patterns {
    pub(super) fn add(&mut self, pattern: &Sourced<Pattern>, owner: Option<&OwnerName>) {
        let where_ = Where::Setting { source: pattern.source.clone(), pattern: pattern.value.as_str().to_owned(), owner: owner.cloned() };
        self.push(Set { pattern: pattern.value.clone(), where_ });
    }

    /// Adds the pattern and, where its literal elements have a `.git` that does not count, what it is without: the same repository.
    pub(super) fn add_with_twin(&mut self, pattern: &Sourced<Pattern>, owner: Option<&OwnerName>) {
        self.add(pattern, owner);
        let text = pattern.value.as_str().to_ascii_lowercase();
        let host = text.split('/').next().unwrap_or_default();
        let without = |element| if is_glob(element) { element.into() } else { plain_element(host, element) };
        let plain = text.split('/').map(without).collect::<Vec<_>>().join("/");
        if plain != text
            && let Ok(twin) = plain.parse()
            && let Some(Set { where_, .. }) = self.all.last()
        {
            self.push(Set { pattern: twin, where_: where_.clone() });
        }
    }

    fn push(&mut self, set: Set) {
        self.by_literal.entry(set.literal()).or_default().push(self.all.len());
        self.all.push(set);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Set> {
        self.all.iter()
    }

    /// The pattern `host/*` of this host (lower case): it names no module, and matches every one.
    pub(super) fn all_of(&self, host: &str) -> Option<&Set> {
        let spelled = self.by_literal.get(host).into_iter().flatten().filter_map(|&i| self.all.get(i));
        spelled.into_iter().find(|set| set.pattern.as_str().trim_end_matches('/').to_ascii_lowercase().strip_prefix(host) == Some("/*"))
    }

    /// The first pattern that matches `lower` or a prefix of it. `lower` is a path in lower case.
    pub(super) fn first_match(&self, lower: &str) -> Option<&Set> {
        let candidates = [""].into_iter().chain(path_prefixes(lower)).filter_map(|prefix| self.by_literal.get(prefix)).flatten();
        let first = candidates.copied().filter(|&i| self.all[i].pattern.matches(lower)).min()?;
        self.all.get(first)
    }
}
