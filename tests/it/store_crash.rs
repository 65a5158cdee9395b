//! The embedded stores under faults: every step to the disk fails, before or after it took effect, once or for good.
//! What was acknowledged is there afterwards, and nothing is half there.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use modgate::durable::{Disk, Faults, Room, Shortage, Step};
use modgate::stop::Stop;
use modgate::store::{
    DataDir, Delete, Embedded, FindingKind, HealReport, MovePath, Moved, NewVersion, Publish, Release, StoreError, Stores,
};

use super::store_contract::{delete, id_of, module, owner, path, publish, put, record, token, version};

/// What a step of the script came to.
type Outcome = Result<(), StoreError>;

/// How long a store that broke may take to be well again.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is done, step by step; each can be done again if it failed.
pub(super) const SCRIPT: usize = 15;

pub(super) async fn act(stores: &Stores, step: usize) -> Outcome {
    let claiming = |name: &str, v: &str| NewVersion { claim: Some("corp.example.com".to_owned()), ..module("alice", name, v, "one") };
    let (lib, other) = ("corp.example.com/lib", "corp.example.com/Other/x");
    let records = &stores.records;
    match step {
        0 => publish(stores, claiming(lib, "v1.0.0"), "one").await.map(drop),
        1 => publish(stores, claiming(other, "v0.1.0-pre"), "one").await.map(drop),
        2 => match record(stores, lib, "v1.0.0").await {
            Some(held) => records.seal(&held).await.map(drop),
            None => Err(StoreError::Corrupt("an acknowledged version is not there".to_owned())),
        },
        3 => publish(stores, module("alice", lib, "v1.1.0", "two"), "two").await.map(drop),
        4 => records.delete(&owner("alice"), &path(lib), &version("v1.0.0"), "alice").await.map(drop),
        5 => records.token_put(token("first", 1)).await.map(drop),
        6 => records.delete(&owner("alice"), &path(lib), &version("v1.1.0"), "alice").await.map(drop),
        7 => records.ledger_first(&path("example.com/out"), "anonymous", "public").await.map(drop),
        8 => records.release_path(&path(lib), "admin").await.map(drop),
        9 => publish(stores, module("bob", lib, "v1.0.0", "one"), "one").await.map(drop),
        10 => records.known_put(&path("example.com/Known")).await,
        11 => records.release_host("corp.example.com", "admin").await.map(drop),
        12 => records.token_revoke("first").await.map(drop),
        13 => {
            let ask = MovePath { path: path(other), to: owner("bob"), needs_claim: false, max_bytes: None, by: "admin".to_owned() };
            records.move_path(ask).await.map(drop)
        }
        _ => records.delete(&owner("bob"), &path(other), &version("v0.1.0-pre"), "bob").await.map(drop),
    }
}

/// Everything that the stores say.
pub(super) async fn dump(stores: &Stores) -> String {
    let mut text = String::new();
    let index = stores.records.hosted_index().await.unwrap();
    for (hosted, owner) in &index.hosted {
        let module = stores.records.module(hosted).await.unwrap().unwrap();
        assert_eq!(module.owner, *owner);
        for record in &module.versions {
            assert_eq!(record.owner, *owner);
            for blob in [&record.zip, &record.go_mod] {
                assert!(stores.blobs.open(blob).await.unwrap().is_some());
            }
            writeln!(text, "hosted {owner} {hosted} {} {}", record.version, record.h1).unwrap();
        }
    }
    writeln!(text, "tombstones {:?}", index.tombstones).unwrap();
    let claims: Vec<_> = index.claims.iter().map(|(host, claim)| (host, &claim.path, &claim.owner, &claim.by)).collect();
    writeln!(text, "claims {claims:?} released {:?}", index.released).unwrap();
    for name in ["corp.example.com/lib", "corp.example.com/Other/x"] {
        for v in ["v1.0.0", "v1.1.0", "v0.1.0-pre"] {
            let sealed = stores.records.sealed(&path(name), &version(v)).await.unwrap();
            writeln!(text, "sealed {name} {v} {sealed:?}").unwrap();
        }
    }
    writeln!(text, "tokens {:?}", stores.records.tokens().await.unwrap()).unwrap();
    for line in stores.records.ledger(0, 100).await.unwrap() {
        writeln!(text, "left {} {} {}", line.path, line.principal, line.rule).unwrap();
    }
    writeln!(text, "known {}", stores.records.known().contains(&path("example.com/Known"))).unwrap();
    // A blob that could not be removed is tried again.
    let begun = Instant::now();
    loop {
        let findings = stores.verify.verify(&Stop::default()).await.unwrap().findings;
        let unused = findings.iter().all(|finding| finding.kind == FindingKind::BlobUnused);
        assert!(findings.is_empty() || unused && begun.elapsed() < PATIENCE, "{findings:?} after {text}");
        if findings.is_empty() {
            return text;
        }
    }
}

