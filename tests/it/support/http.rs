//! HTTP/1.1 by hand: what a request looked like on the wire, byte for byte, and how to send one that no client library would.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a peer may keep a test waiting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Longest head that is read.
const HEAD_MAX: usize = 256 << 10;
/// Of a body without an end.
const ENDLESS_PIECE: usize = 64 << 10;
/// So many of them, 16 GiB, are as good as no end to a test, and a bound to one that is wrong.
const ENDLESS_PIECES: usize = 256 << 10;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The target, undecoded.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// When it is sent.
    pub(crate) framing: Framing,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Whole, as `Content-Length` promises.
    Whole,
    /// The connection is cut after that many bytes, of which `Content-Length` promises all.
    Cut(usize),
    /// Whole, while `Content-Length` says this; then the connection is cut.
    Declared(usize),
    /// In chunks, and after it zeros until the client goes away.
    Endless,
}

impl Response {
    /// A text/plain answer.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::of(status, "text/plain; charset=utf-8", body.into().into_bytes())
    }

    /// An answer of this type.
    pub(crate) fn of(status: u16, kind: &str, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("Content-Type".to_owned(), kind.to_owned())], body, framing: Framing::Whole }
    }

    /// Breaks off in the body.
    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.framing = Framing::Cut(after);
        self
    }

    /// With a false `Content-Length`.
    pub(crate) fn declaring(mut self, length: usize) -> Self {
        self.framing = Framing::Declared(length);
        self
    }

    /// Goes on and on after its body.
    pub(crate) fn endless(mut self) -> Self {
        self.framing = Framing::Endless;
        self
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub(crate) fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Writes it; `head` leaves the body out.
    pub(crate) fn write(&self, to: &mut impl Write, head: bool) -> io::Result<()> {
        let reason = ::http::StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown");
        let length = match self.framing {
            Framing::Whole | Framing::Cut(_) => format!("Content-Length: {}", self.body.len()),
            Framing::Declared(length) => format!("Content-Length: {length}"),
            Framing::Endless => "Transfer-Encoding: chunked".to_owned(),
        };
        let mut out = format!("HTTP/1.1 {} {reason}\r\n{length}\r\n", self.status);
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        to.write_all(out.as_bytes())?;
        if !head {
            self.write_body(to)?;
        }
        to.flush()?;
        if self.framing == Framing::Whole { Ok(()) } else { Err(io::Error::other("cut, as told")) }
    }

    fn write_body(&self, to: &mut impl Write) -> io::Result<()> {
        match self.framing {
            Framing::Whole | Framing::Declared(_) => to.write_all(&self.body),
            Framing::Cut(after) => to.write_all(&self.body[..after]),
            Framing::Endless => {
                // No chunk is empty: that would be the end.
                let mut piece = self.body.as_slice();
                for _ in 0..=ENDLESS_PIECES {
                    if !piece.is_empty() {
                        to.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                        to.write_all(piece)?;
                        to.write_all(b"\r\n")?;
                    }
                    piece = &[0; ENDLESS_PIECE];
                }
                Ok(())
            }
        }
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    headers.iter().map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect()
}

/// Reads until a blank line; `buffer` keeps what came after it. `None`: the peer closed before a first byte.
fn read_head(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = [0; 8192];
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        if buffer.len() > HEAD_MAX {
            return Err(io::Error::other("the head is too long"));
        }
        match from.read(&mut chunk)? {
            0 if buffer.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Reads the next request of a connection. A body, if one is declared, is read and dropped.
pub(crate) fn read_request(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let Some(head) = read_head(from, buffer)? else { return Ok(None) };
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&head).map_err(io::Error::other)?;
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    let request = Request { method: text(parsed.method), target: text(parsed.path), headers: owned(parsed.headers) };
    let length = request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    read_exactly(from, buffer, length)?;
    Ok(Some(request))
}

fn read_exactly(from: &mut impl Read, buffer: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    let mut body: Vec<u8> = buffer.drain(..length.min(buffer.len())).collect();
    let missing = (length - body.len()) as u64;
    if from.take(missing).read_to_end(&mut body)? < missing as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

/// Sends `request`, as it is, on `stream` and reads one answer to it. The request should ask for `Connection: close`.
pub(crate) fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> io::Result<Response> {
    super::secrets::plant_request(request);
    stream.write_all(request)?;
    stream.flush()?;
    let mut buffer = Vec::new();
    loop {
        let head = read_head(stream, &mut buffer)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&head).map_err(io::Error::other)?;
        let mut response =
            Response { status: parsed.code.unwrap_or(0), headers: owned(parsed.headers), body: Vec::new(), framing: Framing::Whole };
        if response.status == 100 {
            continue;
        }
        if request.starts_with(b"HEAD ") || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        response.body = read_body(stream, &mut buffer, &response)?;
        return Ok(response);
    }
}

fn read_body(stream: &mut impl Read, buffer: &mut Vec<u8>, response: &Response) -> io::Result<Vec<u8>> {
    if response.header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        let mut body = Vec::new();
        loop {
            let size = read_line(stream, buffer)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            body.extend(read_exactly(stream, buffer, size)?);
            read_line(stream, buffer)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(length) = response.header("content-length") {
        return read_exactly(stream, buffer, length.parse().map_err(io::Error::other)?);
    }
    let mut body = std::mem::take(buffer);
    stream.read_to_end(&mut body)?;
    Ok(body)
}

fn read_line(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<String> {
    let mut byte = [0];
    loop {
        if let Some(end) = buffer.windows(2).position(|w| w == b"\r\n") {
            let line: Vec<u8> = buffer.drain(..end + 2).collect();
            return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        stream.read_exact(&mut byte)?;
        buffer.push(byte[0]);
    }
}

/// Connects, sends `request` as it is, and reads the answer.
pub(crate) fn send(to: SocketAddr, request: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    exchange(&mut stream, request)
}

/// Asks for a target, as it is, with more headers.
pub(crate) fn ask(to: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    send(to, request.as_bytes())
}

/// GET of a target, as it is.
pub(crate) fn get(to: SocketAddr, target: &str) -> io::Result<Response> {
    ask(to, "GET", target, &[])
}
