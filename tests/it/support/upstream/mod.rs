//! The fixture upstream: a GOPROXY over tests/testdata/modules, with a checksum database behind it, that records what it is asked and can
//! be made to fail.

mod goproxy;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread;

use super::hostile::Hostile;
use super::http::{Framing, Request, Response};
use super::recorder::{Recorder, decode};
use super::server::Server;
use super::sumdb::{self, Artifacts, SumDb};
use super::zips::{self, Module, escape};
pub(crate) use goproxy::answer;

/// How an upstream meets its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Alive,
    Fail(u16),
    Stall,
}

/// How an upstream behaves.
#[derive(Clone, Copy, Debug)]
struct Manner {
    mode: Mode,
    hostile: Option<Hostile>,
}

/// How the checksum database begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// With made-up records only: it grows with each version that is looked up first.
    Growing,
    /// And with every module of the fixture: its head stays as it is.
    Complete,
}

/// The upstream. Its Drop fails the test if it saw anything private: every name of tests/testdata/hosted, `corp.example.com`,
/// `private`, `secret`, and what was added by [`Upstream::forbid`]; or a client's credentials; or a method other than GET and HEAD.
pub(crate) struct Upstream {
    server: Server,
    state: Arc<State>,
}

struct State {
    recorder: Recorder,
    /// By escaped path.
    modules: RwLock<BTreeMap<String, Vec<Module>>>,
    /// By target, undecoded.
    canned: RwLock<BTreeMap<String, Response>>,
    manner: Mutex<Manner>,
    manner_changed: Condvar,
    sumdb: SumDb,
}

impl Upstream {
    /// Starts one over the fixture's modules, with a growing checksum database.
    pub(crate) fn start() -> Self {
        Self::start_with(zips::load("modules"), Tree::Growing)
    }

    /// Starts one over these modules.
    pub(crate) fn start_with(modules: Vec<Module>, tree: Tree) -> Self {
        Self::start_named(sumdb::NAME, modules, tree)
    }

    /// Starts one over these modules, with a checksum database of this name, which may hold slashes.
    pub(crate) fn start_named(name: &str, modules: Vec<Module>, tree: Tree) -> Self {
        let sumdb = SumDb::new(name);
        if tree == Tree::Complete {
            modules.iter().filter(|m| m.gone.is_none()).for_each(|m| sumdb.preload(&m.path, &m.version, &artifacts(m)));
        }
        let mut forbidden: BTreeSet<_> = ["corp.example.com", "private", "secret"].map(str::to_owned).into();
        forbidden.extend(zips::load("hosted").into_iter().map(|m| m.path));
        let state = Arc::new(State {
            recorder: Recorder::new(forbidden),
            modules: RwLock::default(),
            canned: RwLock::default(),
            manner: Mutex::new(Manner { mode: Mode::Alive, hostile: None }),
            manner_changed: Condvar::new(),
            sumdb,
        });
        modules.into_iter().for_each(|module| state.add(module));
        let handler = {
            let state = state.clone();
            move |request: &Request| state.handle(request)
        };
        Self { server: Server::start(None, Arc::new(handler)), state }
    }

    /// Has another module from now on. Its record is made when it is looked up.
    pub(crate) fn add(&self, module: Module) {
        self.state.add(module);
    }

    /// Its GOPROXY: `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A client's GOSUMDB: the verifier key of the database that is served below `/sumdb/NAME/`.
    pub(crate) fn gosumdb(&self) -> &str {
        self.state.sumdb.key()
    }

    /// The same of who signs while it is [`Hostile::SignedByAnotherKey`]: of the same name.
    pub(crate) fn another_gosumdb(&self) -> String {
        self.state.sumdb.another_key()
    }

    /// The database's name.
    pub(crate) fn sumdb_name(&self) -> &str {
        self.state.sumdb.name()
    }

    /// Has its checksum database know so many versions more, whose files nobody has: `PATH@VERSION`.
    pub(crate) fn make_up(&self, count: u64) -> Vec<String> {
        self.state.sumdb.make_up(count)
    }

    /// Everything it was asked, in order.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.state.recorder.seen()
    }

    /// How often a target was asked for.
    pub(crate) fn count(&self, target: &str) -> usize {
        self.seen().iter().filter(|r| r.target == target).count()
    }

    /// Waits for a request.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Request) -> bool) -> Request {
        self.state.recorder.wait_for(wanted)
    }

    /// Checks what was seen, then forgets it.
    pub(crate) fn forget(&self) {
        self.state.recorder.forget();
    }

    /// These names must not be seen either, in any form.
    pub(crate) fn forbid(&self, names: &[&str]) {
        self.state.recorder.forbid(names);
    }

    /// Private names may be seen: only where go talks to this upstream directly.
    pub(crate) fn tolerate_private(&self) {
        self.state.recorder.tolerate_all();
    }

    /// What it saw and must not have, a line each.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.state.recorder.violations()
    }

    /// Answers this target, undecoded, so from now on: redirects, malformed bodies. Of a module that it does not have otherwise, its
    /// checksum database vouches for the `.zip` and the `.mod` that are answered so when it is looked up first.
    pub(crate) fn answer(&self, target: &str, response: Response) {
        self.state.canned.write().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned(), response);
    }

    /// Refuses connections, and cuts those it has.
    pub(crate) fn dead(&self) {
        self.state.set(Mode::Alive);
        self.server.halt();
    }

    /// Answers everything with this status.
    pub(crate) fn fail(&self, status: u16) {
        self.state.set(Mode::Fail(status));
        self.server.resume();
    }

    /// Takes requests and does not answer them, until the mode changes: then they are answered as the new mode says.
    pub(crate) fn stall(&self) {
        self.state.set(Mode::Stall);
        self.server.resume();
    }

    /// Does harm in this way from now on, whenever it answers; what [`Upstream::answer`] was told comes first.
    pub(crate) fn turn(&self, hostile: Hostile) {
        self.state.behave(Some(hostile));
    }

    /// Does no more harm.
    pub(crate) fn turn_honest(&self) {
        self.state.behave(None);
    }

    /// Works.
    pub(crate) fn alive(&self) {
        self.state.set(Mode::Alive);
        self.server.resume();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.set(Mode::Alive);
        self.state.behave(None);
        self.server.halt();
        let violations = self.violations();
        if violations.is_empty() {
            return;
        }
        let message = format!("the upstream saw what it must not see:\n{}", violations.join("\n"));
        if thread::panicking() {
            eprintln!("{message}");
        } else {
            panic!("{message}");
        }
    }
}

