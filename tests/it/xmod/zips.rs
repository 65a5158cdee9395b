//! Zips: x/mod's own test data, generated ones, and broken ones.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use modgate::module::dirhash::hash_zip;
use modgate::module::zip::{Directory, JudgeError, ReadError, Source, judge};
use serde_json::Value;
use zip::write::SimpleFileOptions;

use super::generate::{PATH_PIECES, Random, mutations};
use super::oracle::{Question, ask, compare_by, x_mod_dir};

/// A zip on disk, and the module and version that its names speak of.
struct Case {
    path: Vec<u8>,
    version: Vec<u8>,
    bytes: Vec<u8>,
}

/// A name and a content.
type File = (Vec<u8>, Vec<u8>);

/// Writes entries in order, duplicates too. The zip crate refuses a name that it has written, so a stand-in of the same length is
/// written, and exchanged in both headers. Names are filled up with `_` to the length of the shortest stand-in.
fn write_zip(entries: &[File], deflate: bool) -> Vec<u8> {
    let method = if deflate { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = SimpleFileOptions::default().compression_method(method);
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (i, (name, content)) in entries.iter().enumerate() {
        let mut stand_in = format!("\u{1}{i:06}\u{2}");
        stand_in.extend(std::iter::repeat_n('_', name.len().saturating_sub(stand_in.len())));
        out.start_file(stand_in, options).unwrap();
        out.write_all(content).unwrap();
    }
    let mut bytes = out.finish().unwrap().into_inner();
    for at in 0..bytes.len() {
        let Some([1, digits @ .., 2]) = bytes[at..].first_chunk::<8>() else { continue };
        if let Some((name, _)) = std::str::from_utf8(digits).ok().and_then(|d| d.parse::<usize>().ok()).and_then(|i| entries.get(i)) {
            let name: Vec<u8> = name.iter().copied().chain(*b"________").take(name.len().max(8)).collect();
            bytes[at..at + name.len()].copy_from_slice(&name);
        }
    }
    bytes
}

/// What stands in a txtar archive: the comment, and the files.
fn txtar(text: &[u8]) -> (Vec<u8>, Vec<File>) {
    let mut comment = Vec::new();
    let mut files: Vec<File> = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        let name = line.trim_ascii_end().strip_prefix(b"-- ").and_then(|line| line.strip_suffix(b" --"));
        match (name, files.last_mut()) {
            (Some(name), _) => files.push((name.to_vec(), Vec::new())),
            (None, Some((_, content))) => content.extend_from_slice(line),
            (None, None) => comment.extend_from_slice(line),
        }
    }
    (comment, files)
}

/// x/mod's zip/testdata: `check_zip` and `unzip` hold whole names, the others names within the module.
fn x_mod_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for folder in ["check_zip", "unzip", "create", "create_from_dir", "check_files", "check_dir"] {
        for entry in std::fs::read_dir(x_mod_dir().join("zip/testdata").join(folder)).unwrap() {
            let (comment, mut files) = txtar(&std::fs::read(entry.unwrap().path()).unwrap());
            let setting = |key: &[u8]| {
                let mut lines = comment.split(|&b| b == b'\n');
                lines.find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_vec()
            };
            let (path, version) = (setting(b"path="), setting(b"version="));
            files.retain(|(name, _)| name != b"want");
            if !matches!(folder, "check_zip" | "unzip") {
                let prefix = [&path[..], b"@", &version, b"/"].concat();
                files.iter_mut().for_each(|(name, _)| *name = [&prefix[..], name].concat());
            }
            cases.push(Case { path, version, bytes: write_zip(&files, true) });
        }
    }
    assert!(cases.len() > 40, "x/mod's testdata is there");
    cases
}

const NAMES: &[&str] = &[
    "go.mod",
    "GO.MOD",
    "Go.mod",
    "sub/go.mod",
    "sub/GO.mod",
    "LICENSE",
    "a.go",
    "A.go",
    "sub/a.go",
    "Sub/a.go",
    "sub/",
    "sub",
    "vendor/x/y.go",
    "a b.go",
    "é.go",
    "É.go",
    "\u{212a}",
    "k",
    "ſ",
    "s",
    "ß",
    "ẞ",
    "x/../y",
    "./x",
    "x//y",
    "/x",
    "..",
    ".",
    "",
    "/",
    "con",
    "x/aux.go",
    "a:b",
    "a'b",
    "x.",
    "a~1",
    "-x",
    "日本語/x",
    "a\\b",
    "a\u{301}",
    "sub/sub/sub/a",
    "SUB/sub/sub/b",
    "a.go/b",
    "\u{1}",
    "x\ny",
];

