//! The fixture upstream: a GOPROXY over tests/testdata/modules, with a checksum database behind it, that records what it is asked and can
//! be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;

use super::http::{self, Request, Response};
use super::recorder::{Recorder, decode};
use super::server::Server;
use super::sumdb::{self, SumDb};
use super::zips::{self, Module, escape};

/// How an upstream meets its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Alive,
    Fail(u16),
    Stall,
}

/// How the checksum database begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Empty: it grows with each version that is looked up first.
    Growing,
    /// With every module of the fixture: its head stays as it is.
    Complete,
}

/// The upstream. Its Drop fails the test if it saw anything private: every name of tests/testdata/hosted, `corp.example.com`,
/// `private`, `secret`, and what was added by [`Upstream::forbid`]; or a client's credentials; or a method other than GET and HEAD.
pub(crate) struct Upstream {
    server: Server,
    state: Arc<State>,
    sumdb: SumDb,
}

struct State {
    recorder: Recorder,
    /// By escaped path.
    modules: RwLock<BTreeMap<String, Vec<Module>>>,
    /// By target, undecoded.
    canned: RwLock<BTreeMap<String, Response>>,
    mode: Mutex<Mode>,
    mode_changed: Condvar,
    sumdb: OnceLock<SocketAddr>,
}

impl Upstream {
    /// Starts one over the fixture's modules, with a growing checksum database.
    pub(crate) fn start() -> Self {
        Self::start_with(zips::load("modules"), Tree::Growing)
    }

    /// Starts one over these modules.
    pub(crate) fn start_with(modules: Vec<Module>, tree: Tree) -> Self {
        let preload: Vec<_> = match tree {
            Tree::Growing => Vec::new(),
            Tree::Complete => modules.iter().filter(|m| m.gone.is_none()).map(Module::name).collect(),
        };
        let mut forbidden: BTreeSet<_> = ["corp.example.com", "private", "secret"].map(str::to_owned).into();
        forbidden.extend(zips::load("hosted").into_iter().map(|m| m.path));
        let state = Arc::new(State {
            recorder: Recorder::new(forbidden),
            modules: RwLock::default(),
            canned: RwLock::default(),
            mode: Mutex::new(Mode::Alive),
            mode_changed: Condvar::new(),
            sumdb: OnceLock::new(),
        });
        modules.into_iter().for_each(|module| state.add(module));
        let server = Server::start(
            None,
            Arc::new({
                let state = state.clone();
                move |request: &Request| state.handle(request)
            }),
        );
        let sumdb = SumDb::start(sumdb::NAME, &format!("http://{}", server.address()), &preload);
        state.sumdb.set(sumdb.address()).expect("set once");
        Self { server, state, sumdb }
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
        self.sumdb.key()
    }

    /// The database's name.
    pub(crate) fn sumdb_name(&self) -> &'static str {
        sumdb::NAME
    }

    /// Everything it was asked, but by its own checksum database, in order.
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

    /// Answers this target, undecoded, so from now on: redirects, malformed bodies.
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

    /// Works.
    pub(crate) fn alive(&self) {
        self.state.set(Mode::Alive);
        self.server.resume();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.set(Mode::Alive);
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
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
        self.mode_changed.notify_all();
    }

    /// The mode, once it is not a stall.
    fn settled(&self) -> Mode {
        let mode = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        *self.mode_changed.wait_while(mode, |mode| *mode == Mode::Stall).unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, request: &Request) -> Option<Response> {
        let helper = request.header("user-agent") == Some(sumdb::USER_AGENT);
        if !helper {
            self.recorder.note(request);
            if let Mode::Fail(status) = self.settled() {
                return Some(Response::text(status, format!("the fixture fails with {status}\n")));
            }
            if let Some(response) = self.canned.read().unwrap_or_else(PoisonError::into_inner).get(&request.target) {
                return Some(response.clone());
            }
        }
        let target = request.target.split('?').next().unwrap_or_default();
        if let Some(rest) = target.strip_prefix("/sumdb/") {
            return Some(self.sumdb(rest));
        }
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        Some(answer(&modules, &String::from_utf8_lossy(&decode(target.as_bytes())), !helper))
    }

    fn sumdb(&self, rest: &str) -> Response {
        let Some(rest) = rest.strip_prefix(sumdb::NAME) else {
            return Response::text(404, "not found: no such checksum database\n");
        };
        match self.sumdb.get() {
            Some(_) if rest == "/supported" => Response::text(200, ""),
            Some(&address) => http::get(address, rest).unwrap_or_else(|e| Response::text(502, format!("checksum database: {e}\n"))),
            None => Response::text(503, "the checksum database is not there yet\n"),
        }
    }
}

