//! A connection's socket as Pingora sees it: counts what comes in, bounds a request head, holds back a response head until its body
//! follows, and fails a write that makes no progress, or makes it too slowly.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

use super::acknowledged::Acknowledged;
use super::patience::Patience;

/// Most bytes that are held back while corked: a response head with room to spare.
const HELD_MAX: usize = 64 << 10;

/// Most slices of one write: what is held, and what Pingora or rustls pass at once.
const SLICES_MAX: usize = 16;

/// What the socket and the requests on it tell each other. Pingora owns the socket; this is the way to it.
#[derive(Debug)]
pub(super) struct Wire {
    /// Bytes that came in, of TLS records where there is TLS.
    received: AtomicU64,
    /// The value of `received` from which reads are refused.
    refuse_at: AtomicU64,
    /// Writes are held back.
    corked: AtomicBool,
    /// Closing resets the connection.
    reset: AtomicBool,
}

impl Wire {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            received: AtomicU64::new(0),
            refuse_at: AtomicU64::new(u64::MAX),
            corked: AtomicBool::new(false),
            reset: AtomicBool::new(false),
        })
    }

    /// Bytes that came in so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// From here on at most about `limit` bytes are read, until [`Self::end_head`].
    pub(super) fn begin_head(&self, limit: u64) {
        self.refuse_at.store(self.received().saturating_add(limit), Ordering::Relaxed);
    }

    /// Reads are free again; whether they had been refused.
    pub(super) fn end_head(&self) -> bool {
        self.received() >= self.refuse_at.swap(u64::MAX, Ordering::Relaxed)
    }

    /// Holds writes back until the next one after `cork(false)`, or a flush: head and body then leave in one system call.
    pub(super) fn cork(&self, on: bool) {
        self.corked.store(on, Ordering::Relaxed);
    }

    /// Makes the close a reset: for a body that only the close delimits, and which is not whole.
    pub(super) fn reset_on_close(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }
}

/// A connected socket.
#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Io {
    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(io) => io.as_fd(),
            Self::Unix(io) => io.as_fd(),
        }
    }
}

/// The socket, as Pingora's `IO`.
pub(super) struct Conn {
    io: Io,
    wire: Arc<Wire>,
    /// Written by Pingora, not yet by us.
    held: BytesMut,
    /// With whoever is to read what is written.
    patience: Patience,
    /// What the client's kernel has of it.
    acknowledged: Acknowledged,
    /// While a write waits: since when, and until when it may.
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Conn {
    /// `stall`: how long a write may make no progress, and be too slow on average.
    pub(super) fn new(io: Io, wire: Arc<Wire>, stall: Duration) -> Self {
        Self { io, wire, held: BytesMut::new(), patience: Patience::new(stall), acknowledged: Acknowledged::default(), waits: None }
    }

    /// Writes what is held and then `bufs`, together; returns how many bytes of `bufs` went.
    fn poll_out(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let held = self.held.len();
            if held == 0 && bufs.iter().all(|buf| buf.is_empty()) {
                return Poll::Ready(Ok(0));
            }
            let wrote = if held == 0 {
                self.io.poll_write_vectored(cx, bufs)
            } else {
                let mut all = [IoSlice::new(&[]); SLICES_MAX];
                let n = bufs.len().min(SLICES_MAX - 1);
                all[0] = IoSlice::new(&self.held);
                all[1..=n].copy_from_slice(&bufs[..n]);
                self.io.poll_write_vectored(cx, &all[..=n])
            };
            let Poll::Ready(wrote) = wrote else { return self.poll_stalled(cx).map(Err) };
            let wrote = wrote?;
            if let Some((since, _)) = self.waits.take() {
                let moved = self.progress().unwrap_or(wrote as u64);
                self.patience.moved(since.elapsed(), moved);
            } else if !self.acknowledged.is_told() {
                self.patience.moved(Duration::ZERO, wrote as u64);
            }
            match wrote {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n if n < held => self.held.advance(n),
                n => {
                    self.held.clear();
                    if n > held || bufs.iter().all(|buf| buf.is_empty()) {
                        return Poll::Ready(Ok(n - held));
                    }
                }
            }
        }
    }

