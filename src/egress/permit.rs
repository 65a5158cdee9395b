//! The one way out: a [`PublicPath`], made here and nowhere else, after the ledger holds the path.

use super::policy::Policy;
use super::rule::{Rule, Verdict};
use crate::module::ModulePath;
use crate::store::{Fresh, HostedIndex, StoreError};

/// A module path that may leave, and stands in the egress ledger, durably.
///
/// Only [`Policy::permit`] makes one, from an index that the store vouches for as current. It is good for one attempt:
/// every retry, redirect and refresh asks again.
///
/// It cannot be put together elsewhere:
///
/// ```compile_fail,E0451
/// fn forge(path: modgate::module::ModulePath) -> modgate::egress::PublicPath {
///     modgate::egress::PublicPath { path }
/// }
/// ```
///
/// nor made from a path:
///
/// ```compile_fail,E0277
/// fn forge(path: modgate::module::ModulePath) -> modgate::egress::PublicPath {
///     path.into()
/// }
/// ```
///
/// ```compile_fail,E0624
/// fn forge(index: modgate::store::Fresh<modgate::store::HostedIndex>, verdict: modgate::egress::Verdict) {
///     modgate::egress::PublicPath::new(&index, verdict);
/// }
/// ```
///
/// nor read from anything, nor made of nothing:
///
/// ```compile_fail,E0277
/// let forged: modgate::egress::PublicPath = serde_json::from_str("\"corp.example.com/secret\"").unwrap();
/// ```
///
/// ```compile_fail,E0277
/// fn forge<T: Default>() -> T { T::default() }
/// let forged: modgate::egress::PublicPath = forge();
/// ```
///
/// What may be done with one:
///
/// ```
/// fn send(path: &modgate::egress::PublicPath) -> String {
///     path.path().escaped()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPath {
    path: ModulePath,
}

impl PublicPath {
    /// The path.
    pub fn path(&self) -> &ModulePath {
        &self.path
    }

    /// The only constructor. `_index` is what the verdict was reached on.
    fn new(_index: &Fresh<HostedIndex>, verdict: Verdict) -> Result<Self, Denied> {
        if verdict.is_public() { Ok(Self { path: verdict.path }) } else { Err(Denied::Private(Box::new(verdict))) }
    }
}

/// Why a path may not leave now.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It is private. The text is for logs: clients get [`super::miss_text`].
    #[error("{} is private (rule: {})", .0.path, .0.rule)]
    Private(Box<Verdict>),
    /// What is hosted cannot be known, or the ledger cannot be written: nothing leaves.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Policy {
    /// Lets a path leave, for one attempt, or says why not.
    ///
    /// Judges on a current index; notes the path in the ledger, durably, if it never left before; then judges again,
    /// because somebody may have published under that name meanwhile. `principal` is for the ledger, as it stands in logs.
    /// A path that the second judgement stops stays in the ledger without having left: the ledger may say too much, never too little.
    pub async fn permit(&self, path: &ModulePath, principal: &str) -> Result<PublicPath, Denied> {
        let before = self.view().await?;
        let verdict = self.judge(path, before.facts(&*self.records.known()));
        if !verdict.is_public() {
            return Err(Denied::Private(Box::new(verdict)));
        }
        self.records.ledger_first(path, principal, verdict.rule.name()).await?;
        let after = self.view().await?;
        let unchanged = after.index.rev == before.index.rev;
        let verdict = if unchanged { verdict } else { self.judge(path, after.facts(&*self.records.known())) };
        let watched = verdict.rule == Rule::UnknownHost;
        let public = PublicPath::new(&after.index, verdict)?;
        if watched {
            self.watch(path, principal);
        }
        Ok(public)
    }
}
