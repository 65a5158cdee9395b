use std::collections::HashSet;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cache::{Absence, CacheError, Mismatch, Part, Unvouched, VouchError};
use crate::egress::{Class, Rule, Verdict, Where};
use crate::module::H1;

/// Status, and what stands beside the headers that every answer has.
type Row = (u16, &'static [(&'static str, &'static str)]);

const CHALLENGED: &[(&str, &str)] = &[("www-authenticate", "Basic realm=\"modgate\", charset=\"UTF-8\"")];
const CHALLENGED_LATER: &[(&str, &str)] = &[CHALLENGED[0], ("retry-after", "1")];
const LATER: &[(&str, &str)] = &[("retry-after", "5")];
const STALE: &[(&str, &str)] = &[("cache-status", "modgate; fwd=stale")];

fn verdict() -> Box<Verdict> {
    let path = "corp.example.com/lib".parse().unwrap();
    Box::new(Verdict { path, class: Class::Private, rule: Rule::Claim, where_: Where::BuiltIn, pattern: None, opened: None })
}

fn refusals() -> Vec<Refusal> {
    let text = || "why".to_owned();
    let absence = |code| Absence { code, text: text(), status: CacheStatus::Stale };
    vec![
        Refusal::SignIn,
        Refusal::WrongCredentials,
        Refusal::ReadLimited(Duration::from_millis(1)),
        Refusal::LogInsLimited(Duration::from_millis(1001)),
        Refusal::LogInsBusy(Duration::from_secs(10)),
        Refusal::Forbidden(text()),
        Refusal::Absent(text()),
        Refusal::Private { verdict: verdict(), text: text(), miss: Miss::NotFound },
        Refusal::Private { verdict: verdict(), text: text(), miss: Miss::Refuse },
        Refusal::PrivateLookUp(verdict()),
        Refusal::NotUpstream(absence(404)),
        Refusal::NotUpstream(absence(410)),
        Refusal::BadUpload(text()),
        Refusal::TooLarge(text()),
        Refusal::Conflict(text()),
        Refusal::Full,
        Refusal::FullAtFirst,
        Refusal::FullAtDelete,
        Refusal::Interrupted(text()),
        Refusal::Stalled(text()),
        Refusal::Upstream(text()),
        Refusal::UpstreamSlow(text()),
        Refusal::Unvouched(unvouched(VouchError::Unknown(text()))),
        Refusal::Unvouched(unvouched(VouchError::Away(Arc::new(CacheError::Off)))),
        Refusal::Unvouched(unvouched(VouchError::Bad(text()))),
        Refusal::Unvouched(unvouched(VouchError::Forked(text()))),
        Refusal::Mismatch(mismatch()),
        Refusal::Busy(text()),
        Refusal::Storage(text()),
    ]
}

fn unvouched(error: VouchError) -> Arc<Unvouched> {
    let (path, version) = ("example.com/m".parse().unwrap(), "v1.0.0".parse().unwrap());
    Arc::new(Unvouched { path, version, database: "sum.example.org".to_owned(), error })
}

fn mismatch() -> Arc<Mismatch> {
    let (path, version) = ("example.com/m".parse().unwrap(), "v1.0.0".parse().unwrap());
    let (database, from) = ("sum.example.org".to_owned(), "proxy.example.org".to_owned());
    Arc::new(Mismatch { path, version, part: Part::Zip, expected: H1([1; 32]), found: H1([2; 32]), database, from })
}

/// The wire table: status and headers of each. A variant without a row does not compile.
fn row(refusal: &Refusal) -> Row {
    match refusal {
        Refusal::SignIn | Refusal::WrongCredentials => (401, CHALLENGED),
        Refusal::ReadLimited(_) => (401, CHALLENGED_LATER),
        Refusal::LogInsLimited(_) => (429, &[("retry-after", "2")]),
        Refusal::LogInsBusy(_) => (503, &[("retry-after", "10")]),
        Refusal::Forbidden(_) | Refusal::PrivateLookUp(_) | Refusal::Private { miss: Miss::Refuse, .. } => (403, &[]),
        Refusal::Absent(_) | Refusal::Private { miss: Miss::NotFound, .. } => (404, &[]),
        Refusal::NotUpstream(Absence { code: 410, .. }) => (410, STALE),
        Refusal::NotUpstream(_) => (404, STALE),
        Refusal::BadUpload(_) | Refusal::Interrupted(_) => (400, &[]),
        Refusal::Stalled(_) => (408, &[]),
        Refusal::Conflict(_) => (409, &[]),
        Refusal::TooLarge(_) => (413, &[]),
        Refusal::Upstream(_) | Refusal::Unvouched(_) | Refusal::Mismatch(_) => (502, &[]),
        Refusal::FullAtFirst | Refusal::Busy(_) | Refusal::Storage(_) => (503, LATER),
        Refusal::UpstreamSlow(_) => (504, &[]),
        Refusal::Full | Refusal::FullAtDelete => (507, &[]),
    }
}

fn operation_errors() -> Vec<OperationError> {
    vec![
        OperationError::Bad("why".to_owned()),
        OperationError::Absent("why".to_owned()),
        OperationError::Refused("why".to_owned()),
        OperationError::Ending("why".to_owned()),
        OperationError::Store(StoreError::Full),
        OperationError::Store(StoreError::Unavailable("why".into())),
        OperationError::Store(StoreError::Corrupt("why".to_owned())),
        OperationError::Midway { done: "this".to_owned(), source: StoreError::Full },
        OperationError::Midway { done: "this".to_owned(), source: StoreError::Unavailable("why".into()) },
    ]
}

fn operation_row(error: &OperationError) -> Row {
    match error {
        OperationError::Bad(_) => (400, &[]),
        OperationError::Absent(_) => (404, &[]),
        OperationError::Refused(_) => (409, &[]),
        OperationError::Store(source) | OperationError::Midway { source, .. } => match source {
            StoreError::Full => (507, &[]),
            StoreError::Unavailable(_) | StoreError::Corrupt(_) => (503, LATER),
        },
        OperationError::Ending(_) => (503, LATER),
    }
}

fn reject_row(reject: &Reject) -> Row {
    match reject {
        Reject::Bad(_) => (400, &[]),
        Reject::NotFound => (404, &[]),
        Reject::Method(_) => (405, &[("allow", "GET, HEAD")]),
    }
}

#[track_caller]
fn looks_like(reply: &Answered, (status, own): Row, media: &'static str) {
    let mut expected = vec![("content-type", media), ("x-content-type-options", "nosniff"), ("content-security-policy", "sandbox")];
    expected.extend(own);
    let headers: Vec<_> = reply.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!((reply.status, headers), (status, expected));
}

fn body(reply: &Answered) -> &str {
    match &reply.body {
        Body::Bytes(bytes) => std::str::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_refusal_has_its_status_and_headers() {
    let all = refusals();
    for refusal in &all {
        let reply = refuse(refusal, "0123456789abcdef");
        looks_like(&reply, row(refusal), "text/plain; charset=utf-8");
        let request = if row(refusal).0 >= 500 { " (request 0123456789abcdef)" } else { "" };
        assert_eq!(body(&reply).trim_end_matches('\n'), format!("{refusal}{request}"));
        assert_eq!(reply.note.unwrap_or_default().cause, refusal.cause());
    }
    // Two absences are one variant, and so are two misses, and four ways of not being vouched for.
    assert_eq!(all.iter().map(discriminant).collect::<HashSet<_>>().len(), all.len() - 5);
}

#[test]
fn every_rejected_request_has_its_status_and_headers() {
    for reject in [Reject::Bad("why".to_owned()), Reject::NotFound, Reject::Method("GET, HEAD")] {
        let reply = super::reject(&reject);
        looks_like(&reply, reject_row(&reject), "text/plain; charset=utf-8");
        assert_eq!(body(&reply).lines().count(), 1);
    }
}

#[test]
fn every_outcome_of_an_operation_has_its_status_and_headers() {
    for error in operation_errors() {
        let (row, text) = (operation_row(&error), error.to_string());
        let reply = operation(Err(error));
        looks_like(&reply, row, "text/plain; charset=utf-8");
        assert_eq!(body(&reply), format!("{text}\n"));
    }
    let reply = operation(Ok(serde_json::json!({"a": 1})));
    looks_like(&reply, (200, &[]), "application/json");
    assert_eq!(body(&reply), r#"{"a":1}"#);
}

#[test]
fn a_good_answer_tells_what_it_is_and_where_it_came_from() {
    let good = |cache, etag| Answer { media: media::ZIP, body: Body::from("zip".to_owned()), cache, etag, owner: OwnerClass::Internal };
    let hosted = answer(good(None, None));
    looks_like(&hosted, (200, &[]), "application/zip");
    let cached = answer(good(Some(CacheStatus::Hit), Some("\"abc\"".to_owned())));
    looks_like(&cached, (200, &[("cache-status", "modgate; hit"), ("etag", "\"abc\"")]), "application/zip");
    assert_eq!(cached.note.unwrap().cache, Some(CacheStatus::Hit));
    looks_like(&no_content(), (204, &[]), "text/plain; charset=utf-8");
}

#[test]
fn what_upstream_says_of_an_absence_goes_on_byte_for_byte() {
    for text in ["not found:\n\ta tab\n\n  and no newline at the end", "one\r\ntwo\r\n", "\u{e9}\u{0}"] {
        for code in [404, 410] {
            let reply =
                refuse(&Refusal::NotUpstream(Absence { code, text: text.to_owned(), status: CacheStatus::Miss }), "0123456789abcdef");
            assert_eq!((reply.status, body(&reply)), (code, text));
            assert_eq!(reply.note.unwrap().cache, Some(CacheStatus::Miss));
        }
    }
}

#[test]
fn every_problem_of_an_upload_is_told() {
    let problems = ["problem"; 50].join("\n");
    assert_eq!(body(&refuse(&Refusal::BadUpload(problems.clone()), "")), problems + "\n");
}

#[test]
fn a_refusal_is_what_the_go_command_can_show() {
    for text in ["\n\nfirst\n\nsecond", &"line\n".repeat(50), &"é".repeat(1000), "a\u{0}b\tc", ""] {
        let shown = shown(text);
        assert!(shown.len() <= REFUSAL_BYTES_MAX, "{shown:?}");
        assert!(shown.lines().count() <= REFUSAL_LINES_MAX, "{shown:?}");
        assert!(!shown.starts_with('\n') && !shown.contains("\n\n"), "{shown:?}");
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }
    assert_eq!(shown("one line"), "one line\n");
}
