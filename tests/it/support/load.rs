//! A load generator that counts: workers that ask a gateway for things whose answers are known, over connections that are kept and over
//! new ones, by http and by https, and one that publishes.
//!
//! # What counts as failed
//! A request is `ok` if it gets its one right answer: status and body, whole. Everything else is `failed`: a connection that is refused, or
//! reset, or not accepted in time; any other status; a body that is cut or differs.
//!
//! There is one exception, the one that HTTP itself makes (RFC 9112, 9.3.1): a server may close a connection between two requests, and the
//! client's next request may cross that close. A GET on a connection that has answered before, and that ends without one byte of an
//! answer, is sent once more, on a new connection, and counted in `retried`; there nothing is forgiven. A publish is never sent twice.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::gateway::Gateway;
use super::http::{self, PATIENCE, Response};
use super::zips;

/// Between two requests of a worker, so that the load leaves the machine to what is tested.
const PACE: Duration = Duration::from_millis(10);
/// Between two publishes.
const PUBLISH_PACE: Duration = Duration::from_millis(100);
/// How long the workers may take to get on.
const DEADLINE: Duration = Duration::from_secs(60);
/// So many failures are told.
const FAILURES_TOLD: usize = 10;

/// What the load came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    /// Sent once more, of the `ok`: see above.
    pub(crate) retried: u64,
    pub(crate) failed: u64,
    /// The first failures.
    pub(crate) failures: Vec<String>,
}

/// Workers at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    plain: SocketAddr,
    secure: SocketAddr,
    tls: Arc<ClientConfig>,
    /// Targets, and what they answer.
    known: Vec<(String, Vec<u8>)>,
    /// What is published: a module of this load's own, since a version is published once.
    module: String,
    /// The publisher's credentials, as Basic takes them.
    basic: String,
    stop: AtomicBool,
    retried: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
    /// A worker each.
    ok: Vec<AtomicU64>,
}

/// How a worker goes about it.
#[derive(Clone, Copy, Debug)]
enum Way {
    Get { tls: bool, kept: bool },
    Publish,
}

const WAYS: [Way; 5] = [
    Way::Get { tls: false, kept: true },
    Way::Get { tls: false, kept: false },
    Way::Get { tls: true, kept: true },
    Way::Get { tls: true, kept: false },
    Way::Publish,
];

impl Load {
    /// Asks for each of `targets` once, which must be 200, and then begins; versions of a new module of `corp.example.com` are
    /// published to `owner`.
    #[track_caller]
    pub(crate) fn start(gateway: &Gateway, targets: &[&str], owner: &'static str) -> Self {
        let known = targets.iter().map(|target| {
            let response = gateway.ask("GET", target, &[]);
            assert_eq!(response.status, 200, "{target}: {}", response.body_text());
            ((*target).to_owned(), response.body)
        });
        let https: SocketAddr = gateway.https_url().trim_start_matches("https://").parse().expect("an address");
        let shared = Arc::new(Shared {
            plain: gateway.address(),
            secure: https,
            tls: trusting(&gateway.data_dir().join("tls/ca.pem")),
            known: known.collect(),
            module: format!("corp.example.com/load{}", getrandom::u32().expect("randomness")),
            basic: STANDARD.encode(format!("admin:{}", gateway.admin_token())),
            stop: AtomicBool::new(false),
            retried: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
            ok: WAYS.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let spawn = |(i, way): (usize, &Way)| {
            let (shared, way) = (Arc::clone(&shared), *way);
            thread::spawn(move || shared.work(i, way, owner))
        };
        let workers = WAYS.iter().enumerate().map(spawn).collect();
        Self { shared, workers }
    }

    /// Waits until every worker has had `more` right answers from now on, or something has failed.
    #[track_caller]
    pub(crate) fn wait_for(&self, more: u64) {
        let deadline = Instant::now() + DEADLINE;
        let before: Vec<u64> = self.shared.ok.iter().map(|ok| ok.load(Ordering::SeqCst)).collect();
        let behind = |(ok, before): (&AtomicU64, &u64)| ok.load(Ordering::SeqCst) < before + more;
        while self.shared.ok.iter().zip(&before).any(behind) && self.shared.failed.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < deadline, "the load does not get on: {:?}", self.shared.tally());
            thread::sleep(PACE);
        }
    }

    /// Ends the load, when what is under way has its answer.
    pub(crate) fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers {
            worker.join().expect("a worker ends");
        }
        self.shared.tally()
    }
}

