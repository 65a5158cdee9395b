//! The surface: a method and a URL path become one [`Request`]. Everything that is served stands here.
//!
//! A path is decoded once and judged before anything else sees it, so that no later layer meets `..`, a
//! second encoding or a case trick. The module path inside is compared and sent in its unescaped form only.

use crate::module::{ModulePath, OwnerName, Version, version};
use crate::tlog::{Tile, TilePathError};

mod packages;

pub use packages::{PackageAsk, PackageQuery};

/// Longest path that is looked at, in bytes as sent: the longest escaped module path and version fit several times.
const PATH_MAX: usize = 4096;
/// Longest branch, tag or hash that is looked up, in bytes.
const QUERY_MAX: usize = 200;

/// The media types of what is served.
pub mod media {
    /// Lists, `.mod`, notes and records of a checksum database, and every refusal.
    pub const TEXT: &str = "text/plain; charset=utf-8";
    /// `.info`, `@latest`, and an operator's answers.
    pub const JSON: &str = "application/json";
    /// `.zip`
    pub const ZIP: &str = "application/zip";
    /// Numbers for Prometheus.
    pub const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
    /// Tiles.
    pub const BYTES: &str = "application/octet-stream";
    /// Backups.
    pub const TAR: &str = "application/x-tar";
}

/// What the path is relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// `/`: every hosted module that the caller may see, then public ones.
    Root,
    /// `/api/packages/{owner}/go`: that owner's modules, then public ones.
    Owner(OwnerName),
    /// An owner base whose name no owner can have: treated as an owner that is not there.
    NoOwner,
}

/// A well-formed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// GET, HEAD of a base.
    Home(Base),
    /// The GOPROXY protocol.
    Module(Base, ModulePath, ModuleAsk),
    /// A checksum database.
    Sumdb(Base, SumdbAsk),
    /// `/{8 hex}/…`: our own checksum database, asked by the last part of its name. A client that is not told where a database is asks
    /// `https://` and the database's name.
    Log(String, SumdbWhat),
    /// PUT `/api/packages/{owner}/go/upload`; `None` where no owner can have the name.
    Publish(Option<OwnerName>),
    /// DELETE `/api/v1/packages/{owner}/go/{module}/{version}`; `None` as above.
    Delete(Option<OwnerName>, ModulePath, Version),
    /// GET, HEAD `/api/v1/packages/{owner}`: that owner's versions, as the query string selects them ([`PackageQuery`]); `None` as above.
    Packages(Option<OwnerName>),
    /// GET, HEAD `/api/v1/packages/{owner}/go/{module}/{version}`, `…/files`; `None` as above.
    Package(Option<OwnerName>, ModulePath, Version, PackageAsk),
    /// GET `/healthz`.
    Health,
    /// GET `/readyz`.
    Ready,
    /// GET `/metrics`: served on the admin listeners only.
    Metrics,
    /// `/admin/{command}`: served on the admin listeners only.
    Admin(String),
}

/// What is asked of a module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModuleAsk {
    /// `@v/list`
    List,
    /// `@latest`
    Latest,
    /// `@v/{version}.info` of a canonical version.
    Info(Version),
    /// `@v/{query}.info` of anything else: a branch, a hash, `v1.2.3+meta`. Unescaped.
    Query(String),
    /// `@v/{version}.mod`
    Mod(Version),
    /// `@v/{version}.zip`
    Zip(Version),
    /// `@v/latest.{info,mod,zip}`: hosted only.
    Alias(Ext),
    /// `.mod` or `.zip` of something that is no canonical version: absent, without asking anyone.
    NoVersion(String),
}

impl ModuleAsk {
    /// What stands behind the module's path and a `/` where this is asked for, escaped: `@latest`, `@v/list`, `@v/v1.0.0.zip`.
    /// None for what only this gateway knows, or nobody: [`ModuleAsk::Alias`] and [`ModuleAsk::NoVersion`], and queries that
    /// cannot be escaped.
    pub fn file(&self) -> Option<String> {
        Some(match self {
            Self::List => "@v/list".to_owned(),
            Self::Latest => "@latest".to_owned(),
            Self::Info(version) => format!("@v/{}.info", version.escaped()),
            Self::Query(query) => format!("@v/{}.info", version::escape_query(query).ok()?),
            Self::Mod(version) => format!("@v/{}.mod", version.escaped()),
            Self::Zip(version) => format!("@v/{}.zip", version.escaped()),
            Self::Alias(_) | Self::NoVersion(_) => return None,
        })
    }