const PREFIXES: &[(&str, &str)] = &[
    ("example.com/m", "v1.0.0"),
    ("example.com/m", "v1.0.0"),
    ("example.com/M", "v1.2.3-pre"),
    ("example.com/m/v2", "v2.0.0"),
    ("example.com/m", "v0.0.0-20200102030405-abcdefabcdef"),
    ("gopkg.in/m.v1", "v1.0.0"),
    ("example.com/m", "v2.0.0"),
    ("example.com/m/v2", "v1.0.0"),
    ("example.com/m", "v1"),
    ("example.com/m", "main"),
    ("example.com/m/v1", "v1.0.0"),
    ("m", "v1.0.0"),
    ("example.com/m", "v1.0.0+meta"),
    ("example.com/m", "v2.0.0+incompatible"),
];

/// Modules of files from the pool and mutations of it, with a good go.mod, a bad one or none.
fn generated_cases(count: usize) -> Vec<Case> {
    let names = mutations(NAMES, PATH_PIECES, 400, 20);
    let mut random = Random::new(21);
    let mut cases = Vec::new();
    for _ in 0..count {
        let (path, version) = *random.pick(PREFIXES);
        let mut files = vec![("go.mod".to_owned(), format!("module {path}\n"))];
        if random.below(3) == 0 {
            files.clear();
        }
        for _ in 0..random.below(6) {
            let pool = if random.below(2) == 0 { random.pick(NAMES).to_string() } else { random.pick(&names).clone() };
            let content = if pool.ends_with('/') { String::new() } else { "hello, ".repeat(random.below(4)) };
            files.push((pool, content));
        }
        let named = |name: &str, random: &mut Random| match random.below(40) {
            0 => name.as_bytes().to_vec(),
            1 => format!("{path}@v9.9.9/{name}").into_bytes(),
            2 => [format!("{path}@{version}/{name}").as_bytes(), b"\xff"].concat(),
            _ => format!("{path}@{version}/{name}").into_bytes(),
        };
        let entries: Vec<_> = files.iter().map(|(name, content)| (named(name, &mut random), content.clone().into_bytes())).collect();
        let bytes = write_zip(&entries, random.below(2) == 0);
        cases.push(Case { path: path.into(), version: version.into(), bytes });
    }
    cases
}

/// The zip with sizes and offsets in zip64 extra fields, and a zip64 end record.
fn to_zip64(bytes: &[u8]) -> Vec<u8> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let directory = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let mut out = bytes[..directory].to_vec();
    let (mut at, mut records) = (directory, 0u64);
    while bytes[at..].starts_with(b"PK\x01\x02") {
        let end = at + 46 + u16_at(at + 28) + u16_at(at + 30) + u16_at(at + 32);
        let mut header = bytes[at..at + 46 + u16_at(at + 28)].to_vec();
        let mut extra = b"\x01\x00\x18\x00".to_vec();
        for field in [24, 20, 42] {
            extra.extend(&header[field..field + 4]);
            extra.extend([0; 4]);
            header[field..field + 4].fill(0xff);
        }
        header[30..32].copy_from_slice(&(extra.len() as u16).to_le_bytes());
        header[32..34].fill(0);
        out.extend(header);
        out.extend(extra);
        (at, records) = (end, records + 1);
    }
    let (end_64, size) = (out.len() as u64, (out.len() - directory) as u64);
    out.extend(b"PK\x06\x06");
    out.extend([0; 20]);
    out.extend([records, records, size, directory as u64].iter().flat_map(|v| v.to_le_bytes()));
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend(end_64.to_le_bytes());
    out.extend([1, 0, 0, 0]);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([0xff; 12]);
    out.extend([0, 0]);
    out
}

