//! What the gateway's own checksum database takes: records a second that are appended for good, and a start with many: `make bench`.
//!
//! On the disk of the target folder, which must be a real one: a log in memory says nothing. What one fsync takes there is told too.

mod machine;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use modgate::durable::{Disk, Faults, Step};
use modgate::module::H1;
use modgate::store::DataDir;
use modgate::sumdb::log::{Log, LogSettings};
use modgate::tlog::Record;
use tokio::runtime::{Builder, Runtime};

use machine::machine;

/// How many wait at once, and how many records they append.
const WAITING: [(usize, usize); 2] = [(1, 400), (64, 16_000)];
/// Records of the log that is started.
const RECORDS: usize = 100_000;
/// Who appends those: as many as one commit takes.
const FILLING: usize = 256;
const STARTS: usize = 5;
const FSYNCS: usize = 100;

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench -- --list` ask for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    // `--test`, as criterion has it: whether it runs at all.
    let part = if std::env::args().any(|arg| arg == "--test") { 400 } else { 1 };
    println!("the gateway's own checksum database, on {}", machine());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
    fsyncs(folder.path());
    for (waiting, records) in WAITING {
        appends(&runtime, waiting, (records / part).max(waiting));
    }
    fsyncs(folder.path());
    starts(&runtime, &folder.path().join("started"), RECORDS / part);
    ExitCode::SUCCESS
}

/// A file grows by a block each time.
fn fsyncs(folder: &Path) {
    let file = File::create(folder.join("fsyncs")).expect("a file");
    let times = (0..FSYNCS).map(|nth| {
        let began = Instant::now();
        file.write_all_at(&[1; 4096], nth as u64 * 4096).and_then(|()| file.sync_all()).expect("fsync");
        began.elapsed()
    });
    let times = Times::new(times.collect());
    println!("one fsync                p50 {:6.2} ms   p99 {:6.2} ms", times.at(50), times.at(99));
}

/// Counts what goes to the disk.
#[derive(Default)]
struct Counting {
    fsyncs: AtomicU64,
    commits: AtomicU64,
}

impl Faults for Counting {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if matches!(step, Step::SyncFile | Step::SyncDir) {
            self.fsyncs.fetch_add(1, Ordering::Relaxed);
        }
        if step == Step::Rename && path.ends_with("log/head") {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        run()
    }
}

fn appends(runtime: &Runtime, waiting: usize, records: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let counting = Arc::new(Counting::default());
    let log = open(folder.path(), Disk::with_faults(counting.clone()));
    counting.fsyncs.store(0, Ordering::Relaxed);
    let began = Instant::now();
    let times = Times::new(append(runtime, &log, waiting, records));
    let rate = records as f64 / began.elapsed().as_secs_f64();
    let [fsyncs, commits] = [&counting.fsyncs, &counting.commits].map(|count| count.load(Ordering::Relaxed) as f64);
    println!(
        "{waiting:3} waiting: {rate:6.0} appends/s   p50 {:6.2} ms   p99 {:6.2} ms   {:5.1} records a commit   {:.2} fsyncs a commit",
        times.at(50),
        times.at(99),
        records as f64 / commits,
        fsyncs / commits
    );
}

/// How long each append took.
fn append(runtime: &Runtime, log: &Arc<Log>, waiting: usize, records: usize) -> Vec<Duration> {
    let each = |from: usize| {
        let log = log.clone();
        runtime.spawn(async move {
            let mut times = Vec::new();
            for id in (from..records).step_by(waiting) {
                let record = record(id);
                let began = Instant::now();
                log.append(record).await.expect("an append");
                times.push(began.elapsed());
            }
            times
        })
    };
    let tasks: Vec<_> = (0..waiting).map(each).collect();
    tasks.into_iter().flat_map(|task| runtime.block_on(task).expect("a task")).collect()
}

fn starts(runtime: &Runtime, folder: &Path, records: usize) {
    let log = open(folder, Disk::default());
    append(runtime, &log, FILLING, records);
    drop(log);
    let time = |_| {
        let data = Arc::new(DataDir::open(folder).expect("a data directory"));
        let began = Instant::now();
        let log = Log::open(&data, &settings()).expect("the log");
        let took = began.elapsed();
        assert_eq!(log.latest().head().size, records as u64);
        took
    };
    let times = Times::new((0..STARTS).map(time).collect());
    println!("a start with {records} records: median {:.0} ms, longest {:.0} ms", times.at(50), times.at(100));
}

fn open(folder: &Path, disk: Disk) -> Arc<Log> {
    let data = Arc::new(DataDir::open_on(folder, disk).expect("a data directory"));
    Arc::new(Log::open(&data, &settings()).expect("a log"))
}

fn settings() -> LogSettings {
    LogSettings { host: "go.example.com".to_owned(), head_path: None }
}

fn record(id: usize) -> Record {
    let path = format!("github.com/organisation-{}/repository-{id}", id % 5000).parse().expect("a path");
    let byte = id as u8;
    Record { path, version: "v1.2.3".parse().expect("a version"), zip: H1([byte; 32]), go_mod: H1([!byte; 32]) }
}

/// Sorted.
struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// A percentile, milliseconds.
    fn at(&self, percent: usize) -> f64 {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)].as_secs_f64() * 1e3
    }
}
