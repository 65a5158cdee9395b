//! HTTP/2 over TLS, as a client with one connection and many streams.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use ::h2::client::{ResponseFuture, SendRequest};
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::gateway::Gateway;
use super::http::{Framing, Response};
use super::secrets;

/// Streams at once.
const STREAMS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client of this gateway trusts, speaking h2 alone.
pub(crate) fn tls(gateway: &Gateway) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let file = gateway.data_dir().join("tls/ca.pem");
    roots.add(CertificateDer::from_pem_file(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A request without a body.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Ask {
    pub(crate) fn new(method: &str, target: &str, authorization: Option<&str>) -> Self {
        let headers = authorization.iter().map(|value| ("authorization".to_owned(), (*value).to_owned())).collect();
        Self { method: method.to_owned(), target: target.to_owned(), headers }
    }
}

/// One connection.
pub(crate) struct Client {
    runtime: Runtime,
    client: SendRequest<Bytes>,
    authority: String,
}

impl Client {
    pub(crate) fn connect(gateway: &Gateway) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (config, address) = (tls(gateway), gateway.https_address());
        let client = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.expect("connect");
            let name = ServerName::try_from("127.0.0.1").expect("a name");
            let tls = TlsConnector::from(config).connect(name, tcp).await.expect("a handshake");
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (client, connection) = ::h2::client::handshake(tls).await.expect("h2");
            tokio::spawn(connection);
            client
        });
        Self { runtime, client, authority: address.to_string() }
    }

    /// Asks all of these, many at a time; answers in the same order.
    pub(crate) fn ask_all(&mut self, asks: &[Ask]) -> Vec<Response> {
        let mut answers = Vec::new();
        for asks in asks.chunks(STREAMS) {
            let (client, authority) = (&mut self.client, &self.authority);
            let these = async {
                let mut under_way = Vec::new();
                for ask in asks {
                    poll_fn(|cx| client.poll_ready(cx)).await.expect("the connection is open");
                    under_way.push(send(client, authority, ask));
                }
                futures::future::join_all(under_way.into_iter().map(receive)).await
            };
            let these = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, these).await.expect("answers in time") });
            answers.extend(these.into_iter().zip(asks).map(|(answer, ask)| answer.unwrap_or_else(|e| panic!("{ask:?}: {e}"))));
        }
        answers
    }

    pub(crate) fn ask(&mut self, ask: Ask) -> Response {
        self.ask_all(&[ask]).remove(0)
    }
}

fn send(client: &mut SendRequest<Bytes>, authority: &str, ask: &Ask) -> ResponseFuture {
    secrets::plant_query(&ask.target);
    let mut request = ::http::Request::builder().method(ask.method.as_str()).uri(format!("https://{authority}{}", ask.target));
    for (name, value) in &ask.headers {
        secrets::plant_header(&format!("{name}: {value}"));
        request = request.header(name, value);
    }
    let request = request.body(()).unwrap_or_else(|e| panic!("{ask:?}: {e}"));
    client.send_request(request, true).unwrap_or_else(|e| panic!("{ask:?}: {e}")).0
}

async fn receive(response: ResponseFuture) -> Result<Response, ::h2::Error> {
    let response = response.await?;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
    let status = response.status().as_u16();
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(Response { status, headers, body, framing: Framing::Whole })
}
