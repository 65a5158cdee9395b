//! How many file descriptors this process may have: each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside connections: files of answers, connections upstream, the stores' own.
const RESERVE: u64 = 1024;

/// Takes as many as there may be. Many systems give 1024, for programs of old that cannot have more, and let those that can ask for it.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(from = current, to = maximum, "raised the limit of file descriptors"),
        Err(error) => tracing::warn!(limit = current, %error, "the limit of file descriptors cannot be raised"),
    }
}

/// How many there may be; `None`: any number.
pub(super) fn maximum() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// How many so many connections need at least.
pub(super) fn needed(connections: usize) -> u64 {
    (connections as u64).saturating_add(RESERVE)
}