    /// A write waits: is that too long?
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if let Some((since, timer)) = &mut self.waits {
                ready!(timer.as_mut().poll(cx));
                // The kernel takes more only when much has gone: it may have gone all the time.
                let waited = since.elapsed();
                let moved = self.progress().unwrap_or_default();
                self.patience.moved(waited, moved);
                if self.patience.left().is_zero() {
                    return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not read, or too slowly"));
                }
            } else {
                // What went while nothing waited may be read in the next wait.
                let moved = self.progress().unwrap_or_default();
                self.patience.moved(Duration::ZERO, moved);
            }
            self.waits = Some((Instant::now(), Box::pin(tokio::time::sleep(self.patience.left()))));
        }
    }

    /// Bytes that reached the client since this was asked last; `None` where the kernel does not tell.
    fn progress(&mut self) -> Option<u64> {
        let Io::Tcp(io) = &self.io else { return None };
        let moved = self.acknowledged.since_last(io);
        self.patience.unheard(self.acknowledged.unheard());
        moved
    }

    /// Whether `len` more bytes are to be held back rather than written.
    fn holds(&self, len: usize) -> bool {
        self.wire.corked.load(Ordering::Relaxed) && self.held.len() + len <= HELD_MAX
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.wire.reset.load(Ordering::Relaxed) {
            // Should this fail, the close is an ordinary one.
            let _ = rustix::net::sockopt::set_socket_linger(self.io.as_fd(), Some(Duration::ZERO));
        }
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Pingora logs this beside errors: the descriptor is enough.
        write!(f, "Conn({})", self.io.as_fd().as_raw_fd())
    }
}

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.wire.received() >= self.wire.refuse_at.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "request head too large")));
        }
        let before = buf.filled().len();
        let read = match &mut self.io {
            Io::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Io::Unix(io) => Pin::new(io).poll_read(cx, buf),
        };
        let got = buf.filled().len() - before;
        self.wire.received.fetch_add(got as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds(buf.len()) {
            self.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        self.poll_out(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.holds(len) {
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            return Poll::Ready(Ok(len));
        }
        self.poll_out(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            ready!(self.poll_out(cx, &[]))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        match &mut self.io {
            Io::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Io::Unix(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for Conn {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Conn {
    fn id(&self) -> UniqueIDType {
        self.io.as_fd().as_raw_fd()
    }
}

// Pingora asks these for its own logs; the session has them from elsewhere.
impl Ssl for Conn {}
impl Peek for Conn {}
impl GetTimingDigest for Conn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}
impl GetProxyDigest for Conn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}
impl GetSocketDigest for Conn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::READ_RATE_MIN;
    use super::*;
    use tokio::io::AsyncReadExt;

    fn pair(stall: Duration) -> (Conn, Arc<Wire>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let wire = Wire::new();
        (Conn::new(Io::Unix(ours), wire.clone(), stall), wire, theirs)
    }

    #[tokio::test]
    async fn what_was_held_back_leaves_first_and_whole() {
        let (mut conn, wire, mut theirs) = pair(Duration::from_secs(10));
        let head = vec![b'h'; HELD_MAX - 1];
        let bodies: Vec<Vec<u8>> = (0..20u8).map(|i| vec![i; 50_000]).collect();
        let expected = [head.clone(), bodies.concat(), b"tail".to_vec()].concat();
        let writer = tokio::spawn(async move {
            wire.cork(true);
            conn.write_all(&head).await.unwrap();
            wire.cork(false);
            let mut sent = 0;
            let all: Vec<u8> = bodies.concat();
            while sent < all.len() {
                // More slices than one write takes.
                let slices: Vec<IoSlice<'_>> = all[sent..].chunks(10_000).map(IoSlice::new).collect();
                sent += conn.write_vectored(&slices).await.unwrap();
            }
            wire.cork(true);
            conn.write_all(b"tail").await.unwrap();
            conn.flush().await.unwrap();
        });
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert!(got == expected);
        writer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails_after_the_stall_time() {
        let stall = Duration::from_secs(7);
        let (mut conn, _wire, _theirs) = pair(stall);
        let began = tokio::time::Instant::now();
        let error = conn.write_all(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= stall && began.elapsed() < 2 * stall);
    }

    /// Whether a client is served whole that reads all that there is at this part of the slowest rate.
    async fn is_served_at(parts: u32, of: u32) -> bool {
        // What is accepted before anybody reads, and so what is read at a time.
        let (mut full, _wire, _theirs) = pair(Duration::from_secs(1));
        let mut room = 0;
        while let Ok(n) = full.write(&[0; 4096]).await {
            room += n as u32;
        }
        let every = Duration::from_secs(1) * room / READ_RATE_MIN as u32 * of / parts;
        let (mut conn, _wire, theirs) = pair(every * 5 / 4);
        let reader = tokio::spawn(async move {
            let mut scrap = vec![0; 64 << 10];
            loop {
                tokio::time::sleep(every).await;
                loop {
                    match theirs.try_read(&mut scrap) {
                        Ok(0) => return,
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
            }
        });
        let served = async {
            for _ in 0..16 * room / 4096 {
                conn.write_all(&[0; 4096]).await?;
            }
            io::Result::Ok(())
        };
        let served = served.await.is_ok();
        drop(conn);
        reader.await.unwrap();
        served
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_too_slowly_on_average_is_cut_and_nobody_else() {
        assert!(!is_served_at(1, 2).await, "half as fast as must be");
        assert!(is_served_at(2, 1).await, "twice as fast");
    }

    /// A client's receive buffer, bytes.
    type Buffer = Option<usize>;

    /// Whether somebody on a TCP connection, tuned as the listeners tune it, is served whole who reads so many bytes every so many
    /// seconds. Else, after how long it was cut.
    async fn over_tcp(buffer: Buffer, bytes: usize, every: u64) -> Result<(), Duration> {
        let listener = super::super::bind::tcp("here", "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        if let Some(buffer) = buffer {
            socket2::SockRef::from(&socket).set_recv_buffer_size(buffer).unwrap();
        }
        let mut theirs = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        let mut conn = Conn::new(Io::Tcp(ours), Wire::new(), Duration::from_secs(60));
        let reader = tokio::spawn(async move {
            let mut scrap = vec![0; bytes];
            loop {
                tokio::time::sleep(Duration::from_secs(every)).await;
                if theirs.read_exact(&mut scrap).await.is_err() {
                    return;
                }
            }
        });
        let began = Instant::now();
        let served = conn.write_all(&vec![0; 4 << 20]).await.map_err(|_| began.elapsed());
        reader.abort();
        served
    }

    #[tokio::test(start_paused = true)]
    async fn over_tcp_a_reader_lives_that_reads_as_fast_as_must_be() {
        for buffer in [None, Some(1 << 20)] {
            for (bytes, every) in [(1331, 1), (2 << 10, 1), (3 << 10, 1), (80 << 10, 8), (60 << 10, 50)] {
                assert_eq!(over_tcp(buffer, bytes, every).await, Ok(()), "{bytes} bytes every {every} s, {buffer:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn over_tcp_whoever_reads_slowly_or_never_is_cut_in_bounded_time() {
        let most = Duration::from_secs(60 + super::super::acknowledged::UNHEARD_MAX / READ_RATE_MIN);
        for buffer in [None, Some(1 << 20)] {
            for (bytes, every) in [(64, 1), (1, 10_000)] {
                let lived = over_tcp(buffer, bytes, every).await.unwrap_err();
                assert!(lived >= Duration::from_secs(60) && lived < most * 9 / 8, "{lived:?}: {bytes} bytes every {every} s, {buffer:?}");
            }
        }
    }

    #[tokio::test]
    async fn no_more_than_a_head_is_read_while_one_is_expected() {
        let (mut conn, wire, mut theirs) = pair(Duration::from_secs(10));
        theirs.write_all(&[b'x'; 100]).await.unwrap();
        wire.begin_head(10);
        let mut buf = [0; 10];
        conn.read_exact(&mut buf).await.unwrap();
        assert!(conn.read(&mut buf).await.is_err());
        assert!(wire.end_head());
        assert_eq!(conn.read(&mut buf).await.unwrap(), 10);
        wire.begin_head(100);
        assert!(!wire.end_head());
        assert_eq!(wire.received(), 20);
    }
}
