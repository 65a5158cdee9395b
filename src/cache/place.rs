//! What can be asked for, and where it is kept.
//!
//! `download/` is the go command's own layout and holds what never changes; `queries/` holds answers that do, and
//! absences. No element of a module path begins with `@`, so modules' files and folders never collide; `sumdb` has
//! no dot, so no module is called that.

use crate::module::version::unescape_query;
use crate::module::{ModulePath, Version};
use crate::observe::metrics::UpstreamRole;
use crate::protocol::{ModuleAsk, SumdbWhat};
use std::fmt;

/// Where answers with a date are.
pub(crate) const QUERIES: &str = "queries/";

/// Longest name that file systems take, bytes.
const NAME_BYTES_MAX: usize = 255;
/// Longest key; with the data folder before it a path must stay under 4096 bytes.
const KEY_BYTES_MAX: usize = 3072;
/// What stands beside a zip.
const ZIP: &str = ".zip";
const ZIPHASH: &str = ".ziphash";

/// One thing to be had from upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asset {
    /// Of a module.
    Module(ModulePath, ModuleAsk),
    /// Of a checksum database, by its name.
    Sumdb(String, SumdbWhat),
}

impl fmt::Display for Asset {
    /// For logs: the module and the file, or the database and the question.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(path, ask) => write!(f, "{path} {}", ask.file().unwrap_or_default()),
            Self::Sumdb(name, SumdbWhat::Lookup(path, version)) => write!(f, "{name} lookup {path}@{version}"),
            Self::Sumdb(name, SumdbWhat::Tile(tile)) => write!(f, "{name} {tile}"),
            Self::Sumdb(name, SumdbWhat::Latest | SumdbWhat::Supported) => write!(f, "{name} latest"),
        }
    }
}

/// Where an asset is kept. A key is a path relative to the cache's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its file, if it never changes.
    pub(crate) file: Option<String>,
    /// Its answer with a date: a changing one, or an absence.
    pub(crate) memo: Option<String>,
}

impl Asset {
    /// Whether its answer never changes.
    pub(crate) fn is_immutable(&self) -> bool {
        match self {
            Self::Module(_, ask) => matches!(ask, ModuleAsk::Info(_) | ModuleAsk::Mod(_) | ModuleAsk::Zip(_)),
            Self::Sumdb(_, what) => matches!(what, SumdbWhat::Lookup(..) | SumdbWhat::Tile(_)),
        }
    }

    /// In which role an upstream is asked for it.
    pub(crate) fn role(&self) -> UpstreamRole {
        match self {
            Self::Module(..) => UpstreamRole::Modules,
            Self::Sumdb(..) => UpstreamRole::Sumdb,
        }
    }

    /// Whether it is asked again each time, however young the last answer is.
    pub(crate) fn is_never_fresh(&self) -> bool {
        matches!(self, Self::Sumdb(_, SumdbWhat::Latest))
    }

    /// Whether its absence is kept.
    pub(crate) fn keeps_absence(&self) -> bool {
        matches!(self, Self::Module(..))
    }

    /// Where it is kept; nowhere, where a name would be too long.
    pub(crate) fn place(&self) -> Place {
        let good = |key: String| storable(&key).then_some(key);
        match self {
            Self::Module(path, ask) => {
                let Some(name) = ask.file() else { return Place::default() };
                let rest = format!("{}/{name}", path.escaped());
                let file = if self.is_immutable() { good(format!("download/{rest}")) } else { None };
                Place { file, memo: good(format!("queries/{rest}")) }
            }
            Self::Sumdb(name, what) => {
                let below = |rest: String| good(format!("download/sumdb/{name}/{rest}"));
                match what {
                    SumdbWhat::Lookup(path, version) => {
                        let lookup = lookup_name(path, version);
                        Place { memo: good(format!("queries/sumdb/{name}/{lookup}")), file: below(lookup) }
                    }
                    SumdbWhat::Tile(tile) => Place { file: below(tile.to_string()), memo: None },
                    SumdbWhat::Latest => Place { file: None, memo: good(format!("queries/sumdb/{name}/latest")) },
                    SumdbWhat::Supported => Place::default(),
                }
            }
        }
    }
}

