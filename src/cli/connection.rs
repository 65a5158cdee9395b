//! How a command reaches what it asks about: the server behind `admin.sock`, one named by `--server`, or,
//! where none answers, the store itself. A server that runs is found though the settings file is wrong: it has its settings.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::{Global, UsageError, out};
use crate::admin::{Foundation, OPERATOR, OperationError, Operations, SOCKET_FILE};
use crate::config::{self, Environment};
use crate::observe::audit::Actor;
use crate::observe::{chain, spawn_blocking};

/// Longest answer that is read, bytes: a page of the ledger is far below.
const ANSWER_MAX: u64 = 64 << 20;
/// Longest head of an answer, bytes.
const HEAD_MAX: u64 = 64 << 10;
/// How long a server may take to be reached. Answers have no bound: `verify` re-hashes everything.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the answer may take that tells what kind of server it is.
const PROBE: Duration = Duration::from_secs(10);

/// The file that every data directory has.
const FORMAT_FILE: &str = "format";

/// Where commands go.
pub enum Connection {
    /// A server's socket.
    Socket(PathBuf),
    /// A server's admin listener, and the token for it.
    Remote {
        /// host:port
        authority: String,
        /// An admin token.
        token: String,
    },
    /// No server: the store, opened here.
    Local(Box<Operations>),
}

impl Connection {
    /// Finds the server, or opens the store.
    pub async fn open(global: &Global) -> anyhow::Result<Self> {
        if let Some(authority) = authority(global)? {
            let token = std::env::var("MODGATE_TOKEN").ok().filter(|token| !token.is_empty());
            let token = token.context("--server needs an admin token in MODGATE_TOKEN")?;
            return Ok(Self::Remote { authority, token });
        }
        let config = match global.load(&[], &[]) {
            Ok(loaded) => loaded.config,
            Err(error) => return Ok(Self::Socket(in_spite_of(global, error).await?)),
        };
        let socket = config.data_dir.join(SOCKET_FILE);
        if answers(&socket).await {
            return Ok(Self::Socket(socket));
        }
        if is_unused(&config.data_dir) {
            // Made here it would belong to whoever asks, and the server might not be able to write to it.
            bail!("{} is no data directory yet: `modgate serve` makes it; --data-dir or --config names another", config.data_dir.display());
        }
        let (_, operations) = Foundation::look(config).await?;
        Ok(Self::Local(Box::new(operations)))
    }

    /// Asks one thing. The error is the server's own words.
    pub async fn call<T: DeserializeOwned>(&self, command: &str, args: &impl Serialize) -> anyhow::Result<T> {
        let args = serde_json::to_value(args)?;
        let answer = match self {
            Self::Local(operations) => match operations.call(command, args, &Actor::local(OPERATOR)).await {
                Err(OperationError::Bad(text)) => return Err(UsageError(text).into()),
                done => done?,
            },
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await.with_context(|| format!("{}", path.display()))?;
                exchange(stream, "localhost", None, command, &args).await?
            }
            Self::Remote { authority, token } => {
                let asked = exchange(connect(authority).await?, authority, Some(token), command, &args).await;
                match asked {
                    Err(error) if error.is::<NothingThere>() => {
                        let authority = authority.clone();
                        return Err(spawn_blocking(move || wrong_door(&authority, error)).await?);
                    }
                    asked => asked?,
                }
            }
        };
        Ok(serde_json::from_value(answer)?)
    }
}

impl Connection {
    /// Asks a running server for something long, to be read as it comes. Blocks.
    pub fn stream(&self, command: &str) -> anyhow::Result<Box<dyn Read>> {
        match self {
            Self::Local(_) => bail!("no server answers"),
            Self::Socket(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path).with_context(|| format!("{}", path.display()))?;
                streamed(stream, "localhost", None, command)
            }
            Self::Remote { authority, token } => {
                let stream = std::net::TcpStream::connect(authority).with_context(|| format!("cannot connect to {authority}"))?;
                streamed(stream, authority, Some(token), command).map_err(|error| wrong_door(authority, error))
            }
        }
    }
}

/// 404, in the server's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NothingThere(String);

/// What is told where there was nothing: that it was no operations listener that was asked, if so. Blocks.
fn wrong_door(authority: &str, error: anyhow::Error) -> anyhow::Error {
    if !error.is::<NothingThere>() || is_for_operations(authority).unwrap_or(false) {
        return error;
    }
    anyhow::anyhow!(
        "{authority} takes no commands: --server names the address of the gateway's server.admin_listen, and this is another; \
         on the gateway's own machine leave --server out"
    )
}

