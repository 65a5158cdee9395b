use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::module::dirhash::hash_zip;
use crate::module::zip::{ENTRIES_MAX, NAME_BYTES_MAX, ZIP_BYTES_MAX};

mod build;
mod refused;
mod same;

use build::{Archive, Descriptor, Member, deflate};

/// The hash of what passed in pieces of these lengths, over and over.
fn hash_pieces(bytes: &[u8], lens: &[usize]) -> Result<H1, Unverifiable> {
    let mut hasher = StreamHasher::new();
    let mut rest = bytes;
    for &len in lens.iter().cycle() {
        let (piece, behind) = rest.split_at(len.min(rest.len()));
        hasher.push(piece)?;
        if behind.is_empty() {
            break;
        }
        rest = behind;
    }
    hasher.finish()
}

fn hash_whole(bytes: &[u8]) -> Result<H1, Unverifiable> {
    hash_pieces(bytes, &[bytes.len().max(1)])
}

/// The hash, which must be the one of the zip at rest, in one piece and byte by byte.
#[track_caller]
fn assert_hashed(bytes: &[u8]) {
    let at_rest = hash_zip(Cursor::new(bytes)).unwrap();
    assert_eq!(hash_whole(bytes).unwrap(), at_rest);
    assert_eq!(hash_pieces(bytes, &[1]).unwrap(), at_rest);
}
