use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::module::dirhash::hash_zip;

mod build;

use build::{File, Zip};

fn judge_bytes(bytes: Vec<u8>) -> Result<Judged, String> {
    judge(Cursor::new(bytes)).map_err(|error| match error {
        JudgeError::Bad(problems) => problems.to_string(),
        JudgeError::Io(error) => panic!("{error}"),
    })
}

/// The problems of a zip whose files are (name without prefix, content).
fn problems(files: &[(&str, &str)]) -> String {
    let mut zip = Zip::default();
    for (name, content) in files {
        zip.add(File::new(&format!("x.y/m@v1.0.0/{name}"), content));
    }
    judge_bytes(zip.bytes()).err().unwrap_or_default()
}

fn with_prefix(prefix: &str, go_mod: &str) -> String {
    let mut zip = Zip::default();
    zip.add(File::new(&format!("{prefix}go.mod"), go_mod));
    judge_bytes(zip.bytes()).err().unwrap_or_default()
}

/// The problems of a zip of a good go.mod and this file.
fn with_file(file: File) -> String {
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/go.mod", "module x.y/m\n")).add(file);
    judge_bytes(zip.bytes()).err().unwrap_or_default()
}

#[test]
fn a_good_zip_tells_module_version_and_hashes() {
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/go.mod", "module \"x.y/m\""));
    zip.add(File::new("x.y/m@v1.0.0/sub/", ""));
    zip.add(File::new("x.y/m@v1.0.0/sub/a.go", "package sub\n").deflated());
    let judged = judge_bytes(zip.bytes()).unwrap();
    assert_eq!((judged.path.as_str(), judged.version.as_str()), ("x.y/m", "v1.0.0"));
    assert_eq!(judged.go_mod, b"module \"x.y/m\"");
    assert!(judged.has_go_mod);
    assert_eq!(judged.unpacked_bytes, 26);
    assert_eq!(judged.h1, hash_zip(Cursor::new(zip.bytes())).unwrap());
}

#[test]
fn without_a_go_mod_one_is_made_up() {
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v2.0.0+incompatible/a.go", "package m\n"));
    let judged = judge_bytes(zip.bytes()).unwrap();
    assert_eq!(judged.go_mod, b"module x.y/m\n");
    assert!(!judged.has_go_mod);
    assert_eq!(judged.go_mod_h1, crate::module::dirhash::hash_go_mod(b"module x.y/m\n"));
}

#[test]
fn what_the_zip_crate_writes_is_read() {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    writer.start_file("x.y/m@v1.0.0/go.mod", options).unwrap();
    writer.write_all(b"module x.y/m\n").unwrap();
    writer.start_file("x.y/m@v1.0.0/big", options).unwrap();
    writer.write_all(&vec![b'x'; 3 << 20]).unwrap();
    let judged = judge_bytes(writer.finish().unwrap().into_inner()).unwrap();
    assert_eq!(judged.unpacked_bytes, 13 + (3 << 20));
}

#[test]
fn what_is_no_zip_is_refused() {
    assert_eq!(judge_bytes(vec![]).unwrap_err(), "zip: not a valid zip file");
    assert_eq!(judge_bytes(vec![b'x'; 100_000]).unwrap_err(), "zip: not a valid zip file");
    let no_files = "no file in the zip has a path with prefix \"module@version/\"";
    assert_eq!(judge_bytes(Zip::default().bytes()).unwrap_err(), no_files);
}

