//! The central directory, read as Go's archive/zip reads it, so that the same bytes are meant by a name here and at the client.
//!
//! Duplicate names stay duplicate. Everything else that stands in a zip, local headers but their lengths too, is not believed.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::{ENTRIES_MAX, NAME_BYTES_MAX, ReadError};

pub(super) const DIRECTORY_HEADER: u32 = 0x0201_4b50;
pub(super) const DIRECTORY_HEADER_LEN: usize = 46;
pub(super) const END: u32 = 0x0605_4b50;
const END_LEN: usize = 22;
const LOCATOR_64: u32 = 0x0706_4b50;
const LOCATOR_64_LEN: usize = 20;
pub(super) const END_64: u32 = 0x0606_4b50;
const END_64_LEN: usize = 56;
/// The end record is looked for so far from the end of the file.
pub(super) const END_REACH_BYTES: usize = 65 * 1024;
const ZIP64_EXTRA: u16 = 0x0001;

/// One entry of the central directory.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Where the name stands among all names: offset and length.
    pub(super) name: (usize, usize),
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    /// Bytes of data in the zip.
    pub(super) packed: u64,
    /// Bytes of the file, as declared.
    pub(super) size: u64,
    /// Where the local header stands; negative or past the end in a broken zip.
    pub(super) offset: i64,
}

impl Entry {
    /// Bytes of the file, as declared: nothing is true before the content has been read.
    pub fn declared_size(&self) -> u64 {
        self.size
    }
}

/// The entries of a zip, in the order of the central directory.
#[derive(Debug, Default)]
pub struct Directory {
    entries: Vec<Entry>,
    names: Vec<u8>,
}

impl Directory {
    /// Reads the central directory.
    ///
    /// Fails where Go's `zip.NewReader` does, and with [`ReadError::Entries`] over the limits.
    pub fn read<R: Read + Seek>(source: &mut Source<R>) -> Result<Self, ReadError> {
        let end = read_end(source)?;
        source.seek(u64::try_from(end.start).map_err(|_| ReadError::Format)?)?;
        let mut directory = Self::default();
        let mut scratch = Vec::new();
        // The number of entries is kept modulo 65536: read until something is no header, then compare.
        let why = loop {
            match directory.read_header(source, end.base, &mut scratch) {
                Ok(()) => {}
                Err(HeaderEnd::NoHeader(why)) => break why,
                Err(HeaderEnd::Failed(why)) => return Err(why),
            }
        };
        if end.counts(directory.entries.len()) { Ok(directory) } else { Err(why) }
    }

    fn read_header<R: Read + Seek>(&mut self, source: &mut Source<R>, base: i64, scratch: &mut Vec<u8>) -> Result<(), HeaderEnd> {
        let (mut entry, name_len) = read_header(source, scratch)?;
        if self.entries.len() == ENTRIES_MAX || self.names.len() + name_len > NAME_BYTES_MAX {
            return Err(HeaderEnd::Failed(ReadError::Entries));
        }
        entry.offset = entry.offset.wrapping_add(base);
        entry.name = (self.names.len(), name_len);
        self.names.extend_from_slice(&scratch[..name_len]);
        self.entries.push(entry);
        Ok(())
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// An entry's name, as it stands in the directory. `entry` is of this directory.
    pub fn name(&self, entry: &Entry) -> &[u8] {
        &self.names[entry.name.0..][..entry.name.1]
    }

    /// Whether the name is one of a folder.
    pub fn is_folder(&self, entry: &Entry) -> bool {
        self.name(entry).ends_with(b"/")
    }

    /// Bounds what reading all entries costs: their data together is no longer than the zip.
    pub fn check_overlap(&self, zip_len: u64) -> Result<(), ReadError> {
        let files = self.entries.iter().filter(|e| !self.is_folder(e));
        let packed = files.fold(0u64, |sum, e| sum.saturating_add(e.packed));
        if packed > zip_len { Err(ReadError::Overlap) } else { Ok(()) }
    }
}

/// A buffered file of known length, read at any place.
#[derive(Debug)]
pub struct Source<R> {
    inner: BufReader<R>,
    pos: u64,
    len: u64,
}

/// Half a page less than what is read from it is unpacked into: of two buffers that lie one behind the other and begin at the same place in a
/// page, copying from one to the other waits for itself.
const BUFFER_BYTES: usize = 62 << 10;

impl<R: Read + Seek> Source<R> {
    /// Takes the length from the end of the reader.
    pub fn new(mut reader: R) -> Result<Self, ReadError> {
        let len = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        Ok(Self { inner: BufReader::with_capacity(BUFFER_BYTES, reader), pos: 0, len })
    }

