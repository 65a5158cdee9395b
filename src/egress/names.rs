//! How names are compared: in lower case, element by element, a trailing `.git` of an element not counted, nor at
//! gopkg.in one before its `.vN`; and what is known of hosts by their name alone.

use std::borrow::Cow;

use crate::config::PublicHosts;
use crate::module::ModulePath;
use crate::store::KnownModules;

/// The separator of keys. Below every character of a path, so that in sorted keys all that lies below a path follows it directly.
const SEPARATOR: char = '\0';

/// The shared host whose modules carry their major version in the repository's element.
const GOPKG: &str = "gopkg.in";

/// Elements of a repository's root at a shared host, at most: `host/org/repo`.
const ROOT_ELEMENTS_MAX: usize = 3;

/// Host suffixes under which no public module can be: reserved, or in private use everywhere.
const NEVER_PUBLIC_SUFFIXES: &[&str] = &[
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
    "test",
    "invalid",
    "onion",
];

/// A path in the two forms in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    lower: String,
    key: String,
}

impl Name {
    pub(super) fn new(path: &ModulePath) -> Self {
        Self::from_text(path.as_str())
    }

    /// Of any text with elements: literal parts of patterns are not always module paths.
    pub(super) fn from_text(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let key = key_of(&lower);
        Self { lower, key }
    }

    /// The path in lower case.
    pub(super) fn lower(&self) -> &str {
        &self.lower
    }

    /// In lower case without any `.git`, with another separator: what trees are sorted by.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// In lower case without any `.git`, as a path.
    pub(super) fn plain(&self) -> String {
        self.key.replace(SEPARATOR, "/")
    }

    /// The host in lower case.
    pub(super) fn host(&self) -> &str {
        first_element(&self.key)
    }

    /// The number of elements.
    pub(super) fn depth(&self) -> usize {
        self.key.split(SEPARATOR).count()
    }
}

fn key_of(lower: &str) -> String {
    let mut key = String::with_capacity(lower.len());
    let mut elements = lower.split('/');
    let host = elements.next().unwrap_or_default();
    key.push_str(host);
    for element in elements {
        key.push(SEPARATOR);
        key.push_str(&plain_element(host, element));
    }
    key
}

/// An element of a path at `host` (both in lower case) without what does not count: `lib` of `lib.git`. At gopkg.in the
/// last `.vN` alone stays: `lib.v3` of `lib.git.v3` and of `lib.v2.git.v3.git`.
pub(super) fn plain_element<'a>(host: &str, element: &'a str) -> Cow<'a, str> {
    let plain = element.trim_end_matches(".git");
    match gopkg_major(plain).filter(|_| host == GOPKG) {
        Some(name) => match gopkg_name(name) {
            bare if bare == name => Cow::Borrowed(plain),
            bare => Cow::Owned([bare, &plain[name.len()..]].concat()),
        },
        None => Cow::Borrowed(plain),
    }
}

fn first_element(key: &str) -> &str {
    key.split(SEPARATOR).next().unwrap_or_default()
}

/// `key` and what lies above it, the host first.
pub(super) fn key_prefixes(key: &str) -> impl Iterator<Item = &str> {
    prefixes(key, SEPARATOR)
}

/// `path` and what lies above it, the host first.
pub(super) fn path_prefixes(path: &str) -> impl Iterator<Item = &str> {
    prefixes(path, '/')
}

fn prefixes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.match_indices(separator).map(|(at, _)| &text[..at]).chain([text])
}

/// Whether `key` lies below `above`, truly.
pub(super) fn key_is_below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.starts_with(SEPARATOR))
}

/// Whether this is `host` or `host/org` of a shared host with three-part paths.
pub(super) fn is_shared_root(hosts: &PublicHosts, name: &Name) -> bool {
    name.depth() <= 2 && hosts.three_part(name.host())
}

/// The key of the root of the repository that a path at a shared host is in: `host/org/repo`. Where a repository may lie
/// right below the host it is taken to do so: rather too much is near a hosted path than too little.
pub(super) fn repository_root(hosts: &PublicHosts, name: &Name) -> String {
    let versioned = |element: &str| gopkg_major(element).is_some();
    let elements = match name.host() {
        GOPKG if !name.key.split(SEPARATOR).nth(1).is_some_and(versioned) => ROOT_ELEMENTS_MAX,
        GOPKG => 2,
        host if hosts.three_part(host) => ROOT_ELEMENTS_MAX,
        _ => 2,
    };
    let key = root_key(name);
    let end = key.match_indices(SEPARATOR).nth(elements - 1).map_or(key.len(), |(at, _)| at);
    key[..end].to_owned()
}

/// The keys of what may be the root of the repository that a path at a shared host is in, the host first: what [`repository_root`] makes
/// is among them, and however long the path is, they are few.
pub(super) fn possible_roots(name: &Name) -> Vec<String> {
    key_prefixes(&root_key(name)).take(ROOT_ELEMENTS_MAX).map(str::to_owned).collect()
}

/// The key by which a path at a shared host is looked for among repository roots: any of its prefixes may be one.
fn root_key(name: &Name) -> String {
    if name.host() != GOPKG {
        return name.key.clone();
    }
    let elements = name.key.split(SEPARATOR).enumerate();
    let stripped = elements.map(|(i, element)| if i == 0 { element } else { gopkg_name(element) });
    stripped.collect::<Vec<_>>().join("\0")
}

