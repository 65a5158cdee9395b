//! An upstream whose answers begin well: what their bodies tell its breaker.

use std::sync::Mutex;

use super::*;
use crate::observe::metrics::Metrics;

/// An upstream, whoever asks it, and the clock of the breaker between them.
struct World {
    fake: Fake,
    upstream: Upstream,
    metrics: Metrics,
    now: Arc<Mutex<Instant>>,
}

impl World {
    async fn new() -> Self {
        let fake = Fake::start().await;
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = now.clone();
        let breakers = Breakers::by(Arc::new(move || *clock.lock().unwrap()));
        let metrics = Metrics::new().unwrap();
        let config = config::Upstream { stall_timeout: Duration::from_millis(100), ..fake.config() };
        let upstream = Upstream::new(&config, fake::gate(Arc::default()), breakers, metrics.upstream.clone()).unwrap();
        Self { fake, upstream, metrics, now }
    }

    /// Down, and due to be tried.
    async fn due() -> Self {
        let world = Self::new().await;
        for _ in 0..5 {
            assert!(matches!(world.get(Act::status(500, "text/plain", "")).await, Err(UpstreamError::Status { .. })));
        }
        assert_eq!(world.state(), 2);
        world.pass(Duration::from_secs(1));
        world
    }

    fn pass(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }

    /// The answer's head has come.
    async fn begin(&self, act: Act) -> Box<Incoming> {
        self.fake.set(LIST, act);
        match ask(&self.upstream, ModuleAsk::List).await {
            Ok(Reply::Found(incoming)) => incoming,
            Ok(Reply::Absent(absent)) => panic!("{absent:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    async fn get(&self, act: Act) -> Result<Vec<u8>, UpstreamError> {
        self.fake.set(LIST, act);
        body(ask(&self.upstream, ModuleAsk::List).await).await
    }

    /// Another ask is refused, and does not reach the upstream.
    async fn refuses(&self) -> bool {
        let before = self.fake.count(LIST);
        let down = matches!(ask(&self.upstream, ModuleAsk::List).await, Err(UpstreamError::Down(_)));
        assert_eq!(self.fake.count(LIST) == before, down);
        down
    }

    /// As it is told: 0 closed, 1 half-open, 2 open.
    fn state(&self) -> u8 {
        let text = self.metrics.text().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("modgate_upstream_breaker_state{upstream=\"modules\"} "));
        line.unwrap().parse().unwrap()
    }
}

fn whole() -> Act {
    Act::ok("text/plain", "v1.0.0\n")
}

fn stalls() -> Act {
    Act::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nv1".to_vec())
}

fn stalls_at_once() -> Act {
    Act::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec())
}

fn breaks_off() -> Act {
    Act::lying(9, b"v1")
}

fn breaks_off_in_a_chunk() -> Act {
    Act::Raw(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nv1.0.\r\n".to_vec())
}

#[tokio::test]
async fn five_bodies_in_a_row_that_stall_or_break_off_open_the_breaker() {
    let world = World::new().await;
    for act in [stalls(), breaks_off(), breaks_off_in_a_chunk(), stalls_at_once()] {
        assert!(matches!(world.get(act).await, Err(UpstreamError::Timeout { .. } | UpstreamError::Cut { .. })));
    }
    // One that comes to its end ends the row.
    assert_eq!(world.get(whole()).await.unwrap(), b"v1.0.0\n");
    for act in [breaks_off(), stalls(), breaks_off(), breaks_off_in_a_chunk()] {
        assert!(world.get(act).await.is_err());
        assert_eq!(world.state(), 0);
    }
    assert!(matches!(world.get(stalls()).await, Err(UpstreamError::Timeout { .. })));
    assert_eq!(world.state(), 2, "told before anybody asks again");
    assert!(world.upstream.down()[0].1.why.contains("stalled"), "{:?}", world.upstream.down());
    assert!(world.refuses().await);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_neither_for_the_upstream_nor_against_it() {
    let world = World::new().await;
    for _ in 0..3 {
        drop(world.begin(stalls_at_once()).await);
        let mut read = world.begin(stalls()).await;
        assert_eq!(read.chunk().await.unwrap().unwrap(), "v1");
    }
    assert_eq!(world.state(), 0);
    for _ in 0..4 {
        assert!(world.get(breaks_off()).await.is_err());
        drop(world.begin(whole()).await);
    }
    assert_eq!(world.state(), 0);
    assert!(world.get(breaks_off()).await.is_err());
    assert!(world.refuses().await, "five in a row, but for what nobody read");
}

#[tokio::test]
async fn an_answer_that_begins_well_ends_no_outage_before_its_end() {
    let world = World::due().await;
    let trying = world.begin(stalls_at_once()).await;
    assert_eq!(world.state(), 1);
    assert!(world.refuses().await, "one at a time");
    drop(trying);
    assert_eq!(world.state(), 2, "given up: the next one may try");
    assert!(matches!(world.get(stalls_at_once()).await, Err(UpstreamError::Timeout { .. })));
    assert_eq!(world.state(), 2);
    assert!(world.upstream.down()[0].1.why.contains("stalled"), "{:?}", world.upstream.down());
    assert!(world.refuses().await);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.get(whole()).await.unwrap(), b"v1.0.0\n");
    assert_eq!(world.state(), 0);
}

#[tokio::test]
async fn a_long_answer_whose_bytes_still_come_keeps_nobody_else_waiting() {
    let world = World::due().await;
    let mut long = world.begin(stalls()).await;
    assert!(world.refuses().await);
    // It takes longer than a stall may.
    tokio::time::sleep(world.upstream.stall).await;
    assert_eq!(long.chunk().await.unwrap().unwrap(), "v1");
    assert_eq!(world.state(), 0);
    assert_eq!(world.get(whole()).await.unwrap(), b"v1.0.0\n");
    // How it ends counts all the same.
    assert!(matches!(long.chunk().await, Err(UpstreamError::Timeout { .. })));
    for _ in 0..4 {
        assert_eq!(world.state(), 0);
        assert!(world.get(breaks_off()).await.is_err());
    }
    assert_eq!(world.state(), 2);
}
