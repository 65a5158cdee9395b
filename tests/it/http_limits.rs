//! The HTTP server's limits in size, time and number, and its shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use modgate::http::{Bounds, Drained, End, ListenerKind};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::http_toy::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_head_up_to_the_limit_is_served_and_one_byte_more_is_431() {
    let running = start().await;
    let request = |len: usize| {
        let (start, end) = ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: ", "\r\n\r\n");
        format!("{start}{}{end}", "x".repeat(len - start.len() - end.len()))
    };
    let limit = limits().header as usize;
    assert!(running.raw(request(limit)).await.starts_with("HTTP/1.1 200"));
    assert_refused(&running.raw(request(limit + 1)).await, 431);
    // Refused before its end: the client has not sent one.
    let mut stream = running.connect().await;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(5 * limit)).as_bytes()).await.unwrap();
    assert_refused(&read_response(&mut stream).await, 431);
    let long = format!("X: {}", "x".repeat(2 * limit));
    assert_eq!(running.curl(&["--http1.1", "-H", &long, &running.https("/")]).await.status(), Some(431));
    let h2 = running.curl(&["--http2", "-H", &long, &running.https("/")]).await;
    assert!(h2.status() == Some(431) || h2.exit == 92, "{h2:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_refused_in_time() {
    let running = start().await;
    let began = Instant::now();
    let (mut read, mut write) = running.connect().await.into_split();
    let drip = tokio::spawn(async move {
        write.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n").await.unwrap();
        while write.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut all = String::new();
    let _ = within(read.read_to_string(&mut all)).await;
    assert_refused(&all, 408);
    let took = began.elapsed();
    assert!(took >= limits().header_time && took < PATIENCE / 2, "{took:?}");
    drip.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed() {
    let running = start().await;
    let began = Instant::now();
    let mut idle = running.connect().await;
    let (silent, tls, preface) = tokio::join!(
        async { running.raw("").await },
        async {
            let mut stream = TcpStream::connect(running.tls).await.unwrap();
            read_to_end(&mut stream).await
        },
        async {
            idle.write_all(GET.as_bytes()).await.unwrap();
            read_response(&mut idle).await;
            read_to_end(&mut idle).await
        }
    );
    assert_eq!((silent.as_str(), tls.as_str(), preface.as_str()), ("", "", ""));
    let took = began.elapsed();
    assert!(took >= limits().idle && took < PATIENCE / 2, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_head_has_its_time_from_its_first_byte() {
    let running = start().await;
    let mut stream = running.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    read_response(&mut stream).await;
    stream.write_all(b"GET / HT").await.unwrap();
    let began = Instant::now();
    assert_refused(&read_response(&mut stream).await, 408);
    assert!(began.elapsed() >= limits().header_time - Duration::from_millis(50), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_or_drips_is_refused() {
    let running = start().await;
    let mut stalled = running.connect().await;
    let (mut dripping, mut write) = running.connect().await.into_split();
    let began = Instant::now();
    stalled.write_all(b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    let drip = tokio::spawn(async move {
        write.write_all(b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut dripped = String::new();
    let (stalled, _) = tokio::join!(read_to_end(&mut stalled), within(dripping.read_to_string(&mut dripped)));
    assert!(stalled.starts_with("HTTP/1.1 408") && stalled.ends_with("the request's body stalled\n"), "{stalled}");
    assert!(dripped.starts_with("HTTP/1.1 408") && dripped.ends_with("the request's body came too slowly\n"), "{dripped}");
    let took = began.elapsed();
    assert!(took >= limits().stall && took < PATIENCE / 2, "{took:?}");
    drip.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_chunk_is_refused_and_ends_the_connection() {
    let running = start().await;
    let head = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["zz\r\nabc\r\n", "3\r\nabcdef\r\n0\r\n\r\n", "-1\r\n\r\n"] {
        let response = running.raw(format!("{head}{body}{GET}")).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{body:?}: {response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{body:?}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_its_body_ends_the_request() {
    let mut running = start().await;
    let mut stream = running.connect().await;
    stream.write_all(b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    drop(stream);
    let ended = running.next_ended().await;
    assert_eq!((ended.bytes_in, ended.status), (3, 400));
    assert_eq!(ended.detail.as_deref(), Some("the client went away before the end of the request's body"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_is_cut_and_a_slow_one_lives() {
    let mut running = start().await;
    // In small segments, with a small buffer: what its kernel may have taken in before it says so, which it has time for, is little.
    let small = TcpSocket::new_v4().unwrap();
    SockRef::from(&small).set_tcp_mss(1000).unwrap();
    SockRef::from(&small).set_recv_buffer_size(4096).unwrap();
    let mut stalled = small.connect(running.plain).await.unwrap();
    stalled.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let ended = running.next_ended().await;
    assert_eq!(ended.end, End::Gone, "{ended:?}");
    assert!(ended.bytes_out < BIG && ended.duration >= limits().stall, "{ended:?}");
    drop(stalled);

    // Much slower than a piece in `limits.stall`, but never still.
    let mut slow = running.connect().await;
    slow.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let (mut got, mut scrap) = (0, vec![0; 16 << 10]);
    let began = Instant::now();
    while began.elapsed() < 2 * limits().stall {
        got += within(slow.read(&mut scrap)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(running.ended.try_recv().is_err());
    while got < BIG as usize {
        let n = within(slow.read(&mut scrap)).await.unwrap();
        assert_ne!(n, 0);
        got += n;
    }
    assert_eq!(running.next_ended().await.end, End::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_above_the_cap_waits_its_turn() {
    let mut running = start_with(modgate::config::Limits { connections: 1, ..limits() }, PATIENCE).await;
    let mut first = running.connect().await;
    first.write_all(b"GET /gate HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    within(running.entered.notified()).await;
    let mut second = running.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    // Across listeners, too; the admin socket has its own.
    let tls = TcpStream::connect(running.tls).await.unwrap();
    let mut admin = UnixStream::connect(&running.socket).await.unwrap();
    admin.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within(admin.read_to_string(&mut text)).await.unwrap();
    assert!(text.ends_with("hello\n"), "{text}");
    assert_eq!(running.next_ended().await.listener, ListenerKind::AdminSocket);
    drop(tls);
    running.gate.notify_one();
    assert!(read_to_end(&mut first).await.ends_with("through the gate\n"));
    assert_eq!(running.next_ended().await.path, "/gate");
    assert!(read_to_end(&mut second).await.ends_with("hello\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_limits_hold_from_the_next_connection_on() {
    const GATE: &[u8] = b"GET /gate HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let one = modgate::config::Limits { connections: 1, ..limits() };
    let running = start_with(one.clone(), PATIENCE).await;
    let bound = |limits| Bounds { limits: Arc::new(limits), drain: PATIENCE };
    let mut first = running.connect().await;
    first.write_all(GATE).await.unwrap();
    within(running.entered.notified()).await;
    let mut second = running.connect().await;
    second.write_all(GATE).await.unwrap();
    running.bounds.send_replace(bound(modgate::config::Limits { connections: 2, header: 1024, ..limits() }));
    // Beside the first: there is room for two now.
    within(running.entered.notified()).await;

    running.bounds.send_replace(bound(one));
    let mut third = running.connect().await;
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\nConnection: close\r\n\r\n", "x".repeat(2000));
    third.write_all(long.as_bytes()).await.unwrap();
    for old in [&mut first, &mut second] {
        running.gate.notify_one();
        assert!(read_to_end(old).await.ends_with("through the gate\n"));
    }
    // It was let in after the second change, and has the head's limit of then.
    assert!(read_to_end(&mut third).await.ends_with("hello\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_what_is_under_way_end() {
    let mut running = start().await;
    let mut idle = running.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    read_response(&mut idle).await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /gate HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    within(running.entered.notified()).await;
    let url = running.https("/gate");
    let (args, ca) = (["--http2", "--silent", "--show-error", "--noproxy", "*", "--cacert"], running.ca.clone());
    let h2 = tokio::task::spawn_blocking(move || std::process::Command::new("curl").args(args).args([ca, url]).output().unwrap());
    within(running.entered.notified()).await;

    running.stop.send(true).unwrap();
    // The idle connection ends although the others do not.
    assert_eq!(read_to_end(&mut idle).await, "");
    within(async { while TcpStream::connect(running.plain).await.is_ok() {} }).await;
    assert!(!running.server.is_finished());
    running.gate.notify_one();
    running.gate.notify_one();
    let response = read_to_end(&mut busy);
    let gate = running.gate.clone();
    let (response, h2) = tokio::join!(response, async {
        // Two waiters, of which a Notify without waiters remembers one.
        let mut h2 = h2;
        loop {
            tokio::select! {
                h2 = &mut h2 => break h2.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(10)) => gate.notify_one(),
            }
        }
    });
    assert!(response.to_ascii_lowercase().contains("connection: close\r\n") && response.ends_with("through the gate\n"), "{response}");
    assert_eq!(String::from_utf8_lossy(&h2.stdout), "through the gate\n", "{h2:?}");
    assert_eq!(within(running.server).await.unwrap(), Drained::Whole);
    for _ in 0..3 {
        assert_eq!(running.ended.recv().await.unwrap().end, End::Complete);
    }
    assert!(!running.socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlasts_the_drain_is_cut() {
    let mut running = start_with(limits(), Duration::from_millis(200)).await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /gate HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    within(running.entered.notified()).await;
    running.stop.send(true).unwrap();
    assert_eq!(within(&mut running.server).await.unwrap(), Drained::Cut);
    assert_eq!(read_to_end(&mut busy).await, "");
    let ended = running.next_ended().await;
    assert_eq!((ended.end, ended.status), (End::Drained, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_tls_handshake_does_not_hold_up_the_shutdown() {
    let patient = modgate::config::Limits { header_time: PATIENCE, ..limits() };
    let mut running = start_with(patient, PATIENCE).await;
    let mut silent = TcpStream::connect(running.tls).await.unwrap();
    // Accepted in turn: once this is answered, the other is in its handshake.
    running.curl(&[&running.https("/")]).await.answered(200, "hello\n");
    running.stop.send(true).unwrap();
    let began = Instant::now();
    assert_eq!(within(&mut running.server).await.unwrap(), Drained::Whole);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(read_to_end(&mut silent).await, "");
}
