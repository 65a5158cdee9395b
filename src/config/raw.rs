//! Values as they were written, by dotted key, from each place that can set them; a later place goes over an earlier one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{self, Kind, PREFIX};
use super::problem::{Fault, Problem, Wrong, quote};
use super::{Source, Sourced};
use crate::module::{OwnerName, UserName};

/// How many places are told where a file is not TOML: one open quote makes nonsense of all that follows.
const SYNTAX_ERRORS_MAX: usize = 3;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    Integer(i64),
    Truth(bool),
    List(Vec<Sourced<Raw>>),
    /// A table within a list, by key.
    Table(BTreeMap<String, Sourced<Raw>>),
    /// Something that no key takes: its name.
    Other(&'static str),
}

impl Raw {
    /// The value for an error: short, on one line.
    pub(super) fn found(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Integer(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(name) => (*name).to_owned(),
        }
    }

    /// The value as TOML.
    pub(super) fn toml(&self) -> String {
        match self {
            Self::Text(text) => toml::Value::from(text.as_str()).to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::List(list) => format!("[{}]", list.iter().map(|item| item.value.toml()).collect::<Vec<_>>().join(", ")),
            Self::Table(table) => {
                let entries = table.iter().map(|(key, item)| format!("{} = {}", toml_key(key), item.value.toml()));
                format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
            }
            Self::Other(name) => (*name).to_owned(),
        }
    }
}

/// A key as TOML, in quotes where it needs them.
fn toml_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if bare { key.to_owned() } else { toml::Value::from(key).to_string() }
}

/// What one or more places set.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// By full key, owners' and users' names included.
    pub(super) values: BTreeMap<String, Sourced<Raw>>,
    /// The owners that are defined, and where.
    pub(super) owners: BTreeMap<OwnerName, Source>,
    /// The users that are defined, and where.
    pub(super) users: BTreeMap<UserName, Source>,
}

impl Layer {
    /// Sets a key from text, as the environment and flags do, unless the text is empty for a list.
    pub(super) fn set_text(&mut self, name: &str, kind: Kind, text: &str, source: Source) {
        let raw = match kind {
            Kind::Text => Raw::Text(text.to_owned()),
            Kind::Truth => text.parse().map_or_else(|_| Raw::Text(text.to_owned()), Raw::Truth),
            Kind::Count => text.parse().map_or_else(|_| Raw::Text(text.to_owned()), Raw::Integer),
            // None but an empty text, the default, comes here.
            Kind::Tables => Raw::List(Vec::new()),
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Raw::List(items.map(|item| Sourced { value: Raw::Text(item.to_owned()), source: source.clone() }).collect())
            }
        };
        self.values.insert(name.to_owned(), Sourced { value: raw, source });
    }

    /// Lays `above` over this one.
    pub(super) fn cover(&mut self, above: Self) {
        // `server.tls` is a word or a table: whichever was set last, the other form below it is gone.
        if above.values.contains_key("server.tls") {
            self.values.retain(|key, _| !key.starts_with("server.tls."));
        } else if above.values.keys().any(|key| key.starts_with("server.tls.")) {
            self.values.remove("server.tls");
        }
        self.values.extend(above.values);
        self.owners.extend(above.owners);
        self.users.extend(above.users);
    }
}

/// Reads a settings file's text. Where it is not TOML, that is all that is said about it.
pub(super) fn from_toml(text: &str, file: &Arc<PathBuf>, problems: &mut Vec<Problem>) -> Layer {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    let mut reader = FileReader { file, lines, layer: Layer::default(), problems };
    if errors.is_empty() {
        reader.table(table.get_ref(), "", "");
    }
    for error in errors.into_iter().take(SYNTAX_ERRORS_MAX) {
        let source = reader.source(error.span().map_or(0, |span| span.start));
        let fault = Fault::Syntax(error.message().split_whitespace().collect::<Vec<_>>().join(" "));
        reader.problems.push(Problem { source, key: String::new(), fault, hint: None });
    }
    reader.layer
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line of a byte, counted from 1.
    fn of(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte)
    }
}

struct FileReader<'a> {
    file: &'a Arc<PathBuf>,
    lines: Lines,
    layer: Layer,
    problems: &'a mut Vec<Problem>,
}

