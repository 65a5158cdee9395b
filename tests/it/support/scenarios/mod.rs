//! What developers do with the go command, each with its exact outcome. A scenario knows nothing of who is behind its GOPROXY: the same
//! ones run against the fixture upstream itself, through the gateway, with the upstream dead, and after a restart.

mod forms;
mod hosted;
mod queries;
mod whole_builds;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::curl::Login;
use super::gateway::Gateway;
use super::go::Go;
use super::stand_in::StandIn;
use super::upstream::Upstream;

/// Scenarios that run at once: they wait for processes more than they work.
const WORKERS: usize = 4;

/// The patterns of what is private in the fixtures: a gateway's `private.patterns`, and GONOSUMDB of clients that keep the public
/// checksum database.
const PRIVATE_PATTERNS: &str = "corp.example.com,github.com/acme/*";

/// A gateway's settings for the scenarios: what is private, and the owners that tests/testdata/hosted names.
pub(crate) const GATEWAY_SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com", "github.com/acme/*"]
[owners.open]
visibility = "public"
[owners.platform]
visibility = "private"
[owners.data]
visibility = "private"
"#;

/// What stands behind the scenarios.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The http base: an upstream or a gateway.
    pub(crate) base: String,
    /// The GOPROXY of scenarios that do not choose their own; made of `base`.
    pub(crate) goproxy: String,
    /// The clients' GOSUMDB.
    pub(crate) gosumdb: String,
    /// Their GONOSUMDB, set only where that database must not be asked for what is hosted.
    pub(crate) gonosumdb: Option<&'static str>,
    /// The verifier key of the fixture checksum database, for clients that keep the public one.
    pub(crate) public_sumdb: String,
    /// The https side, where modules are hosted.
    pub(crate) secure: Option<Secure>,
}

impl World {
    /// go talks to the upstream itself, and to its checksum database.
    pub(crate) fn direct(upstream: &Upstream) -> Self {
        Self::over(upstream.url(), upstream, None)
    }

    /// go talks to a gateway that has [`GATEWAY_SETTINGS`] and [`Gateway::publish_fixture`] behind it, as README.md has it: GOPROXY and
    /// GOSUMDB are the gateway's, and that is all.
    pub(crate) fn through(gateway: &Gateway, upstream: &Upstream) -> Self {
        let secure = Secure { base: gateway.https_url(), ca_bundle: gateway.ca_bundle(), login: gateway.admin() };
        Self { gosumdb: gateway.gosumdb(), ..Self::over(gateway.url(), upstream, Some(secure)) }
    }

    /// go talks to the stand-in, which has no checksum database of its own.
    pub(crate) fn stand_in(stand_in: &StandIn, upstream: &Upstream) -> Self {
        let secure = Secure { base: stand_in.https_url(), ca_bundle: stand_in.ca_bundle(), login: stand_in.login() };
        Self::over(stand_in.url(), upstream, Some(secure)).keeping_the_public_database()
    }

    /// The same for clients that keep the public checksum database, and so must say what is private.
    pub(crate) fn keeping_the_public_database(self) -> Self {
        Self { gosumdb: self.public_sumdb.clone(), gonosumdb: Some(PRIVATE_PATTERNS), ..self }
    }

    fn over(base: String, upstream: &Upstream, secure: Option<Secure>) -> Self {
        let public_sumdb = upstream.gosumdb().to_owned();
        Self { goproxy: base.clone(), base, gosumdb: public_sumdb.clone(), gonosumdb: None, public_sumdb, secure }
    }
}

/// The https side of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Secure {
    /// `https://127.0.0.1:PORT`, and perhaps a path.
    pub(crate) base: String,
    /// SSL_CERT_FILE.
    pub(crate) ca_bundle: PathBuf,
    /// Who may see all that is hosted.
    pub(crate) login: Login,
}

impl Secure {
    /// `127.0.0.1:PORT`.
    pub(crate) fn machine(&self) -> &str {
        self.base.trim_start_matches("https://").split('/').next().unwrap_or_default()
    }
}

/// What a scenario needs behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The modules of tests/testdata/modules.
    Public,
    /// And those of tests/testdata/hosted, published; `open` is a public owner, `platform` and `data` are private.
    Hosted,
}

/// What a scenario saw, by label: go.mod, go.sum, output. Equal whoever was behind it.
pub(crate) type Evidence = BTreeMap<String, String>;

/// One thing that developers do.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    pub(crate) run: fn(&mut Stage<'_>),
}

/// Where a scenario plays: one developer's machine in a world.
pub(crate) struct Stage<'a> {
    pub(crate) world: &'a World,
    pub(crate) go: Go,
    evidence: Evidence,
}

impl Stage<'_> {
    /// Keeps a text, to be compared with that of other runs.
    pub(crate) fn note(&mut self, label: &str, text: impl Into<String>) {
        self.evidence.insert(label.to_owned(), text.into());
    }

    /// Keeps go.mod, go.sum and the module cache's files.
    pub(crate) fn note_module(&mut self) {
        self.note("go.mod", self.go.read("work/go.mod"));
        self.note("go.sum", self.go.read("work/go.sum"));
        self.note("cache", self.go.cache());
    }

    /// Begins a module `example.org/work` with these imports.
    pub(crate) fn begin(&self, imports: &[&str]) {
        self.go.write("work/go.mod", "module example.org/work\n\ngo 1.20\n");
        self.import(imports);
    }

    /// Makes the module's package import these.
    pub(crate) fn import(&self, imports: &[&str]) {
        let lines: String = imports.iter().map(|path| format!("import _ \"{path}\"\n")).collect();
        self.go.write("work/work.go", &format!("package work\n\n{lines}"));
    }

    /// The required versions of the module in `work`, `path version` each, sorted.
    pub(crate) fn required(&self) -> Vec<String> {
        let ran = self.go.run(&["mod", "edit", "-json"]);
        let edit: serde_json::Value = serde_json::from_str(ran.ok()).expect("go mod edit prints JSON");
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
        let require = edit["Require"].as_array().cloned().unwrap_or_default();
        let mut required: Vec<_> = require.iter().map(|r| format!("{} {}", text(&r["Path"]), text(&r["Version"]))).collect();
        required.sort();
        required
    }

    /// The module in `work` requires exactly these.
    #[track_caller]
    pub(crate) fn requires(&self, wanted: &[&str]) {
        assert_eq!(self.required(), wanted);
    }

    /// These hosted and these public versions, `path@version` each, were looked up at the database of this machine's GOSUMDB; the hosted
    /// ones not if it keeps the public database.
    #[track_caller]
    pub(crate) fn looked_up(&self, hosted: &[&str], public: &[&str]) {
        let hosted = hosted.iter().map(|module| (module, self.world.gonosumdb.is_none()));
        for (module, expected) in hosted.chain(public.iter().map(|module| (module, true))) {
            assert_eq!(self.go.looked_up(module), expected, "{module}");
        }
    }

    /// Makes this machine talk https to the gateway, with no credentials yet.
    pub(crate) fn go_secure(&mut self) -> Secure {
        let secure = self.world.secure.clone().expect("the scenario needs hosted modules");
        let bundle = secure.ca_bundle.display().to_string();
        self.go.set("SSL_CERT_FILE", bundle).set("GOPROXY", secure.base.clone());
        secure
    }

    /// And signs in by netrc.
    pub(crate) fn sign_in(&mut self) -> Secure {
        let secure = self.go_secure();
        self.go.netrc(secure.machine(), &secure.login.user, &secure.login.password);
        secure
    }
}

/// Every scenario.
pub(crate) fn all() -> Vec<Scenario> {
    [queries::TABLE, whole_builds::TABLE, forms::TABLE, hosted::TABLE].concat()
}

/// A line of a table: the function's name is the scenario's.
macro_rules! scenarios {
    ($needs:ident: $($run:ident),+ $(,)?) => {
        &[$($crate::support::scenarios::Scenario {
            name: stringify!($run),
            needs: $crate::support::scenarios::Needs::$needs,
            run: $run,
        }),+]
    };
}
use scenarios;

/// Runs scenarios, several at once, each on a machine of its own.
///
/// # Panics
/// After all have run, if any failed, naming them.
#[track_caller]
pub(crate) fn run(world: &World, scenarios: &[Scenario]) -> BTreeMap<&'static str, Evidence> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = panic::catch_unwind(AssertUnwindSafe(|| play(world, *scenario)));
                    results.lock().expect("nobody panics here").push((scenario.name, outcome));
                }
            });
        }
    });
    let mut seen = BTreeMap::new();
    let mut failed = Vec::new();
    for (name, outcome) in results.into_inner().expect("nobody panics here") {
        match outcome {
            Ok(evidence) => drop(seen.insert(name, evidence)),
            Err(reason) => failed.push(format!("=== {name}\n{}", text_of(&*reason))),
        }
    }
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} of {} scenarios failed with GOPROXY={}:\n{}",
        failed.len(),
        scenarios.len(),
        world.goproxy,
        failed.join("\n")
    );
    seen
}

fn play(world: &World, scenario: Scenario) -> Evidence {
    let mut go = Go::new(&world.goproxy, &world.gosumdb);
    if let (Needs::Hosted, Some(patterns)) = (scenario.needs, world.gonosumdb) {
        go.set("GONOSUMDB", patterns);
    }
    let mut stage = Stage { world, go, evidence: Evidence::new() };
    (scenario.run)(&mut stage);
    stage.evidence
}

fn text_of(reason: &(dyn std::any::Any + Send)) -> String {
    let text = reason.downcast_ref::<String>().cloned();
    text.or_else(|| reason.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "panicked".to_owned())
}

/// Two runs saw the same.
///
/// # Panics
/// Naming scenario and label of each difference.
#[track_caller]
pub(crate) fn same(what: &str, one: &BTreeMap<&'static str, Evidence>, other: &BTreeMap<&'static str, Evidence>) {
    let mut differences = Vec::new();
    for (name, evidence) in one {
        let Some(twin) = other.get(name) else { continue };
        for label in evidence.keys().chain(twin.keys()) {
            let (a, b) = (evidence.get(label), twin.get(label));
            if a != b {
                let show = |t: Option<&String>| t.map_or("(nothing)", String::as_str).trim_end().to_owned();
                differences.push(format!("=== {name}, {label}\n--- one\n{}\n--- other\n{}", show(a), show(b)));
            }
        }
    }
    differences.dedup();
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}
