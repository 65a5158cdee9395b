use super::*;

/// A breaker and the clock that it goes by.
struct World {
    breaker: Arc<Breaker>,
    now: Arc<Mutex<Instant>>,
}

impl World {
    fn new() -> Self {
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = Arc::clone(&now);
        let breakers = Breakers::by(Arc::new(move || *clock.lock().unwrap()));
        Self { breaker: breakers.of(&"https://a.example/x".parse().unwrap(), UpstreamRole::Modules), now }
    }

    fn pass(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }

    fn ask(&self, went: Went) {
        self.breaker.admit().unwrap_or_else(|down| panic!("{down}")).settle(went);
    }

    fn fail(&self) {
        self.ask(badly(None));
    }

    fn refuses(&self) -> bool {
        self.breaker.admit().is_err()
    }
}

fn badly(retry_after: Option<Duration>) -> Went {
    Went::Badly { why: "a.example answered 503".to_owned(), retry_after }
}

/// Down, and the time of the first try has come.
fn due() -> World {
    let world = World::new();
    (0..FAILURES).for_each(|_| world.fail());
    world.pass(WAIT_FIRST);
    world
}

#[test]
fn it_opens_after_failures_in_a_row_and_not_before() {
    let world = World::new();
    (1..FAILURES).for_each(|_| world.fail());
    assert!(!world.refuses());
    world.ask(Went::Well);
    (1..FAILURES).for_each(|_| world.fail());
    assert!(world.breaker.down().is_none());
    // What tells nothing neither ends the row nor belongs to it.
    world.ask(Went::Neither);
    assert!(!world.refuses());
    world.fail();
    let down = world.breaker.admit().err().unwrap();
    assert_eq!((down.host.as_str(), down.role, down.why.as_str()), ("a.example", UpstreamRole::Modules, "a.example answered 503"));
    let told = Down { since: SystemTime::UNIX_EPOCH, ..down }.to_string();
    assert_eq!(told, "a.example is down since 1970-01-01T00:00:00Z and was not asked (a.example answered 503)");
}

#[test]
fn one_at_a_time_tries_it_and_a_success_closes_it() {
    let world = due();
    let trying = world.breaker.admit().unwrap_or_else(|down| panic!("{down}"));
    assert!(world.refuses(), "somebody tries it");
    trying.settle(Went::Well);
    assert!(!world.refuses() && world.breaker.down().is_none());
    // The row begins anew.
    (1..FAILURES).for_each(|_| world.fail());
    assert!(!world.refuses());
}

#[test]
fn a_try_that_is_given_up_leaves_the_next_one_free() {
    let world = due();
    drop(world.breaker.admit());
    assert!(!world.refuses());
    world.ask(Went::Neither);
    assert!(!world.refuses());
}

#[test]
fn a_try_that_is_vouched_for_ends_the_outage_and_counts_as_any_other_ask_from_then_on() {
    let world = due();
    let mut trying = world.breaker.admit().unwrap_or_else(|down| panic!("{down}"));
    trying.vouch();
    assert!(!world.refuses() && world.breaker.down().is_none());
    trying.settle(badly(None));
    (2..FAILURES).for_each(|_| world.fail());
    assert!(!world.refuses());
    world.fail();
    assert!(world.refuses());
    // One that tries nothing vouches for nothing.
    let world = World::new();
    let mut asking = world.breaker.admit().unwrap_or_else(|down| panic!("{down}"));
    (1..FAILURES).for_each(|_| world.fail());
    asking.vouch();
    asking.settle(badly(None));
    assert!(world.refuses());
}

#[test]
fn waits_grow_up_to_a_bound_and_differ() {
    for (tries, longest) in [(0, WAIT_FIRST), (1, WAIT_FIRST * 2), (5, WAIT_FIRST * 32), (6, WAIT_MAX), (u32::MAX, WAIT_MAX)] {
        assert_eq!(wait(tries, 0), longest / 2, "{tries}");
        assert_eq!(wait(tries, u32::MAX), longest, "{tries}");
    }
    let world = due();
    world.fail();
    world.pass(WAIT_FIRST - Duration::from_millis(1));
    assert!(world.refuses(), "twice the first wait, at least half of it");
    world.pass(WAIT_FIRST + Duration::from_millis(1));
    assert!(!world.refuses());
}

#[test]
fn a_late_failure_of_an_ask_from_before_makes_no_wait_longer_and_a_late_success_ends_the_outage() {
    let world = World::new();
    let late: Vec<_> = (0..3).map(|_| world.breaker.admit().unwrap_or_else(|down| panic!("{down}"))).collect();
    (0..FAILURES).for_each(|_| world.fail());
    let mut late = late.into_iter();
    late.next().unwrap().settle(badly(None));
    world.pass(WAIT_FIRST);
    let trying = world.breaker.admit();
    assert!(trying.is_ok());
    late.next().unwrap().settle(Went::Well);
    assert!(!world.refuses());
}

#[test]
fn a_wish_to_be_left_alone_is_heeded_at_once_up_to_a_bound() {
    let world = World::new();
    let before = world.breaker.admit().unwrap_or_else(|down| panic!("{down}"));
    world.ask(badly(Some(Duration::from_secs(20))));
    assert!(world.refuses(), "one failure suffices");
    before.settle(Went::Well);
    assert!(world.refuses(), "an answer to what was asked before does not end it");
    world.pass(Duration::from_secs(20) - Duration::from_millis(1));
    assert!(world.refuses());
    world.pass(Duration::from_millis(1));
    // The try may bring another wish.
    world.ask(badly(Some(Duration::MAX)));
    world.pass(RETRY_AFTER_MAX - Duration::from_millis(1));
    assert!(world.refuses());
    world.pass(Duration::from_millis(1));
    world.ask(Went::Well);
    assert!(!world.refuses());
    world.ask(badly(Some(Duration::ZERO)));
    assert!(!world.refuses(), "no wish at all");
}

#[test]
fn each_proxy_and_each_side_of_it_has_its_own_and_keeps_it() {
    let breakers = Breakers::default();
    let of = |url: &str, role| breakers.clone().of(&url.parse().unwrap(), role);
    let one = of("https://a.example", UpstreamRole::Modules);
    (0..FAILURES).for_each(|_| one.admit().unwrap_or_else(|down| panic!("{down}")).settle(badly(None)));
    assert!(of("https://a.example", UpstreamRole::Modules).down().is_some(), "the same, whoever asks for it");
    for (url, role) in [
        ("https://a.example", UpstreamRole::Sumdb),
        ("https://a.example/x", UpstreamRole::Modules),
        ("http://a.example", UpstreamRole::Modules),
    ] {
        assert!(of(url, role).down().is_none(), "{url} {role:?}");
    }
}
