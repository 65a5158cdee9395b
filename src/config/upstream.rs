//! GOPROXY and GOSUMDB syntax, as the go command reads it.

use super::problem::{Wrong, quote};
use super::values::without_secret;
use super::{Hop, Sumdb};
use crate::tlog::{Gosumdb, GosumdbError};

/// The most proxies in a list.
const HOPS_MAX: usize = 16;

/// A GOPROXY list. `off` ends it; alone it is the empty list.
pub(super) fn goproxy(text: &str) -> Result<Vec<Hop>, Wrong> {
    let expected = || Wrong::expected("a GOPROXY list: http and https URLs with , or | between them, or \"off\"");
    let mut hops = Vec::new();
    let mut any = false;
    for piece in text.split_inclusive([',', '|']) {
        let (entry, any_error) = match piece.strip_suffix('|') {
            Some(entry) => (entry, true),
            None => (piece.strip_suffix(',').unwrap_or(piece), false),
        };
        let entry = entry.trim();
        if entry.is_empty() {
            continue;
        }
        any = true;
        match entry {
            "off" => return Ok(hops),
            "direct" => {
                return Err(expected().found(quote(entry)).hint("the gateway never goes to version control itself: leave \"direct\" out"));
            }
            _ => hops.push(Hop { url: proxy_url(entry)?, any_error }),
        }
        if hops.len() > HOPS_MAX {
            return Err(Wrong::expected(format!("at most {HOPS_MAX} proxies")).found("more"));
        }
    }
    if any { Ok(hops) } else { Err(expected().hint("to ask nobody write \"off\"")) }
}

fn proxy_url(entry: &str) -> Result<url::Url, Wrong> {
    // As the go command has it: without a scheme, https is meant.
    let with_scheme = !entry.contains(":/") && entry.contains(['.', ':', '/']) && !entry.starts_with('/');
    let full = if with_scheme { format!("https://{entry}") } else { entry.to_owned() };
    base_url(&full, "an http or https URL in the GOPROXY list")
}

/// An http or https URL that other paths are put behind: without credentials, query, fragment, and a `/` at its end.
pub(super) fn base_url(text: &str, expected: &str) -> Result<url::Url, Wrong> {
    let wrong = |expected: &str| without_secret(text, Wrong::expected(expected).found(quote(text)));
    let mut url = url::Url::parse(text).map_err(|_| wrong(expected))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(expected));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("URLs without credentials").hint("put them into upstream.auth"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("URLs without a query or a fragment"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The proxy by which upstreams are asked.
pub(super) fn way(text: &str) -> Result<url::Url, Wrong> {
    let wrong =
        || without_secret(text, Wrong::expected("an http or https URL, scheme, host and port alone: \"http://proxy.example.com:3128\""));
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let bare = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
    let bare = bare && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong().hint("a proxy that wants credentials is named by HTTPS_PROXY in the environment"));
    }
    if bare { Ok(url) } else { Err(wrong()) }
}

/// GOSUMDB syntax: a name or a key, then perhaps a URL; or `off`.
pub(super) fn sumdb(text: &str) -> Result<Option<Sumdb>, Wrong> {
    let wrong = || {
        without_secret(
            text,
            Wrong::expected("GOSUMDB syntax: the name of a checksum database or its key (NAME+HASH+KEY), then perhaps its URL; or \"off\""),
        )
    };
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<Gosumdb>() {
        Ok(Gosumdb { key, url }) => {
            let url = url.map(|url| base_url(url.as_str(), "the http or https URL of a checksum database")).transpose()?;
            return Ok(Some(Sumdb { name: key.name().to_owned(), key: Some(key), url }));
        }
        // A name that nobody has a key of, perhaps.
        Err(GosumdbError::Key(_)) if text.split_whitespace().next().is_some_and(|name| !name.contains('+')) => {}
        Err(error) => return Err(wrong().hint(error.to_string())),
    }
    let mut fields = text.split_whitespace();
    let name = fields.next().filter(|name| Gosumdb::is_name(name)).ok_or_else(wrong)?;
    let url = fields.next().map(|url| base_url(url, "the http or https URL of a checksum database")).transpose()?;
    Ok(Some(Sumdb { name: name.to_owned(), key: None, url }))
}
