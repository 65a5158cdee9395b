//! Tokens: `mg_` and 32 random bytes in base64url. The store keeps the SHA-256 only.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::NoRandomness;
use crate::module::OwnerName;
use crate::store::{Scope, TokenHash, TokenRecord, unix_now};

const PREFIX: &str = "mg_";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// Characters of a token after the prefix.
const SECRET_CHARS: usize = 43;
/// Random bytes of an id.
const ID_BYTES: usize = 6;
/// The longest name of a token, characters.
const NAME_CHARS_MAX: usize = 64;

/// A token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name stands in logs, where it must be one word.
    #[error("{0:?} is no name for a token: 1 to {NAME_CHARS_MAX} characters of a-z, A-Z, 0-9, '.', '_', '-', '@'")]
    Name(String),
    /// It could do nothing.
    #[error("a token needs a scope: read, publish, delete or admin")]
    NoScope,
    /// No time, or more than clocks count.
    #[error("a token that ends must last longer than a second, and not for ever")]
    Lifetime,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Makes a token: the record to keep, and its text, which is kept nowhere. `owners` empty: bound to none.
///
/// Scopes and owners come out sorted, each once.
pub fn new_token(
    name: &str,
    mut scopes: Vec<Scope>,
    mut owners: Vec<OwnerName>,
    lifetime: Option<Duration>,
) -> Result<(TokenRecord, String), TokenError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if !(1..=NAME_CHARS_MAX).contains(&name.len()) || !name.bytes().all(good) {
        return Err(TokenError::Name(name.chars().take(2 * NAME_CHARS_MAX).collect()));
    }
    if scopes.is_empty() {
        return Err(TokenError::NoScope);
    }
    scopes.sort();
    scopes.dedup();
    owners.sort();
    owners.dedup();
    let created_unix = unix_now();
    let end = |lifetime: Duration| created_unix.checked_add(lifetime.as_secs()).filter(|end| *end > created_unix);
    let expires_unix = lifetime.map(|lifetime| end(lifetime).ok_or(TokenError::Lifetime)).transpose()?;
    let mut secret = [0; SECRET_BYTES];
    let mut id = [0; ID_BYTES];
    getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut id)).map_err(NoRandomness)?;
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let record = TokenRecord { id, name: name.to_owned(), hash: token_hash(&text), scopes, owners, created_unix, expires_unix };
    Ok((record, text))
}

/// How a token is found in the store.
///
/// The look-up compares hashes byte by byte, and may take longer the more of them agree. That tells nothing of use: a caller cannot
/// choose what its guess hashes to, and a hash that were learned whole is one of 256 random bits, from which nobody gets back
/// to the token.
pub fn token_hash(text: &str) -> TokenHash {
    TokenHash(Sha256::digest(text).into())
}

/// The text with what looks like a token left out of it, also where its capitals are escaped as in module paths: for logs, into
/// which secrets get that were put in a wrong place.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut rest, mut found) = (text, false);
    while let Some(at) = rest.find(PREFIX) {
        let (before, after) = rest.split_at(at + PREFIX.len());
        out.push_str(before);
        let run = after.bytes().take_while(|&b| is_secrets(b) || b == b'!');
        let (len, chars) = run.fold((0, 0), |(len, chars), b| (len + 1, chars + usize::from(b != b'!')));
        rest = after;
        if chars >= SECRET_CHARS {
            found = true;
            out.push('*');
            rest = &after[len..];
        }
    }
    out.push_str(rest);
    if found { out.into() } else { text.into() }
}

fn is_secrets(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

/// Whether the text has the form of a token. No user's name has it.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|secret| secret.len() == SECRET_CHARS && secret.bytes().all(is_secrets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token_is_left_out_of_logs() {
        let (_, token) = new_token("ci", vec![Scope::Read], Vec::new(), None).unwrap();
        assert_eq!(masked(&format!("/{token}/@v/list")), "/mg_*/@v/list");
        assert_eq!(masked(&format!("/x-{token}{token}/{token}")), "/x-mg_*/mg_*");
        let escaped: String =
            token.chars().flat_map(|c| c.is_ascii_uppercase().then_some('!').into_iter().chain([c.to_ascii_lowercase()])).collect();
        assert_eq!(masked(&format!("/{escaped}/@v/list")), "/mg_*/@v/list");
        for path in ["/corp.example.com/mg_x/mg_y/@v/list", "/mg_", "", &token[..token.len() - 1]] {
            assert_eq!(masked(path), path);
        }
    }
}
