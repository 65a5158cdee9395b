//! `upstream.auth`: a list of tables, each a URL and where the secret for it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::keys;
use super::load::Reader;
use super::problem::{Wrong, quote};
use super::raw::Raw;
use super::sections::{path, path_text};
use super::upstream::base_url;
use super::{Secret, Source, Sourced, UpstreamAuth, values};

/// The key.
const KEY: &str = "upstream.auth";
/// The keys of an entry.
const KEYS: [&str; 4] = ["url", "user", "password_file", "bearer_file"];

/// Reads all entries; wrong ones are noted and left out.
pub(super) fn read(r: &mut Reader) -> Vec<UpstreamAuth> {
    let expected = "a list of tables, [{ url = \"https://proxy.example.org\", user = \"u\", password_file = \"f\" }]";
    let entries = r.value(KEY, |raw| match raw {
        Raw::List(entries) => Ok(entries.clone()),
        _ => Err(Wrong::expected(expected)),
    });
    let mut all: Vec<UpstreamAuth> = Vec::new();
    for Sourced { value, source } in entries.map(|entries| entries.value).unwrap_or_default() {
        let Raw::Table(table) = value else {
            // A string here may well be a secret.
            r.wrong(source, KEY, expected, "something that is no table", None);
            continue;
        };
        let Some(entry) = (Table { r, table, source: source.clone() }).read() else { continue };
        if all.iter().any(|other| other.url == entry.url) {
            r.wrong(source, KEY, "each URL once", quote(entry.url.as_str()), None);
            continue;
        }
        all.push(entry);
    }
    all
}

/// One entry, being read.
struct Table<'a> {
    r: &'a mut Reader,
    table: BTreeMap<String, Sourced<Raw>>,
    source: Source,
}

impl Table<'_> {
    fn read(mut self) -> Option<UpstreamAuth> {
        let known = self.has_known_keys_only();
        let url = self.take("url", |raw| values::text(raw).and_then(|text| base_url(text, "an http or https URL")));
        let user = self.take("user", user);
        let password = self.file("password_file");
        let bearer = self.file("bearer_file");
        let expected = "url, and either user and password_file or bearer_file";
        let (url, secret) = match (url, user, password, bearer) {
            (Some(url), Some(user), Some(file), None) => (url, Secret::Password { user: user?.value, file: file? }),
            (Some(url), None, None, Some(file)) => (url, Secret::Bearer { file: file? }),
            _ => {
                self.r.wrong(self.source, KEY, expected, "other keys", None);
                return None;
            }
        };
        known.then_some(UpstreamAuth { url: url?.value, secret })
    }

    fn has_known_keys_only(&mut self) -> bool {
        let unknown: Vec<_> = self.table.iter().filter(|(key, _)| !KEYS.contains(&key.as_str())).collect();
        for (key, item) in &unknown {
            let hint = match key.as_str() {
                "password" | "token" | "bearer" => Some("secrets stand in files of their own, not here".to_owned()),
                _ => keys::closest(key, KEYS).map(|near| format!("did you mean {near}?")),
            };
            // The value may be a secret: it is not repeated.
            self.r.wrong(item.source.clone(), KEY, "url, user, password_file or bearer_file", quote(key), hint.as_deref());
        }
        unknown.is_empty()
    }

    /// `None`: not there. `Some(None)`: wrong, and noted.
    fn take<T>(&mut self, key: &str, parse: impl FnOnce(&Raw) -> Result<T, Wrong>) -> Option<Option<Sourced<T>>> {
        let Sourced { value, source } = self.table.get(key)?.clone();
        Some(match parse(&value) {
            Ok(value) => Some(Sourced { value, source }),
            Err(wrong) => {
                self.r.problems.push(wrong.at(source, format!("{KEY}.{key}"), value.found()));
                None
            }
        })
    }

    fn file(&mut self, key: &str) -> Option<Option<PathBuf>> {
        self.take(key, path_text).map(|file| file.map(path))
    }
}

fn user(raw: &Raw) -> Result<String, Wrong> {
    let text = values::text(raw)?;
    let good = !text.is_empty() && !text.contains(':') && !text.chars().any(char::is_control);
    if good { Ok(text.to_owned()) } else { Err(Wrong::expected("a user's name, without a colon")) }
}
