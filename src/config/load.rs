//! From the file, the environment and flags to one [`Config`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checks;
use super::keys::{self, Kind};
use super::problem::{ConfigError, Fault, Problem, Wrong};
use super::raw::{self, Layer, Raw};
use super::{Config, Source, Sourced};

/// The annotated reference of every key, `config/modgate.toml`: what `modgate config --init` prints.
pub const REFERENCE: &str = include_str!("../../config/modgate.toml");

/// The longest settings file, bytes.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// Names the settings file.
pub(super) const FILE_VARIABLE: &str = "MODGATE_CONFIG";
/// The file of a run that names none.
const SYSTEM_FILE: &str = "/etc/modgate/modgate.toml";
/// Where root keeps everything by default.
const SYSTEM_DATA_DIR: &str = "/var/lib/modgate";

/// What the command line says about settings. Empty: nothing.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--listen`, any number of times; each is a list separated by commas. An empty text: no plain listener.
    pub listen: Vec<String>,
    /// `--tls-listen`, likewise.
    pub tls_listen: Vec<String>,
}

/// What settings depend on besides the file and flags. [`Environment::default`] is an empty one.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The environment's variables.
    pub variables: BTreeMap<OsString, OsString>,
    /// Root runs this.
    pub root: bool,
    /// The file of a run that names none, read if it is there.
    pub system_file: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect(), root: rustix::process::geteuid().is_root(), system_file: Some(SYSTEM_FILE.into()) }
    }

    /// A variable that is set and not empty.
    fn get(&self, name: &str) -> Option<&OsString> {
        self.variables.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty())
    }

    /// Where everything is kept by default; `None` where nothing says who runs this.
    fn data_dir(&self) -> Option<PathBuf> {
        if self.root {
            return Some(SYSTEM_DATA_DIR.into());
        }
        // The XDG specification: a relative path there is to be ignored.
        let data = self.get("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Some(data.or_else(|| Some(Path::new(self.get("HOME")?).join(".local/share")))?.join("modgate"))
    }
}

/// Settings, loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Every key with its value and where it was set, in the order of the reference.
    pub settings: Vec<Setting>,
    /// What is allowed but probably not meant; a line each.
    pub warnings: Vec<String>,
    /// The values as they were written: to be compared with those of another time.
    pub(super) layer: Layer,
}

/// One key, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`
    pub key: String,
    /// Its value as TOML; secrets are masked.
    pub value: String,
    /// Where it was set.
    pub source: Source,
}

impl std::fmt::Display for Setting {
    /// `key = value  # source`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}  # {}", self.key, self.value, self.source)
    }
}

/// Finds and reads the settings file, if there is one, and lays the environment and the flags over it.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Loaded, ConfigError> {
    let Some(file) = SettingsFile::find(flags, environment)? else { return assemble(None, flags, environment) };
    let mut loaded = load_text(&file.text, &file.path, flags, environment)?;
    if file.readable_by_all && !loaded.config.users.is_empty() {
        loaded.warnings.push(format!("{}: everyone on this machine can read its password hashes: chmod o-r", file.path.display()));
    }
    Ok(loaded)
}

/// As [`load`] with a file of this text. `file` names it in sources; relative paths in it are relative to its folder.
pub fn load_text(text: &str, file: &Path, flags: &Flags, environment: &Environment) -> Result<Loaded, ConfigError> {
    assemble(Some((file, text)), flags, environment)
}

impl Config {
    /// The settings that a file of this text makes by itself, with no environment and no flags.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let environment = Environment { root: true, ..Environment::default() };
        Ok(load_text(text, Path::new("modgate.toml"), &Flags::default(), &environment)?.config)
    }
}

/// The settings file, as it was read.
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    readable_by_all: bool,
}

impl SettingsFile {
    /// The file that is named, or the system's if it is there.
    pub(super) fn find(flags: &Flags, environment: &Environment) -> Result<Option<Self>, ConfigError> {
        let named = flags.config.clone().or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
        match (named, &environment.system_file) {
            (Some(path), _) => Self::read(path).map(Some),
            (None, Some(path)) => match Self::read(path.clone()) {
                Err(ConfigError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                other => other.map(Some),
            },
            (None, None) => Ok(None),
        }
    }

    fn read(path: PathBuf) -> Result<Self, ConfigError> {
        let (bytes, readable_by_all) = match read_file(&path) {
            Ok(read) => read,
            Err(error) => return Err(ConfigError::Read { path, error }),
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path, text, readable_by_all }),
            Err(error) => {
                let whole = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes().iter().take(whole).filter(|b| **b == b'\n').count();
                let source = Source::File(Arc::new(path), line);
                let fault = Fault::Syntax("these bytes are not UTF-8".to_owned());
                Err(ConfigError::Invalid(vec![Problem { source, key: String::new(), fault, hint: None }]))
            }
        }
    }
}

