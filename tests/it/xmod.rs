//! The language of Go modules, held against the real golang.org/x/mod: both judge the same paths, versions, globs, go.mod files
//! and zips, hand-picked and generated from a fixed seed, and must agree to the word of a message.

use modgate::module::dirhash::hash_go_mod;
use modgate::module::path::{check_file_path, check_import_path};
use modgate::module::version::{Pseudo, escape_query, unescape_query};
use modgate::module::{GoMod, ModulePath, Pattern, major, pattern, quote, semver};
use serde_json::{Value, json};

mod generate;
mod oracle;
mod tlog;
mod zips;

pub(crate) use oracle::program;

use generate::{GLOB_PIECES, GLOBS, NAMES, PATH_PIECES, PATHS, Random, VERSION_PIECES, VERSIONS, mutations};
use oracle::{Question, compare, compare_by};

fn paths() -> Vec<String> {
    mutations(PATHS, PATH_PIECES, 8000, 1)
}

fn versions() -> Vec<String> {
    mutations(VERSIONS, VERSION_PIECES, 8000, 2)
}

fn one_each(op: &'static str, texts: &[String]) -> Vec<Question> {
    texts.iter().map(|text| Question::new(op, [text.as_bytes()])).collect()
}

#[test]
fn module_paths_and_their_escapes_are_judged_alike() {
    let mut all = paths();
    all.extend(paths().iter().map(|p| modgate_escape(p)));
    compare(one_each("path", &all), |question| {
        let path = question.text(0);
        let parsed = path.parse::<ModulePath>();
        json!({
            "err": parsed.as_ref().err().map(ToString::to_string).unwrap_or_default(),
            "split": major::split_path_version(path),
            "escape": parsed.as_ref().ok().map(ModulePath::escaped),
            "unescape": ModulePath::unescape(path).ok(),
        })
    });
}

/// As an escaped path comes in, with some wrong ones between.
fn modgate_escape(path: &str) -> String {
    path.chars().flat_map(|c| if c.is_ascii_uppercase() { vec!['!', c.to_ascii_lowercase()] } else { vec![c] }).collect()
}

#[test]
fn file_and_import_paths_are_judged_alike() {
    let mut all: Vec<Vec<u8>> = paths().into_iter().map(String::into_bytes).collect();
    all.extend((0..=255u8).map(|b| vec![b'a', b]));
    all.extend((0..0x3000).chain(0xa640..0xab70).filter_map(char::from_u32).map(|c| format!("a/{c}").into_bytes()));
    let files = all.iter().map(|path| Question::new("file", [path]));
    let imports = all.iter().map(|path| Question::new("import", [path]));
    compare(files.chain(imports).collect(), |question| {
        let path = &question.args[0];
        let quoted = quote(path);
        let judged = if question.op == "file" {
            check_file_path(path).map_err(|e| format!("malformed file path {quoted}: {e}"))
        } else if let Ok(text) = std::str::from_utf8(path) {
            check_import_path(text).map_err(|e| format!("malformed import path {quoted}: {e}"))
        } else {
            Err(format!("malformed import path {quoted}: invalid UTF-8"))
        };
        json!({ "err": judged.err().unwrap_or_default() })
    });
}

#[test]
fn versions_are_judged_alike() {
    compare(one_each("version", &versions()), |question| {
        let version = question.text(0);
        let canonical = semver::canonical_version(version);
        let pseudo = Pseudo::of(version).map(|pseudo| {
            let base = || pseudo.base().ok().map(|base| base.map_or_else(String::new, |base| base.to_string()));
            json!({
                "time": pseudo.time().ok().map(time::OffsetDateTime::unix_timestamp),
                "rev": pseudo.rev(),
                "base": if canonical == version { base() } else { None },
            })
        });
        json!({
            "valid": semver::is_valid(version),
            "canonical": canonical,
            "escape": escape_query(version).ok(),
            "unescape": unescape_query(version).ok(),
            "pseudo": pseudo,
        })
    });
}

