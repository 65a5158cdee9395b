//! The use case: who asks, and what for, becomes an answer. Hosted first, then what may leave, then the cache.
//!
//! An answer to a read depends only on the path's class and on what the principal may see. A module that is
//! hosted but not visible takes the very same way as one that is not there.

mod log;
mod packages;
mod rejection;

pub use log::OwnDatabase;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Access, AuthError, BaseAccess, Principal};
use crate::cache::{Absence, Asker, Body, Cache, CacheError, CacheStatus, Cached, Mismatch, Resolved, Unvouched, VouchError};
use crate::config::{Config, Miss};
use crate::egress::{Denied, Policy, Reader, SignIn, Verdict, miss_text, no_sumdb};
use crate::hosted::{Hosted, Outside, PublishRefusal, Publisher, Read, Upload, UploadError, View};
use crate::module::{ModulePath, OwnerName, Version};
use crate::observe::audit::Actor;
use crate::observe::chain;
use crate::observe::metrics::OwnerClass;
use crate::protocol::{Base, ModuleAsk, SumdbAsk, SumdbWhat};
use crate::store::{Delete, Scope, StoreError};
use crate::sumdb::Client;
use crate::sumdb::proxy::{Proxy, ProxyError};

pub use rejection::Rejection;

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// The media type of the bytes.
    pub media: &'static str,
    /// The bytes.
    pub body: Body,
    /// Where they came from, for public things.
    pub cache: Option<CacheStatus>,
    /// A strong validator, quoted.
    pub etag: Option<String>,
    /// The class of the owner whose it is.
    pub owner: OwnerClass,
}

/// How a module is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Only the head of the answer will be sent.
    pub head: bool,
    /// What is remembered of lists, branches and absences does not do.
    pub no_cache: bool,
}

/// Who asks, and in which request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What they may do follows from this.
    pub who: Principal,
    /// As they stand in logs, records and the audit trail.
    pub actor: Actor,
    /// It came over https, to us or to a front that says so.
    pub https: bool,
}

/// Every way in which a well-formed request is not answered. `http/response.rs` gives each its status.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No credentials where a principal is needed.
    #[error("sign in: put `machine HOST:PORT login NAME password TOKEN` into ~/.netrc, or use curl --user NAME:TOKEN")]
    SignIn,
    /// Credentials that are wrong, expired or revoked.
    #[error("wrong user name, password or token; or the token has expired or was revoked")]
    WrongCredentials,
    /// Credentials that were not looked at, in a request that is not a read: too many wrong ones came from the same address.
    #[error("{}", limited(.0))]
    LogInsLimited(Duration),
    /// The same in a read.
    #[error("{}", limited(.0))]
    ReadLimited(Duration),
    /// Credentials that were not looked at: too many wait for that.
    #[error("too many log-ins wait to be verified here; come again in {} s, or use a token, which does not wait", seconds(.0))]
    LogInsBusy(Duration),
    /// Signed in without the right.
    #[error("{0}")]
    Forbidden(String),
    /// Absent, or not for this caller.
    #[error("{0}")]
    Absent(String),
    /// Private, and not for this caller: told like what is absent, or refused.
    #[error("{text}")]
    Private {
        /// Which rule decided, and where it was set: for the log.
        verdict: Box<Verdict>,
        /// What the caller is told.
        text: String,
        /// As which of both.
        miss: Miss,
    },
    /// A private name at a public checksum database: the client must be mended.
    #[error("{} is private: no public checksum database may be asked. {}, with your private hosts", .0.path, no_sumdb("PATTERNS"))]
    PrivateLookUp(Box<Verdict>),
    /// Absent, says upstream: its own words go on as they are.
    #[error("{}", .0.text)]
    NotUpstream(Absence),
    /// A publish that is wrong: one problem a line.
    #[error("{0}")]
    BadUpload(String),
    /// A body that is too long.
    #[error("{0}")]
    TooLarge(String),
    /// A publish that something else stands against.
    #[error("{0}")]
    Conflict(String),
    /// The disk is full.
    #[error("the disk is full, or nearly so; nothing was kept")]
    Full,
    /// The disk is full where a version would be given out for the first time: that could not be recorded.
    #[error("the disk is full, or nearly so: this version cannot be given out for the first time until there is room again")]
    FullAtFirst,
    /// The disk is full at a delete. It may have come as far as the journal, and be found there when there is room again.
    #[error("the disk is full: the deletion could not be recorded for good; delete it again when there is room")]
    FullAtDelete,
    /// The body ended early or is malformed.
    #[error("{0}")]
    Interrupted(String),
    /// The body stalled.
    #[error("{0}")]
    Stalled(String),
    /// Upstream failed.
    #[error("{0}")]
    Upstream(String),
    /// Upstream was too slow.
    #[error("{0}")]
    UpstreamSlow(String),
    /// Nobody vouches for it.
    #[error(transparent)]
    Unvouched(Arc<Unvouched>),
    /// It is not what the checksum database says.
    #[error(transparent)]
    Mismatch(Arc<Mismatch>),
    /// It waited for its turn to ask upstream, in vain.
    #[error("{0}; try again")]
    Busy(String),
    /// Our own storage failed; the detail is for the log.
    #[error("the gateway's storage failed: its operator finds the cause in the log")]
    Storage(String),
}

