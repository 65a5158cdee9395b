//! The form of the index's own files: frames, each with its length and checksum, of records.
//!
//! ```text
//! frame    length u32, CRC-32 of the payload u32, payload
//! record   length of the key u16, flags u8 (1: last copy), bytes u64, used u64 (microseconds since 1970), key
//! ```
//!
//! All little-endian. A reader stops at the first frame that is torn or damaged.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use super::shard::Entry;

/// Payloads end when they are this long, bytes.
pub(super) const PAYLOAD_BYTES: usize = 256 << 10;
/// Longest payload, bytes: one record more.
const PAYLOAD_BYTES_MAX: usize = PAYLOAD_BYTES + RECORD_HEAD_BYTES + u16::MAX as usize;
/// A frame before its payload, bytes.
pub(super) const FRAME_HEAD_BYTES: usize = 8;
/// A record before its key, bytes.
const RECORD_HEAD_BYTES: usize = 2 + 1 + 8 + 8;
/// The flag of a last copy.
const LAST_COPY: u8 = 1;

/// Appends a record; false: the key is too long.
pub(super) fn put_record(out: &mut Vec<u8>, key: &str, entry: Entry) -> bool {
    let Ok(len) = u16::try_from(key.len()) else { return false };
    out.extend_from_slice(&len.to_le_bytes());
    out.push(if entry.last_copy { LAST_COPY } else { 0 });
    out.extend_from_slice(&entry.bytes.to_le_bytes());
    out.extend_from_slice(&entry.used.to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    true
}

/// The records of a payload.
pub(super) fn records(mut payload: &[u8]) -> impl Iterator<Item = (&str, Entry)> {
    std::iter::from_fn(move || {
        let (head, rest) = payload.split_first_chunk::<RECORD_HEAD_BYTES>()?;
        let word = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[0], head[1]])))?;
        payload = rest;
        let entry = Entry { bytes: word(3)?, used: word(11)?, last_copy: head[2] & LAST_COPY != 0 };
        Some((std::str::from_utf8(key).ok()?, entry))
    })
}

/// A frame of this payload.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEAD_BYTES + payload.len());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// Reads a file of frames.
pub(super) struct Frames {
    input: BufReader<File>,
    payload: Vec<u8>,
    /// Length of the good frames so far, bytes.
    good: u64,
}

impl Frames {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { input: BufReader::with_capacity(PAYLOAD_BYTES, File::open(path)?), payload: Vec::new(), good: 0 })
    }

    /// The next payload; `None` at the end of what is good.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut head = [0; FRAME_HEAD_BYTES];
        let whole = match self.input.read_exact(&mut head) {
            Ok(()) => {
                let [a, b, c, d, e, f, g, h] = head;
                let (len, crc) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
                len <= PAYLOAD_BYTES_MAX && self.read_payload(len)? && crc32fast::hash(&self.payload) == crc
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(e) => return Err(e),
        };
        if !whole {
            return Ok(None);
        }
        self.good += (FRAME_HEAD_BYTES + self.payload.len()) as u64;
        Ok(Some(&self.payload))
    }

    /// Whether there were so many.
    fn read_payload(&mut self, len: usize) -> io::Result<bool> {
        self.payload.resize(len, 0);
        match self.input.read_exact(&mut self.payload) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Length of the good frames that were read, bytes.
    pub(super) fn good(&self) -> u64 {
        self.good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry { bytes: 7, used: 1_780_000_000_000_000, last_copy: true };

    fn payload(keys: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(keys.iter().all(|key| put_record(&mut out, key, ENTRY)));
        out
    }

    fn read(bytes: &[u8]) -> (Vec<String>, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let (mut frames, mut keys) = (Frames::open(file.path()).unwrap(), Vec::new());
        while let Some(payload) = frames.next().unwrap() {
            keys.extend(records(payload).map(|(key, entry)| {
                assert_eq!(entry, ENTRY);
                key.to_owned()
            }));
        }
        (keys, frames.good())
    }

    #[test]
    fn a_file_of_frames_reads_back_up_to_where_it_is_torn() {
        let (first, second) = (frame(&payload(&["a", "download/b"])), frame(&payload(&["c"])));
        let whole = [first.clone(), second].concat();
        assert_eq!(read(&whole), (vec!["a".into(), "download/b".into(), "c".into()], whole.len() as u64));
        for len in first.len()..whole.len() {
            assert_eq!(read(&whole[..len]), (vec!["a".into(), "download/b".into()], first.len() as u64), "{len}");
        }
        for at in first.len()..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert_eq!(read(&damaged).0.len(), 2, "{at}");
        }
    }

    #[test]
    fn a_key_too_long_is_not_written_and_half_a_record_is_not_read() {
        let mut out = Vec::new();
        assert!(!put_record(&mut out, &"k".repeat(65_536), ENTRY) && out.is_empty());
        assert!(put_record(&mut out, &"k".repeat(65_535), ENTRY));
        assert_eq!(records(&out).count(), 1);
        assert_eq!(records(&out[..out.len() - 1]).count(), 0);
    }
}
