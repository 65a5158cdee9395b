//! Module zips: the rules that the go command sets for them, and the judgement of one that is to be published.
//!
//! The specification is golang.org/x/mod/zip (`CheckZip` and `Unzip`) over Go's archive/zip:
//!
//! - Every name begins with `module@version/`. The path is valid, the version valid and canonical, and the two fit.
//! - What follows is a clean relative file path of characters that every system can have (`CheckFilePath`).
//! - No two names are equal under Unicode simple folding, none is both a file and a folder. Entries for folders are allowed.
//! - `go.mod` may stand at the root, in lower case; nowhere else a file of that name in any case.
//! - The zip has at most [`ZIP_BYTES_MAX`] bytes, its files unpacked no more either; go.mod and LICENSE at the root have at most
//!   [`GO_MOD_BYTES_MAX`] and [`LICENSE_BYTES_MAX`].
//! - Every file has the size and the checksum that the central directory says.
//!
//! The go command finds some more wrong only when it uses a module; those are asked for at the door too: a go.mod that does not
//! parse, is empty, has no module line or names another path, and a version `+incompatible` that has a go.mod. And some that
//! archive/zip lets pass: encrypted entries, and entries that lie on each other.
//!
//! What a hostile zip can cost is bounded: bytes read by the zip's length, bytes unpacked by [`ZIP_BYTES_MAX`], memory by
//! [`ENTRIES_MAX`], [`NAME_BYTES_MAX`] and [`NODES_MAX`] (some tens of MiB at worst, a few hundred bytes an entry as a rule).

mod content;
mod directory;
mod judge;
mod names;
mod problems;
mod streamed;

pub use content::Contents;
pub use directory::{Directory, Entry, Source};
pub use judge::{JudgeError, Judged, judge};
pub use problems::Problems;
pub use streamed::{Field, StreamHasher, Unverifiable};

/// The most bytes that a module zip may have, and its files together unpacked (x/mod/zip's `MaxZipFile`).
pub const ZIP_BYTES_MAX: u64 = 500 << 20;
/// The most bytes that a go.mod may have (`MaxGoMod`).
pub const GO_MOD_BYTES_MAX: u64 = 16 << 20;
/// The most bytes that LICENSE at the root may have (`MaxLICENSE`).
pub const LICENSE_BYTES_MAX: u64 = 16 << 20;
/// The most entries that a zip may have. Go has no such limit; half a million files of 1 KiB reach the limit of the sizes.
pub const ENTRIES_MAX: usize = 500_000;
/// The most bytes that the names of all entries may have together.
pub const NAME_BYTES_MAX: usize = 64 << 20;
/// The most files and folders that the names may speak of.
pub const NODES_MAX: usize = 1_000_000;
/// The most bytes that an escaped path element, or a version, of a hosted module may have: file systems allow 255 for a name.
pub const ELEMENT_BYTES_MAX: usize = 200;

/// What can be wrong with the bytes of a zip, in the words of Go's archive/zip where it has some.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No end record, no central directory, or a header that is not one.
    #[error("zip: not a valid zip file")]
    Format,
    /// The comment is longer than the file.
    #[error("zip: invalid comment length")]
    Comment,
    /// The file ends too soon.
    #[error("unexpected EOF")]
    Truncated,
    /// Neither stored nor deflated.
    #[error("zip: unsupported compression algorithm")]
    Algorithm,
    /// The checksum is another.
    #[error("zip: checksum error")]
    Checksum,
    /// Not a deflate stream.
    #[error("flate: corrupt input")]
    Corrupt,
    /// The entries have more data than the file: they lie on each other.
    #[error("zip: entries overlap")]
    Overlap,
    /// Over [`ENTRIES_MAX`] or [`NAME_BYTES_MAX`].
    #[error("zip has too many entries (at most {ENTRIES_MAX}, with {NAME_BYTES_MAX} bytes of names)")]
    Entries,
    /// Over [`ZIP_BYTES_MAX`] unpacked.
    #[error("total uncompressed size of module contents too large (max size is {ZIP_BYTES_MAX} bytes)")]
    Unpacked,
    /// A name that no h1 hash can be made of.
    #[error("dirhash: filenames with newlines are not supported")]
    Newline,
    /// Reading failed: nothing is said about the zip.
    #[error("reading the zip: {0}")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