#[test]
fn the_prefix_must_be_one_and_valid() {
    let mut zip = Zip::default();
    zip.add(File::new("a.go", "x")).add(File::new("x.y/m@v1.0.0/b.go", "x")).add(File::new("x.y/m@v1.0.1/c.go", "x"));
    assert_eq!(
        judge_bytes(zip.bytes()).unwrap_err(),
        "a.go: path does not have prefix \"x.y/m@v1.0.0/\"\nx.y/m@v1.0.1/c.go: path does not have prefix \"x.y/m@v1.0.0/\""
    );
    assert_eq!(with_prefix("m/", ""), "no file in the zip has a path with prefix \"module@version/\"");
    for (prefix, want) in [
        ("m@v1.0.0/", "malformed module path \"m\": missing dot in first path element"),
        ("x.y/m@v1/", "version \"v1\" is not canonical (should be \"v1.0.0\")"),
        ("x.y/m@main/", "version \"main\" is no semantic version, like \"v1.2.3\""),
        ("x.y/m@v1.0.0+meta/", "version \"v1.0.0+meta\" is not canonical (should be \"v1.0.0\")"),
        ("x.y/m@v2.0.0/", "x.y/m@v2.0.0: invalid version: should be v0 or v1, not v2"),
        ("x.y/m/v2@v1.0.0/", "x.y/m/v2@v1.0.0: invalid version: should be v2, not v1"),
        ("x.y/../m@v1.0.0/", "malformed module path \"x.y/../m\": invalid path element \"..\""),
    ] {
        let path = prefix.split('@').next().unwrap();
        assert_eq!(with_prefix(prefix, &format!("module {path}\n")), want);
    }
    let long = "a".repeat(201);
    assert!(with_prefix(&format!("x.y/{long}@v1.0.0/"), &format!("module x.y/{long}\n")).contains("is too long"));
    assert_eq!(with_prefix(&format!("x.y/{}@v1.0.0/", &long[1..]), &format!("module x.y/{}\n", &long[1..])), "");
}

#[test]
fn incompatible_versions_have_no_go_mod() {
    let want =
        "x.y/m@v2.0.0+incompatible: invalid version: module contains a go.mod file, so module path must match major version (\"x.y/m/v2\")";
    assert_eq!(with_prefix("x.y/m@v2.0.0+incompatible/", "module x.y/m\n"), want);
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0+incompatible/a.go", ""));
    assert_eq!(
        judge_bytes(zip.bytes()).unwrap_err(),
        "x.y/m@v1.0.0+incompatible: invalid version: +incompatible suffix not allowed: major version v1 is compatible"
    );
}

#[test]
fn the_go_mod_must_name_the_module() {
    for good in ["module x.y/m", "module \"x.y/m\"\n", "// c\n\nmodule x.y/m // d\r\ngo 1.21\n", "module (\n\tx.y/m\n)\nfuture (\n)\n"] {
        assert_eq!(problems(&[("go.mod", good)]), "", "{good}");
    }
    for (bad, want) in [
        ("", "go.mod: file is empty (give it a module line, or leave it out)"),
        ("module `x.y/m`\n", "go.mod:1: invalid quoted string: unquoted string cannot contain quote"),
        (
            "module x.y/m\nrequire a.b\n\nrequire (\n\tc.d v2.0.0\n)\n",
            "go.mod:2: usage: require module/path v1.2.3\ngo.mod:5:2: require c.d: version \"v2.0.0\" invalid: should be v0 or v1, not v2",
        ),
        ("module \"\"\n", "parsing go.mod: missing module line"),
        ("go 1.21\n", "parsing go.mod: missing module line"),
        ("module x.y/M\n", "parsing go.mod: module declares its path as: x.y/M but was required as: x.y/m"),
    ] {
        assert_eq!(problems(&[("go.mod", bad)]), want);
    }
}

#[test]
fn every_problem_is_named() {
    let found = problems(&[
        ("go.mod", "module z.z/z\n"),
        ("a//b", ""),
        ("a/../b", ""),
        ("nul", ""),
        ("x:y", ""),
        ("d/go.mod", ""),
        ("D/x", ""),
        ("f", ""),
        ("f", ""),
        ("f/g", ""),
        ("new\nline", ""),
    ]);
    let want = r#"x.y/m@v1.0.0/a//b: file path is not clean
x.y/m@v1.0.0/a/../b: file path is not clean
x.y/m@v1.0.0/nul: malformed file path "nul": "nul" disallowed as path element component on Windows
x.y/m@v1.0.0/x:y: malformed file path "x:y": invalid char ':'
x.y/m@v1.0.0/d/go.mod: go.mod file not in module root directory
x.y/m@v1.0.0/D/x: case-insensitive file name collision: "d" and "D"
x.y/m@v1.0.0/f: multiple entries for file "f"
x.y/m@v1.0.0/f/g: entry "f" is both a file and a directory
"x.y/m@v1.0.0/new\nline": malformed file path "new\nline": invalid char '\n'
parsing go.mod: module declares its path as: z.z/z but was required as: x.y/m"#;
    assert_eq!(found, want);
}

