//! Reading the trail: a page at a time, from a moment on.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::trail::{Name, files};

/// Bytes of lines on a page, about.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes that are looked at for a page, about: a page may be empty and not the last.
const LOOKED_BYTES_MAX: u64 = 64 << 20;
/// A longer line is none of ours.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Where a page ends and the next begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    file: String,
    offset: u64,
}

/// A page of the trail.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// Lines as they were written, JSON, oldest first.
    pub lines: Vec<String>,
    /// Where to go on; `None`: that was all.
    pub next: Option<Position>,
}

/// Where lines are looked for.
pub(super) struct Ask<'a> {
    pub(super) since: OffsetDateTime,
    pub(super) after: Option<&'a Position>,
    pub(super) limit: usize,
}

/// Reads a page. A torn last line, and what is no line of ours, is left out. Blocks on the disk.
pub(super) fn page(dir: &Path, ask: &Ask<'_>) -> io::Result<Page> {
    let Ask { since, after, limit } = *ask;
    let names: Vec<Name> = files(dir)?.into_keys().collect();
    let after = after.and_then(|after| Some((Name::parse(&after.file)?, after.offset)));
    let mut page = Page { lines: Vec::new(), next: None };
    let (mut bytes, mut looked) = (0, 0);
    for (at, name) in names.iter().enumerate() {
        // All of a file was written before the end of the day on which the next one was begun.
        let is_over = names.get(at + 1).is_some_and(|next| next.day < since.date());
        if is_over || after.is_some_and(|(before, _)| *name < before) {
            continue;
        }
        let mut offset = after.filter(|(before, _)| before == name).map_or(0, |(_, offset)| offset);
        let mut file = match File::open(dir.join(name.file())) {
            // Trimmed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => BufReader::new(file?),
        };
        file.seek(SeekFrom::Start(offset))?;
        loop {
            let mut line = Vec::new();
            io::Read::take(&mut file, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                break;
            }
            if page.lines.len() >= limit || bytes > PAGE_BYTES_MAX || looked > LOOKED_BYTES_MAX {
                page.next = Some(Position { file: name.file(), offset });
                return Ok(page);
            }
            offset += line.len() as u64;
            looked += line.len() as u64;
            if line.pop() == Some(b'\n')
                && let Ok(line) = String::from_utf8(line)
                && is_wanted(&line, since)
            {
                bytes += line.len();
                page.lines.push(line);
            }
        }
    }
    Ok(page)
}

#[derive(Deserialize)]
struct Dated<'a> {
    time: &'a str,
}

fn is_wanted(line: &str, since: OffsetDateTime) -> bool {
    let time = serde_json::from_str::<Dated<'_>>(line).ok().and_then(|line| OffsetDateTime::parse(line.time, &Rfc3339).ok());
    time.is_some_and(|time| time >= since)
}
