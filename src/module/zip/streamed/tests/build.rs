//! Writes zips of which every part is true, but for what a test changes in it.

use zlib_rs::{Deflate, DeflateFlush};

/// Changes the bytes of a part.
pub(super) type Lie = fn(&mut Vec<u8>);

/// How sizes and checksum follow the data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    pub(super) signed: bool,
    /// With sizes of 8 bytes.
    pub(super) wide: bool,
}

/// An entry, and how it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) deflated: bool,
    pub(super) descriptor: Option<Descriptor>,
    /// Checksum and sizes stand before the data too, though a descriptor follows.
    pub(super) foretold: bool,
    /// Its headers have their sizes in zip64 extra fields.
    pub(super) wide: bool,
    pub(super) flags: u16,
    /// In the local header, the data, the descriptor and the header of the directory.
    pub(super) lies: [Option<Lie>; 4],
    /// What stands behind it.
    pub(super) gap: Vec<u8>,
}

impl Member {
    pub(super) fn stored(name: &str, content: &str) -> Self {
        Self { name: name.into(), content: content.into(), ..Self::default() }
    }

    pub(super) fn deflated(name: &str, content: &str) -> Self {
        Self { deflated: true, ..Self::stored(name, content) }
    }

    /// As Go's archive/zip writes.
    pub(super) fn as_go(name: &str, content: &str) -> Self {
        Self { descriptor: Some(Descriptor { signed: true, wide: false }), ..Self::deflated(name, content) }
    }

    pub(super) fn with_local(mut self, lie: Lie) -> Self {
        self.lies[0] = Some(lie);
        self
    }

    pub(super) fn with_data(mut self, lie: Lie) -> Self {
        self.lies[1] = Some(lie);
        self
    }

    pub(super) fn with_descriptor(mut self, lie: Lie) -> Self {
        self.lies[2] = Some(lie);
        self
    }

    pub(super) fn with_listed(mut self, lie: Lie) -> Self {
        self.lies[3] = Some(lie);
        self
    }

    fn data(&self) -> Vec<u8> {
        let data = if self.deflated { deflate(&self.content) } else { self.content.clone() };
        changed(data, self.lies[1])
    }

    fn flags(&self) -> u16 {
        self.flags | if self.descriptor.is_some() { 8 } else { 0 }
    }

    /// Flags, method, time, checksum and sizes, and a zip64 extra field where the sizes are there; with an offset for the directory.
    fn described(&self, open: bool, offset: Option<u32>) -> (Vec<u8>, Vec<u8>) {
        let method = if self.deflated { 8 } else { 0 };
        let mut out: Vec<u8> = [self.flags(), method, 0, 0].iter().flat_map(|v: &u16| v.to_le_bytes()).collect();
        let (crc, packed, size) = (crc32fast::hash(&self.content), self.data().len() as u32, self.content.len() as u32);
        let (crc, packed, size) = if open { (0, 0, 0) } else { (crc, packed, size) };
        let mut extra = Vec::new();
        out.extend(crc.to_le_bytes());
        if self.wide {
            out.extend([0xff; 8]);
            let values: Vec<u64> = [Some(size), Some(packed), offset].into_iter().flatten().map(u64::from).collect();
            // An extra field of some other kind before it.
            extra.extend(b"\x55\x54\x01\0\0\x01\0");
            extra.extend((8 * values.len() as u16).to_le_bytes());
            extra.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        } else {
            out.extend([packed, size].iter().flat_map(|v| v.to_le_bytes()));
        }
        (out, extra)
    }

    fn local(&self) -> Vec<u8> {
        let (fields, extra) = self.described(self.descriptor.is_some() && !self.foretold, None);
        let mut out = b"PK\x03\x04\x14\0".to_vec();
        out.extend(fields);
        out.extend([self.name.len() as u16, extra.len() as u16].iter().flat_map(|v| v.to_le_bytes()));
        out.extend(&self.name);
        out.extend(extra);
        changed(out, self.lies[0])
    }

