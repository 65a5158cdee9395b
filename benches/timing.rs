//! Whether time tells what a stranger may not know: a hosted module that is not visible, one that never was, one that was deleted.
//! The real binary on loopback, everything asked in turns, whoever asks on one connection: `make bench`. What changes on the machine
//! while it runs then changes for all alike.

use std::fs;
use std::io::{BufRead as _, BufReader, Cursor, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Requests of each kind.
const ROUNDS: usize = 10_000;
/// Before anything is counted.
const WARM_UP: usize = 500;
/// How far a median may be from that of the absent module.
const GOAL: f64 = 0.05;
const DEADLINE: Duration = Duration::from_secs(30);

/// Their names are of one length.
const KINDS: [(&str, &str); 3] = [("absent", "x-none"), ("hosted, not visible", "x-here"), ("deleted", "x-gone")];
const READS: [&str; 3] = ["@v/list", "@v/v1.0.0.mod", "@latest"];
/// A host of one's own, and one that is shared, where more is looked at: whose repository a path is in.
const HOSTS: [&str; 2] = ["corp.example.com", "gopkg.in/corp"];

/// What module paths at this host end with.
fn suffix(host: &str) -> &'static str {
    if host.starts_with("gopkg.in/") { ".v1" } else { "" }
}

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench -- --list` ask for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path());
    for host in HOSTS {
        for name in ["x-here", "x-gone"] {
            let path = format!("{host}/{name}{}", suffix(host));
            let put = gateway.once("PUT", "/api/packages/team/go/upload", &gateway.admin, &module(&path));
            assert_eq!(put, 201, "publishing {path}");
        }
        let gone = format!("/api/v1/packages/team/go/{host}/x-gone{}/v1.0.0", suffix(host));
        assert_eq!(gateway.once("DELETE", &gone, &gateway.admin, &[]), 204);
    }
    let stranger = format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode("stranger:stranger-password"));
    // `--test`, as criterion has it: whether it runs at all.
    let rounds = if std::env::args().any(|arg| arg == "--test") { 1 } else { ROUNDS };
    println!("timing of what is not for the caller, {rounds} requests a kind, in turns, on {}", machine());
    let mut series: Vec<Series> = [("anonymous", ""), ("signed-in stranger", stranger.as_str())]
        .into_iter()
        .flat_map(|(who, authorization)| {
            let target = move |host, read| Series { who, authorization, host, read, times: Default::default() };
            HOSTS.into_iter().flat_map(move |host| READS.map(|read| target(host, read)))
        })
        .collect();
    measure(&gateway, &mut series, rounds);
    let within = series.iter_mut().fold(true, |within, series| series.tell() & within);
    println!("goal (each median within {:.0} % of the absent module's): {}", GOAL * 100.0, if within { "met" } else { "MISSED" });
    ExitCode::SUCCESS
}

/// One read by one caller, of all kinds.
struct Series<'a> {
    who: &'static str,
    authorization: &'a str,
    host: &'static str,
    read: &'static str,
    times: [Vec<Duration>; KINDS.len()],
}

impl Series<'_> {
    fn ask(&self, connection: &mut Connection, kind: usize) -> Duration {
        let (who, target) = (self.who, format!("/{}/{}{}/{}", self.host, KINDS[kind].1, suffix(self.host), self.read));
        let began = Instant::now();
        let status = connection.ask("GET", &target, self.authorization, &[]);
        let time = began.elapsed();
        assert_eq!(status, 404, "{who} {target}");
        time
    }

    /// Prints, and says whether the goal is met.
    fn tell(&mut self) -> bool {
        let medians = self.times.each_mut().map(|times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e6
        });
        let mut within = true;
        for ((kind, _), median) in KINDS.iter().zip(medians) {
            let ratio = median / medians[0];
            within &= (ratio - 1.0).abs() <= GOAL;
            let Self { who, host, read, .. } = self;
            println!("{who:<20} {host:<20} {read:<14} {kind:<20} median {median:8.1} us   ratio {ratio:.3}");
        }
        within
    }
}

/// Asks for everything once a round. Whoever comes first pays for what was asked before: each kind does so equally often, in every
/// series.
fn measure(gateway: &Gateway, series: &mut [Series<'_>], rounds: usize) {
    let mut connection = gateway.connect();
    let count = series.len();
    for round in 0..WARM_UP + rounds {
        for step in 0..count {
            let series = &mut series[(round / KINDS.len() + step) % count];
            for turn in 0..KINDS.len() {
                let kind = (round + turn) % KINDS.len();
                let time = series.ask(&mut connection, kind);
                if round >= WARM_UP {
                    series.times[kind].push(time);
                }
            }
        }
    }
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{}, {cores} cores, load {load}", model.trim_start_matches(['\t', ' ', ':']))
}

/// A module zip of this path, v1.0.0.
fn module(path: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(format!("{path}@v1.0.0/go.mod"), SimpleFileOptions::default()).expect("an entry");
    zip.write_all(format!("module {path}\n").as_bytes()).expect("write");
    zip.finish().expect("finish").into_inner()
}

/// The binary, killed when this is dropped.
struct Gateway {
    child: Child,
    address: std::net::SocketAddr,
    /// A header line.
    admin: String,
}

impl Gateway {
    fn start(folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let hash = modgate::access::hash_password("stranger-password").expect("a hash");
        let settings = format!(
            "server.listen = [\"{address}\"]\nlog.access = false\nupstream.goproxy = \"off\"\nupstream.sumdb = \"off\"\n\
             private.patterns = [\"corp.example.com\", \"gopkg.in/corp\"]\n[owners.team]\nvisibility = \"private\"\n[users.stranger]\npassword_hash = \"{hash}\"\n"
        );
        let config = folder.join("modgate.toml");
        fs::write(&config, settings).expect("write the settings");
        let data = folder.join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_modgate"));
        command.arg("serve").arg("--config").arg(&config).arg("--data-dir").arg(&data);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start the gateway");
        let mut gateway = Self { child, address, admin: String::new() };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < DEADLINE, "the gateway does not start");
            assert!(gateway.child.try_wait().expect("look at the gateway").is_none(), "the gateway ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        let token = fs::read_to_string(data.join("admin-token")).expect("a token");
        gateway.admin = format!("Authorization: Bearer {}\r\n", token.trim());
        gateway
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        Connection { stream: BufReader::new(stream), body: Vec::new() }
    }

    fn once(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> u16 {
        self.connect().ask(method, target, headers, body)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Connection {
    /// The status, once the whole answer is there.
    fn ask(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> u16 {
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nHost: gateway\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request).expect("send");
        let (mut status, mut length) = (0, 0);
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("an answer");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).expect("a status");
            } else if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().expect("a length");
            } else if line.is_empty() {
                break;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).expect("a body");
        status
    }
}
