//! GOSUMDB: which checksum database, and how it is reached; as `dbDial` of the go command reads it.

use std::str::FromStr;

use url::Url;

use super::key::{KeyError, VerifierKey};

/// The databases that the go command knows by name.
const KNOWN: &[(&str, &str)] = &[("sum.golang.org", "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")];
/// Other ways to a database: a name that stands for a setting.
const ALIASES: &[(&str, &str)] = &[("sum.golang.google.cn", "sum.golang.org https://sum.golang.google.cn")];

/// A checksum database: a setting that is not `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gosumdb {
    /// Its name and key.
    pub key: VerifierKey,
    /// Where it is asked, if not by its name or through proxies.
    pub url: Option<Url>,
}

/// Why a setting names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GosumdbError {
    /// Nothing, or more than a key and a URL.
    #[error("GOSUMDB is a key, or a key and a URL")]
    Fields,
    /// No key, nor a name that is known.
    #[error("GOSUMDB: {0}")]
    Key(#[from] KeyError),
    /// The key's name is not `host[/path]`.
    #[error("the name of a checksum database is host[/path]")]
    Name,
    /// Not an http or https URL.
    #[error("the URL of a checksum database is http or https")]
    Url,
}

impl Gosumdb {
    /// Whether this is `host[/path]`, and stands in a URL as it is.
    pub fn is_name(name: &str) -> bool {
        name.split('/').all(|e| !matches!(e, "" | "." | "..") && e.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:".contains(&b)))
    }
}

impl FromStr for Gosumdb {
    type Err = GosumdbError;

    fn from_str(text: &str) -> Result<Self, GosumdbError> {
        let text = ALIASES.iter().find(|(name, _)| *name == text).map_or(text, |(_, setting)| setting);
        let mut fields = text.split_whitespace();
        let (Some(key), url, None) = (fields.next(), fields.next(), fields.next()) else { return Err(GosumdbError::Fields) };
        let key = KNOWN.iter().find(|(name, _)| *name == key).map_or(key, |(_, known)| known);
        let key: VerifierKey = key.parse()?;
        if !Self::is_name(key.name()) {
            return Err(GosumdbError::Name);
        }
        let url = url.map(|url| url.parse::<Url>().map_err(|_| GosumdbError::Url)).transpose()?;
        if url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
            return Err(GosumdbError::Url);
        }
        Ok(Self { key, url })
    }
}

#[cfg(test)]
mod tests;
