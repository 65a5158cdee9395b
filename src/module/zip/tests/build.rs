//! Writes zips that no writer writes: duplicates, lies, entries on one place.

use std::io::Write as _;

/// The fields of a central header that can be lied about.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u32,
    pub(super) size: u32,
    pub(super) offset: u32,
}

type Lie = std::rc::Rc<dyn Fn(&mut Header)>;

#[derive(Clone)]
pub(super) struct File {
    header: Header,
    data: Vec<u8>,
    /// Applied to the central header after the file was written.
    lies: Vec<Lie>,
}

impl File {
    pub(super) fn new(name: &str, content: &str) -> Self {
        let len = content.len() as u32;
        let crc = crc32fast::hash(content.as_bytes());
        let header = Header { name: name.into(), flags: 0, method: 0, crc, packed: len, size: len, offset: 0 };
        Self { header, data: content.into(), lies: Vec::new() }
    }

    pub(super) fn deflated(mut self) -> Self {
        let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        out.start_file("", options).unwrap();
        out.write_all(&self.data).unwrap();
        let bytes = out.finish().unwrap().into_inner();
        let packed = u32::from_le_bytes(bytes[18..22].try_into().unwrap()) as usize;
        let extra = usize::from(u16::from_le_bytes([bytes[28], bytes[29]]));
        self.data = bytes[30 + extra..][..packed].to_vec();
        self.header.method = 8;
        self.header.packed = packed as u32;
        self
    }

    pub(super) fn with(mut self, lie: impl Fn(&mut Header) + 'static) -> Self {
        self.lies.push(std::rc::Rc::new(lie));
        self
    }
}

#[derive(Default)]
pub(super) struct Zip {
    data: Vec<u8>,
    headers: Vec<Header>,
    pub(super) comment: Vec<u8>,
    pub(super) zip64: bool,
}

impl Zip {
    pub(super) fn add(&mut self, file: File) -> &mut Self {
        let mut header = file.header;
        header.offset = self.data.len() as u32;
        let true_crc = header.crc;
        self.data.extend(b"PK\x03\x04");
        self.data.extend([0; 22]);
        self.data.extend((header.name.len() as u16).to_le_bytes());
        self.data.extend([0; 2]);
        self.data.extend(&header.name);
        self.data.extend(&file.data);
        for lie in &file.lies {
            lie(&mut header);
        }
        if header.flags & 8 != 0 {
            self.data.extend(b"PK\x07\x08");
            self.data.extend(true_crc.to_le_bytes());
            self.data.extend([0; 8]);
        }
        self.headers.push(header);
        self
    }

    /// One more entry for the data of an earlier one.
    pub(super) fn again(&mut self, index: usize, name: &str) {
        let header = Header { name: name.into(), ..self.headers[index].clone() };
        self.headers.push(header);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = self.data.clone();
        for h in &self.headers {
            out.extend(b"PK\x01\x02\x14\0\x14\0");
            out.extend([h.flags, h.method, 0, 0].iter().flat_map(|v| v.to_le_bytes()));
            out.extend([h.crc, h.packed, h.size].iter().flat_map(|v| v.to_le_bytes()));
            out.extend((h.name.len() as u16).to_le_bytes());
            out.extend([0; 12]);
            out.extend(h.offset.to_le_bytes());
            out.extend(&h.name);
        }
        let (start, size) = (self.data.len() as u64, (out.len() - self.data.len()) as u64);
        let records = self.headers.len() as u64;
        if self.zip64 {
            let at = out.len() as u64;
            out.extend(b"PK\x06\x06");
            out.extend([0; 20]);
            out.extend([records, records, size, start].iter().flat_map(|v| v.to_le_bytes()));
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend(at.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        let (size, start) = if self.zip64 { (u32::MAX, u32::MAX) } else { (size as u32, start as u32) };
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([records as u16; 2].iter().flat_map(|v| v.to_le_bytes()));
        out.extend([size, start].iter().flat_map(|v| v.to_le_bytes()));
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out
    }
}