impl State {
    fn add(&self, module: Module) {
        let mut modules = self.modules.write().unwrap_or_else(PoisonError::into_inner);
        modules.entry(escape(&module.path)).or_default().push(module);
    }

    fn set(&self, mode: Mode) {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner).mode = mode;
        self.manner_changed.notify_all();
    }

    fn behave(&self, hostile: Option<Hostile>) {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner).hostile = hostile;
        self.manner_changed.notify_all();
    }

    /// How to behave, once that is not to wait.
    fn settled(&self, of_database: bool) -> Manner {
        let waits = |manner: &mut Manner| manner.mode == Mode::Stall || of_database && manner.hostile == Some(Hostile::DatabaseHangs);
        let manner = self.manner.lock().unwrap_or_else(PoisonError::into_inner);
        *self.manner_changed.wait_while(manner, waits).unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, request: &Request) -> Option<Response> {
        self.recorder.note(request);
        let target = request.target.split('?').next().unwrap_or_default();
        let path = String::from_utf8_lossy(&decode(target.as_bytes())).into_owned();
        let of_database = path.strip_prefix("/sumdb/");
        let Manner { mode, hostile } = self.settled(of_database.is_some());
        if let Mode::Fail(status) = mode {
            return Some(Response::text(status, format!("the fixture fails with {status}\n")));
        }
        if let Some(response) = self.canned.read().unwrap_or_else(PoisonError::into_inner).get(&request.target) {
            return Some(response.clone());
        }
        match (of_database, hostile) {
            (Some(_), Some(Hostile::DatabaseCuts)) => None,
            (Some(_), Some(Hostile::DatabaseFails)) => Some(Response::text(500, "the fixture's checksum database fails\n")),
            (Some(rest), _) => Some(self.sumdb(rest, hostile)),
            (None, _) => Some(answer(&self.modules.read().unwrap_or_else(PoisonError::into_inner), &path, hostile)),
        }
    }

    fn sumdb(&self, rest: &str, hostile: Option<Hostile>) -> Response {
        match rest.strip_prefix(self.sumdb.name()).and_then(|rest| rest.strip_prefix('/')) {
            Some(ask) => self.sumdb.answer(ask, hostile, &|path, version| self.artifacts(path, version)),
            None => Response::text(404, "not found: no such checksum database\n"),
        }
    }

    /// What the checksum database vouches for, by escaped path and version.
    fn artifacts(&self, path: &str, version: &str) -> Option<Artifacts> {
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(versions) = modules.get(path) {
            let module = versions.iter().find(|m| escape(&m.version) == version);
            return module.filter(|_| versions.iter().all(|m| m.gone.is_none())).map(artifacts);
        }
        let canned = self.canned.read().unwrap_or_else(PoisonError::into_inner);
        let whole = |kind: &str| {
            let response = canned.get(&format!("/{path}/@v/{version}.{kind}"))?;
            (response.status == 200 && response.framing == Framing::Whole).then(|| response.body.clone())
        };
        Some(Artifacts { zip: whole("zip")?, go_mod: whole("mod")? })
    }
}

/// What the checksum database vouches for.
fn artifacts(module: &Module) -> Artifacts {
    Artifacts { zip: module.zip(), go_mod: module.go_mod.clone() }
}

#[test]
fn an_upstream_fails_stalls_dies_and_comes_back() {
    use super::http;
    let upstream = Upstream::start_with(zips::load("modules"), Tree::Growing);
    let list = || http::get(upstream.address(), "/example.net/beta/@v/list");
    assert_eq!(list().expect("an answer").body_text(), "v0.9.0\nv1.0.0\nv1.1.0\n");
    upstream.fail(503);
    assert_eq!(list().expect("an answer").status, 503);
    upstream.dead();
    assert_eq!(list().expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
    upstream.stall();
    upstream.forget();
    thread::scope(|scope| {
        let waiting = scope.spawn(list);
        upstream.wait_for(|r| r.target == "/example.net/beta/@v/list");
        assert!(!waiting.is_finished());
        upstream.alive();
        assert_eq!(waiting.join().expect("no panic").expect("an answer").status, 200);
    });
    upstream.answer("/example.net/beta/@v/list", Response::text(200, "v1.0.0\n").cut(3));
    assert_eq!(list().expect_err("cut").kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(upstream.count("/example.net/beta/@v/list"), 2);
}

#[test]
#[should_panic(expected = "the upstream saw what it must not see")]
fn an_upstream_that_saw_a_private_name_fails_the_test() {
    let upstream = Upstream::start_with(Vec::new(), Tree::Growing);
    drop(super::http::get(upstream.address(), "/sumdb/sum.example.net/lookup/corp.example.com%2flib@v1.0.0"));
}