#[test]
fn the_list_of_problems_ends() {
    let names: Vec<String> = (0..5000).map(|i| format!("a:{i}{}", "x".repeat(300))).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let found = problems(&files);
    assert!(found.len() <= 16 << 10 && found.lines().count() <= 100, "{}", found.len());
}

#[test]
fn contents_that_are_not_what_they_say_are_found() {
    let file = || File::new("x.y/m@v1.0.0/a", "hello hello hello");
    assert_eq!(with_file(file()), "");
    assert_eq!(with_file(file().deflated()), "");
    assert_eq!(with_file(file().deflated().with(|h| h.flags = 8)), "");
    let crc = |h: &mut build::Header| h.crc ^= 1;
    for bad in [file().with(crc), file().deflated().with(crc), file().deflated().with(|h| h.flags = 8).with(crc)] {
        assert_eq!(with_file(bad), "x.y/m@v1.0.0/a: zip: checksum error");
    }
    // Declared too small: more comes out; declared too large: less does.
    for (size, want) in [(16, "zip: not a valid zip file"), (18, "unexpected EOF")] {
        assert_eq!(with_file(file().with(move |h| h.size = size)), format!("x.y/m@v1.0.0/a: {want}"));
        assert_eq!(with_file(file().deflated().with(move |h| h.size = size)), format!("x.y/m@v1.0.0/a: {want}"));
    }
    assert_eq!(with_file(file().deflated().with(|h| h.packed -= 1)), "x.y/m@v1.0.0/a: unexpected EOF");
    assert_eq!(with_file(file().with(|h| h.method = 8)), "x.y/m@v1.0.0/a: flate: corrupt input");
    assert_eq!(with_file(file().with(|h| h.method = 12)), "x.y/m@v1.0.0/a: zip: unsupported compression algorithm");
    assert_eq!(with_file(file().with(|h| h.flags = 1)), "x.y/m@v1.0.0/a: file is encrypted");
    assert_eq!(with_file(file().with(|h| h.offset += 1)), "x.y/m@v1.0.0/a: zip: not a valid zip file");
    assert_eq!(with_file(file().with(|h| h.offset = 1 << 30)), "x.y/m@v1.0.0/a: unexpected EOF");
    assert_eq!(with_file(File::new("x.y/m@v1.0.0/a/", "").with(move |h| h.size = 1)), "x.y/m@v1.0.0/a/: zip: not a valid zip file");
}

#[test]
fn sizes_are_judged_at_their_limits() {
    let sized = |name: &str, size: u64| with_file(File::new(&format!("x.y/m@v1.0.0/{name}"), "").with(move |h| h.size = size as u32));
    let (go_mod, license) = (GO_MOD_BYTES_MAX, LICENSE_BYTES_MAX);
    // Declared only: a limit that holds leaves the lie to be found.
    assert_eq!(sized("LICENSE", license), "x.y/m@v1.0.0/LICENSE: unexpected EOF");
    assert!(sized("LICENSE", license + 1).starts_with("x.y/m@v1.0.0/LICENSE: LICENSE file too large (max size is 16777216 bytes)"));
    assert_eq!(sized("sub/LICENSE", license + 1), "x.y/m@v1.0.0/sub/LICENSE: unexpected EOF");
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/go.mod", "").with(move |h| h.size = go_mod as u32 + 1));
    assert!(judge_bytes(zip.bytes()).unwrap_err().contains("go.mod file too large (max size is 16777216 bytes)"));
    let rest = ZIP_BYTES_MAX - "module x.y/m\n".len() as u64;
    assert_eq!(sized("a", rest), "x.y/m@v1.0.0/a: unexpected EOF");
    assert_eq!(sized("a", rest + 1), "total uncompressed size of module contents too large (max size is 524288000 bytes)");
}

