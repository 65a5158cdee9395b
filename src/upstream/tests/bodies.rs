//! An upstream whose answers begin well: what their bodies tell its breaker.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::observe::metrics::Metrics;

/// An upstream, and whoever asks it: each time for a module of its own.
struct World {
    fake: Fake,
    upstream: Upstream,
    metrics: Metrics,
    asked: AtomicUsize,
}

impl World {
    async fn new() -> Self {
        let fake = Fake::start().await;
        // One that is down stays so.
        let now = Instant::now();
        let breakers = Breakers::by(Arc::new(move || now));
        let metrics = Metrics::new().unwrap();
        let config = config::Upstream { stall_timeout: Duration::from_millis(100), ..fake.config() };
        let upstream = Upstream::new(&config, fake::gate(Arc::default()), breakers, metrics.upstream.clone()).unwrap();
        Self { fake, upstream, metrics, asked: AtomicUsize::new(0) }
    }

    /// The answer's head has come.
    async fn begin(&self, act: Act) -> Box<Incoming> {
        match self.ask(act).await {
            Ok(Reply::Found(incoming)) => incoming,
            Ok(Reply::Absent(absent)) => panic!("{absent:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    async fn get(&self, act: Act) -> Result<Vec<u8>, UpstreamError> {
        body(self.ask(act).await).await
    }

    async fn ask(&self, act: Act) -> Result<Reply, UpstreamError> {
        let (path, list) = other(self.asked.fetch_add(1, Ordering::Relaxed));
        self.fake.set(&list, act);
        ask_of(&self.upstream, &path, ModuleAsk::List).await
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
