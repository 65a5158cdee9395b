//! The texts of a shard's keys, one after the other: no allocation and no header for each.

/// Bytes of dead text below which nothing is moved.
const DEAD_BYTES_MIN: usize = 64 << 10;
/// The texts of one shard are at most so long, bytes: places are `u32`.
const TEXT_BYTES_MAX: usize = u32::MAX as usize;

/// Where a text lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    at: u32,
    len: u16,
}

/// The texts.
#[derive(Default)]
pub(super) struct Names {
    text: String,
    /// Bytes that nobody names any more.
    dead: usize,
}

impl Names {
    /// Adds a text; `None`: it is too long, or there are too many.
    pub(super) fn add(&mut self, text: &str) -> Option<Name> {
        let name = Name { at: u32::try_from(self.text.len()).ok()?, len: u16::try_from(text.len()).ok()? };
        if self.text.len() + text.len() > TEXT_BYTES_MAX {
            return None;
        }
        self.text.push_str(text);
        Some(name)
    }

    /// A text that was added, and neither freed nor moved since.
    pub(super) fn get(&self, name: Name) -> &str {
        let at = name.at as usize;
        self.text.get(at..at + usize::from(name.len)).unwrap_or_default()
    }

    /// Gives a text up.
    pub(super) fn free(&mut self, name: Name) {
        self.dead += usize::from(name.len);
    }

    /// Whether so much is dead that the rest is worth moving.
    pub(super) fn is_sparse(&self) -> bool {
        self.dead > DEAD_BYTES_MIN && self.dead > self.text.len() / 4
    }

    /// Moves these texts, all that live, together.
    pub(super) fn compact<'a>(&mut self, live: impl Iterator<Item = &'a mut Name>) {
        let mut moved = String::with_capacity(self.text.len() - self.dead);
        for name in live {
            let at = moved.len();
            moved.push_str(self.get(*name));
            // Not longer than what it was copied from.
            name.at = u32::try_from(at).unwrap_or(u32::MAX);
        }
        *self = Self { text: moved, dead: 0 };
    }
}
