//! The binary at its end: what is under way is finished, a balancer sees that it is not ready, and what does not end in time is cut.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support;
use crate::support::gateway::Gateway;
use crate::support::http::{self, PATIENCE, Response};
use crate::support::zips;

/// Of an answer: more than the two kernels' buffers take, so that its sending waits for its reader.
const LARGE: usize = 24 << 20;
const OPEN: &str = "[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n[owners.default]\nvisibility = \"public\"\n";
const MODULE: &str = "/corp.example.com/large/@v/v1.0.0.zip";

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A module zip of a version, whose size is about [`LARGE`] and does not shrink on its way.
fn large_zip(version: &str) -> Vec<u8> {
    let mut noise = vec![0; LARGE];
    getrandom::fill(&mut noise).expect("randomness");
    let name = |file: &str| format!("corp.example.com/large@{version}/{file}");
    zips::zip([(name("go.mod").as_str(), b"module corp.example.com/large\n" as &[u8]), (name("noise").as_str(), &noise)])
}

/// The head of a publish by the admin, with `Expect: 100-continue`.
fn publish_head(gateway: &Gateway, len: usize) -> String {
    let basic = STANDARD.encode(format!("admin:{}", gateway.admin_token()));
    format!(
        "PUT /api/packages/default/go/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {basic}\r\nContent-Length: {len}\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
}

fn publish(gateway: &Gateway, zip: &[u8]) {
    let mut stream = begin_publish(gateway, zip.len());
    let reply = http::exchange(&mut stream, zip).expect("an answer");
    assert_eq!(reply.status, 201, "{}", reply.body_text());
}

/// A publish whose body the gateway waits for.
fn begin_publish(gateway: &Gateway, len: usize) -> TcpStream {
    let mut stream = connect(gateway.address());
    stream.write_all(publish_head(gateway, len).as_bytes()).expect("send the head");
    assert!(head(&mut stream).starts_with("HTTP/1.1 100 "));
    stream
}

/// A download of which the head has come.
fn begin_download(gateway: &Gateway) -> (TcpStream, usize) {
    let mut stream = connect(gateway.address());
    stream.write_all(format!("GET {MODULE} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).expect("ask");
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let len = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|len| len.parse().ok()));
    (stream, len.expect("a length"))
}

fn head(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        all.push(byte[0]);
    }
    String::from_utf8(all).expect("a head in UTF-8")
}