#[test]
fn a_bomb_of_entries_on_one_place_is_refused() {
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/go.mod", "module x.y/m\n"));
    zip.add(File::new("x.y/m@v1.0.0/a", &"x".repeat(1000)));
    for i in 0..10 {
        zip.again(1, &format!("x.y/m@v1.0.0/b{i}"));
    }
    assert_eq!(judge_bytes(zip.bytes()).unwrap_err(), "zip: entries overlap");
    assert!(matches!(hash_zip(Cursor::new(zip.bytes())), Err(ReadError::Overlap)));
}

#[test]
fn more_entries_than_the_limit_are_refused_in_bounded_memory() {
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/a/", ""));
    for _ in 0..ENTRIES_MAX {
        zip.again(0, "x.y/m@v1.0.0/a/");
    }
    assert!(judge_bytes(zip.bytes()).unwrap_err().starts_with("zip has too many entries"));
}

#[test]
fn deep_names_cost_what_they_are_long() {
    // Every name brings 30,000 new folders; x/mod takes quadratic time for each.
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/go.mod", "module x.y/m\n"));
    for i in 0..50 {
        zip.add(File::new(&format!("x.y/m@v1.0.0/{i}/{}z", "é/".repeat(20_000)), ""));
    }
    let found = judge_bytes(zip.bytes()).unwrap_err();
    assert!(found.contains("zip has too many files and folders"), "{found}");
}

#[test]
fn something_before_the_zip_and_a_comment_are_no_matter() {
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/go.mod", "module x.y/m\n"));
    let plain = judge_bytes(zip.bytes()).unwrap();
    let moved = [b"#!/bin/sh\n".to_vec(), zip.bytes()].concat();
    assert_eq!(judge_bytes(moved).unwrap().h1, plain.h1);
    zip.comment = vec![b'c'; 60_000];
    assert_eq!(judge_bytes(zip.bytes()).unwrap().h1, plain.h1);
    zip.zip64 = true;
    assert_eq!(judge_bytes(zip.bytes()).unwrap().h1, plain.h1);
}

#[test]
fn the_last_of_one_name_is_hashed() {
    let mut zip = Zip::default();
    zip.add(File::new("a", "1")).add(File::new("a", "2"));
    let mut same = Zip::default();
    same.add(File::new("a", "2")).add(File::new("a", "2"));
    assert_eq!(hash_zip(Cursor::new(zip.bytes())).unwrap(), hash_zip(Cursor::new(same.bytes())).unwrap());
}

#[test]
fn a_failing_disk_is_not_a_bad_zip() {
    struct Failing(Cursor<Vec<u8>>);
    impl std::io::Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            if self.0.position() < 70_000 { Err(std::io::Error::other("disk")) } else { self.0.read(out) }
        }
    }
    impl std::io::Seek for Failing {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }
    let mut zip = Zip::default();
    zip.add(File::new("x.y/m@v1.0.0/a", &"x".repeat(100_000)));
    assert!(matches!(judge(Failing(Cursor::new(zip.bytes()))), Err(JudgeError::Io(_))));
}

proptest! {
    #[test]
    fn a_mangled_zip_is_judged_without_panic(at in 0usize..400, value: u8, cut in 0usize..400) {
        let mut zip = Zip::default();
        zip.add(File::new("x.y/m@v1.0.0/go.mod", "module x.y/m\n"));
        zip.add(File::new("x.y/m@v1.0.0/a", "hello hello hello").deflated());
        let mut bytes = zip.bytes();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut / 8));
        let hash = hash_zip(Cursor::new(bytes.clone()));
        if let Ok(judged) = judge(Cursor::new(bytes)) {
            prop_assert_eq!(judged.h1, hash.unwrap());
        }
    }
}
