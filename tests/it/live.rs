//! Against the real public Go module proxy: `make test-live`. What goes out here is public names only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::support::gateway::Gateway;

/// A module whose build list is long.
const LARGE: &str = "k8s.io/client-go@v0.31.0";
/// More of them, so that some 250 modules are downloaded.
const MORE: &[&str] = &[
    "k8s.io/apiserver@v0.31.0",
    "k8s.io/kubectl@v0.31.0",
    "sigs.k8s.io/controller-runtime@v0.19.0",
    "helm.sh/helm/v3@v3.16.0",
    "github.com/spf13/viper@v1.19.0",
];

/// How often the graph is had by each way.
const ROUNDS: usize = 3;
/// Toolchains that there are: one of them is not the installed one.
const TOOLCHAINS: [&str; 2] = ["go1.24.0", "go1.23.0"];

/// A machine with nothing on it.
struct Client {
    root: tempfile::TempDir,
    goproxy: String,
    /// Unset, it is go's default: the public checksum database, by way of the proxy.
    gosumdb: Option<String>,
    gotoolchain: &'static str,
}

impl Client {
    fn new(goproxy: String, gosumdb: Option<String>) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("work")).expect("a folder");
        Self { root, goproxy, gosumdb, gotoolchain: "local" }
    }

    /// One with the two lines that the gateway prints, and nothing else of what says what is verified.
    fn of(gateway: &Gateway) -> Self {
        Self::new(gateway.url(), Some(gateway.gosumdb()))
    }

    /// What go prints, and how long it took.
    fn run(&self, args: &[&str]) -> (String, Duration) {
        let mut command = Command::new("go");
        let path = self.root.path();
        // The certificates of the environment are what reaches the real proxy, directly and through us.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GO")) {
            command.env_remove(name);
        }
        command.env("GOENV", "off").env("GOPATH", path).env("GOCACHE", path.join("build")).env("GOFLAGS", "-modcacherw");
        command.env("GOTOOLCHAIN", self.gotoolchain).env("GOPROXY", &self.goproxy);
        command.envs(self.gosumdb.iter().map(|key| ("GOSUMDB", key))).current_dir(path.join("work"));
        let start = Instant::now();
        let output = command.args(args).output().expect("run go");
        let took = start.elapsed();
        assert!(output.status.success(), "go {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).expect("UTF-8"), took)
    }

    fn go(&self, args: &[&str]) -> Duration {
        self.run(args).1
    }

    /// Removes all that is downloaded: a toolchain is unpacked read-only, whatever GOFLAGS say.
    fn clean(mut self) {
        self.gotoolchain = "local";
        self.go(&["clean", "-modcache"]);
    }

    /// Every `.info`, `.mod`, `.zip` and `.ziphash` of the client's cache, by its SHA-256.
    fn downloads(&self) -> Files {
        let mut all = BTreeMap::new();
        let root = self.root.path().join("pkg/mod/cache/download");
        collect(&root, &root, &mut all);
        all
    }
}

/// SHA-256 by name.
type Files = BTreeMap<PathBuf, String>;

fn collect(root: &Path, folder: &Path, all: &mut Files) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, all);
        } else if path.extension().is_some_and(|ext| ["info", "mod", "zip", "ziphash"].iter().any(|known| ext == *known)) {
            let hash = Sha256::digest(fs::read(&path).expect("read"));
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            all.insert(path.strip_prefix(root).expect("below").to_owned(), hex);
        }
    }
}

/// The way out that the environment gives, as the go command would take it.
fn direct() -> String {
    let output = Command::new("go").args(["env", "GOPROXY"]).output().expect("run go");
    let list = String::from_utf8(output.stdout).expect("UTF-8");
    list.split([',', '|']).next().unwrap_or_default().trim().to_owned()
}

/// A gateway in front of the real proxy, with these lines below `[upstream]`.
fn gateway(upstream: &str) -> Gateway {
    let mut builder = Gateway::builder_outside();
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "NO_PROXY"] {
        if let Ok(value) = std::env::var(name) {
            builder = builder.env(name, &value);
        }
    }
    builder.config(&format!("[upstream]\ngoproxy = \"{}\"\n{upstream}", direct())).start()
}

/// How many records its own checksum database has.
fn recorded(gateway: &Gateway) -> usize {
    let printed: serde_json::Value = serde_json::from_str(gateway.cli(&["sumdb", "--json"]).ok()).expect("JSON");
    printed["size"].as_u64().and_then(|size| usize::try_from(size).ok()).expect("a size")
}

#[test]
#[ignore = "needs the real public Go module proxy: make test-live"]
fn a_tool_installs_and_runs() {
    let gateway = gateway("");
    let client = Client::of(&gateway);
    let took = client.go(&["install", "golang.org/x/tools/cmd/stringer@latest"]);
    println!("go install golang.org/x/tools/cmd/stringer@latest: {took:.2?}");
    let help = Command::new(client.root.path().join("bin/stringer")).arg("-help").output().expect("run stringer");
    assert!(String::from_utf8_lossy(&help.stderr).contains("Usage of stringer"));
    assert!(recorded(&gateway) > 0);
}

