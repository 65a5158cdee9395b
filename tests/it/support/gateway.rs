//! The real binary, on ports of its own, with a data directory that outlives its restarts.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use toml::{Table, Value};

use super::curl::{self, Login, Reply};
use super::dials::Dials;
use super::http;
use super::port::Port;
use super::process::{self, Ran};
use super::secrets;
use super::upstream::Upstream;
use super::zips::{self, Module};

/// How long it may take to be ready, or to end.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at a condition that nobody announces.
const PAUSE: Duration = Duration::from_millis(10);
/// How much of the log a failed test shows.
const LOG_LINES: usize = 60;

/// What a gateway is started with. The harness owns `[server]`'s addresses; a test adds settings, which win over the harness's own.
pub(crate) struct Builder {
    settings: Table,
    env: Vec<(String, String)>,
    outside: bool,
}

impl Builder {
    /// Asks this upstream, and its checksum database.
    pub(crate) fn upstream(self, upstream: &Upstream) -> Self {
        self.config(&format!("[upstream]\ngoproxy = \"{}\"\nsumdb = \"{}\"\n", upstream.url(), upstream.gosumdb()))
    }

    /// Adds settings: a TOML fragment, merged table by table over what is there.
    pub(crate) fn config(mut self, fragment: &str) -> Self {
        let fragment: Table = fragment.parse().unwrap_or_else(|e| panic!("a test's settings: {e}\n{fragment}"));
        merge(&mut self.settings, fragment);
        self
    }

    /// Sets an environment variable of the gateway.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the settings file and starts the binary; returns when it is ready.
    pub(crate) fn start(self) -> Gateway {
        let mut gateway = self.prepare();
        gateway.start();
        gateway
    }

    /// Writes the settings file, and starts nothing yet.
    pub(crate) fn prepare(self) -> Gateway {
        let root = tempfile::Builder::new().prefix("modgate-").tempdir().expect("a temporary folder");
        let (plain, secure, admin) = (Port::reserve(), Port::reserve(), Port::reserve());
        let server = format!(
            "[server]\nlisten = [\"{}\"]\ntls_listen = [\"{}\"]\ntls = \"local\"\npublic_url = \"https://{}\"\nadmin_listen = \"{}\"\n",
            plain.address(),
            secure.address(),
            secure.address(),
            admin.address()
        );
        let mut settings: Table = server.parse().expect("our own settings");
        merge(&mut settings, self.settings);
        let dials = (!self.outside).then(Dials::start);
        let gateway = Gateway { child: None, dials, root, plain, secure, admin, env: self.env };
        gateway.configure(&settings.to_string());
        gateway
    }
}

/// Merges `from` into `into`; where both have a value that is not a table, `from`'s stays.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// A gateway: running, or killed and to be started again. Its Drop kills it, and fails the test if it dialled anything off this
/// machine, or wrote a secret into its log or its audit trail: any that any test ever made or sent.
pub(crate) struct Gateway {
    child: Option<Child>,
    dials: Option<Dials>,
    root: TempDir,
    plain: Port,
    secure: Port,
    admin: Port,
    env: Vec<(String, String)>,
}

impl Gateway {
    /// Begins a gateway: listeners for http, https (`tls = "local"`) and operations on free loopback ports, and no other settings.
    pub(crate) fn builder() -> Builder {
        Builder { settings: Table::new(), env: Vec::new(), outside: false }
    }

    /// Begins one that may reach the outside.
    pub(crate) fn builder_outside() -> Builder {
        Builder { outside: true, ..Self::builder() }
    }

