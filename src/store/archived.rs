//! What an archive may hold, by name, and how what it says is shown to people: an archive may be anybody's.

use super::backup::{ARCHIVED_HEAD, ARCHIVED_VERIFIER};
use crate::module::{ModulePath, Version};
use crate::tlog::{Tile, TileLevel};

/// Where an archive has a checksum log, and a data directory too.
pub(super) const LOG: &str = "sumdb/log";
/// Longest piece of an archive's own words that is shown, characters: a finding names a blob, and says what is wrong.
const SHOWN_CHARS_MAX: usize = 240;
/// Endings of what is taken of `tls/`.
const TLS_ENDINGS: [&str; 3] = [".pem", ".key", ".crt"];

/// Whether a file of this name is part of a backup: nothing else is written into one, nor put back from one.
pub(super) fn is_archived(name: &str) -> bool {
    let Some((folder, rest)) = name.split_once('/') else { return false };
    match folder {
        "records" => rest == "changes.journal" || is_record(rest),
        "ledger" => rest == "known.log" || rest == "egress.log" || is_old_ledger(rest),
        "tls" => is_tls(rest),
        "sumdb" => name.strip_prefix(LOG).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_of_log),
        "blobs" => rest.len() == 64 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        _ => false,
    }
}

/// Whether a backup takes a file of this name in `tls/`.
pub(super) fn is_tls(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    plain && !name.starts_with('.') && TLS_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_record(name: &str) -> bool {
    let Some((module, version)) = name.split_once("/@v/") else { return false };
    let version = version.strip_suffix(".json");
    ModulePath::unescape(module).is_ok() && version.is_some_and(|version| Version::unescape(version).is_ok())
}

fn is_of_log(name: &str) -> bool {
    let is_tile = |tile: Tile| tile.level() == TileLevel::Data && tile.is_full();
    name == ARCHIVED_VERIFIER || name == ARCHIVED_HEAD || name.parse().is_ok_and(is_tile)
}

fn is_old_ledger(name: &str) -> bool {
    let number = name.strip_prefix("egress.").and_then(|rest| rest.strip_suffix(".log"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// What an archive says, fit for a terminal: without control characters, and not too long.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown = String::new();
    for c in chars.by_ref().take(SHOWN_CHARS_MAX) {
        match c {
            // They are ordinary in texts.
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backup_writes_belongs_in_one_and_nothing_else() {
        let blob = format!("blobs/{}", "0a".repeat(32));
        let ours = [
            "records/changes.journal",
            "records/corp.example.com/!lib/@v/v1.0.0.json",
            "ledger/known.log",
            "ledger/egress.log",
            "ledger/egress.12.log",
            "tls/ca.pem",
            "tls/ca-key.pem",
            "sumdb/log/verifier",
            "sumdb/log/head",
            "sumdb/log/tile/8/data/000",
            "sumdb/log/tile/8/data/x001/x234/067",
            &blob,
        ];
        for name in ours {
            assert!(is_archived(name), "{name}");
        }
        let long = format!("blobs/{}", "0a".repeat(33));
        let others = [
            "records",
            "records/",
            "records/x",
            "records/corp.example.com/Lib/@v/v1.0.0.json",
            "records/corp.example.com/lib/@v/v1.json",
            "records/corp.example.com/../lib/@v/v1.0.0.json",
            "records/a\\b/@v/v1.0.0.json",
            "ledger/zz",
            "ledger/egress..log",
            "ledger/egress.x.log",
            "tls/evil",
            "tls/.ca.pem",
            "tls/x/ca.pem",
            "tls/../ca.pem",
            "sumdb/log",
            "sumdb/log/",
            "sumdb/log/key",
            "sumdb/log/head-path",
            "sumdb/logx/head",
            "sumdb/public/head",
            "sumdb/log/tile/8/0/000",
            "sumdb/log/tile/8/data/000.p/1",
            "sumdb/log/tile/8/data/../000",
            "blobs/x",
            "blobs/../x",
            &long,
            "format",
            "tmp/x",
        ];
        for name in others {
            assert!(!is_archived(name), "{name}");
        }
    }

    #[test]
    fn what_is_shown_does_nothing_to_a_terminal() {
        assert_eq!(shown("blobs/x: \"gone\""), "blobs/x: \"gone\"");
        assert_eq!(shown("\u{1b}[31m\r\n\u{202e}\u{9b}"), "\\u{1b}[31m\\r\\n\\u{202e}\\u{9b}");
        assert_eq!(shown(&"x".repeat(1 << 20)).chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
