//! The front desk: a request's head is read once here, in the order path, credentials, use case, and what comes
//! back becomes a reply.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::ended::{self, Observed};
use super::packages;
use super::paste::{self, Checksums, Reached};
use super::peer;
use super::response::{self, Note};
use super::{BodyError, Head, ListenerKind, Reply, RequestBody, Service, Summary};
use crate::access::Principal;
use crate::admin::{BACKUP, FINDINGS, OPERATOR, OperationError, Operations, UNVERIFIED};
use crate::config::FILE_BYTES_MAX;
use crate::gateway::{Caller, Gateway, How, OwnDatabase, Public, Refusal, Rejection};
use crate::hosted::{Hosted, Upload, UploadError};
use crate::module::OwnerName;
use crate::observe::audit::Actor;
use crate::observe::chain;
use crate::observe::metrics::OwnerClass;
use crate::observe::spawn_blocking;
use crate::protocol::{self, Base, ModuleAsk, PackageAsk, PackageQuery, Reject, Request, SumdbAsk, SumdbWhat};
use crate::sumdb::Client;
use crate::sumdb::log::OwnName;

/// Longest JSON of an operator's command, bytes.
const COMMAND_MAX: usize = 64 << 10;
/// Likewise where it brings a settings file, which JSON may make twice as long.
const SETTINGS_MAX: usize = 2 * FILE_BYTES_MAX as usize + COMMAND_MAX;

/// How long, at the end, what operators began has to be done with and recorded.
const BEGUN_TIME: Duration = Duration::from_secs(1);

/// Everything that requests are answered from, under one set of settings.
pub struct House {
    /// The use cases.
    gateway: Gateway,
    /// Operations.
    operations: Arc<Operations>,
    /// Where this gateway is reached.
    reached: Arc<Reached>,
    /// True once the server drains.
    draining: watch::Receiver<bool>,
}

/// Takes requests, and answers each from the house that stands when its head has come, to its end.
pub struct Front {
    /// None once the server has retired it.
    house: ArcSwapOption<House>,
    /// What notes requests. This and what follows stay when there is no house any more.
    observed: Observed,
    /// Where this gateway is reached.
    reached: ArcSwap<Reached>,
    /// Our own checksum database's name.
    own_name: OwnName,
}

impl Front {
    /// Opens `house`.
    pub fn new(house: House) -> Self {
        let observed = Observed::new(&house.operations);
        let reached = ArcSwap::new(house.reached.clone());
        let own_name = house.operations.own_name.clone();
        Self { house: ArcSwapOption::from_pointee(house), observed, reached, own_name }
    }

    /// The house that stands, if one does.
    pub fn house(&self) -> Option<Arc<House>> {
        self.house.load_full()
    }

    /// Answers requests from `house` from now on; those that are under way end in the one that they began in. Where none stands any more
    /// none is built.
    pub fn rebuild(&self, house: House) {
        self.observed.log_access(house.operations.config.log.access);
        self.reached.store(house.reached.clone());
        let house = Arc::new(house);
        self.house.rcu(|old| old.as_ref().map(|_| house.clone()));
    }
}

impl Front {
    /// Answers where no house stands any more.
    fn farewell(&self, head: &Head) -> Reply<Note> {
        let reached = self.reached.load();
        let request = reached.below(head.listener, &head.path).and_then(|path| protocol::parse(&head.method, path).ok());
        let supported = request.and_then(|request| supported(&self.own_name, &request));
        supported.unwrap_or_else(|| response::unavailable("this process is ending; ask again"))
    }
}

#[async_trait]
impl Service for Front {
    type Note = Note;

    async fn call(&self, head: Head, body: &mut dyn RequestBody) -> Reply<Note> {
        let Some(house) = self.house() else { return self.farewell(&head) };
        let from = peer::client(head.peer, head.listener, &head.headers, &house.operations.config.server.trusted_proxies);
        let mut reply = house.receive(&head, from, body).await;
        // Also of what is no request: whoever tries doors is to be found.
        let forwarded_for = from.filter(|from| head.peer.is_none_or(|peer| peer.ip().to_canonical() != *from));
        reply.note.get_or_insert_with(Note::default).forwarded_for = forwarded_for;
        reply
    }