/// A folder in memory, where there is one: the faults are made up, and fsyncs would be waited for.
pub(super) fn memory_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub(super) fn open(dir: &Path, disk: Disk) -> Result<(Stores, HealReport), modgate::store::OpenError> {
    Embedded::open(&Arc::new(DataDir::open_on(dir, disk)?))
}

/// Opens without faults; finds no fault.
pub(super) fn reopen(dir: &Path) -> Stores {
    let (stores, report) = open(dir, Disk::default()).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.set_aside, None);
    assert_eq!(fs::read_dir(dir.join("tmp")).unwrap().count(), 0);
    stores
}

/// The states after each step of the script, the empty one first.
pub(super) async fn states() -> Vec<String> {
    let dir = memory_dir();
    let stores = reopen(dir.path());
    let mut states = vec![dump(&stores).await];
    for step in 0..SCRIPT {
        act(&stores, step).await.unwrap();
        states.push(dump(&stores).await);
        assert_ne!(states[step], states[step + 1], "step {step} changes nothing");
    }
    states
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What happens at the step that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// It does not happen; later ones do.
    Fails,
    /// It happens and tells an error; later ones are well.
    HappensAndFails,
    /// It does not happen, and nothing does from then on.
    Dies,
    /// It is the last that happens.
    HappensAndDies,
    /// There is no room, for this and the next two.
    Full,
    /// Of writes alone: half of it is written, then there is no room.
    Half,
}

impl Blow {
    /// Whether nothing happens any more afterwards.
    pub(super) fn lasts(self) -> bool {
        matches!(self, Self::Dies | Self::HappensAndDies)
    }
}

pub(super) struct Script {
    at: usize,
    blow: Blow,
    count: AtomicUsize,
}

impl Script {
    pub(super) fn new(at: usize, blow: Blow) -> Self {
        Self { at, blow, count: AtomicUsize::new(0) }
    }