/// The rule of credentials that are wrong.
pub const CREDENTIALS: &str = "credentials";
/// The rule of an address that showed too many of those.
pub const LOG_INS_LIMITED: &str = "log-ins-limited";

impl Refusal {
    /// The word for the rule that decided: one of `explain`'s where the egress policy did. A closed set, for logs and metrics.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::WrongCredentials => CREDENTIALS,
            Self::LogInsLimited(_) | Self::ReadLimited(_) => LOG_INS_LIMITED,
            Self::LogInsBusy(_) => "log-ins-busy",
            Self::Forbidden(_) => "rights",
            Self::Absent(_) => "absent",
            Self::Private { verdict, .. } | Self::PrivateLookUp(verdict) => verdict.rule.name(),
            Self::NotUpstream(_) => "absent-upstream",
            Self::BadUpload(_) => "bad-upload",
            Self::TooLarge(_) => "too-large",
            Self::Conflict(_) => "conflict",
            Self::Full | Self::FullAtFirst | Self::FullAtDelete => "disk-full",
            Self::Interrupted(_) => "interrupted",
            Self::Stalled(_) => "stalled",
            Self::Upstream(_) => "upstream",
            Self::UpstreamSlow(_) => "upstream-slow",
            Self::Unvouched(unvouched) => match unvouched.error {
                VouchError::Unknown(_) => "sumdb-unknown",
                VouchError::Away(_) => "sumdb-away",
                VouchError::Bad(_) => "sumdb-bad",
                VouchError::Forked(_) => "sumdb-forked",
                VouchError::Denied(_) => "private",
                VouchError::Storage(_) => "storage",
            },
            Self::Mismatch(_) => "mismatch",
            Self::Busy(_) => "busy",
            Self::Storage(_) => "storage",
        }
    }

    /// Where that rule was set, if it was.
    pub fn set(&self) -> Option<String> {
        match self {
            Self::Private { verdict, .. } | Self::PrivateLookUp(verdict) => Some(verdict.where_.to_string()),
            _ => None,
        }
    }

    /// What failed here, with its causes: for the log, never for the client. What failed upstream was logged when it did.
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Storage(cause) => Some(cause.clone()),
            Self::Full | Self::FullAtFirst | Self::FullAtDelete => Some(self.to_string()),
            Self::SignIn
            | Self::WrongCredentials
            | Self::LogInsLimited(_)
            | Self::ReadLimited(_)
            | Self::LogInsBusy(_)
            | Self::Forbidden(_)
            | Self::Absent(_)
            | Self::Private { .. }
            | Self::PrivateLookUp(_)
            | Self::NotUpstream(_)
            | Self::BadUpload(_)
            | Self::TooLarge(_)
            | Self::Conflict(_)
            | Self::Interrupted(_)
            | Self::Stalled(_)
            | Self::Upstream(_)
            | Self::UpstreamSlow(_)
            | Self::Unvouched(_)
            | Self::Mismatch(_)
            | Self::Busy(_) => None,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        (&error).into()
    }
}

impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Unavailable(_) | StoreError::Corrupt(_) => Self::Storage(chain(error)),
        }
    }
}

/// Of a read, which writes nothing but that a version is given out for the first time.
fn given_out(error: StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::FullAtFirst,
        error => error.into(),
    }
}

fn limited(wait: &Duration) -> String {
    format!("too many wrong passwords or tokens came from your address: yours was not looked at; come again in {} s", seconds(wait))
}

