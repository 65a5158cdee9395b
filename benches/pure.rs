//! What every request costs before anything is looked up, and what publishing costs per byte: `make bench`.

use std::hint::black_box;
use std::io::{Cursor, Write as _};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use modgate::module::{Version, dirhash, zip as module_zip};
use modgate::protocol;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A module zip with this many files of this many bytes, text-like.
fn zip_of(files: usize, bytes: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    zip.start_file("corp.example.com/m@v1.0.0/go.mod", options).expect("an entry");
    zip.write_all(b"module corp.example.com/m\n").expect("write");
    for file in 0..files {
        zip.start_file(format!("corp.example.com/m@v1.0.0/p{file}/a.go"), options).expect("an entry");
        let line = format!("func F{file}(x int) int {{ return x * {file} }} // and some words that repeat\n");
        zip.write_all(&line.as_bytes().iter().copied().cycle().take(bytes).collect::<Vec<_>>()).expect("write");
    }
    zip.finish().expect("finish").into_inner()
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("protocol");
    for (name, path) in [
        ("list", "/github.com/%21burnt%21sushi/toml/@v/list"),
        ("zip", "/api/packages/platform/go/corp.example.com/a/b/c/v2/@v/v2.10.3.zip"),
        ("look-up", "/sumdb/sum.example.org/lookup/corp.example.com/a/b@v1.2.3"),
        ("refused", "/corp.example.com/%2e%2e/lib/@v/list"),
    ] {
        group.bench_function(name, |b| b.iter(|| protocol::parse(&http::Method::GET, black_box(path))));
    }
    group.finish();
}

fn versions(c: &mut Criterion) {
    let texts: Vec<String> = (0..200).map(|n| format!("v{}.{}.{}", n % 3, n % 17, n)).collect();
    c.bench_function("versions/parse and sort 200", |b| {
        b.iter(|| {
            let mut versions: Vec<Version> = texts.iter().filter_map(|text| black_box(text).parse().ok()).collect();
            versions.sort();
            versions
        });
    });
}

fn zips(c: &mut Criterion) {
    let zip = zip_of(500, 20_000);
    let mut group = c.benchmark_group("zip, 500 files, 10 MB unpacked");
    group.sample_size(20).throughput(Throughput::Bytes(500 * 20_000));
    group.bench_function("h1", |b| b.iter(|| dirhash::hash_zip(Cursor::new(black_box(&zip))).expect("a zip")));
    group.bench_function("judge", |b| b.iter(|| module_zip::judge(Cursor::new(black_box(&zip))).expect("a module zip")));
    group.finish();
}

criterion_group!(benches, requests, versions, zips);
criterion_main!(benches);