    /// How many steps there were.
    pub(super) fn steps(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Faults for Script {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if self.blow == Blow::Half && step != Step::Write {
            return run();
        }
        let nth = self.count.fetch_add(1, Ordering::SeqCst);
        let broken = || Err(io::Error::other("a fault that a test made"));
        match self.blow {
            Blow::Fails if nth == self.at => broken(),
            Blow::HappensAndFails if nth == self.at => run().and_then(|()| broken()),
            Blow::HappensAndDies if nth == self.at => run().and_then(|()| broken()),
            Blow::Full if (self.at..self.at + 3).contains(&nth) => Err(io::Error::from_raw_os_error(28)),
            Blow::Half if nth == self.at => {
                let file = fs::OpenOptions::new().write(true).open(path)?;
                let before = file.metadata()?.len();
                run()?;
                file.set_len(before.midpoint(file.metadata()?.len()))?;
                Err(io::Error::from_raw_os_error(28))
            }
            Blow::Dies if nth >= self.at => broken(),
            Blow::HappensAndDies if nth > self.at => broken(),
            _ => run(),
        }
    }
}

/// Runs the script with a blow at step `at` to the disk. Whether that step was reached.
async fn strike(at: usize, blow: Blow, states: &[String]) -> bool {
    let dir = memory_dir();
    let script = Arc::new(Script::new(at, blow));
    let lasting = blow.lasts();
    let mut done = 0;
    if let Ok((stores, _)) = open(dir.path(), Disk::with_faults(script.clone())) {
        for step in 0..SCRIPT {
            let mut outcome = act(&stores, step).await;
            if !lasting {
                // What broke the store may have broken its healing too: that is tried again a little later.
                let begun = Instant::now();
                while outcome.is_err() && begun.elapsed() < PATIENCE {
                    outcome = act(&stores, step).await;
                }
                outcome.as_ref().unwrap_or_else(|error| panic!("{blow:?} at {at}: step {step} goes on failing: {error}"));
            }
            match outcome {
                Ok(()) => done += 1,
                Err(_) => break,
            }
        }
        if !lasting {
            assert_eq!(dump(&stores).await, states[SCRIPT], "{blow:?} at {at}, before it is opened again");
        }
    }
    let found = dump(&reopen(dir.path())).await;
    let next = states.get(done + 1).filter(|_| lasting);
    assert!(found == states[done] || Some(&found) == next, "{blow:?} at {at}, {done} acknowledged:\n{found}\nexpected\n{}", states[done]);
    script.steps() > at
}

fn strike_everywhere(blow: Blow, steps: usize) {
    runtime().block_on(async {
        let states = states().await;
        let mut at = 0;
        while strike(at, blow, &states).await {
            at += 1;
        }
        assert!(at >= steps, "only {at} steps");
    });
}

#[test]
fn a_step_that_fails_once_is_an_error_and_no_more() {
    strike_everywhere(Blow::Fails, 100);
}

#[test]
fn a_step_that_happens_and_tells_an_error_breaks_nothing() {
    strike_everywhere(Blow::HappensAndFails, 100);
}

#[test]
fn a_disk_that_is_full_for_a_moment_loses_nothing() {
    strike_everywhere(Blow::Full, 100);
}

#[test]
fn a_write_that_ends_halfway_leaves_no_half() {
    strike_everywhere(Blow::Half, 15);
}

#[test]
fn a_crash_before_any_step_loses_nothing_acknowledged() {
    strike_everywhere(Blow::Dies, 100);
}

#[test]
fn a_crash_after_any_step_loses_nothing_acknowledged() {
    strike_everywhere(Blow::HappensAndDies, 100);
}

#[test]
fn a_full_disk_refuses_to_publish_but_not_to_read_or_delete() {
    struct NoRoom;
    impl Faults for NoRoom {
        fn step(&self, _: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
            run()
        }
        fn room(&self, room: Room) -> Room {
            Room { bytes: 1 << 20, ..room }
        }
    }
    runtime().block_on(async {
        let dir = memory_dir();
        let stores = reopen(dir.path());
        act(&stores, 0).await.unwrap();
        drop(stores);
        let (stores, _) = open(dir.path(), Disk::with_faults(Arc::new(NoRoom))).unwrap();
        assert!(matches!(act(&stores, 3).await, Err(StoreError::Full)));
        assert!(matches!(stores.records.writable().await, Err(StoreError::Full)));
        assert!(record(&stores, "corp.example.com/lib", "v1.0.0").await.is_some());
        delete(&stores, "alice", "corp.example.com/lib", "v1.0.0").await;
        assert!(record(&stores, "corp.example.com/lib", "v1.0.0").await.is_none());
        assert_eq!(fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
    });
}

/// Full as long as nobody gives way, though it does not tell: so with a quota.
#[derive(Default)]
struct Crowded(AtomicBool);

impl Faults for Crowded {
    fn step(&self, step: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if step == Step::Write && self.0.load(Ordering::SeqCst) { Err(io::ErrorKind::QuotaExceeded.into()) } else { run() }
    }
}

#[test]
fn where_others_give_way_a_full_disk_refuses_neither_a_publish_nor_a_delete() {
    runtime().block_on(async {
        let (dir, crowded) = (memory_dir(), Arc::new(Crowded::default()));
        let data = Arc::new(DataDir::open_on(dir.path(), Disk::with_faults(crowded.clone())).unwrap());
        let (stores, _) = Embedded::open(&data).unwrap();
        crowded.0.store(true, Ordering::SeqCst);
        assert!(matches!(act(&stores, 0).await, Err(StoreError::Full)), "nobody gives way");
        let others = crowded.clone();
        data.yields(Box::new(move |_| others.0.swap(false, Ordering::SeqCst)));
        act(&stores, 0).await.unwrap();
        crowded.0.store(true, Ordering::SeqCst);
        let sealed = stores.records.seal(&record(&stores, "corp.example.com/lib", "v1.0.0").await.unwrap()).await;
        assert!(matches!(sealed, Ok(modgate::store::Seal::Sealed { first: true })), "{sealed:?}");
        crowded.0.store(true, Ordering::SeqCst);
        delete(&stores, "alice", "corp.example.com/lib", "v1.0.0").await;
        assert!(record(&stores, "corp.example.com/lib", "v1.0.0").await.is_none());
    });
}

/// Full until so much has gone, though it does not tell.
struct Quota(Mutex<Shortage>);

impl Faults for Quota {
    fn step(&self, step: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let full = step == Step::Write && !self.0.lock().unwrap().is_none();
        if full { Err(io::ErrorKind::QuotaExceeded.into()) } else { run() }
    }
}

#[test]
fn under_a_quota_what_is_not_known_to_be_missing_is_asked_for_one_after_the_other() {
    runtime().block_on(async {
        for (step, lacks, asked) in [(0, Shortage { bytes: 1, inodes: 0 }, 1), (3, Shortage { bytes: 0, inodes: 1 }, 2)] {
            let (dir, quota) = (memory_dir(), Arc::new(Quota(Mutex::default())));
            let data = Arc::new(DataDir::open_on(dir.path(), Disk::with_faults(quota.clone())).unwrap());
            let (stores, _) = Embedded::open(&data).unwrap();
            let asks = Arc::new(Mutex::new(Vec::new()));
            let (others, noted) = (quota.clone(), asks.clone());
            data.yields(Box::new(move |short| {
                let mut lacks = others.0.lock().unwrap();
                *lacks = lacks.beyond(short);
                noted.lock().unwrap().push(short);
                true
            }));
            *quota.0.lock().unwrap() = lacks;
            act(&stores, step).await.unwrap();
            let asks = asks.lock().unwrap();
            assert_eq!(asks.len(), asked, "{asks:?}");
            assert!(asks.iter().all(|short| short.bytes == 0 || short.inodes == 0), "{asks:?}");
        }
    });
}

/// A disk that stops the committer at its next line of the journal, until it is let go.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: bool,
}

impl Gate {
    /// Has the committer wait, in the middle of a batch of its own.
    async fn close(self: &Arc<Self>, stores: &Stores) {
        self.state.lock().unwrap().closed = true;
        let stores = stores.clone();
        tokio::spawn(async move { stores.records.token_put(token("gate", 9)).await.unwrap() });
        let gate = Arc::clone(self);
        tokio::task::spawn_blocking(move || drop(gate.changed.wait_while(gate.state.lock().unwrap(), |state| !state.waiting).unwrap()))
            .await
            .unwrap();
    }

