//! What an upstream saw, and whether it should have.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::http::{PATIENCE, Request};

/// Headers that would carry a client's credentials on.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
/// How often a text is decoded in search of a hidden name.
const DECODINGS: usize = 4;

/// The record of one upstream.
pub(crate) struct Recorder {
    seen: Mutex<Vec<Request>>,
    came: Condvar,
    forbidden: Mutex<BTreeSet<String>>,
}

impl Recorder {
    /// Forbids these names from the beginning.
    pub(crate) fn new(forbidden: impl IntoIterator<Item = String>) -> Self {
        let forbidden = forbidden.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { seen: Mutex::new(Vec::new()), came: Condvar::new(), forbidden: Mutex::new(forbidden) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request.
    pub(crate) fn note(&self, request: &Request) {
        self.lock().push(request.clone());
        self.came.notify_all();
    }

    /// All requests since the beginning, or since `forget`.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.lock().clone()
    }

    /// Begins anew, after a look at what is forgotten.
    pub(crate) fn forget(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "the upstream saw what it must not see:\n{}", violations.join("\n"));
        self.lock().clear();
    }

    /// Waits until a request is there for which `wanted` holds.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Request) -> bool) -> Request {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.lock();
        loop {
            if let Some(request) = seen.iter().find(|r| wanted(r)) {
                return request.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the request did not come; these did: {seen:#?}");
            seen = self.came.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Forbids more names: a request that holds one in its target or a header, in any case or encoding, is a leak.
    pub(crate) fn forbid(&self, names: &[&str]) {
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    /// Forbids nothing any more: for the fixture's check of itself, where clients talk to it directly.
    pub(crate) fn tolerate_all(&self) {
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A line for each thing that should not have come: a forbidden name, a credential, a method that changes something.
    pub(crate) fn violations(&self) -> Vec<String> {
        let forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut violations = Vec::new();
        for request in self.lock().iter() {
            let line = format!("{} {}", request.method, request.target);
            if !matches!(request.method.as_str(), "GET" | "HEAD") {
                violations.push(format!("{line}: method"));
            }
            if let Some(name) = hidden(&request.target, &forbidden) {
                violations.push(format!("{line}: holds {name:?}"));
            }
            for (header, value) in &request.headers {
                if CREDENTIALS.contains(&header.to_ascii_lowercase().as_str()) {
                    violations.push(format!("{line}: has a header {header}"));
                }
                if let Some(name) = hidden(&format!("{header}: {value}"), &forbidden) {
                    violations.push(format!("{line}: header {header} holds {name:?}"));
                }
            }
        }
        violations
    }
}

/// The first forbidden name that a text holds: as it is or percent-decoded up to [`DECODINGS`] times, `!` taken for an escape, in any case.
fn hidden<'a>(text: &str, forbidden: &'a BTreeSet<String>) -> Option<&'a str> {
    let mut form = text.as_bytes().to_vec();
    for _ in 0..=DECODINGS {
        let plain = String::from_utf8_lossy(&form).to_ascii_lowercase();
        let unescaped = plain.replace('!', "");
        let found = forbidden.iter().find(|name| plain.contains(name.as_str()) || unescaped.contains(name.as_str()));
        if let Some(name) = found {
            return Some(name);
        }
        form = decode(&form);
    }
    None
}

/// Percent-decodes once; what is no escape stays.
pub(crate) fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok()).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) if first == b'%' => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[test]
fn a_forbidden_name_is_found_however_it_is_written() {
    let recorder = Recorder::new(["corp.example.com".to_owned(), "github.com/Acme".to_owned()]);
    let leaks = [
        "/corp.example.com/lib/@v/list",
        "/CORP.example.com/lib/@v/list",
        "/!corp.example.com/lib/@v/list",
        "/%63orp.example.com/@latest",
        "/%2563orp%252eexample.com/@latest",
        "/github.com/%21acme/x/@v/list",
        "/github.com%2fACME/x",
        "/sumdb/sum.example.net/lookup/corp.example.com/lib@v1.0.0",
    ];
    for target in leaks {
        recorder.note(&Request { method: "GET".to_owned(), target: target.to_owned(), headers: Vec::new() });
    }
    let header = ("Referer".to_owned(), "http://x/Corp.Example.Com".to_owned());
    recorder.note(&Request { method: "GET".to_owned(), target: "/a".to_owned(), headers: vec![header] });
    let header = ("Authorization".to_owned(), "Basic eDp5".to_owned());
    recorder.note(&Request { method: "POST".to_owned(), target: "/b%zz%4".to_owned(), headers: vec![header] });
    assert_eq!(recorder.violations().len(), leaks.len() + 3, "{:#?}", recorder.violations());
    recorder.tolerate_all();
    assert_eq!(recorder.violations().len(), 2);
}
