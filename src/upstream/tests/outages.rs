//! What makes an upstream count as down, and what finds that it is back.

use std::sync::Mutex;

use super::*;

/// An upstream, the way there, and the clock of the breaker between them. The breakers outlive the settings, which are new each time.
struct World {
    fake: Fake,
    breakers: Breakers,
    now: Arc<Mutex<Instant>>,
}

impl World {
    async fn new() -> Self {
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = now.clone();
        Self { fake: Fake::start().await, breakers: Breakers::by(Arc::new(move || *clock.lock().unwrap())), now }
    }

    fn upstream(&self) -> Upstream {
        Upstream::new(&self.fake.config(), fake::gate(Arc::default()), self.breakers.clone(), fake::metrics()).unwrap()
    }

    fn pass(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }

    async fn get(&self, path: &ModulePath) -> Result<Vec<u8>, UpstreamError> {
        body(ask_of(&self.upstream(), path, ModuleAsk::List).await).await
    }

    /// Asks for the list of a module of its own.
    async fn fail(&self, number: usize, act: Act) -> UpstreamError {
        let (path, list) = other(number);
        self.fake.set(&list, act);
        self.get(&path).await.unwrap_err()
    }

    /// Down, by answers that fail.
    async fn down() -> Self {
        let world = Self::new().await;
        for number in 0..5 {
            world.fail(number, Act::status(500, "text/plain", "")).await;
        }
        assert_eq!(world.upstream().down().len(), 1);
        world.fake.set(LIST, whole());
        world
    }
}

fn whole() -> Act {
    Act::ok("text/plain", "v1.0.0\n")
}

fn later(status: u16, seconds: u32) -> Act {
    Act::Answer { status, headers: vec![("Retry-After".to_owned(), seconds.to_string())], body: Vec::new() }
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_not_asked_and_new_settings_do_not_change_that() {
    let world = World::new().await;
    // Failures of every kind are one row.
    let reset = Act::Raw(Vec::new());
    let hang = Act::Hang(b"HTTP/1.1 200 OK\r\n".to_vec());
    let cut = Act::Raw(b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\nno".to_vec());
    for (number, act) in [Act::status(500, "text/plain", ""), Act::status(429, "text/plain", ""), reset, hang, cut].into_iter().enumerate()
    {
        assert!(!matches!(world.fail(number, act).await, UpstreamError::Down(_)));
    }
    world.fake.set(LIST, whole());
    let error = world.get(&path()).await.unwrap_err();
    assert!(
        matches!(&error, UpstreamError::Down(down) if down.host == public_name(&world.fake.url) && down.role == UpstreamRole::Modules),
        "{error}"
    );
    assert_eq!((world.fake.count(LIST), world.fake.count("/")), (0, 0), "it was not asked");
    // The database behind it is another matter.
    let upstream = world.upstream();
    assert_eq!(upstream.down().len(), 1);
    let head = upstream.fetch(&upstream.hops[0], Target::Head("sum.example.org"), "test").await;
    assert!(matches!(head, Ok(Reply::Absent(_))));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.get(&path()).await.unwrap(), b"v1.0.0\n");
    assert!(upstream.down().is_empty());
}

#[tokio::test]
async fn failing_answers_of_one_module_open_no_breaker() {
    let world = World::new().await;
    let upstream = world.upstream();
    for act in [Act::status(500, "text/plain", ""), Act::lying(9, b"v1"), Act::Raw(Vec::new())] {
        for version in 0..6 {
            world.fake.set(&format!("/example.com/m/@v/v1.0.{version}.mod"), act.clone());
            let version: Version = format!("v1.0.{version}").parse().unwrap();
            assert!(body(ask(&upstream, ModuleAsk::Mod(version)).await).await.is_err());
        }
    }
    assert!(upstream.down().is_empty());
}

#[tokio::test]
async fn what_cannot_be_reached_is_down_whatever_was_asked_and_a_module_that_hangs_is_one() {
    let hangs = World::new().await;
    let upstream = hangs.upstream();
    for version in 0..5 {
        hangs.fake.set(&format!("/example.com/m/@v/v1.0.{version}.mod"), Act::Hang(Vec::new()));
        let version: Version = format!("v1.0.{version}").parse().unwrap();
        assert!(matches!(ask(&upstream, ModuleAsk::Mod(version)).await, Err(UpstreamError::Timeout { what: Slow::Head, .. })));
    }
    assert!(hangs.upstream().down().is_empty());
    let dead = World::new().await;
    dead.fake.die();
    for _ in 0..5 {
        assert!(matches!(dead.get(&path()).await, Err(UpstreamError::Failed { connected: false, .. })));
    }
    assert!(matches!(dead.get(&path()).await, Err(UpstreamError::Down(_))));
    // Its base is no more to be reached than anything else.
    dead.pass(Duration::from_secs(1));
    assert!(matches!(dead.get(&path()).await, Err(UpstreamError::Down(_))));
    assert_eq!(dead.upstream().down().len(), 1);
}

#[tokio::test]
async fn what_becomes_private_while_the_base_is_asked_is_not_sent() {
    fn publish(records: &crate::store::double::Double) {
        records.host(path().as_str(), "default");
    }
    // While the base is asked, and while the permit after that is asked for.
    for late in [false, true] {
        let world = World::down().await;
        let (records, answers) = (Arc::new(crate::store::double::Double::default()), Arc::new(tokio::sync::Semaphore::new(0)));
        let gate = fake::gate(records.clone());
        let upstream = Upstream::new(&world.fake.config(), gate, world.breakers.clone(), fake::metrics()).unwrap();
        world.fake.set("/", Act::Gate(answers.clone(), Box::new(whole())));
        world.pass(Duration::from_secs(1));
        let before = world.fake.seen().len();
        let published = async {
            while world.fake.count("/") == 0 {
                tokio::task::yield_now().await;
            }
            match late {
                false => publish(&records),
                true => *records.meanwhile.lock().unwrap() = Some(Box::new(publish)),
            }
            answers.add_permits(1);
        };
        let (asked, ()) = tokio::join!(ask(&upstream, ModuleAsk::List), published);
        let error = asked.err();
        assert!(matches!(error, Some(UpstreamError::Denied(Denied::Private(_)))), "{error:?}");
        let seen = world.fake.seen().split_off(before);
        assert_eq!(seen.iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), ["/"]);
        // It keeps no other from finding out whether the upstream is back.
        let (public, list) = other(100);
        world.fake.set(&list, whole());
        assert!(body(ask_of(&upstream, &public, ModuleAsk::List).await).await.is_ok());
        assert!(upstream.down().is_empty());
    }
}

