//! Which files are the last copies: upstream was asked for something of the same version, or for the module's list, and
//! said that it is gone. They are evicted last.

use std::collections::HashSet;

use crate::module::{ModulePath, Version};
use crate::protocol::ModuleAsk;

use super::lookups::lookup;
use super::place::Asset;
use super::shelf::Shelf;
use super::versions::Versions;

impl Shelf {
    /// Upstream does not have this: what is kept of the same version, or, of a list, of the module, is a last copy.
    pub(super) fn note_absence(&self, asset: &Asset, database: Option<&str>) {
        match asset {
            Asset::Module(path, ModuleAsk::Info(version) | ModuleAsk::Mod(version) | ModuleAsk::Zip(version)) => {
                self.mark_version(path, version, database, true);
            }
            Asset::Module(path, ModuleAsk::List) => {
                self.kept(path).all().for_each(|version| self.mark_version(path, version, database, true));
            }
            Asset::Module(..) | Asset::Sumdb(..) => {}
        }
    }

    /// Upstream has this; `body`: of a list.
    pub(super) fn note_presence(&self, asset: &Asset, body: &[u8], database: Option<&str>) {
        if !self.index.has_last_copies() {
            return;
        }
        match asset {
            Asset::Module(path, ModuleAsk::Info(version) | ModuleAsk::Mod(version) | ModuleAsk::Zip(version)) => {
                self.mark_version(path, version, database, false);
            }
            Asset::Module(path, ModuleAsk::List) => {
                let lines = body.split(|byte| *byte == b'\n');
                let listed: HashSet<&[u8]> = lines.filter_map(|line| line.split(|byte| *byte == b' ').next()).collect();
                let kept = self.kept(path);
                let present = kept.all().filter(|version| listed.contains(version.as_str().as_bytes()));
                present.for_each(|version| self.mark_version(path, version, database, false));
            }
            Asset::Module(..) | Asset::Sumdb(..) => {}
        }
    }

    /// `database`: whose look-up vouches for the version, which goes no sooner than its files.
    fn mark_version(&self, path: &ModulePath, version: &Version, database: Option<&str>, last_copy: bool) {
        let asks = [ModuleAsk::Info(version.clone()), ModuleAsk::Mod(version.clone()), ModuleAsk::Zip(version.clone())];
        let files = asks.into_iter().map(|ask| Asset::Module(path.clone(), ask));
        let record = database.map(|database| lookup(database, path, version));
        for key in files.chain(record).filter_map(|asset| asset.place().file) {
            self.index.set_last_copy(&key, last_copy);
        }
    }

    fn kept(&self, path: &ModulePath) -> Versions {
        self.versions(path).unwrap_or_else(|error| {
            tracing::warn!(%path, %error, "cannot tell which of its versions are last copies");
            Versions::default()
        })
    }
}
