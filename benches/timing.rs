//! Whether time tells what a stranger may not know: a hosted module that is not visible, one that never was, one that was deleted.
//! The real binary on loopback, the three asked in turns on one connection: `make bench`.

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

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench -- --list` ask for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path());
    for name in ["x-here", "x-gone"] {
        let put = gateway.once("PUT", "/api/packages/team/go/upload", &gateway.admin, &module(name));
        assert_eq!(put, 201, "publishing {name}");
    }
    assert_eq!(gateway.once("DELETE", "/api/v1/packages/team/go/corp.example.com/x-gone/v1.0.0", &gateway.admin, &[]), 204);
    let stranger = format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode("stranger:stranger-password"));
    println!("timing of what is not for the caller, {ROUNDS} requests a kind, in turns, on {}", machine());
    let mut within = true;
    for (who, authorization) in [("anonymous", ""), ("signed-in stranger", stranger.as_str())] {
        for read in READS {
            within &= compare(&gateway, who, authorization, read);
        }
    }
    println!("goal (each median within {:.0} % of the absent module's): {}", GOAL * 100.0, if within { "met" } else { "MISSED" });
    ExitCode::SUCCESS
}

/// Measures one read of all kinds, prints, and says whether the goal is met.
fn compare(gateway: &Gateway, who: &str, authorization: &str, read: &str) -> bool {
    let mut connection = gateway.connect();
    let mut times: [Vec<Duration>; KINDS.len()] = Default::default();
    for round in 0..WARM_UP + ROUNDS {
        // Whoever comes first in a round pays for what the last round left: each does so equally often.
        for turn in 0..KINDS.len() {
            let kind = (round + turn) % KINDS.len();
            let target = format!("/corp.example.com/{}/{read}", KINDS[kind].1);
            let began = Instant::now();
            let status = connection.ask("GET", &target, authorization, &[]);
            let time = began.elapsed();
            assert_eq!(status, 404, "{who} {target}");
            if round >= WARM_UP {
                times[kind].push(time);
            }
        }
    }
    let medians = times.each_mut().map(|times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    });
    let mut within = true;
    for ((kind, _), median) in KINDS.iter().zip(medians) {
        let ratio = median / medians[0];
        within &= (ratio - 1.0).abs() <= GOAL;
        println!("{who:<20} {read:<14} {kind:<20} median {median:8.1} us   ratio {ratio:.3}");
    }
    within
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{}, {cores} cores, load {load}", model.trim_start_matches(['\t', ' ', ':']))
}

/// A module zip of this name, v1.0.0.
fn module(name: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let prefix = format!("corp.example.com/{name}");
    zip.start_file(format!("{prefix}@v1.0.0/go.mod"), SimpleFileOptions::default()).expect("an entry");
    zip.write_all(format!("module {prefix}\n").as_bytes()).expect("write");
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
             private.patterns = [\"corp.example.com\"]\n[owners.team]\nvisibility = \"private\"\n[users.stranger]\npassword_hash = \"{hash}\"\n"
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
