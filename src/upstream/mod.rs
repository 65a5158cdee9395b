//! The way out: the sole owner of [`reqwest::Client`].
//!
//! A request that names a module takes a [`PublicPath`](crate::egress::PublicPath), and every further one that follows from it, a redirect
//! or a second try, asks the egress policy for another. Nothing of a client's request goes along: no header,
//! no query. Answers are never decoded: what arrives is bounded by whoever reads it. An upstream that keeps failing is left
//! alone for a while, see [`Breakers`].

mod absence;
mod address;
mod ask;
mod breaker;
mod chain;
#[expect(clippy::disallowed_types, reason = "the sole owner of HTTP clients")]
mod client;
mod credentials;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod hold;
mod http_date;
mod incoming;
mod probe;
mod retry_after;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use url::Url;

use crate::config::{self, Hop};
use crate::egress::{Denied, Gate};
use crate::observe::metrics::{UpstreamMetrics, UpstreamOutcome, UpstreamRole};

use address::Inner;
use ask::Side;
pub use breaker::{Breakers, Down};
pub(crate) use chain::Walk;
use client::{Clients, Forbidden, Trust};
pub use client::{SetupError, proxy_for};
use credentials::Credentials;
use error::WHO;
pub use error::{Slow, UpstreamError};
use http_date::Skew;
pub(crate) use incoming::Incoming;
pub(crate) use target::Target;
use target::{Base, url_of};

/// Redirects followed for one answer.
const REDIRECTS_MAX: usize = 5;
/// Of the body of a 404 or 410, this much is read: enough to know that it is too long.
const ABSENCE_BYTES_MAX: usize = 4 * absence::TEXT_BYTES_MAX;

/// The upstream says that it does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// 404 or 410.
    pub status: u16,
    /// What to tell the client: at most 600 bytes and 8 lines.
    pub text: String,
}

/// What an upstream answered.
pub(crate) enum Reply {
    /// 200.
    Found(Box<Incoming>),
    /// 404 or 410.
    Absent(Absent),
}

/// Whether the files of the settings can be used: secrets and certificates.
///
/// # Errors
///
/// [`SetupError`].
pub fn check_files(config: &config::Upstream) -> Result<(), SetupError> {
    client::roots(config.ca_file.as_deref(), false)?;
    Credentials::read(&config.auth).map(drop)
}

/// The GOPROXY chain and the clients that reach it.
pub struct Upstream {
    hops: Vec<Hop>,
    /// Where the checksum database is asked, if not by way of the chain.
    database: Option<Hop>,
    clients: Clients,
    credentials: Credentials,
    breakers: Breakers,
    modules: Arc<Side>,
    sumdb: Arc<Side>,
    gate: Arc<Gate>,
    head_timeout: Duration,
    stall: Duration,
    skew: Skew,
}

