//! Settings and certificates that change under a running gateway.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::curl;
use crate::support::gateway::Gateway;
use crate::support::http::{self, PATIENCE, Response};
use crate::support::load::Load;
use crate::support::port::Port;
use crate::support::upstream::Upstream;

const OFF: &str = "[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n[owners.open]\nvisibility = \"public\"\n";
const RELOADED: &str = "the settings were reloaded";
const REFUSED: &str = "the settings were not reloaded: those from before hold";
const LIST: &str = "/example.net/alpha/@v/list";

#[track_caller]
fn reloaded(gateway: &Gateway, settings: &str) -> Vec<String> {
    gateway.configure(settings);
    let told = gateway.reload();
    assert_eq!(told.last().map(String::as_str), Some(RELOADED), "{told:#?}");
    told
}

#[test]
fn a_wrong_file_changes_nothing_and_each_problem_is_told_as_check_does() {
    let gateway = Gateway::builder().config(OFF).start();
    let good = gateway.settings();
    let private = format!("{good}\n[private]\npatterns = [\"corp.example.com\"]\n");
    for wrong in [format!("{private}\n[cache]\nmax_sizes = 1\nfresh = \"soon\"\n"), format!("{private}\n[cache\n")] {
        gateway.configure(&wrong);
        let mut told = gateway.reload();
        assert_eq!(told.pop().as_deref(), Some(REFUSED));
        let check = gateway.cli(&["check"]);
        assert_eq!(check.code, Some(1));
        assert_eq!(told, check.stdout.lines().collect::<Vec<_>>());
        assert!(told.iter().all(|problem| problem.contains("modgate.toml:")), "{told:#?}");
        let explained = gateway.ask("GET", "/", &[]);
        assert_eq!(explained.status, 200);
    }
    // Nothing of the wrong file's good part was taken.
    gateway.configure(&good);
    let verified = "verified: nobody vouches for it: upstream.sumdb is off";
    gateway.cli(&["explain", "corp.example.com/a"]).prints(&[
        "public corp.example.com/a",
        "rule: public",
        "where: unknown host: allowed by private.unknown_hosts",
        verified,
    ]);
    fs::remove_file(gateway.config_file()).expect("remove the settings");
    assert_eq!(gateway.reload().last().map(String::as_str), Some(REFUSED));
    assert_eq!(gateway.ask("GET", "/", &[]).status, 200);
}

#[test]
fn what_changes_is_told_by_key_and_holds_from_then_on() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[log]\nlevel = \"warn\"\n[owners.open]\n").start();
    assert_eq!(gateway.ask("GET", LIST, &[]).status, 200);
    let hash = modgate::access::hash_password("a password of bob").expect("a hash");
    let settings =
        gateway.settings().replace("level = \"warn\"", "level = \"info\"").replace("[owners.open]", "[owners.tools]\nmembers = [\"bob\"]");
    let settings = format!("{settings}\n[users.bob]\npassword_hash = \"{hash}\"\n[private]\npatterns = [\"example.net\"]\n");
    reloaded(&gateway, &settings);
    let log = gateway.log_with(&["\"changed\":\"private.patterns, log.level, owners.open, owners.tools, users.bob\""]);
    assert!(!log.contains("argon2id"), "{log}");

    // What is cached is no more given out than what is not.
    assert_eq!(gateway.ask("GET", LIST, &[]).status, 404);
    let publish = |owner: &str| {
        let url = format!("{}/api/packages/{owner}/go/upload", gateway.url());
        curl::curl(&["--user", "bob:a password of bob", "--request", "PUT", "--data-binary", "no zip"], &url, None)
    };
    publish("tools").is(400);
    publish("open").is(403);
    let another = modgate::access::hash_password("another").expect("a hash");
    reloaded(&gateway, &gateway.settings().replace(&hash, &another));
    gateway.log_with(&["\"changed\":\"users.bob.password_hash\""]);
    // A password that was right a moment ago is not remembered.
    publish("tools").is(401);
}

#[test]
fn what_cannot_change_keeps_its_value_and_says_so_by_key_and_line() {
    let gateway = Gateway::builder().config(OFF).start();
    let other = Port::reserve();
    let old = gateway.settings();
    let listen = format!("[\"{}\"]", gateway.address());
    assert!(old.contains(&listen), "{old}");
    let told = reloaded(
        &gateway,
        &format!("{}\n[limits]\nupload = 10\n[log]\nformat = \"text\"\n", old.replace(&listen, &format!("[\"{}\"]", other.address()))),
    );
    let kept: Vec<_> = told.iter().filter(|line| line.contains("takes effect at a restart")).collect();
    assert_eq!(kept.len(), 2, "{told:#?}");
    assert!(kept[0].contains("modgate.toml:") && kept[0].contains(": server.listen: "), "{kept:?}");
    assert!(kept[1].contains("modgate.toml:") && kept[1].contains(": log.format: "), "{kept:?}");
    assert_eq!(gateway.ask("GET", "/", &[]).status, 200);
    assert!(TcpStream::connect(other.address()).is_err());
    // What can change did.
    let put = curl::curl(
        &["--user", &format!("admin:{}", gateway.admin_token()), "--request", "PUT", "--data-binary", "more than ten bytes"],
        &format!("{}/api/packages/open/go/upload", gateway.url()),
        None,
    );
    put.is(413);
}

