//! The front desk: a request's head is read once here, in the order path, credentials, use case, and what comes
//! back becomes a reply.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::sync::watch;

use super::paste::{self, Reached};
use super::response::{self, Note};
use super::{BodyError, End, Head, ListenerKind, Reply, RequestBody, Service, Summary};
use crate::access::Principal;
use crate::admin::{BACKUP, OPERATOR, OperationError, Operations};
use crate::gateway::{Caller, Gateway, How, Refusal};
use crate::hosted::{Upload, UploadError};
use crate::observe::audit::Actor;
use crate::protocol::{self, Base, ModuleAsk, Reject, Request, SumdbWhat};

/// Longest JSON of an operator's command, bytes.
const COMMAND_MAX: usize = 64 << 10;

/// Everything that requests are answered from, under one set of settings.
pub struct House {
    /// The use cases.
    gateway: Gateway,
    /// Operations.
    operations: Operations,
    /// Where this gateway is reached.
    reached: Reached,
    /// True once the server drains.
    draining: watch::Receiver<bool>,
}

/// Takes requests, and answers each from the house that stands when its head has come, to its end.
pub struct Front {
    house: ArcSwap<House>,
}

impl Front {
    /// Opens `house`.
    pub fn new(house: House) -> Self {
        Self { house: ArcSwap::from_pointee(house) }
    }

    /// The house that stands.
    pub fn house(&self) -> Arc<House> {
        self.house.load_full()
    }

    /// Answers requests from `house` from now on; those that are under way end in the one that they began in.
    pub fn rebuild(&self, house: House) {
        self.house.store(Arc::new(house));
    }
}

#[async_trait]
impl Service for Front {
    type Note = Note;

    async fn call(&self, head: Head, body: &mut dyn RequestBody) -> Reply<Note> {
        let request = match protocol::parse(&head.method, &head.path) {
            Ok(request) => request,
            Err(reject) => return response::reject(&reject),
        };
        let operations = matches!(request, Request::Health | Request::Ready | Request::Admin(_));
        if !operations && !matches!(head.listener, ListenerKind::Public { .. }) {
            return response::reject(&Reject::NotFound);
        }
        let kind = kind(&request);
        let (principal, outcome) = self.house().request(&head, request, body).await;
        let mut reply = outcome.unwrap_or_else(|refusal| response::refuse(&refusal));
        let note = reply.note.get_or_insert_with(Note::default);
        note.kind = kind;
        note.principal = principal;
        reply
    }

    fn done(&self, summary: Summary<Note>) {
        let note = summary.note.unwrap_or_default();
        if let Some(cause) = &note.cause {
            tracing::warn!(request_id = summary.request_id, status = summary.status, path = summary.path, "{cause}");
        }
        if !self.house.load().operations.config.log.access {
            return;
        }
        tracing::info!(
            target: "access",
            request_id = summary.request_id,
            peer = summary.peer.map(|peer| peer.to_string()),
            principal = note.principal,
            method = summary.method,
            path = summary.path,
            kind = note.kind,
            status = summary.status,
            cache = note.cache,
            refusal = note.refusal,
            bytes_in = summary.bytes_in,
            bytes_out = summary.bytes_out,
            ms = (summary.duration.as_secs_f64() * 1e6).round() / 1e3,
            protocol = summary.protocol,
            cut = summary.end != End::Complete,
            detail = summary.detail,
        );
    }
}

type Outcome = Result<Reply<Note>, Refusal>;

impl House {
    /// What these settings make of requests.
    pub fn new(operations: Operations, reached: Reached, draining: watch::Receiver<bool>) -> Self {
        let Operations { config, stores, policy, access, cache, audit, .. } = &operations;
        let https = reached.netrc_machine().map(str::to_owned);
        let gateway = Gateway::new(config, stores.clone(), access.clone(), policy.clone(), cache.clone(), audit.clone(), https);
        Self { gateway, operations, reached, draining }
    }

    /// Operations.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// Where this gateway is reached.
    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    /// The principal as it stands in the log, and what became of the request.
    async fn request(&self, head: &Head, request: Request, body: &mut dyn RequestBody) -> (String, Outcome) {
        let authorization = authorization(&head.headers);
        let who = match self.gateway.authenticate(authorization.filter(|_| !is_open(&request))).await {
            Ok(who) => who,
            Err(refusal) => return (String::new(), Err(refusal)),
        };
        // Whoever reaches the socket is the user whom the server runs as.
        let name = if head.listener == ListenerKind::AdminSocket { OPERATOR } else { who.text() }.to_owned();
        let actor =
            Actor { by: name.as_str().into(), request_id: Some(head.request_id.as_str().into()), peer: head.peer.map(|peer| peer.ip()) };
        (name, self.serve(head, request, &Caller { who, actor }, body).await)
    }