/// Good zips with some bytes or whole fields exchanged, mostly in the directory and the end, and cut or padded ones.
fn mangled_cases(count: usize) -> Vec<Case> {
    let (path, version) = ("example.com/m", "v1.0.0");
    let entry = |name: &str, content: &str| (format!("{path}@{version}/{name}").into_bytes(), content.as_bytes().to_vec());
    let entries = [
        entry("go.mod", "module example.com/m\n"),
        entry("sub/", ""),
        entry("sub/a.go", &"package sub\n".repeat(50)),
        entry("b.go", "package m\n"),
    ];
    let mut random = Random::new(22);
    let mut cases = Vec::new();
    for i in 0..count {
        let mut bytes = write_zip(&entries, i % 3 != 0);
        if i % 5 == 0 {
            bytes = to_zip64(&bytes);
        }
        for _ in 0..random.below(3) {
            mangle(&mut bytes, &mut random);
        }
        match random.below(12) {
            0 => bytes.truncate(bytes.len() - random.below(30)),
            1 => bytes.extend((0..random.below(40)).map(|i| i as u8)),
            2 => drop(bytes.splice(0..0, b"#!/bin/sh\n".iter().copied())),
            _ => {}
        }
        cases.push(Case { path: path.into(), version: version.into(), bytes });
    }
    cases
}

fn mangle(bytes: &mut [u8], random: &mut Random) {
    let headers: Vec<usize> = bytes.windows(4).enumerate().filter(|(_, w)| w.starts_with(b"PK")).map(|(i, _)| i).collect();
    let directory = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap_or(0);
    let len = bytes.len();
    let (at, width) = match random.below(8) {
        0 => (random.below(len), 1),
        1..=4 => (directory + random.below(len - directory), 1),
        _ => (random.pick(&headers) + random.below(24) * 2, *random.pick(&[1, 2, 4, 8])),
    };
    let field = &mut bytes[at.min(len - 1)..(at + width).min(len)];
    let value = *random.pick(&[0, 1, 2, 8, 0x7f, 0x80, 0xff, b'/', b'A', b'a', field[0].wrapping_add(1)]);
    field.fill(value);
}

/// What ours finds wrong and x/mod may not: the go command does later, or the zip is not one to publish. A folder with data is
/// an error at x/mod only if its last entry has some.
const STRICTER: &[&str] = &["go.mod:", "parsing go.mod:", "no file in the zip has a path with prefix", "zip: entries overlap"];
const STRICTER_ENDS: &[&str] =
    &[": file is encrypted", "so module path must match major version (\"example.com/m/v2\")", "/: zip: not a valid zip file"];

fn is_stricter(problem: &str) -> bool {
    STRICTER.iter().any(|s| problem.starts_with(s)) || STRICTER_ENDS.iter().any(|s| problem.ends_with(s))
}

/// What x/mod finds only when it reads, and for the first file alone; and what it does not come to after another error.
fn is_of_content(problem: &str) -> bool {
    let read = [
        "zip: not a valid zip file",
        "unexpected EOF",
        "zip: unsupported compression algorithm",
        "zip: checksum error",
        "flate: corrupt input",
    ];
    let named = ["malformed module path", "invalid version"];
    read.iter().any(|s| problem.ends_with(s)) || named.iter().any(|s| problem.contains(s))
}

