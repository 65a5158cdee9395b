//! The trail as a whole: what is recorded is read again.

use std::sync::mpsc;

use time::macros::datetime;

use super::*;
use crate::durable::{Faults, Step};
use crate::observe::metrics::Metrics;

const LONG_AGO: OffsetDateTime = datetime!(2000-01-01 0:00 UTC);

fn claim(n: usize) -> Event {
    Event::ClaimReleased { name: format!("host{n}.example.com") }
}

fn open(dir: &Path, metrics: &Metrics) -> Audit {
    Audit::open(dir, &Disk::default(), "n0de", metrics.audit.clone()).unwrap()
}

#[tokio::test]
async fn what_was_waited_for_is_on_disk_with_who_did_it_and_in_which_request() {
    let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new().unwrap());
    let audit = open(dir.path(), &metrics);
    let actor = Actor { by: "user:alice".into(), request_id: Some("0123456789abcdef".into()), peer: Some([192, 0, 2, 7].into()) };
    audit.record_durably(&actor, &[claim(0), claim(1)]).await;
    let lines = audit.page(LONG_AGO, None, 10).unwrap().lines;
    let time = lines[0].split('"').nth(3).unwrap();
    let rest = r#""event":"claim-released","name":"host0.example.com","by":"user:alice","request_id":"0123456789abcdef","peer":"192.0.2.7","node":"n0de"}"#;
    assert_eq!(lines[0], format!(r#"{{"time":"{time}",{rest}"#));
    assert_eq!(lines.len(), 2);
    assert!(metrics.text().unwrap().contains("modgate_audit_events_total{event=\"claim-released\"} 2\n"));
}

/// A disk whose fsyncs end when the test says so.
struct Slow {
    begun: mpsc::Sender<()>,
    may_end: Mutex<mpsc::Receiver<()>>,
}

impl Faults for Slow {
    fn step(&self, step: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if step == Step::SyncFile {
            // The test may be over.
            let _ = self.begun.send(());
            let _ = self.may_end.lock().unwrap().recv();
        }
        run()
    }
}

#[tokio::test]
async fn nobody_is_told_before_the_fsync_has_ended() {
    let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new().unwrap());
    let ((begun, has_begun), (end, may_end)) = (mpsc::channel(), mpsc::channel());
    let disk = Disk::with_faults(Arc::new(Slow { begun, may_end: Mutex::new(may_end) }));
    let audit = Audit::open(dir.path(), &disk, "n0de", metrics.audit.clone()).unwrap();
    // Dropped before the trail, which waits for its thread: should this test fail, it ends.
    let end = end;
    let actor = Actor::local("operator");
    let event = [claim(0)];
    let mut recording = Box::pin(audit.record_durably(&actor, &event));
    // One fsync of the new file, one of the line in it.
    for _ in 0..2 {
        assert!(futures::poll!(&mut recording).is_pending());
        has_begun.recv().unwrap();
        assert!(futures::poll!(&mut recording).is_pending());
        end.send(()).unwrap();
    }
    recording.await;
    assert_eq!(audit.page(LONG_AGO, None, 10).unwrap().lines.len(), 1);
}

#[tokio::test]
async fn what_was_not_waited_for_is_on_disk_when_the_last_clone_is_gone() {
    let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new().unwrap());
    let audit = open(dir.path(), &metrics);
    for n in 0..100 {
        audit.clone().record(&Actor::local("operator"), &claim(n));
    }
    let refused = || {
        Event::Refusal(Refused {
            rule: "rights",
            reason: None,
            kind: "publish",
            path: "/x".to_owned(),
            module: None,
            version: None,
            status: 403,
            times: 1,
        })
    };
    (0..5).for_each(|_| audit.record(&Actor::local("user:eve"), &refused()));
    drop(audit);
    let lines = open(dir.path(), &metrics).page(LONG_AGO, None, 1000).unwrap().lines;
    assert_eq!(lines.len(), 102);
    assert!(lines[100].contains(r#""event":"refusal""#) && !lines[100].contains("times"), "{}", lines[100]);
    assert!(lines[101].contains(r#""times":4"#), "{}", lines[101]);
}

#[tokio::test]
async fn what_is_caused_again_and_again_is_one_line_and_counted_each_time() {
    let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new().unwrap());
    let audit = open(dir.path(), &metrics);
    for n in [0, 0, 1, 0, 1] {
        audit.clone().record_first(&Actor::local("modgate"), &claim(n));
    }
    drop(audit);
    let lines = open(dir.path(), &metrics).page(LONG_AGO, None, 10).unwrap().lines;
    assert!(lines.len() == 2 && lines[0].contains("host0") && lines[1].contains("host1"), "{lines:?}");
    assert!(metrics.text().unwrap().contains("modgate_audit_events_total{event=\"claim-released\"} 5\n"));
}

#[tokio::test]
async fn a_trail_without_a_place_writes_to_the_log_alone_and_hinders_nobody() {
    let audit = Audit::default();
    audit.record_durably(&Actor::local("operator"), &[claim(0)]).await;
    assert_eq!(audit.page(LONG_AGO, None, 10).unwrap().lines.len(), 0);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_counted_and_hinders_nobody() {
    let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new().unwrap());
    // A file stands where the folder belongs.
    let place = dir.path().join("audit");
    std::fs::write(&place, "").unwrap();
    let audit = open(&place, &metrics);
    audit.record_durably(&Actor::local("operator"), &[claim(0), claim(1)]).await;
    assert!(metrics.text().unwrap().contains("modgate_audit_lost_total 2\n"));
    std::fs::remove_file(&place).unwrap();
    audit.record_durably(&Actor::local("operator"), &[claim(2)]).await;
    assert_eq!(audit.page(LONG_AGO, None, 10).unwrap().lines.len(), 1, "it goes on by itself");
    assert!(metrics.text().unwrap().contains("modgate_audit_lost_total 2\n"));
}
