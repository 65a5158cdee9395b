//! What nobody may ever write down: the tokens, passwords and query strings that the tests made or sent. One list for all tests, on
//! purpose: what was shown to one gateway stands in no other's log either.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

static PLANTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Shorter ones are words that a log may hold by chance.
const CHARS_MIN: usize = 8;
/// A token: `mg_` and 43 characters.
const TOKEN_CHARS: usize = 46;
/// How much is shown around a find, bytes.
const AROUND: usize = 120;

fn planted() -> MutexGuard<'static, BTreeSet<String>> {
    PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this is a secret.
pub(crate) fn plant(secret: &str) {
    if secret.len() >= CHARS_MIN {
        planted().insert(secret.to_owned());
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// From now on every token in a text is a secret.
pub(crate) fn plant_tokens_in(text: &str) {
    for (at, _) in text.match_indices("mg_") {
        let token: String = text[at..].chars().take_while(|c| is_word(*c)).collect();
        if token.len() == TOKEN_CHARS {
            plant(&token);
        }
    }
}

/// From now on the credentials of a header line, if it is `Authorization`, are secrets: as sent, and as they are read.
pub(crate) fn plant_header(line: &str) {
    let Some((name, value)) = line.split_once(':') else { return };
    if !name.trim().eq_ignore_ascii_case("authorization") {
        return;
    }
    let credentials = value.trim().split_once(' ').map_or(value.trim(), |(_, credentials)| credentials.trim());
    plant(credentials);
    let decoded = STANDARD.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    plant_tokens_in(&decoded);
    plant(decoded.split_once(':').map_or("", |(_, password)| password));
}

/// From now on what a request's head holds of query and credentials is secret. (Of a query the values that are words: others
/// may stand in some path too.)
pub(crate) fn plant_request(request: &[u8]) {
    let text = String::from_utf8_lossy(request);
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    plant_query(target);
    lines.for_each(plant_header);
}

/// As [`plant_request`], of a target.
pub(crate) fn plant_query(target: &str) {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
    values.filter(|value| value.chars().all(is_word)).for_each(plant);
}

/// The secrets that a text holds, each with what stands around it.
pub(crate) fn found_in(text: &str) -> Vec<String> {
    let planted: Vec<String> = planted().iter().cloned().collect();
    let all = AhoCorasick::new(&planted).expect("an automaton");
    let around = |start: usize, end: usize| {
        let from = text.floor_char_boundary(start.saturating_sub(AROUND));
        &text[from..text.ceil_char_boundary((end + AROUND).min(text.len()))]
    };
    all.find_iter(text).take(5).map(|found| format!("{:?} in …{}…", planted[found.pattern()], around(found.start(), found.end()))).collect()
}

/// Fails the test if a text holds a secret.
#[track_caller]
pub(crate) fn check(what: &str, text: &str) {
    let found = found_in(text);
    assert!(found.is_empty(), "secrets were told in {what}:\n{}", found.join("\n"));
}

#[test]
fn what_is_sent_is_secret_from_then_on() {
    let token = format!("mg_{}", "Zz-_".repeat(11).split_at(43).0);
    let basic = STANDARD.encode("someone:planted pass");
    plant_request(
        format!(
            "GET /a?x=planted-value&y=/no&z=short HTTP/1.1\r\nauthorization: Basic {basic}\r\nX: y\r\n\r\nAuthorization: x planted-body"
        )
        .as_bytes(),
    );
    plant_tokens_in(&format!("made: {token}\n"));
    for secret in [&token, &basic, "planted pass", "planted-value"] {
        assert_eq!(found_in(&format!("some {secret} here")).len(), 1, "{secret}");
    }
    assert!(found_in("/no short planted-body someone").is_empty());
}