impl Upstream {
    /// Sets the way out up; connects to nothing. Reads the environment's proxy variables, the root certificates and the files
    /// of `upstream.auth` once. `breakers`: those of the process, which outlive its settings.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn new(config: &config::Upstream, gate: Arc<Gate>, breakers: Breakers, metrics: UpstreamMetrics) -> Result<Self, SetupError> {
        if let Some(hop) = config.goproxy.iter().find(|hop| !matches!(hop.url.scheme(), "http" | "https")) {
            return Err(SetupError::Scheme(public_name(&hop.url)));
        }
        let database = config.sumdb_url().map(|url| Hop { url: url.clone(), any_error: false });
        let side = |role, hops: &[Hop]| {
            let breakers = hops.iter().map(|hop| breakers.of(&hop.url, role)).collect();
            Arc::new(Side { role, breakers, metrics: metrics.clone() })
        };
        Ok(Self {
            modules: side(UpstreamRole::Modules, &config.goproxy),
            sumdb: side(UpstreamRole::Sumdb, database.as_ref().map_or(&config.goproxy[..], std::slice::from_ref)),
            hops: config.goproxy.clone(),
            database,
            clients: Clients::new(config)?,
            credentials: Credentials::read(&config.auth)?,
            breakers,
            gate,
            // Connecting counts into the time to the head, and may take its own time.
            head_timeout: config.connect_timeout.max(config.stall_timeout),
            stall: config.stall_timeout,
            skew: Skew::default(),
        })
    }

    /// Starts a walk along the chain, or to the checksum database itself.
    pub(crate) fn walk(&self, role: UpstreamRole) -> Walk<'_> {
        Walk::new(self.hops(role))
    }

    /// Who is asked in this role.
    fn hops(&self, role: UpstreamRole) -> &[Hop] {
        match (role, &self.database) {
            (UpstreamRole::Sumdb, Some(database)) => std::slice::from_ref(database),
            (UpstreamRole::Modules | UpstreamRole::Sumdb, _) => &self.hops,
        }
    }

    /// What is wrong with our clock, or an upstream's, as the last answer told it.
    pub fn clock_finding(&self) -> Option<String> {
        self.skew.finding()
    }

    /// The upstreams that are left alone now, in the order of the chain, each with its place there, counted from 1. Behind the chain stands
    /// the database that is asked itself.
    pub fn down(&self) -> Vec<(usize, Down)> {
        let place = |hop: &Hop| 1 + self.hops.iter().position(|of| of.url == hop.url).unwrap_or(self.hops.len());
        let each = UpstreamRole::ALL.into_iter().flat_map(|role| self.hops(role).iter().map(move |hop| (hop, role)));
        let down = each.filter_map(|(hop, role)| Some((place(hop), self.breakers.of(&hop.url, role).down()?)));
        let mut down: Vec<_> = down.collect();
        down.sort_by_key(|(place, _)| *place);
        down
    }

    /// Whether nobody of the chain can be asked: each is left alone, or there is none.
    pub(crate) fn is_away(&self, role: UpstreamRole) -> bool {
        self.hops(role).iter().all(|hop| self.breakers.of(&hop.url, role).down().is_some())
    }

    /// Asks one hop, and follows its redirects; one that is down is not asked, nor one that wants to be left alone with this.
    ///
    /// # Errors
    ///
    /// Whatever is neither 200, 404 nor 410.
    pub(crate) async fn fetch(&self, hop: &Hop, target: Target<'_>, principal: &str) -> Result<Reply, UpstreamError> {
        let base = if self.database.is_some() { Base::Database } else { Base::Proxy };
        let url = url_of(hop, base, target).ok_or_else(|| failed(&hop.url, "its URL cannot be a base"))?;
        if let Some(left) = self.breakers.held(&url) {
            return Err(UpstreamError::Held { host: public_name(&url), left });
        }
        let role = target.role();
        let side = self.side(role);
        let ask = self.admitted(hop, target, principal).await?;
        let begun = Instant::now();
        let outcome = self.follow(hop, &url, target, principal).await;
        let word = counted(&outcome);
        if let Some(word) = word {
            side.metrics.asked(role, begun.elapsed());
            if !matches!(outcome, Ok(Reply::Found(_))) {
                side.metrics.came_to(role, word);
            }
        }
        match outcome {
            Ok(Reply::Found(mut incoming)) => {
                incoming.settles(ask, word);
                Ok(Reply::Found(incoming))
            }
            Ok(absent @ Reply::Absent(_)) => {
                ask.settle(Ok(()));
                Ok(absent)
            }
            Err(error) => {
                if let UpstreamError::Status { retry_after: Some(wish), .. } = &error {
                    self.breakers.hold(&url, *wish);
                }
                ask.settle(Err(&error));
                Err(error)
            }
        }
    }

    fn side(&self, role: UpstreamRole) -> &Arc<Side> {
        match role {
            UpstreamRole::Modules => &self.modules,
            UpstreamRole::Sumdb => &self.sumdb,
        }
    }

    async fn follow(&self, hop: &Hop, url: &Url, target: Target<'_>, principal: &str) -> Result<Reply, UpstreamError> {
        let mut url = url.clone();
        let first = Step { url: &url, sender: &url, trust: Trust::Configured, authorization: self.credentials.of(&url) };
        let (mut response, mut host) = (self.get(first, target, principal).await?, public_name(&url));
        let inner = inner_of(hop, &response);
        let mut at_home = true;
        for _ in 0..REDIRECTS_MAX {
            if !is_redirect(response.status()) {
                return self.judge(response, host, target).await;
            }
            let next = redirect_target(hop, &url, response.headers()).map_err(|reason| redirect(&url, reason))?;
            drop(response);
            self.permit(target, principal).await?;
            let trust = if next.origin() == hop.url.origin() { Trust::Configured } else { Trust::Redirected(inner) };
            // Nobody else says where the hop's credentials are shown: not even a redirect back to it brings them back.
            at_home &= next.origin() == hop.url.origin();
            let authorization = if at_home { self.credentials.of(&next) } else { None };
            response = self.get(Step { url: &next, sender: &url, trust, authorization }, target, principal).await?;
            (url, host) = (next.clone(), public_name(&next));
        }
        if is_redirect(response.status()) {
            return Err(redirect(&url, format!("more than {REDIRECTS_MAX} of them")));
        }
        self.judge(response, host, target).await
    }

    /// One request, tried again once where the connection broke before an answer began: a kept connection may
    /// have been closed by the other side at that very moment.
    async fn get(&self, step: Step<'_>, target: Target<'_>, principal: &str) -> Result<reqwest::Response, UpstreamError> {
        match self.get_once(step, target).await {
            Err(Broken::BeforeAnswer(_)) => {
                self.permit(target, principal).await?;
                self.get_once(step, target).await.map_err(Broken::into_error)
            }
            other => other.map_err(Broken::into_error),
        }
    }

    /// Ended when the path may not leave any more: connecting takes its time, and nothing may be sent after it.
    async fn get_once(&self, step: Step<'_>, target: Target<'_>) -> Result<reqwest::Response, Broken> {
        let denied = async {
            match target.path() {
                Some(path) => self.gate.until_denied(path).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            denied = denied => Err(Broken::Finally(UpstreamError::Denied(denied))),
            sent = self.send(step) => sent,
        }
    }

    async fn send(&self, step: Step<'_>) -> Result<reqwest::Response, Broken> {
        let Step { url, sender, trust, authorization } = step;
        let host = || public_name(url);
        let refused = |why: String| Broken::Finally(redirect(sender, why));
        let (client, direct) = self.clients.pick(url, trust).await.map_err(|e| refused(e.to_string()))?;
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let slow = |what| Broken::Finally(UpstreamError::Timeout { host: host(), what });
        let broke = |connected, e| UpstreamError::Failed { host: host(), connected, reason: reason(e) };
        match tokio::time::timeout(self.head_timeout, request.send()).await {
            Err(_) => Err(slow(Slow::Head)),
            Ok(Ok(mut response)) => {
                self.skew.note(host, response.headers());
                if direct {
                    response.extensions_mut().insert(Direct);
                }
                Ok(response)
            }
            Ok(Err(e)) if e.is_timeout() => Err(slow(Slow::Connecting)),
            Ok(Err(e)) => Err(match forbidden(&e) {
                Some(why) => refused(why),
                None if e.is_connect() => Broken::Finally(broke(false, e)),
                None => Broken::BeforeAnswer(broke(true, e)),
            }),
        }
    }

    async fn permit(&self, target: Target<'_>, principal: &str) -> Result<(), Denied> {
        match target.path() {
            Some(path) => self.gate.permit(path, principal).await.map(drop),
            None => Ok(()),
        }
    }

    async fn judge(&self, response: reqwest::Response, host: String, target: Target<'_>) -> Result<Reply, UpstreamError> {
        let status = response.status();
        let encoded = header(response.headers(), &CONTENT_ENCODING).is_some_and(|e| !e.trim().eq_ignore_ascii_case("identity"));
        let content_type = header(response.headers(), &CONTENT_TYPE).map(str::to_owned);
        let retry_after = retry_after::of(status, response.headers());
        let mut incoming = Incoming::new(response, host, self.stall, self.side(target.role()).clone());
        match status {
            StatusCode::OK if encoded => Err(incoming.malformed("it is encoded, which was not asked for")),
            StatusCode::OK => Ok(Reply::Found(Box::new(incoming))),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                // A 404 whose body breaks off is a failure as much as any other answer that does.
                let mut body = Vec::new();
                let mut cut = false;
                while let Some(chunk) = incoming.chunk().await? {
                    body.extend_from_slice(&chunk);
                    if body.len() > ABSENCE_BYTES_MAX {
                        body.truncate(ABSENCE_BYTES_MAX);
                        cut = true;
                        break;
                    }
                }
                let content_type = if encoded { None } else { content_type.as_deref() };
                let text = absence::text(content_type, &body, cut, || absence_line(target, status));
                Ok(Reply::Absent(Absent { status: status.as_u16(), text }))
            }
            other => Err(UpstreamError::Status { host: incoming.host().to_owned(), status: other.as_u16(), retry_after }),
        }
    }
}

