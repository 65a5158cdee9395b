//! The real go command, in a world of its own: a fresh home, GOPATH and module cache, no GO* of the outside, and a trap in place of the internet.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::dials::Dials;
use super::process::{self, Ran};
use super::zips::escape;

/// A go command may have to build the runtime first, on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(300);

/// Below a machine's root: what go remembers of databases' answers. The newest heads are elsewhere, in `gopath/pkg/sumdb`.
const SUMDB: &str = "gopath/pkg/mod/cache/download/sumdb";

/// One developer's machine. Dropping it fails the test if go, or git below it, dialled a host that was not declared.
pub(crate) struct Go {
    dials: Dials,
    root: TempDir,
    env: BTreeMap<String, String>,
}

impl Go {
    /// A machine with these `GOPROXY` and `GOSUMDB`. What else is set keeps it apart from other machines and from the internet; of what
    /// says which modules are verified (`GONOSUMDB`, `GOPRIVATE`, `GONOPROXY`, `GOINSECURE`, `-insecure`) nothing is.
    pub(crate) fn new(goproxy: &str, gosumdb: &str) -> Self {
        let root = tempfile::Builder::new().prefix("modgate-go-").tempdir().expect("a temporary folder");
        let dials = Dials::start();
        let mut go = Self { dials, root, env: BTreeMap::new() };
        for dir in ["home", "gopath", "tmp", "work", "bin"] {
            fs::create_dir(go.path(dir)).expect("make a folder");
        }
        // Shared by all: what was built once need not be again. Builds do not depend on where modules came from.
        let gocache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gocache");
        let path = std::env::var("PATH").expect("PATH");
        let own = |dir| go.path(dir).display().to_string();
        let env = [
            ("PATH", path),
            ("HOME", own("home")),
            ("TMPDIR", own("tmp")),
            ("GOPATH", own("gopath")),
            ("GOMODCACHE", own("gopath/pkg/mod")),
            ("GOBIN", own("bin")),
            ("GOCACHE", gocache.display().to_string()),
            ("GOENV", "off".to_owned()),
            ("GOFLAGS", "-modcacherw -buildvcs=false".to_owned()),
            ("GOTOOLCHAIN", "local".to_owned()),
            ("GOVCS", "*:off".to_owned()),
            ("GOPROXY", goproxy.to_owned()),
            ("GOSUMDB", gosumdb.to_owned()),
            ("CGO_ENABLED", "0".to_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            ("GIT_TERMINAL_PROMPT", "0".to_owned()),
            ("LANG", "C".to_owned()),
        ];
        go.env.extend(env.map(|(name, value)| (name.to_owned(), value)));
        go.env.extend(go.dials.env().into_iter().map(|(name, value)| (name.to_owned(), value)));
        go
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// What a variable is set to; empty if it is not.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    /// A path on this machine: `home`, `gopath`, `work`, `bin` are there.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        fs::write(&path, text).expect("write a file");
        self
    }

    /// Writes an executable file and returns its path.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o700)).expect("make it executable");
        self.path(name)
    }

    /// Reads a file; empty if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes `~/.netrc`. The go command wants the port in `machine`.
    pub(crate) fn netrc(&self, machine: &str, login: &str, password: &str) {
        super::secrets::plant(password);
        self.write("home/.netrc", &format!("machine {machine} login {login} password {password}\n"));
        fs::set_permissions(self.path("home/.netrc"), fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    /// A host that may be dialled, in vain.
    pub(crate) fn may_dial(&self, host: &str) {
        self.dials.declare(host);
    }

    /// The hosts off this machine that were dialled.
    pub(crate) fn dialled(&self) -> Vec<String> {
        self.dials.hosts()
    }

    /// Runs go in the folder `work`.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_in("work", args)
    }

    /// Runs go in a folder.
    #[track_caller]
    pub(crate) fn run_in(&self, dir: &str, args: &[&str]) -> Ran {
        let mut command = Command::new("go");
        command.args(args);
        self.exec(dir, command)
    }

    /// Runs what was installed into GOBIN.
    #[track_caller]
    pub(crate) fn run_installed(&self, name: &str) -> Ran {
        self.exec("work", Command::new(self.path("bin").join(name)))
    }

    /// Runs any program with this machine's environment.
    #[track_caller]
    pub(crate) fn exec(&self, dir: &str, mut command: Command) -> Ran {
        command.current_dir(self.path(dir)).env_clear().envs(&self.env);
        process::run(command, DEADLINE)
    }

    /// What `go mod download -json` and `go list -json` print: one value after the other.
    #[track_caller]
    pub(crate) fn json(ran: &Ran) -> Vec<serde_json::Value> {
        let values = serde_json::Deserializer::from_str(ran.ok()).into_iter();
        values.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("is not JSON: {e}: {ran}"))
    }

    /// Whether a version, `path@version`, was looked up at the database of this machine's `GOSUMDB`, and its record proven.
    pub(crate) fn looked_up(&self, module: &str) -> bool {
        let name = self.get("GOSUMDB").split('+').next().unwrap_or_default();
        self.path(SUMDB).join(name).join("lookup").join(escape(module)).is_file()
    }

    /// Forgets what was looked up, but not the newest head that it saw of a database.
    pub(crate) fn forget_look_ups(&self) {
        fs::remove_dir_all(self.path(SUMDB)).expect("it looked something up");
    }

    /// The `.info`, `.mod`, `.zip` and `.ziphash` of the module cache: a line each, name and SHA-256.
    pub(crate) fn cache(&self) -> String {
        let download = self.path("gopath/pkg/mod/cache/download");
        let mut lines = Vec::new();
        let mut folders = vec![download.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.expect("read a folder").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| ["info", "mod", "zip", "ziphash"].iter().any(|kind| e == *kind)) {
                    let hash = Sha256::digest(fs::read(&path).expect("read a cached file"));
                    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                    lines.push(format!("{} {hash}\n", path.strip_prefix(&download).expect("below it").display()));
                }
            }
        }
        lines.sort();
        lines.concat()
    }
}

impl Drop for Go {
    /// A toolchain is unpacked read-only, whatever GOFLAGS say: its folders would outlive this machine.
    fn drop(&mut self) {
        let mut folders = vec![self.path("gopath/pkg/mod/golang.org")];
        while let Some(folder) = folders.pop() {
            drop(fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)));
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
    }
}