impl Shared {
    fn tally(&self) -> Tally {
        Tally {
            ok: self.ok.iter().map(|ok| ok.load(Ordering::SeqCst)).sum(),
            retried: self.retried.load(Ordering::SeqCst),
            failed: self.failed.load(Ordering::SeqCst),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn work(&self, worker: usize, way: Way, owner: &str) {
        let mut kept = None;
        for turn in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let outcome = match way {
                Way::Get { tls, kept: keep } => self.get(turn, tls, keep, &mut kept),
                Way::Publish => self.publish(turn, owner),
            };
            match outcome {
                Ok(()) => drop(self.ok[worker].fetch_add(1, Ordering::SeqCst)),
                Err(why) => {
                    self.failed.fetch_add(1, Ordering::SeqCst);
                    let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    if failures.len() < FAILURES_TOLD {
                        failures.push(format!("{way:?}: {why}"));
                    }
                }
            }
            thread::sleep(if matches!(way, Way::Publish) { PUBLISH_PACE } else { PACE });
        }
    }

    fn get(&self, turn: usize, tls: bool, keep: bool, kept: &mut Option<Counted>) -> Result<(), String> {
        let (target, right) = &self.known[turn % self.known.len()];
        let connection = if keep { "keep-alive" } else { "close" };
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", self.plain);
        let mut stream = None;
        let mut response = None;
        if let Some(mut old) = kept.take() {
            let before = old.received;
            match http::exchange(&mut old, request.as_bytes()) {
                Err(error) if old.received == before && is_close(&error) => drop(self.retried.fetch_add(1, Ordering::SeqCst)),
                other => (stream, response) = (Some(old), Some(other)),
            }
        }
        let response = match response {
            Some(response) => response,
            None => self.connect(tls).and_then(|new| http::exchange(stream.insert(new), request.as_bytes())),
        };
        let response = response.map_err(|e| format!("{target}: {e}"))?;
        if response.status != 200 || response.body != *right {
            return Err(format!("{target}: {}: {} bytes: {:?}", response.status, response.body.len(), start_of(&response)));
        }
        *kept = stream.filter(|_| keep && !response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")));
        Ok(())
    }

    fn publish(&self, turn: usize, owner: &str) -> Result<(), String> {
        let version = format!("v1.0.{turn}");
        let (name, go_mod) = (format!("{}@{version}/go.mod", self.module), format!("module {}\n", self.module));
        let zip = zips::zip([(name.as_str(), go_mod.as_bytes())]);
        let head = format!(
            "PUT /api/packages/{owner}/go/upload HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.plain,
            self.basic,
            zip.len()
        );
        let sent = self.connect(false).and_then(|mut stream| http::exchange(&mut stream, &[head.as_bytes(), &zip].concat()));
        let response = sent.map_err(|e| format!("publish {version}: {e}"))?;
        if response.status == 201 { Ok(()) } else { Err(format!("publish {version}: {}: {:?}", response.status, start_of(&response))) }
    }

    fn connect(&self, tls: bool) -> io::Result<Counted> {
        let tcp = TcpStream::connect(if tls { self.secure } else { self.plain })?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let inner: Box<dyn Duplex> = if tls {
            let name = ServerName::from(self.secure.ip());
            let client = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(client, tcp))
        } else {
            Box::new(tcp)
        };
        Ok(Counted { inner, received: 0 })
    }
}

/// The peer has closed, rather than been slow.
fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn start_of(response: &Response) -> String {
    response.body_text().chars().take(200).collect()
}

/// Trusts this authority alone.
fn trusting(ca: &std::path::Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let cert = rustls::pki_types::CertificateDer::from_pem_file(ca).unwrap_or_else(|e| panic!("{}: {e}", ca.display()));
    roots.add(cert).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Arc::new(config.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots).with_no_client_auth())
}

trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A connection, and how many bytes came.
struct Counted {
    inner: Box<dyn Duplex>,
    received: u64,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.received += got as u64;
        Ok(got)
    }
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[test]
fn a_load_fails_where_nobody_listens_and_not_where_somebody_does() {
    let mut gateway = Gateway::builder().config("[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n[owners.default]\n").start();
    let load = Load::start(&gateway, &["/"], "default");
    load.wait_for(3);
    let tally = load.stop();
    assert!(tally.failed == 0 && tally.retried == 0 && tally.ok >= 15, "{tally:?}");

    let load = Load::start(&gateway, &["/"], "default");
    // Its own log of versions begins anew, and a version is published once.
    gateway.terminate();
    while load.shared.failed.load(Ordering::SeqCst) < 3 {
        thread::sleep(PACE);
    }
    let tally = load.stop();
    assert!(tally.failures.iter().any(|why| why.contains("refused")), "{tally:?}");
}
