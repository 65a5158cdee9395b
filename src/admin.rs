//! What an operator asks of a gateway: one set of commands, whether they come through `admin.sock`, over
//! `admin_listen`, or from a command line that found no server and opened the store itself.
//!
//! Arguments and answers are JSON values, so that all three ways are one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::access::{Access, Principal};
use crate::cache::Cache;
use crate::config::Config;
use crate::egress::{Explanation, Policy};
use crate::module::{ModulePath, OwnerName, Pattern, Version};
use crate::store::{DataDir, Embedded, HealReport, Release, Scope, StoreError, Stores, TokenRecord};
use crate::upstream::Upstream;

/// The socket in the data directory at which a running server takes these commands.
pub const SOCKET_FILE: &str = DataDir::ADMIN_SOCKET;
/// Hosted paths that no pattern and no claim covers are named for GONOSUMDB up to this number: more wants a pattern.
const BARE_NAMES_MAX: usize = 100;
/// Lines of the ledger that are given at once, at most.
const PAGE_MAX: usize = 10_000;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The arguments are wrong, or there is no such command.
    #[error("{0}")]
    Bad(String),
    /// What it names is not there.
    #[error("{0}")]
    Absent(String),
    /// Something stands against it.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// `explain`
#[derive(Debug, Serialize, Deserialize)]
pub struct Explain {
    /// `MODULE[@VERSION]`
    pub module: String,
    /// Whose view to tell.
    pub user: Option<String>,
}

/// `egress`: lines from number `from` on.
#[derive(Debug, Serialize, Deserialize)]
pub struct EgressPage {
    /// The first line's number, from 0.
    pub from: u64,
    /// At most so many.
    pub limit: usize,
}

/// A claimed host, or a tombstone.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClaimLine {
    /// `claim` or `tombstone`
    pub kind: String,
    /// The host, or the module path.
    pub name: String,
    /// Whose.
    pub owner: String,
    /// When it was claimed, RFC 3339.
    pub since: Option<String>,
    /// Who claimed it.
    pub by: Option<String>,
}

/// `release`
#[derive(Debug, Serialize, Deserialize)]
pub struct ReleaseAsk {
    /// A host or a module path.
    pub name: String,
    /// Even if modules lose what keeps them private.
    pub force: bool,
}

/// What was released.
#[derive(Debug, Serialize, Deserialize)]
pub struct Released {
    /// One line.
    pub text: String,
}

/// `token-create`
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenAsk {
    /// What the operator calls it.
    pub name: String,
    /// `read`, `publish`, `delete`, `admin`
    pub scopes: Vec<String>,
    /// Owners that it is bound to; all if empty.
    pub owners: Vec<String>,
    /// Seconds from now until it ends.
    pub expires_in_s: Option<u64>,
}

/// A token just made: the only time its secret is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenMade {
    /// For `token revoke`.
    pub id: String,
    /// What the operator called it.
    pub name: String,
    /// The secret.
    pub token: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Owners that it is bound to.
    pub owners: Vec<String>,
    /// When it ends, RFC 3339.
    pub expires: Option<String>,
}

/// A token, without its secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenLine {
    /// For `token revoke`.
    pub id: String,
    /// What the operator called it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Owners that it is bound to.
    pub owners: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339.
    pub expires: Option<String>,
}

/// `token-revoke`
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenRevoke {
    /// Its id.
    pub id: String,
}

/// Something that is not as it was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct FindingLine {
    /// What kind.
    pub kind: String,
    /// The file.
    pub path: String,
    /// What is wrong, for people.
    pub text: String,
}

/// What `verify` found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Verified {
    /// A line each.
    pub findings: Vec<FindingLine>,
    /// Hosted versions that were looked at.
    pub hosted: u64,
    /// Cached files that were looked at.
    pub cached: u64,
}

/// The commands, over the parts that they need.
pub struct Operations {
    /// The settings.
    pub config: Arc<Config>,
    /// The stores.
    pub stores: Stores,
    /// What may leave.
    pub policy: Arc<Policy>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// What came from upstream.
    pub cache: Cache,
}