    /// The length in bytes.
    pub fn byte_len(&self) -> u64 {
        self.len
    }

    pub(super) fn seek(&mut self, to: u64) -> Result<(), ReadError> {
        match i64::try_from(to).ok().zip(i64::try_from(self.pos).ok()) {
            Some((to, pos)) => self.inner.seek_relative(to - pos)?,
            None => return Err(ReadError::Format),
        }
        self.pos = to;
        Ok(())
    }

    /// Reads all of `out` from `at`; what does not lie within the file is [`ReadError::Truncated`].
    pub(super) fn read_at(&mut self, at: i64, out: &mut [u8]) -> Result<(), ReadError> {
        let at = u64::try_from(at).map_err(|_| ReadError::Truncated)?;
        if at.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return Err(ReadError::Truncated);
        }
        self.seek(at)?;
        self.inner.read_exact(out)?;
        self.pos += out.len() as u64;
        Ok(())
    }

    /// The next bytes, at least one and at most `max`; empty if there are none.
    pub(super) fn chunk(&mut self, max: u64) -> Result<&[u8], ReadError> {
        use std::io::BufRead as _;
        if max == 0 || self.pos >= self.len {
            return Ok(&[]);
        }
        let chunk = self.inner.fill_buf()?;
        if chunk.is_empty() {
            // It was longer a moment ago.
            return Err(ReadError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(&chunk[..chunk.len().min(usize::try_from(max).unwrap_or(usize::MAX))])
    }

    pub(super) fn consume(&mut self, n: usize) {
        use std::io::BufRead as _;
        self.inner.consume(n);
        self.pos += n as u64;
    }
}

/// Why there is no further header.
enum HeaderEnd {
    /// What stands there is none: the directory ends here, rightly or not.
    NoHeader(ReadError),
    /// Nothing more can be read.
    Failed(ReadError),
}

impl HeaderEnd {
    /// The next `want` bytes do not fit. At the very end of the file Go's reader fails at once, before it ends.
    fn short(have: u64) -> Self {
        if have == 0 { Self::Failed(ReadError::Truncated) } else { Self::NoHeader(ReadError::Truncated) }
    }
}

/// Reads a header; its name, extra field and comment come to lie in `scratch`. The entry's name is not set.
fn read_header<R: Read + Seek>(source: &mut Source<R>, scratch: &mut Vec<u8>) -> Result<(Entry, usize), HeaderEnd> {
    let mut buf = [0; DIRECTORY_HEADER_LEN];
    read_next(source, &mut buf)?;
    if u32_at(&buf, 0) != DIRECTORY_HEADER {
        return Err(HeaderEnd::NoHeader(ReadError::Format));
    }
    let header = Header::parse(&buf);
    scratch.resize(header.rest_len(), 0);
    read_next(source, scratch)?;
    let entry = header.entry(scratch).map_err(HeaderEnd::NoHeader)?;
    Ok((entry, header.name_len))
}

/// The fixed part of a header of the directory.
pub(super) struct Header {
    /// With what the fixed part says.
    entry: Entry,
    pub(super) name_len: usize,
    extra_len: usize,
    comment_len: usize,
}

impl Header {
    /// Of bytes that begin with [`DIRECTORY_HEADER`].
    pub(super) fn parse(buf: &[u8; DIRECTORY_HEADER_LEN]) -> Self {
        let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| usize::from(u16_at(buf, at)));
        let entry = Entry {
            name: (0, 0),
            flags: u16_at(buf, 8),
            method: u16_at(buf, 10),
            crc: u32_at(buf, 16),
            packed: u32_at(buf, 20).into(),
            size: u32_at(buf, 24).into(),
            offset: u32_at(buf, 42).into(),
        };
        Self { entry, name_len, extra_len, comment_len }
    }

    /// The bytes of name, extra field and comment, which follow.
    pub(super) fn rest_len(&self) -> usize {
        self.name_len + self.extra_len + self.comment_len
    }

    /// The entry, by the [`rest_len`](Self::rest_len) bytes that follow too. Its name is not set.
    pub(super) fn entry(&self, rest: &[u8]) -> Result<Entry, ReadError> {
        let mut entry = self.entry;
        read_zip64(&mut entry, &rest[self.name_len..][..self.extra_len])?;
        Ok(entry)
    }
}

fn read_next<R: Read + Seek>(source: &mut Source<R>, out: &mut [u8]) -> Result<(), HeaderEnd> {
    let have = source.len.saturating_sub(source.pos);
    if have < out.len() as u64 {
        return Err(HeaderEnd::short(have));
    }
    let at = i64::try_from(source.pos).map_err(|_| HeaderEnd::Failed(ReadError::Format))?;
    source.read_at(at, out).map_err(HeaderEnd::Failed)
}

/// Takes what is maxed out in the header from the zip64 extra field: size, packed size, offset, in this order, each once.
pub(super) fn read_zip64(entry: &mut Entry, mut extra: &[u8]) -> Result<(), ReadError> {
    let maxed = |value: u64| value == u64::from(u32::MAX);
    let (mut size, mut packed, mut offset) = (maxed(entry.size), maxed(entry.packed), entry.offset == i64::from(u32::MAX));
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let Some((mut field, rest)) = rest.split_at_checked(u16_at(head, 2).into()) else {
            break;
        };
        extra = rest;
        if u16_at(head, 0) != ZIP64_EXTRA {
            continue;
        }
        let mut next = |wanted: &mut bool| -> Result<Option<u64>, ReadError> {
            if !std::mem::take(wanted) {
                return Ok(None);
            }
            let (value, rest) = field.split_first_chunk::<8>().ok_or(ReadError::Format)?;
            field = rest;
            Ok(Some(u64::from_le_bytes(*value)))
        };
        entry.size = next(&mut size)?.unwrap_or(entry.size);
        entry.packed = next(&mut packed)?.unwrap_or(entry.packed);
        entry.offset = next(&mut offset)?.map_or(entry.offset, u64::cast_signed);
    }
    // A size of 2³²-1 may be true; the others cannot.
    if packed || offset { Err(ReadError::Format) } else { Ok(()) }
}