    /// The media type of what answers it.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::List | Self::Mod(_) | Self::Alias(Ext::Mod) | Self::NoVersion(_) => media::TEXT,
            Self::Latest | Self::Info(_) | Self::Query(_) | Self::Alias(Ext::Info) => media::JSON,
            Self::Zip(_) | Self::Alias(Ext::Zip) => media::ZIP,
        }
    }
}

/// The files of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ext {
    /// `.info`
    Info,
    /// `.mod`
    Mod,
    /// `.zip`
    Zip,
}

/// What is asked of a checksum database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumdbAsk {
    /// The database: host[/path].
    pub name: String,
    /// The question.
    pub what: SumdbWhat,
}

/// The questions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SumdbWhat {
    /// `/supported`
    Supported,
    /// `/latest`
    Latest,
    /// `/lookup/{module}@{version}`
    Lookup(ModulePath, Version),
    /// `/tile/…`
    Tile(Tile),
}

impl SumdbWhat {
    /// The media type of what answers it.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Supported | Self::Latest | Self::Lookup(..) => media::TEXT,
            Self::Tile(_) => media::BYTES,
        }
    }
}

/// Why a method and a path are no [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reject {
    /// 400: the request is not the protocol's. One line.
    Bad(String),
    /// 404: nothing is served there.
    NotFound,
    /// 405, with the value of `Allow`.
    Method(&'static str),
}

fn bad<T>(why: impl Into<String>) -> Result<T, Reject> {
    Err(Reject::Bad(why.into()))
}

const READ: &str = "GET, HEAD";

/// Judges a method and a raw path: as sent, percent-encoded, without its query string.
pub fn parse(method: &http::Method, raw_path: &str) -> Result<Request, Reject> {
    let (request, allow) = route(method, raw_path)?;
    let allowed = allow.split(", ").any(|name| name == method.as_str());
    if allowed { Ok(request) } else { Err(Reject::Method(allow)) }
}

/// The request that a path names, and the methods that it takes.
fn route(method: &http::Method, raw_path: &str) -> Result<(Request, &'static str), Reject> {
    if raw_path.len() > PATH_MAX {
        return bad(format!("the path is longer than {PATH_MAX} bytes"));
    }
    let Some(raw) = raw_path.strip_prefix('/') else { return bad("the path does not begin with /") };
    if let Some(rest) = raw.strip_prefix("api/v1/packages/") {
        return packages::route(method, rest);
    }
    let path = decode(raw)?;
    match path.as_str() {
        "" => return Ok((Request::Home(Base::Root), READ)),
        "healthz" => return Ok((Request::Health, READ)),
        "readyz" => return Ok((Request::Ready, READ)),
        "metrics" => return Ok((Request::Metrics, READ)),
        _ => {}
    }
    if let Some(command) = path.strip_prefix("admin/") {
        return Ok((Request::Admin(command.to_owned()), "POST"));
    }
    if let Some((owner, rest)) = path.strip_prefix("api/packages/").and_then(|rest| rest.split_once('/')) {
        let owner = owner.parse().ok();
        if rest == "go/upload" {
            return Ok((Request::Publish(owner), "PUT"));
        }
        let base = owner.map_or(Base::NoOwner, Base::Owner);
        return match rest {
            "go" | "go/" => Ok((Request::Home(base), READ)),
            _ => match rest.strip_prefix("go/") {
                Some(rest) => based(base, rest).map(|request| (request, READ)),
                None => Err(Reject::NotFound),
            },
        };
    }
    if let Some((hash, rest)) = path.split_once('/').filter(|(hash, _)| is_log(hash)) {
        return sumdb_what(rest).map(|what| (Request::Log(hash.to_owned(), what), READ));
    }
    based(Base::Root, &path).map(|request| (request, READ))
}

/// Whether this can be the last part of our checksum database's name: no module path begins so.
fn is_log(element: &str) -> bool {
    element.len() == 8 && element.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

/// What is read below a base. `path` is decoded and has no leading slash.
fn based(base: Base, path: &str) -> Result<Request, Reject> {
    if let Some(rest) = path.strip_prefix("sumdb/") {
        return sumdb(rest).map(|ask| Request::Sumdb(base, ask));
    }
    check_elements(path)?;
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return bad("a capital letter in an escaped path: write ! and the small letter");
    }
    let (module, ask) = if let Some(module) = path.strip_suffix("/@latest") {
        (module, ModuleAsk::Latest)
    } else if let Some((module, file)) = path.split_once("/@v/") {
        (module, version_file(file)?)
    } else {
        return Err(Reject::NotFound);
    };
    let module = ModulePath::unescape(module).or_else(|e| bad(e.to_string()))?;
    Ok(Request::Module(base, module, ask))
}