#[tokio::test]
async fn a_base_that_answers_before_modules_that_hang_lets_few_wait_and_ever_more_rarely() {
    let world = World::down().await;
    world.fake.set("/", whole());
    for round in 1..4 {
        world.pass(Duration::from_secs(60));
        for number in 0..3 {
            let error = world.fail(number, Act::Hang(Vec::new())).await;
            assert!(matches!(error, UpstreamError::Timeout { what: Slow::Head, .. }), "{round} {number}: {error}");
        }
        for number in 3..10 {
            assert!(matches!(world.fail(number, Act::Hang(Vec::new())).await, UpstreamError::Down(_)), "{round} {number}");
        }
        assert!(world.upstream().is_away(UpstreamRole::Modules));
        assert_eq!(world.fake.count("/"), round);
    }
    // The wait is that of a fourth try by now: 8 s, of that at least a half.
    world.pass(Duration::from_millis(3999));
    assert!(matches!(world.get(&path()).await, Err(UpstreamError::Down(_))));
    world.pass(Duration::from_millis(4001));
    assert_eq!(world.get(&path()).await.unwrap(), b"v1.0.0\n");
    assert!(!world.upstream().is_away(UpstreamRole::Modules));
}

#[tokio::test]
async fn whether_it_is_back_is_asked_of_its_base_and_no_failing_path_keeps_it_down() {
    for answer in [Act::status(404, "text/plain", ""), Act::status(503, "text/plain", ""), Act::redirect("https://elsewhere.example/")] {
        let world = World::down().await;
        world.fake.set("/", answer);
        world.pass(Duration::from_secs(1));
        // The one who tries it has a path that fails.
        assert!(matches!(world.fail(0, Act::status(500, "text/plain", "")).await, UpstreamError::Status { .. }));
        assert_eq!(world.fake.count("/"), 1);
        assert_eq!(world.get(&path()).await.unwrap(), b"v1.0.0\n");
        assert_eq!(world.fake.count("/"), 1, "it is up");
    }
}

