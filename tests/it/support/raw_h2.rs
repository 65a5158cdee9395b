//! HTTP/2 by hand: header fields byte for byte as no client library would send them.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::gateway::Gateway;
use super::h2;
use super::http::PATIENCE;

/// Requests that are sent before their answers are read.
const AT_ONCE: usize = 50;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Header fields, pseudo-headers among them, in the order in which they are sent.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    /// The stream was reset, with this code.
    Reset(u32),
    /// The connection was closed over it.
    Closed,
}

impl Outcome {
    /// Refused, one way or another.
    pub(crate) fn is_refusal(self) -> bool {
        !matches!(self, Self::Status(status) if !(400..500).contains(&status))
    }
}

/// A client; connects anew after a request that ended its connection.
pub(crate) struct RawH2 {
    config: Arc<ClientConfig>,
    address: std::net::SocketAddr,
    connection: Option<Connection>,
}

struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    next_stream: u32,
}

/// The fields of an ordinary request.
pub(crate) fn fields(method: &str, authority: &str, path: &[u8]) -> Fields {
    let own = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    vec![own(":method", method.as_bytes()), own(":scheme", b"https"), own(":authority", authority.as_bytes()), own(":path", path)]
}

impl RawH2 {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self { config: h2::tls(gateway), address: gateway.https_address(), connection: None }
    }

    /// Sends all of these; outcomes in the same order. What only shared a connection with a request that ended it is sent again, alone.
    pub(crate) fn ask_all(&mut self, requests: &[Fields]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for chunk in requests.chunks(AT_ONCE) {
            let together = self.exchange(chunk);
            for (request, outcome) in chunk.iter().zip(together) {
                outcomes.push(if outcome == Outcome::Closed && chunk.len() > 1 { self.ask(request) } else { outcome });
            }
        }
        outcomes
    }

    pub(crate) fn ask(&mut self, request: &Fields) -> Outcome {
        self.exchange(std::slice::from_ref(request))[0]
    }

    fn exchange(&mut self, requests: &[Fields]) -> Vec<Outcome> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().expect("connect"),
        };
        let first = connection.next_stream;
        let mut outcomes = BTreeMap::new();
        let whole = connection.converse(requests, &mut outcomes);
        if whole.is_ok() {
            self.connection = Some(connection);
        }
        let id = |n: usize| first + 2 * u32::try_from(n).expect("few");
        (0..requests.len()).map(|n| outcomes.get(&id(n)).copied().unwrap_or(Outcome::Closed)).collect()
    }

    fn connect(&self) -> io::Result<Connection> {
        let tcp = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let tls = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        let mut connection = Connection { stream: StreamOwned::new(tls, tcp), next_stream: 1 };
        connection.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        // SETTINGS_HEADER_TABLE_SIZE 0: answers refer to nothing that was sent before.
        connection.frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])?;
        Ok(connection)
    }
}

impl Connection {
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// Ends well only if the connection can be used again.
    fn converse(&mut self, requests: &[Fields], outcomes: &mut BTreeMap<u32, Outcome>) -> io::Result<()> {
        let first = self.next_stream;
        for request in requests {
            let block: Vec<u8> = request.iter().flat_map(|(name, value)| literal(name, value)).collect();
            self.frame(HEADERS, END_STREAM | END_HEADERS, self.next_stream, &block)?;
            self.next_stream += 2;
        }
        self.stream.flush()?;
        let mut open: std::collections::BTreeSet<u32> = (0..requests.len()).map(|n| first + 2 * n as u32).collect();
        while !open.is_empty() {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]));
            let mut payload = vec![0; len];
            self.stream.read_exact(&mut payload)?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[])?,
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload)?,
                HEADERS => {
                    outcomes.entry(id).or_insert(Outcome::Status(status(&payload)));
                }
                DATA if len > 0 => self.frame(WINDOW_UPDATE, 0, 0, &u32::try_from(len).expect("a short frame").to_be_bytes())?,
                RST_STREAM => {
                    let code = payload.first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
                    outcomes.entry(id).or_insert(Outcome::Reset(code));
                    open.remove(&id);
                }
                GOAWAY => return Err(io::ErrorKind::ConnectionAborted.into()),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                open.remove(&id);
            }
            self.stream.flush()?;
        }
        Ok(())
    }
}

/// A literal field without indexing (RFC 7541, 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        integer(text.len(), &mut out);
        out.extend_from_slice(text);
    }
    out
}

/// An integer with a prefix of 7 bits (RFC 7541, 5.1).
fn integer(mut number: usize, out: &mut Vec<u8>) {
    if number < 127 {
        return out.push(number as u8);
    }
    out.push(127);
    number -= 127;
    while number >= 128 {
        out.push((number % 128) as u8 | 128);
        number /= 128;
    }
    out.push(number as u8);
}

/// `:status`, which comes first in an answer's fields.
fn status(block: &[u8]) -> u16 {
    // Changes of the table's size may come before it.
    let block = &block[block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        // A literal whose name is the table's eighth.
        [0x48 | 0x08 | 0x18, len, text @ ..] => {
            let text = &text[..usize::from(len & 0x7f)];
            let digits = if len & 0x80 == 0 { String::from_utf8_lossy(text).into_owned() } else { huffman_digits(text) };
            digits.parse().unwrap_or_else(|e| panic!("a status: {digits:?}: {e}"))
        }
        other => panic!("no status first: {other:02x?}"),
    }
}

/// Three digits of RFC 7541's Huffman code: 0 to 2 have five bits, 3 to 9 six.
fn huffman_digits(bytes: &[u8]) -> String {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| u32::from(byte >> n & 1)));
    let mut take = |n: usize, start: u32| bits.by_ref().take(n).fold(start, |code, bit| code * 2 + bit);
    let mut digits = String::new();
    for _ in 0..3 {
        let five = take(5, 0);
        let digit = if five < 3 { five } else { take(1, five) - 0b01_1001 + 3 };
        digits.push(char::from_digit(digit, 10).unwrap_or_else(|| panic!("no digit: {bytes:02x?}")));
    }
    digits
}

#[test]
fn statuses_are_read_in_every_form() {
    assert_eq!(status(&[0x8d]), 404);
    assert_eq!(status(&[0x20, 0x48, 3, b'4', b'0', b'1']), 401);
    // Examples of RFC 7541, C.6: 302 and 307.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), 302);
    assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), 307);
}
