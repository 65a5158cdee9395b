//! The fixture checksum database: golang.org/x/mod's server, in a Go program of ours (tests/go/sumdb).

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// What the helper calls itself when it fetches modules from the fixture upstream.
pub(crate) const USER_AGENT: &str = "fixture-sumdb";
/// The name of the database that an upstream serves if a test does not choose.
pub(crate) const NAME: &str = "sum.example.net";

/// A running database, ended with this value.
pub(crate) struct SumDb {
    child: Child,
    key: String,
    address: SocketAddr,
}

impl SumDb {
    /// Starts a database with a new key over the modules of a GOPROXY. A version's record is made at its first look-up,
    /// so that the tree grows while clients look on, but for those in `preload`, `path@version` each.
    pub(crate) fn start(name: &str, upstream: &str, preload: &[String]) -> Self {
        let mut child = Command::new(helper())
            .args(["-name", name, "-upstream", upstream, "-preload", &preload.join(",")])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the checksum database");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut line = |key: &str| {
            let line = lines.next().and_then(Result::ok).unwrap_or_else(|| panic!("the checksum database printed no line {key:?}"));
            line.strip_prefix(key).unwrap_or_else(|| panic!("the checksum database printed {line:?}, not {key:?}")).to_owned()
        };
        let (key, address) = (line("key "), line("listen "));
        Self { child, key, address: address.parse().expect("an address") }
    }

    /// The verifier key: a client's GOSUMDB.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Where `/lookup/…`, `/latest` and `/tile/…` are served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SumDb {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The helper's path; built at the first call.
fn helper() -> &'static Path {
    static HELPER: OnceLock<PathBuf> = OnceLock::new();
    HELPER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/sumdb");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sumdb");
        // Another run of the tests may be using the program: it is replaced whole.
        let fresh = program.with_extension(std::process::id().to_string());
        let out = Command::new("go")
            .current_dir(&source)
            .env("GOWORK", "off")
            .args(["build", "-trimpath", "-o"])
            .arg(&fresh)
            .arg(".")
            .output()
            .unwrap_or_else(|e| panic!("the tests need the go command: {e}"));
        assert!(out.status.success(), "go build in {}:\n{}", source.display(), String::from_utf8_lossy(&out.stderr));
        std::fs::rename(&fresh, &program).expect("put the helper in its place");
        program
    })
}
