//! What is wrong with a zip, for its publisher: a bounded list of lines.

use std::fmt;

use crate::module::major::MismatchError;

/// The most lines that are kept, the last one possibly saying that there are more.
const LINES_MAX: usize = 100;
/// The most bytes that all lines have, each with its line end.
const BYTES_MAX: usize = 16 << 10;
/// How long a line may be: names of files may be long, and are cut in the middle, so that the reason behind them shows.
const LINE_BYTES_MAX: usize = 1000;
/// How much of a line that is too long is kept from its end.
const LINE_END_BYTES: usize = 300;
/// Kept free for the last line.
const MORE_BYTES: usize = 64;

/// How many folders with a go.mod of their own are remembered.
const NESTED_MAX: usize = 8;

/// Everything found wrong, one a line, none empty: at most 100 lines and 16 KiB. Displays as those lines joined by line ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    lines: Vec<String>,
    bytes: usize,
    more: u64,
    major: Option<Box<MismatchError>>,
    nested: Vec<String>,
}

impl Problems {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines, without line ends.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("… and {} more", self.more));
        self.lines.iter().cloned().chain(more)
    }

    /// Adds a problem: one line, cut when it is long, counted only when there is no more room.
    pub fn push(&mut self, problem: impl fmt::Display) {
        let mut line = problem.to_string().replace(['\n', '\r'], " ");
        if line.len() > LINE_BYTES_MAX {
            let end = line.split_off(line.ceil_char_boundary(line.len() - LINE_END_BYTES));
            line.truncate(line.floor_char_boundary(LINE_BYTES_MAX - LINE_END_BYTES - "…".len()));
            line = [line.as_str(), "…", &end].concat();
        }
        if self.is_full() || self.bytes + line.len() + 1 > BYTES_MAX - MORE_BYTES {
            self.more += 1;
            return;
        }
        self.bytes += line.len() + 1;
        self.lines.push(line);
    }

    /// Adds that the version does not fit the path.
    pub(super) fn push_major(&mut self, mismatch: MismatchError) {
        self.push(&mismatch);
        self.major = Some(Box::new(mismatch));
    }

    /// Remembers a folder with a go.mod of its own, which was added as a problem.
    pub(super) fn note_nested(&mut self, folder: &str) {
        if self.nested.len() < NESTED_MAX {
            self.nested.push(folder.to_owned());
        }
    }

    /// The major version that does not fit the path, if that is among the problems.
    pub fn major(&self) -> Option<&MismatchError> {
        self.major.as_deref()
    }

    /// The first 8 folders with a go.mod of their own.
    pub fn nested(&self) -> &[String] {
        &self.nested
    }

    /// Whether further problems are only counted: looking for them is of no use.
    pub fn is_full(&self) -> bool {
        self.more > 0 || self.lines.len() == LINES_MAX - 1
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.lines().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_in_lines() {
        let mut problems = Problems::default();
        for i in 0..1000 {
            problems.push(format!("p{i}"));
        }
        let text = problems.to_string();
        assert_eq!(text.lines().count(), LINES_MAX);
        assert!(text.ends_with("p98\n… and 901 more"), "{text}");
    }

    #[test]
    fn the_list_is_bounded_in_bytes() {
        let mut problems = Problems::default();
        for _ in 0..50 {
            problems.push("é".repeat(4000));
        }
        let text = problems.to_string();
        assert!(text.len() <= BYTES_MAX, "{}", text.len());
        assert!(text.lines().all(|line| line.len() <= LINE_BYTES_MAX));
    }

    #[test]
    fn a_problem_is_one_line() {
        let mut problems = Problems::default();
        problems.push("a\nb\r\nc");
        assert_eq!(problems.to_string(), "a b  c");
    }
}