    /// Lets go of the house, and with it of the stores, the cache and their directory, once what works there in the background has ended.
    async fn retire(&self) {
        if let Some(house) = self.house.swap(None) {
            house.operations.cache.abandon_fills();
            // The last commit is waited for; what the next start is quicker for knowing is written down, and what the audit trail was
            // told, also where something that nobody waits for any more holds on to them.
            // What operators began comes first, and what hangs is not waited for.
            let _ = tokio::time::timeout(BEGUN_TIME, house.operations.ended()).await;
            let closing = move || {
                house.operations.cache.close();
                house.operations.audit.close();
            };
            let _ = spawn_blocking(closing).await;
        }
    }

    fn done(&self, summary: Summary<Note>) {
        let house = self.house.load();
        ended::ended(&self.observed, house.as_ref().map(|house| &house.operations.audit), summary);
    }
}

type Outcome = Result<Reply<Note>, Rejection>;

impl House {
    /// What these settings make of requests.
    pub fn new(operations: Operations, reached: Reached, draining: watch::Receiver<bool>) -> Self {
        let Operations { config, stores, policy, access, cache, sumdb, log, audit, metrics, .. } = &operations;
        let sign_in = reached.sign_in();
        let public = Public { cache: cache.clone(), sumdb: sumdb.clone() };
        let hosted = Hosted::new(config, stores.clone(), policy.clone(), audit.clone(), log.clone());
        let own = log.clone().map(|log| OwnDatabase::new(log, audit.clone(), metrics.log.clone()));
        let gateway = Gateway::new(config, hosted, access.clone(), policy.clone(), public, own, sign_in);
        Self { gateway, operations: Arc::new(operations), reached: Arc::new(reached), draining }
    }

    /// Operations.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// Where this gateway is reached.
    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    /// Answers what `from` sent, if it is a request that this listener serves.
    async fn receive(&self, head: &Head, from: Option<IpAddr>, body: &mut dyn RequestBody) -> Reply<Note> {
        let Some(path) = self.reached.below(head.listener, &head.path) else { return response::reject(&Reject::NotFound) };
        let request = match protocol::parse(&head.method, path) {
            Ok(request) => request,
            Err(reject) => return response::reject(&reject),
        };
        let operations = matches!(request, Request::Health | Request::Ready | Request::Metrics | Request::Admin(_));
        if !operations && !matches!(head.listener, ListenerKind::Public { .. }) {
            return response::reject(&Reject::NotFound);
        }
        let span = tracing::error_span!("request", request_id = head.request_id, node = self.operations.audit.node());
        self.answer(head, request, from, body).instrument(span).await
    }

    async fn answer(&self, head: &Head, request: Request, from: Option<IpAddr>, body: &mut dyn RequestBody) -> Reply<Note> {
        let kind = kind(&request);
        let owner = owner(&request).map_or(OwnerClass::None, |owner| self.gateway.owner_class(owner));
        let (principal, outcome) = self.request(head, request, from, body).await;
        let mut reply = outcome.unwrap_or_else(|rejection| refuse(rejection, &head.request_id));
        let note = reply.note.get_or_insert_with(Note::default);
        note.kind = kind;
        if note.owner == OwnerClass::None {
            note.owner = owner;
        }
        note.principal = principal;
        reply
    }

    /// The principal as it stands in the log, and what became of the request.
    async fn request(&self, head: &Head, request: Request, from: Option<IpAddr>, body: &mut dyn RequestBody) -> (String, Outcome) {
        let authorization = authorization(&head.headers).filter(|_| !is_open(&request));
        let who = match self.gateway.authenticate(authorization, from, is_read(&request)).await {
            Ok(who) => who,
            Err(rejection) => return (String::new(), Err(rejection)),
        };
        // Whoever reaches the socket is the user whom the server runs as.
        let name = if head.listener == ListenerKind::AdminSocket { OPERATOR } else { who.text() }.to_owned();
        let actor = Actor { by: name.as_str().into(), request_id: Some(head.request_id.as_str().into()), peer: from };
        let https = peer::is_https(head.peer, head.listener, &head.headers, &self.operations.config.server.trusted_proxies);
        (name, self.serve(head, request, &Caller { who, actor, https }, body).await)
    }

