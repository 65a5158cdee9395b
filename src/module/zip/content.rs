//! The content of entries, streamed: which bytes are meant, and that they are what the directory says.

use std::io::{Read, Seek};

use zlib_rs::{Inflate, InflateFlush, Status};

use super::ReadError;
use super::directory::{Directory, Entry, Source, u16_at, u32_at};

pub(super) const LOCAL_HEADER: u32 = 0x0403_4b50;
pub(super) const LOCAL_HEADER_LEN: usize = 30;
pub(super) const DESCRIPTOR: u32 = 0x0807_4b50;
pub(super) const FLAG_DESCRIPTOR: u16 = 0x8;
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;
const OUT_BYTES: usize = 64 << 10;
/// The window of raw deflate, as a power of two.
const WINDOW_BITS: u8 = 15;

/// A zip whose entries can be read, one after the other. Memory: two buffers of 64 KiB and the inflater's window.
pub struct Contents<R> {
    source: Source<R>,
    inflater: Inflater,
}

/// Inflates one raw deflate stream after the other. Memory: a buffer of 64 KiB and the window.
pub(super) struct Inflater {
    inflate: Inflate,
    out: Box<[u8]>,
}

/// What a call of [`Inflater::step`] came to.
pub(super) struct Step<'a> {
    /// Bytes taken of those that were given.
    pub(super) taken: usize,
    /// What came out.
    pub(super) unpacked: &'a [u8],
    /// Whether the stream is at its end: what was not taken does not belong to it.
    pub(super) ended: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { inflate: Inflate::new(false, WINDOW_BITS), out: vec![0; OUT_BYTES].into() }
    }

    /// The next byte begins another stream.
    pub(super) fn restart(&mut self) {
        self.inflate.reset(false);
    }

    /// Takes some bytes, or none, and hands out at most a buffer. Where neither moves, there must be more bytes.
    pub(super) fn step(&mut self, packed: &[u8]) -> Result<Step<'_>, ReadError> {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(packed, &mut self.out, InflateFlush::NoFlush).map_err(|_| ReadError::Corrupt)?;
        // Both are at most the length of a buffer.
        let taken = (self.inflate.total_in() - read) as usize;
        let written = (self.inflate.total_out() - written) as usize;
        let ended = matches!(status, Status::StreamEnd);
        if taken == 0 && written == 0 && !ended && !packed.is_empty() {
            // Room for output and bytes of input were there, so it must have moved.
            return Err(ReadError::Corrupt);
        }
        Ok(Step { taken, unpacked: &self.out[..written], ended })
    }
}

/// What was read of one file so far.
struct Tally {
    crc: crc32fast::Hasher,
    size: u64,
    declared: u64,
}

impl Tally {
    /// Takes in bytes; an error as soon as there are more than declared.
    fn add(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        self.size += bytes.len() as u64;
        if self.size > self.declared {
            return Err(ReadError::Format);
        }
        self.crc.update(bytes);
        Ok(())
    }
}

impl<R: Read + Seek> Contents<R> {
    /// For a source whose directory has been read.
    pub fn new(source: Source<R>) -> Self {
        Self { source, inflater: Inflater::new() }
    }

    /// Reads one entry's file, hands it to `sink` piece by piece, and checks size and checksum as Go's archive/zip does: an
    /// error may come after pieces were handed out, and never after more than the declared size.
    pub fn read(&mut self, directory: &Directory, entry: &Entry, mut sink: impl FnMut(&[u8])) -> Result<(), ReadError> {
        let data = self.data_offset(entry)?;
        if directory.is_folder(entry) {
            return if entry.size == 0 { Ok(()) } else { Err(ReadError::Format) };
        }
        self.source.seek(u64::try_from(data).map_err(|_| ReadError::Format)?)?;
        let mut tally = Tally { crc: crc32fast::Hasher::new(), size: 0, declared: entry.size };
        match entry.method {
            STORED => self.read_stored(entry.packed, &mut tally, &mut sink)?,
            DEFLATED => self.read_deflated(entry.packed, &mut tally, &mut sink)?,
            _ => return Err(ReadError::Algorithm),
        }
        if tally.size != entry.size {
            return Err(ReadError::Truncated);
        }
        let crc = tally.crc.finalize();
        if entry.flags & FLAG_DESCRIPTOR != 0 {
            let end = i64::try_from(entry.packed).ok().and_then(|packed| data.checked_add(packed)).ok_or(ReadError::Format)?;
            if self.descriptor_crc(end)? != entry.crc || crc != entry.crc {
                return Err(ReadError::Checksum);
            }
        } else if entry.crc != 0 && crc != entry.crc {
            // Without a descriptor a checksum of 0 means that there is none.
            return Err(ReadError::Checksum);
        }
        Ok(())
    }

    /// Where the data begins: behind the local header, of which only the lengths are believed.
    fn data_offset(&mut self, entry: &Entry) -> Result<i64, ReadError> {
        let mut buf = [0; LOCAL_HEADER_LEN];
        self.source.read_at(entry.offset, &mut buf)?;
        if u32_at(&buf, 0) != LOCAL_HEADER {
            return Err(ReadError::Format);
        }
        let len = LOCAL_HEADER_LEN as i64 + i64::from(u16_at(&buf, 26)) + i64::from(u16_at(&buf, 28));
        entry.offset.checked_add(len).ok_or(ReadError::Format)
    }

    fn read_stored(&mut self, packed: u64, tally: &mut Tally, sink: &mut impl FnMut(&[u8])) -> Result<(), ReadError> {
        let mut left = packed;
        while left > 0 {
            let chunk = self.source.chunk(left)?;
            if chunk.is_empty() {
                break;
            }
            tally.add(chunk)?;
            sink(chunk);
            let n = chunk.len();
            self.source.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    fn read_deflated(&mut self, packed: u64, tally: &mut Tally, sink: &mut impl FnMut(&[u8])) -> Result<(), ReadError> {
        self.inflater.restart();
        let mut left = packed;
        loop {
            let chunk = self.source.chunk(left)?;
            let at_end = chunk.is_empty();
            let step = self.inflater.step(chunk)?;
            self.source.consume(step.taken);
            left -= step.taken as u64;
            tally.add(step.unpacked)?;
            sink(step.unpacked);
            if step.ended {
                return Ok(());
            }
            if at_end && step.unpacked.is_empty() {
                return Err(ReadError::Truncated);
            }
        }
    }

    /// The checksum of the descriptor behind the data; whether it has a signature is not fixed.
    fn descriptor_crc(&mut self, at: i64) -> Result<u32, ReadError> {
        let mut buf = [0; 4];
        self.source.read_at(at, &mut buf)?;
        // Three words with or without a signature before them; the sizes are of unclear width and not read, but must be there.
        let signed = u32_at(&buf, 0) == DESCRIPTOR;
        let mut words = [0; 12];
        self.source.read_at(if signed { at.saturating_add(4) } else { at }, &mut words)?;
        Ok(u32_at(&words, 0))
    }
}
