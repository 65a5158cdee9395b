//! The cache against an upstream that misbehaves.

mod answers;
mod bound;
mod faults;
mod fills;
mod freshness;
mod lookups;
mod memory;
mod offline;
mod queue;
mod vouching;

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;

use super::*;
use crate::durable::{Disk, Faults, Step};
use crate::observe::metrics::Metrics;
use crate::store::double::Double;
use crate::upstream::fake::{self, Act, Fake};

const FRESH: Duration = Duration::from_secs(60);
const STALE: Duration = Duration::from_secs(3600);
const NOT_FOUND: Duration = Duration::from_secs(30);
const ROOMY: u64 = 1 << 30;

/// A cache, its upstream, its disk and its clock.
struct World {
    dir: tempfile::TempDir,
    fake: Fake,
    records: Arc<Double>,
    now: Arc<Mutex<SystemTime>>,
    faulty: Arc<Faulty>,
    data: Arc<DataDir>,
    audit: Audit,
    metrics: Arc<Metrics>,
    settings: config::Cache,
    cache: Cache,
}

/// Fails one kind of step while it is told to.
#[derive(Default)]
struct Faulty(Mutex<Option<(Step, &'static str, i32)>>);

impl Faults for Faulty {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
        match *self.0.lock().unwrap() {
            Some((failing, part, errno)) if failing == step && path.to_str().unwrap().contains(part) => {
                Err(std::io::Error::from_raw_os_error(errno))
            }
            _ => run(),
        }
    }
}

const ENOSPC: i32 = 28;

impl World {
    async fn new() -> Self {
        Self::with(ROOMY).await
    }

    async fn with(max_size: u64) -> Self {
        let fake = Fake::start().await;
        let config = fake.config();
        Self::over(fake, config, max_size)
    }

    /// Whose upstream may take its time.
    async fn patient() -> Self {
        let fake = Fake::start().await;
        let minute = Duration::from_secs(60);
        let config = config::Upstream { connect_timeout: minute, stall_timeout: minute, ..fake.config() };
        Self::over(fake, config, ROOMY)
    }

    /// With a memory of so many bytes. The others have none: they are about the disk.
    async fn remembering(memory: u64) -> Self {
        let fake = Fake::start().await;
        let config = fake.config();
        Self::of(fake, &config, settings(ROOMY, memory))
    }

    fn over(fake: Fake, config: config::Upstream, max_size: u64) -> Self {
        Self::of(fake, &config, settings(max_size, 0))
    }

    fn of(fake: Fake, config: &config::Upstream, settings: config::Cache) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let records = Arc::new(Double::default());
        let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000)));
        let faulty = Arc::new(Faulty::default());
        let data = Arc::new(DataDir::open_on(dir.path(), Disk::with_faults(faulty.clone())).unwrap());
        let metrics = Arc::new(Metrics::new().unwrap());
        let audit = Audit::open(&data.audit(), data.disk(), data.node(), metrics.audit.clone()).unwrap();
        let cache = open(&data, config, &settings, &records, (&audit, &metrics), &now);
        Self { dir, fake, records, now, faulty, data, audit, metrics, settings, cache }
    }

    /// The process ends and another one starts, with these upstreams, and knows all its files.
    fn restart(&mut self, config: &config::Upstream, max_size: u64) {
        self.cache.inner.stock.close();
        self.start(config, max_size);
    }

    /// The process is killed and another one starts, and knows all its files.
    fn restart_after_kill(&mut self, config: &config::Upstream, max_size: u64) {
        self.cache.inner.stock.shelf.upkeep.kill();
        self.start(config, max_size);
    }

    fn start(&mut self, config: &config::Upstream, max_size: u64) {
        self.settings.max_size = max_size;
        self.cache = open(&self.data, config, &self.settings, &self.records, (&self.audit, &self.metrics), &self.now);
        self.cache.inner.stock.shelf.index.wait_complete();
    }

    /// The same stock under other settings, by which nobody waits for a turn.
    fn impatient(&self) -> Cache {
        let Inner { stock, upstream, .. } = &*self.cache.inner;
        Cache::new(stock.clone(), &self.settings, Duration::ZERO, upstream.clone())
    }

    /// How often upstream was, or would have been, asked.
    fn attempts(&self) -> usize {
        self.records.permits.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Waits until upstream was asked so often, or more, and nothing is under way.
    async fn settled(&self, attempts: usize) {
        until(|| self.attempts() >= attempts && self.cache.inner.stock.queue.under_way() == 0).await;
    }

    /// Removes what is kept for this question.
    fn purge(&self, ask: &ModuleAsk) {
        let place = Asset::Module("example.com/m".parse().unwrap(), ask.clone()).place();
        for key in [place.file, place.memo].into_iter().flatten() {
            self.cache.inner.stock.shelf.index.remove(&key).unwrap();
        }
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    fn fail(&self, step: Step, part: &'static str) {
        *self.faulty.0.lock().unwrap() = Some((step, part, ENOSPC));
    }

    fn heal(&self) {
        *self.faulty.0.lock().unwrap() = None;
    }

    async fn ask(&self, ask: &ModuleAsk) -> Result<Resolved, CacheError> {
        self.cache.resolve(&"example.com/m".parse().unwrap(), ask, TEST).await
    }

    /// Status and body, or status, code and text.
    async fn get(&self, ask: &ModuleAsk) -> Result<(CacheStatus, Vec<u8>), CacheError> {
        self.ask(ask).await.map(read_or_panic_at_once)?.await
    }

    async fn absence(&self, ask: &ModuleAsk) -> Absence {
        match self.ask(ask).await {
            Ok(Resolved::Absent(absence)) => absence,
            other => panic!("{other:?}"),
        }
    }

    /// Bytes of all files under the cache and of its fills.
    fn disk_bytes(&self) -> u64 {
        kept_files(self.dir.path()).iter().map(|(_, len)| len).sum()
    }

    fn file(&self, key: &str) -> std::path::PathBuf {
        self.dir.path().join("cache").join(key)
    }
}

fn settings(max_size: u64, memory: u64) -> config::Cache {
    config::Cache { max_size, min_free: 0, memory, fresh: FRESH, stale: STALE, not_found: NOT_FOUND }
}

const PATIENCE: Duration = Duration::from_secs(30);

const TEST: Asker<'static> = Asker { principal: "test", anew: false };

fn open(
    data: &Arc<DataDir>,
    config: &config::Upstream,
    settings: &config::Cache,
    records: &Arc<Double>,
    (audit, metrics): (&Audit, &Metrics),
    now: &Arc<Mutex<SystemTime>>,
) -> Cache {
    let gate = fake::gate(records.clone());
    let upstream = Arc::new(fake::upstream(config, gate.clone()));
    let now = now.clone();
    let clock: Clock = Arc::new(move || *now.lock().unwrap());
    let stock = Stock::open_at(data, settings, gate, records.clone(), metrics, audit.clone(), clock).unwrap();
    Cache::new(stock, settings, PATIENCE, upstream)
}

async fn until(condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came");
        tokio::task::yield_now().await;
    }
}

