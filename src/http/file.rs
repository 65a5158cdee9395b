//! Reads a file's range for a response: from the page cache on the async thread, from the disk on a blocking one.

use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::cache::OpenFile;
use crate::observe::spawn_blocking;

/// Bytes a read.
const PIECE: usize = 256 << 10;

/// The rest of a file's range.
pub(super) struct FileReader {
    file: OpenFile,
    at: u64,
    left: u64,
    piece: Vec<u8>,
    /// The file system knows `RWF_NOWAIT`.
    nowait: bool,
}

impl FileReader {
    pub(super) fn new(file: OpenFile, from: u64, len: u64) -> Self {
        let piece = usize::try_from(len).unwrap_or(PIECE).min(PIECE);
        Self { file, at: from, left: len, piece: vec![0; piece], nowait: true }
    }

    /// The next piece; `None` after `len` bytes. A file that ends before that is an error.
    pub(super) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let want = usize::try_from(self.left).unwrap_or(PIECE).min(self.piece.len());
        if want == 0 {
            return Ok(None);
        }
        let got = match self.read(want).await {
            Ok(got) => got,
            Err(error) => {
                self.file.failed(&error);
                return Err(error);
            }
        };
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than promised"));
        }
        self.at += got as u64;
        self.left -= got as u64;
        Ok(Some(&self.piece[..got]))
    }

    async fn read(&mut self, want: usize) -> io::Result<usize> {
        match self.read_cached(want)? {
            Some(got) => Ok(got),
            None => self.read_blocking(want).await,
        }
    }

    /// What the page cache has; `None` if it has nothing of it.
    fn read_cached(&mut self, want: usize) -> io::Result<Option<usize>> {
        if !self.nowait {
            return Ok(None);
        }
        match preadv2(&*self.file, &mut [IoSliceMut::new(&mut self.piece[..want])], self.at, ReadWriteFlags::NOWAIT) {
            Ok(got) => Ok(Some(got)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.nowait = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_blocking(&mut self, want: usize) -> io::Result<usize> {
        let (file, at, mut piece) = (self.file.clone(), self.at, std::mem::take(&mut self.piece));
        let (piece, got) = spawn_blocking(move || {
            let got = loop {
                match file.read_at(&mut piece[..want], at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    got => break got,
                }
            };
            (piece, got)
        })
        .await
        .map_err(io::Error::other)?;
        self.piece = piece;
        got
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    async fn read_all(mut reader: FileReader) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = reader.next().await? {
            all.extend_from_slice(piece);
        }
        Ok(all)
    }

    fn file_of(len: usize) -> (OpenFile, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (Arc::new(file).into(), bytes)
    }

    #[tokio::test]
    async fn a_range_is_read_whole_with_and_without_nowait() {
        let (file, bytes) = file_of(3 * PIECE + 5);
        for nowait in [true, false] {
            let mut reader = FileReader::new(file.clone(), 3, 3 * PIECE as u64);
            reader.nowait = nowait;
            assert_eq!(read_all(reader).await.unwrap(), bytes[3..3 + 3 * PIECE]);
        }
    }

    #[tokio::test]
    async fn a_file_shorter_than_promised_is_an_error() {
        let (file, _) = file_of(10);
        for nowait in [true, false] {
            let mut reader = FileReader::new(file.clone(), 0, 11);
            reader.nowait = nowait;
            assert_eq!(read_all(reader).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn an_empty_range_is_nothing() {
        let (file, _) = file_of(10);
        assert!(read_all(FileReader::new(file, 10, 0)).await.unwrap().is_empty());
    }
}