/// What the end record says.
pub(super) struct End {
    /// How many entries; only the low 16 bits mean something.
    records: u64,
    /// Where the zip begins in the file: something may stand before it.
    pub(super) base: i64,
    /// Where the directory begins in the file.
    pub(super) start: i64,
    /// Where the end record begins, the zip64 one if there is one.
    pub(super) at: i64,
    /// Whether end records and comment follow one another without a byte between or behind them.
    pub(super) dense: bool,
}

impl End {
    /// Whether there are so many entries. Go compares 16 bits.
    pub(super) fn counts(&self, entries: usize) -> bool {
        entries as u16 == self.records as u16
    }
}

/// Finds the end record and reads what it says of the directory.
pub(super) fn read_end<R: Read + Seek>(source: &mut Source<R>) -> Result<End, ReadError> {
    let (mut end_at, tail) = find_end(source)?;
    let mut dense = usize::from(u16_at(&tail, 20)) == tail.len() - END_LEN;
    let mut records = u64::from(u16_at(&tail, 10));
    let mut size = u64::from(u32_at(&tail, 12));
    let mut offset = u64::from(u32_at(&tail, 16));
    if usize::from(u16_at(&tail, 20)) > tail.len() - END_LEN {
        return Err(ReadError::Comment);
    }
    // Go compares a 32-bit size with 0xffff, and so do we.
    if (records == 0xffff || size == 0xffff || offset == 0xffff_ffff)
        && let Some(at) = find_end_64(source, end_at)?
    {
        let mut buf = [0; END_64_LEN];
        source.read_at(at, &mut buf)?;
        if u32_at(&buf, 0) != END_64 {
            return Err(ReadError::Format);
        }
        dense &= end_at - at == (END_64_LEN + LOCATOR_64_LEN) as i64;
        end_at = at;
        [records, size, offset] = [32, 40, 48].map(|i| u64_at(&buf, i));
    }
    let (Ok(size), Ok(offset)) = (i64::try_from(size), i64::try_from(offset)) else {
        return Err(ReadError::Format);
    };
    let base = end_at.wrapping_sub(size).wrapping_sub(offset);
    let start = base.wrapping_add(offset);
    if start < 0 || start.unsigned_abs() >= source.len {
        return Err(ReadError::Format);
    }
    // Some files claim a wrong start; if a header stands where the offset says without one, that is right.
    if base > 0 && offset.unsigned_abs() < source.len {
        source.seek(offset.unsigned_abs())?;
        match read_header(source, &mut Vec::new()) {
            Ok(_) => return Ok(End { records, base: 0, start: offset, at: end_at, dense }),
            Err(HeaderEnd::Failed(ReadError::Io(e))) => return Err(ReadError::Io(e)),
            Err(_) => {}
        }
    }
    Ok(End { records, base, start, at: end_at, dense })
}