#[test]
fn versions_are_ordered_alike() {
    let mut random = Random::new(3);
    let versions = versions();
    let mut questions = Vec::new();
    for a in VERSIONS {
        questions.extend(VERSIONS.iter().map(|b| Question::new("compare", [a.as_bytes(), b.as_bytes()])));
    }
    for _ in 0..8000 {
        questions.push(Question::new("compare", [random.pick(&versions).as_bytes(), random.pick(&versions).as_bytes()]));
    }
    compare(questions, |question| json!({ "order": semver::compare(question.text(0), question.text(1)) as i8 }));
}

#[test]
fn versions_fit_paths_alike() {
    let mut random = Random::new(4);
    let (paths, versions) = (paths(), versions());
    let mut questions = Vec::new();
    for path in PATHS {
        questions.extend(VERSIONS.iter().map(|version| Question::new("check", [path.as_bytes(), version.as_bytes()])));
    }
    for _ in 0..5000 {
        questions.push(Question::new("check", [random.pick(&paths).as_bytes(), random.pick(&versions).as_bytes()]));
    }
    compare(questions, |question| json!({ "err": major::check_text(question.text(0), question.text(1)).err().unwrap_or_default() }));
}

fn globs_and_names(seed: u64) -> Vec<(String, String)> {
    let globs = mutations(GLOBS, GLOB_PIECES, 6000, seed);
    let names = mutations(NAMES, GLOB_PIECES, 500, seed + 1);
    let mut random = Random::new(seed + 2);
    let mut pairs: Vec<_> = GLOBS.iter().flat_map(|g| NAMES.iter().map(|n| ((*g).to_owned(), (*n).to_owned()))).collect();
    for glob in globs {
        for _ in 0..2 {
            pairs.push((glob.clone(), random.pick(&names).clone()));
        }
        // A name made from the glob has a chance to match.
        let name: String = glob.chars().map(|c| if "*?[]\\^-".contains(c) { *random.pick(&['a', 'b', 'x', '/']) } else { c }).collect();
        pairs.push((glob, name));
    }
    pairs
}

#[test]
fn globs_match_alike() {
    let questions = globs_and_names(5).iter().map(|(glob, name)| Question::new("glob", [glob.as_bytes(), name.as_bytes()])).collect();
    compare(questions, |question| {
        let matched = pattern::match_glob(question.text(0), question.text(1));
        json!({ "matches": matched == Ok(true), "malformed": matched.is_err() })
    });
}

/// Patterns compare without regard to case: so both sides are asked in lower case, and ours gets them in any. What ours refuses and
/// Go passes over (malformed, empty elements, white space) must match nothing there.
#[test]
fn private_patterns_match_alike() {
    let mut random = Random::new(6);
    let pairs = globs_and_names(7);
    let mut questions = Vec::new();
    for (glob, name) in &pairs {
        let other = &random.pick(&pairs).0;
        let globs = if random.below(4) == 0 { format!("{glob},{other}") } else { glob.clone() };
        questions.push(Question::new("prefix", [globs.to_ascii_lowercase().as_bytes(), name.to_ascii_lowercase().as_bytes()]));
    }
    let is_path = |name: &str| !name.split('/').any(str::is_empty);
    questions.retain(|q| is_path(q.text(1)));
    compare(questions, |question| {
        let name = question.text(1).to_ascii_uppercase();
        let globs = question.text(0).split(',').filter_map(|glob| glob.parse::<Pattern>().ok());
        json!({ "matches": globs.into_iter().any(|glob| glob.matches(&name)) })
    });
}

#[test]
fn strings_are_quoted_alike() {
    let mut all: Vec<Vec<u8>> = paths().into_iter().map(String::into_bytes).collect();
    all.extend((0..=255u8).map(|b| vec![b, b'"', b'\\', b, 0xe4, 0xb8]));
    all.extend((0..0x11_0000).step_by(7).filter_map(char::from_u32).map(|c| c.to_string().into_bytes()));
    let questions = all.iter().map(|bytes| Question::new("quote", [bytes])).collect();
    compare(questions, |question| json!({ "quoted": quote(&question.args[0]) }));
}