    async fn serve(&self, head: &Head, request: Request, caller: &Caller, body: &mut dyn RequestBody) -> Outcome {
        if let Some(reply) = supported(&self.operations.own_name, &request) {
            return Ok(reply);
        }
        let (who, is_head) = (&caller.who, head.method == Method::HEAD);
        match request {
            Request::Home(_) => self.home(who).await,
            Request::Module(base, path, ask) => {
                let how = How { head: is_head, no_cache: no_cache(&head.headers) };
                Ok(response::answer(self.gateway.module(&base, &path, &ask, caller, how).await?))
            }
            Request::Sumdb(base, ask) => Ok(response::answer(self.gateway.sumdb(&base, &ask, caller, is_head).await?)),
            Request::Log(hash, what) => Ok(response::answer(self.gateway.log(&hash, &what, caller, is_head).await?)),
            Request::Publish(owner) => {
                let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let published = self.gateway.publish(owner.as_ref(), caller, content_type, &mut Adapted(body)).await?;
                Ok(response::text(201, published))
            }
            Request::Delete(owner, path, version) => {
                self.gateway.delete(owner.as_ref(), &path, &version, caller).await?;
                Ok(response::no_content())
            }
            Request::Packages(owner) => match PackageQuery::parse(head.query.as_deref()) {
                Ok(query) => {
                    let listing = self.gateway.packages(owner.as_ref(), &query, who).await?;
                    Ok(packages::listing(&listing, &self.reached))
                }
                Err(reject) => Ok(response::reject(&reject)),
            },
            Request::Package(owner, path, version, PackageAsk::Version) => {
                let record = self.gateway.package(owner.as_ref(), &path, &version, who).await?;
                Ok(packages::version(&record, &self.reached))
            }
            Request::Package(owner, path, version, PackageAsk::Files) => {
                let (record, sums) = self.gateway.package_files(owner.as_ref(), &path, &version, who).await?;
                Ok(packages::files(&record, sums.as_ref()))
            }
            Request::Admin(command) => self.admin(head, &command, caller, body).await,
            Request::Health => Ok(response::text(200, "ok\n".to_owned())),
            Request::Ready => Ok(self.ready(head.listener).await),
            Request::Metrics => self.metrics(head.listener).await,
        }
    }

    /// GOAUTH=git asks a base with HEAD whether its credentials are good; people ask it what to do.
    async fn home(&self, who: &Principal) -> Outcome {
        self.gateway.may_enter(who)?;
        let checksums = match &self.operations.log {
            Some(log) => Checksums::Own(Box::new(log.key().clone())),
            None if who.is_anonymous() => Checksums::Hidden,
            None => Checksums::Private(self.operations.private_names(who).await?),
        };
        Ok(response::text(200, paste::home(&self.reached, &checksums)))
    }

    /// Operations: over the socket for whoever reaches it, over TCP with an admin's credentials.
    async fn admin(&self, head: &Head, command: &str, caller: &Caller, body: &mut dyn RequestBody) -> Outcome {
        let who = &caller.who;
        match head.listener {
            ListenerKind::Public { .. } => return Ok(response::reject(&Reject::NotFound)),
            ListenerKind::AdminTcp if who.is_anonymous() => return Err(Refusal::SignIn.into()),
            ListenerKind::AdminTcp if !who.is_admin() => return Err(Refusal::Forbidden("this takes an admin's token".to_owned()).into()),
            ListenerKind::AdminTcp | ListenerKind::AdminSocket => {}
        }
        let brings_settings = command == FINDINGS && matches!(head.listener, ListenerKind::AdminSocket);
        let most = if brings_settings { SETTINGS_MAX } else { COMMAND_MAX };
        let json = arguments(body, most).await?;
        if command == BACKUP {
            return Ok(match self.operations.backup(&caller.actor).await {
                Ok(archive) => response::archive(archive),
                Err(error) => response::operation(Err(error)),
            });
        }
        let outcome = match serde_json::from_slice::<serde_json::Value>(&json) {
            Ok(args) if command == FINDINGS && !brings_settings && !args.is_null() => {
                return Err(Refusal::Forbidden("settings are judged over admin.sock alone: they hold password hashes".to_owned()).into());
            }
            Ok(args) => self.operations.begin(command, args, &caller.actor).await,
            Err(error) => Err(OperationError::Bad(format!("the arguments are not JSON: {error}"))),
        };
        Ok(response::operation(outcome))
    }