/// The parts cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory, or the store in it.
    #[error(transparent)]
    Store(#[from] crate::store::OpenError),
    /// The way upstream.
    #[error(transparent)]
    Upstream(#[from] crate::upstream::SetupError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] crate::cache::OpenError),
    /// Access.
    #[error(transparent)]
    Access(#[from] crate::access::NoRandomness),
    /// The thread that opens them ended.
    #[error("opening was cut off: {0}")]
    Cut(#[from] tokio::task::JoinError),
}

impl Operations {
    /// Opens the data directory and puts the parts together over it. What start-up mended is logged.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        tokio::task::spawn_blocking(move || Self::open_blocking(config)).await?
    }

    fn open_blocking(config: Config) -> Result<Self, OpenError> {
        let config = Arc::new(config);
        let data = Arc::new(DataDir::open(&config.data_dir)?);
        let (stores, healed) = Embedded::open(&data)?;
        log_healing(&healed);
        let policy = Arc::new(Policy::new(&config, stores.records.clone()));
        let access = Arc::new(Access::new(&config, stores.records.clone())?);
        let upstream = Arc::new(Upstream::new(&config.upstream, policy.clone())?);
        let cache = Cache::open(&data, &config.cache, upstream, policy.clone(), stores.records.clone())?;
        Ok(Self { config, stores, policy, access, cache })
    }

    /// Runs a command by its name.
    pub async fn call(&self, command: &str, args: Value) -> Result<Value, OperationError> {
        match command {
            "explain" => told(self.explain(asked(args)?).await?),
            "egress" => {
                let EgressPage { from, limit } = asked(args)?;
                told(self.stores.records.ledger(from, limit.min(PAGE_MAX)).await?)
            }
            "claims" => told(self.claims().await?),
            "release" => told(self.release(asked(args)?).await?),
            "token-create" => told(self.token_create(asked(args)?).await?),
            "tokens" => {
                let tokens = self.stores.records.tokens().await?;
                told(tokens.iter().map(|token| TokenLine::of(token)).collect::<Vec<_>>())
            }
            "token-revoke" => {
                let TokenRevoke { id } = asked(args)?;
                if !self.stores.records.token_revoke(&id).await? {
                    return Err(OperationError::Absent(format!("there is no token {id}; `modgate token list` shows them")));
                }
                told(())
            }
            "verify" => told(self.verify().await?),
            "findings" => told(self.findings().await?),
            _ => Err(OperationError::Absent(format!("there is no command {command}"))),
        }
    }

    /// Whether storage can be written now.
    pub async fn writable(&self) -> Result<(), StoreError> {
        self.stores.records.writable().await
    }

    /// What GONOSUMDB must hold, as far as `who` may know it: every private pattern, the patterns of the owners that
    /// they see, the hosts that these claimed, and what is hosted beside all that. While the gateway has no checksum database of its own, this keeps
    /// private names from the public one.
    pub async fn private_names(&self, who: &Principal) -> Result<BTreeSet<String>, StoreError> {
        self.names(|owner| self.access.may_read(who, owner)).await
    }

    /// All of them: for the operator.
    pub async fn all_private_names(&self) -> Result<BTreeSet<String>, StoreError> {
        self.names(|_| true).await
    }

    async fn names(&self, sees: impl Fn(&OwnerName) -> bool) -> Result<BTreeSet<String>, StoreError> {
        let index = self.stores.records.hosted_index().await?;
        let owners = self.config.owners.iter().filter(|(name, _)| sees(name)).flat_map(|(_, owner)| &owner.modules);
        let patterns = self.config.private.patterns.iter().chain(owners).map(|pattern| pattern.value.as_str().to_owned());
        let claims = index.claims.iter().filter(|(_, claim)| sees(&claim.owner)).map(|(host, _)| host.clone());
        let mut names: BTreeSet<String> = patterns.chain(claims).collect();
        let covered: Vec<Pattern> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let hosted = index.hosted.iter().filter(|(_, owner)| sees(owner)).map(|(path, _)| path.as_str());
        let bare = hosted.filter(|path| !covered.iter().any(|pattern| pattern.matches(path)));
        names.extend(bare.take(BARE_NAMES_MAX).map(str::to_owned));
        Ok(names)
    }

    async fn explain(&self, ask: Explain) -> Result<Explanation, OperationError> {
        let (path, version) = match ask.module.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (ask.module.as_str(), None),
        };
        let path: ModulePath = path.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
        if let Some(version) = version {
            version.parse::<Version>().map_err(|e| OperationError::Bad(format!("{e}")))?;
        }
        let verdict = self.policy.decide(&path).await?;
        let visible = match ask.user {
            None => None,
            Some(user) => {
                let name = user.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
                let who =
                    self.access.user(&name).ok_or_else(|| OperationError::Absent(format!("there is no user {user} in the settings")))?;
                let module = self.stores.records.module(&path).await?;
                Some(match module {
                    Some(module) => self.access.may_read(&who, &module.owner),
                    None => verdict.is_public() && self.access.may_read_public(&who),
                })
            }
        };
        Ok(Explanation::new(&verdict, visible))
    }

    async fn claims(&self) -> Result<Vec<ClaimLine>, OperationError> {
        let index = self.stores.records.hosted_index().await?;
        let claims = index.claims.iter().map(|(host, claim)| ClaimLine {
            kind: "claim".to_owned(),
            name: host.clone(),
            owner: claim.owner.to_string(),
            since: Some(rfc3339(claim.since_unix)),
            by: Some(claim.by.clone()),
        });
        let tombstones = index.tombstones.iter().map(|(path, owner)| ClaimLine {
            kind: "tombstone".to_owned(),
            name: path.to_string(),
            owner: owner.to_string(),
            since: None,
            by: None,
        });
        Ok(claims.chain(tombstones).collect())
    }

    /// Gives up a claimed host, or a tombstone. A name that is both is first a host.
    async fn release(&self, ask: ReleaseAsk) -> Result<Released, OperationError> {
        let host = ask.name.to_ascii_lowercase();
        let index = self.stores.records.hosted_index().await?;
        if index.claims.contains_key(&host) {
            let bared = self.policy.bared_by_release(&host).await?;
            if let Some((path, owner)) = bared.first().filter(|_| !ask.force) {
                let more = match bared.len() - 1 {
                    0 => String::new(),
                    more => format!(", and {more} more,"),
                };
                return Err(OperationError::Refused(format!(
                    "{path} of owner {owner}{more} would be kept private by nothing but being hosted: \
                     add a pattern to private.patterns first, or use --force"
                )));
            }
            return match self.stores.records.release_host(&host, OPERATOR).await? {
                Release::Released(_) => {
                    Ok(Released { text: format!("{host} is not claimed any more, and publishing does not claim it again") })
                }
                Release::Absent | Release::Hosted => Err(OperationError::Absent(format!("{host} is not claimed"))),
            };
        }
        let path: ModulePath = ask.name.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
        match self.stores.records.release_path(&path, OPERATOR).await? {
            Release::Released(_) => Ok(Released { text: format!("{path} is given up: anyone who may publish it can have it") }),
            Release::Absent => {
                Err(OperationError::Absent(format!("{path} is neither a claimed host nor a deleted module; see `modgate claim list`")))
            }
            Release::Hosted => Err(OperationError::Refused(format!("{path} has hosted versions: delete them first"))),
        }
    }

    async fn token_create(&self, ask: TokenAsk) -> Result<TokenMade, OperationError> {
        let bad = |text: String| Err(OperationError::Bad(text));
        let mut scopes = Vec::new();
        for text in &ask.scopes {
            let Ok(scope) = serde_json::from_value::<Scope>(Value::String(text.clone())) else {
                return bad(format!("no scope {text:?}: read, publish, delete, admin"));
            };
            scopes.push(scope);
        }
        let mut owners = Vec::new();
        for text in &ask.owners {
            let owner = text.parse().map_err(|e| OperationError::Bad(format!("{e}")))?;
            if !self.config.owners.contains_key(&owner) {
                return Err(OperationError::Absent(format!("there is no owner {owner} in the settings")));
            }
            owners.push(owner);
        }
        let (record, token) = crate::access::new_token(&ask.name, scopes, owners, ask.expires_in_s.map(Duration::from_secs))
            .map_err(|e| OperationError::Bad(e.to_string()))?;
        let line = TokenLine::of(&record);
        tracing::info!(id = line.id, name = line.name, scopes = line.scopes.join(","), "token made");
        self.stores.records.token_put(record).await?;
        Ok(TokenMade { id: line.id, name: line.name, token, scopes: line.scopes, owners: line.owners, expires: line.expires })
    }

    async fn verify(&self) -> Result<Verified, OperationError> {
        let hosted = self.stores.verify.verify().await?;
        let cache = self.cache.clone();
        let cached = tokio::task::spawn_blocking(move || cache.verify()).await;
        let cached = cached.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))?;
        let of_hosted = hosted.findings.iter().map(|finding| FindingLine {
            kind: finding.kind.to_string(),
            path: finding.path.display().to_string(),
            text: finding.text.clone(),
        });
        let of_cached = cached.findings.iter().map(|finding| FindingLine {
            kind: "cache-damaged".to_owned(),
            path: finding.file.clone(),
            text: finding.text.clone(),
        });
        Ok(Verified { findings: of_hosted.chain(of_cached).collect(), hosted: hosted.hosted, cached: cached.good })
    }

    /// What `check` warns of beyond the settings.
    pub async fn findings(&self) -> Result<Vec<String>, OperationError> {
        let mut findings = Vec::new();
        for (path, owner) in self.policy.private_only_while_hosted().await? {
            findings.push(format!("{path} of owner {owner}, which is not public, is kept private by nothing but being hosted: add a pattern to private.patterns"));
        }
        for opening in self.policy.openings().await? {
            findings.push(format!("{} may leave (rule: {}) though it is {}", opening.path, opening.rule, opening.opened.relation()));
        }
        let index = self.stores.records.hosted_index().await?;
        let gone: BTreeSet<_> = index.hosted.values().filter(|owner| !self.config.owners.contains_key(*owner)).collect();
        for owner in gone {
            findings.push(format!("owner {owner} has hosted modules but is not in the settings: only admins see them"));
        }
        Ok(findings)
    }
}

