//! Tiles of height 8 and their paths, as `tile.go` of x/mod has them.

use std::fmt;
use std::str::FromStr;

use super::hash::Hash;
use super::record::RecordText;
use super::shape;

/// Highest level of a hash tile.
const LEVEL_MAX: u8 = 63;
/// Most groups of digits in a path: six hold every number below 2^59; more would overflow somebody's 64 bits.
const GROUPS_MAX: usize = 6;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileLevel {
    /// The hashes of the tree's level `8 * L`.
    Hashes(u8),
    /// Records.
    Data,
}

/// The coordinates of a tile: up to 256 hashes or records beside each other.
///
/// Its text is `tile/8/{L|data}/{N}[.p/{W}]` (`tlog.Tile.Path`): N in groups of three digits, all but the last with an `x` before them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: TileLevel,
    n: u64,
    width: u16,
}

impl Tile {
    /// The width of a full tile.
    pub const WIDTH: u16 = 256;
    /// The length of a full hash tile.
    pub const BYTES: usize = Self::WIDTH as usize * Hash::BYTES;

    /// The caller knows that the width is 1 to 256.
    pub(super) fn hashes(level: u8, n: u64, width: u16) -> Self {
        debug_assert!((1..=Self::WIDTH).contains(&width));
        Self { level: TileLevel::Hashes(level), n, width }
    }

    /// The full hash tile of records' hashes, and the full data tile, at a place: record `i` is in those at `i / 256`.
    pub fn of_records(n: u64) -> (Self, Self) {
        let at = |level| Self { level, n, width: Self::WIDTH };
        (at(TileLevel::Hashes(0)), at(TileLevel::Data))
    }

    /// The data tiles that a tree of `newer` records has beyond one of `older` (`tlog.NewTiles`), in order: what is to be written when
    /// it has grown. At most one for 256 new records, and one.
    pub fn new_data(older: u64, newer: u64) -> impl Iterator<Item = Self> {
        let first = older / u64::from(Self::WIDTH);
        let end = if older < newer { newer.div_ceil(u64::from(Self::WIDTH)) } else { first };
        (first..end).map(move |n| {
            let left = newer - n * u64::from(Self::WIDTH);
            // Below 256, or a full tile's width.
            let width = left.min(u64::from(Self::WIDTH)) as u16;
            Self { level: TileLevel::Data, n, width }
        })
    }

    /// What it holds, and the level of that.
    pub fn level(self) -> TileLevel {
        self.level
    }

    /// Its place in the level.
    pub fn n(self) -> u64 {
        self.n
    }

    /// Whether its path is the first of its folder: those after it begin with the same groups of digits.
    pub fn is_first_in_folder(self) -> bool {
        self.n.is_multiple_of(1000)
    }

    /// How many hashes or records it holds, 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// How much of the tile at this place a tree of that size has: 0 to 256.
    pub fn width_in(self, size: u64) -> u16 {
        let level = match self.level {
            TileLevel::Hashes(level) => level,
            TileLevel::Data => 0,
        };
        shape::tile_in(size, level, self.n).map_or(0, Self::width)
    }

    /// Whether it holds 256.
    pub fn is_full(self) -> bool {
        self.width == Self::WIDTH
    }

    /// The full tile at this place.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: Self::WIDTH, ..self }
    }

    /// The tile at this place in a tree of that size, as wide as it is there. None where the tree has none, or not one as wide as
    /// this; and of data tiles.
    pub fn in_tree(self, size: u64) -> Option<Self> {
        match self.level {
            TileLevel::Hashes(level) => shape::tile_in(size, level, self.n).filter(|there| there.width >= self.width),
            TileLevel::Data => None,
        }
    }

    /// The length of its content: of hash tiles only.
    pub fn byte_len(self) -> Option<usize> {
        match self.level {
            TileLevel::Hashes(_) => Some(usize::from(self.width) * Hash::BYTES),
            TileLevel::Data => None,
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            TileLevel::Hashes(level) => write!(f, "tile/8/{level}/")?,
            TileLevel::Data => f.write_str("tile/8/data/")?,
        }
        let mut scale = 1;
        while self.n / scale >= 1000 {
            scale *= 1000;
        }
        while scale > 1 {
            write!(f, "x{:03}/", self.n / scale % 1000)?;
            scale /= 1000;
        }
        write!(f, "{:03}", self.n % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl fmt::Debug for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no path of a tile, or not written as the go command writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed tile path")]
pub struct TilePathError;

impl FromStr for Tile {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        parse(path).ok_or(TilePathError)
    }
}

fn parse(path: &str) -> Option<Tile> {
    let (level, rest) = path.strip_prefix("tile/8/")?.split_once('/')?;
    let level = match level {
        "data" => TileLevel::Data,
        level => TileLevel::Hashes(number(level).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= LEVEL_MAX)?),
    };
    let (index, width) = match rest.split_once(".p/") {
        None => (rest, Tile::WIDTH),
        Some((index, width)) => (index, number(width).filter(|w| (1..Tile::WIDTH).contains(w))?),
    };
    let mut groups = index.splitn(GROUPS_MAX + 1, '/').collect::<Vec<_>>();
    let last = groups.pop()?;
    if groups.len() >= GROUPS_MAX || groups.first() == Some(&"x000") {
        return None;
    }
    let upper = groups.into_iter().map(|group| group.strip_prefix('x').and_then(three_digits));
    let n = upper.chain([three_digits(last)]).try_fold(0, |n, group| Some(n * 1000 + u64::from(group?)))?;
    Some(Tile { level, n, width })
}

fn three_digits(text: &str) -> Option<u16> {
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A decimal number as `strconv` writes it.
fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|n: &u16| n.to_string() == text)
}

/// The first `width` records of a data tile's content, which has an empty line behind each. What follows them is not looked at, so a wider
/// tile answers for a narrower one. None where there are fewer, or something that is no record. Nothing of it is proven: compare the
/// records' hashes with those of the hash tile at the same place.
pub fn split_data(content: &[u8], width: u16) -> Option<Vec<RecordText>> {
    let mut rest = content;
    let mut records = Vec::new();
    for _ in 0..width {
        let (record, behind) = RecordText::cut(rest).ok()?;
        records.push(record);
        rest = behind;
    }
    Some(records)
}

/// The content of a data tile: the inverse of [`split_data`].
pub fn write_data<'a>(records: impl IntoIterator<Item = &'a RecordText>) -> Vec<u8> {
    records.into_iter().flat_map(|record| [record.as_str().as_bytes(), b"\n"].concat()).collect()
}

#[cfg(test)]
mod tests;