/// `/readyz` over a connection that stays open.
fn ready(stream: &mut TcpStream) -> io::Result<Response> {
    http::exchange(stream, b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// Waits until the gateway has taken notice of its signal.
fn wait_until_draining(balancer: &mut TcpStream) {
    while ready(balancer).expect("an answer while it drains").status != 503 {}
}

#[test]
fn what_is_under_way_is_finished_and_a_balancer_sees_not_ready_meanwhile() {
    let mut gateway = Gateway::builder().config(OPEN).start();
    let (first, second) = (large_zip("v1.0.0"), large_zip("v1.1.0"));
    publish(&gateway, &first);
    let mut balancer = connect(gateway.admin_address());
    assert_eq!(ready(&mut balancer).expect("an answer").status, 200);
    let (mut download, len) = begin_download(&gateway);
    let mut upload = begin_publish(&gateway, second.len());
    upload.write_all(&second[..second.len() / 2]).expect("send a half");

    gateway.ask_to_end();
    wait_until_draining(&mut balancer);
    // On a new connection too, and operations are answered; the public listeners are closed.
    let reply = http::get(gateway.admin_address(), "/readyz").expect("an answer while it drains");
    assert_eq!((reply.status, reply.body_text().as_str()), (503, "draining\n"));
    gateway.cli(&["claim", "list"]).ok();
    let refused = http::get(gateway.address(), "/healthz").expect_err("nobody is let in");
    assert!(matches!(refused.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset), "{refused}");

    let reply = http::exchange(&mut upload, &second[second.len() / 2..]).expect("an answer");
    assert_eq!(reply.status, 201, "{}", reply.body_text());
    let mut body = Vec::new();
    download.read_to_end(&mut body).expect("the rest");
    assert!(body.len() == len && body == first, "{} of {len} bytes", body.len());

    let status = gateway.terminate();
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(!gateway.log().contains("requests were cut"), "{}", gateway.log());
    assert!(http::get(gateway.admin_address(), "/readyz").is_err());
    gateway.start();
    let kept = gateway.ask("HEAD", "/corp.example.com/large/@v/v1.1.0.zip", &[]);
    assert_eq!(kept.header("content-length"), Some(second.len().to_string().as_str()));
}

#[test]
fn what_outlasts_the_drain_is_cut_and_the_log_says_so() {
    let mut gateway = Gateway::builder().config(OPEN).config("[server]\ndrain = \"1s\"\n").start();
    publish(&gateway, &large_zip("v1.0.0"));
    let (mut download, len) = begin_download(&gateway);
    let mut upload = begin_publish(&gateway, LARGE);

    let status = gateway.terminate();
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    let mut body = Vec::new();
    // However the end is told, it is before the end that was promised.
    drop(download.read_to_end(&mut body));
    assert!(body.len() < len, "{} of {len} bytes", body.len());
    let mut answer = Vec::new();
    drop(upload.read_to_end(&mut answer));
    assert_eq!(String::from_utf8_lossy(&answer), "");
    let log = gateway.log();
    assert!(log.contains("requests were cut"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains(r#""cut":true"#)).count(), 2, "{log}");
}

/// A gateway whose largest blob is a pipe: whoever reads it waits for what is written into it, and is waited for by whoever opens it to
/// write. Returns the pipe, and where the blob is.
fn with_a_blob_that_waits(gateway: &Gateway) -> (PathBuf, PathBuf) {
    publish(gateway, &large_zip("v1.0.0"));
    let blobs = support::files_below(&gateway.data_dir().join("blobs"));
    let len = |file: &String| fs::metadata(file).expect("a blob").len();
    let blob = PathBuf::from(blobs.iter().max_by_key(|file| len(file)).expect("a blob"));
    let aside = gateway.config_file().with_file_name("blob");
    fs::rename(&blob, &aside).expect("put the blob aside");
    mknodat(CWD, &blob, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a pipe");
    (blob, aside)
}

#[test]
fn a_verification_stops_in_the_middle_of_a_file_when_the_gateway_ends() {
    let mut gateway = Gateway::builder().config(OPEN).start();
    let (pipe, _) = with_a_blob_that_waits(&gateway);
    let verified = thread::scope(|scope| {
        let verifying = scope.spawn(|| gateway.cli(&["verify"]));
        let mut content = OpenOptions::new().write(true).open(&pipe).expect("open the pipe");
        gateway.ask_to_end();
        gateway.log_with(&[r#""message":"draining""#]);
        // As much as it wants.
        let deadline = Instant::now() + PATIENCE;
        while content.write_all(&[0; 1 << 10]).is_ok() {
            assert!(Instant::now() < deadline, "it reads on");
        }
        verifying.join().expect("an answer")
    });
    assert!(verified.code == Some(1) && verified.stderr.contains("not all was verified"), "{verified:?}");
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(!gateway.log().contains("requests were cut"), "{}", gateway.log());
}

#[test]
fn a_thread_that_hangs_on_the_disk_keeps_the_data_directory_from_nobody() {
    let mut gateway = Gateway::builder().config(OPEN).config("[server]\ndrain = \"1s\"\n").start();
    let (pipe, aside) = with_a_blob_that_waits(&gateway);
    let content = thread::scope(|scope| {
        scope.spawn(|| gateway.cli(&["verify"]));
        let content = OpenOptions::new().write(true).open(&pipe).expect("open the pipe");
        gateway.ask_to_end();
        content
    });
    assert_eq!(gateway.terminate().code(), Some(0), "{}", gateway.log());
    assert!(gateway.log().contains("requests were cut"), "{}", gateway.log());
    drop(content);
    fs::rename(&aside, &pipe).expect("put the blob back");
    gateway.start();
    gateway.cli(&["verify"]).ok();
}

#[test]
fn a_reader_of_a_backup_that_pauses_does_not_hold_up_the_end() {
    // Longer than this test waits.
    let mut gateway = Gateway::builder().config(OPEN).config("[server]\ndrain = \"10m\"\n").start();
    publish(&gateway, &large_zip("v1.0.0"));
    let mut backup = connect(gateway.admin_address());
    let ask = format!(
        "POST /admin/backup HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Length: 4\r\n\r\nnull",
        gateway.admin_token()
    );
    backup.write_all(ask.as_bytes()).expect("ask");
    assert!(head(&mut backup).starts_with("HTTP/1.1 200 "));
    assert_eq!(gateway.terminate().code(), Some(0), "{}", gateway.log());
    assert!(gateway.log().contains("requests were cut"), "{}", gateway.log());
}
