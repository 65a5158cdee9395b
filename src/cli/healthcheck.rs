//! `modgate healthcheck`: for container engines and service managers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Global, connection, out};
use crate::admin::SOCKET_FILE;

/// How long the whole may take: a server that accepts and says nothing is not well.
const LONGEST: Duration = Duration::from_secs(10);
/// Longest answer that is read, bytes.
const ANSWER_MAX: u64 = 64 << 10;

/// Succeeds if the server behind `admin.sock`, or the one of `--server`, is ready. Needs no token.
pub fn run(global: &Global) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async { tokio::time::timeout(LONGEST, ask(global)).await });
    let answer = asked.with_context(|| format!("the server does not answer within {} s", LONGEST.as_secs()))??;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim_end();
    if !text.starts_with("HTTP/1.1 200 ") {
        bail!("not ready: {body}");
    }
    out::print(&format!("{body}\n"))?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(global: &Global) -> anyhow::Result<Vec<u8>> {
    if let Some(authority) = connection::authority(global)? {
        return ready(connection::connect(&authority).await?, &authority).await;
    }
    let socket = match global.load(&[], &[]) {
        Ok(loaded) => loaded.config.data_dir.join(SOCKET_FILE),
        Err(error) => connection::in_spite_of(global, error).await?,
    };
    let stream = UnixStream::connect(&socket).await.with_context(|| format!("no server answers at {}", socket.display()))?;
    ready(stream, "localhost").await
}

async fn ready(mut stream: impl AsyncRead + AsyncWrite + Unpin, authority: &str) -> anyhow::Result<Vec<u8>> {
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}