/// Answers a decoded path from modules that are keyed by escaped path; `as_served`: with the tampered zips.
pub(crate) fn answer(modules: &BTreeMap<String, Vec<Module>>, path: &str, as_served: bool) -> Response {
    let path = path.trim_start_matches('/');
    let (escaped, ask) = match path.split_once("/@v/") {
        Some((escaped, ask)) => (escaped, Some(ask)),
        None => match path.strip_suffix("/@latest") {
            Some(escaped) => (escaped, None),
            None => return Response::text(404, "not found\n"),
        },
    };
    let Some(versions) = modules.get(escaped) else {
        return Response::text(404, format!("not found: module {escaped}: no such module in the fixture\n"));
    };
    if let Some(text) = versions.iter().find_map(|m| m.gone.as_deref()) {
        return Response::text(410, format!("{text}\n"));
    }
    match ask {
        Some("list") => Response::text(200, list(versions)),
        Some(file) => file_of(versions, file, as_served),
        None => match latest(versions) {
            Some(module) => Response::of(200, "application/json", module.info.clone().into_bytes()),
            None => Response::text(404, format!("not found: module {escaped}: no matching versions for query \"latest\"\n")),
        },
    }
}

fn list(versions: &[Module]) -> String {
    let mut list = String::new();
    for module in versions {
        if module.listed_with_time {
            let info: serde_json::Value = serde_json::from_str(&module.info).expect("an .info is JSON");
            list.push_str(&format!("{} {}\n", module.version, info["Time"].as_str().unwrap_or_default()));
        } else if zips::pseudo_stamp(&module.version).is_none() {
            list.push_str(&format!("{}\n", module.version));
        }
    }
    list
}

/// The highest release, else the highest pre-release, else the pseudo-version with the latest time. (The fixture's numbers have one digit,
/// so that text order is version order.)
fn latest(versions: &[Module]) -> Option<&Module> {
    let rank = |m: &&Module| match zips::pseudo_stamp(&m.version) {
        Some(stamp) => (0, stamp.to_owned()),
        None if m.version.contains('-') => (1, m.version.clone()),
        None if m.version.ends_with("+incompatible") => (2, m.version.clone()),
        None => (3, m.version.clone()),
    };
    versions.iter().filter(|m| m.has_latest).max_by_key(rank)
}

fn file_of(versions: &[Module], file: &str, as_served: bool) -> Response {
    let (name, kind) = file.rsplit_once('.').unwrap_or((file, ""));
    let not_found = || Response::text(404, format!("not found: {name}: unknown revision\n"));
    let exact = versions.iter().find(|m| escape(&m.version) == name);
    let module = match kind {
        "info" => exact.or_else(|| versions.iter().find(|m| m.queries.iter().any(|q| escape(q) == name))),
        _ => exact,
    };
    match (module, kind) {
        (Some(module), "info") => Response::of(200, "application/json", module.info.clone().into_bytes()),
        (Some(module), "mod") => Response::text(200, String::from_utf8_lossy(&module.go_mod).into_owned()),
        (Some(module), "zip") => Response::of(200, "application/zip", if as_served { module.zip_as_served() } else { module.zip() }),
        _ => not_found(),
    }
}

#[test]
fn an_upstream_fails_stalls_dies_and_comes_back() {
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
    drop(http::get(upstream.address(), "/sumdb/sum.example.net/lookup/corp.example.com%2flib@v1.0.0"));
}
