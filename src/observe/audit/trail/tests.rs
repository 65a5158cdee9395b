//! Files of the trail: begun, cut, bounded and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use time::macros::datetime;

use super::super::read::{Ask, Page, Position, page};
use super::*;
use crate::durable::Faults;

const NOW: OffsetDateTime = datetime!(2026-03-02 12:00 UTC);
const SMALL: Bounds = Bounds { file_bytes: 100, total_bytes: 350 };

/// 50 bytes.
fn line(n: u32) -> String {
    format!("{{\"time\":\"2026-03-02T12:00:00Z\",\"n\":\"{n:0>11}\"}}\n")
}

fn names(dir: &Path) -> Vec<String> {
    files(dir).unwrap().into_keys().map(Name::file).collect()
}

fn all(dir: &Path, since: OffsetDateTime, limit: usize) -> Vec<String> {
    let (mut lines, mut after) = (Vec::new(), None::<Position>);
    loop {
        let Page { lines: more, next } = page(dir, &Ask { since, after: after.as_ref(), limit }).unwrap();
        lines.extend(more.into_iter().map(|line| line + "\n"));
        match next {
            Some(next) => after = Some(next),
            None => return lines,
        }
    }
}

#[test]
fn a_name_is_read_as_it_was_written_and_no_other() {
    let name = Name { day: NOW.date(), number: 7 };
    assert_eq!(name.file(), "2026-03-02.0007.ndjson");
    assert_eq!(Name::parse(&name.file()), Some(name));
    assert!(Name::parse("2026-03-02.10000.ndjson") > Name::parse("2026-03-02.9999.ndjson"));
    for other in
        ["", "2026-03-02.ndjson", "2026-03-02.7.ndjson", "2026-02-30.0001.ndjson", "../2026-03-02.0001.ndjson", "2026-03-02.0001.ndjson~"]
    {
        assert_eq!(Name::parse(other), None, "{other}");
    }
}

#[test]
fn a_file_is_followed_by_another_when_it_is_full_and_when_its_day_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut trail = Trail::new(dir.path(), &Disk::default(), SMALL);
    for n in 0..3 {
        assert_eq!(line(n).len(), 50);
        trail.append(&line(n), NOW).unwrap();
    }
    assert_eq!(names(dir.path()), ["2026-03-02.0001.ndjson", "2026-03-02.0002.ndjson"]);
    trail.append(&line(3), datetime!(2026-03-03 0:00 UTC)).unwrap();
    trail.append(&line(4), NOW).unwrap();
    // Opened anew it goes on where it was, also with a clock that was set back.
    let mut trail = Trail::new(dir.path(), &Disk::default(), SMALL);
    trail.append(&line(5), NOW).unwrap();
    assert_eq!(names(dir.path())[2..], ["2026-03-03.0001.ndjson", "2026-03-03.0002.ndjson"]);
    for limit in [1, 2, 100] {
        assert_eq!(all(dir.path(), NOW, limit), (0..6).map(line).collect::<Vec<_>>(), "{limit}");
    }
}

#[test]
fn the_oldest_go_before_the_bound_is_passed_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut trail = Trail::new(dir.path(), &Disk::default(), SMALL);
    let mut trimmed = Vec::new();
    for n in 0..20 {
        trimmed.extend(trail.append(&line(n), NOW).unwrap());
        assert!(files(dir.path()).unwrap().values().sum::<u64>() <= SMALL.total_bytes);
    }
    assert_eq!(trimmed[0], Trimmed { file: "2026-03-02.0001.ndjson".to_owned(), bytes: 100 });
    assert_eq!(all(dir.path(), NOW, 100), (14..20).map(line).collect::<Vec<_>>());
}

#[test]
fn what_a_crash_tore_off_is_cut_and_whole_lines_stay() {
    let torn = ["{\"time\":", "\0\0\0\0\0\0", "{\"time\":\"x\"}", "\0\0\n{\"a\n"];
    for torn in torn {
        let dir = tempfile::tempdir().unwrap();
        Trail::new(dir.path(), &Disk::default(), SMALL).append(&line(0), NOW).unwrap();
        let file = dir.path().join("2026-03-02.0001.ndjson");
        fs::write(&file, line(0) + torn).unwrap();
        assert_eq!(all(dir.path(), NOW, 10), [line(0)], "read before it was cut: {torn:?}");
        Trail::new(dir.path(), &Disk::default(), SMALL).append(&line(1), NOW).unwrap();
        assert_eq!(all(dir.path(), NOW, 10), [line(0), line(1)], "{torn:?}");
    }
}

#[test]
fn what_is_read_begins_at_its_moment_and_skips_what_is_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |hour: u32| format!("{{\"time\":\"2026-03-02T{hour:02}:00:00.000Z\"}}\n");
    fs::write(dir.path().join("2026-03-01.0001.ndjson"), at(1)).unwrap();
    fs::write(dir.path().join("2026-03-02.0001.ndjson"), at(11) + "no line\n{}\n" + &at(12)).unwrap();
    fs::write(dir.path().join("2026-03-02.0002.ndjson"), at(13)).unwrap();
    fs::write(dir.path().join("notes"), at(14)).unwrap();
    assert_eq!(all(dir.path(), NOW, 10), [at(12), at(13)]);
    assert_eq!(all(dir.path(), datetime!(2026-03-02 0:00 UTC), 10), [at(1), at(11), at(12), at(13)], "written at the turn of the day");
    assert_eq!(all(dir.path(), datetime!(2026-03-03 0:00 UTC), 10), [""; 0]);
    // A place that names a file elsewhere is no place.
    let after: Position = serde_json::from_str(r#"{"file":"../../etc/passwd","offset":0}"#).unwrap();
    assert_eq!(page(dir.path(), &Ask { since: NOW, after: Some(&after), limit: 10 }).unwrap().lines.len(), 2);
    assert_eq!(all(&dir.path().join("absent"), NOW, 10), [""; 0]);
}

/// A disk that is full or not.
#[derive(Default)]
struct Full(AtomicBool);

impl Faults for Full {
    fn step(&self, step: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        match step {
            Step::Write | Step::Create if self.0.load(Ordering::Relaxed) => {
                // What there was room for is written.
                let _ = run();
                Err(io::Error::from_raw_os_error(28))
            }
            _ => run(),
        }
    }
}

#[test]
fn a_full_disk_leaves_no_half_lines_and_what_comes_later_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(Full::default());
    let mut trail = Trail::new(dir.path(), &Disk::with_faults(full.clone()), SMALL);
    trail.append(&line(0), NOW).unwrap();
    full.0.store(true, Ordering::Relaxed);
    assert!(trail.append(&line(1), NOW).unwrap_err().is_full());
    assert!(trail.append(&line(1), datetime!(2026-03-03 0:00 UTC)).unwrap_err().is_full(), "a new file");
    full.0.store(false, Ordering::Relaxed);
    trail.append(&line(2), NOW).unwrap();
    assert_eq!(all(dir.path(), NOW, 10), [line(0), line(2)]);
}
