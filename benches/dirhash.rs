//! The h1 hash of a zip beside that of golang.org/x/mod/sumdb/dirhash: the same file, in turns, in one run: `make bench`. Ours by the
//! directory (`hash_zip`, from the file) and as the bytes come (`StreamHasher`). Each file is in the page cache.

mod machine;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use modgate::module::H1;
use modgate::module::dirhash::hash_zip;
use modgate::module::zip::StreamHasher;
use rustix::time::{ClockId, clock_gettime};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use machine::machine;

/// How often each hashes a file, by turns of [`TURN`].
const TURNS: usize = 9;
/// Hashes in a turn.
const TURN: usize = 3;
/// How much comes at once where a zip passes: a TLS record.
const PIECE_BYTES: usize = 16 << 10;

/// What a file of a zip holds.
#[derive(Clone, Copy)]
enum Content {
    /// Words, which shrink to a third.
    Text,
    /// One line again and again.
    Line,
    /// What does not shrink, as pictures and archives.
    Noise,
}

/// Name, files, bytes of each.
const ZIPS: [(&str, usize, usize, Content); 5] = [
    ("4000 files of 2 kB, text", 4000, 2_000, Content::Text),
    ("500 files of 20 kB, text", 500, 20_000, Content::Text),
    ("4 files of 16 MB, text", 4, 16_000_000, Content::Text),
    ("4 files of 16 MB, one line", 4, 16_000_000, Content::Line),
    ("4 files of 16 MB, noise", 4, 16_000_000, Content::Noise),
];

/// What one hash took.
#[derive(Clone, Copy, Default)]
struct Took {
    clock: Duration,
    processor: Duration,
}

/// Who hashes.
#[derive(Clone, Copy)]
enum Hasher {
    Go,
    Directory,
    Stream,
}

const HASHERS: [(&str, Hasher); 3] =
    [("go dirhash.HashZip", Hasher::Go), ("by the directory", Hasher::Directory), ("as it passes", Hasher::Stream)];

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench -- --list` ask for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let turns = if std::env::args().any(|arg| arg == "--test") { 1 } else { TURNS };
    let (go, folder) = (build(), tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder"));
    println!("h1 of a zip beside Go's, medians of {} hashes, in turns, on {}", turns * TURN, machine());
    for (name, files, bytes, content) in ZIPS {
        let zip = folder.path().join("module.zip");
        write_zip(&zip, files, bytes, content);
        let mut times = HASHERS.map(|_| Vec::new());
        let expected = clock(Hasher::Go, &go, &zip, 1)[0].0;
        for _ in 0..turns {
            for ((_, hasher), times) in HASHERS.iter().zip(&mut times) {
                for (h1, took) in clock(*hasher, &go, &zip, TURN) {
                    assert_eq!(h1, expected, "{name}");
                    times.push(took);
                }
            }
        }
        tell(name, times);
    }
    ExitCode::SUCCESS
}

fn tell(name: &str, times: [Vec<Took>; HASHERS.len()]) {
    let medians = times.map(|times| Took { clock: median(&times, |took| took.clock), processor: median(&times, |took| took.processor) });
    let go = medians[0];
    for ((hasher, _), took) in HASHERS.iter().zip(medians) {
        println!(
            "{name:<28} {hasher:<20} clock {:8.2} ms   ratio {:.2}   processor {:8.2} ms   ratio {:.2}",
            took.clock.as_secs_f64() * 1e3,
            took.clock.as_secs_f64() / go.clock.as_secs_f64(),
            took.processor.as_secs_f64() * 1e3,
            took.processor.as_secs_f64() / go.processor.as_secs_f64()
        );
    }
}

fn median(times: &[Took], of: impl Fn(&Took) -> Duration) -> Duration {
    let mut times: Vec<Duration> = times.iter().map(of).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// The Go program of the tests, with the real golang.org/x/mod.
fn build() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xmod-bench");
    let mut go = Command::new("go");
    go.arg("build").arg("-o").arg(&path).arg(".").current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/xmod"));
    for name in ["GOFLAGS", "GOOS", "GOARCH"] {
        go.env_remove(name);
    }
    assert!(go.env("GOWORK", "off").status().expect("the go command").success(), "{go:?}");
    path
}

fn write_zip(to: &Path, files: usize, bytes: usize, content: Content) {
    let mut zip = ZipWriter::new(File::create(to).expect("a file"));
    let options = SimpleFileOptions::default();
    zip.start_file("corp.example.com/m@v1.0.0/go.mod", options).expect("an entry");
    zip.write_all(b"module corp.example.com/m\n").expect("write");
    let mut random = Random(7);
    for file in 0..files {
        zip.start_file(format!("corp.example.com/m@v1.0.0/p{file}/a.go"), options).expect("an entry");
        zip.write_all(&random.content(bytes, content)).expect("write");
    }
    zip.finish().expect("finish");
}

/// The same bytes at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn content(&mut self, bytes: usize, content: Content) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes + 64);
        while out.len() < bytes {
            match content {
                Content::Text => {
                    // Some words stand often, most seldom.
                    let (word, rare) = (self.next() % 4096, self.next() % 64);
                    let name = format!("word{:x}", word * rare / 64);
                    out.extend_from_slice(name.as_bytes());
                    out.push(if self.next().is_multiple_of(10) { b'\n' } else { b' ' });
                }
                Content::Line => out.extend_from_slice(b"func F(x int) int { return x * 7 } // and some words that repeat\n"),
                Content::Noise => out.extend_from_slice(&self.next().to_le_bytes()[..2]),
            }
        }
        out.truncate(bytes);
        out
    }
}

fn clock(hasher: Hasher, go: &Path, zip: &Path, times: usize) -> Vec<(H1, Took)> {
    match hasher {
        Hasher::Go => clock_go(go, zip, times),
        Hasher::Directory => (0..times).map(|_| timed(|| hash_zip(File::open(zip).expect("the zip")).expect("a zip"))).collect(),
        Hasher::Stream => (0..times).map(|_| timed(|| hash_as_it_passes(zip))).collect(),
    }
}

fn clock_go(go: &Path, zip: &Path, times: usize) -> Vec<(H1, Took)> {
    let output = Command::new(go).arg("clock").arg(zip).arg(times.to_string()).output().expect("the Go program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let line = |line: &str| {
        let mut words = line.split(' ');
        let h1 = words.next().expect("a hash").parse().expect("a hash");
        let mut nanos = || Duration::from_nanos(words.next().and_then(|word| word.parse().ok()).expect("nanoseconds"));
        (h1, Took { clock: nanos(), processor: nanos() })
    };
    text.lines().map(line).collect()
}

fn hash_as_it_passes(zip: &Path) -> H1 {
    let (mut file, mut piece, mut hasher) = (File::open(zip).expect("the zip"), [0; PIECE_BYTES], StreamHasher::new());
    loop {
        match file.read(&mut piece).expect("read") {
            0 => return hasher.finish().expect("a zip"),
            len => hasher.push(&piece[..len]).expect("a zip"),
        }
    }
}

fn timed(hash: impl FnOnce() -> H1) -> (H1, Took) {
    let (began, before) = (Instant::now(), processor_time());
    let h1 = hash();
    (h1, Took { clock: began.elapsed(), processor: processor_time() - before })
}

/// Of all threads of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
