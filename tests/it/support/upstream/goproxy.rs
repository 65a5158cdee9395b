//! What a fixture upstream answers as a GOPROXY.

use std::collections::BTreeMap;

use crate::support::hostile::{self, Hostile};
use crate::support::http::Response;
use crate::support::zips::{self, Module, escape};

/// Answers a decoded path from modules that are keyed by escaped path.
pub(crate) fn answer(modules: &BTreeMap<String, Vec<Module>>, path: &str, hostile: Option<Hostile>) -> Response {
    let path = path.trim_start_matches('/');
    let (escaped, ask) = match path.split_once("/@v/") {
        Some((escaped, ask)) => (escaped, Some(ask)),
        None => match path.strip_suffix("/@latest") {
            Some(escaped) => (escaped, None),
            None => return Response::text(404, "not found\n"),
        },
    };
    let Some(versions) = modules.get(escaped) else {
        return Response::text(404, format!("not found: module {escaped}: no such module in the fixture\n"));
    };
    if let Some(text) = versions.iter().find_map(|m| m.gone.as_deref()) {
        return Response::text(410, format!("{text}\n"));
    }
    match ask {
        Some("list") => Response::text(200, list(versions)),
        Some(file) => file_of(versions, file, hostile),
        None => match latest(versions) {
            Some(module) => Response::of(200, "application/json", module.info.clone().into_bytes()),
            None => Response::text(404, format!("not found: module {escaped}: no matching versions for query \"latest\"\n")),
        },
    }
}

fn list(versions: &[Module]) -> String {
    let mut list = String::new();
    for module in versions {
        if module.listed_with_time {
            let info: serde_json::Value = serde_json::from_str(&module.info).expect("an .info is JSON");
            list.push_str(&format!("{} {}\n", module.version, info["Time"].as_str().unwrap_or_default()));
        } else if zips::pseudo_stamp(&module.version).is_none() {
            list.push_str(&format!("{}\n", module.version));
        }
    }
    list
}

/// The highest release, else the highest pre-release, else the pseudo-version with the latest time. (The fixture's numbers have one digit,
/// so that text order is version order.)
fn latest(versions: &[Module]) -> Option<&Module> {
    let rank = |m: &&Module| match zips::pseudo_stamp(&m.version) {
        Some(stamp) => (0, stamp.to_owned()),
        None if m.version.contains('-') => (1, m.version.clone()),
        None if m.version.ends_with("+incompatible") => (2, m.version.clone()),
        None => (3, m.version.clone()),
    };
    versions.iter().filter(|m| m.has_latest).max_by_key(rank)
}

fn file_of(versions: &[Module], file: &str, hostile: Option<Hostile>) -> Response {
    let (name, kind) = file.rsplit_once('.').unwrap_or((file, ""));
    let not_found = || Response::text(404, format!("not found: {name}: unknown revision\n"));
    let exact = versions.iter().find(|m| escape(&m.version) == name);
    let module = match kind {
        "info" => exact.or_else(|| versions.iter().find(|m| m.queries.iter().any(|q| escape(q) == name))),
        _ => exact,
    };
    match (module, kind) {
        (Some(module), "info") => Response::of(200, "application/json", module.info.clone().into_bytes()),
        (Some(module), "mod") => hostile::go_mod(module, hostile),
        (Some(module), "zip") => hostile::zip(module, hostile),
        _ => not_found(),
    }
}
