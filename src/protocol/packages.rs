//! The API of the registry that clients know from elsewhere: `/api/v1/packages/{owner}…`.

use http::Method;

use super::{READ, Reject, Request, Slashes, bad, check_elements, decode, decode_with, percent_decoded};
use crate::module::{ModulePath, Version};

/// Longest query string that is looked at, bytes as sent.
const QUERY_STRING_MAX: usize = 2048;
/// Entries of a page where the client does not say.
const LIMIT_DEFAULT: u64 = 30;
/// Entries of a page at most: whoever asks for more gets so many.
const LIMIT_MAX: u64 = 50;
/// The only kind of package that is here.
const TYPE: &str = "go";

/// What is asked of a hosted version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackageAsk {
    /// The version itself.
    Version,
    /// Its files.
    Files,
}

/// What stands behind `/api/v1/packages/`: `{owner}`, `{owner}/go/{module}/{version}` or that and `/files`. The module is
/// percent-encoded or raw, read from the right; a version's capitals may be escaped as in the GOPROXY protocol.
pub(super) fn route(method: &Method, rest: &str) -> Result<(Request, &'static str), Reject> {
    let Some((owner, rest)) = rest.split_once('/') else {
        return if rest.is_empty() { Err(Reject::NotFound) } else { Ok((Request::Packages(rest.parse().ok()), READ)) };
    };
    let Some(rest) = rest.strip_prefix("go/") else { return Err(Reject::NotFound) };
    // No version is called so.
    let (rest, ask) = rest.strip_suffix("/files").map_or((rest, PackageAsk::Version), |rest| (rest, PackageAsk::Files));
    let Some((module, version)) = rest.rsplit_once('/') else { return Err(Reject::NotFound) };
    let module = decode_with(module, Slashes::Encoded)?;
    check_elements(&module)?;
    let module = module.parse::<ModulePath>().or_else(|e| bad(e.to_string()))?;
    let version = decode(version)?;
    let version = version.parse::<Version>().or_else(|e| Version::unescape(&version).or_else(|_| bad(e.to_string())))?;
    let owner = owner.parse().ok();
    match ask {
        PackageAsk::Version if method == Method::DELETE => Ok((Request::Delete(owner, module, version), "GET, HEAD, DELETE")),
        PackageAsk::Version => Ok((Request::Package(owner, module, version, ask), "GET, HEAD, DELETE")),
        PackageAsk::Files => Ok((Request::Package(owner, module, version, ask), READ)),
    }
}

/// What a list of an owner's versions is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageQuery {
    /// Whether Go modules are asked for: there is nothing else.
    pub go: bool,
    /// What a module's path must contain, in lower case; it is compared without regard to case.
    pub contains: String,
    /// Entries before the first.
    pub skip: u64,
    /// Entries at most, 1 to 50.
    pub limit: u64,
}

impl PackageQuery {
    /// Reads a query string: `type`, `q`, `page` from 1 and `limit`, each at most once.
    ///
    /// # Errors
    /// [`Reject::Bad`] for any other name, and values that are none.
    pub fn parse(raw: Option<&str>) -> Result<Self, Reject> {
        let raw = raw.unwrap_or_default();
        if raw.len() > QUERY_STRING_MAX {
            return bad(format!("the query string is longer than {QUERY_STRING_MAX} bytes"));
        }
        let [mut kind, mut contains, mut page, mut limit] = [const { None::<String> }; 4];
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let field = match name {
                "type" => &mut kind,
                "q" => &mut contains,
                "page" => &mut page,
                "limit" => &mut limit,
                _ => return bad("the query string takes type, q, page and limit"),
            };
            let value = percent_decoded(&value.replace('+', " "))?;
            if field.replace(value).is_some() {
                return bad(format!("{name} stands twice in the query string"));
            }
        }
        let limit = number("limit", limit, LIMIT_DEFAULT)?.min(LIMIT_MAX);
        let page = number("page", page, 1)?;
        Ok(Self {
            go: kind.is_none_or(|kind| kind.is_empty() || kind == TYPE),
            contains: contains.unwrap_or_default().to_lowercase(),
            skip: (page - 1).saturating_mul(limit),
            limit,
        })
    }
}

/// A number from 1; what is too large for any answer is the largest.
fn number(name: &str, text: Option<String>, default: u64) -> Result<u64, Reject> {
    let Some(text) = text else { return Ok(default) };
    if text.is_empty() || text.bytes().any(|b| !b.is_ascii_digit()) {
        return bad(format!("{name} is a whole number from 1"));
    }
    match text.parse().unwrap_or(u64::MAX) {
        0 => bad(format!("{name} is a whole number from 1")),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(raw: &str) -> PackageQuery {
        PackageQuery::parse(Some(raw)).unwrap_or_else(|e| panic!("{raw}: {e:?}"))
    }

    #[test]
    fn a_query_string_says_which_versions() {
        let all = PackageQuery { go: true, contains: String::new(), skip: 0, limit: 30 };
        for raw in ["", "&", "type=go", "type=", "page=1", "limit=30&page=1&type=go&q="] {
            assert_eq!(query(raw), all, "{raw}");
        }
        assert_eq!(PackageQuery::parse(None), Ok(all.clone()));
        assert_eq!(query("q=Corp.Example.com%2FLib+%41"), PackageQuery { contains: "corp.example.com/lib a".to_owned(), ..all.clone() });
        assert!(!query("type=npm").go);
        for (raw, skip, limit) in [
            ("page=3", 60, 30),
            ("limit=1&page=2", 1, 1),
            ("limit=49&page=2", 49, 49),
            ("limit=50&page=2", 50, 50),
            ("limit=51&page=2", 50, 50),
            ("limit=007&page=002", 7, 7),
            ("limit=99999999999999999999999&page=99999999999999999999999", u64::MAX, 50),
        ] {
            assert_eq!(query(raw), PackageQuery { skip, limit, ..all.clone() }, "{raw}");
        }
    }

    #[test]
    fn a_query_string_that_says_something_else_is_refused() {
        for raw in [
            "page=0",
            "page=",
            "page=-1",
            "page=+1",
            "page=1.0",
            "page=x",
            "limit=0",
            "limit=",
            "limit=1&limit=2",
            "q=a&q=a",
            "Type=go",
            "token=x",
            "q=%",
            "q=%4",
            "q=%zz",
            "q=%ff",
            "page=%0",
            "page",
        ] {
            let read = PackageQuery::parse(Some(raw));
            assert!(matches!(read, Err(Reject::Bad(_))), "{raw}: {read:?}");
        }
        let q = |len: usize| PackageQuery::parse(Some(&format!("q={}", "x".repeat(len - 2))));
        assert!(q(QUERY_STRING_MAX).is_ok());
        assert!(matches!(q(QUERY_STRING_MAX + 1), Err(Reject::Bad(_))));
    }
}
