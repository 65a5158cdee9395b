//! A server over a toy service, and the clients to try it with: raw sockets and curl.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use modgate::cache::Body;
use modgate::config::Limits;
use modgate::http::{BodyError, Bounds, Drained, Head, Reply, RequestBody, Server, Service, Summary, local_ca};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const BIG: u64 = 64 << 20;

/// What the toy's answers are made of, by path.
pub(crate) struct Toy {
    pub(crate) ended: mpsc::UnboundedSender<Summary<String>>,
    /// `/gate` tells that it was entered, and waits.
    pub(crate) entered: Arc<Notify>,
    pub(crate) gate: Arc<Notify>,
}

fn stream(len: Option<u64>, pieces: Vec<io::Result<Bytes>>) -> Body {
    Body::Stream { len, stream: futures::stream::iter(pieces).boxed() }
}

fn file(len: usize, promised: u64) -> Body {
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![b'f'; len], 0).unwrap();
    Body::File { file: Arc::new(file).into(), from: 0, len: promised }
}

fn broken() -> io::Result<Bytes> {
    Err(io::Error::other("upstream broke"))
}

#[async_trait]
impl Service for Toy {
    type Note = String;

    async fn call(&self, head: Head, body: &mut dyn RequestBody) -> Reply<String> {
        let mut reply = match head.path.as_str() {
            "/" => Reply::line(200, "hello"),
            "/echo" => {
                let mut got = 0;
                loop {
                    match body.next().await {
                        Ok(Some(piece)) => got += piece.len(),
                        Ok(None) => break Reply::line(200, got),
                        Err(error @ (BodyError::Stalled | BodyError::TooSlow)) => break Reply::line(408, error),
                        Err(error @ (BodyError::Gone | BodyError::Malformed)) => break Reply::line(400, error),
                    }
                }
            }
            "/deny" => Reply::line(401, "sign in"),
            "/head" => Reply::line(200, format_args!("{} {} {:?}", head.method, head.path, head.listener)),
            "/empty" => Reply::new(200, Bytes::new()),
            "/204" => Reply::new(204, "never sent"),
            "/304" => Reply::new(304, "never sent"),
            "/file" => Reply::new(200, file(1_000_000, 1_000_000)),
            "/short-file" => Reply::new(200, file(700_000, 1_000_000)),
            "/stream" => {
                Reply::new(200, stream(None, vec![Ok(Bytes::from_static(b"one ")), Ok(Bytes::new()), Ok(Bytes::from_static(b"two"))]))
            }
            "/broken" => Reply::new(200, stream(None, vec![Ok(Bytes::from_static(b"one ")), broken()])),
            "/broken-sized" => Reply::new(200, stream(Some(100), vec![Ok(Bytes::from_static(b"one ")), broken()])),
            "/too-short" => Reply::new(200, stream(Some(100), vec![Ok(Bytes::from_static(b"one "))])),
            "/too-long" => Reply::new(200, stream(Some(3), vec![Ok(Bytes::from_static(b"one "))])),
            "/big" => {
                let piece = Bytes::from(vec![b'b'; 256 << 10]);
                let pieces = (0..BIG / piece.len() as u64).map(move |_| Ok(piece.clone()));
                Reply::new(200, Body::Stream { len: Some(BIG), stream: futures::stream::iter(pieces).boxed() })
            }
            "/gate" => {
                self.entered.notify_one();
                self.gate.notified().await;
                Reply::line(200, "through the gate")
            }
            "/panic" => panic!("a bug in {}", head.path),
            "/status-99" => Reply::new(99, "nonsense"),
            _ => Reply::line(404, "no such thing"),
        };
        reply.headers.push(("x-request-id".parse().unwrap(), "not-this-one".parse().unwrap()));
        reply.note = Some(format!("note of {}", head.path));
        reply
    }

    fn done(&self, summary: Summary<String>) {
        let _ = self.ended.send(summary);
    }
}

/// A running server; ends with the test.
pub(crate) struct Running {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) socket: std::path::PathBuf,
    pub(crate) ca: String,
    pub(crate) entered: Arc<Notify>,
    pub(crate) gate: Arc<Notify>,
    pub(crate) ended: mpsc::UnboundedReceiver<Summary<String>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) bounds: watch::Sender<Bounds>,
    pub(crate) server: JoinHandle<Drained>,
    pub(crate) dir: TempDir,
}

