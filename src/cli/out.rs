//! Standard output. Commands write through here alone: `println!` would end the process where the reader is gone.

use std::io::{self, Write as _};

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
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is_one() {
        assert!(reader_stays(Ok(())).unwrap());
        assert!(!reader_stays(Err(io::ErrorKind::BrokenPipe.into())).unwrap());
        assert!(reader_stays(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