/// Compares the verdicts on one zip; the error says what ours were.
fn same(bytes: &[u8], theirs: &Value) -> Result<(), String> {
    let text = |key: &str| theirs[key].as_str().unwrap_or_default();
    let hash = hash_zip(Cursor::new(bytes));
    // What ours does not hash and Go might: no go command unpacks the larger, and no writer writes the other.
    let bounded = matches!(hash, Err(ReadError::Overlap | ReadError::Unpacked));
    let (ours_hash, ours_err) = hash.map_or_else(|e| (String::new(), e.to_string()), |h1| (h1.to_string(), String::new()));
    // Theirs says at which byte of a stream, EOF where a read begins right at the end, and how the system failed before it.
    let mut theirs_err = text("hash_err").split(" before offset").next().unwrap_or_default().replace("unexpected EOF", "EOF");
    if theirs_err.ends_with("negative offset") {
        theirs_err = "EOF".to_owned();
    }
    if !bounded && (ours_hash.as_str(), ours_err.replace("unexpected EOF", "EOF").as_str()) != (text("hash"), &*theirs_err) {
        return Err(format!("hash {ours_hash} {ours_err}"));
    }
    let problems: Vec<String> = match judge(Cursor::new(bytes)) {
        Ok(judged) if judged.h1.to_string() != text("hash") => return Err(format!("good, with hash {}", judged.h1)),
        Ok(_) => Vec::new(),
        Err(JudgeError::Bad(problems)) => problems.lines().collect(),
        Err(JudgeError::Io(error)) => return Err(error.to_string()),
    };
    // Without a prefix there is nothing to go by, and x/mod was told one.
    let nameless = problems.iter().any(|p| p.starts_with("no file in"));
    let good = text("check").is_empty() && text("unzip").is_empty() && text("hash_err").is_empty();
    let wrong = problems.iter().any(|problem| !is_stricter(problem));
    if problems.is_empty() && !good || wrong && good {
        return Err(format!("{problems:#?}"));
    }
    // Where x/mod names files, ours names the same, in the same words, and no others but for what is in them.
    let invalid: Vec<_> = theirs["invalid"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let lacking = invalid.iter().find(|e| !nameless && !problems.iter().any(|p| p == *e));
    // With a bad module or version x/mod looks at no name.
    let looked = text("check").is_empty() || !invalid.is_empty() || !text("size").is_empty();
    let known =
        |p: &String| !looked || is_stricter(p) || invalid.contains(&p.as_str()) || text("check").contains(p.as_str()) || is_of_content(p);
    match (lacking, problems.iter().find(|p| !known(p))) {
        (None, None) => Ok(()),
        difference => Err(format!("{difference:?} in {problems:#?}")),
    }
}

/// The module and version that the first name with a prefix speaks of: those that ours judges a zip by.
fn prefix(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let directory = Directory::read(&mut Source::new(Cursor::new(bytes)).ok()?).ok()?;
    directory.entries().iter().find_map(|entry| {
        let name = directory.name(entry);
        let at = name.iter().position(|&b| b == b'@')?;
        let end = at + name[at..].iter().position(|&b| b == b'/')?;
        std::str::from_utf8(&name[..end]).ok()?;
        Some((name[..at].to_vec(), name[at + 1..end].to_vec()))
    })
}

/// `op` is `zip`, or `names` for zips of many files that are not to be unpacked.
fn compare_cases(op: &'static str, folder: &str, cases: &[Case]) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let file = |i: usize| folder.join(format!("{i}.zip"));
    let question = |(i, case): (usize, &Case)| {
        std::fs::write(file(i), &case.bytes).unwrap();
        let (path, version) = prefix(&case.bytes).unwrap_or_else(|| (case.path.clone(), case.version.clone()));
        Question::new(op, [file(i).as_os_str().as_encoded_bytes(), &path, &version])
    };
    let questions = cases.iter().enumerate().map(question).collect();
    compare_by(questions, |question, theirs| same(&std::fs::read(Path::new(question.text(0))).unwrap(), theirs));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn zips_of_x_mods_own_tests_are_judged_alike() {
    compare_cases("zip", "xmod-own", &x_mod_cases());
}

#[test]
fn generated_zips_are_judged_alike() {
    compare_cases("zip", "xmod-generated", &generated_cases(2500));
}

#[test]
fn mangled_zips_are_judged_alike() {
    compare_cases("zip", "xmod-mangled", &mangled_cases(4000));
}

/// Every letter that folds to another one, in zips with that one: a collision each. And many that fold to none, in one zip.
#[test]
fn names_collide_alike() {
    let letters: Vec<char> =
        (0x80..0x1_f000).filter(|c| !(0x3400..0xa000).contains(c) && !(0xac00..0xd7a4).contains(c)).filter_map(char::from_u32).collect();
    let questions: Vec<_> = letters.chunks(1000).map(|c| Question::new("unicode", [c.iter().collect::<String>().as_bytes()])).collect();
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    for (chunk, answer) in letters.chunks(1000).zip(ask(&questions)) {
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        for ((c, folded), letter) in chunk.iter().zip(text("folded").chars()).zip(text("letters").chars()) {
            match letter {
                '1' if *c == folded => alone.push(*c),
                '1' => pairs.push((*c, folded)),
                _ => {}
            }
        }
    }
    assert!(pairs.len() > 1200 && alone.len() > 10_000);
    let (path, version) = ("example.com/m", "v1.0.0");
    let entry = |name: String| (format!("{path}@{version}/{name}").into_bytes(), Vec::new());
    let case = |entries: Vec<_>| Case { path: path.into(), version: version.into(), bytes: write_zip(&entries, false) };
    let both = |pairs: &[(char, char)]| pairs.iter().flat_map(|(a, b)| [entry(format!("{a}x")), entry(format!("{b}X"))]).collect();
    let mut cases: Vec<_> = pairs.chunks(40).map(|chunk| case(both(chunk))).collect();
    cases.extend(alone.chunks(500).map(|chunk| case(chunk.iter().map(|c| entry(c.to_string())).collect())));
    compare_cases("names", "xmod-folds", &cases);
}
