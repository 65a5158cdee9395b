//! The one status table: what each outcome is on the wire, and nothing about it anywhere else.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, header};

use super::Reply;
use crate::admin::OperationError;
use crate::cache::{Body, CacheStatus};
use crate::config::Miss;
use crate::gateway::{Answer, Refusal, seconds};
use crate::module::{ModulePath, UserName, Version};
use crate::observe::chain;
use crate::observe::metrics::OwnerClass;
use crate::protocol::{Reject, media};
use crate::store::StoreError;

/// What the go command shows of a refusal: so many lines and bytes (cmd/go/internal/web).
const REFUSAL_LINES_MAX: usize = 8;
const REFUSAL_BYTES_MAX: usize = 600;
/// What `Retry-After` says when the store is away, in seconds.
const RETRY_AFTER_S: u64 = 5;

/// The realm that browsers and curl show.
const CHALLENGE: &str = "Basic realm=\"modgate\", charset=\"UTF-8\"";

/// Who asked what for, for the log line.
#[derive(Debug, Default)]
pub struct Note {
    /// The principal.
    pub principal: String,
    /// Who asks, where a trusted front says so.
    pub forwarded_for: Option<IpAddr>,
    /// The kind of request: `list`, `zip`, `publish`, ….
    pub kind: &'static str,
    /// The class of the owner that it is about.
    pub owner: OwnerClass,
    /// Where the answer came from.
    pub cache: Option<CacheStatus>,
    /// The word for the rule that refused it.
    pub rule: Option<&'static str>,
    /// Where that rule was set.
    pub set: Option<String>,
    /// Why there was none: what the client was told, the first line.
    pub refusal: Option<String>,
    /// The module and version that it is about, where the URL does not say.
    pub of: Option<(ModulePath, Version)>,
    /// A word for why, where the rule alone says less.
    pub reason: Option<&'static str>,
    /// The user of the settings whom wrong credentials name.
    pub named: Option<UserName>,
    /// What failed behind the refusal: for the log, once, never for the client.
    pub cause: Option<String>,
}

type Answered = Reply<Note>;

/// A good answer.
pub(super) fn answer(answer: Answer) -> Answered {
    let mut reply = headed(200, answer.media, answer.body);
    note(&mut reply).owner = answer.owner;
    if let Some(status) = answer.cache {
        put_cache(&mut reply, status);
    }
    if let Some(etag) = &answer.etag {
        put(&mut reply, header::ETAG, etag);
    }
    reply
}

/// A plain text answer.
pub(super) fn text(status: u16, body: String) -> Answered {
    headed(status, media::TEXT, body.into())
}

/// The page that Prometheus reads.
pub(super) fn metrics(page: String) -> Answered {
    headed(200, media::METRICS, page.into())
}

/// A backup as it is made.
pub(super) fn archive(archive: Body) -> Answered {
    headed(200, media::TAR, archive)
}

/// 204.
pub(super) fn no_content() -> Answered {
    headed(204, media::TEXT, bytes::Bytes::new().into())
}

/// An operator's answer.
pub(super) fn operation(outcome: Result<serde_json::Value, OperationError>) -> Answered {
    match outcome {
        Ok(value) => headed(200, media::JSON, value.to_string().into()),
        Err(error) => {
            let text = error.to_string();
            match &error {
                OperationError::Bad(_) => line(400, &text),
                OperationError::Absent(_) => line(404, &text),
                OperationError::Refused(_) => line(409, &text),
                OperationError::Ending(_) => unavailable(&text),
                OperationError::Store(store) | OperationError::Midway { source: store, .. } => {
                    let mut reply = match store {
                        StoreError::Full => line(507, &text),
                        StoreError::Unavailable(_) | StoreError::Corrupt(_) => unavailable(&text),
                    };
                    note(&mut reply).cause = Some(chain(store));
                    reply
                }
            }
        }
    }
}

/// A request that is none.
pub(super) fn reject(reject: &Reject) -> Answered {
    match reject {
        Reject::Bad(why) => line(400, why),
        Reject::NotFound => line(404, "nothing is served here"),
        Reject::Method(allow) => {
            let mut reply = line(405, &format!("this path takes {allow}"));
            put(&mut reply, header::ALLOW, allow);
            reply
        }
    }
}

