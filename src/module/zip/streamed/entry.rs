//! One entry as it passes: what its header says, its content, and what its descriptor says.

use sha2::{Digest as _, Sha256};

use super::{Field, Unverifiable};
use crate::module::zip::content::{DEFLATED, DESCRIPTOR, FLAG_DESCRIPTOR, Inflater, STORED};
use crate::module::zip::directory::{Entry, read_zip64, u16_at, u32_at, u64_at};
use crate::module::zip::{ReadError, ZIP_BYTES_MAX};

/// How well it is deflated, and whether its name is UTF-8: neither says anything of the bytes.
const FLAGS_IDLE: u16 = 0x0806;
/// The longest descriptor (signature, checksum, two sizes of 8 bytes), and the signature of what follows.
pub(super) const DESCRIPTOR_PIECE_LEN: usize = 4 + 4 + 16 + 4;
/// Every header begins so, and the end records.
const SIGNATURE_START: &[u8] = b"PK";

/// What the header before an entry says.
pub(super) struct Local {
    /// Its name is not set.
    entry: Entry,
    pub(super) name_len: usize,
    extra_len: usize,
}

impl Local {
    /// Of a header's fixed part, which stands at `at`.
    pub(super) fn parse(header: &[u8], at: u64) -> Result<Self, Unverifiable> {
        let entry = Entry {
            name: (0, 0),
            flags: u16_at(header, 6),
            method: u16_at(header, 8),
            crc: u32_at(header, 14),
            packed: u32_at(header, 18).into(),
            size: u32_at(header, 22).into(),
            offset: i64::try_from(at).map_err(|_| ReadError::Format)?,
        };
        if entry.flags & !(FLAGS_IDLE | FLAG_DESCRIPTOR) != 0 {
            return Err(Unverifiable::Flags(entry.flags));
        }
        if entry.method != STORED && entry.method != DEFLATED {
            return Err(ReadError::Algorithm.into());
        }
        let [name_len, extra_len] = [26, 28].map(|at| usize::from(u16_at(header, at)));
        Ok(Self { entry, name_len, extra_len })
    }

    /// The bytes of name and extra field, which follow.
    pub(super) fn rest_len(&self) -> usize {
        self.name_len + self.extra_len
    }

    /// Takes sizes over 32 bits from the extra field.
    pub(super) fn widen(&mut self, extra: &[u8]) -> Result<(), Unverifiable> {
        // The header's own place is not among them, and is not to be taken for a maxed one.
        let offset = std::mem::take(&mut self.entry.offset);
        read_zip64(&mut self.entry, extra)?;
        self.entry.offset = offset;
        Ok(())
    }

    pub(super) fn has_descriptor(&self) -> bool {
        self.entry.flags & FLAG_DESCRIPTOR != 0
    }

    /// Whether what it says is what passed; with a descriptor it may say nothing.
    pub(super) fn agrees(&self, passed: &Entry) -> Result<(), Unverifiable> {
        let said = |said: u64, true_: u64| said == true_ || said == 0 && self.has_descriptor();
        check(said(self.entry.crc.into(), passed.crc.into()), Field::Checksum)?;
        check(said(self.entry.packed, passed.packed), Field::Packed)?;
        check(said(self.entry.size, passed.size), Field::Size)
    }
}

/// [`Unverifiable::Disagrees`] unless they agree.
pub(super) fn check(agree: bool, field: Field) -> Result<(), Unverifiable> {
    if agree { Ok(()) } else { Err(Unverifiable::Disagrees(field)) }
}

/// Whether the flags say to read an entry in the same way.
pub(super) fn flags_agree(a: u16, b: u16) -> bool {
    (a ^ b) & !FLAGS_IDLE == 0
}

