//! The HTTP server against HTTP/2 clients that misbehave, which curl cannot.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request};
use modgate::http::{Drained, End};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http_toy::*;

async fn connect_tls(running: &Running) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&running.ca).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(running.tls).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
}

/// A client, and a task that ends when its connection does.
async fn connect(running: &Running) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let (client, connection) = h2::client::handshake(connect_tls(running).await).await.unwrap();
    (client, tokio::spawn(connection))
}

fn send(client: &mut SendRequest<Bytes>, method: Method, path: &str, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).unwrap();
    client.send_request(request, end).unwrap()
}

async fn answer(response: ResponseFuture) -> (u16, RecvStream) {
    let response = within(response).await.unwrap();
    (response.status().as_u16(), response.into_body())
}

async fn text(mut body: RecvStream) -> Result<String, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = within(body.data()).await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(all).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_data_is_refused_in_time_and_its_neighbours_live() {
    let running = start().await;
    let (mut client, _connection) = connect(&running).await;
    let began = Instant::now();
    let (response, _stream) = send(&mut client, Method::PUT, "/echo", false);
    let (neighbour, _) = send(&mut client, Method::GET, "/", true);
    assert_eq!(text(answer(neighbour).await.1).await.unwrap(), "hello\n");
    let (status, body) = answer(response).await;
    assert_eq!((status, text(body).await.unwrap().as_str()), (408, "the request's body stalled\n"));
    assert!(began.elapsed() >= limits().stall && began.elapsed() < PATIENCE / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_window_stays_shut_is_cut_and_its_neighbours_live() {
    let mut running = start().await;
    let (mut client, _connection) = connect(&running).await;
    let (response, _) = send(&mut client, Method::GET, "/big", true);
    // Nothing of it is released.
    let (status, mut body) = answer(response).await;
    assert_eq!(status, 200);
    let ended = running.next_ended().await;
    assert_eq!(ended.end, End::Gone, "{ended:?}");
    assert!(ended.bytes_out < BIG && ended.duration >= limits().stall, "{ended:?}");
    let error = loop {
        match within(body.data()).await {
            Some(Ok(piece)) => body.flow_control().release_capacity(piece.len()).unwrap(),
            Some(Err(error)) => break error,
            None => panic!("a cut stream must not look whole"),
        }
    };
    assert!(error.is_reset(), "{error}");
    let (neighbour, _) = send(&mut client, Method::GET, "/", true);
    assert_eq!(text(answer(neighbour).await.1).await.unwrap(), "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_body_resets_its_stream_alone() {
    let running = start().await;
    let (mut client, _connection) = connect(&running).await;
    for path in ["/broken", "/broken-sized", "/too-short", "/short-file"] {
        let (response, _) = send(&mut client, Method::GET, path, true);
        let error = text(answer(response).await.1).await.unwrap_err();
        assert!(error.is_reset(), "{path}: {error}");
    }
    let (response, _) = send(&mut client, Method::GET, "/panic", true);
    assert_eq!(answer(response).await.0, 500);
    let (response, _) = send(&mut client, Method::GET, "/", true);
    assert_eq!(text(answer(response).await.1).await.unwrap(), "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_reply_comes_whole_and_the_body_is_let_run_out() {
    let running = start().await;
    let (mut client, _connection) = connect(&running).await;
    let (response, mut stream) = send(&mut client, Method::PUT, "/deny", false);
    let (status, body) = answer(response).await;
    assert_eq!((status, text(body).await.unwrap().as_str()), (401, "sign in\n"));
    let mut left = 4 << 20;
    while left > 0 {
        stream.reserve_capacity(left);
        let n = within(poll_fn(|cx| stream.poll_capacity(cx))).await.expect("still open").unwrap();
        stream.send_data(vec![0; n].into(), left == n).unwrap();
        left -= n;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_is_refused() {
    let running = start().await;
    let (mut client, _connection) = connect(&running).await;
    let request = Request::builder().method(Method::CONNECT).uri("localhost:443").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(answer(response).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_preface_or_a_request_are_closed() {
    let running = start().await;
    let began = Instant::now();
    let mut silent = connect_tls(&running).await;
    let (_client, no_request) = connect(&running).await;
    let (mut client, idle) = connect(&running).await;
    let (response, _) = send(&mut client, Method::GET, "/", true);
    assert_eq!(answer(response).await.0, 200);
    let _ = within(silent.read_to_end(&mut Vec::new())).await;
    let _ = within(no_request).await;
    let _ = within(idle).await;
    assert!(began.elapsed() >= limits().header_time && began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_says_farewell_and_waits_for_the_streams_that_are_open() {
    let mut running = start().await;
    let (mut client, connection) = connect(&running).await;
    let (response, _) = send(&mut client, Method::GET, "/gate", true);
    within(running.entered.notified()).await;
    running.stop.send(true).unwrap();
    // The client learns of it: no new stream is for this connection.
    let refused = within(async {
        loop {
            match poll_fn(|cx| client.poll_ready(cx)).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        }
    })
    .await;
    assert!(refused.is_go_away() && refused.reason() == Some(Reason::NO_ERROR), "{refused}");
    running.gate.notify_one();
    assert_eq!(text(answer(response).await.1).await.unwrap(), "through the gate\n");
    let _ = within(connection).await;
    assert_eq!(within(&mut running.server).await.unwrap(), Drained::Whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_answers_the_farewell_does_not_hold_up_the_shutdown() {
    let mut running = start_with(limits(), PATIENCE).await;
    let (mut client, mut connection) = h2::client::handshake(connect_tls(&running).await).await.unwrap();
    let (response, _) = send(&mut client, Method::GET, "/", true);
    tokio::select! {
        (status, _) = answer(response) => assert_eq!(status, 200),
        _ = &mut connection => panic!("the connection ended"),
    }
    // From here on nobody reads the connection.
    running.stop.send(true).unwrap();
    let began = Instant::now();
    assert_eq!(within(&mut running.server).await.unwrap(), Drained::Whole);
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    drop(connection);
}
