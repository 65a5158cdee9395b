//! What an upstream's 200 must look like to be an answer; what is not is the upstream's failure.
//!
//! List and `.info` are written anew from what was understood; `@latest` passes as it is; a `.mod` is never looked
//! into. Sizes are bounded here as the go command bounds them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::module::{Version, VersionError, major};
use crate::protocol::{ModuleAsk, SumdbWhat};
use crate::tlog::Tile;

use super::place::Asset;

/// Longest `.info` and `@latest`, bytes.
pub(crate) const INFO_BYTES_MAX: u64 = 64 << 10;
/// Longest list, bytes.
pub(crate) const LIST_BYTES_MAX: u64 = 16 << 20;
/// Longest `.mod`, bytes.
pub(crate) const MOD_BYTES_MAX: u64 = 16 << 20;
/// Longest `.zip`, bytes.
pub(crate) const ZIP_BYTES_MAX: u64 = 500 << 20;
/// Longest answer to a look-up, and longest signed head, bytes.
pub(crate) const NOTE_BYTES_MAX: u64 = 64 << 10;
/// Longest data tile, bytes: 256 records of the length that a look-up may have.
pub(crate) const DATA_TILE_BYTES_MAX: u64 = 256 * NOTE_BYTES_MAX;

/// How long the answer may be, bytes.
pub(crate) fn bytes_max(asset: &Asset) -> u64 {
    match asset {
        Asset::Module(_, ask) => match ask {
            ModuleAsk::List => LIST_BYTES_MAX,
            ModuleAsk::Mod(_) => MOD_BYTES_MAX,
            ModuleAsk::Zip(_) => ZIP_BYTES_MAX,
            ModuleAsk::Latest | ModuleAsk::Info(_) | ModuleAsk::Query(_) => INFO_BYTES_MAX,
            ModuleAsk::Alias(_) | ModuleAsk::NoVersion(_) => 0,
        },
        Asset::Sumdb(_, what) => match what {
            SumdbWhat::Tile(tile) => tile.byte_len().map_or(DATA_TILE_BYTES_MAX, |_| Tile::BYTES as u64),
            SumdbWhat::Latest | SumdbWhat::Lookup(..) => NOTE_BYTES_MAX,
            SumdbWhat::Supported => 0,
        },
    }
}

/// What is served for this body, whole and within [`bytes_max`]; or what is wrong with it.
pub(crate) fn judge(asset: &Asset, body: Bytes) -> Result<Bytes, String> {
    match asset {
        Asset::Module(path, ask) => match ask {
            ModuleAsk::List => list(&body).map(Bytes::from),
            ModuleAsk::Latest => info(&body).map(drop).map(|()| body),
            ModuleAsk::Info(version) => exact_info(&body, version).map(Bytes::from),
            ModuleAsk::Query(_) => {
                let info = info(&body)?;
                let version = info.version.parse().map_err(|e: VersionError| e.to_string())?;
                major::check(path, &version).map_err(|e| e.to_string())?;
                info.render().map(Bytes::from)
            }
            // No go.mod begins so, but the pages of networks that ask for a log-in do.
            ModuleAsk::Mod(_) if body.trim_ascii_start().starts_with(b"<") => Err("a page of HTML".to_owned()),
            ModuleAsk::Mod(_) | ModuleAsk::Zip(_) => Ok(body),
            ModuleAsk::Alias(_) | ModuleAsk::NoVersion(_) => Err("nobody was asked for it".to_owned()),
        },
        Asset::Sumdb(_, what) => sumdb(what, &body).map(|()| body),
    }
}

#[derive(Deserialize, Serialize)]
struct Info<'a> {
    #[serde(rename = "Version", alias = "version")]
    version: String,
    #[serde(rename = "Time", alias = "time", default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(rename = "Origin", alias = "origin", borrow, default, skip_serializing_if = "Option::is_none")]
    origin: Option<&'a RawValue>,
}

impl Info<'_> {
    fn render(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|e| e.to_string())
    }
}

/// `{Version, Time, Origin?}`, the rest left out.
fn info(body: &[u8]) -> Result<Info<'_>, String> {
    let info: Info<'_> = serde_json::from_slice(body).map_err(|e| format!("not the JSON of a version: {e}"))?;
    info.version.parse::<Version>().map_err(|e| e.to_string())?;
    if let Some(time) = &info.time {
        OffsetDateTime::parse(time, &Rfc3339).map_err(|e| format!("bad Time: {e}"))?;
    }
    Ok(info)
}

/// The version that an `.info` names.
pub(crate) fn version_of(body: &[u8]) -> Result<Version, String> {
    info(body)?.version.parse().map_err(|e: VersionError| e.to_string())
}

fn exact_info(body: &[u8], version: &Version) -> Result<Vec<u8>, String> {
    let info = info(body)?;
    if info.version != version.as_str() {
        return Err(format!("version {} where {version} was asked for", info.version));
    }
    info.render()
}

/// The lines that name a version, with their time if it is one. A text none of whose lines begins like a version
/// is no list: taken for an empty one it would turn an error page into an absence.
fn list(body: &[u8]) -> Result<String, String> {
    let mut out = String::with_capacity(body.len());
    let (mut lines, mut plausible) = (0, 0);
    for line in body.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        lines += 1;
        plausible += usize::from(line.starts_with(b"v"));
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut fields = line.split_ascii_whitespace();
        let Some(version) = fields.next().filter(|v| v.parse::<Version>().is_ok()) else { continue };
        out.push_str(version);
        if let Some(time) = fields.next().filter(|t| OffsetDateTime::parse(t, &Rfc3339).is_ok()) {
            out.push(' ');
            out.push_str(time);
        }
        out.push('\n');
    }
    if lines > 0 && plausible == 0 {
        return Err("no line of it names a version".to_owned());
    }
    Ok(out)
}

fn sumdb(what: &SumdbWhat, body: &[u8]) -> Result<(), String> {
    match what {
        SumdbWhat::Tile(tile) => match (tile.byte_len(), body.len()) {
            (None, 0) => Err("an empty tile".to_owned()),
            (Some(expected), len) if len != expected => Err(format!("a tile of {len} bytes, not {expected}")),
            _ => Ok(()),
        },
        SumdbWhat::Lookup(..) => {
            let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
            let id = text.split('\n').next().unwrap_or_default();
            let good = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && is_signed(text);
            if good { Ok(()) } else { Err("not a record and a signed head".to_owned()) }
        }
        SumdbWhat::Latest => {
            let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
            if is_signed(text) { Ok(()) } else { Err("not a signed head".to_owned()) }
        }
        SumdbWhat::Supported => Err("nobody was asked for it".to_owned()),
    }
}

/// Whether it ends like a signed note: a blank line, then signature lines. Whether they are good, clients find out.
fn is_signed(text: &str) -> bool {
    let Some((_, signatures)) = text.rsplit_once("\n\n") else { return false };
    signatures.ends_with('\n') && signatures.lines().all(|line| line.starts_with("\u{2014} "))
}

/// Whether what was kept is still what was kept: the same judgement, whose outcome must be the same bytes.
pub(crate) fn is_intact(asset: &Asset, body: &Bytes) -> bool {
    !body.is_empty() && judge(asset, body.clone()).is_ok_and(|judged| judged == *body)
}

#[cfg(test)]
mod tests;