/// The length of the descriptor that begins `piece` ([`DESCRIPTOR_PIECE_LEN`] bytes), which must be that of the entry.
///
/// It has a signature or none, as the reader of directories takes it, and sizes of 4 or 8 bytes: what follows it tells.
pub(super) fn descriptor_len(piece: &[u8], entry: &Entry) -> Result<usize, Unverifiable> {
    let crc_at = if u32_at(piece, 0) == DESCRIPTOR { 4 } else { 0 };
    check(u32_at(piece, crc_at) == entry.crc, Field::Checksum)?;
    let sizes_at = crc_at + 4;
    let ends = |len: usize| piece[len..].starts_with(SIGNATURE_START);
    let narrow = [u32_at(piece, sizes_at), u32_at(piece, sizes_at + 4)].map(u64::from);
    let wide = [u64_at(piece, sizes_at), u64_at(piece, sizes_at + 8)];
    let sizes = [entry.packed, entry.size];
    if narrow == sizes && ends(sizes_at + 8) {
        Ok(sizes_at + 8)
    } else if wide == sizes && ends(sizes_at + 16) {
        Ok(sizes_at + 16)
    } else {
        Err(Unverifiable::Disagrees(Field::Size))
    }
}

/// The content of one entry after the other.
pub(super) struct Unpacker {
    inflater: Inflater,
    /// Bytes that are to come of a stored entry; `None` for a deflated one.
    stored_left: Option<u64>,
    packed: u64,
    unpacked: Unpacked,
}

/// What came of an entry so far.
struct Unpacked {
    sha256: Sha256,
    crc: crc32fast::Hasher,
    size: u64,
    /// Bytes that may still come, of all entries.
    room: u64,
}

impl Unpacked {
    fn add(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        self.room = self.room.checked_sub(bytes.len() as u64).ok_or(ReadError::Unpacked)?;
        self.size += bytes.len() as u64;
        self.crc.update(bytes);
        self.sha256.update(bytes);
        Ok(())
    }
}

impl Unpacker {
    pub(super) fn new() -> Self {
        let unpacked = Unpacked { sha256: Sha256::new(), crc: crc32fast::Hasher::new(), size: 0, room: ZIP_BYTES_MAX };
        Self { inflater: Inflater::new(), stored_left: None, packed: 0, unpacked }
    }

    pub(super) fn begin(&mut self, local: &Local) -> Result<(), Unverifiable> {
        let entry = &local.entry;
        if entry.method == DEFLATED {
            self.stored_left = None;
            self.inflater.restart();
        } else if local.has_descriptor() && entry.packed == 0 {
            return Err(Unverifiable::StoredWithoutSize);
        } else {
            self.stored_left = Some(entry.packed);
        }
        Ok(())
    }

    /// Whether nothing of the entry is to come: it is stored and empty.
    pub(super) fn is_ended(&self) -> bool {
        self.stored_left == Some(0)
    }

    /// How many of the bytes belonged to the entry, and whether it is at its end; if not, all did.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Unverifiable> {
        let (taken, ended) = match self.stored_left {
            Some(left) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.unpacked.add(&bytes[..taken])?;
                self.stored_left = Some(left - taken as u64);
                (taken, self.is_ended())
            }
            None => self.inflate(bytes)?,
        };
        self.packed += taken as u64;
        Ok((taken, ended))
    }

    fn inflate(&mut self, bytes: &[u8]) -> Result<(usize, bool), ReadError> {
        let mut taken = 0;
        loop {
            let step = self.inflater.step(&bytes[taken..])?;
            taken += step.taken;
            self.unpacked.add(step.unpacked)?;
            // As long as something comes out, more may be waiting in there.
            if step.ended || step.unpacked.is_empty() && taken == bytes.len() {
                return Ok((taken, step.ended));
            }
        }
    }

    /// The entry as it passed, and the SHA-256 of its file.
    pub(super) fn end(&mut self, local: &Local) -> (Entry, [u8; 32]) {
        let crc = std::mem::take(&mut self.unpacked.crc).finalize();
        let (packed, size) = (std::mem::take(&mut self.packed), std::mem::take(&mut self.unpacked.size));
        (Entry { crc, packed, size, ..local.entry }, self.unpacked.sha256.finalize_reset().into())
    }
}