/// Who an operator's command is done by, in records.
pub const OPERATOR: &str = "operator";

fn asked<T: DeserializeOwned>(args: Value) -> Result<T, OperationError> {
    serde_json::from_value(args).map_err(|e| OperationError::Bad(format!("arguments: {e}")))
}

fn told<T: Serialize>(value: T) -> Result<Value, OperationError> {
    serde_json::to_value(value).map_err(|e| OperationError::Bad(format!("answer: {e}")))
}

impl TokenLine {
    fn of(token: &TokenRecord) -> Self {
        let scope = |scope: &Scope| serde_json::to_value(scope).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            scopes: token.scopes.iter().map(scope).collect(),
            owners: token.owners.iter().map(ToString::to_string).collect(),
            created: rfc3339(token.created_unix),
            expires: token.expires_unix.map(rfc3339),
        }
    }
}

/// What start-up found and did: an operator reads it after a crash.
fn log_healing(report: &HealReport) {
    if !report.is_clean() {
        tracing::warn!(
            replayed = report.replayed,
            index_rebuilt = report.rebuilt,
            index_set_aside = report.set_aside.as_ref().map(|path| path.display().to_string()),
            blobs_removed = report.blobs_removed,
            records_removed = report.records_removed,
            tmp_removed = report.tmp_removed,
            torn_lines = report.torn_lines,
            "start-up mended what the last run left"
        );
    }
    for finding in &report.findings {
        tracing::error!(kind = %finding.kind, path = %finding.path.display(), "{}", finding.text);
    }
}

/// A time as people and scripts read it: RFC 3339, UTC.
fn rfc3339(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix.to_string())
}
