//! Standard output. Commands write through here alone: `println!` would end the process where the reader is gone.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// Writes text as it is, at once. `false`: nobody reads any more (`| head`), which is no failure.
pub(super) fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    reader_stays(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes one JSON object, or other value, as a line; as [`print()`].
pub(super) fn print_json(value: &impl Serialize) -> io::Result<bool> {
    print(&json_line(value)?)
}

/// One line of JSON with its end.
pub(super) fn json_line(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// Says something beside the output, on standard error.
pub(super) fn tell(text: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A text that may hold what others wrote, fit for a terminal: its lines stay, control characters do not.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() && !matches!(c, '\n' | '\t') => plain.extend(c.escape_debug()),
            c => plain.push(c),
        }
    }
    plain
}

/// The columns' names, above a table that a person looks at; nothing where standard output is no terminal, since programs take every line
/// for a row, nor if `bare`.
pub(super) fn heading(bare: bool, columns: &[&str]) -> String {
    headed(bare || !io::stdout().is_terminal(), columns)
}

fn headed(bare: bool, columns: &[&str]) -> String {
    if bare { String::new() } else { columns.join("\t") + "\n" }
}

fn reader_stays(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_heading_only_for_a_person() {
        assert_eq!(headed(false, &["KIND", "PATH"]), "KIND\tPATH\n");
        assert_eq!(headed(true, &["KIND", "PATH"]), "");
        // The tests' own output may be either.
        assert_eq!(heading(true, &["KIND"]), "");
    }

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        assert_eq!(plain("a:\n\tb \u{1b}[2J\r\u{9b}\0"), "a:\n\tb \\u{1b}[2J\\r\\u{9b}\\0");
    }

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is_one() {
        assert!(reader_stays(Ok(())).unwrap());
        assert!(!reader_stays(Err(io::ErrorKind::BrokenPipe.into())).unwrap());
        assert!(reader_stays(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
