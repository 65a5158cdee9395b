//! A fresh machine: the binary without settings, and exactly the lines that it prints, pasted into a shell.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::http;
use crate::support::port::Port;
use crate::support::upstream::Upstream;

/// A gateway as `make run` starts it: no settings file. Only the ports are ours, since the built-in ones may be taken here.
struct FirstRun {
    child: Child,
    home: tempfile::TempDir,
    plain: Port,
    secure: Port,
    upstream: Upstream,
    data_dir: &'static str,
    env: &'static [(&'static str, &'static str)],
}

impl FirstRun {
    fn new(data_dir: &'static str, env: &'static [(&'static str, &'static str)]) -> Self {
        let home = tempfile::tempdir().expect("a home");
        Self {
            child: Command::new("true").spawn().expect("true"),
            home,
            plain: Port::reserve(),
            secure: Port::reserve(),
            upstream: Upstream::start(),
            data_dir,
            env,
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.home.path().join(self.data_dir)
    }

    /// Starts the binary and returns what it prints for people, up to the line that ends it.
    fn serve(&mut self) -> String {
        drop(self.child.kill());
        drop(self.child.wait());
        let mut command = Command::new(env!("CARGO_BIN_EXE_modgate"));
        command.env_clear().env("PATH", std::env::var("PATH").expect("PATH")).env("HOME", self.home.path());
        command.env("MODGATE_UPSTREAM__GOPROXY", self.upstream.url()).env("MODGATE_UPSTREAM__SUMDB", self.upstream.gosumdb());
        command.env("NO_PROXY", "127.0.0.1").envs(self.env.iter().copied());
        // Relative, as somebody may give it: the lines work elsewhere all the same.
        command.current_dir(self.home.path()).arg("serve").arg("--data-dir").arg(self.data_dir);
        command.args(["--listen", &self.plain.address().to_string()]);
        command.args(["--tls-listen", &self.secure.address().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(self.home.path().join("log")).expect("a log"));
        self.child = command.spawn().expect("start the gateway");
        let out = self.child.stdout.take().expect("its output");
        let mut said = String::new();
        for line in BufReader::new(out).lines() {
            let line = line.expect("a line");
            said.push_str(&line);
            said.push('\n');
            if line.starts_with("(SSL_CERT_FILE") {
                break;
            }
        }
        said
    }

    /// Pastes lines into a shell of a new user.
    fn paste(&self, lines: &str) -> String {
        let mut command = Command::new("bash");
        command.env_clear().env("PATH", std::env::var("PATH").expect("PATH")).env("HOME", self.home.path()).env("GOFLAGS", "-modcacherw");
        command.env("GOTOOLCHAIN", "local").env("NO_PROXY", "127.0.0.1").args(["-e", "-c", lines]).current_dir(self.home.path());
        let output = command.output().expect("run bash");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{lines}\n{said}\n{}", fs::read_to_string(self.home.path().join("log")).unwrap_or_default());
        said
    }
}

impl Drop for FirstRun {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The indented lines of a block, without comments; folders of the user's go below the home.
fn block(said: &str, title: &str, home: &Path) -> String {
    let from = said.find(title).unwrap_or_else(|| panic!("no block {title:?} in\n{said}"));
    let lines = said[from..].lines().skip(1).take_while(|line| line.starts_with("  "));
    lines.map(|line| format!("{}\n", line.trim())).collect::<String>().replace("/tmp/try", &format!("{}/try", home.display()))
}

#[test]
fn the_lines_that_a_first_run_prints_work_as_they_are() {
    let mut run = FirstRun::new("data", &[]);
    let said = run.serve();
    assert!(!said.contains(" '") && !said.contains("='"), "nothing here needs quoting:\n{said}");
    let short = block(&said, "The shortest way", run.home.path());
    assert!(run.paste(&short).contains("go: added go.example.com/hello v1.0.0"));
    let private = block(&said, "The private way", run.home.path());
    assert!(run.paste(&private).contains("go: added go.example.com/secret v1.0.0"));
    // A stranger does not see it, and nobody outside was asked for either.
    let stranger = http::get(run.plain.address(), "/go.example.com/secret/@v/list").expect("a reply");
    assert_eq!(stranger.status, 404, "{}", stranger.body_text());
    assert!(run.upstream.seen().iter().all(|request| !request.target.contains("go.example.com")), "{:?}", run.upstream.seen());
    // What a public user of the same gateway gets, and the home page that tells how.
    let home = http::get(run.plain.address(), "/").expect("a reply");
    assert!(home.body_text().contains("GOPROXY=https://127.0.0.1:"), "{}", home.body_text());
    assert!(!home.body_text().contains("go.example.com"), "strangers need not know: {}", home.body_text());
    assert_eq!(http::get(run.plain.address(), "/example.net/alpha/@v/list").expect("a reply").status, 200);
    // Killed and started again, all is there.
    run.serve();
    assert_eq!(http::get(run.plain.address(), "/go.example.com/hello/@v/list").expect("a reply").body_text(), "v1.0.0\n");
}

#[test]
fn blanks_and_globs_in_the_lines_survive_a_shell() {
    let mut run = FirstRun::new("it's my data", &[("MODGATE_PRIVATE__PATTERNS", "github.com/acme/*"), ("MODGATE_SUMDB__ENABLED", "false")]);
    let said = run.serve();
    let names = "github.com/acme/*,go.example.com";
    // What a glob would find, were it not quoted.
    let trap = run.home.path().join("GONOSUMDB=github.com/acme");
    fs::create_dir_all(&trap).expect("a folder");
    fs::write(trap.join("x,go.example.com"), "").expect("a file");
    let short = block(&said, "The shortest way", run.home.path());
    assert!(run.paste(&(short + "echo \"$GONOSUMDB\"\n")).contains(names));
    let private = block(&said, "The private way", run.home.path());
    assert!(run.paste(&private).contains("go: added go.example.com/secret v1.0.0"));
    // The lines of the home page, as an admin sees it.
    let token = fs::read_to_string(run.data_dir().join("admin-token")).expect("the token");
    let authorization = format!("Bearer {}", token.trim());
    let home = http::ask(run.plain.address(), "GET", "/", &[("Authorization", &authorization)]).expect("a reply").body_text();
    let lines: String = home.lines().filter(|line| line.starts_with("go env -w")).map(|line| format!("{line}\n")).collect();
    assert_eq!(run.paste(&(lines + "go env GONOSUMDB\n")).trim(), names);
}
