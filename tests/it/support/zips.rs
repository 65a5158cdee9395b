//! Module versions of the fixtures: a txtar archive becomes `.info`, `.mod` and a module zip, the same bytes each time.
//!
//! The first line of an archive's comment is `path@version`; the lines after it are `key: value`:
//! `query` (branches and revisions that resolve to this version, separated by spaces), `listed: time` (in the list with its
//! time, though a pseudo-version), `latest: none` (the module has no @latest), `tampered: yes` (clients are given another zip
//! than the checksum database), `gone: TEXT` (410 with that text), `owner` (of a hosted module: who publishes it).
//! The files `.info` and `.mod` replace what is made up for them; every other file goes into the zip.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use super::txtar;

/// One version of a module.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub(crate) path: String,
    pub(crate) version: String,
    pub(crate) info: String,
    pub(crate) go_mod: Vec<u8>,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) queries: Vec<String>,
    pub(crate) listed_with_time: bool,
    pub(crate) has_latest: bool,
    pub(crate) tampered: bool,
    pub(crate) gone: Option<String>,
    pub(crate) owner: Option<String>,
}

impl Module {
    /// Reads one archive.
    ///
    /// # Panics
    /// On a malformed comment: fixtures are ours.
    pub(crate) fn parse(text: &str) -> Self {
        let archive = txtar::parse(text);
        let mut lines = archive.comment.lines();
        let name = lines.next().unwrap_or_default();
        let (path, version) = name.split_once('@').unwrap_or_else(|| panic!("the comment does not begin with path@version: {name:?}"));
        let mut module = Self {
            path: path.to_owned(),
            version: version.to_owned(),
            info: info(version, &time_of(version)),
            go_mod: Vec::new(),
            files: Vec::new(),
            queries: Vec::new(),
            listed_with_time: false,
            has_latest: true,
            tampered: false,
            gone: None,
            owner: None,
        };
        for line in lines.filter(|l| !l.trim().is_empty()) {
            let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{name}: not key: value: {line:?}"));
            match key {
                "query" => module.queries = value.split_whitespace().map(str::to_owned).collect(),
                "listed" => module.listed_with_time = true,
                "latest" => module.has_latest = false,
                "tampered" => module.tampered = true,
                "gone" => module.gone = Some(value.to_owned()),
                "owner" => module.owner = Some(value.to_owned()),
                _ => panic!("{name}: unknown key {key:?}"),
            }
        }
        module.take_files(archive.files);
        module
    }

    fn take_files(&mut self, files: Vec<(String, Vec<u8>)>) {
        let mut go_mod = None;
        for (name, content) in files {
            match name.as_str() {
                ".info" => self.info = String::from_utf8(content).expect("an .info is UTF-8").trim_end().to_owned(),
                ".mod" => go_mod = Some(content),
                _ => self.files.push((name, content)),
            }
        }
        let in_zip = self.files.iter().find(|(name, _)| name == "go.mod").map(|(_, content)| content.clone());
        self.go_mod = go_mod.or(in_zip).unwrap_or_else(|| format!("module {}\n", self.path).into_bytes());
    }

    /// `path@version`.
    pub(crate) fn name(&self) -> String {
        format!("{}@{}", self.path, self.version)
    }

    /// The module zip that the checksum database vouches for.
    pub(crate) fn zip(&self) -> Vec<u8> {
        self.zip_with(&[])
    }

    /// The zip that clients of the upstream are given: another one if the module is tampered with.
    pub(crate) fn zip_as_served(&self) -> Vec<u8> {
        if self.tampered { self.other_zip() } else { self.zip() }
    }

    /// A valid zip of this version with a file more.
    pub(crate) fn other_zip(&self) -> Vec<u8> {
        self.zip_with(&[("evil.go", b"package evil\n")])
    }

    fn zip_with(&self, more: &[(&str, &[u8])]) -> Vec<u8> {
        let prefix = self.name();
        let own = self.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
        let names: Vec<_> = own.chain(more.iter().copied()).map(|(name, content)| (format!("{prefix}/{name}"), content)).collect();
        zip(names.iter().map(|(name, content)| (name.as_str(), *content)))
    }

    /// Writes the zip into `dir` and returns its path.
    pub(crate) fn write_zip(&self, dir: &Path) -> PathBuf {
        let file = dir.join(format!("{}.zip", self.name().replace('/', "_")));
        fs::write(&file, self.zip()).expect("write a zip");
        file
    }
}

/// Reads every `.txtar` of a folder of tests/testdata, in the order of names.
pub(crate) fn load(folder: &str) -> Vec<Module> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(folder);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("read a folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txtar"))
        .collect();
    files.sort();
    files.iter().map(|file| Module::parse(&fs::read_to_string(file).expect("read an archive"))).collect()
}