/// A request that is not answered, and why. Where somebody has to look into it, the line names the request: the go command shows no
/// headers.
pub(super) fn refuse(refusal: &Refusal, request_id: &str) -> Answered {
    let mut text = refusal.to_string();
    let failed = matches!(
        refusal,
        Refusal::Full
            | Refusal::FullAtFirst
            | Refusal::FullAtDelete
            | Refusal::Upstream(_)
            | Refusal::UpstreamSlow(_)
            | Refusal::Unvouched(_)
            | Refusal::Mismatch(_)
            | Refusal::Storage(_)
            | Refusal::Busy(_)
            | Refusal::LogInsBusy(_)
    );
    if failed {
        text = format!("{} (request {request_id})", text.trim_end());
    }
    let mut reply = match refusal {
        Refusal::SignIn | Refusal::WrongCredentials => challenge(&text),
        Refusal::LogInsLimited(wait) => retry_after(line(429, &text), seconds(wait)),
        // Never 429 to a module read: the go command would go elsewhere, or fail without a word of why.
        Refusal::ReadLimited(wait) => retry_after(challenge(&text), seconds(wait)),
        Refusal::LogInsBusy(wait) => retry_after(line(503, &text), seconds(wait)),
        Refusal::Forbidden(_) | Refusal::PrivateLookUp(_) | Refusal::Private { miss: Miss::Refuse, .. } => line(403, &text),
        Refusal::Absent(_) | Refusal::Private { miss: Miss::NotFound, .. } => line(404, &text),
        // Validated and clipped where it came in: byte for byte.
        Refusal::NotUpstream(absence) => {
            let mut reply = self::text(absence.code, text);
            put_cache(&mut reply, absence.status);
            reply
        }
        // Every problem is told, however many there are: publishers read these with curl.
        Refusal::BadUpload(_) => self::text(400, text + "\n"),
        Refusal::Interrupted(_) => line(400, &text),
        Refusal::Stalled(_) => line(408, &text),
        Refusal::TooLarge(_) => line(413, &text),
        Refusal::Conflict(_) => line(409, &text),
        Refusal::Full | Refusal::FullAtDelete => line(507, &text),
        // Never 404 or 410: the go command would go to the next proxy, or to version control, and take there what was refused here.
        Refusal::Upstream(_) | Refusal::Unvouched(_) | Refusal::Mismatch(_) => line(502, &text),
        Refusal::UpstreamSlow(_) => line(504, &text),
        Refusal::FullAtFirst | Refusal::Busy(_) | Refusal::Storage(_) => unavailable(&text),
    };
    let first_line = shown(&refusal.to_string()).lines().next().map(str::to_owned);
    let note = note(&mut reply);
    note.rule = Some(refusal.rule());
    note.set = refusal.set();
    note.refusal = first_line;
    note.cause = refusal.cause();
    reply
}

/// 503, and when to ask again.
pub(super) fn unavailable(text: &str) -> Answered {
    retry_after(line(503, text), RETRY_AFTER_S)
}

fn retry_after(mut reply: Answered, seconds: u64) -> Answered {
    put(&mut reply, header::RETRY_AFTER, &seconds.to_string());
    reply
}

fn challenge(text: &str) -> Answered {
    let mut reply = line(401, text);
    put(&mut reply, header::WWW_AUTHENTICATE, CHALLENGE);
    reply
}

/// One refusal as the go command can show it: valid text, no blank line first, few lines, few bytes.
fn line(status: u16, text: &str) -> Answered {
    self::text(status, shown(text))
}

fn shown(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()).take(REFUSAL_LINES_MAX) {
        let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let room = REFUSAL_BYTES_MAX.saturating_sub(out.len() + 1);
        let cut = line.floor_char_boundary(room.min(line.len()));
        out.push_str(&line[..cut]);
        out.push('\n');
        if cut < line.len() {
            break;
        }
    }
    out
}

/// An answer with what every answer has.
pub(super) fn headed(status: u16, media: &'static str, body: Body) -> Answered {
    let mut reply = Reply::new(status, body);
    reply.note = Some(Note::default());
    reply.headers.push((header::CONTENT_TYPE, HeaderValue::from_static(media)));
    reply.headers.push((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    // Nothing that is served is a page: whatever a module holds, no browser runs it.
    reply.headers.push((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")));
    reply
}

fn put_cache(reply: &mut Answered, status: CacheStatus) {
    put(reply, HeaderName::from_static("cache-status"), &status.to_string());
    note(reply).cache = Some(status);
}

/// Adds a header. Headers are made of our own words and of hashes; what could not stand in one is left out.
pub(super) fn put(reply: &mut Answered, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers.push((name, value));
    }
}

fn note(reply: &mut Answered) -> &mut Note {
    reply.note.get_or_insert_with(Note::default)
}

#[cfg(test)]
mod tests;