impl Asset {
    /// What is kept in an immutable file; the inverse of [`Asset::place`].
    pub(crate) fn of_file(key: &str) -> Option<Self> {
        let rest = key.strip_prefix("download/")?;
        if let Some(rest) = rest.strip_prefix("sumdb/") {
            let lookup = || rest.split_once("/lookup/").and_then(|(name, rest)| rest.rsplit_once('@').map(|(p, v)| (name, p, v)));
            let tile = || rest.find("/tile/").map(|at| (&rest[..at], &rest[at + 1..]));
            return match (lookup(), tile()) {
                (Some((name, path, version)), _) => {
                    let what = SumdbWhat::Lookup(ModulePath::unescape(path).ok()?, Version::unescape(version).ok()?);
                    Some(Self::Sumdb(name.to_owned(), what))
                }
                (None, Some((name, tile))) => Some(Self::Sumdb(name.to_owned(), SumdbWhat::Tile(tile.parse().ok()?))),
                (None, None) => None,
            };
        }
        let (path, name) = rest.split_once("/@v/")?;
        let (version, ext) = name.rsplit_once('.')?;
        let version = Version::unescape(version).ok()?;
        let ask = match ext {
            "info" => ModuleAsk::Info(version),
            "mod" => ModuleAsk::Mod(version),
            "zip" => ModuleAsk::Zip(version),
            _ => return None,
        };
        Some(Self::Module(ModulePath::unescape(path).ok()?, ask))
    }
}

/// The folder of what never changes of a module's versions.
pub(super) fn files_of_version(path: &ModulePath) -> String {
    format!("download/{}/@v", path.escaped())
}

/// The folder of the answers with a date about a module's versions: all but that of `@latest`.
pub(super) fn memos_of_version(path: &ModulePath) -> String {
    format!("queries/{}/@v", path.escaped())
}

/// What was asked, by the name of its file in that folder.
pub(super) fn ask_of_memo(name: &str) -> Option<ModuleAsk> {
    if name == "list" {
        return Some(ModuleAsk::List);
    }
    let (escaped, ext) = name.rsplit_once('.')?;
    let query = unescape_query(escaped).ok()?;
    match (ext, query.parse::<Version>()) {
        ("info", Ok(version)) => Some(ModuleAsk::Info(version)),
        ("info", Err(_)) => Some(ModuleAsk::Query(query)),
        ("mod", Ok(version)) => Some(ModuleAsk::Mod(version)),
        ("zip", Ok(version)) => Some(ModuleAsk::Zip(version)),
        _ => None,
    }
}

fn lookup_name(path: &ModulePath, version: &Version) -> String {
    format!("lookup/{}@{}", path.escaped(), version.escaped())
}

/// Whether the key can be a file below the cache's folder, and nowhere else.
fn storable(key: &str) -> bool {
    let room = ZIPHASH.len() - ZIP.len();
    let good = |name: &str| !matches!(name, "" | "." | "..") && name.len() + room <= NAME_BYTES_MAX && !name.contains(['\\', '\0']);
    key.len() <= KEY_BYTES_MAX && key.split('/').all(good)
}

/// The file that belongs to this one: a module zip's hash.
pub(crate) fn sidecar(key: &str) -> Option<String> {
    is_module_file(key).then(|| key.strip_suffix(ZIP).map(|stem| format!("{stem}{ZIPHASH}")))?
}

/// The file that this one belongs to, if it is a module zip's hash.
pub(crate) fn whose_sidecar(key: &str) -> Option<String> {
    is_module_file(key).then(|| key.strip_suffix(ZIPHASH).map(|stem| format!("{stem}{ZIP}")))?
}

/// What is kept of a module, or of one version of it: its files, its answers with a date, its checksum records.
pub(crate) struct Belongings {
    path: String,
    version: Option<String>,
}

impl Belongings {
    pub(crate) fn of(path: &ModulePath, version: Option<&Version>) -> Self {
        Self { path: path.escaped().to_string(), version: version.map(|version| version.escaped().to_string()) }
    }

    /// Whether this key is one of them.
    pub(crate) fn contain(&self, key: &str) -> bool {
        let version = self.version.as_deref();
        let of_sumdb = key.strip_prefix("download/sumdb/").or_else(|| key.strip_prefix("queries/sumdb/"));
        if let Some((_, record)) = of_sumdb.and_then(|rest| rest.split_once("/lookup/")) {
            let of = record.strip_prefix(&self.path).and_then(|rest| rest.strip_prefix('@'));
            return of.is_some_and(|of| version.is_none_or(|version| of == version));
        }
        let below = key.strip_prefix("download/").or_else(|| key.strip_prefix(QUERIES));
        let of_module = below.and_then(|rest| rest.strip_prefix(&self.path)).and_then(|rest| rest.strip_prefix('/'));
        let Some(rest) = of_module else { return false };
        match (version, rest.strip_prefix("@v/")) {
            (None, file) => file.is_some() || rest == "@latest",
            (Some(version), Some(file)) => file.rsplit_once('.').is_some_and(|(stem, _)| stem == version),
            (Some(_), None) => false,
        }
    }
}