#[tokio::test]
async fn whoever_tries_it_shows_its_credentials_and_is_told_what_came_of_it() {
    let world = World::down().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "t").unwrap();
    let auth = vec![config::UpstreamAuth { url: world.fake.url.clone(), secret: config::Secret::Bearer { file: secret } }];
    let config = config::Upstream { auth, ..world.fake.config() };
    let metrics = crate::observe::metrics::Metrics::new().unwrap();
    let upstream = Upstream::new(&config, fake::gate(Arc::default()), world.breakers.clone(), metrics.upstream.clone()).unwrap();
    let counted = |line: &str| assert!(metrics.text().unwrap().lines().any(|l| l == line), "{line}: {}", metrics.text().unwrap());
    world.fake.set("/", Act::Hang(Vec::new()));
    world.pass(Duration::from_secs(1));
    let error = ask(&upstream, ModuleAsk::List).await.err().unwrap();
    assert!(matches!(&error, UpstreamError::Down(down) if down.why.ends_with("no answer")), "{error}");
    counted("modgate_upstream_requests_total{outcome=\"timeout\",upstream=\"modules\"} 1");
    counted("modgate_upstream_breaker_state{upstream=\"modules\"} 2");
    world.fake.set("/", whole());
    world.pass(Duration::from_secs(2));
    assert_eq!(body(ask(&upstream, ModuleAsk::List).await).await.unwrap(), b"v1.0.0\n");
    counted("modgate_upstream_requests_total{outcome=\"probe\",upstream=\"modules\"} 1");
    counted("modgate_upstream_breaker_state{upstream=\"modules\"} 0");
    let shown: Vec<_> = world.fake.seen().into_iter().filter(|seen| seen.target == "/").collect();
    assert_eq!(shown.iter().map(|seen| authorization(seen).unwrap_or_default()).collect::<Vec<_>>(), ["Bearer t"; 2]);
}

#[tokio::test]
async fn what_is_answered_promptly_opens_no_breaker() {
    let world = World::new().await;
    let statuses = [404, 410, 403].map(|status| Act::status(status, "text/plain", ""));
    for act in statuses.into_iter().chain([Act::redirect("ftp://x/")]) {
        for number in 0..6 {
            let (path, list) = other(number);
            world.fake.set(&list, act.clone());
            assert!(!matches!(ask_of(&world.upstream(), &path, ModuleAsk::List).await, Err(UpstreamError::Down(_))));
        }
    }
    assert_eq!(world.fake.seen().len(), 24);
}

#[tokio::test]
async fn what_fails_where_a_redirect_leads_is_not_counted_against_who_sent_it() {
    let (world, elsewhere) = (World::new().await, Fake::start().await);
    for (number, act) in
        [Act::status(500, "text/plain", ""), Act::lying(9, b"v1"), Act::Raw(Vec::new()), later(429, 60)].into_iter().enumerate()
    {
        elsewhere.set(&format!("/{number}"), act);
        for module in 0..6 {
            let to = elsewhere.url.join(&format!("/{number}")).unwrap();
            world.fail(6 * number + module, Act::redirect(to.as_str())).await;
        }
    }
    elsewhere.die();
    for module in 0..6 {
        world.fail(100 + module, Act::redirect(elsewhere.url.as_str())).await;
    }
    assert!(world.upstream().down().is_empty(), "{:?}", world.upstream().down());
    // Its own answers are, by whatever way one came to them.
    for number in 0..5 {
        world.fake.set("/own", Act::status(500, "text/plain", ""));
        world.fail(number, Act::redirect("/own")).await;
    }
    assert_eq!(world.upstream().down().len(), 1);
}

#[tokio::test]
async fn retry_after_is_heeded_for_what_was_asked_and_nothing_else() {
    let world = World::new().await;
    let (busy, list) = other(0);
    assert!(matches!(world.fail(0, later(503, 600)).await, UpstreamError::Status { .. }));
    let error = world.get(&busy).await.unwrap_err();
    assert!(matches!(&error, UpstreamError::Held { left, .. } if left.as_secs() == 300), "{error}");
    world.fake.set(LIST, whole());
    assert_eq!(world.get(&path()).await.unwrap(), b"v1.0.0\n");
    // Another question about the same module is another matter, too.
    assert!(matches!(ask_of(&world.upstream(), &busy, ModuleAsk::Latest).await, Ok(Reply::Absent(_))));
    assert_eq!(world.fake.count(&list), 1);
    world.fake.set(&list, whole());
    world.pass(Duration::from_secs(300));
    assert_eq!(world.get(&busy).await.unwrap(), b"v1.0.0\n");
    // Together with others it counts as any failure does.
    for number in 1..6 {
        world.fail(number, later(503, 600)).await;
    }
    assert!(matches!(world.get(&path()).await, Err(UpstreamError::Down(_))));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.get(&path()).await.unwrap(), b"v1.0.0\n", "and does not make the wait longer");
}

#[tokio::test]
async fn a_rate_that_is_too_high_holds_everything_back_for_half_a_minute_at_most() {
    let world = World::new().await;
    world.fake.set(LIST, whole());
    for number in 0..3 {
        assert!(world.upstream().down().is_empty(), "{number}: it may be about that one alone");
        assert!(matches!(world.fail(number, later(429, 600)).await, UpstreamError::Status { .. }));
    }
    assert!(matches!(world.get(&path()).await, Err(UpstreamError::Down(_))));
    world.pass(Duration::from_secs(30));
    assert_eq!(world.get(&path()).await.unwrap(), b"v1.0.0\n");
    assert!(matches!(world.get(&other(0).0).await, Err(UpstreamError::Held { .. })));
}