/// Where comments belong, and other corners that no ordinary file comes to.
const GO_MODS: &[&str] = &[
    "require a v1.0.0\nfoo \"\\\nb\" // indirect\n",
    "require a v1.0.0\nrequire b \"v1\\\n\" // indirect\n",
    "require (\n\ta v1.0.0\n) // indirect\n",
    "require ( // indirect\n\ta v1.0.0\n\tb v1.0.0 // indirect\n)\n",
    "// a\nretract ( // b\n\t// c\n\n\tv1.0.0\n\tv1.1.0 // d\n\t// e\n) // f\n",
    "// a\n\nretract v1.0.0\n// b\nretract () // c\n",
    "// a\nretract (\n\n\tv1.0.0\n)\n",
    "retract ( v1.0.0 ) // a\n",
    "retract [ v1 , v2 ] x\nretract [v1,v2\nretract [v1 v2]\nretract [\nretract ]\n",
    "// Deprecated: a\n//\n// Deprecated: b\nmodule x.y // c\n",
    "// b\n//\n//\n// Deprecated:  a\n// c\n//\n// d\nmodule x.y\n",
    "// Deprecated: a\nmodule (\n\tx.y\n)\n",
    "module (\n\t// Deprecated: a\n\tx.y // b\n)\nmodule z\n",
    "module x.y/m\r\ngo 1.21\r\n\r\nrequire (\r\n\ta v1 // indirect\r\n)\r\n",
    "go 1.21rc1\n",
    "go 1.21.0rc1\n",
    "go 1\n",
    "go v1.21\n",
    "go v1.21.x\n",
    "go 01.21\n",
    "go 1.21é\n",
    "go 1.21-\n",
    "go 1.021\n",
    "go 1.21rc\n",
    "go 0.1\n",
    "toolchain default\n",
    "toolchain go1\n",
    "toolchain go1.x\n",
    "toolchain go12\n",
    "toolchain default2\n",
    "module \"a\\x41\\u00e9\\101\\n\"\n",
    "module \"\\ud800\"\n",
    "module 'a'\n",
    "module `a`\n",
    "module a\"b\"\n",
    "module \"a\"b\n",
    "( a )\n",
    ") (\n)\n",
    "{ }\n",
    "require (a v1.0.0)\n",
    "require () x\n",
    "require (\n) x\n",
    "require ((\n))\n",
    "require x (\n)\n",
];

/// What go.mod files are mutated with.
const GO_MOD_PIECES: &[&str] = &[
    "module ",
    "require ",
    "go 1.21",
    "retract ",
    "exclude ",
    "replace ",
    "toolchain ",
    "godebug ",
    "tool ",
    "ignore ",
    " => ",
    "(",
    ")",
    "(\n",
    ")\n",
    "[",
    "]",
    ",",
    "//",
    "// indirect",
    "// Deprecated: x",
    "/*",
    "\"",
    "`",
    "'",
    "\\",
    "\n",
    "\r\n",
    "\t",
    " ",
    "v1.2.3",
    "v2",
    "x.y/v2",
    "é",
    "\u{301}",
    "\u{a0}",
    "\u{0}",
    "\\\n",
    "=",
    "v1.2.3-0.20200102030405-abcdefabcdef",
    "./x",
    "@v1",
    "1.21.x",
    "go1.21",
    "default",
];

/// Go's own samples, our corners, their lines one by one, and mutations of all.
fn go_mods() -> Vec<Vec<u8>> {
    let mut seeds = vec![include_str!("xmod/seed.mod").to_owned()];
    for entry in std::fs::read_dir(oracle::x_mod_dir().join("modfile/testdata")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            seeds.push(std::fs::read_to_string(path).unwrap());
        }
    }
    seeds.extend(GO_MODS.iter().map(|text| (*text).to_owned()));
    // Single directives too: mutations of long files mostly end at the first syntax error.
    let lines: Vec<String> = seeds.iter().flat_map(|seed| seed.lines()).map(|line| format!("{}\n", line.trim())).collect();
    seeds.extend(lines.iter().filter(|line| line.len() > 1).cloned());
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let mut all: Vec<Vec<u8>> = mutations(&seeds, GO_MOD_PIECES, 12_000, 8).into_iter().map(String::into_bytes).collect();
    // Bytes that are no UTF-8.
    let mut random = Random::new(9);
    for _ in 0..500 {
        let mut bytes = random.pick(&all).clone();
        let at = random.below(bytes.len() + 1);
        bytes.insert(at, *random.pick(&[0x80, 0xc3, 0xff, 0xe4]));
        all.push(bytes);
    }
    all
}

