//! A stand-in for the gateway: just enough of it, over the fixtures, to see that the scenarios for hosted modules ask for what they mean.
//! It proves nothing about the gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use tempfile::TempDir;

use super::curl::Login;
use super::http::{self, Request, Response};
use super::recorder::decode;
use super::server::Server;
use super::upstream::{self, Upstream};
use super::zips::{self, Module, escape};

const PASSWORD: &str = "stand-in-password";

/// The stand-in: a plain and an https listener over the same modules.
pub(crate) struct StandIn {
    plain: Server,
    secure: Server,
    dir: TempDir,
}

struct Registry {
    upstream: SocketAddr,
    /// By owner, then by escaped path.
    hosted: BTreeMap<String, BTreeMap<String, Vec<Module>>>,
}

impl StandIn {
    /// Starts it in front of an upstream, with tests/testdata/hosted published.
    pub(crate) fn start(upstream: &Upstream) -> Self {
        let mut registry = Registry { upstream: upstream.address(), hosted: BTreeMap::new() };
        for module in zips::load("hosted") {
            let owner = module.owner.clone().expect("the fixture names an owner");
            registry.hosted.entry(owner).or_default().entry(escape(&module.path)).or_default().push(module);
        }
        let registry = Arc::new(registry);
        let handler = move |request: &Request| Some(registry.handle(request));
        let handler: super::server::Handler = Arc::new(handler);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let secure = Server::start(Some(tls(&dir)), handler.clone());
        Self { plain: Server::start(None, handler), secure, dir }
    }

    /// The http base.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.plain.address())
    }

    /// The https base.
    pub(crate) fn https_url(&self) -> String {
        format!("https://{}", self.secure.address())
    }

    /// What SSL_CERT_FILE is set to.
    pub(crate) fn ca_bundle(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Who may see everything.
    pub(crate) fn login(&self) -> Login {
        Login { user: "admin".to_owned(), password: PASSWORD.to_owned() }
    }
}

fn tls(dir: &TempDir) -> Arc<rustls::ServerConfig> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let cert = rcgen::CertificateParams::new(names).and_then(|params| params.self_signed(&key)).expect("a certificate");
    std::fs::write(dir.path().join("ca.pem"), cert.pem()).expect("write the certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a TLS configuration");
    Arc::new(config)
}

impl Registry {
    fn handle(&self, request: &Request) -> Response {
        let target = String::from_utf8_lossy(&decode(request.target.as_bytes())).into_owned();
        let (owner, rest) = match target.strip_prefix("/api/packages/").and_then(|t| t.split_once("/go")) {
            Some((owner, rest)) => (Some(owner), rest),
            None => (None, target.as_str()),
        };
        if rest.starts_with("/sumdb/") && rest.ends_with("/supported") {
            return Response::text(200, "");
        }
        let unauthorized = || Response::text(401, "sign in\n").with("WWW-Authenticate", "Basic realm=\"stand-in\"");
        let signed_in = match request.header("authorization") {
            None => false,
            Some(value) => {
                let token = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
                if value != format!("Basic {token}") {
                    return unauthorized();
                }
                true
            }
        };
        if owner.is_some_and(|owner| owner != "open") && !signed_in {
            return unauthorized();
        }
        if matches!(rest, "" | "/") {
            return Response::text(200, "");
        }
        if is_private(rest) {
            return self.private(owner, rest, signed_in);
        }
        http::ask(self.upstream, &request.method, rest, &[]).unwrap_or_else(|e| Response::text(502, format!("upstream: {e}\n")))
    }

    fn private(&self, owner: Option<&str>, rest: &str, signed_in: bool) -> Response {
        if rest.starts_with("/sumdb/") {
            return Response::text(403, "private names are not looked up there: set GONOSUMDB\n");
        }
        let visible = self.hosted.iter().filter(|(name, _)| owner.is_none_or(|owner| owner == *name) && (signed_in || *name == "open"));
        let modules: BTreeMap<_, _> = visible.flat_map(|(_, modules)| modules.clone()).collect();
        let response = upstream::answer(&modules, rest, None);
        if response.status == 404 { Response::text(404, "the module is private here and not available to you\n") } else { response }
    }
}

fn is_private(rest: &str) -> bool {
    ["corp.example.com", "github.com/acme"].iter().any(|name| rest.contains(name))
}