    fn open(&self) {
        self.state.lock().unwrap().closed = false;
        self.changed.notify_all();
    }
}

impl Faults for Gate {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if step == Step::Write && path.ends_with("changes.journal") {
            let mut state = self.state.lock().unwrap();
            while state.closed {
                state.waiting = true;
                self.changed.notify_all();
                state = self.changed.wait(state).unwrap();
            }
        }
        run()
    }
}

#[test]
fn what_is_asked_at_once_is_decided_one_after_the_other() {
    runtime().block_on(async {
        let (dir, gate) = (memory_dir(), Arc::new(Gate::default()));
        let (stores, _) = open(dir.path(), Disk::with_faults(gate.clone())).unwrap();
        let name = "corp.example.com/lib";
        let mut pins = Vec::new();
        for content in ["one", "two"] {
            pins.push(put(&stores, format!("zip of {name} {content}").as_bytes()).await);
        }
        pins.push(put(&stores, format!("module {name}\n").as_bytes()).await);
        let (one, two) = (module("alice", name, "v1.0.0", "one"), module("alice", name, "v1.0.0", "two"));
        let (bobs, lib, v1, alice) = (module("bob", name, "v1.0.0", "two"), path(name), version("v1.0.0"), owner("alice"));
        let (one_h1, go_mod_h1) = (one.h1, one.go_mod_h1);
        gate.close(&stores).await;
        let records = &stores.records;
        // All wait, in this order, while the committer does.
        let all = async {
            tokio::join!(
                biased;
                records.publish(one),
                records.publish(two),
                records.publish(bobs.clone()),
                records.release_path(&lib, "admin"),
                records.delete(&alice, &lib, &v1, "alice"),
                records.delete(&alice, &lib, &v1, "alice"),
                records.publish(bobs.clone()),
                records.release_path(&lib, "admin"),
                records.publish(bobs),
                records.token_revoke("gate"),
                records.token_revoke("gate"),
            )
        };
        let (answers, ()) = tokio::join!(biased; all, async { gate.open() });
        assert!(matches!(answers.0.unwrap(), Publish::Created { new_path: true, .. }));
        assert_eq!(answers.1.unwrap(), Publish::VersionExists(one_h1, go_mod_h1));
        assert_eq!(answers.2.unwrap(), Publish::NotYours);
        assert_eq!(answers.3.unwrap(), Release::Hosted);
        assert!(matches!(answers.4.unwrap(), Delete::Deleted { last: true, .. }));
        assert_eq!(answers.5.unwrap(), Delete::Absent);
        assert_eq!(answers.6.unwrap(), Publish::NotYours);
        assert!(matches!(answers.7.unwrap(), Release::Released(_)));
        assert!(matches!(answers.8.unwrap(), Publish::Created { new_path: true, .. }));
        assert_eq!((answers.9.unwrap(), answers.10.unwrap()), (true, false));
        let held = record(&stores, name, "v1.0.0").await.unwrap();
        assert_eq!((held.owner.as_str(), held.zip), ("bob", id_of(format!("zip of {name} two").as_bytes())));
        let said = dump(&stores).await;
        drop((pins, stores));
        assert_eq!(dump(&reopen(dir.path())).await, said);
    });
}

