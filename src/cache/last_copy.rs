//! Which files are the last copies: upstream was asked for something of the same version, or for the module's list, and
//! said that it is gone. They are evicted last.

use crate::module::{ModulePath, Version};
use crate::protocol::ModuleAsk;

use super::place::{Asset, module_folder};
use super::shelf::Shelf;

impl Shelf {
    /// Upstream does not have this: what is kept of the same version, or, of a list, of the module, is a last copy.
    pub(super) fn note_absence(&self, asset: &Asset) {
        match asset {
            Asset::Module(path, ModuleAsk::Info(version) | ModuleAsk::Mod(version) | ModuleAsk::Zip(version)) => {
                self.mark_version(path, version, true);
            }
            Asset::Module(path, ModuleAsk::List) => {
                self.versions_kept(path).iter().for_each(|version| self.mark_version(path, version, true))
            }
            Asset::Module(..) | Asset::Sumdb(..) => {}
        }
    }

    /// Upstream has this; `body`: of a list.
    pub(super) fn note_presence(&self, asset: &Asset, body: &[u8]) {
        if !self.index.has_last_copies() {
            return;
        }
        match asset {
            Asset::Module(path, ModuleAsk::Info(version) | ModuleAsk::Mod(version) | ModuleAsk::Zip(version)) => {
                self.mark_version(path, version, false);
            }
            Asset::Module(path, ModuleAsk::List) => {
                let listed = |version: &Version| {
                    let mut lines = body.split(|byte| *byte == b'\n');
                    lines.any(|line| line.split(|byte| *byte == b' ').next() == Some(version.as_str().as_bytes()))
                };
                let kept = self.versions_kept(path).into_iter().filter(listed);
                kept.for_each(|version| self.mark_version(path, &version, false));
            }
            Asset::Module(..) | Asset::Sumdb(..) => {}
        }
    }

    fn mark_version(&self, path: &ModulePath, version: &Version, last_copy: bool) {
        for ask in [ModuleAsk::Info(version.clone()), ModuleAsk::Mod(version.clone()), ModuleAsk::Zip(version.clone())] {
            if let Some(key) = Asset::Module(path.clone(), ask).place().file {
                self.index.set_last_copy(&key, last_copy);
            }
        }
    }

    /// The versions of which a file is kept.
    fn versions_kept(&self, path: &ModulePath) -> Vec<Version> {
        let items = std::fs::read_dir(self.index.path(&module_folder(path))).into_iter().flatten().flatten();
        let names = items.filter_map(|item| item.file_name().into_string().ok());
        let mut versions: Vec<_> = names.filter_map(|name| Version::unescape(name.rsplit_once('.')?.0).ok()).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }
}