#[test]
fn a_path_that_becomes_private_while_it_is_fetched_is_asked_for_no_more() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[owners.open]\n").start();
    let elsewhere = "/elsewhere/list";
    upstream.answer(LIST, Response::of(302, "text/plain", Vec::new()).with("Location", elsewhere));
    upstream.stall();
    let address = gateway.address();
    let asked = thread::spawn(move || http::get(address, LIST));
    upstream.wait_for(|request| request.target == LIST);
    reloaded(&gateway, &format!("{}\n[private]\npatterns = [\"example.net/alpha\"]\n", gateway.settings()));
    upstream.alive();
    let answer = asked.join().expect("the client ends").expect("an answer");
    // As whoever asks from now on.
    assert_eq!(answer.status, 404, "{}", answer.body_text());
    assert_eq!(gateway.ask("GET", LIST, &[]).body_text(), answer.body_text());
    assert_eq!((upstream.count(LIST), upstream.count(elsewhere)), (1, 0));
}

#[test]
fn twenty_reloads_under_load_fail_no_request() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[owners.open]\nvisibility = \"public\"\n").start();
    let settings = gateway.settings();
    let load = Load::start(&gateway, &[LIST, "/example.net/alpha/@v/v1.0.0.zip", "/example.net/alpha/@v/v1.0.0.mod"], "open");
    for turn in 0..20 {
        load.wait_for(1);
        let fresh = turn + 1;
        reloaded(
            &gateway,
            &format!("{settings}\n[cache]\nfresh = \"{fresh}m\"\nmax_size = \"{fresh}MiB\"\n[limits]\nconnections = {}\n", 100 + turn % 2),
        );
    }
    load.wait_for(1);
    let tally = load.stop();
    assert!(tally.failed == 0, "{tally:#?}");
    assert_eq!(gateway.log().matches(RELOADED).count(), 20);
}

/// A certificate for 127.0.0.1 that vouches for itself.
struct Pair {
    cert: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Pair {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).and_then(|params| params.self_signed(&key));
        Self { cert: cert.expect("a certificate"), key }
    }

    fn write_cert(&self, file: &Path) {
        write(file, &self.cert.pem());
    }

    fn write_key(&self, file: &Path) {
        write(file, &self.key.serialize_pem());
    }

    /// The files in a folder, and the setting that names them.
    fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf, String) {
        let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}-key.pem")));
        self.write_cert(&cert);
        self.write_key(&key);
        let setting = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
        (cert, key, setting)
    }

    /// A client that trusts this certificate alone, once its handshake is done; `None` if it is shown another.
    fn connect(&self, to: SocketAddr) -> Option<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.cert.der().to_vec())).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots).with_no_client_auth();
        let client = ClientConnection::new(Arc::new(config), ServerName::from(to.ip())).expect("a client");
        let tcp = TcpStream::connect(to).expect("connect");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut stream = StreamOwned::new(client, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        Some(stream)
    }

    #[track_caller]
    fn wait_until_shown(&self, to: SocketAddr) {
        let deadline = Instant::now() + PATIENCE;
        while self.connect(to).is_none() {
            assert!(Instant::now() < deadline, "another certificate is shown");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).expect("write a file");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("change its mode");
}

fn https(gateway: &Gateway) -> SocketAddr {
    gateway.https_url().trim_start_matches("https://").parse().expect("an address")
}

#[track_caller]
fn is_answered(stream: &mut (impl Read + Write)) {
    let answer = http::exchange(stream, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("an answer");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_certificate_is_swapped_when_its_files_change_and_no_connection_is_dropped() {
    let dir = tempfile::tempdir().expect("a folder");
    let (first, second, third) = (Pair::new(), Pair::new(), Pair::new());
    let (cert, key, setting) = first.write(dir.path(), "pair");
    let gateway = Gateway::builder().config(OFF).config("[limits]\nidle = \"10m\"\n").config(&format!("[server]\n{setting}\n")).start();
    let mut kept = first.connect(https(&gateway)).expect("the first is shown");
    is_answered(&mut kept);

    second.write_cert(&cert);
    gateway.log_with(&["the certificate's files changed and cannot be used: the one before is shown", "is not that of the certificate in"]);
    is_answered(&mut first.connect(https(&gateway)).expect("the first is shown still"));
    second.write_key(&key);
    second.wait_until_shown(https(&gateway));
    is_answered(&mut second.connect(https(&gateway)).expect("the second is shown"));
    assert!(first.connect(https(&gateway)).is_none());
    is_answered(&mut kept);
    let log = gateway.log();
    assert_eq!(log.matches("cannot be used: the one before is shown").count(), 1, "{log}");

    // Other files, by other settings; those that they name must do.
    let (_, third_key, _) = third.write(dir.path(), "other");
    let settings = gateway.settings();
    let settings = settings.replace("/pair", "/other");
    second.write_key(&third_key);
    gateway.configure(&settings);
    let told = gateway.reload();
    assert_eq!(told.last().map(String::as_str), Some(REFUSED));
    assert!(told[0].contains("modgate.toml:") && told[0].contains(": server.tls.key: the key in "), "{told:#?}");
    is_answered(&mut second.connect(https(&gateway)).expect("the second is shown still"));
    third.write_key(&third_key);
    reloaded(&gateway, &settings);
    gateway.log_with(&["\"changed\":\"server.tls.cert, server.tls.key\""]);
    is_answered(&mut third.connect(https(&gateway)).expect("the third is shown"));
    is_answered(&mut kept);
}

#[test]
fn a_start_without_its_certificate_names_file_line_and_key() {
    let mut gateway = Gateway::builder().config(OFF).config("[server]\ntls = { cert = \"none.pem\", key = \"none-key.pem\" }\n").prepare();
    let (code, told) = gateway.start_refused();
    assert_eq!(code, Some(1));
    let settings = gateway.settings();
    let line = 1 + settings.lines().position(|line| line.starts_with("cert = ")).expect("the line");
    assert!(told.contains(&format!("modgate.toml:{line}: server.tls.cert: cannot read ")) && told.contains("none.pem"), "{told}");
}
