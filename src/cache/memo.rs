//! Answers with a date: a JSON line that says what was asked and what came, then the body.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::place::absence_of;
use crate::store::hex;

/// The format that is written and read.
const FORMAT: u32 = 1;
/// Longest first line, bytes.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;

/// The first line of a memo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memo {
    format: u32,
    /// What was asked, as its key in `queries/`: a file that strayed to another name answers nothing.
    pub(super) key: String,
    /// 200, 404 or 410.
    pub(super) status: u16,
    /// When upstream said so, milliseconds since 1970.
    at_ms: u64,
    /// The body's length in bytes.
    pub(super) len: u64,
    /// The body's SHA-256, hex.
    pub(super) sha256: String,
}

/// SHA-256 as hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Memo {
    pub(super) fn new(key: &str, status: u16, now: SystemTime, body: &[u8]) -> Self {
        let at_ms = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        Self { format: FORMAT, key: key.to_owned(), status, at_ms, len: body.len() as u64, sha256: sha256(body) }
    }

    /// The file.
    pub(super) fn file(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut out = serde_json::to_vec(self).ok().filter(|head| head.len() < HEAD_BYTES_MAX)?;
        out.push(b'\n');
        out.extend_from_slice(body);
        Some(out)
    }

    /// Reads the first line of the file of a key, of which `start` is the beginning and `len` the whole length in bytes; and
    /// where the body begins. `None`: torn, corrupt, of another format or another key's.
    pub(super) fn read(key: &str, start: &[u8], len: u64) -> Option<(Self, usize)> {
        let end = start.iter().take(HEAD_BYTES_MAX).position(|b| *b == b'\n')?;
        let memo: Self = serde_json::from_slice(&start[..end]).ok()?;
        let is_its_own = memo.key == key || absence_of(&memo.key).as_deref() == Some(key);
        let good = memo.format == FORMAT && is_its_own && memo.len == len.checked_sub(end as u64 + 1)?;
        good.then_some((memo, end + 1))
    }

    /// When upstream said so.
    pub(super) fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_reads_back_and_nothing_else_does() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000);
        let memo = Memo::new("queries/example.com/m/@v/list", 200, now, b"v1.0.0\n");
        let file = memo.file(b"v1.0.0\n").unwrap();
        let (read, from) = Memo::read("queries/example.com/m/@v/list", &file, file.len() as u64).unwrap();
        assert_eq!((&read, &file[from..]), (&memo, &b"v1.0.0\n"[..]));
        assert_eq!(read.at(), now);
        assert!(Memo::read("queries/example.com/n/@v/list", &file, file.len() as u64).is_none());
        let absence = absence_of("queries/example.com/m/@v/list").unwrap();
        assert!(Memo::read(&absence, &file, file.len() as u64).is_some());
        assert!(Memo::read(&absence.replace("absent/", "absent/0"), &file, file.len() as u64).is_none());
        for len in 0..file.len() {
            assert!(Memo::read("queries/example.com/m/@v/list", &file[..len], len as u64).is_none(), "{len}");
        }
    }
}