    async fn serve(&self, head: &Head, request: Request, caller: &Caller, body: &mut dyn RequestBody) -> Outcome {
        let who = &caller.who;
        match request {
            Request::Home(_) => self.home(who).await,
            Request::Module(base, path, ask) => {
                let how = How { head: head.method == Method::HEAD, no_cache: no_cache(&head.headers) };
                self.gateway.module(&base, &path, &ask, who, how).await.map(response::answer)
            }
            Request::Sumdb(_, ask) if ask.what == SumdbWhat::Supported => Ok(response::text(200, String::new())),
            Request::Sumdb(base, ask) => self.gateway.sumdb(&base, &ask, who).await.map(response::answer),
            Request::Publish(owner) => {
                let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let published = self.gateway.publish(owner.as_ref(), caller, content_type, &mut Adapted(body)).await?;
                Ok(response::text(201, published))
            }
            Request::Delete(owner, path, version) => {
                self.gateway.delete(owner.as_ref(), &path, &version, caller).await.map(|()| response::no_content())
            }
            Request::Admin(command) => self.admin(head, &command, caller, body).await,
            Request::Health => Ok(response::text(200, "ok\n".to_owned())),
            Request::Ready => Ok(self.ready().await),
        }
    }

    /// GOAUTH=git asks a base with HEAD whether its credentials are good; people ask it what to do.
    async fn home(&self, who: &Principal) -> Outcome {
        self.gateway.may_enter(who)?;
        let names = if who.is_anonymous() { None } else { Some(self.operations.private_names(who).await?) };
        Ok(response::text(200, paste::home(&self.reached, names.as_ref())))
    }

    /// Operations: over the socket for whoever reaches it, over TCP with an admin's credentials.
    async fn admin(&self, head: &Head, command: &str, caller: &Caller, body: &mut dyn RequestBody) -> Outcome {
        let who = &caller.who;
        match head.listener {
            ListenerKind::Public { .. } => return Ok(response::reject(&Reject::NotFound)),
            ListenerKind::AdminTcp if who.is_anonymous() => return Err(Refusal::SignIn),
            ListenerKind::AdminTcp if !who.is_admin() => return Err(Refusal::Forbidden("this takes an admin's token".to_owned())),
            ListenerKind::AdminTcp | ListenerKind::AdminSocket => {}
        }
        let mut json = Vec::new();
        let mut body = Adapted(body);
        while let Some(piece) = body.next().await.map_err(Refusal::from)? {
            json.extend_from_slice(&piece);
            if json.len() > COMMAND_MAX {
                return Err(Refusal::TooLarge(format!("a command's arguments are at most {COMMAND_MAX} bytes")));
            }
        }
        if command == BACKUP {
            return Ok(match self.operations.backup(&caller.actor).await {
                Ok(archive) => response::archive(archive),
                Err(error) => response::operation(Err(error)),
            });
        }
        let outcome = match serde_json::from_slice(&json) {
            Ok(args) => self.operations.call(command, args, &caller.actor).await,
            Err(error) => Err(OperationError::Bad(format!("the arguments are not JSON: {error}"))),
        };
        Ok(response::operation(outcome))
    }

    async fn ready(&self) -> Reply<Note> {
        if *self.draining.borrow() {
            return response::text(503, "draining\n".to_owned());
        }
        match self.operations.writable().await {
            Ok(()) => response::text(200, "ready\n".to_owned()),
            // The detail names files: it is for the log, since probes are open to everyone.
            Err(error) => {
                let mut reply = response::text(503, "storage is not writable\n".to_owned());
                reply.note.get_or_insert_with(Note::default).cause = Some(error.to_string());
                reply
            }
        }
    }
}

/// Whether everyone is answered, whatever credentials they show: probes, and that a checksum database is here, which is said by our
/// own word and in every state, since any other answer sends private names elsewhere.
fn is_open(request: &Request) -> bool {
    match request {
        Request::Health | Request::Ready => true,
        Request::Sumdb(_, ask) => ask.what == SumdbWhat::Supported,
        Request::Home(_) | Request::Module(..) | Request::Publish(_) | Request::Delete(..) | Request::Admin(_) => false,
    }
}

/// The credentials as they were sent. Of two headers nobody knows which one counts: that is no credentials' form.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    if values.next().is_some() { Some("") } else { Some(first.to_str().unwrap_or_default()) }
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
        Request::Sumdb(_, ask) => match ask.what {
            SumdbWhat::Supported => "sumdb-supported",
            SumdbWhat::Latest => "sumdb-latest",
            SumdbWhat::Lookup(..) => "sumdb-lookup",
            SumdbWhat::Tile(_) => "sumdb-tile",
        },
        Request::Publish(_) => "publish",
        Request::Delete(..) => "delete",
        Request::Health => "health",
        Request::Ready => "ready",
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