/// Whether what operators ask is answered there: numbers are shown nowhere else, and to everyone.
fn is_for_operations(authority: &str) -> io::Result<bool> {
    let mut stream = std::net::TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PROBE))?;
    stream.write_all(format!("HEAD /metrics HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(HEAD_MAX).read_to_end(&mut answer)?;
    Ok(matches!(split(&answer), Some((200, _))))
}

/// One HTTP/1.0 exchange: the answer ends with the connection.
fn streamed(mut stream: impl Read + Write + 'static, authority: &str, token: Option<&str>, command: &str) -> anyhow::Result<Box<dyn Read>> {
    stream.write_all(request("HTTP/1.0", authority, token, command, "null").as_bytes())?;
    let mut start = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk)?;
        start.extend_from_slice(&chunk[..n]);
        match split(&start) {
            Some((200, body)) => return Ok(Box::new(Read::chain(io::Cursor::new(body.to_vec()), stream))),
            Some((status, body)) => {
                let mut text = body.to_vec();
                stream.take(ANSWER_MAX).read_to_end(&mut text)?;
                return Err(refused(status, &text));
            }
            None if n == 0 || start.len() as u64 > HEAD_MAX => bail!("the server's answer is not HTTP"),
            None => {}
        }
    }
}

/// A command as a request.
fn request(version: &str, authority: &str, token: Option<&str>, command: &str, body: &str) -> String {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    format!(
        "POST /admin/{command} {version}\r\nHost: {authority}\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// host:port of `--server`, if it is given.
pub(super) fn authority(global: &Global) -> anyhow::Result<Option<String>> {
    let Some(text) = &global.server else { return Ok(None) };
    let url = url::Url::parse(text).map_err(|e| UsageError(format!("--server {text}: {e}")))?;
    let (Some(host), "http") = (url.host_str(), url.scheme()) else {
        return Err(UsageError("--server takes http://HOST:PORT, the server's admin_listen".to_owned()).into());
    };
    Ok(Some(format!("{host}:{}", url.port_or_known_default().unwrap_or(80))))
}

/// A connection to host:port, or why there is none; never waits for long.
pub(super) async fn connect(authority: &str) -> anyhow::Result<TcpStream> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(authority)).await;
    connecting.with_context(|| format!("{authority} does not answer"))?.with_context(|| format!("cannot connect to {authority}"))
}

/// Whether no server ever worked in this directory, or there is none.
pub(super) fn is_unused(data_dir: &Path) -> bool {
    let format = std::fs::symlink_metadata(data_dir.join(FORMAT_FILE));
    format.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The socket of the server that runs, where the settings are wrong: what is wrong goes to standard error, and is the error where none runs.
pub(super) async fn in_spite_of(global: &Global, error: anyhow::Error) -> anyhow::Result<PathBuf> {
    let Some(data_dir) = config::data_dir(&global.flags(&[], &[]), &Environment::of_process()) else {
        return Err(error.context("which data directory is meant cannot be told: --data-dir or MODGATE_DATA_DIR names it"));
    };
    let socket = data_dir.join(SOCKET_FILE);
    if !answers(&socket).await {
        return Err(error);
    }
    for problem in chain(error.as_ref()).lines() {
        out::tell(&format!("warning: {problem}"));
    }
    out::tell(&format!("warning: these settings are wrong; the gateway that runs in {} is asked, which has others", data_dir.display()));
    Ok(socket)
}

/// Whether a server listens at this socket.
async fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}

/// One HTTP/1.1 exchange on a connection of its own.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    token: Option<&str>,
    command: &str,
    args: &serde_json::Value,
) -> anyhow::Result<serde_json::Value> {
    stream.write_all(request("HTTP/1.1", authority, token, command, &serde_json::to_string(args)?).as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    let (status, body) = split(&answer).context("the server's answer is not HTTP")?;
    if status == 200 {
        return serde_json::from_slice(body).context("the server's answer is cut short or not JSON");
    }
    Err(refused(status, body))
}

/// The error that an answer is.
fn refused(status: u16, body: &[u8]) -> anyhow::Error {
    let text = String::from_utf8_lossy(body).trim_end().to_owned();
    match status {
        400 => UsageError(text).into(),
        404 => NothingThere(text).into(),
        _ => anyhow::Error::msg(text),
    }
}

/// Status and body of an answer with a Content-Length.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer).ok()? else { return None };
    Some((response.code?, &answer[head..]))
}
