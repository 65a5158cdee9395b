//! The HTTP clients: TLS, proxies, and which addresses may be connected to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::{Host, Url};

use super::address::Inner;
use crate::config;

/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(90);
/// Unused connections kept for one host.
const POOL_PER_HOST_MAX: usize = 64;
/// How often a busy HTTP/2 connection is pinged: a dead one would otherwise take every new request with it.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long a ping may go unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the way upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A hop is neither http nor https.
    #[error("upstream.goproxy: {0} is neither http nor https")]
    Scheme(String),
    /// There is an https hop and no root certificate.
    #[error("no root certificates found for https upstreams (install ca-certificates, or set SSL_CERT_FILE): {0}")]
    NoRoots(String),
    /// `upstream.ca_file` holds no root certificate that can be used.
    #[error("upstream.ca_file: {}: {why}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A secret of `upstream.auth` cannot be used.
    #[error("upstream.auth: {}: {why}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; nothing of its content.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The client cannot be built.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// A redirect leads to an address that it may not lead to.
#[derive(Debug, thiserror::Error)]
#[error("{0} has an address that is not on the public internet")]
pub(super) struct Forbidden(pub(super) String);

/// Whether this request goes to a configured upstream or where a redirect led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// To where the operator said.
    Configured,
    /// To where an upstream said: public addresses and these.
    Redirected(Inner),
}

/// Whether a proxy takes a request.
type Intercepts = Box<dyn Fn(&http::Uri) -> bool + Send + Sync>;

/// One client for each way and each set of addresses that may be connected to: a pooled connection
/// never serves a request that was not allowed to open it.
pub(super) struct Clients {
    direct: reqwest::Client,
    proxied: reqwest::Client,
    guarded: Vec<reqwest::Client>,
    intercepts: Intercepts,
}

impl Clients {
    /// # Errors
    ///
    /// [`SetupError`].
    pub(super) fn new(config: &config::Upstream) -> Result<Self, SetupError> {
        let https = config.goproxy.iter().map(|hop| &hop.url).chain(config.sumdb_url()).any(|url| url.scheme() == "https");
        let tls = tls(config.ca_file.as_deref(), https)?;
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(concat!("modgate/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                // Another try is another request upstream, and asks the policy first: nothing below us repeats one.
                .retry(reqwest::retry::never())
                .referer(false)
                .connect_timeout(config.connect_timeout)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(POOL_PER_HOST_MAX)
                .http2_keep_alive_interval(PING_INTERVAL)
                .http2_keep_alive_timeout(PING_TIMEOUT)
        };
        let (proxied, intercepts): (_, Intercepts) = match &config.proxy {
            Some(proxy) => (builder().proxy(reqwest::Proxy::all(proxy.clone())?), Box::new(|_| true)),
            None => {
                let matcher = Matcher::from_system();
                (builder(), Box::new(move |uri| matcher.intercept(uri).is_some()))
            }
        };
        let guarded = (0..Inner::SETS)
            .map(|index| builder().no_proxy().dns_resolver(Guard(Inner::from_index(index))).build())
            .collect::<Result<_, _>>()?;
        Ok(Self { direct: builder().no_proxy().build()?, proxied: proxied.build()?, guarded, intercepts })
    }

    /// The client that may be used for `url`, and whether it connects there itself.
    ///
    /// # Errors
    ///
    /// [`Forbidden`] where it is plain already that a redirect must not go there.
    pub(super) async fn pick(&self, url: &Url, trust: Trust) -> Result<(&reqwest::Client, bool), Forbidden> {
        let proxied = !is_local(url) && url.as_str().parse().is_ok_and(|uri| (self.intercepts)(&uri));
        let Trust::Redirected(inner) = trust else {
            return Ok(if proxied { (&self.proxied, false) } else { (&self.direct, true) });
        };
        // The resolver is never asked about an address.
        if let Some(address) = literal(url)
            && !inner.admits(address)
        {
            return Err(Forbidden(address.to_string()));
        }
        if !proxied {
            let guarded = self.guarded.get(inner.index()).ok_or_else(|| Forbidden(url.host_str().unwrap_or("?").to_owned()))?;
            return Ok((guarded, true));
        }
        // The proxy resolves the name: what it gets cannot be seen from here. What the name means here can.
        if let Some(Host::Domain(name)) = url.host()
            && let Ok(addresses) = tokio::net::lookup_host((name, 0)).await
            && addresses.into_iter().any(|a| !inner.admits(a.ip()))
        {
            return Err(Forbidden(name.to_owned()));
        }
        Ok((&self.proxied, false))
    }
}

/// Resolves names, and leaves out every address that may not be connected to: what is checked here is
/// what is connected to, so a name that changes its mind between look-ups gains nothing.
struct Guard(Inner);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let inner = self.0;
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let good: Vec<_> = found.into_iter().filter(|a| inner.admits(a.ip())).collect();
            if good.is_empty() {
                return Err(Forbidden(name.as_str().to_owned()).into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

/// The address that the URL names, if it names one.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(_) => None,
    }
}

/// The proxy that requests for `url` go by: that of the settings, else what the environment has for it. `None`: they go there
/// themselves.
pub fn proxy_for(config: &config::Upstream, url: &Url) -> Option<http::Uri> {
    if is_local(url) {
        return None;
    }
    match &config.proxy {
        Some(proxy) => proxy.as_str().parse().ok(),
        None => Some(Matcher::from_system().intercept(&url.as_str().parse().ok()?)?.uri().clone()),
    }
}

/// Loopback targets never go by a proxy, as the go command has it.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        None => false,
    }
}

/// The platform's roots, which `SSL_CERT_FILE` and `SSL_CERT_DIR` replace, and those of `ca_file`. `required`: there must be one.
pub(super) fn roots(ca_file: Option<&Path>, required: bool) -> Result<rustls::RootCertStore, SetupError> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = ca_file {
        let wrong = |why: String| SetupError::CaFile { path: path.to_owned(), why };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))? {
            let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("it holds no certificate (PEM)".to_owned()));
        }
    }
    let found = rustls_native_certs::load_native_certs();
    // Old roots in odd encodings are common; the others serve.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() && required {
        let why = found.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Err(SetupError::NoRoots(why));
    }
    Ok(roots)
}

/// TLS by ring; HTTP/2 where it is offered.
fn tls(ca_file: Option<&Path>, https: bool) -> Result<rustls::ClientConfig, SetupError> {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca_file, https)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