pub(crate) fn limits() -> Limits {
    Limits {
        upload: 1 << 20,
        header: 4096,
        header_time: Duration::from_millis(1000),
        idle: Duration::from_millis(1500),
        stall: Duration::from_millis(1000),
        connections: 100,
        queue: Duration::from_secs(1),
    }
}

pub(crate) async fn start() -> Running {
    start_with(limits(), Duration::from_secs(5)).await
}

pub(crate) async fn start_with(limits: Limits, drain: Duration) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let tls_folder = local_ca::folder(dir.path());
    let local = local_ca::ensure(&tls_folder, &[]).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = dir.path().join("admin.sock");
    let server = Server {
        plain: vec![any],
        tls: vec![any],
        certificates: Some(local.certificates()),
        admin_socket: Some(socket.clone()),
        ..Server::default()
    };
    let bound = server.bind(&limits).unwrap();
    let (plain, tls) = (bound.addresses().plain[0], bound.addresses().tls[0]);
    let (ended_tx, ended) = mpsc::unbounded_channel();
    let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let toy = Arc::new(Toy { ended: ended_tx, entered: entered.clone(), gate: gate.clone() });
    let (stop, stopped) = watch::channel(false);
    let (bounds, bounds_seen) = watch::channel(Bounds { limits: Arc::new(limits), drain });
    let server = tokio::spawn(bound.run(toy, stopped, bounds_seen));
    let ca = local_ca::ca_file(&tls_folder).to_str().unwrap().to_owned();
    Running { plain, tls, socket, ca, entered, gate, ended, stop, server, bounds, dir }
}

impl Running {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.plain).await.unwrap()
    }

    /// Sends `request` on a new connection and reads until the server closes, however it does.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// The next request that ended.
    pub(crate) async fn next_ended(&mut self) -> Summary<String> {
        within(self.ended.recv()).await.unwrap()
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.plain)
    }

    pub(crate) fn https(&self, path: &str) -> String {
        format!("https://{}{path}", self.tls)
    }

    /// curl, trusting our CA.
    pub(crate) async fn curl(&self, args: &[&str]) -> Curl {
        let mut all = vec!["--silent", "--show-error", "--include", "--max-time", "15", "--noproxy", "*", "--cacert", &self.ca];
        all.extend(args);
        let args: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let output =
            tokio::task::spawn_blocking(|| Command::new("curl").args(args).output().expect("these tests need curl")).await.unwrap();
        Curl::new(output)
    }
}

#[derive(Debug)]
pub(crate) struct Curl {
    pub(crate) exit: i32,
    /// Head and body.
    pub(crate) text: String,
    pub(crate) stderr: String,
}

impl Curl {
    fn new(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn answered(&self, status: u16, body: &str) {
        assert_eq!(self.exit, 0, "{}: {self:?}", self.stderr);
        assert_eq!(self.status(), Some(status), "{self:?}");
        assert!(self.text.ends_with(body), "{self:?}");
    }

    /// Of the last head: 1xx come before.
    pub(crate) fn status(&self) -> Option<u16> {
        let line = self.text.lines().rfind(|line| line.starts_with("HTTP/"))?;
        line.split(' ').nth(1)?.trim().parse().ok()
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

/// All until the end or a reset.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = within(stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// One response with a Content-Length.
pub(crate) async fn read_response(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    within(async {
        loop {
            assert_ne!(stream.read_buf(&mut all).await.unwrap(), 0, "closed after {:?}", String::from_utf8_lossy(&all));
            let text = String::from_utf8_lossy(&all);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let len = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= len.map_or(0, |len| len.trim().parse().unwrap()) {
                break text.into_owned();
            }
        }
    })
    .await
}

/// One line of plain text, and the connection closes.
#[track_caller]
pub(crate) fn assert_refused(response: &str, status: u16) {
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {response:?}");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    for line in ["content-type: text/plain; charset=utf-8", "x-content-type-options: nosniff", "connection: close", "x-request-id: "] {
        assert!(head.contains(line), "{line}: {response:?}");
    }
    assert!(body.ends_with('\n') && body.lines().count() == 1, "{response:?}");
}
