//! Whether what is kept is what was kept.

use std::fs::File;
use std::io::Read as _;

use bytes::Bytes;

use crate::module::dirhash::hash_zip;
use crate::stop::Stop;

use super::index::ASIDE;
use super::judge;
use super::memo::{self, Memo};
use super::place::{Asset, QUERIES, sidecar};
use super::shelf::Shelf;

/// Longest file but zips, bytes: the longest list or `.mod` with a memo's first line.
const FILE_BYTES_MAX: u64 = judge::LIST_BYTES_MAX + memo::HEAD_BYTES_MAX as u64;

/// A file that was not as it was written. It is set aside: the next request fetches it anew.
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
    /// Those that are not.
    pub findings: Vec<Finding>,
}

impl Shelf {
    /// Re-reads every file, once all are known. Those that came, went or were being replaced meanwhile are passed over. Ends early, with
    /// what it has found, once `stop` is asked.
    pub(super) fn verify(&self, stop: &Stop) -> Verified {
        let mut verified = Verified::default();
        self.index.wait_complete();
        for key in self.index.keys(|key| !key.starts_with(ASIDE)) {
            let checked = self.check(&key, stop);
            // What was being read then failed for no fault of its own.
            if stop.is_asked() {
                break;
            }
            match checked {
                Ok(true) => verified.good += 1,
                Ok(false) => self.index.forget_if_gone(&key),
                Err(text) => {
                    self.index.set_aside(&key);
                    verified.findings.push(Finding { file: key, text });
                }
            }
        }
        verified.findings.sort_by(|a, b| a.file.cmp(&b.file));
        verified
    }

    /// False: it is gone.
    fn check(&self, key: &str, stop: &Stop) -> Result<bool, String> {
        let file = match File::open(self.index.path(key)) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e.to_string()),
        };
        match sidecar(key) {
            Some(beside) => {
                let actual = hash_zip(stop.ends(file)).map_err(|e| e.to_string())?;
                match super::shelf::read_hash(&self.index.path(&beside)) {
                    Some(noted) if noted == actual => Ok(true),
                    Some(noted) => Err(format!("its hash is {actual}, not {noted}")),
                    None => Err("its hash file is missing or malformed".to_owned()),
                }
            }
            None => check_bytes(key, &file).map(|()| true),
        }
    }
}

fn check_bytes(key: &str, file: &File) -> Result<(), String> {
    let len = file.metadata().map_err(|e| e.to_string())?.len();
    if len > FILE_BYTES_MAX {
        return Err("longer than anything that is kept so".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if key.starts_with(QUERIES) {
        let memo = Memo::read(key, &bytes, bytes.len() as u64);
        let intact = memo.is_some_and(|(memo, from)| memo::sha256(&bytes[from..]) == memo.sha256);
        return if intact { Ok(()) } else { Err("not as it was written".to_owned()) };
    }
    let asset = Asset::of_file(key).ok_or_else(|| "nothing that is kept here is called so".to_owned())?;
    if judge::is_intact(&asset, &Bytes::from(bytes)) { Ok(()) } else { Err("not as it was written".to_owned()) }
}
