//! Which pre-releases and pseudo-versions may go (`owners.NAME.retain`). Releases never may.

use std::cmp::Reverse;
use std::time::Duration;

use crate::config::Retain;
use crate::store::VersionRecord;

/// Of all versions of one path, those that `retain` lets go at this time: pre-releases, pseudo-versions among them, that were published
/// longer ago than `prerelease` and are not among the `keep` that were published last. By the store's clock, in the order of `versions`.
pub fn expired(versions: &[VersionRecord], retain: Retain, now_unix: u64) -> Vec<&VersionRecord> {
    let mut newest_first: Vec<&VersionRecord> = versions.iter().filter(|record| record.version.is_prerelease()).collect();
    newest_first.sort_by_key(|record| Reverse(record.rev));
    let age = |record: &VersionRecord| Duration::from_secs(now_unix.saturating_sub(record.published_unix));
    let mut expired: Vec<_> = newest_first.into_iter().skip(retain.keep).filter(|record| age(record) > retain.prerelease).collect();
    expired.sort_by(|a, b| a.version.cmp(&b.version));
    expired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::H1;
    use crate::store::{BlobId, Rev};

    const DAY_S: u64 = 86_400;

    /// The n-th of these was published on day n.
    fn published(versions: &[&str]) -> Vec<VersionRecord> {
        let blob = BlobId { sha256: [0; 32], len: 1 };
        let mut records: Vec<VersionRecord> = (1..)
            .zip(versions)
            .map(|(day, version)| VersionRecord {
                rev: Rev(day),
                owner: "a".parse().unwrap(),
                path: "example.org/m".parse().unwrap(),
                version: version.parse().unwrap(),
                h1: H1([0; 32]),
                go_mod_h1: H1([0; 32]),
                zip: blob,
                go_mod: blob,
                published_unix: day * DAY_S,
                by: "user:a".to_owned(),
            })
            .collect();
        records.sort_by(|a, b| a.version.cmp(&b.version));
        records
    }

    #[track_caller]
    fn goes(versions: &[&str], prerelease_days: u64, keep: usize, day: u64, gone: &[&str]) {
        let records = published(versions);
        let retain = Retain { prerelease: Duration::from_secs(prerelease_days * DAY_S), keep };
        let expired: Vec<&str> = expired(&records, retain, day * DAY_S).iter().map(|record| record.version.as_str()).collect();
        assert_eq!(expired, gone);
    }

    const PSEUDO: &str = "v1.0.1-0.20260101000000-abcdefabcdef";

    #[test]
    fn releases_stay_however_old_they_are() {
        goes(&["v0.1.0", "v1.0.0", "v1.0.1"], 1, 0, 1000, &[]);
    }

    #[test]
    fn pre_releases_and_pseudo_versions_go_when_they_are_older_than_the_bound_and_not_a_second_before() {
        let all = ["v1.0.0-rc.1", PSEUDO, "v1.0.0"];
        goes(&all, 90, 0, 91, &[]);
        goes(&all, 90, 0, 92, &["v1.0.0-rc.1"]);
        goes(&all, 90, 0, 93, &["v1.0.0-rc.1", PSEUDO]);
    }

    #[test]
    fn those_that_were_published_last_stay_whatever_their_numbers() {
        let all = ["v9.0.0-rc.1", "v2.0.0-rc.1", "v1.0.0-rc.1", "v1.0.0"];
        goes(&all, 1, 0, 1000, &["v1.0.0-rc.1", "v2.0.0-rc.1", "v9.0.0-rc.1"]);
        goes(&all, 1, 1, 1000, &["v2.0.0-rc.1", "v9.0.0-rc.1"]);
        goes(&all, 1, 2, 1000, &["v9.0.0-rc.1"]);
        goes(&all, 1, 3, 1000, &[]);
        goes(&all, 1, usize::MAX, 1000, &[]);
    }

    #[test]
    fn a_clock_that_went_back_lets_nothing_go() {
        goes(&["v1.0.0-rc.1"], 1, 0, 0, &[]);
    }
}