/// A zip of these entries, as they are: nothing is checked, so malformed module zips are made here too.
/// Time stamps are constant, so equal entries make equal bytes.
pub(crate) fn zip<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::DEFAULT
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::DEFAULT)
        .unix_permissions(0o644);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(name, options).expect("start a zip entry");
        writer.write_all(content).expect("write a zip entry");
    }
    writer.finish().expect("finish a zip").into_inner()
}

/// Two zips in one: it begins with the bytes of `first`, and its central directory lists the files of `second`, which stand behind them.
pub(crate) fn hidden_behind(first: &[u8], second: &[u8]) -> Vec<u8> {
    // Of an end record without a comment, and of a central directory's entry: APPNOTE 4.3.16 and 4.3.12.
    const END: usize = 22;
    const ENTRY: usize = 46;
    let number = |bytes: &[u8], at: usize, length: usize| (0..length).fold(0, |sum, i| sum | usize::from(bytes[at + i]) << (8 * i));
    let shift = |bytes: &mut [u8], at: usize| {
        let moved = u32::try_from(number(bytes, at, 4) + first.len()).expect("a small zip");
        bytes[at..at + 4].copy_from_slice(&moved.to_le_bytes());
    };
    let mut second = second.to_vec();
    let end = second.len() - END;
    let (entries, mut at) = (number(&second, end + 10, 2), number(&second, end + 16, 4));
    for _ in 0..entries {
        shift(&mut second, at + 42);
        at += ENTRY + [28, 30, 32].map(|field| number(&second, at + field, 2)).iter().sum::<usize>();
    }
    assert_eq!(at, end, "a central directory ends where the end record begins");
    shift(&mut second, end + 16);
    [first, &second].concat()
}

/// An `.info` of this version and time.
fn info(version: &str, time: &str) -> String {
    format!(r#"{{"Version":"{version}","Time":"{time}"}}"#)
}

/// A pseudo-version's own stamp; for others one that rises with the version's numbers.
fn time_of(version: &str) -> String {
    if let Some(stamp) = pseudo_stamp(version) {
        let part = |from: usize, to: usize| &stamp[from..to];
        return format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14));
    }
    let numbers: Vec<u32> = version.split(['v', '.', '-', '+']).filter_map(|n| n.parse().ok()).collect();
    let at = |i: usize| numbers.get(i).copied().unwrap_or(0) % 28;
    format!("2022-{:02}-{:02}T{:02}:00:00Z", at(0) % 12 + 1, at(1) + 1, at(2) % 24)
}

/// The 14 digits of a pseudo-version; `None` of any other version.
pub(crate) fn pseudo_stamp(version: &str) -> Option<&str> {
    let (rest, revision) = version.split_once('+').map_or(version, |(v, _)| v).rsplit_once('-')?;
    let stamp = rest.rsplit(['-', '.']).next()?;
    let hex = revision.len() == 12 && revision.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && stamp.len() == 14 && stamp.bytes().all(|b| b.is_ascii_digit())).then_some(stamp)
}

/// The escaped form of a path or version: `!` and the small letter for a capital one.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    escaped
}

#[test]
fn equal_modules_make_equal_zips() {
    let text = "example.net/a@v1.0.0\n-- go.mod --\nmodule example.net/a\n-- a.go --\npackage a\n";
    let (one, two) = (Module::parse(text), Module::parse(text));
    assert_eq!(one.zip(), two.zip());
    assert_eq!(one.go_mod, b"module example.net/a\n");
    let archive = zip::ZipArchive::new(Cursor::new(one.zip())).expect("read a zip");
    assert_eq!(
        archive.file_names().map(|name| name.expect("a name").into_owned()).collect::<Vec<_>>(),
        ["example.net/a@v1.0.0/go.mod", "example.net/a@v1.0.0/a.go"]
    );
}

#[test]
fn a_zip_hides_behind_another() {
    let module = Module::parse("example.net/a@v1.0.0\n-- go.mod --\nmodule example.net/a\n-- a.go --\npackage a\n");
    let both = hidden_behind(&module.zip(), &module.other_zip());
    assert!(both.starts_with(&module.zip()));
    let mut archive = zip::ZipArchive::new(Cursor::new(both)).expect("read a zip");
    assert_eq!(archive.len(), 3);
    let evil = archive.by_name("example.net/a@v1.0.0/evil.go").expect("it is listed");
    assert_eq!(std::io::read_to_string(evil).expect("it is there"), "package evil\n");
}

#[test]
fn a_pseudo_version_carries_its_time() {
    assert_eq!(time_of("v1.2.4-0.20210607080910-ba9876543210"), "2021-06-07T08:09:10Z");
    assert_eq!(pseudo_stamp("v1.2.4-rc.1"), None);
    assert_eq!(pseudo_stamp("v0.0.0-20210607080910-ba9876543210"), Some("20210607080910"));
}
