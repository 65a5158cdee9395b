//! The word that the process is about to end, for work that blocks a thread, which nobody can cut: it asks now and then.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether work is to stop. Cheap to clone: all clones hear the same word, and it is never taken back.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on work is to stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `inner`, whose reads fail once work is to stop.
    pub fn ends<R>(&self, inner: R) -> Stoppable<R> {
        Stoppable { inner, stop: self.clone() }
    }
}

/// Reads until it is asked to stop.
#[derive(Debug)]
pub struct Stoppable<R> {
    inner: R,
    stop: Stop,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_asked() {
            return Err(io::Error::other("the process ends"));
        }
        self.inner.read(into)
    }
}

impl<R: Seek> Seek for Stoppable<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fail_from_the_moment_that_any_clone_is_asked() {
        let stop = Stop::default();
        let mut reader = stop.ends(&b"some"[..]);
        let mut two = [0; 2];
        assert_eq!((reader.read(&mut two).unwrap(), stop.is_asked()), (2, false));
        stop.clone().ask();
        assert!(stop.is_asked() && reader.read(&mut two).is_err());
    }
}