/// What is left of an element at [`GOPKG`] when no `.git` and no `.vN` is.
fn gopkg_name(element: &str) -> &str {
    let mut name = element;
    loop {
        let trimmed = name.trim_end_matches(".git");
        match gopkg_major(trimmed) {
            Some(shorter) => name = shorter,
            None => return trimmed,
        }
    }
}

/// `yaml` of `yaml.v3` and of `yaml.v0-unstable`.
fn gopkg_major(element: &str) -> Option<&str> {
    let (name, major) = element.strip_suffix("-unstable").unwrap_or(element).rsplit_once(".v")?;
    (!name.is_empty() && !major.is_empty() && major.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

/// Whether a known module is in the repository with this root. As many look-ups whatever is known.
pub(super) fn is_known_repository(root: &str, known: &dyn KnownModules) -> bool {
    let path = root.replace(SEPARATOR, "/");
    let itself = known.any_at_or_below(&path);
    let dot_git = known.any_at_or_below(&format!("{path}.git"));
    let versioned = first_element(root) == GOPKG && {
        // ':' is what follows '9'.
        let begin = format!("{path}.v");
        known.any_between(&format!("{begin}0"), &format!("{begin}:"), &|known| known.strip_prefix(&*begin).is_some_and(begins_with_major))
    };
    itself || dot_git || versioned
}

/// Whether this is `3`, `3-unstable`, or that and a `/`.
fn begins_with_major(text: &str) -> bool {
    let element = text.split('/').next().unwrap_or_default();
    let digits = element.strip_suffix("-unstable").unwrap_or(element);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Whether no public module can be at this host (lower case): an IP address in any form that a resolver may read as
/// one, or a name that no public DNS holds.
pub(super) fn is_never_public(host: &str) -> bool {
    ends_in_number(host)
        || NEVER_PUBLIC_SUFFIXES.iter().any(|suffix| host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// The URL standard's "ends in a number": such hosts are read as IPv4 addresses (`127.1`, `0x7f.1`, `1.2.3.0x4`) or refused.
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_git_and_case_do_not_count() {
        let name = |text| Name::from_text(text);
        assert_eq!(name("Example.com/A/b.git/C.git.git").plain(), "example.com/a/b/c");
        assert_eq!(name("example.com/a.github").plain(), "example.com/a.github");
        assert_eq!(name("example.git/a").plain(), "example.git/a");
        assert_eq!(name("example.com/a.git.v2").plain(), "example.com/a.git.v2");
    }

    #[test]
    fn dot_git_does_not_count_before_a_version_at_gopkg() {
        for (text, plain) in [
            ("a.v2", "a.v2"),
            ("a.git.v2", "a.v2"),
            ("A.Git.git.V2.git", "a.v2"),
            ("a.v2.git.v3", "a.v3"),
            ("a.git.v1.v2.git.v3-unstable", "a.v3-unstable"),
            ("x/a.git.v2/sub.git.v3", "x/a.v2/sub.v3"),
            ("a.github.v2", "a.github.v2"),
            (".v2.v3", ".v2.v3"),
        ] {
            assert_eq!(Name::from_text(&format!("gopkg.in/{text}")).plain(), format!("gopkg.in/{plain}"), "{text}");
        }
    }

    #[test]
    fn repository_roots_of_shared_hosts() {
        let hosts = PublicHosts::shipped();
        let root = |text: &str| repository_root(&hosts, &Name::from_text(text)).replace('\0', "/");
        assert_eq!(root("github.com/Acme/Lib/sub/v2"), "github.com/acme/lib");
        assert_eq!(root("github.com/acme/lib.git/sub"), "github.com/acme/lib");
        assert_eq!(root("github.com/acme"), "github.com/acme");
        assert_eq!(root("gopkg.in/yaml.v3"), "gopkg.in/yaml");
        assert_eq!(root("gopkg.in/yaml.v3/sub/deep"), "gopkg.in/yaml");
        assert_eq!(root("gopkg.in/acme/lib.v1-unstable/sub"), "gopkg.in/acme/lib");
        assert_eq!(root("gopkg.in/yaml"), "gopkg.in/yaml");
        for twin in ["yaml.git.v3", "yaml.v2.git.v3", "yaml.v2-unstable.git.git.v3.git/sub.v1", "YAML.Git.V9"] {
            assert_eq!(root(&format!("gopkg.in/{twin}")), "gopkg.in/yaml", "{twin}");
        }
        assert_eq!(root("pagure.io/lib/sub/deep"), "pagure.io/lib");
    }

    #[test]
    fn hosts_that_no_public_module_can_be_at() {
        for host in [
            "10.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f.0.0.1",
            "1.2.3.0x4",
            "1.2.3.0x",
            "017700000.1",
            "1.2.3.4.5",
            "x.1",
            "localhost",
            "a.localhost",
            "localhost.localdomain",
            "printer.local",
            "a.b.internal",
            "x.intranet",
            "x.private",
            "x.corp",
            "x.home",
            "x.lan",
            "x.home.arpa",
            "x.test",
            "x.invalid",
            "x.onion",
        ] {
            assert!(is_never_public(host), "{host}");
        }
        for host in
            ["example.com", "local.example.com", "xlocal.io", "mylan", "home.arpa.net", "1.com", "0x7f.com", "a.1b", "x.0xg", "arpa"]
        {
            assert!(!is_never_public(host), "{host}");
        }
    }
}