    /// The http base: `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.plain.address())
    }

    /// The https base: `https://127.0.0.1:PORT`; also its public URL.
    pub(crate) fn https_url(&self) -> String {
        format!("https://{}", self.secure.address())
    }

    /// The http listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.plain.address()
    }

    /// The https listener.
    pub(crate) fn https_address(&self) -> SocketAddr {
        self.secure.address()
    }

    /// The operations listener.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Its data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Its settings file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.root.path().join("modgate.toml")
    }

    /// Replaces the settings file; takes effect at the next start.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.config_file(), text).expect("write the settings");
    }

    /// The settings file's text, to add to it: `configure(&(gateway.settings() + "…"))`.
    pub(crate) fn settings(&self) -> String {
        fs::read_to_string(self.config_file()).expect("read the settings")
    }

    /// The token that a new data directory is given.
    #[track_caller]
    pub(crate) fn admin_token(&self) -> String {
        let file = self.data_dir().join("admin-token");
        let token = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).trim().to_owned();
        secrets::plant(&token);
        token
    }

    /// The admin token as curl and netrc take it.
    #[track_caller]
    pub(crate) fn admin(&self) -> Login {
        Login { user: "admin".to_owned(), password: self.admin_token() }
    }

    /// A client's GOSUMDB: the verifier key of its own checksum database.
    #[track_caller]
    pub(crate) fn gosumdb(&self) -> String {
        self.cli(&["sumdb"]).ok().lines().next().expect("a verifier key").to_owned()
    }

    /// The system's roots and that authority: for SSL_CERT_FILE.
    pub(crate) fn ca_bundle(&self) -> PathBuf {
        self.data_dir().join("tls/ca-bundle.pem")
    }

    /// Its output since the first start.
    pub(crate) fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its output, once it holds all of these texts: a request's own line is written after its answer.
    #[track_caller]
    pub(crate) fn log_with(&self, texts: &[&str]) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            let Some(missing) = texts.iter().find(|text| !log.contains(**text)) else { return log };
            assert!(Instant::now() < deadline, "no {missing:?} in the log after {DEADLINE:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where its output goes.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.root.path().join("gateway.log")
    }

    /// The binary's process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The hosts off this machine that it dialled, in order.
    pub(crate) fn dialled(&self) -> Vec<String> {
        self.dials.as_ref().map(Dials::hosts).unwrap_or_default()
    }

    /// Hosts off this machine that the gateway may dial, in vain.
    pub(crate) fn may_dial(&self, host: &str) {
        if let Some(dials) = &self.dials {
            dials.declare(host);
        }
    }

    fn command(&self) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_modgate"))
    }

    /// A program, in the environment of the binary.
    pub(crate) fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var("PATH").expect("PATH")).env("HOME", self.root.path());
        command.envs(self.dials.iter().flat_map(Dials::env)).envs(self.env.iter().cloned()).current_dir(self.root.path());
        command
    }

    /// Starts the binary without waiting for anything.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "the gateway runs already");
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_file()).expect("open the log");
        let mut command = self.command();
        command.arg("serve").arg("--config").arg(self.config_file()).arg("--data-dir").arg(self.data_dir());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("share the log")).stderr(log);
        self.child = Some(command.spawn().expect("start the gateway"));
    }

    /// Starts the binary and waits until `/readyz` is 200.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.spawn();
        let deadline = Instant::now() + DEADLINE;
        loop {
            if http::get(self.admin.address(), "/readyz").is_ok_and(|r| r.status == 200) {
                return;
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().expect("look at the gateway")) {
                self.child = None;
                panic!("the gateway ended at its start, {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the gateway is not ready after {DEADLINE:?}:\n{}", self.log());
            thread::sleep(PAUSE);
        }
    }

    /// Starts the binary, which must refuse: returns its exit code and what it printed.
    #[track_caller]
    pub(crate) fn start_refused(&mut self) -> (Option<i32>, String) {
        let before = self.log().len();
        self.spawn();
        let status = self.wait_for_end();
        assert!(!status.success(), "the gateway should have refused to start:\n{}", self.log());
        (status.code(), self.log().split_off(before))
    }

    /// As [`Gateway::start_refused`], on another data directory.
    #[track_caller]
    pub(crate) fn start_refused_in(&mut self, data_dir: &Path) -> (Option<i32>, String) {
        let mut command = self.command();
        command.arg("serve").arg("--config").arg(self.config_file()).arg("--data-dir").arg(data_dir);
        let ran = process::run(command, DEADLINE);
        (ran.code, format!("{}{}", ran.stdout, ran.stderr))
    }

    /// Kills it as a power cut would: SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks it to end with SIGTERM, without waiting.
    pub(crate) fn ask_to_end(&self) {
        let child = self.child.as_ref().expect("the gateway runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM).expect("send SIGTERM");
    }

    /// Has it read its settings again, with SIGHUP; the messages that it logs until it says what came of it.
    #[track_caller]
    pub(crate) fn reload(&self) -> Vec<String> {
        const ENDS: [&str; 2] = ["the settings were reloaded", "the settings were not reloaded: those from before hold"];
        let before = self.log().len();
        let child = self.child.as_ref().expect("the gateway runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::HUP).expect("send SIGHUP");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = self.log().split_off(before);
            let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut told: Vec<_> = lines.filter_map(|line| Some(line["message"].as_str()?.to_owned())).collect();
            if let Some(end) = told.iter().position(|message| ENDS.contains(&message.as_str())) {
                told.truncate(end + 1);
                return told;
            }
            assert!(Instant::now() < deadline, "nothing is told of the reload after {DEADLINE:?}");
            thread::sleep(PAUSE);
        }
    }

    /// Ends it with SIGTERM and waits.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.wait_for_end()
    }

    #[track_caller]
    fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let child = self.child.as_mut().expect("the gateway runs");
            if let Some(status) = child.try_wait().expect("look at the gateway") {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the gateway did not end after {DEADLINE:?}:\n{}", self.log());
            thread::sleep(PAUSE);
        }
    }

    /// Ends it with SIGTERM and starts it again, on the same ports.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.terminate();
        self.start();
    }

    /// Runs a command of the binary, `--config` and `--data-dir` added.
    #[track_caller]
    pub(crate) fn cli(&self, args: &[&str]) -> Ran {
        self.cli_with(&[], args)
    }

    /// As [`Gateway::cli`], with these variables in its environment.
    #[track_caller]
    pub(crate) fn cli_with(&self, env: &[(&str, &str)], args: &[&str]) -> Ran {
        self.cli_over(&self.data_dir(), env, args)
    }

    /// [`Gateway::cli_with`] over another data directory.
    pub(crate) fn cli_over(&self, data_dir: &Path, env: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = self.command();
        command.envs(env.iter().copied()).args(args).arg("--config").arg(self.config_file()).arg("--data-dir").arg(data_dir);
        let ran = process::run(command, DEADLINE);
        secrets::plant_tokens_in(&ran.stdout);
        secrets::check("a command's standard error", &ran.stderr);
        ran
    }

    /// Publishes a module over http, as the admin token, to the owner that the fixture names.
    #[track_caller]
    pub(crate) fn publish(&self, module: &Module) -> Reply {
        let owner = module.owner.as_deref().expect("the fixture names an owner");
        let dir = tempfile::tempdir().expect("a temporary folder");
        curl::publish(&self.url(), owner, Some(&self.admin()), &module.write_zip(dir.path()), None)
    }

    /// Publishes all of tests/testdata/hosted; each is 201.
    #[track_caller]
    pub(crate) fn publish_fixture(&self) {
        for module in zips::load("hosted") {
            let reply = self.publish(&module);
            assert!(reply.status == 201, "publishing {}: {reply:?}", module.name());
        }
    }

    /// Asks for a target over http, as it is.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> http::Response {
        http::ask(self.address(), method, target, headers).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// The secrets that its log or its audit trail holds, and where.
    fn leaks(&self) -> Vec<String> {
        // Whether or not the test asked for it.
        secrets::plant_tokens_in(&fs::read_to_string(self.data_dir().join("admin-token")).unwrap_or_default());
        let mut files = super::files_below(&self.data_dir().join("audit"));
        files.push(self.log_file().display().to_string());
        let leaks = files.iter().flat_map(|file| {
            let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            secrets::found_in(&text).into_iter().map(move |found| format!("{file}: {found}"))
        });
        leaks.collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the gateway's log, its end\n{}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
        } else {
            let leaks = self.leaks();
            assert!(leaks.is_empty(), "secrets were written down:\n{}", leaks.join("\n"));
        }
    }
}
