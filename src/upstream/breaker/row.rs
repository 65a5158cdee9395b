//! What counts towards an outage: failures in a row, each module once.

use crate::module::ModulePath;

/// Failures in a row after which an upstream counts as down.
pub(super) const FAILURES: usize = 5;
/// So many modules are answered in a row that this gateway asks too much, and all that it would ask waits.
pub(super) const LIMITED: usize = 3;

/// A few modules; all that names none is one. Modules above and below each other are one, too: of a path that fails the go command asks
/// for each of its parents.
#[derive(Default)]
pub(super) struct Modules(Vec<Option<ModulePath>>);

impl Modules {
    pub(super) fn has(&self, module: Option<&ModulePath>) -> bool {
        self.0.iter().any(|known| match (known, module) {
            (Some(known), Some(module)) => {
                known == module || known.parents().any(|p| p == module.as_str()) || module.parents().any(|p| p == known.as_str())
            }
            (known, module) => known.is_none() && module.is_none(),
        })
    }

    /// Beyond [`FAILURES`] nobody needs to know more.
    pub(super) fn note(&mut self, module: Option<&ModulePath>) {
        if self.0.len() < FAILURES && !self.has(module) {
            self.0.push(module.cloned());
        }
    }

    pub(super) fn forget(&mut self, module: Option<&ModulePath>) {
        self.0.retain(|known| known.as_ref() != module);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Failures in a row.
#[derive(Default)]
pub(super) struct Row {
    pub(super) unreached: usize,
    pub(super) failed: Modules,
    /// Those of them that were answered that this gateway asks too much, and for how long to leave off.
    pub(super) limited: Modules,
}

impl Row {
    pub(super) fn is_full(&self) -> bool {
        self.unreached + self.failed.len() >= FAILURES
    }
}
