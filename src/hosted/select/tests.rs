use super::*;
use crate::module::H1;
use crate::store::{BlobId, Rev};

fn record(version: &str) -> VersionRecord {
    let blob = BlobId { sha256: [7; 32], len: 1 };
    VersionRecord {
        rev: Rev(1),
        owner: "team".parse().unwrap(),
        path: "corp.example.com/lib".parse().unwrap(),
        version: version.parse().unwrap(),
        h1: H1([1; 32]),
        go_mod_h1: H1([2; 32]),
        zip: blob,
        go_mod: blob,
        published_unix: 1_700_000_000,
        by: "user:alice".into(),
    }
}

fn records(versions: &[&str]) -> Vec<VersionRecord> {
    let mut records: Vec<_> = versions.iter().map(|version| record(version)).collect();
    records.sort_by(|a, b| a.version.cmp(&b.version));
    records
}

fn name(found: Option<&VersionRecord>) -> Option<&str> {
    found.map(|record| record.version.as_str())
}

const OLD: &str = "v0.0.0-20230101120000-aaaaaaaaaaaa";
const NEW: &str = "v0.0.0-20240101120000-abcdef012345";
const NEW_AFTER_TAG: &str = "v0.1.1-0.20220101120000-abcdef999999";

#[test]
fn a_list_is_in_semver_order_and_holds_no_pseudo_versions() {
    let records = records(&["v1.10.0", "v1.2.0", "v1.2.0-rc.1", NEW, "v2.0.0+incompatible"]);
    assert_eq!(list(&records), "v1.2.0-rc.1\nv1.2.0\nv1.10.0\nv2.0.0+incompatible\n");
    assert_eq!(list(&super::tests::records(&[NEW, OLD])), "");
}

#[test]
fn the_latest_is_a_release_then_a_prerelease_then_the_newest_commit() {
    assert_eq!(name(latest(&records(&["v1.9.0", "v1.10.0", "v1.11.0-rc.1", NEW]))), Some("v1.10.0"));
    assert_eq!(name(latest(&records(&["v1.11.0-rc.1", "v1.11.0-rc.2", NEW]))), Some("v1.11.0-rc.2"));
    assert_eq!(name(latest(&records(&[OLD, NEW, NEW_AFTER_TAG]))), Some(NEW), "commit time counts, not semver order");
    assert_eq!(name(latest(&[])), None);
}

#[test]
fn of_two_commits_in_one_second_the_higher_version_is_the_latest() {
    let twin = "v0.0.0-20240101120000-bbbbbbbbbbbb";
    assert_eq!(name(latest(&records(&[NEW, twin]))), Some(twin));
}

#[test]
fn seven_or_more_digits_name_a_commit_from_either_side() {
    let records = records(&[OLD, NEW, NEW_AFTER_TAG, "v1.0.0"]);
    assert_eq!(name(by_revision(&records, "abcdef0")), Some(NEW));
    assert_eq!(name(by_revision(&records, "abcdef9")), Some(NEW_AFTER_TAG));
    assert_eq!(name(by_revision(&records, "abcdef012345")), Some(NEW));
    assert_eq!(name(by_revision(&records, "abcdef0123456789abcdef0123456789abcdef01")), Some(NEW), "a whole commit hash");
    assert_eq!(name(by_revision(&records, "abcdef")), None, "six digits are too few");
    assert_eq!(name(by_revision(&records, "abcdef1")), None);
    assert_eq!(name(by_revision(&records, "ABCDEF0")), None, "revisions are lower case");
    assert_eq!(name(by_revision(&records, "abcdef01234g")), None);
    assert_eq!(name(by_revision(&records, "main")), None);
    assert_eq!(name(by_revision(&records, "")), None);
}

#[test]
fn of_several_versions_of_a_commit_the_newest_is_meant() {
    let later = "v0.0.0-20250101120000-abcdef055555";
    assert_eq!(name(by_revision(&records(&[NEW, later]), "abcdef0")), Some(later));
    let after_tag = "v0.1.1-0.20240101120000-abcdef012345";
    assert_eq!(name(by_revision(&records(&[NEW, after_tag]), "abcdef0")), Some(after_tag));
}

#[test]
fn the_time_is_the_commits_own_or_that_of_publishing() {
    assert_eq!(info(&record(NEW)), format!(r#"{{"Version":"{NEW}","Time":"2024-01-01T12:00:00Z"}}"#));
    assert_eq!(info(&record("v1.0.0")), r#"{"Version":"v1.0.0","Time":"2023-11-14T22:13:20Z"}"#);
    let incompatible = "v2.0.1-0.20240101120000-abcdef012345+incompatible";
    assert_eq!(info(&record(incompatible)), format!(r#"{{"Version":"{incompatible}","Time":"2024-01-01T12:00:00Z"}}"#));
    let never = "v0.0.0-20241399999999-abcdef012345";
    assert_eq!(info(&record(never)), format!(r#"{{"Version":"{never}","Time":"2023-11-14T22:13:20Z"}}"#));
    let far = VersionRecord { published_unix: u64::MAX, ..record("v1.0.0") };
    assert_eq!(info(&far), r#"{"Version":"v1.0.0","Time":"1970-01-01T00:00:00Z"}"#);
}

#[test]
fn a_miss_says_what_there_is_in_one_short_line() {
    let path: ModulePath = "corp.example.com/lib".parse().unwrap();
    let few = no_such(&path, "main", &records(&["v1.0.0", "v1.1.0"]));
    assert_eq!(few, "corp.example.com/lib@main: no such version; hosted modules have versions, no branches; here: v1.1.0, v1.0.0\n");

    let many: Vec<_> = (0..500).map(|i| record(&format!("v1.{i}.0"))).collect();
    let long: ModulePath = format!("corp.example.com/{}", "a/".repeat(500) + "b").parse().unwrap();
    for asked in ["x\u{1b}[2J\n\u{2028}y".to_owned(), "é".repeat(300), "m".repeat(9000)] {
        let text = no_such(&long, &asked, &many);
        assert!(text.len() <= 600, "{}", text.len());
        assert_eq!(text.lines().count(), 1);
        assert!(text.trim_end().bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{text}");
        assert!(text.trim_end().ends_with(" more"), "{text}");
    }
    let huge = record(&format!("v1.0.0-{}", "a".repeat(5000)));
    assert!(no_such(&path, "x", &[huge]).len() <= 600);
}