#[test]
fn a_move_is_decided_after_what_came_before_it_and_before_what_comes_after() {
    runtime().block_on(async {
        let (dir, gate) = (memory_dir(), Arc::new(Gate::default()));
        let (stores, _) = open(dir.path(), Disk::with_faults(gate.clone())).unwrap();
        for step in 0..=3 {
            act(&stores, step).await.unwrap();
        }
        let (lib, other) = (path("corp.example.com/lib"), path("corp.example.com/Other/x"));
        let to_bob = |path: &modgate::module::ModulePath, needs_claim| MovePath {
            path: path.clone(),
            to: owner("bob"),
            needs_claim,
            max_bytes: None,
            by: "admin".to_owned(),
        };
        let (alice, v1) = (owner("alice"), version("v1.0.0"));
        gate.close(&stores).await;
        let records = &stores.records;
        let all = async {
            tokio::join!(
                biased;
                records.move_path(to_bob(&lib, true)),
                records.delete(&alice, &lib, &v1, "alice"),
                records.release_host("corp.example.com", "admin"),
                records.move_path(to_bob(&other, true)),
            )
        };
        let (answers, ()) = tokio::join!(biased; all, async { gate.open() });
        assert!(matches!(answers.0.unwrap(), Moved::Moved { .. }));
        assert_eq!(answers.1.unwrap(), Delete::Absent, "it is bob's by then");
        assert!(matches!(answers.2.unwrap(), Release::Released(_)));
        assert_eq!(answers.3.unwrap(), Moved::NotClaimed);
        let said = dump(&stores).await;
        drop(stores);
        assert_eq!(dump(&reopen(dir.path())).await, said);
    });
}

#[test]
fn a_publisher_that_goes_away_meanwhile_leaves_a_whole_version_or_none() {
    runtime().block_on(async {
        let (dir, gate) = (memory_dir(), Arc::new(Gate::default()));
        let (stores, _) = open(dir.path(), Disk::with_faults(gate.clone())).unwrap();
        let new = module("alice", "corp.example.com/lib", "v1.0.0", "one");
        let zip = put(&stores, b"zip of corp.example.com/lib one").await;
        let go_mod = put(&stores, b"module corp.example.com/lib\n").await;
        gate.close(&stores).await;
        let mut publish = stores.records.publish(new);
        assert!(futures::poll!(&mut publish).is_pending());
        // It is on its way; who asked, and what they held, is gone.
        drop((publish, zip, go_mod));
        gate.open();
        assert!(stores.records.writable().await.is_ok());
        assert!(record(&stores, "corp.example.com/lib", "v1.0.0").await.is_some());
        dump(&stores).await;
    });
}

#[test]
fn a_publish_that_may_have_happened_is_known_before_anything_else_is_decided() {
    /// The record gets its name, and its folder's fsync fails, once.
    struct Unsure(Mutex<bool>);
    impl Faults for Unsure {
        fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
            let once = step == Step::Rename && path.ends_with("@v/v1.0.0.json") && !std::mem::replace(&mut *self.0.lock().unwrap(), true);
            run()?;
            if once { Err(io::Error::other("a fault that a test made")) } else { Ok(()) }
        }
    }
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(dir.path(), Disk::with_faults(Arc::new(Unsure(Mutex::new(false))))).unwrap();
        let name = "corp.example.com/lib";
        assert!(publish(&stores, module("alice", name, "v1.0.0", "one"), "one").await.is_err());
        // Else the next start would find two owners in one path.
        assert_eq!(publish(&stores, module("bob", name, "v1.1.0", "two"), "two").await.unwrap(), Publish::NotYours);
        let said = dump(&stores).await;
        drop(stores);
        assert_eq!(dump(&reopen(dir.path())).await, said);
    });
}
