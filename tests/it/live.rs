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

struct Client {
    root: tempfile::TempDir,
    goproxy: String,
}

impl Client {
    fn new(goproxy: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("work")).expect("a folder");
        Self { root, goproxy: goproxy.to_owned() }
    }

    fn go(&self, args: &[&str]) -> Duration {
        let mut command = Command::new("go");
        let path = self.root.path();
        // The certificates of the environment are what reaches the real proxy, directly and through us.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GO")) {
            command.env_remove(name);
        }
        command.env("GOPATH", path).env("GOCACHE", path.join("build")).env("GOPROXY", &self.goproxy);
        command.env("GOFLAGS", "-modcacherw").env("GOTOOLCHAIN", "local").current_dir(path.join("work"));
        let start = Instant::now();
        let output = command.args(args).output().expect("run go");
        let took = start.elapsed();
        assert!(output.status.success(), "go {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        took
    }

    /// Every `.info`, `.mod`, `.zip` and `.ziphash` of the client's cache, by its SHA-256.
    fn downloads(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        let root = self.root.path().join("pkg/mod/cache/download");
        collect(&root, &root, &mut all);
        all
    }
}

fn collect(root: &Path, folder: &Path, all: &mut BTreeMap<PathBuf, String>) {
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

fn gateway() -> Gateway {
    let mut builder = Gateway::builder_outside();
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "NO_PROXY"] {
        if let Ok(value) = std::env::var(name) {
            builder = builder.env(name, &value);
        }
    }
    builder.config(&format!("[upstream]\ngoproxy = \"{}\"\n", direct())).start()
}

#[test]
#[ignore = "needs the real public Go module proxy: make test-live"]
fn a_tool_installs_and_runs() {
    let gateway = gateway();
    let client = Client::new(&gateway.url());
    let took = client.go(&["install", "golang.org/x/tools/cmd/stringer@latest"]);
    println!("go install golang.org/x/tools/cmd/stringer@latest: {took:.2?}");
    let help = Command::new(client.root.path().join("bin/stringer")).arg("-help").output().expect("run stringer");
    assert!(String::from_utf8_lossy(&help.stderr).contains("Usage of stringer"));
}

#[test]
#[ignore = "needs the real public Go module proxy: make test-live"]
fn a_graph_of_250_modules_is_the_same_through_us_cold_warm_and_with_the_upstream_off() {
    let mut gateway = gateway();
    let download = |goproxy: &str| {
        let client = Client::new(goproxy);
        client.go(&["mod", "init", "example.com/live"]);
        let mut args = vec!["get", LARGE];
        args.extend(MORE);
        let resolved = client.go(&args);
        let downloaded = client.go(&["mod", "download", "all"]);
        (resolved + downloaded, client.downloads())
    };
    let (direct_took, direct_files) = download(&direct());
    let (cold_took, cold_files) = download(&gateway.url());
    let (warm_took, warm_files) = download(&gateway.url());
    gateway.terminate();
    let settings = gateway.settings().replace(&direct(), "off");
    gateway.configure(&settings);
    gateway.start();
    let (off_took, off_files) = download(&gateway.url());
    let zips = direct_files.keys().filter(|path| path.extension().is_some_and(|ext| ext == "zip")).count();
    println!(
        "{zips} zips, {} files; direct {direct_took:.1?}, cold {cold_took:.1?}, warm {warm_took:.1?}, off {off_took:.1?}",
        direct_files.len()
    );
    assert!(zips >= 240, "{zips} zips");
    for (what, files) in [("cold", cold_files), ("warm", warm_files), ("off", off_files)] {
        let different: Vec<_> = direct_files.iter().filter(|(path, hash)| files.get(*path) != Some(hash)).map(|(path, _)| path).collect();
        assert!(different.is_empty(), "{what}: {different:?}");
        assert_eq!(files.len(), direct_files.len(), "{what}");
    }
    gateway.cli(&["verify"]).ok();
}
