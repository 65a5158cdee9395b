use super::*;
use crate::store::{BlobId, Blobs, Pin, Staged};

const TASKS: usize = 12;

/// Runs these at once and gives their outcomes.
async fn at_once<F>(tasks: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

async fn publish(hosted: Arc<Hosted>, owner: &'static str, zip: Vec<u8>) -> Result<Published, PublishRefusal> {
    hosted.publish(&name(owner), &publisher(), None, &mut Pieces::of(&zip)).await.map_err(|refused| refused.why)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_uploads_of_one_version_one_is_created_and_the_losers_bytes_are_nowhere() {
    let rig = Rig::new().await;
    let zips: Vec<_> = (0..TASKS).map(|i| module(LIB, "v1.0.0", &format!("package lib // {i}\n"))).collect();
    let outcomes = at_once(zips.iter().map(|zip| publish(rig.hosted.clone(), "team", zip.clone()))).await;
    let winners: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).map(|(i, _)| i).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(refusal, PublishRefusal::VersionExists { same: false, .. }), "{refusal:?}");
    }
    assert_eq!(bytes(rig.read(&ModuleAsk::Zip(version("v1.0.0")), true).await), zips[winners[0]]);
    rig.settles_to(&rig.recorded(&[LIB]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_equal_uploads_one_is_created_and_the_blob_stays() {
    let rig = Rig::new().await;
    let zip = module(LIB, "v1.0.0", "package lib\n");
    let outcomes = at_once((0..TASKS).map(|_| publish(rig.hosted.clone(), "team", zip.clone()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(bytes(rig.read(&ModuleAsk::Zip(version("v1.0.0")), true).await), zip);
    rig.settles_to(&rig.recorded(&[LIB]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_owners_that_race_for_a_paths_first_version_one_gets_the_path() {
    for _ in 0..5 {
        let rig = Rig::new().await;
        let uploads = (0..TASKS).map(|i| {
            let zip = module(LIB, &format!("v1.{i}.0"), "");
            publish(rig.hosted.clone(), if i % 2 == 0 { "team" } else { "other" }, zip)
        });
        let outcomes = at_once(uploads).await;
        let won = |parity| outcomes.iter().skip(parity).step_by(2).filter(|outcome| outcome.is_ok()).count();
        let (team, other) = (won(0), won(1));
        assert!((team, other) == (TASKS / 2, 0) || (team, other) == (0, TASKS / 2), "{team} {other}: {outcomes:?}");
        for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(refusal, PublishRefusal::NotYours { .. }), "{refusal:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_publish_of_many_claims_the_host() {
    let rig = Rig::new().await;
    let uploads = (0..TASKS).map(|i| publish(rig.hosted.clone(), "team", module(&format!("corp.example.com/m{i}"), "v1.0.0", "")));
    let outcomes = at_once(uploads).await;
    let claims: Vec<_> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().unwrap().claimed.as_ref()).map(|claimed| claimed.host.as_str()).collect();
    assert_eq!(claims, ["corp.example.com"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn content_that_has_left_is_never_replaced_while_it_is_deleted_and_published_anew() {
    let rig = Rig::new().await;
    let ask = ModuleAsk::Zip(version("v1.0.0"));
    for round in 0..10 {
        let module_path = format!("corp.example.com/r{round}");
        let zips: Vec<_> = (0..4).map(|i| module(&module_path, "v1.0.0", &format!("package lib // {i}\n"))).collect();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = {
            let (hosted, zips, module_path, stop) = (rig.hosted.clone(), zips.clone(), module_path.clone(), stop.clone());
            tokio::spawn(async move {
                for zip in zips.iter().cycle().take(12) {
                    let _ = publish(hosted.clone(), "team", zip.clone()).await;
                    hosted.delete(&name("team"), &path(&module_path), &version("v1.0.0"), &alice()).await.unwrap();
                }
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            })
        };
        let readers = (0..3).map(|_| {
            let (hosted, ask, module_path, stop) = (rig.hosted.clone(), ask.clone(), module_path.clone(), stop.clone());
            async move {
                let mut seen = BTreeSet::new();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    match hosted.read(&everything(), &path(&module_path), &ask, true).await.unwrap() {
                        found @ Read::Found(_) => {
                            seen.insert(bytes(found));
                        }
                        Read::Missing(_) | Read::NotHosted => tokio::task::yield_now().await,
                    }
                }
                seen
            }
        });
        let seen: BTreeSet<_> = at_once(readers).await.into_iter().flatten().collect();
        writer.await.unwrap();
        assert!(seen.len() <= 1, "two contents of one version were read");
        if let Some(content) = seen.first() {
            assert!(zips.contains(content), "it was read whole");
        }
    }
    rig.settles_to(&BTreeSet::new()).await;
}

/// Blobs, while whose first is put, somebody releases the claim of corp.example.com.
struct ReleasedMeanwhile(Stores);

#[async_trait]
impl Blobs for ReleasedMeanwhile {
    async fn stage(&self) -> Result<Staged, StoreError> {
        self.0.blobs.stage().await
    }
    async fn put(&self, id: BlobId, staged: Staged) -> Result<Pin, StoreError> {
        self.0.records.release_host("corp.example.com", "admin").await?;
        self.0.blobs.put(id, staged).await
    }
    async fn open(&self, id: &BlobId) -> Result<Option<Arc<std::fs::File>>, StoreError> {
        self.0.blobs.open(id).await
    }
    async fn sweep(&self, id: &BlobId) -> Result<(), StoreError> {
        self.0.blobs.sweep(id).await
    }
}

#[tokio::test]
async fn a_module_that_only_a_claim_keeps_private_is_refused_if_the_claim_is_released_meanwhile() {
    let rig = Rig::new().await;
    rig.put("open", &module(LIB, "v1.0.0", "")).await.unwrap();
    let hosted = Arc::new(over(SETTINGS, Stores { blobs: Arc::new(ReleasedMeanwhile(rig.stores.clone())), ..rig.stores.clone() }));
    let before = rig.left();

    let refusal = publish(hosted.clone(), "team", module("corp.example.com/bare", "v1.0.0", "")).await.unwrap_err();
    assert!(matches!(&refusal, PublishRefusal::Outside(Outside::NotPrivate { .. })), "{refusal:?}");
    assert!(refusal.to_string().contains("the claim of corp.example.com was released"), "{refusal}");
    assert!(rig.stores.records.module(&path("corp.example.com/bare")).await.unwrap().is_none());
    rig.settles_to(&before).await;
}

#[tokio::test]
async fn a_module_that_is_public_or_private_anyway_is_published_whatever_becomes_of_the_claim() {
    for (owner, name) in [("open", "corp.example.com/open"), ("covered", "corp.example.com/covered")] {
        let settings = SETTINGS.to_owned() + "[owners.covered]\nvisibility = \"private\"\nmodules = [\"corp.example.com/covered\"]\n";
        let rig = Rig::with(&settings).await;
        rig.put("open", &module(LIB, "v1.0.0", "")).await.unwrap();
        let stores = Stores { blobs: Arc::new(ReleasedMeanwhile(rig.stores.clone())), ..rig.stores.clone() };
        let published = publish(Arc::new(over(&settings, stores)), owner, module(name, "v1.0.0", "")).await.unwrap();
        assert_eq!(published.claimed, None);
        let index = rig.stores.records.hosted_index().await.unwrap();
        assert!(index.claims.is_empty() && index.hosted.contains_key(&path(name)));
    }
}
