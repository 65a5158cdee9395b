//! The real binary on loopback, and a client that asks it on one connection.

use std::fs;
use std::io::{BufRead as _, BufReader, Cursor, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const DEADLINE: Duration = Duration::from_secs(30);

/// A module zip of this path, v1.0.0.
pub(crate) fn module(path: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(format!("{path}@v1.0.0/go.mod"), SimpleFileOptions::default()).expect("an entry");
    zip.write_all(format!("module {path}\n").as_bytes()).expect("write");
    zip.finish().expect("finish").into_inner()
}

/// The binary, killed when this is dropped.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// A header line.
    pub(crate) admin: String,
}

impl Gateway {
    /// Starts it with these settings, and its data in `data/` of the folder.
    pub(crate) fn start(folder: &Path, settings: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let config = folder.join("modgate.toml");
        fs::write(&config, format!("server.listen = [\"{address}\"]\nlog.access = false\n{settings}")).expect("write the settings");
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

    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        Connection { stream: BufReader::new(stream), body: Vec::new() }
    }

    /// Publishes an empty module, v1.0.0, at the owner `team`.
    pub(crate) fn publish(&self, path: &str) {
        let put = self.connect().ask("PUT", "/api/packages/team/go/upload", &self.admin, &module(path));
        assert_eq!(put, 201, "publishing {path}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Connection {
    /// The status, once the whole answer is there.
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> u16 {
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
