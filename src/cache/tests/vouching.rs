//! Nothing enters that nobody vouches for, and nothing leaves that entered so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::config::{Hop, Source};
use crate::module::dirhash::{hash_go_mod, hash_zip};
use crate::module::{H1, ModulePath, Version};
use crate::tlog::Lookup;

mod entering;
mod kept;

const DATABASE: &str = "sum.example.org";
const GO_MOD: &[u8] = b"module example.com/m\n";

/// A checksum database's client: it knows what it is told, keeps look-ups as verified, and answers from those that are kept.
struct Client {
    cache: Cache,
    identity: &'static str,
    says: Mutex<Result<Vouched, VouchError>>,
    /// How often it was asked, and how often it had to ask the database.
    asked: AtomicUsize,
    went_out: AtomicUsize,
    keeps: AtomicBool,
    gate: Mutex<Option<Arc<Semaphore>>>,
}

#[async_trait]
impl Vouch for Client {
    fn database(&self) -> &str {
        DATABASE
    }

    fn identity(&self) -> String {
        self.identity.to_owned()
    }

    async fn vouch(&self, path: &ModulePath, version: &Version, _: &str) -> Result<Vouched, VouchError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some((kept, _)) = self.cache.kept_lookup(DATABASE, path, version).await? {
            let record = Lookup::parse(&kept).unwrap().record.find(path, version).unwrap();
            return Ok(Vouched { zip: record.zip, go_mod: record.go_mod });
        }
        self.went_out.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let vouched = self.says.lock().unwrap().clone()?;
        if self.keeps.load(Ordering::SeqCst) {
            let Vouched { zip, go_mod } = vouched;
            let lookup = format!("3\n{path} {version} {zip}\n{path} {version}/go.mod {go_mod}\n\nhead\n\n\u{2014} {DATABASE} AAAA\n");
            assert!(self.cache.keep_lookup(DATABASE, path, version, lookup.into()).await);
        }
        Ok(vouched)
    }

    fn admits(&self) -> Result<(), VouchError> {
        match &*self.says.lock().unwrap() {
            Err(error @ VouchError::Forked(_)) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl Client {
    fn says(&self, says: Result<Vouched, VouchError>) {
        *self.says.lock().unwrap() = says;
    }

    fn counts(&self) -> (usize, usize) {
        (self.asked.load(Ordering::SeqCst), self.went_out.load(Ordering::SeqCst))
    }

    fn away(&self) {
        self.says(Err(away()));
    }
}

fn away() -> VouchError {
    VouchError::Away(Arc::new(CacheError::Off))
}

/// What the database says of `example.com/m@v1.0.0` as [`stock`] has it.
fn truth() -> Vouched {
    Vouched { zip: h1(&zip_of("v1.0.0", 100_000)), go_mod: hash_go_mod(GO_MOD) }
}

fn h1(zip: &[u8]) -> H1 {
    hash_zip(std::io::Cursor::new(zip)).unwrap()
}

fn lie() -> Vouched {
    Vouched { zip: H1([1; 32]), go_mod: H1([2; 32]) }
}

fn go_mod() -> ModuleAsk {
    ModuleAsk::Mod(version("v1.0.0"))
}

fn main() -> ModuleAsk {
    ModuleAsk::Query("main".into())
}

/// Both files, with their keys.
fn files() -> [(ModuleAsk, &'static str); 2] {
    [(go_mod(), "download/example.com/m/@v/v1.0.0.mod"), (zip("v1.0.0"), "download/example.com/m/@v/v1.0.0.zip")]
}

const LOOKUP: &str = "download/sumdb/sum.example.org/lookup/example.com/m@v1.0.0";

impl World {
    /// From now on everything is to be vouched for, by a client that is made for it.
    fn require(&mut self) -> Arc<Client> {
        self.require_of(DATABASE)
    }

    fn require_of(&mut self, identity: &'static str) -> Arc<Client> {
        let client = Client {
            identity,
            cache: self.cache.for_database(),
            says: Mutex::new(Ok(truth())),
            asked: AtomicUsize::new(0),
            went_out: AtomicUsize::new(0),
            keeps: AtomicBool::new(true),
            gate: Mutex::default(),
        };
        let client = Arc::new(client);
        self.cache = self.cache.vouched(client.clone(), &[]);
        client
    }

    fn restart_and_require(&mut self) -> Arc<Client> {
        let config = self.fake.config();
        self.restart(&config, ROOMY);
        self.require()
    }

    /// The mismatches in the audit trail, once there are so many.
    async fn mismatches(&self, count: usize) -> Vec<String> {
        let of_trail = || {
            let lines = self.audit.page(time::OffsetDateTime::UNIX_EPOCH, None, 100).unwrap().lines;
            lines.into_iter().filter(|line| line.contains(r#""event":"mismatch""#)).collect::<Vec<_>>()
        };
        until(|| of_trail().len() >= count).await;
        of_trail()
    }
}
