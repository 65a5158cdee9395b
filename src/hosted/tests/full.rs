use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::durable::{Faults, Step};

/// A disk that is full from its n-th step on, until it has room again.
struct FillsUp(AtomicUsize);

const ROOM: usize = usize::MAX / 2;

impl Faults for FillsUp {
    fn step(&self, _: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if left == Ok(0) { Err(rustix::io::Errno::NOSPC.into()) } else { run() }
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_step_refuses_with_507_and_keeps_nothing_half_done() {
    let zip = module(LIB, "v1.0.0", "package lib\n");
    let mut refused = 0;
    for steps in 0.. {
        let faults = Arc::new(FillsUp(AtomicUsize::new(ROOM)));
        let rig = Rig::open_on(tempfile::tempdir().unwrap(), SETTINGS, Disk::with_faults(faults.clone())).await;
        faults.0.store(steps, Ordering::SeqCst);
        let outcome = rig.put("team", &zip).await;
        faults.0.store(ROOM, Ordering::SeqCst);
        let Err(refusal) = outcome else { break };
        assert!(matches!(refusal, PublishRefusal::Full), "after {steps} steps: {refusal:?}");
        refused += 1;
        let Rig { dir, stores, hosted } = rig;
        drop((stores, hosted));
        let rig = Rig::open(dir, SETTINGS).await;
        match rig.put("team", &zip).await {
            Ok(_) | Err(PublishRefusal::VersionExists { same: true, .. }) => {}
            Err(other) => panic!("after {steps} steps: {other:?}"),
        }
        assert_eq!(bytes(rig.read(&ModuleAsk::Zip(version("v1.0.0")), true).await), zip);
        rig.settles_to(&rig.recorded(&[LIB]).await).await;
    }
    assert!(refused > 4, "{refused} steps failed");
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_behind_before_any_restart() {
    let faults = Arc::new(FillsUp(AtomicUsize::new(ROOM)));
    let rig = Rig::open_on(tempfile::tempdir().unwrap(), SETTINGS, Disk::with_faults(faults.clone())).await;
    let zip = module(LIB, "v1.0.0", "package lib\n");
    for steps in 0..3 {
        faults.0.store(steps, Ordering::SeqCst);
        let refusal = rig.put("team", &zip).await.unwrap_err();
        faults.0.store(ROOM, Ordering::SeqCst);
        assert!(matches!(refusal, PublishRefusal::Full), "{refusal:?}");
        rig.settles_to(&BTreeSet::new()).await;
    }
    rig.put("team", &zip).await.unwrap();
}
