//! Of which versions of a module something is kept.

use std::collections::BTreeMap;
use std::{fs, io};

use crate::module::{ModulePath, Version};

use super::index::is_gone;
use super::place::files_of_version;
use super::shelf::Shelf;

/// The cached versions of a module, and whether a version's zip is there.
#[derive(Debug, Default)]
pub(super) struct Versions(BTreeMap<Version, bool>);

impl Versions {
    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Version> + Clone {
        self.0.keys()
    }

    /// Whether anything of this one is there.
    pub(super) fn contains(&self, version: &Version) -> bool {
        self.0.contains_key(version)
    }

    /// Those that a command may choose among: with a zip, or, if none has one, all.
    pub(super) fn offered(&self) -> impl Iterator<Item = &Version> + Clone {
        let any_zip = self.0.values().any(|zip| *zip);
        self.0.iter().filter(move |(_, zip)| **zip || !any_zip).map(|(version, _)| version)
    }
}

impl Shelf {
    /// The cached versions of this very module: one look into one folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub(super) fn versions(&self, path: &ModulePath) -> io::Result<Versions> {
        let mut versions = Versions::default();
        let folder = match fs::read_dir(self.index.path(&files_of_version(path))) {
            // Of a name too long nothing can be kept.
            Err(e) if is_gone(&e) || e.kind() == io::ErrorKind::InvalidFilename => return Ok(versions),
            folder => folder?,
        };
        for item in folder {
            let name = item?.file_name();
            let Some((version, ext)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            let is_zip = match ext {
                "zip" => true,
                "info" | "mod" => false,
                _ => continue,
            };
            let Ok(version) = Version::unescape(version) else { continue };
            *versions.0.entry(version).or_default() |= is_zip;
        }
        Ok(versions)
    }
}