async fn read_or_panic_at_once(resolved: Resolved) -> Result<(CacheStatus, Vec<u8>), CacheError> {
    match resolved {
        Resolved::Found(cached) => Ok((cached.status, read(cached.body).await.unwrap())),
        Resolved::Absent(absence) => panic!("{absence:?}"),
    }
}

async fn read(body: Body) -> std::io::Result<Vec<u8>> {
    match body {
        Body::Bytes(bytes) => Ok(bytes.to_vec()),
        Body::File { file, from, len } => {
            let mut bytes = vec![0; usize::try_from(len).unwrap()];
            file.read_exact_at(&mut bytes, from)?;
            Ok(bytes)
        }
        Body::Stream { mut stream, .. } => {
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            Ok(bytes)
        }
    }
}

/// The files that the bound counts, with their lengths.
fn kept_files(data: &Path) -> Vec<(std::path::PathBuf, u64)> {
    [files(&data.join("cache")), files(&data.join("tmp"))].concat()
}

/// All files below a folder, with their lengths; what goes meanwhile is not there.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut out = Vec::new();
    for item in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match item.metadata() {
            Ok(meta) if meta.is_dir() => out.extend(files(&item.path())),
            Ok(meta) => out.push((item.path(), meta.len())),
            Err(_) => {}
        }
    }
    out
}

/// A module zip of about `bytes` bytes that do not shrink.
fn zip_of(version: &str, bytes: usize) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file(format!("example.com/m@{version}/go.mod"), stored).unwrap();
    zip.write_all(b"module example.com/m\n").unwrap();
    zip.start_file(format!("example.com/m@{version}/data"), stored).unwrap();
    zip.write_all(&vec![b'x'; bytes]).unwrap();
    zip.finish().unwrap().into_inner()
}

fn version(text: &str) -> crate::module::Version {
    text.parse().unwrap()
}

fn list() -> ModuleAsk {
    ModuleAsk::List
}

fn zip(text: &str) -> ModuleAsk {
    ModuleAsk::Zip(version(text))
}

fn target(rest: &str) -> String {
    format!("/example.com/m/{rest}")
}

/// An upstream with one of everything, and every question about it.
fn stock(fake: &Fake) -> Vec<ModuleAsk> {
    fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\n"));
    fake.set(&target("@latest"), Act::ok("application/json", "{\"Version\":\"v1.0.0\"}\n"));
    fake.set(&target("@v/v1.0.0.info"), Act::ok("application/json", r#"{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}"#));
    fake.set(&target("@v/main.info"), Act::ok("application/json", r#"{"Version":"v1.0.0"}"#));
    fake.set(&target("@v/v1.0.0.mod"), Act::ok("text/plain", "module example.com/m\n"));
    fake.set(&target("@v/v1.0.0.zip"), Act::ok("application/zip", zip_of("v1.0.0", 100_000)));
    let v1 = || version("v1.0.0");
    vec![
        ModuleAsk::List,
        ModuleAsk::Latest,
        ModuleAsk::Info(v1()),
        ModuleAsk::Query("main".into()),
        ModuleAsk::Mod(v1()),
        ModuleAsk::Zip(v1()),
    ]
}
