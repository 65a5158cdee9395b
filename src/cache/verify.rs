//! Whether what is kept is what was kept.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use crate::module::dirhash::hash_zip;
use crate::stop::Stop;

use super::index::{ASIDE, is_gone};
use super::judge;
use super::memo::{self, Memo};
use super::place::{Asset, QUERIES, is_absence, sidecar};
use super::shelf::{Shelf, read_hash};

/// Longest file but zips, bytes: the longest list or `.mod` with a memo's first line.
const FILE_BYTES_MAX: u64 = judge::LIST_BYTES_MAX + memo::HEAD_BYTES_MAX as u64;

/// A file that is not as it was written, which is set aside: the next request fetches it anew. Or one that cannot be read, which is
/// left where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, below `cache/`.
    pub file: String,
    /// What is wrong with it.
    pub text: String,
}

/// What a verification came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that are as they were written.
    pub good: u64,
    /// Those that are not, or of which that cannot be told.
    pub findings: Vec<Finding>,
}

impl Shelf {
    /// Re-reads every file, once all are known. Those that came, went or were replaced meanwhile are passed over. Ends early, with
    /// what it has found, once `stop` is asked.
    pub(super) fn verify(&self, stop: &Stop) -> Verified {
        let mut verified = Verified::default();
        self.index.wait_complete();
        for key in self.index.keys(|key| !key.starts_with(ASIDE)) {
            // It is neither evicted nor forgotten while it is read.
            let Some(lease) = self.index.watch(&key) else { continue };
            let checked = self.check(&key, stop);
            // What was being read then failed for no fault of its own.
            if stop.is_asked() {
                break;
            }
            let text = match checked {
                Ok(Ok(())) => {
                    verified.good += 1;
                    continue;
                }
                Ok(Err(text)) if self.index.set_aside(&key, &lease) => text,
                Err(error) if is_gone(&error) => {
                    self.index.forget_if_gone(&key);
                    continue;
                }
                // That says nothing about the file.
                Err(error) if lease.is_current() => format!("cannot be read: {error}"),
                Ok(Err(_)) | Err(_) => continue,
            };
            verified.findings.push(Finding { file: key, text });
        }
        self.index.restore_order();
        verified.findings.sort_by(|a, b| a.file.cmp(&b.file));
        verified
    }

    /// What is wrong with a file; an error if that cannot be told.
    fn check(&self, key: &str, stop: &Stop) -> io::Result<Result<(), String>> {
        let file = File::open(self.index.path(key))?;
        let Some(beside) = sidecar(key) else { return check_bytes(key, &file) };
        let Some(noted) = read_hash(&self.index.path(&beside))? else {
            return Ok(Err("its hash file is missing or malformed".to_owned()));
        };
        let mut reader = Failing { file: stop.ends(file), error: None };
        let hashed = hash_zip(&mut reader);
        if let Some(error) = reader.error {
            return Err(error);
        }
        Ok(match hashed {
            Ok(actual) if actual == noted => Ok(()),
            Ok(actual) => Err(format!("its hash is {actual}, not {noted}")),
            Err(e) => Err(e.to_string()),
        })
    }
}

/// A file, and how reading it failed: whoever parses it tells that no more from bytes that make no sense.
struct Failing<R> {
    file: R,
    error: Option<io::Error>,
}

impl<R: Read> Read for Failing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf).map_err(|e| {
            let told = io::Error::from(e.kind());
            self.error = Some(e);
            told
        })
    }
}

impl<R: Seek> Seek for Failing<R> {
    // Where to is read from the file: to nowhere is the file's fault.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn check_bytes(key: &str, file: &File) -> io::Result<Result<(), String>> {
    let len = file.metadata()?.len();
    if len > FILE_BYTES_MAX {
        return Ok(Err("longer than anything that is kept so".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    let intact = if key.starts_with(QUERIES) || is_absence(key) {
        let memo = Memo::read(key, &bytes, bytes.len() as u64);
        memo.is_some_and(|(memo, from)| memo::sha256(&bytes[from..]) == memo.sha256)
    } else {
        let Some(asset) = Asset::of_file(key) else { return Ok(Err("nothing that is kept here is called so".to_owned())) };
        judge::is_intact(&asset, &Bytes::from(bytes))
    };
    Ok(if intact { Ok(()) } else { Err("not as it was written".to_owned()) })
}
