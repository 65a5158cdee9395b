//! The last bytes of what has passed, as a file of which the rest cannot be read.

use std::io::{self, Read, Seek, SeekFrom};

use crate::module::zip::directory::END_REACH_BYTES;

/// A file as long as what has passed, of which at least the last [`END_REACH_BYTES`] can be read. Holds at most twice as many.
#[derive(Default)]
pub(super) struct Recent {
    bytes: Vec<u8>,
    /// Of all that has passed.
    len: u64,
    pos: u64,
}

impl Recent {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(END_REACH_BYTES)..];
        if self.bytes.len() + bytes.len() > 2 * END_REACH_BYTES {
            self.bytes.drain(..self.bytes.len() - END_REACH_BYTES);
        }
        self.bytes.extend_from_slice(bytes);
    }
}

impl Read for Recent {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let first = self.len - self.bytes.len() as u64;
        let skip = self.pos.checked_sub(first).ok_or_else(|| io::Error::other("these bytes have passed"))?;
        let rest = usize::try_from(skip).ok().and_then(|skip| self.bytes.get(skip..)).unwrap_or_default();
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        self.pos += n as u64;
        Ok(n)
    }
}

impl Seek for Recent {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.pos.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.pos = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.pos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_there_and_no_others() {
        for piece in [1, 7, END_REACH_BYTES - 1, END_REACH_BYTES, END_REACH_BYTES + 1, 5 * END_REACH_BYTES] {
            let all: Vec<u8> = (0..5 * END_REACH_BYTES).map(|i| (i % 251) as u8).collect();
            let mut recent = Recent::default();
            for piece in all.chunks(piece) {
                recent.push(piece);
                assert!(recent.bytes.len() <= 2 * END_REACH_BYTES);
            }
            assert_eq!(recent.seek(SeekFrom::End(0)).unwrap(), all.len() as u64);
            recent.seek(SeekFrom::End(-(END_REACH_BYTES as i64))).unwrap();
            let mut read = Vec::new();
            recent.read_to_end(&mut read).unwrap();
            assert!(read == all[all.len() - END_REACH_BYTES..]);
            recent.seek(SeekFrom::Start(0)).unwrap();
            assert!(recent.read(&mut [0]).is_err());
        }
    }
}