impl FileReader<'_> {
    fn source(&self, byte: usize) -> Source {
        Source::File(Arc::clone(self.file), self.lines.of(byte))
    }

    /// Reads the keys below `prefix`; `known` is the same with `*` for names.
    fn table(&mut self, table: &DeTable<'_>, prefix: &str, known: &str) {
        for (name, value) in table {
            let source = self.source(name.span().start);
            let name = name.get_ref().as_ref();
            let full = join(prefix, name);
            match known {
                "owners" => {
                    if let Some(owner) = self.name::<OwnerName>(name, &full, &source) {
                        self.layer.owners.insert(owner, source.clone());
                        self.section(value, &full, "owners.*", source);
                    }
                }
                "users" => {
                    if let Some(user) = self.name::<UserName>(name, &full, &source) {
                        self.layer.users.insert(user, source.clone());
                        self.section(value, &full, "users.*", source);
                    }
                }
                _ => self.key(value, &full, &join(known, name), source),
            }
        }
    }

    /// An owner's or a user's name.
    fn name<T: FromStr>(&mut self, name: &str, full: &str, source: &Source) -> Option<T> {
        let parsed = name.parse().ok();
        if parsed.is_none() {
            let wrong = Wrong::expected("a name of 1 to 40 characters of a-z, 0-9 and -, not beginning with -");
            self.problems.push(wrong.at(source.clone(), full, quote(name)));
        }
        parsed
    }

    fn key(&mut self, value: &Spanned<DeValue<'_>>, full: &str, known: &str, source: Source) {
        let is_table = value.get_ref().is_table();
        if keys::find(known).is_some() && !(is_table && keys::is_section(known)) {
            let raw = self.raw(value);
            self.layer.values.insert(full.to_owned(), Sourced { value: raw, source });
        } else if keys::is_section(known) {
            self.section(value, full, known, source);
        } else {
            let name = full.split('.').nth(1).unwrap_or_default();
            let hint = keys::nearest(known).map(|near| format!("did you mean {}?", near.replace('*', name)));
            self.problems.push(Problem { source, key: full.to_owned(), fault: Fault::UnknownKey, hint });
        }
    }

    fn section(&mut self, value: &Spanned<DeValue<'_>>, full: &str, known: &str, source: Source) {
        match value.get_ref().as_table() {
            Some(table) => self.table(table, full, known),
            None => {
                let found = self.raw(value).found();
                self.problems.push(Wrong::expected(format!("a table, [{full}]")).at(source, full, found));
            }
        }
    }

    fn entry(&self, key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> (String, Sourced<Raw>) {
        (key.get_ref().as_ref().to_owned(), Sourced { value: self.raw(value), source: self.source(key.span().start) })
    }

    fn raw(&self, value: &Spanned<DeValue<'_>>) -> Raw {
        match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.clone().into_owned()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or(Raw::Other("an integer out of range"), Raw::Integer)
            }
            DeValue::Boolean(truth) => Raw::Truth(*truth),
            DeValue::Array(items) => {
                let item = |item: &Spanned<DeValue<'_>>| Sourced { value: self.raw(item), source: self.source(item.span().start) };
                Raw::List(items.iter().map(item).collect())
            }
            DeValue::Float(_) => Raw::Other("a number with a fraction"),
            DeValue::Datetime(_) => Raw::Other("a date or time"),
            DeValue::Table(table) => Raw::Table(table.iter().map(|(key, value)| self.entry(key, value)).collect()),
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Variables of ours that are no settings.
const OTHER_VARIABLES: &[&str] = &[super::load::FILE_VARIABLE, "MODGATE_TOKEN"];

/// Reads `MODGATE_SECTION__KEY` and `MODGATE_DATA_DIR`.
///
/// A variable with `__` that is no key is an error. One without is left alone: Kubernetes sets
/// `MODGATE_PORT` and its like wherever a service is named modgate.
pub(super) fn from_environment(variables: &BTreeMap<OsString, OsString>, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(name)) else { continue };
        let source = Source::Env(name.to_owned());
        let Some(key) = keys::KEYS.iter().find(|key| keys::variable(key.name).as_deref() == Some(name)) else {
            if name.contains("__") {
                problems.push(unknown_variable(name, source));
            }
            continue;
        };
        match value.to_str() {
            Some(text) => layer.set_text(key.name, key.kind, text, source),
            None => problems.push(Wrong::expected("text in UTF-8").at(source, key.name, "other bytes")),
        }
    }
    layer
}

fn unknown_variable(name: &str, source: Source) -> Problem {
    let key = name.trim_start_matches(PREFIX).to_ascii_lowercase().replace("__", ".");
    let hint = if key.starts_with("owners.") || key.starts_with("users.") {
        Some("owners and users are set in the file only".to_owned())
    } else if keys::find(&key).is_some() {
        Some("it is set in the file only".to_owned())
    } else {
        keys::nearest(&key).and_then(|near| keys::variable(&near)).map(|near| format!("did you mean {near}?"))
    };
    Problem { source, key, fault: Fault::UnknownKey, hint }
}
