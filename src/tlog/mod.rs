//! Transparency logs, as checksum databases are: heads and the notes that sign them, records, tiles, and what tiles prove.
//!
//! Pure: no I/O, no clock, no async. Where a proof wants tiles it does not fetch them: it answers with those that are missing
//! ([`Step::Missing`]), the caller brings them and asks again. Nothing that a stranger wrote panics here, and memory follows the
//! length of what was handed in. The specification is `golang.org/x/mod/sumdb/tlog` and `…/note`; `tests/it/xmod/tlog.rs` holds the
//! two against each other. Stricter than Go in this: base64 is canonical and has no line breaks in it, a tile path has six groups at
//! most and a level up to 63, a note is at most 1 MB, and a verifier's key is a point of the curve.

mod gosumdb;
mod grow;
mod hash;
mod head;
mod key;
mod lookup;
mod proof;
mod record;
mod shape;
mod tile;
mod tiles;

pub use gosumdb::{Gosumdb, GosumdbError};
pub use grow::{GrowError, Grown, grow};
pub use hash::Hash;
pub use head::{Head, HeadError, NoteError, SignedHead};
pub use key::{KeyError, SignerKey, VerifierKey};
pub use lookup::{Lookup, LookupError};
pub use proof::{ProofError, Proven, consistency, inclusion, membership};
pub use record::{Record, RecordError, RecordText};
pub use tile::{Tile, TileLevel, TilePathError, split_data, write_data};
pub use tiles::{TileLengthError, Tiles};

/// How far a computation came with the tiles at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// To its end.
    Done(T),
    /// These tiles are needed too: with them in [`Tiles`] the same question goes on. Never empty; parents before children.
    Missing(Vec<Tile>),
}