/// Looks for the end record in the last 1 KiB, then in the last 65 KiB: where it begins, and the bytes from there on.
fn find_end<R: Read + Seek>(source: &mut Source<R>) -> Result<(i64, Vec<u8>), ReadError> {
    for tail_len in [1024, END_REACH_BYTES as u64] {
        let tail_len = tail_len.min(source.len);
        let start = i64::try_from(source.len - tail_len).map_err(|_| ReadError::Format)?;
        let mut tail = vec![0; usize::try_from(tail_len).map_err(|_| ReadError::Format)?];
        source.read_at(start, &mut tail)?;
        let found = tail.windows(END_LEN).rposition(|w| w.starts_with(&END.to_le_bytes()));
        // A comment that would end past the file makes Go look no further.
        if let Some(at) = found
            && usize::from(u16_at(&tail, at + 20)) + END_LEN + at <= tail.len()
        {
            return Ok((start + at as i64, tail.split_off(at)));
        }
        if tail_len == source.len {
            break;
        }
    }
    Err(ReadError::Format)
}

fn find_end_64<R: Read + Seek>(source: &mut Source<R>, end_at: i64) -> Result<Option<i64>, ReadError> {
    let at = end_at - LOCATOR_64_LEN as i64;
    if at < 0 {
        return Ok(None);
    }
    let mut buf = [0; LOCATOR_64_LEN];
    source.read_at(at, &mut buf)?;
    let good = u32_at(&buf, 0) == LOCATOR_64 && u32_at(&buf, 4) == 0 && u32_at(&buf, 16) == 1;
    Ok(Some(u64_at(&buf, 8).cast_signed()).filter(|&at| good && at >= 0))
}

/// Little-endian; `at` and the width lie within `buf`, whose length is fixed by the caller.
pub(super) fn u16_at(buf: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([buf[at], buf[at + 1]])
}

pub(super) fn u32_at(buf: &[u8], at: usize) -> u32 {
    u32::from(u16_at(buf, at)) | u32::from(u16_at(buf, at + 2)) << 16
}

pub(super) fn u64_at(buf: &[u8], at: usize) -> u64 {
    u64::from(u32_at(buf, at)) | u64::from(u32_at(buf, at + 4)) << 32
}