    /// For whoever reaches operations, without credentials; what it tells is nothing for strangers.
    async fn metrics(&self, listener: ListenerKind) -> Outcome {
        if matches!(listener, ListenerKind::Public { .. }) {
            return Ok(response::reject(&Reject::NotFound));
        }
        let page = self.operations.metrics_page().await.map_err(|error| Refusal::Storage(chain(&error)))?;
        Ok(response::metrics(page))
    }

    /// Which upstream is down is told by name to operators; to everyone else by its place in `upstream.goproxy`.
    async fn ready(&self, listener: ListenerKind) -> Reply<Note> {
        if *self.draining.borrow() {
            return response::text(503, "draining\n".to_owned());
        }
        match self.operations.writable().await {
            Ok(()) => {
                let is_public = matches!(listener, ListenerKind::Public { .. });
                let degraded = self.operations.upstream.down().into_iter().map(|(place, down)| {
                    let summary = if is_public { down.summary_of(&place.to_string()) } else { down.summary() };
                    format!("degraded: upstream {summary}\n")
                });
                let paused = self.operations.cache.is_paused().then_some("degraded: cache: nothing new is kept (cache.min_free)\n");
                let believed = self.operations.config.upstream.is_believed();
                let degraded = degraded.chain(believed.then(|| format!("degraded: {UNVERIFIED} (upstream.verify)\n")));
                let forked = self.operations.sumdb.as_ref().map(Client::database).filter(|database| database.fork().is_some());
                let forked = forked.map(|database| {
                    format!("degraded: {} shows two trees: nothing new is taken in (modgate sumdb trust)\n", database.name())
                });
                // An upstream's trouble is none of ours: what is hosted or cached is served.
                let degraded = degraded.chain(paused.map(str::to_owned)).chain(forked);
                response::text(200, "ready\n".to_owned() + &degraded.collect::<String>())
            }
            // The detail names files: it is for the log, since probes are open to everyone.
            Err(error) => {
                let mut reply = response::text(503, "storage is not writable\n".to_owned());
                reply.note.get_or_insert_with(Note::default).cause = Some(chain(&error));
                reply
            }
        }
    }
}

/// The JSON of an operator's command, at most so many bytes.
async fn arguments(body: &mut dyn RequestBody, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut json = Vec::new();
    let mut body = Adapted(body);
    while let Some(piece) = body.next().await? {
        json.extend_from_slice(&piece);
        if json.len() > most {
            return Err(Refusal::TooLarge(format!("a command's arguments are at most {most} bytes")));
        }
    }
    Ok(json)
}

/// The answer to what is not answered, with what the audit trail is to tell of it.
fn refuse(rejection: Rejection, request_id: &str) -> Reply<Note> {
    let Rejection { refusal, of, reason, named } = rejection;
    let mut reply = response::refuse(&refusal, request_id);
    let note = reply.note.get_or_insert_with(Note::default);
    (note.of, note.reason, note.named) = (of, reason, named);
    reply
}

/// What it is answered that asks whether a checksum database is here: by our own word and in every state.
fn supported(own: &OwnName, request: &Request) -> Option<Reply<Note>> {
    let here = match request {
        Request::Sumdb(_, SumdbAsk { name, what: SumdbWhat::Supported }) => own.is_here(name),
        Request::Log(hash, SumdbWhat::Supported) => own.is_here_by_hash(hash),
        _ => return None,
    };
    Some(if here { response::text(200, String::new()) } else { response::reject(&Reject::NotFound) })
}

