//! The `Authorization` header.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::token;

/// Padding is not insisted on: some clients leave it out.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What somebody claims to be.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Basic, a user and a password.
    Password {
        /// The user's name, not judged yet.
        user: String,
        /// The password.
        password: String,
    },
    /// A token: Basic with the token in either field, `Bearer T` or `token T`.
    Token(String),
}

/// The header is none that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Authorization header is neither Basic nor Bearer nor token")]
pub struct Malformed;

impl Credentials {
    /// Reads the header's value. The scheme is read in any case.
    ///
    /// A field of Basic that looks like a token is one, whatever the other holds; the password's field is looked at first.
    pub fn from_header(value: &str) -> Result<Self, Malformed> {
        let (scheme, rest) = value.trim().split_once([' ', '\t']).ok_or(Malformed)?;
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(Malformed);
        }
        if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
            return Ok(Self::Token(rest.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Malformed);
        }
        let bytes = BASE64.decode(rest).map_err(|_| Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| Malformed)?;
        let (user, password) = text.split_once(':').ok_or(Malformed)?;
        Ok(if token::looks_like_one(password) {
            Self::Token(password.to_owned())
        } else if token::looks_like_one(user) {
            Self::Token(user.to_owned())
        } else {
            Self::Password { user: user.to_owned(), password: password.to_owned() }
        })
    }
}

impl fmt::Debug for Credentials {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(…)",
            Self::Token(_) => "Token(…)",
        })
    }
}
