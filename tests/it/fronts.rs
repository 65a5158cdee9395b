//! Real fronts before the gateway, with the settings of `deploy/`: what clients send reaches it as they sent it, and it knows who they are.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::curl;
use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::http::PATIENCE;
use crate::support::port::Port;
use crate::support::process;
use crate::support::zips::Module;

const SETTINGS: &str = r#"
[server]
trusted_proxies = ["127.0.0.1/32"]
[upstream]
goproxy = "off"
sumdb = "off"
[owners.team]
"#;

/// What the settings in `deploy/` call this server, and where they find the gateway.
const NAME: &str = "go.example.com";
const GATEWAY: &str = "127.0.0.1:8080";
/// Another address of this machine than the front's.
const CLIENT: &str = "127.0.0.2";
/// Between two looks at a front that starts.
const PAUSE: Duration = Duration::from_millis(20);
/// Of a zip: more than a front keeps in memory.
const LARGE: usize = 8 << 20;

/// A front that runs; its Drop kills it.
struct Front {
    child: Child,
    dir: tempfile::TempDir,
}

impl Front {
    /// Starts a program, and waits until the gateway answers through it, under a certificate that `ca` vouches for.
    #[track_caller]
    fn start(dir: tempfile::TempDir, mut command: Command, port: &Port, ca: PathBuf) -> (Self, PathBuf) {
        let log = File::create(dir.path().join("log")).expect("a log");
        command.env_clear().env("PATH", std::env::var("PATH").expect("PATH")).env("HOME", dir.path()).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("share the log")).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("the tests need {:?}: {e}", command.get_program()));
        let mut front = Self { child, dir };
        let deadline = Instant::now() + PATIENCE;
        let health = format!("https://localhost:{}/healthz", port.address().port());
        loop {
            let mut command = Command::new("curl");
            command.args(["--disable", "--silent", "--fail", "--noproxy", "*", "--cacert", text(&ca), &health]);
            if process::run(command, PATIENCE).code == Some(0) {
                return (front, ca);
            }
            let ended = front.child.try_wait().expect("look at the front");
            assert!(ended.is_none() && Instant::now() < deadline, "the front does not serve ({ended:?}):\n{}", front.log());
            std::thread::sleep(PAUSE);
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// nginx in one process, with deploy/nginx/modgate.conf; and the certificate that it shows.
    #[track_caller]
    fn nginx(port: &Port, gateway: SocketAddr) -> (Self, PathBuf) {
        let dir = tempfile::Builder::new().prefix("modgate-nginx-").tempdir().expect("a temporary folder");
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name").self_signed(&key).expect("a certificate");
        let (cert_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&cert_file, cert.pem()).expect("write the certificate");
        fs::write(&key_file, key.serialize_pem()).expect("write the key");
        let shipped = shipped(
            "deploy/nginx/modgate.conf",
            &[
                ("listen 443 ", &format!("listen {} ", port.address())),
                (GATEWAY, &gateway.to_string()),
                ("/etc/ssl/go.example.com.pem", text(&cert_file)),
                ("/etc/ssl/go.example.com.key", text(&key_file)),
                (NAME, "localhost"),
            ],
        );
        fs::write(dir.path().join("modgate.conf"), shipped).expect("write the settings");
        let place = text(dir.path());
        let temp: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {place}/{kind};\n")).concat();
        let around = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temp}include modgate.conf;\n}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), around).expect("write the settings");
        let mut command = Command::new("nginx");
        command.args(["-p", place, "-c", "nginx.conf", "-e", "stderr"]);
        Self::start(dir, command, port, cert_file)
    }

    /// Caddy with deploy/caddy/Caddyfile, a CA of its own, and that CA's certificate.
    #[track_caller]
    fn caddy(port: &Port, gateway: SocketAddr) -> (Self, PathBuf) {
        let dir = tempfile::Builder::new().prefix("modgate-caddy-").tempdir().expect("a temporary folder");
        let site = format!("localhost:{} {{", port.address().port());
        let shipped = shipped("deploy/caddy/Caddyfile", &[(&format!("{NAME} {{"), &site), (GATEWAY, &gateway.to_string())]);
        // Nothing of the machine's: no admin listener, no port 80, no trust store.
        let around =
            "{\nadmin off\nauto_https disable_redirects\nskip_install_trust\ndefault_bind 127.0.0.1\nstorage file_system state\n}\n";
        fs::write(dir.path().join("Caddyfile"), format!("{around}{shipped}")).expect("write the settings");
        let mut command = Command::new("caddy");
        command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
        let ca = dir.path().join("state/pki/authorities/local/root.crt");
        Self::start(dir, command, port, ca)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the front's log\n{}", self.log());
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A file of the project with other places in it, each of which it must name; comments are left out.
#[track_caller]
fn shipped(file: &str, places: &[(&str, &str)]) -> String {
    let whole = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut settings: String = whole.lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect();
    for (place, ours) in places {
        assert!(settings.contains(place), "{file} does not name {place}");
        settings = settings.replace(place, ours);
    }
    settings
}

/// A command that can be installed, with a file that does not shrink.
fn tool() -> Module {
    let mut tool = Module::parse(
        "corp.example.com/tool@v1.0.0\n-- go.mod --\nmodule corp.example.com/tool\n\ngo 1.21\n-- main.go --\npackage main\n\nfunc main() { println(\"from behind\") }\n",
    );
    let mut noise = vec![0; LARGE];
    getrandom::fill(&mut noise).expect("randomness");
    tool.files.push(("noise".to_owned(), noise));
    tool
}

/// What people do through a front.
fn try_it(start: impl Fn(&Port, SocketAddr) -> (Front, PathBuf)) {
    let port = Port::reserve();
    let authority = format!("localhost:{}", port.address().port());
    let url = format!("https://{authority}");
    let gateway = Gateway::builder().config(SETTINGS).config(&format!("server.public_url = \"{url}\"")).start();
    let (_front, ca) = start(&port, gateway.address());
    let token = gateway.admin_token();

    let dir = tempfile::tempdir().expect("a temporary folder");
    let (zip, login) = (tool().write_zip(dir.path()), format!("alice:{token}"));
    let upload = ["--interface", CLIENT, "--user", &login, "--upload-file", text(&zip)];
    curl::curl(&upload, &format!("{url}/api/packages/team/go/upload"), Some(&ca)).is(201);

    let mut go = Go::new(&url, "off");
    go.set("SSL_CERT_FILE", text(&ca));
    go.netrc(&authority, "alice", &token);
    go.run(&["install", "corp.example.com/tool@v1.0.0"]).ok();
    assert!(go.run_installed("tool").stderr.contains("from behind"));

    // An escape that the gateway alone may judge; and a slash that is no separator.
    let wrong = curl::curl(&["--interface", CLIENT], &format!("{url}/corp.example.com/%2e%2e/tool/@v/list"), Some(&ca));
    let straight = curl::curl(&[], &format!("{}/corp.example.com/%2e%2e/tool/@v/list", gateway.url()), None);
    assert_eq!(wrong, straight);
    assert_eq!(wrong.status, 400, "{wrong:?}");

    // Whatever the client says of itself, the front says who it is.
    let forged = ["--interface", CLIENT, "--header", "X-Forwarded-For: 198.51.100.7"];
    curl::curl(&forged, &format!("{url}/corp.example.com/forged/@v/list"), Some(&ca)).is(404);
    let log = gateway.log_with(&["/corp.example.com/forged/@v/list"]);
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let seen: Vec<_> = lines.filter(|line| line["via"].is_string()).collect();
    let of = |target: &str| seen.iter().find(|line| line["path"] == target).unwrap_or_else(|| panic!("no {target} in\n{log}"));
    for target in ["/api/packages/team/go/upload", "/corp.example.com/%2e%2e/tool/@v/list", "/corp.example.com/forged/@v/list"] {
        let line = of(target);
        assert_eq!(line["peer"], CLIENT, "{line}");
        assert!(line["via"].as_str().is_some_and(|via| via.starts_with("127.0.0.1:")), "{line}");
    }
}

#[test]
fn nginx_passes_on_what_clients_send_and_who_they_are() {
    try_it(Front::nginx);
}

#[test]
fn caddy_passes_on_what_clients_send_and_who_they_are() {
    try_it(Front::caddy);
}