/// Whether everyone is answered, whatever credentials they show: probes, and whether a checksum database is here.
fn is_open(request: &Request) -> bool {
    match request {
        Request::Health | Request::Ready | Request::Metrics => true,
        Request::Sumdb(_, SumdbAsk { what, .. }) | Request::Log(_, what) => *what == SumdbWhat::Supported,
        Request::Home(_) | Request::Module(..) | Request::Publish(_) | Request::Delete(..) | Request::Admin(_) => false,
        Request::Packages(_) | Request::Package(..) => false,
    }
}

/// Whether it changes nothing, and so is never answered 429.
fn is_read(request: &Request) -> bool {
    match request {
        Request::Home(_) | Request::Module(..) | Request::Sumdb(..) | Request::Log(..) => true,
        Request::Packages(_) | Request::Package(..) => true,
        Request::Health | Request::Ready | Request::Metrics => true,
        Request::Publish(_) | Request::Delete(..) | Request::Admin(_) => false,
    }
}

/// The credentials as they were sent. Of two headers nobody knows which one counts: that is no credentials' form.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    if values.next().is_some() { Some("") } else { Some(first.to_str().unwrap_or_default()) }
}

/// The owner whom a request names.
fn owner(request: &Request) -> Option<&OwnerName> {
    match request {
        Request::Home(base) | Request::Module(base, ..) | Request::Sumdb(base, _) => match base {
            Base::Owner(owner) => Some(owner),
            Base::Root | Base::NoOwner => None,
        },
        Request::Publish(owner) | Request::Delete(owner, ..) | Request::Packages(owner) | Request::Package(owner, ..) => owner.as_ref(),
        Request::Log(..) | Request::Health | Request::Ready | Request::Metrics | Request::Admin(_) => None,
    }
}

/// Whether the client asks for what is not remembered (RFC 9111, section 5.2.1.4).
fn no_cache(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

/// The word for a request in the log.
fn kind(request: &Request) -> &'static str {
    match request {
        Request::Home(Base::Root) => "home",
        Request::Home(_) => "owner-home",
        Request::Module(_, _, ask) => match ask {
            ModuleAsk::List => "list",
            ModuleAsk::Latest => "latest",
            ModuleAsk::Info(_) => "info",
            ModuleAsk::Query(_) => "query",
            ModuleAsk::Mod(_) => "mod",
            ModuleAsk::Zip(_) => "zip",
            ModuleAsk::Alias(_) => "alias",
            ModuleAsk::NoVersion(_) => "no-version",
        },
        Request::Sumdb(_, SumdbAsk { what, .. }) | Request::Log(_, what) => match what {
            SumdbWhat::Supported => "sumdb-supported",
            SumdbWhat::Latest => "sumdb-latest",
            SumdbWhat::Lookup(..) => "sumdb-lookup",
            SumdbWhat::Tile(_) => "sumdb-tile",
        },
        Request::Publish(_) => "publish",
        Request::Delete(..) => "delete",
        Request::Packages(_) => "packages",
        Request::Package(_, _, _, PackageAsk::Version) => "package",
        Request::Package(_, _, _, PackageAsk::Files) => "package-files",
        Request::Health => "health",
        Request::Ready => "ready",
        Request::Metrics => "metrics",
        Request::Admin(_) => "admin",
    }
}

/// The server's body as the use case reads it.
struct Adapted<'a>(&'a mut dyn RequestBody);

#[async_trait]
impl Upload for Adapted<'_> {
    fn declared_len(&self) -> Option<u64> {
        self.0.declared_len()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        self.0.next().await.map_err(|error| match error {
            BodyError::Stalled | BodyError::TooSlow => UploadError::Stalled,
            BodyError::Gone => UploadError::Gone,
            BodyError::Malformed => UploadError::Malformed("bad framing".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests;