/// Whole seconds, rounded up: what `Retry-After` takes.
pub fn seconds(wait: &Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What a principal without the right to read is told.
const NO_PUBLISH: &str = "you may not publish here: it takes an owner of the settings, and its member or a token with the scope publish";
const NO_READ: &str = "your token may not read: it has no scope read";

/// Where public modules come from.
pub struct Public {
    /// What came from upstream.
    pub cache: Cache,
    /// Who verifies what the public checksum database says; nobody where nothing is verified.
    pub sumdb: Option<Client>,
}

/// The gateway.
pub struct Gateway {
    access: Arc<Access>,
    policy: Arc<Policy>,
    hosted: Hosted,
    cache: Cache,
    sumdb: Proxy,
    own: Option<OwnDatabase>,
    miss: Miss,
    /// For the line that tells how to.
    sign_in: Option<SignIn>,
}

impl Gateway {
    /// Over these parts. `own`: our own checksum database, if there is one. `sign_in`: for the line that tells how to.
    pub fn new(
        config: &Config,
        hosted: Hosted,
        access: Arc<Access>,
        policy: Arc<Policy>,
        public: Public,
        own: Option<OwnDatabase>,
        sign_in: Option<SignIn>,
    ) -> Self {
        let Public { cache, sumdb } = public;
        let of_sumdb = if sumdb.is_some() { cache.for_database() } else { cache.clone() };
        let sumdb = Proxy::new(of_sumdb, config.upstream.sumdb.as_ref().map(|sumdb| sumdb.name.clone()), sumdb);
        Self { access, policy, hosted, cache, sumdb, own, miss: config.private.miss, sign_in }
    }

    /// Who asks. `authorization` is the header as it was sent, `from` the client's address, `read` whether it is a read that is asked.
    pub async fn authenticate(&self, authorization: Option<&str>, from: Option<IpAddr>, read: bool) -> Result<Principal, Rejection> {
        let error = match self.access.authenticate(authorization, from).await {
            Ok(who) => return Ok(who),
            Err(error) => error,
        };
        let refusal = match error {
            AuthError::BadCredentials => Refusal::WrongCredentials,
            AuthError::Limited(wait) if read => Refusal::ReadLimited(wait),
            AuthError::Limited(wait) => Refusal::LogInsLimited(wait),
            AuthError::Busy(wait) => Refusal::LogInsBusy(wait),
            AuthError::Store(error) => error.into(),
        };
        let named = authorization.and_then(|header| self.access.named_user(header));
        Err(Rejection { named, ..refusal.into() })
    }

    /// What kind of owner this is, for the metrics.
    pub fn owner_class(&self, owner: &OwnerName) -> OwnerClass {
        self.access.owner_visibility(owner).into()
    }

    /// Whether this principal may read anything at all.
    pub fn may_enter(&self, who: &Principal) -> Result<(), Refusal> {
        match self.access.may_read_public(who) {
            true => Ok(()),
            false if who.is_anonymous() => Err(Refusal::SignIn),
            false => Err(Refusal::Forbidden(NO_READ.to_owned())),
        }
    }

    /// Answers the GOPROXY protocol.
    pub async fn module(&self, base: &Base, path: &ModulePath, ask: &ModuleAsk, caller: &Caller, how: How) -> Result<Answer, Refusal> {
        let Caller { who, actor, .. } = caller;
        let owner = self.base(base, who)?;
        let sees = |owner: &OwnerName| self.access.may_read(who, owner);
        let view = View { owner, sees: &sees, actor };
        match self.hosted.read(&view, path, ask, !how.head).await.map_err(given_out)? {
            Read::Found(answer) => {
                let owner = self.owner_class(&answer.owner);
                return Ok(Answer { media: ask.media_type(), body: answer.body, cache: None, etag: answer.etag, owner });
            }
            Read::Missing(text) => return Err(Refusal::Absent(text)),
            Read::NotHosted => {}
        }
        let verdict = self.policy.decide(path).await?;
        if !verdict.is_public() {
            return Err(self.miss(&view, verdict, self.reader(caller)).await);
        }
        match ask {
            ModuleAsk::Alias(_) => Err(Refusal::Absent(format!("{path}: the latest.* files are there for modules hosted here only"))),
            ModuleAsk::NoVersion(query) => Err(Refusal::Absent(format!("{path}@{query}: not a canonical version"))),
            // Strangers cannot make us ask upstream more often than the settings say.
            _ => match self.cache.resolve(path, ask, Asker { principal: who.text(), anew: how.no_cache && !who.is_anonymous() }).await {
                Ok(resolved) => found(resolved),
                // Published here, or claimed, since it was judged above: from now on it is a miss like any other.
                Err(CacheError::Denied(denied)) => Err(match &*denied {
                    Denied::Private(verdict) => self.miss(&view, Verdict::clone(verdict), self.reader(caller)).await,
                    Denied::Store(error) => error.into(),
                }),
                Err(error) => Err(self.refuse(error)),
            },
        }
    }

    /// Answers for a checksum database: ours, or a public one. `head`: only the head of the answer will be sent.
    pub async fn sumdb(&self, base: &Base, ask: &SumdbAsk, caller: &Caller, head: bool) -> Result<Answer, Refusal> {
        if let Some(own) = self.own(&ask.name) {
            return self.ask_own(own, base, &ask.what, caller, head).await;
        }
        let who = &caller.who;
        self.base(base, who)?;
        if let Some(renewed) = self.renewed(&ask.name) {
            return Err(Refusal::Forbidden(renewed));
        }
        // A private name is refused whatever database is named: the client must be mended, not sent on.
        if let SumdbWhat::Lookup(path, _) = &ask.what {
            let verdict = self.policy.decide(path).await?;
            if !verdict.is_public() {
                return Err(Refusal::PrivateLookUp(Box::new(verdict)));
            }
        }
        match self.sumdb.resolve(ask, who.text()).await {
            Ok(resolved) => found(resolved),
            Err(ProxyError::Off) if matches!(ask.what, SumdbWhat::Lookup(..)) => {
                Err(Refusal::Upstream("the public checksum database is off here (upstream.sumdb)".to_owned()))
            }
            Err(ProxyError::Off | ProxyError::Unknown) => Err(Refusal::Absent(format!("no checksum database {} is served here", ask.name))),
            Err(ProxyError::Cache(error)) => Err(self.refuse(error)),
            Err(ProxyError::Tile(error)) => Err(Refusal::Upstream(error.to_string())),
        }
    }

    /// Publishes to an owner. The rights are judged before the first byte of the body is asked for.
    /// Returns the text of the 201; with a refusal comes what the audit trail should tell of it.
    pub async fn publish(
        &self,
        owner: Option<&OwnerName>,
        caller: &Caller,
        content_type: Option<&str>,
        body: &mut dyn Upload,
    ) -> Result<String, Rejection> {
        let Caller { who, actor, .. } = caller;
        if let Some(owner) = owner.filter(|owner| who.is_admin() && self.access.owner_visibility(owner).is_none()) {
            // Others are not told which owners there are.
            return Err(PublishRefusal::from(Outside::NoOwner(owner.clone())).into());
        }
        // A name that no owner can have answers like one that no owner has.
        let may = owner.map_or_else(|| at_no_owner(who, BaseAccess::Forbidden), |owner| self.access.publish(who, owner));
        allow(may, &who.lacks(Scope::Publish, owner).unwrap_or_else(|| NO_PUBLISH.to_owned()))?;
        let Some(owner) = owner else { return Err(no_owner().into()) };
        let publisher = Publisher { actor: actor.clone(), may_read: self.access.may_read(who, owner) };
        let published = self.hosted.publish(owner, &publisher, content_type, body).await?;
        // Should the path be public again one day: what was said of it before was said of another module.
        self.cache.forget(&published.path).await;
        Ok(published.text())
    }

    /// Deletes a hosted version.
    pub async fn delete(&self, owner: Option<&OwnerName>, path: &ModulePath, version: &Version, caller: &Caller) -> Result<(), Refusal> {
        let Caller { who, actor, .. } = caller;
        let may = owner.map_or_else(|| at_no_owner(who, BaseAccess::Hidden), |owner| self.access.delete(who, owner));
        allow(may, "you may not delete here: it takes a member of the owner, or a token with the scope delete")?;
        let Some(owner) = owner else { return Err(no_owner()) };
        match self.hosted.delete(owner, path, version, actor).await {
            Ok(Delete::Deleted { .. }) => Ok(()),
            Ok(Delete::Absent) => Err(Refusal::Absent(format!("owner {owner} has no {path} {version}"))),
            Err(StoreError::Full) => Err(Refusal::FullAtDelete),
            Err(error) => Err(error.into()),
        }
    }

    /// The owner of a base, if the principal may know that it is there; every other name looks alike.
    fn base<'a>(&self, base: &'a Base, who: &Principal) -> Result<Option<&'a OwnerName>, Refusal> {
        self.may_enter(who)?;
        match base {
            Base::Root => Ok(None),
            Base::Owner(owner) => allow(self.access.base(who, owner), NO_READ).map(|()| Some(owner)),
            Base::NoOwner => allow(at_no_owner(who, BaseAccess::Hidden), NO_READ).map(|()| None),
        }
    }

    fn refuse(&self, error: CacheError) -> Refusal {
        match error {
            CacheError::Denied(denied) => match &*denied {
                Denied::Private(verdict) => Refusal::PrivateLookUp(Box::new(Verdict::clone(verdict))),
                Denied::Store(error) => Refusal::Storage(chain(error)),
            },
            CacheError::Timeout(error) => Refusal::UpstreamSlow(error.told()),
            CacheError::Upstream(error) => Refusal::Upstream(error.told()),
            CacheError::Unvouched(unvouched) => Refusal::Unvouched(unvouched),
            CacheError::Mismatch(mismatch) => Refusal::Mismatch(mismatch),
            CacheError::Busy(_) => Refusal::Busy(error.to_string()),
            CacheError::Off => Refusal::Absent("upstream is off here, and this is not in the cache".to_owned()),
            CacheError::Storage(cause) => Refusal::Storage(cause),
        }
    }

    fn reader<'a>(&'a self, caller: &'a Caller) -> Reader<'a> {
        match caller.who.is_anonymous() {
            true => Reader::Anonymous { sign_in: self.sign_in.as_ref(), https: caller.https },
            false => Reader::SignedIn(caller.who.text()),
        }
    }

    /// The one answer for every private path that is not for this caller: whatever the rule, whatever is hosted that they do not see.
    async fn miss(&self, view: &View<'_>, verdict: Verdict, reader: Reader<'_>) -> Refusal {
        let path = &verdict.path;
        let text = miss_text(path, reader, self.policy.holds_unknown_hosts());
        // A refusal above or below what they see would keep the go command from it.
        let shown = |owner: &OwnerName| view.owner.is_none_or(|base| base == owner) && (view.sees)(owner);
        let miss = match self.miss {
            Miss::NotFound => Miss::NotFound,
            Miss::Refuse => match self.policy.is_near_visible(path, &shown).await {
                Ok(true) => Miss::NotFound,
                Ok(false) => Miss::Refuse,
                Err(error) => return error.into(),
            },
        };
        Refusal::Private { verdict: Box::new(verdict), text, miss }
    }
}