    fn listed(&self, offset: u32) -> Vec<u8> {
        let (fields, extra) = self.described(false, Some(offset));
        let mut out = b"PK\x01\x02\x14\0\x14\0".to_vec();
        out.extend(fields);
        out.extend([self.name.len() as u16, extra.len() as u16, 0, 0, 0, 0, 0].iter().flat_map(|v| v.to_le_bytes()));
        out.extend(if self.wide { u32::MAX } else { offset }.to_le_bytes());
        out.extend(&self.name);
        out.extend(extra);
        changed(out, self.lies[3])
    }

    fn descriptor(&self) -> Vec<u8> {
        let Some(Descriptor { signed, wide }) = self.descriptor else { return Vec::new() };
        let mut out = if signed { b"PK\x07\x08".to_vec() } else { Vec::new() };
        out.extend(crc32fast::hash(&self.content).to_le_bytes());
        for len in [self.data().len(), self.content.len()] {
            out.extend(&(len as u64).to_le_bytes()[..if wide { 8 } else { 4 }]);
        }
        changed(out, self.lies[2])
    }
}

/// A zip.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive {
    /// What stands before it.
    pub(super) before: Vec<u8>,
    pub(super) members: Vec<Member>,
    /// Which members the directory lists, and in which order; all in their own order if not set.
    pub(super) listed: Option<Vec<usize>>,
    /// What stands before the end record.
    pub(super) before_end: Vec<u8>,
    /// With a zip64 end record.
    pub(super) wide: bool,
    /// What stands between its locator and the end record, as a gap.
    pub(super) between_ends: Vec<u8>,
    pub(super) comment: Vec<u8>,
    /// What stands behind it.
    pub(super) behind: Vec<u8>,
    /// In the end record, the last.
    pub(super) end_lie: Option<Lie>,
}

impl Archive {
    pub(super) fn of(members: impl IntoIterator<Item = Member>) -> Self {
        Self { members: members.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = self.before.clone();
        let mut offsets = Vec::new();
        for member in &self.members {
            offsets.push(out.len() as u32);
            out.extend(member.local());
            out.extend(member.data());
            out.extend(member.descriptor());
            out.extend(&member.gap);
        }
        let start = out.len();
        let listed = self.listed.clone().unwrap_or_else(|| (0..self.members.len()).collect());
        for &index in &listed {
            out.extend(self.members[index].listed(offsets[index]));
        }
        let size = out.len() - start;
        out.extend(&self.before_end);
        if self.wide {
            let at = out.len() as u64;
            let records = listed.len() as u64;
            out.extend(b"PK\x06\x06");
            out.extend([0; 20]);
            out.extend([records, records, size as u64, start as u64].iter().flat_map(|v| v.to_le_bytes()));
            out.extend(&self.between_ends);
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend(at.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        out.extend(changed(self.end(listed.len(), size, start), self.end_lie));
        out.extend(&self.comment);
        out.extend(&self.behind);
        out
    }

    fn end(&self, records: usize, size: usize, start: usize) -> Vec<u8> {
        let (records, start) = if self.wide { (u16::MAX, u32::MAX) } else { (records as u16, start as u32) };
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        end.extend([records; 2].iter().flat_map(|v| v.to_le_bytes()));
        end.extend([size as u32, start].iter().flat_map(|v| v.to_le_bytes()));
        end.extend((self.comment.len() as u16).to_le_bytes());
        end
    }
}

fn changed(mut part: Vec<u8>, lie: Option<Lie>) -> Vec<u8> {
    if let Some(lie) = lie {
        lie(&mut part);
    }
    part
}

pub(super) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut deflate = Deflate::new(1, false, 15);
    let mut out = vec![0; content.len() + content.len() / 1000 + 100];
    deflate.compress(content, &mut out, DeflateFlush::Finish).unwrap();
    out.truncate(deflate.total_out() as usize);
    out
}