#[test]
#[ignore = "needs the real public Go module proxy: make test-live"]
fn a_toolchain_of_another_version_runs_and_is_verified() {
    let gateway = gateway("");
    let (installed, _) = Client::of(&gateway).run(&["env", "GOVERSION"]);
    let wanted = TOOLCHAINS.into_iter().find(|version| *version != installed.trim()).expect("another one");
    for what in ["cold", "warm"] {
        let client = Client { gotoolchain: wanted, ..Client::of(&gateway) };
        let (printed, took) = client.run(&["version"]);
        println!("GOTOOLCHAIN={wanted} go version, {what}: {took:.1?}");
        assert!(printed.starts_with(&format!("go version {wanted} ")), "{printed}");
        client.clean();
    }
    assert_eq!(recorded(&gateway), 1);
    gateway.cli(&["verify"]).ok();
}

/// A way to have the graph, from nothing each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// From the environment's proxy. go verifies by the public checksum database.
    Direct,
    /// Through us, who verify nothing. go verifies by the public checksum database, which we pass on.
    Off,
    /// Through us, who verify. go verifies by our checksum database.
    Require,
}

/// The graph, as it came to a client.
struct Graph {
    files: Files,
    took: Duration,
}

impl Graph {
    fn of(client: &Client) -> Self {
        client.go(&["mod", "init", "example.com/live"]);
        let mut args = vec!["get", LARGE];
        args.extend(MORE);
        let took = client.go(&args) + client.go(&["mod", "download", "all"]);
        Self { files: client.downloads(), took }
    }

    fn zips(&self) -> usize {
        self.files.keys().filter(|path| path.extension().is_some_and(|ext| ext == "zip")).count()
    }

    #[track_caller]
    fn is(&self, other: &Self, what: &str) {
        let different: Vec<_> =
            self.files.iter().filter(|(path, hash)| other.files.get(*path) != Some(hash)).map(|(path, _)| path).collect();
        assert!(different.is_empty(), "{what}: {different:?}");
        assert_eq!(self.files.len(), other.files.len(), "{what}");
    }
}

impl Way {
    const ALL: [Self; 3] = [Self::Off, Self::Require, Self::Direct];

    fn graph(self) -> (Graph, Option<Gateway>) {
        let (client, gateway) = match self {
            Self::Direct => (Client::new(direct(), None), None),
            Self::Off => {
                let gateway = gateway("verify = \"off\"\n");
                (Client::new(gateway.url(), None), Some(gateway))
            }
            Self::Require => {
                let gateway = gateway("");
                (Client::of(&gateway), Some(gateway))
            }
        };
        (Graph::of(&client), gateway)
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

#[test]
#[ignore = "needs the real public Go module proxy: make test-live"]
fn a_graph_of_250_modules_is_the_same_through_us_cold_warm_and_with_the_upstream_off() {
    let mut took: BTreeMap<Way, Vec<Duration>> = BTreeMap::new();
    let mut first: Option<Graph> = None;
    let mut verified = None;
    for round in 0..ROUNDS {
        // Each is the first once: what drifts outside drifts for all.
        for way in Way::ALL.into_iter().cycle().skip(round).take(Way::ALL.len()) {
            let (graph, gateway) = way.graph();
            println!("round {round}, {way:?}: {:.1?}", graph.took);
            took.entry(way).or_default().push(graph.took);
            first.get_or_insert(Graph { files: graph.files.clone(), took: graph.took }).is(&graph, &format!("{way:?}"));
            if way == Way::Require {
                verified = gateway;
            }
        }
    }
    let (graph, mut gateway) = (first.expect("a round"), verified.expect("a round"));
    let [direct_s, off_s, require_s] = [Way::Direct, Way::Off, Way::Require].map(|way| median(&took[&way]));
    println!("{} zips, {} files; medians of {ROUNDS}: direct {direct_s:.1} s", graph.zips(), graph.files.len());
    println!("cold, verify = \"off\": {off_s:.1} s, {:.2} of direct", off_s / direct_s);
    println!("cold, verify = \"require\": {require_s:.1} s, {:.2} of direct, {:.3} of \"off\"", require_s / direct_s, require_s / off_s);
    assert!(graph.zips() >= 240, "{} zips", graph.zips());
    assert!(recorded(&gateway) >= graph.zips(), "{} records", recorded(&gateway));

    let warm = Graph::of(&Client::of(&gateway));
    gateway.terminate();
    let settings = gateway.settings().replace(&direct(), "off");
    gateway.configure(&settings);
    gateway.start();
    let away = Graph::of(&Client::of(&gateway));
    println!("warm {:.1?}, with the upstream off {:.1?}", warm.took, away.took);
    graph.is(&warm, "warm");
    graph.is(&away, "with the upstream off");
    gateway.cli(&["verify"]).ok();
}
