//! Whether the log that runs would be found by the next start: for `verify` and `check`.

use std::path::PathBuf;

use super::open::{OpenError, read, read_key};
use super::reread::{Reread, compare, reread};
use super::{Log, Shared};
use crate::stop::Stop;
use crate::tlog::SignedHead;

/// Something of the log that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFinding {
    /// The file, or the log's folder.
    pub path: PathBuf,
    /// What is wrong, for people.
    pub text: String,
}

impl Log {
    /// Whether key, head and `head_path` are what they were: a few small files. Of a log that was opened to be read, `head_path` is not
    /// looked at again. Blocks.
    pub fn standing(&self) -> Vec<LogFinding> {
        let Shared { layout, head, .. } = &*self.shared;
        // Before the files are read: those may only be newer.
        let known = head.load_full();
        let mut findings = Vec::new();
        let mut find = |path: PathBuf, text: String| findings.push(LogFinding { path, text });
        match read_key(layout.key()) {
            Ok(key) if key.verifier() != *self.key() => find(layout.key(), "it holds another key than the log's".to_owned()),
            Ok(_) => {}
            Err(error) => find(layout.key(), error.to_string()),
        }
        for path in [Some(layout.head()), self.head_path.clone()].into_iter().flatten() {
            let text = match read(&path) {
                Ok(None) => "it is gone, and held the newest head of the log".to_owned(),
                Ok(Some(note)) => match SignedHead::open(note, self.key()) {
                    Ok(head) if head.head().size < known.head().size => {
                        format!("it holds a head of {} records, and the log has {}", head.head().size, known.head().size)
                    }
                    // It may be newer than what is known for a moment.
                    Ok(found) if found.head().size == known.head().size && found.head().root != known.head().root => {
                        format!("it holds another head of {} records than the log's: somebody else signs with its key", known.head().size)
                    }
                    Ok(_) => continue,
                    Err(error) => format!("it holds no head of the log: {error}"),
                },
                Err(error) => error.to_string(),
            };
            find(path, text);
        }
        findings
    }

    /// [`Log::standing`], and every record read again, and held against what is signed. What it finds first ends that. Also ends once
    /// `stop` is asked. Blocks.
    pub fn verify(&self, stop: &Stop) -> Vec<LogFinding> {
        let Shared { layout, head, .. } = &*self.shared;
        let (head, mut findings) = (head.load_full(), self.standing());
        let ended = reread(layout, head.head(), stop, |read| match read {
            Reread::Hashes(tile, content) => Ok(compare(layout, tile, content)?),
            Reread::Records { .. } => Ok(()),
        });
        match ended {
            Ok(()) | Err(OpenError::Stopped) => {}
            Err(error) => findings.push(LogFinding { path: layout.folder().to_owned(), text: error.to_string() }),
        }
        findings
    }
}