/// One request of an ask.
#[derive(Clone, Copy)]
struct Step<'a> {
    url: &'a Url,
    /// Who led to `url`; itself if nobody did.
    sender: &'a Url,
    trust: Trust,
    authorization: Option<&'a HeaderValue>,
}

/// The word for an outcome in the numbers; none where nothing went out.
fn counted(outcome: &Result<Reply, UpstreamError>) -> Option<UpstreamOutcome> {
    match outcome {
        Ok(Reply::Found(_)) => Some(UpstreamOutcome::Found),
        Ok(Reply::Absent(_)) => Some(UpstreamOutcome::Absent),
        Err(error) => error.outcome(),
    }
}

/// A request that came to nothing.
enum Broken {
    /// Not to be tried again.
    Finally(UpstreamError),
    /// The connection broke after it stood and before an answer began.
    BeforeAnswer(UpstreamError),
}

impl Broken {
    fn into_error(self) -> UpstreamError {
        match self {
            Self::Finally(e) | Self::BeforeAnswer(e) => e,
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, without the credentials that it may name.
fn redirect_target(hop: &Hop, from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = header(headers, &LOCATION).ok_or("it does not say where to")?;
    let mut to = from.join(location).map_err(|e| format!("bad Location: {e}"))?;
    match to.scheme() {
        "https" => {}
        "http" if hop.url.scheme() == "http" => {}
        other => return Err(format!("to {other}")),
    }
    to.set_fragment(None);
    to.set_username("").and_then(|()| to.set_password(None)).map_err(|()| "to no host".to_owned())?;
    Ok(to)
}

/// The classes of the addresses that this upstream itself has.
fn inner_of(hop: &Hop, response: &reqwest::Response) -> Inner {
    let named = client::literal(&hop.url).map_or(Inner::NONE, address::class_of);
    // By a proxy the peer is the proxy, whose address says nothing about the upstream's.
    let peer = match response.extensions().get::<Direct>() {
        Some(Direct) => response.remote_addr().map_or(Inner::NONE, |peer| address::class_of(peer.ip())),
        None => Inner::NONE,
    };
    named.with(peer)
}

/// Marks an answer that came without a proxy between.
#[derive(Clone, Copy)]
struct Direct;

/// Told to whoever asks, and cached: it names nobody.
fn absence_line(target: Target<'_>, status: StatusCode) -> String {
    let answered = format!("{WHO} answered {}\n", status.as_u16());
    match target.path() {
        Some(path) => format!("not found: {path}: {answered}"),
        None => format!("not found: {answered}"),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Host and port, for logs and errors: never credentials.
fn public_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn failed(url: &Url, reason: impl Into<String>) -> UpstreamError {
    UpstreamError::Failed { host: public_name(url), connected: false, reason: reason.into() }
}

fn redirect(url: &Url, reason: impl Into<String>) -> UpstreamError {
    UpstreamError::Redirect { host: public_name(url), reason: reason.into() }
}

/// The innermost cause: reqwest's own texts repeat the URL and say little.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn forbidden(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(e) = cause {
        if let Some(forbidden) = e.downcast_ref::<Forbidden>() {
            return Some(forbidden.to_string());
        }
        cause = e.source();
    }
    None
}
