//! The use cases over the embedded store in a directory of its own.

mod form;
mod full;
mod lifecycle;
mod publish;
mod races;
mod read;
mod rules;

use std::collections::{BTreeSet, VecDeque};
use std::io::{Cursor, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::LazyLock;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::cache::Body;
use crate::durable::Disk;
use crate::protocol::ModuleAsk;
use crate::store::{DataDir, Embedded, hex};

/// What most tests are set up with: a public owner, two private ones, one that is bound.
const SETTINGS: &str = r#"
[limits]
upload = "1MiB"
[private]
patterns = ["github.com/acme/*"]
[owners.open]
visibility = "public"
[owners.team]
visibility = "private"
[owners.other]
visibility = "private"
[owners.bound]
visibility = "private"
modules = ["bound.example.com/mine/*", "bound.example.com/exact"]
"#;

struct Rig {
    dir: TempDir,
    stores: Stores,
    hosted: Arc<Hosted>,
}

impl Rig {
    async fn new() -> Self {
        Self::with(SETTINGS).await
    }

    async fn with(settings: &str) -> Self {
        Self::open(tempfile::tempdir().unwrap(), settings).await
    }

    async fn open(dir: TempDir, settings: &str) -> Self {
        Self::open_on(dir, settings, Disk::default()).await
    }

    async fn open_on(dir: TempDir, settings: &str, disk: Disk) -> Self {
        let stores = open_stores(dir.path(), disk).await;
        let hosted = Arc::new(over(settings, stores.clone()));
        Self { dir, stores, hosted }
    }

    async fn put(&self, owner: &str, zip: &[u8]) -> Result<Published, PublishRefusal> {
        self.send(owner, None, &mut Pieces::of(zip)).await
    }

    async fn send(&self, owner: &str, content_type: Option<&str>, body: &mut Pieces) -> Result<Published, PublishRefusal> {
        self.hosted.publish(&name(owner), &publisher(), content_type, body).await.map_err(|refused| refused.why)
    }

    async fn read(&self, ask: &ModuleAsk, seal: bool) -> Read {
        self.hosted.read(&everything(), &path(LIB), ask, seal).await.unwrap()
    }

    async fn delete(&self, owner: &str, module: &str, version: &str) -> Delete {
        self.hosted.delete(&name(owner), &path(module), &self::version(version), &alice()).await.unwrap()
    }

    /// Every file below `tmp/` and `blobs/`.
    fn left(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for folder in ["tmp", "blobs"] {
            for entry in std::fs::read_dir(self.dir.path().join(folder)).unwrap() {
                found.insert(format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        found
    }

    /// The files below `blobs/` that the records of these paths name.
    async fn recorded(&self, paths: &[&str]) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        for path in paths {
            let module = self.stores.records.module(&self::path(path)).await.unwrap().expect("it is hosted");
            let blobs = module.versions.iter().flat_map(|record| [record.zip, record.go_mod]);
            files.extend(blobs.map(|blob| format!("blobs/{}", hex(&blob.sha256))));
        }
        files
    }

    /// Waits until what was begun in the background left these files and no others.
    async fn settles_to(&self, files: &BTreeSet<String>) {
        let settled = async {
            while self.left() != *files {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(20), settled).await.is_err() {
            assert_eq!(self.left(), *files);
        }
    }
}

const LIB: &str = "corp.example.com/lib";

/// The use cases of these settings over these stores.
fn over(settings: &str, stores: Stores) -> Hosted {
    let config = Config::from_toml(settings).unwrap();
    let policy = Arc::new(Policy::new(&config, stores.records.clone()));
    Hosted::new(&config, stores, policy, crate::observe::audit::Audit::default(), None)
}

async fn open_stores(dir: &Path, disk: Disk) -> Stores {
    let dir = dir.to_owned();
    let open = move || Embedded::open(&Arc::new(DataDir::open_on(&dir, disk).unwrap())).unwrap().0;
    crate::observe::spawn_blocking(open).await.unwrap()
}

static ALICE: LazyLock<Actor> = LazyLock::new(|| Actor::local("user:alice"));

fn alice() -> Actor {
    ALICE.clone()
}

fn publisher() -> Publisher {
    Publisher { actor: alice(), may_read: true }
}

fn name(owner: &str) -> OwnerName {
    owner.parse().unwrap()
}

fn path(module: &str) -> ModulePath {
    module.parse().unwrap()
}

fn version(version: &str) -> Version {
    version.parse().unwrap()
}

fn everything() -> View<'static> {
    View { owner: None, sees: &|_| true, actor: &ALICE }
}

/// A module zip with a go.mod and one file of this content.
fn module(path: &str, version: &str, content: &str) -> Vec<u8> {
    let go_mod = format!("module {path}\n");
    zip(&[(&format!("{path}@{version}/go.mod"), go_mod.as_bytes()), (&format!("{path}@{version}/lib.go"), content.as_bytes())])
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A body that comes in these pieces, then ends or fails.
struct Pieces {
    declared: Option<u64>,
    next: VecDeque<Result<Bytes, UploadError>>,
    asked: usize,
}

impl Pieces {
    fn of(body: &[u8]) -> Self {
        Self::sized(body, 4096)
    }

    fn sized(body: &[u8], piece: usize) -> Self {
        let next = body.chunks(piece).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Self { declared: Some(body.len() as u64), next, asked: 0 }
    }

    fn chunked(self) -> Self {
        Self { declared: None, ..self }
    }

    fn then(mut self, error: UploadError) -> Self {
        self.next.push_back(Err(error));
        self
    }
}

#[async_trait]
impl Upload for Pieces {
    fn declared_len(&self) -> Option<u64> {
        self.declared
    }

    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        self.asked += 1;
        tokio::task::yield_now().await;
        self.next.pop_front().transpose()
    }
}

fn found(read: Read) -> Answer {
    match read {
        Read::Found(answer) => answer,
        other => panic!("not found: {other:?}"),
    }
}

fn missing(read: Read) -> String {
    match read {
        Read::Missing(text) => text,
        other => panic!("not missing: {other:?}"),
    }
}

fn bytes(read: Read) -> Vec<u8> {
    match found(read).body {
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::File { file, from, len } => {
            let mut content = Vec::new();
            let mut file: &std::fs::File = &file;
            file.seek(SeekFrom::Start(from)).unwrap();
            file.take(len).read_to_end(&mut content).unwrap();
            content
        }
        Body::Stream { .. } => panic!("a hosted module is never passed through"),
    }
}

fn text(read: Read) -> String {
    String::from_utf8(bytes(read)).unwrap()
}