fn is_module_file(key: &str) -> bool {
    key.starts_with("download/") && !key.starts_with("download/sumdb/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, ask: ModuleAsk) -> Place {
        Asset::Module(path.parse().unwrap(), ask).place()
    }

    #[test]
    fn immutable_files_lie_as_the_go_command_lays_them() {
        let version: Version = "v1.0.0-RC1".parse().unwrap();
        let place = module("example.com/Up/m", ModuleAsk::Zip(version.clone()));
        assert_eq!(place.file.as_deref(), Some("download/example.com/!up/m/@v/v1.0.0-!r!c1.zip"));
        assert_eq!(sidecar(&place.file.unwrap()).as_deref(), Some("download/example.com/!up/m/@v/v1.0.0-!r!c1.ziphash"));
        let lookup = Asset::Sumdb("sum.example.org/x".into(), SumdbWhat::Lookup("example.com/M".parse().unwrap(), version)).place();
        assert_eq!(lookup.file.as_deref(), Some("download/sumdb/sum.example.org/x/lookup/example.com/!m@v1.0.0-!r!c1"));
    }

    #[test]
    fn what_changes_is_kept_apart() {
        assert_eq!(module("example.com/m", ModuleAsk::List), Place { file: None, memo: Some("queries/example.com/m/@v/list".into()) });
        let branch = module("example.com/m", ModuleAsk::Query("Dev".into()));
        assert_eq!(branch, Place { file: None, memo: Some("queries/example.com/m/@v/!dev.info".into()) });
        let head = Asset::Sumdb("sum.example.org".into(), SumdbWhat::Latest).place();
        assert_eq!(head, Place { file: None, memo: Some("queries/sumdb/sum.example.org/latest".into()) });
    }

    #[test]
    fn a_name_too_long_or_leading_elsewhere_has_no_place() {
        assert_eq!(module(&format!("example.com/{}", "a".repeat(300)), ModuleAsk::List), Place::default());
        assert_eq!(module("example.com/m", ModuleAsk::Query("q".repeat(250))), Place::default());
        assert_eq!(module(&format!("example.com{}", "/a".repeat(2000)), ModuleAsk::List), Place::default());
        assert_eq!(module("example.com/m", ModuleAsk::Query("..".into())), Place::default());
        assert_eq!(Asset::Sumdb("s/../..".into(), SumdbWhat::Tile("tile/8/0/000".parse().unwrap())).place(), Place::default());
    }

    #[test]
    fn what_belongs_to_a_module_and_to_a_version_of_it() {
        let (path, version): (ModulePath, Version) = ("example.com/M".parse().unwrap(), "v1.0.0".parse().unwrap());
        let of_version = [
            "download/example.com/!m/@v/v1.0.0.zip",
            "queries/example.com/!m/@v/v1.0.0.info",
            "download/sumdb/s.org/x/lookup/example.com/!m@v1.0.0",
        ];
        let of_module = [
            "download/example.com/!m/@v/v1.0.0-rc.1.mod",
            "queries/example.com/!m/@v/list",
            "queries/example.com/!m/@latest",
            "download/sumdb/s.org/lookup/example.com/!m@v1.0.1",
            "queries/sumdb/s.org/lookup/example.com/!m@v1.0.1",
        ];
        let of_others = [
            "download/example.com/!m/v2/@v/v1.0.0.zip",
            "download/example.com/m/@v/v1.0.0.zip",
            "queries/example.com/!mm/@v/list",
            "download/sumdb/s.org/lookup/example.com/!m/x@v1.0.0",
            "aside/1-v1.0.0.zip",
        ];
        let (all, one) = (Belongings::of(&path, None), Belongings::of(&path, Some(&version)));
        for key in of_version {
            assert!(all.contain(key) && one.contain(key), "{key}");
        }
        for key in of_module {
            assert!(all.contain(key) && !one.contain(key), "{key}");
        }
        for key in of_others {
            assert!(!all.contain(key) && !one.contain(key), "{key}");
        }
    }

    #[test]
    fn a_lookup_is_no_zip() {
        let version: Version = "v1.0.0-a.zip".parse().unwrap();
        let lookup = Asset::Sumdb("s.org".into(), SumdbWhat::Lookup("example.com/m".parse().unwrap(), version)).place();
        assert_eq!(sidecar(&lookup.file.unwrap()), None);
    }
}