/// A file's bytes, and whether everyone can read it.
fn read_file(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let file = std::fs::File::open(path)?;
    let readable_by_all = file.metadata()?.mode() & 0o004 != 0;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok((bytes, readable_by_all))
}

/// Where everything is kept, as far as that can be told of settings of which something else may be wrong: whoever only looks for the
/// gateway that runs needs no more. `None`: nothing tells. So it is of a file that is missing though it was named, cannot be read or
/// is not TOML, unless a flag or the environment tells: by the default it would be another gateway's.
pub fn data_dir(flags: &Flags, environment: &Environment) -> Option<PathBuf> {
    // What is wrong is told by whoever loads them.
    let mut problems = Vec::new();
    let mut layer = raw::from_environment(&environment.variables, &mut problems);
    layer.cover(from_flags(flags, &mut problems));
    if !layer.values.contains_key("data_dir") {
        layer = defaults(&Layer::default(), environment);
        if let Some(file) = SettingsFile::find(flags, environment).ok()? {
            layer.cover(raw::from_toml(&file.text, &Arc::new(file.path), &mut problems));
        }
    }
    if problems.iter().any(hides_data_dir) {
        return None;
    }
    let set = layer.values.remove("data_dir")?;
    let text = super::sections::path_text(&set.value).ok()?;
    Some(super::sections::path(Sourced { value: text, source: set.source }))
}

/// Whether `data_dir` may have been meant to be set where this is wrong.
fn hides_data_dir(problem: &Problem) -> bool {
    let name = problem.key.rsplit('.').next().unwrap_or_default();
    match problem.fault {
        Fault::Syntax(_) => true,
        Fault::UnknownKey => keys::nearest(name).as_deref() == Some("data_dir"),
        _ => problem.key == "data_dir",
    }
}

fn assemble(file: Option<(&Path, &str)>, flags: &Flags, environment: &Environment) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut layer = match file {
        Some((path, text)) => raw::from_toml(text, &Arc::new(path.to_owned()), &mut problems),
        None => built_in(),
    };
    if problems.iter().any(|problem| matches!(problem.fault, Fault::Syntax(_))) {
        // What was salvaged would only add errors that are none.
        return Err(ConfigError::Invalid(in_order(problems)));
    }
    layer.cover(raw::from_environment(&environment.variables, &mut problems));
    layer.cover(from_flags(flags, &mut problems));
    let mut layers = defaults(&layer, environment);
    layers.cover(layer);
    Loaded::judged(layers, file.map(|(path, _)| path.to_owned()), problems)
}

impl Loaded {
    /// What all values together make, if nothing is wrong with them beyond `problems`, of which there may be none.
    pub(super) fn judged(layer: Layer, file: Option<PathBuf>, problems: Vec<Problem>) -> Result<Self, ConfigError> {
        let mut reader = Reader { layer, problems, warnings: Vec::new() };
        let config = super::sections::config(&mut reader, file);
        checks::run(&config, &mut reader);
        if !reader.problems.is_empty() {
            return Err(ConfigError::Invalid(in_order(reader.problems)));
        }
        Ok(Self { config, settings: settings(&reader.layer), warnings: reader.warnings, layer: reader.layer })
    }
}

/// Lines of the file first, in their order.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| match &problem.source {
        Source::File(_, line) => (0, *line),
        Source::Env(_) => (1, 0),
        Source::Flag(_) => (2, 0),
        Source::Default => (3, 0),
    });
    problems
}

fn built_in() -> Layer {
    let mut layer = Layer::default();
    for (name, text) in keys::BUILT_IN {
        let kind = keys::find(name).map_or(Kind::Text, |key| key.kind);
        layer.set_text(name, kind, text, Source::Default);
    }
    for (owner, visibility) in keys::BUILT_IN_OWNERS {
        layer.set_text(&format!("owners.{owner}.visibility"), Kind::Text, visibility, Source::Default);
        layer.owners.extend(owner.parse().ok().map(|owner| (owner, Source::Default)));
    }
    layer
}

/// The defaults of every key, those of the owners and users of `above` among them.
fn defaults(above: &Layer, environment: &Environment) -> Layer {
    let mut layer = Layer::default();
    for key in keys::KEYS {
        let Some(text) = key.default else { continue };
        for name in full_names(key.name, above) {
            layer.set_text(&name, key.kind, text, Source::Default);
        }
    }
    if let Some(dir) = environment.data_dir().as_deref().and_then(Path::to_str) {
        layer.set_text("data_dir", Kind::Text, dir, Source::Default);
    }
    layer
}

