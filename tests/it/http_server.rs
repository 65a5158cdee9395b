//! The HTTP server over a toy service: framing, refusals, early replies, cuts, listeners.

use std::os::unix::fs::PermissionsExt;

use modgate::http::{BindError, End, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::http_toy::*;

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_served_over_http_1_and_2() {
    let mut running = start().await;
    running.curl(&[&running.http("/")]).await.answered(200, "\r\n\r\nhello\n");
    running.curl(&["--http1.1", &running.https("/")]).await.answered(200, "\r\n\r\nhello\n");
    let h2 = running.curl(&["--http2", &running.https("/")]).await;
    h2.answered(200, "\r\n\r\nhello\n");
    assert!(h2.text.starts_with("HTTP/2 200"), "{h2:?}");
    for protocol in ["HTTP/1.1", "HTTP/1.1", "HTTP/2"] {
        let ended = running.next_ended().await;
        assert_eq!((ended.protocol, ended.status, ended.bytes_out, ended.end), (protocol, 200, 6, End::Complete));
        assert_eq!((ended.method.as_str(), ended.path.as_str(), ended.note.as_deref()), ("GET", "/", Some("note of /")));
        assert_eq!(ended.request_id.len(), 16);
        assert!(ended.peer.is_some_and(|peer| peer.ip().is_loopback()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_is_ours_and_the_head_is_as_sent() {
    let mut running = start().await;
    let request = "GET /head?secret=1 HTTP/1.1\r\nHost: go.example.com:80\r\nX-Request-Id: theirs\r\nConnection: close\r\n\r\n";
    let response = running.raw(request).await;
    let id = running.next_ended().await.request_id;
    assert!(response.to_ascii_lowercase().contains(&format!("x-request-id: {id}\r\n")), "{response}");
    assert_eq!(response.to_ascii_lowercase().matches("x-request-id").count(), 1);
    assert!(response.ends_with("GET /head Public { tls: false }\n"), "{response}");
    let h2 = running.curl(&["--http2", &running.https("/head?x")]).await;
    h2.answered(200, "GET /head Public { tls: true }\n");
    let absolute = running.raw("GET http://h/head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(absolute.ends_with("GET /head Public { tls: false }\n"), "{absolute}");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_with_a_line() {
    let mut running = start().await;
    let many_headers = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A:\r\n".repeat(300));
    let cases: &[(&str, u16)] = &[
        (&many_headers, 431),
        ("garbage\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n folded: y\r\n\r\n", 400),
        ("GET foo HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("PUT / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: h\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ];
    for (request, status) in cases {
        let response = running.raw(request).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {response:?}");
        assert_refused(&response, *status);
        let ended = running.next_ended().await;
        assert_eq!((ended.status, ended.note), (*status, None), "{request:?}");
        assert!(ended.detail.is_some(), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_holds_little_of_what_a_client_sent() {
    let mut running = start().await;
    running.raw(format!("GET /{} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "%00".repeat(1000))).await;
    assert!(running.next_ended().await.path.chars().count() <= 201);
    running.raw(format!("\u{1b}[31m{}\r\n\r\n", "x".repeat(3000))).await;
    let ended = running.next_ended().await;
    let detail = ended.detail.unwrap();
    assert!(detail.len() < 400 && !detail.contains('\u{1b}'), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_reach_the_service() {
    let running = start().await;
    let response = running.raw("BREW /head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(response.ends_with("BREW /head Public { tls: false }\n"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again() {
    let running = start().await;
    let mut stream = running.connect().await;
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        let response = read_response(&mut stream).await;
        assert!(response.to_ascii_lowercase().contains("connection: keep-alive\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nhello\n"), "{response}");
    }
    let upload = "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345";
    stream.write_all(upload.as_bytes()).await.unwrap();
    assert!(read_response(&mut stream).await.ends_with("\r\n\r\n5\n"));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let last = read_to_end(&mut stream).await;
    assert!(last.to_ascii_lowercase().contains("connection: close\r\n") && last.ends_with("hello\n"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_closes_unless_asked() {
    let running = start().await;
    let response = running.raw("GET / HTTP/1.0\r\n\r\n").await;
    assert!(response.ends_with("\r\n\r\nhello\n"), "{response}");
    let mut stream = running.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        assert!(read_response(&mut stream).await.ends_with("hello\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let running = start().await;
    let put = "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let last = "GET /head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let response = running.raw(format!("{GET}{put}{chunked}{last}")).await;
    let bodies: Vec<&str> = response.split("HTTP/1.1 200 OK").skip(1).map(|one| one.split_once("\r\n\r\n").unwrap().1).collect();
    assert_eq!(bodies, ["hello\n", "3\n", "2\n", "GET /head Public { tls: false }\n"], "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn length_and_chunks_together_close_the_connection() {
    let running = start().await;
    let smuggled = format!("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}");
    let response = running.raw(smuggled).await;
    assert_eq!(response.matches("HTTP/1.1").count(), 1, "{response}");
    assert!(response.ends_with("\r\n\r\n0\n"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_bodyless_statuses_carry_no_body() {
    let running = start().await;
    let mut stream = running.connect().await;
    for path in ["/", "/file", "/stream", "/broken", "/big", "/204", "/304", "/empty"] {
        stream.write_all(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        let head = {
            let mut all = Vec::new();
            while !all.ends_with(b"\r\n\r\n") {
                assert_ne!(within(stream.read_buf(&mut all)).await.unwrap(), 0, "{path}");
            }
            String::from_utf8(all).unwrap().to_ascii_lowercase()
        };
        let expected = match path {
            "/" => Some("content-length: 6\r\n"),
            "/file" => Some("content-length: 1000000\r\n"),
            "/big" => Some("content-length: 67108864\r\n"),
            _ => None,
        };
        expected.inspect(|line| assert!(head.contains(line), "{path}: {head}"));
        assert!(!head.contains("transfer-encoding"), "{path}: {head}");
        if path.ends_with("04") {
            assert!(!head.contains("content-length"), "{path}: {head}");
        }
    }
    for path in ["/204", "/304"] {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        assert!(read_response(&mut stream).await.ends_with("\r\n\r\n"), "{path}");
    }
    // A body's bytes would have come before this.
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 200"));

    for path in ["/", "/stream", "/204", "/304", "/file", "/empty"] {
        for method in ["HEAD", "GET"] {
            let flag = if method == "HEAD" { "--head" } else { "--get" };
            let curl = running.curl(&["--http2", "--output", "/dev/null", flag, &running.https(path)]).await;
            assert_eq!(curl.exit, 0, "{method} {path}: {curl:?}");
        }
    }
}

/// For HTTP/1.0 curl would offer `http/1.0` alone, which is no protocol of ours.
fn alpn(version: &str) -> &str {
    if version == "--http1.0" { "--no-alpn" } else { "--alpn" }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_come_whole_from_files_and_streams() {
    let running = start().await;
    for version in ["--http1.0", "--http1.1", "--http2"] {
        let file = running.curl(&[version, alpn(version), &running.https("/file")]).await;
        assert!(file.text.contains("\r\n\r\n"), "{version}: {file:?}");
        assert_eq!((file.exit, file.text.split_once("\r\n\r\n").unwrap().1.len()), (0, 1_000_000), "{version}");
        running.curl(&[version, alpn(version), &running.https("/stream")]).await.answered(200, "\r\n\r\none two");
        running.curl(&[version, alpn(version), &running.https("/empty")]).await.answered(200, "\r\n\r\n");
    }
    let chunked = running.raw("GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(chunked.ends_with("\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"), "{chunked:?}");
    let closed = running.raw("GET /stream HTTP/1.0\r\n\r\n").await;
    assert!(closed.ends_with("\r\n\r\none two") && !closed.contains("chunked"), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_fails_never_looks_whole() {
    let mut running = start().await;
    for path in ["/broken", "/broken-sized", "/too-short", "/too-long", "/short-file"] {
        for (version, exits) in [("--http1.1", [18, 52, 56]), ("--http2", [18, 52, 92]), ("--http1.0", [18, 52, 56])] {
            for url in [running.http(path), running.https(path)] {
                let curl = running.curl(&[version, alpn(version), "--output", "/dev/null", &url]).await;
                assert!(exits.contains(&curl.exit), "{path} {version} {url}: {curl:?}");
                let ended = running.next_ended().await;
                assert_eq!((ended.end, ended.status), (End::Failed, 200), "{path}");
                assert!(ended.detail.is_some() && ended.note.is_some());
            }
        }
    }
    let raw = running.raw(GET.replace("/ ", "/broken ")).await;
    assert!(raw.ends_with("\r\n\r\n4\r\none \r\n"), "{raw:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_500_and_nothing_else_suffers() {
    let mut running = start().await;
    for args in [vec!["--http1.1"], vec!["--http2"]] {
        let url = running.https("/panic");
        let curl = running.curl(&[args.as_slice(), &[url.as_str()]].concat()).await;
        let ended = running.next_ended().await;
        curl.answered(500, &format!("internal error; the log has more under request {}\n", ended.request_id));
        assert_eq!(ended.detail.as_deref(), Some("panic: a bug in /panic"));
        running.curl(&[&running.https("/")]).await.answered(200, "hello\n");
        running.next_ended().await;
    }
    running.curl(&[&running.http("/status-99")]).await.answered(500, "internal error\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_arrive_whole() {
    let running = start().await;
    let file = running.dir.path().join("upload");
    std::fs::write(&file, vec![b'u'; 3_000_000]).unwrap();
    let file = file.to_str().unwrap();
    for version in ["--http1.1", "--http2"] {
        let curl = running.curl(&[version, "--upload-file", file, &running.https("/echo")]).await;
        curl.answered(200, "3000000\n");
        // Else curl would have waited a second for it; over HTTP/2 Pingora cannot send it.
        assert_eq!(curl.text.contains("HTTP/1.1 100"), version == "--http1.1", "{curl:?}");
    }
    running.curl(&["-H", "Transfer-Encoding: chunked", "--upload-file", file, &running.http("/echo")]).await.answered(200, "3000000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_reply_is_read_by_a_client_that_still_sends() {
    let mut running = start().await;
    let file = running.dir.path().join("upload");
    std::fs::write(&file, vec![b'u'; 6_000_000]).unwrap();
    let file = file.to_str().unwrap();
    for version in ["--http1.1", "--http2"] {
        for expect in ["Expect: 100-continue", "Expect:"] {
            for url in [running.http("/deny"), running.https("/deny")] {
                let curl = running.curl(&[version, "-H", expect, "--upload-file", file, &url]).await;
                curl.answered(401, "sign in\n");
                assert!(!curl.text.contains("100 Continue"), "{curl:?}");
                running.next_ended().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_client_that_sends_all_before_it_reads_sees_the_early_reply() {
    let running = start().await;
    let mut stream = running.connect().await;
    let len = 4 << 20;
    stream.write_all(format!("PUT /deny HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n").as_bytes()).await.unwrap();
    within(stream.write_all(&vec![0; len])).await.unwrap();
    let response = read_to_end(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 401") && response.ends_with("sign in\n"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_is_answered_when_the_body_is_first_read() {
    let running = start().await;
    let mut stream = running.connect().await;
    stream.write_all(b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n").await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 100 Continue\r\n"));
    stream.write_all(b"abc").await.unwrap();
    assert!(read_response(&mut stream).await.ends_with("\r\n\r\n3\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_socket_is_private_and_replaced_when_nobody_answers() {
    let running = start().await;
    let mode = std::fs::metadata(&running.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(running.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let curl = running.curl(&["--unix-socket", running.socket.to_str().unwrap(), "http://modgate/head"]).await;
    curl.answered(200, "GET /head AdminSocket\n");

    let again = Server { admin_socket: Some(running.socket.clone()), ..Server::default() };
    let error = again.bind(&limits()).err().unwrap();
    assert!(matches!(error, BindError::SocketInUse { .. }), "{error}");

    let stale = running.dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let bound = Server { admin_socket: Some(stale.clone()), ..Server::default() }.bind(&limits()).unwrap();
    assert!(UnixStream::connect(&stale).await.is_ok());
    drop(bound);
    assert!(!stale.exists());

    let file = running.dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(Server { admin_socket: Some(file.clone()), ..Server::default() }.bind(&limits()).is_err());
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named_with_what_to_do() {
    let running = start().await;
    let error = Server { plain: vec![running.plain], ..Server::default() }.bind(&limits()).err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&running.plain.to_string()) && text.contains("server.listen") && text.contains("ss -ltnp"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_is_served_for_both_families_when_both_are_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let both = vec![([0, 0, 0, 0], free).into(), ([0u16; 8], free).into()];
    let bound = Server { plain: both.clone(), ..Server::default() }.bind(&limits()).unwrap();
    assert_eq!(bound.addresses().plain, both);
}
