//! An upstream for tests, on loopback: it records what it is asked and misbehaves as told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use url::Url;

use super::{Breakers, Upstream};
use crate::config::{self, Config, Hop};
use crate::egress::{Gate, Policy};
use crate::observe::audit::Audit;
use crate::observe::metrics::{Metrics, UpstreamMetrics};
use crate::store::double::Double;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) head: String,
}

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// A whole answer.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, then nothing.
    Hang(Vec<u8>),
    /// The head, then the body for ever.
    Endless { head: Vec<u8>, body: Vec<u8> },
    /// A permit is taken before the rest.
    Gate(Arc<Semaphore>, Box<Act>),
    /// The first part, a permit, and then the second.
    Halves(Vec<u8>, Arc<Semaphore>, Vec<u8>),
}

impl Act {
    pub(crate) fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, content_type, body)
    }

    pub(crate) fn status(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: vec![("Content-Type".into(), content_type.into())], body: body.into() }
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::Answer { status: 302, headers: vec![("Location".into(), to.into())], body: Vec::new() }
    }

    /// A head that promises `len` bytes, `body`, and the end of the connection.
    pub(crate) fn lying(len: usize, body: &[u8]) -> Self {
        Self::Raw([format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").as_bytes(), body].concat())
    }
}

struct Shared {
    acts: Mutex<HashMap<String, Act>>,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

/// The upstream. What it was told nothing about is 404.
pub(crate) struct Fake {
    pub(crate) url: Url,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let shared = Arc::new(Shared { acts: Mutex::default(), seen: Mutex::default(), connections: Mutex::default() });
        let of = shared.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = tokio::spawn(converse(stream, of.clone()));
                of.connections.lock().unwrap().push(connection);
            }
        });
        Self { url, shared, accepting }
    }

    pub(crate) fn set(&self, target: &str, act: Act) {
        self.shared.acts.lock().unwrap().insert(target.to_owned(), act);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, target: &str) -> usize {
        self.seen().iter().filter(|s| s.target == target).count()
    }

    /// Nobody listens there any more, and open connections break.
    pub(crate) fn die(&self) {
        self.accepting.abort();
        self.shared.connections.lock().unwrap().drain(..).for_each(|c| c.abort());
    }

    pub(crate) fn hop(&self) -> Hop {
        Hop { url: self.url.clone(), any_error: false }
    }

    pub(crate) fn config(&self) -> config::Upstream {
        config(vec![self.hop()])
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.die();
    }
}

pub(crate) fn config(goproxy: Vec<Hop>) -> config::Upstream {
    config::Upstream {
        goproxy,
        sumdb: Some(config::Sumdb { name: "sum.example.org".into(), key: None, url: None }),
        verify: config::Sourced { value: config::Verify::Require, source: config::Source::Default },
        unverified: Vec::new(),
        connect_timeout: Duration::from_millis(500),
        stall_timeout: Duration::from_millis(500),
        proxy: None,
        ca_file: None,
        auth: Vec::new(),
    }
}

/// The way upstream of these settings. An upstream that is down is tried at each ask: its breakers' time flies.
pub(crate) fn upstream(config: &config::Upstream, gate: Arc<Gate>) -> Upstream {
    let asked = AtomicU64::new(0);
    let begun = Instant::now();
    let clock = move || begun + Duration::from_secs(3600 * asked.fetch_add(1, Ordering::Relaxed));
    Upstream::new(config, gate, Breakers::by(Arc::new(clock)), metrics()).unwrap()
}

/// Numbers that nobody reads.
pub(crate) fn metrics() -> UpstreamMetrics {
    Metrics::new().unwrap().upstream
}

/// A gate that lets out what is not hosted in `records` and not below corp.example.com.
pub(crate) fn gate(records: Arc<Double>) -> Arc<Gate> {
    let config = Config::from_toml("[private]\npatterns = [\"corp.example.com\"]\n").unwrap();
    Arc::new(Gate::new(Arc::new(Policy::new(&config, records)), Audit::default()))
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
        let target = head.split(' ').nth(1).unwrap().to_owned();
        shared.seen.lock().unwrap().push(Seen { target: target.clone(), head });
        let act = shared.acts.lock().unwrap().get(&target).cloned();
        let act = act.unwrap_or_else(|| Act::status(404, "text/plain", "not found: nobody told me\n"));
        if perform(&mut stream, act).await.is_none() {
            return;
        }
    }
}

/// `None`: the connection is to be closed.
async fn perform(stream: &mut TcpStream, act: Act) -> Option<()> {
    match act {
        Act::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            stream.write_all(&[head.as_bytes(), &body].concat()).await.ok()
        }
        Act::Raw(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
        Act::Hang(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            std::future::pending().await
        }
        Act::Endless { head, body } => {
            stream.write_all(&head).await.ok()?;
            loop {
                stream.write_all(&body).await.ok()?;
            }
        }
        Act::Gate(gate, act) => {
            gate.acquire().await.ok()?.forget();
            Box::pin(perform(stream, *act)).await
        }
        Act::Halves(first, gate, second) => {
            stream.write_all(&first).await.ok()?;
            gate.acquire().await.ok()?.forget();
            stream.write_all(&second).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
    }
}