/// A key's full names: one, or one for each owner or user.
pub(super) fn full_names(name: &str, layer: &Layer) -> Vec<String> {
    match name.split_once(".*.") {
        Some(("owners", key)) => layer.owners.keys().map(|owner| format!("owners.{owner}.{key}")).collect(),
        Some(("users", key)) => layer.users.keys().map(|user| format!("users.{user}.{key}")).collect(),
        _ => vec![name.to_owned()],
    }
}

fn from_flags(flags: &Flags, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    if let Some(dir) = &flags.data_dir {
        match dir.to_str() {
            Some(dir) => layer.set_text("data_dir", Kind::Text, dir, Source::Flag("--data-dir")),
            None => problems.push(Wrong::expected("a path in UTF-8").at(Source::Flag("--data-dir"), "data_dir", "other bytes")),
        }
    }
    for (key, flag, given) in [("server.listen", "--listen", &flags.listen), ("server.tls_listen", "--tls-listen", &flags.tls_listen)] {
        if !given.is_empty() {
            layer.set_text(key, Kind::List, &given.join(","), Source::Flag(flag));
        }
    }
    layer
}

fn settings(layer: &Layer) -> Vec<Setting> {
    let mut out = Vec::new();
    for key in keys::KEYS {
        for name in full_names(key.name, layer) {
            let Some(sourced) = layer.values.get(&name) else { continue };
            let value = if keys::is_secret(key.name) { "\"***\"".to_owned() } else { sourced.value.toml() };
            out.push(Setting { key: name, value, source: sourced.source.clone() });
        }
    }
    out
}

/// Reads typed values out of the layers, and notes what is wrong.
pub(super) struct Reader {
    pub(super) layer: Layer,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Reader {
    /// Where a key was set; where its owner or user was, if it was not.
    pub(super) fn source(&self, key: &str) -> Source {
        if let Some(set) = self.layer.values.get(key) {
            return set.source.clone();
        }
        let name = key.split('.').nth(1).unwrap_or_default();
        let owner = || self.layer.owners.iter().find(|(owner, _)| owner.as_str() == name);
        let user = || self.layer.users.iter().find(|(user, _)| user.as_str() == name);
        match key.split('.').next() {
            Some("owners") => owner().map_or(Source::Default, |(_, source)| source.clone()),
            Some("users") => user().map_or(Source::Default, |(_, source)| source.clone()),
            _ => Source::Default,
        }
    }

    /// The value of a key that must have one. `None` means that a problem was noted.
    pub(super) fn value<T>(&mut self, key: &str, parse: impl FnOnce(&Raw) -> Result<T, Wrong>) -> Option<Sourced<T>> {
        let Some(Sourced { value, source }) = self.layer.values.get(key).cloned() else {
            self.problems.push(Wrong::expected("a value").at(self.source(key), key, "nothing"));
            return None;
        };
        match parse(&value) {
            Ok(value) => Some(Sourced { value, source }),
            Err(wrong) => {
                self.problems.push(wrong.at(source, key, value.found()));
                None
            }
        }
    }

    /// As [`Self::value`]; `stand_in` is only there so that reading can go on after a problem.
    pub(super) fn or<T>(&mut self, key: &str, stand_in: T, parse: impl FnOnce(&Raw) -> Result<T, Wrong>) -> T {
        self.value(key, parse).map_or(stand_in, |sourced| sourced.value)
    }

    /// The value of a string key that may be unset or empty.
    pub(super) fn optional<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<Sourced<T>> {
        match self.layer.values.get(key).map(|set| &set.value) {
            None => None,
            Some(Raw::Text(text)) if text.is_empty() => None,
            Some(_) => self.value(key, |raw| super::values::text(raw).and_then(parse)),
        }
    }

    /// The strings of a list, each with its own line. Wrong ones are noted and left out.
    pub(super) fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Vec<Sourced<T>> {
        let items = self.value(key, |raw| match raw {
            Raw::List(items) => Ok(items.clone()),
            _ => Err(Wrong::expected("a list of strings, [\"…\", \"…\"]")),
        });
        let mut out = Vec::new();
        for Sourced { value, source } in items.map(|items| items.value).unwrap_or_default() {
            match super::values::text(&value).and_then(&parse) {
                Ok(value) => out.push(Sourced { value, source }),
                Err(wrong) => self.problems.push(wrong.at(source, key, value.found())),
            }
        }
        out
    }

    /// Whether nothing is wrong with this key so far.
    pub(super) fn problems_free(&self, key: &str) -> bool {
        !self.problems.iter().any(|problem| problem.key == key)
    }

    /// Notes a problem with a key's value.
    pub(super) fn wrong(&mut self, source: Source, key: &str, expected: impl Into<String>, found: impl Into<String>, hint: Option<&str>) {
        let wrong = Wrong { expected: expected.into(), found: None, hint: hint.map(str::to_owned) };
        self.problems.push(wrong.at(source, key, found));
    }
}