#[test]
fn go_mod_files_are_read_alike() {
    let all = go_mods();
    compare_by(all.iter().map(|bytes| Question::new("gomod", [bytes])).collect(), |question, theirs| {
        let bytes = &question.args[0];
        let ours = json!({
            "strict": shown(GoMod::parse(bytes).map_err(|e| e.to_string())),
            "lax": shown(GoMod::parse_lax(bytes).map_err(|e| e.to_string())),
            "hash": hash_go_mod(bytes).to_string(),
        })
        .to_string();
        // A byte that is no UTF-8 is U+FFFD in ours from the beginning, and `\xNN` in quotes of theirs.
        let wrong = ["80", "c3", "ff", "e4"];
        let mut theirs = theirs.to_string();
        if std::str::from_utf8(bytes).is_err() {
            theirs = wrong.iter().fold(theirs, |text, byte| text.replace(&format!("\\\\x{byte}"), "\u{fffd}"));
        }
        if ours == theirs { Ok(()) } else { Err(ours) }
    });
}

fn shown(parsed: Result<GoMod, String>) -> Value {
    let file = match parsed {
        Ok(file) => file,
        Err(error) => return json!({ "err": error }),
    };
    let replace = |r: &modgate::module::go_mod::Replace| {
        let version = |v: &Option<modgate::module::Version>| v.as_ref().map(ToString::to_string).unwrap_or_default();
        json!([r.old_path, version(&r.old_version), r.new_path, version(&r.new_version)])
    };
    json!({
        "module": file.module.map(|m| json!([m.path, m.deprecated])),
        "go": file.go,
        "toolchain": file.toolchain,
        "require": file.require.iter().map(|r| json!([r.path, r.version, r.indirect])).collect::<Vec<_>>(),
        "exclude": file.exclude,
        "replace": file.replace.iter().map(replace).collect::<Vec<_>>(),
        "retract": file.retract.iter().map(|r| json!([r.low, r.high, r.rationale])).collect::<Vec<_>>(),
        "godebug": file.godebug,
        "tool": file.tool,
        "ignore": file.ignore,
    })
}

/// Which characters are letters shows in file names, which are printable in quotes; how they fold, [`zips`] asks.
#[test]
fn characters_are_known_as_go_knows_them() {
    let all: Vec<char> = (0..0x3_2400).chain((0x3_2400..0x11_0000).step_by(13)).filter_map(char::from_u32).collect();
    let questions = all.chunks(1000).map(|chunk| Question::new("unicode", [chunk.iter().collect::<String>().as_bytes()])).collect();
    compare_by(questions, |question, theirs| {
        let bit = |b: bool| if b { '1' } else { '0' };
        let text = question.text(0);
        let letter = |c: char| c.is_ascii_alphabetic() || !c.is_ascii() && check_file_path(c.to_string().as_bytes()).is_ok();
        let letters: String = text.chars().map(|c| bit(letter(c))).collect();
        let printable: String = text.chars().map(|c| bit("\"\\".contains(c) || quote(c.to_string()).len() == c.len_utf8() + 2)).collect();
        // A go with newer tables knows more: what both know must be the same, and ours no more than its.
        let newer = theirs["unicode"] != "15.0.0";
        let agree = |ours: &str, theirs: &Value| {
            let theirs = theirs.as_str().unwrap();
            ours.chars().zip(theirs.chars()).all(|(a, b)| a == b || newer && a == '0')
        };
        if agree(&letters, &theirs["letters"]) && agree(&printable, &theirs["printable"]) {
            Ok(())
        } else {
            Err(format!("{letters} {printable}"))
        }
    });
}