/// What the cache came to.
fn found(resolved: Resolved) -> Result<Answer, Refusal> {
    match resolved {
        Resolved::Found(Cached { body, content_type, status, etag }) => {
            Ok(Answer { media: content_type, body, cache: Some(status), etag, owner: OwnerClass::None })
        }
        Resolved::Absent(absence) => Err(Refusal::NotUpstream(absence)),
    }
}

/// What a judgement about an owner comes to.
fn allow(may: BaseAccess, forbidden: &str) -> Result<(), Refusal> {
    match may {
        BaseAccess::Open => Ok(()),
        BaseAccess::SignIn => Err(Refusal::SignIn),
        BaseAccess::Hidden => Err(no_owner()),
        BaseAccess::Forbidden => Err(Refusal::Forbidden(forbidden.to_owned())),
    }
}

/// What acting where no owner can be comes to: `otherwise` for those who are signed in.
fn at_no_owner(who: &Principal, otherwise: BaseAccess) -> BaseAccess {
    if who.is_anonymous() { BaseAccess::SignIn } else { otherwise }
}

/// The same whether the owner is unknown or not to be seen.
fn no_owner() -> Refusal {
    Refusal::Absent("there is no such owner, or it is not available to you".to_owned())
}

impl From<PublishRefusal> for Refusal {
    fn from(refusal: PublishRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            PublishRefusal::BadForm(_) | PublishRefusal::BadZip(_) => Self::BadUpload(text),
            PublishRefusal::TooLarge { .. } | PublishRefusal::OverQuota { .. } => Self::TooLarge(text),
            PublishRefusal::Outside(_) => Self::Forbidden(text),
            PublishRefusal::VersionExists { .. } | PublishRefusal::NotYours { .. } | PublishRefusal::SealedOther { .. } => {
                Self::Conflict(text)
            }
            PublishRefusal::Full => Self::Full,
            PublishRefusal::Interrupted(error) => error.into(),
            PublishRefusal::Storage(error) => error.into(),
        }
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Stalled => Self::Stalled(error.to_string()),
            UploadError::Gone | UploadError::Malformed(_) => Self::Interrupted(error.to_string()),
        }
    }
}
