//! The order of a GOPROXY list, as `TryProxies` of the go command walks it.

use crate::config::Hop;

use super::{Absent, UpstreamError};

/// One walk along the list: after `,` only an absence goes on, after `|` any failure does. If nobody
/// answers, a failure outranks an absence: that one upstream has nothing says little when another could not be asked.
pub(crate) struct Walk<'a> {
    hops: std::slice::Iter<'a, Hop>,
    any_error: bool,
    failed: Option<UpstreamError>,
    absent: Option<Absent>,
    stopped: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(hops: &'a [Hop]) -> Self {
        Self { hops: hops.iter(), any_error: false, failed: None, absent: None, stopped: false }
    }

    /// The next one to ask, after the one before was told as absent or failed.
    pub(crate) fn next(&mut self) -> Option<&'a Hop> {
        if self.stopped {
            return None;
        }
        let hop = self.hops.next()?;
        self.any_error = hop.any_error;
        Some(hop)
    }

    /// The last hop does not have it.
    pub(crate) fn absent(&mut self, absent: Absent) {
        self.absent = Some(absent);
    }

    /// The last hop failed.
    pub(crate) fn failed(&mut self, error: UpstreamError) {
        self.stopped |= !self.any_error;
        self.failed = Some(error);
    }

    /// What the whole walk came to when no hop had it.
    pub(crate) fn end(self) -> Result<Absent, UpstreamError> {
        match (self.failed, self.absent) {
            (Some(error), _) => Err(error),
            (None, Some(absent)) => Ok(absent),
            (None, None) => Err(UpstreamError::Off),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks "a,b|c" like lists; `answers` by hop: 0 fails, else a status of absence.
    fn walk(list: &str, answers: &[u16]) -> (usize, Result<u16, bool>) {
        let hops: Vec<Hop> = list
            .split_inclusive([',', '|'])
            .map(|part| Hop {
                url: format!("https://{}.example", part.trim_end_matches([',', '|'])).parse().unwrap(),
                any_error: part.ends_with('|'),
            })
            .collect();
        let mut walk = Walk::new(&hops);
        let mut asked = 0;
        while walk.next().is_some() {
            match answers[asked] {
                0 => walk.failed(UpstreamError::Status { host: "a".into(), status: 500, retry_after: None }),
                status => walk.absent(Absent { status, text: String::new() }),
            }
            asked += 1;
        }
        let end = walk.end().map(|a| a.status).map_err(|e| matches!(e, UpstreamError::Off));
        (asked, end)
    }

    #[test]
    fn a_comma_falls_through_on_absence_only() {
        assert_eq!(walk("a,b", &[404, 410]), (2, Ok(410)));
        assert_eq!(walk("a,b", &[0, 404]), (1, Err(false)));
        assert_eq!(walk("a,b", &[404, 0]), (2, Err(false)));
    }

    #[test]
    fn a_bar_falls_through_on_anything_and_a_failure_outranks_an_absence() {
        assert_eq!(walk("a|b", &[0, 404]), (2, Err(false)));
        assert_eq!(walk("a|b,c", &[0, 404, 404]), (3, Err(false)));
        assert_eq!(walk("a|b,c", &[0, 0, 404]), (2, Err(false)));
        assert_eq!(walk("a|b", &[404, 404]), (2, Ok(404)));
    }

    #[test]
    fn an_empty_list_is_off() {
        let walk = Walk::new(&[]);
        assert!(matches!(walk.end(), Err(UpstreamError::Off)));
    }
}
