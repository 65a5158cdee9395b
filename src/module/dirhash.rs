//! The h1 hash of golang.org/x/mod/sumdb/dirhash.

use std::fmt;
use std::io::{Read, Seek};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::zip::{Contents, Directory, ReadError, Source, ZIP_BYTES_MAX};

/// An h1 hash: SHA-256 over the sorted list of a module's files and their SHA-256s; written `h1:` and base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct H1(pub [u8; 32]);

/// The files that an h1 hash is made of, in any order.
#[derive(Debug, Default)]
pub(super) struct Summary<'a> {
    files: Vec<(&'a [u8], [u8; 32])>,
}

impl<'a> Summary<'a> {
    /// Adds a file: its whole name in the zip, without a line end in it, and the SHA-256 of its content.
    pub(super) fn add(&mut self, name: &'a [u8], sha256: [u8; 32]) {
        self.files.push((name, sha256));
    }

    /// The hash: names sorted bytewise, a line `hex(sha256)  name` each.
    pub(super) fn finish(mut self) -> H1 {
        self.files.sort_unstable();
        let mut sha = Sha256::new();
        for (name, content) in self.files {
            for byte in content {
                sha.update([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            sha.update(b"  ");
            sha.update(name);
            sha.update(b"\n");
        }
        H1(sha.finalize().into())
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The hash of a go.mod, as under `version/go.mod` in go.sum: of a list of one file, `go.mod`.
pub fn hash_go_mod(content: &[u8]) -> H1 {
    let mut summary = Summary::default();
    summary.add(b"go.mod", Sha256::digest(content).into());
    summary.finish()
}

/// The hash of a zip (`dirhash.HashZip`): of whatever its central directory lists, folders too, with no rule of module zips asked.
///
/// Streams: memory as the limits of [`super::zip`] say. Beyond Go's it fails for a zip whose entries overlap, that has too many
/// of them, or more than [`ZIP_BYTES_MAX`] unpacked: no go command unpacks such.
pub fn hash_zip<R: Read + Seek>(reader: R) -> Result<H1, ReadError> {
    let mut source = Source::new(reader)?;
    let directory = Directory::read(&mut source)?;
    directory.check_overlap(source.byte_len())?;
    let unpacked = directory.entries().iter().fold(0u64, |sum, e| sum.saturating_add(e.declared_size()));
    if unpacked > ZIP_BYTES_MAX {
        return Err(ReadError::Unpacked);
    }
    // Of entries with one name Go reads the last, as often as the name stands there. Stable: the last stays last.
    let mut entries: Vec<_> = directory.entries().iter().collect();
    entries.sort_by_key(|entry| directory.name(entry));
    let mut contents = Contents::new(source);
    let mut summary = Summary::default();
    for same in entries.chunk_by(|a, b| directory.name(a) == directory.name(b)) {
        let Some(entry) = same.last() else { continue };
        let name = directory.name(entry);
        if name.contains(&b'\n') {
            return Err(ReadError::Newline);
        }
        let mut sha = Sha256::new();
        contents.read(&directory, entry, |piece| sha.update(piece))?;
        let sha = sha.finalize().into();
        for _ in same {
            summary.add(name, sha);
        }
    }
    Ok(summary.finish())
}

impl fmt::Display for H1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h1:{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for H1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not `h1:` and the base64 of 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an h1 hash: {0:?}")]
pub struct H1Error(pub String);

impl FromStr for H1 {
    type Err = H1Error;

    fn from_str(text: &str) -> Result<Self, H1Error> {
        text.strip_prefix("h1:")
            .and_then(|b64| STANDARD.decode(b64).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| H1Error(text.to_owned()))
    }
}

impl serde::Serialize for H1 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for H1 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_go_mod_is_the_one_in_go_sum() {
        // rsc.io/quote v1.5.2's go.mod, and what go.sum files say of it.
        let content = b"module \"rsc.io/quote\"\n\nrequire \"rsc.io/sampler\" v1.3.0\n";
        assert_eq!(hash_go_mod(content).to_string(), "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=");
    }

    #[test]
    fn text_there_and_back() {
        let h1 = hash_go_mod(b"module x.y\n");
        assert_eq!(h1.to_string().parse(), Ok(h1));
        for bad in ["", "h1:", "h2:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=", "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0"] {
            assert!(bad.parse::<H1>().is_err(), "{bad}");
        }
    }
}