/// What stands behind `/@v/`.
fn version_file(file: &str) -> Result<ModuleAsk, Reject> {
    if file == "list" {
        return Ok(ModuleAsk::List);
    }
    if file.contains('/') {
        return bad("a / in a version");
    }
    let (stem, ext) = match file.rsplit_once('.') {
        Some((stem, "info")) => (stem, Ext::Info),
        Some((stem, "mod")) => (stem, Ext::Mod),
        Some((stem, "zip")) => (stem, Ext::Zip),
        _ => return Err(Reject::NotFound),
    };
    if stem == "latest" {
        return Ok(ModuleAsk::Alias(ext));
    }
    if let Ok(version) = Version::unescape(stem) {
        return Ok(match ext {
            Ext::Info => ModuleAsk::Info(version),
            Ext::Mod => ModuleAsk::Mod(version),
            Ext::Zip => ModuleAsk::Zip(version),
        });
    }
    let query = version::unescape_query(stem).or_else(|e| bad(e.to_string()))?;
    if query.len() > QUERY_MAX {
        return bad(format!("the version is longer than {QUERY_MAX} bytes"));
    }
    Ok(if ext == Ext::Info { ModuleAsk::Query(query) } else { ModuleAsk::NoVersion(query) })
}

/// What stands behind `sumdb/`. The name may hold slashes, so the question is found by its own words.
fn sumdb(rest: &str) -> Result<SumdbAsk, Reject> {
    let at = if let Some(name) = rest.strip_suffix("/supported").filter(|name| !name.is_empty()) {
        name.len()
    } else {
        check_elements(rest)?;
        let latest = rest.strip_suffix("/latest").map(str::len);
        latest.or_else(|| rest.find("/lookup/")).or_else(|| rest.find("/tile/")).ok_or(Reject::NotFound)?
    };
    Ok(SumdbAsk { name: rest[..at].to_owned(), what: sumdb_what(&rest[at + 1..])? })
}

/// A question to a checksum database: what stands behind its name.
fn sumdb_what(rest: &str) -> Result<SumdbWhat, Reject> {
    match rest {
        "supported" => return Ok(SumdbWhat::Supported),
        "latest" => return Ok(SumdbWhat::Latest),
        _ => check_elements(rest)?,
    }
    if let Some(lookup) = rest.strip_prefix("lookup/") {
        let (module, version) = lookup.rsplit_once('@').map_or_else(|| bad("a look-up is MODULE@VERSION"), Ok)?;
        let module = ModulePath::unescape(module).or_else(|e| bad(e.to_string()))?;
        let version = Version::unescape(version).or_else(|e| bad(e.to_string()))?;
        return Ok(SumdbWhat::Lookup(module, version));
    }
    if rest.starts_with("tile/") {
        return rest.parse().map(SumdbWhat::Tile).or_else(|e: TilePathError| bad(e.to_string()));
    }
    Err(Reject::NotFound)
}

/// No empty, `.` or `..` element.
fn check_elements(path: &str) -> Result<(), Reject> {
    match path.split('/').find(|elem| matches!(*elem, "" | "." | "..")) {
        None => Ok(()),
        Some("") => bad("an empty path element"),
        Some(_) => bad("a . or .. path element"),
    }
}

#[derive(PartialEq, Eq)]
enum Slashes {
    Raw,
    Encoded,
}

fn decode(raw: &str) -> Result<String, Reject> {
    decode_with(raw, Slashes::Raw)
}

/// Percent-decodes once. What could be read differently by somebody behind us is refused, whatever it means.
fn decode_with(raw: &str, slashes: Slashes) -> Result<String, Reject> {
    if slashes == Slashes::Raw && raw.as_bytes().windows(3).any(|escape| escape.eq_ignore_ascii_case(b"%2f")) {
        return bad("an encoded / in the path");
    }
    let path = percent_decoded(raw)?;
    match path.chars().find(|&c| c == '%' || c == '\\' || c.is_control()) {
        None => Ok(path),
        Some('%') => bad("a % left after decoding the path"),
        Some('\\') => bad("a \\ in the path"),
        Some(_) => bad("a control character in the path"),
    }
}

/// Percent-decodes, once.
fn percent_decoded(raw: &str) -> Result<String, Reject> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else { return bad("malformed percent-encoding") };
        // Two hex digits make a byte.
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).or_else(|_| bad("what is percent-encoded is not UTF-8"))
}

#[cfg(test)]
mod tests;
