use http::Version;

use super::*;
use crate::admin::Foundation;
use crate::config::Config;
use crate::http::Addresses;

/// Of a request that has none.
struct Nothing;

#[async_trait]
impl RequestBody for Nothing {
    fn declared_len(&self) -> Option<u64> {
        Some(0)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        Ok(None)
    }
}

async fn status(front: &Front, path: &str) -> u16 {
    ask(front, path).await.status
}

async fn ask(front: &Front, path: &str) -> Reply<Note> {
    let head = Head {
        method: Method::GET,
        path: path.to_owned(),
        query: None,
        version: Version::HTTP_2,
        headers: HeaderMap::new(),
        peer: None,
        listener: ListenerKind::Public { tls: true },
        request_id: "0123456789abcdef".to_owned(),
    };
    front.call(head, &mut Nothing).await
}

#[tokio::test]
async fn that_nothing_is_verified_is_said_where_readiness_is_asked() {
    for (verify, body) in
        [("require", "ready\n"), ("off", "ready\ndegraded: nothing that comes from upstream is verified (upstream.verify)\n")]
    {
        let dir = tempfile::tempdir().unwrap();
        let settings = format!("data_dir = {:?}\n[upstream]\nverify = \"{verify}\"\n", dir.path().join("data").display());
        let config = Config::from_toml(&settings).unwrap();
        let reached = Reached::new(&config, &Addresses::default());
        let (_foundation, operations) = Foundation::open(config).await.unwrap();
        let (_stop, draining) = watch::channel(false);
        let front = Front::new(House::new(operations, reached, draining));
        let reply = ask(&front, "/readyz").await;
        let crate::cache::Body::Bytes(bytes) = reply.body else { panic!() };
        assert_eq!((reply.status, std::str::from_utf8(&bytes).unwrap()), (200, body));
    }
}

#[tokio::test]
async fn whether_a_checksum_database_is_here_is_answered_by_a_front_that_has_retired_too() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "data_dir = {:?}\n[server]\npublic_url = \"https://go.example.com/go\"\n[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n",
        dir.path().join("data").display()
    );
    let config = Config::from_toml(&settings).unwrap();
    let reached = Reached::new(&config, &Addresses::default());
    let (_foundation, operations) = Foundation::open(config).await.unwrap();
    let (_stop, draining) = watch::channel(false);
    let front = Front::new(House::new(operations, reached, draining));
    let supported = "/go/sumdb/sum.example.org/supported";
    assert_eq!((status(&front, supported).await, status(&front, "/go/x.example.com/y/@v/list").await), (200, 404));
    front.retire().await;
    assert_eq!((status(&front, supported).await, status(&front, "/go/x.example.com/y/@v/list").await), (200, 503));
    assert_eq!(status(&front, "/sumdb/sum.example.org/supported").await, 503);
}

#[tokio::test]
async fn our_own_checksum_database_is_here_by_its_digits_and_not_at_all_where_it_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut name = String::new();
    for (enabled, ours, by_digits) in [(true, 200, 200), (false, 404, 404)] {
        let settings = format!("data_dir = {:?}\n[upstream]\nverify = \"off\"\n[sumdb]\nenabled = {enabled}\n", data.display());
        let config = Config::from_toml(&settings).unwrap();
        let reached = Reached::new(&config, &Addresses::default());
        let (foundation, operations) = Foundation::open(config).await.unwrap();
        if let Some(log) = &operations.log {
            name = log.key().name().to_owned();
        }
        let (_stop, draining) = watch::channel(false);
        let front = Front::new(House::new(operations, reached, draining));
        let digits = name.rsplit('/').next().unwrap();
        for retired in [false, true] {
            if retired {
                front.retire().await;
            }
            for (path, expected) in [
                (format!("/sumdb/{name}/supported"), ours),
                (format!("/{digits}/supported"), by_digits),
                ("/00000000/supported".to_owned(), 404),
                ("/sumdb/sum.example.org/supported".to_owned(), 200),
            ] {
                assert_eq!(status(&front, &path).await, expected, "{path}, enabled: {enabled}, retired: {retired}");
            }
        }
        drop(foundation);
    }
}
