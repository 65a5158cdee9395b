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

    fn begin(&self, module: &str) -> Pass {
        pass(&self.breaker, module)
    }

    /// The upstream cannot be reached.
    fn fail(&self) {
        self.begin("example.com/m").settle(unreached());
    }

    fn refuses(&self) -> bool {
        self.breaker.admit(None).is_err()
    }

    fn trial(&self) -> Trial {
        match self.breaker.admit(None) {
            Ok(Admitted::Tries(trial)) => trial,
            Ok(Admitted::Asks(_)) => panic!("it is not down"),
            Err(down) => panic!("{down}"),
        }
    }
}

fn pass(breaker: &Arc<Breaker>, module: &str) -> Pass {
    match breaker.admit(Some(&module.parse().unwrap())) {
        Ok(Admitted::Asks(pass)) => pass,
        Ok(Admitted::Tries(_)) => panic!("it is down"),
        Err(down) => panic!("{down}"),
    }
}

fn unreached() -> Went {
    Went::Unreached { why: "a.example failed: refused".to_owned() }
}

fn badly() -> Went {
    Went::Badly { why: "a.example answered 503".to_owned(), limited: None }
}

fn limited(wish: Duration) -> Went {
    Went::Badly { why: "a.example answered 429".to_owned(), limited: Some(wish) }
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
    world.begin("example.com/m").settle(Went::Well);
    (1..FAILURES).for_each(|_| world.fail());
    assert!(world.breaker.down().is_none());
    // What tells nothing neither ends the row nor belongs to it.
    world.begin("example.com/m").settle(Went::Neither);
    assert!(!world.refuses());
    world.begin("example.com/m").settle(badly());
    let down = world.breaker.admit(None).err().unwrap();
    assert_eq!((down.host.as_str(), down.role, down.why.as_str()), ("a.example", UpstreamRole::Modules, "a.example answered 503"));
    let told = Down { since: SystemTime::UNIX_EPOCH, ..down }.to_string();
    assert_eq!(told, "a.example is down since 1970-01-01T00:00:00Z and was not asked (a.example answered 503)");
}

#[test]
fn a_module_that_fails_again_and_again_is_one_failure_with_all_above_and_below_it() {
    let world = World::new();
    for module in ["example.com/m/sub", "example.com/m/sub", "example.com/m", "example.com/m/sub/deep/v2", "example.com"] {
        (0..FAILURES).for_each(|_| world.begin(module).settle(badly()));
        assert!(!world.refuses(), "{module}");
    }
    // What names no module is one, too.
    let unnamed = || match world.breaker.admit(None) {
        Ok(Admitted::Asks(pass)) => pass,
        _ => panic!("it is down"),
    };
    (0..FAILURES).for_each(|_| unnamed().settle(badly()));
    for module in ["example.net/m", "example.org/m"] {
        world.begin(module).settle(badly());
        assert!(!world.refuses(), "{module}");
    }
    world.begin("example.org/mm").settle(badly());
    assert!(world.refuses());
}

#[test]
fn one_at_a_time_tries_it_and_any_answer_closes_it() {
    let world = due();
    let trial = world.trial();
    assert!(world.refuses(), "somebody tries it");
    assert_eq!(world.breaker.state(), BreakerState::HalfOpen);
    let pass = trial.answered(None);
    assert!(!world.refuses() && world.breaker.down().is_none());
    // The row begins anew, with how the ask itself goes.
    pass.settle(badly());
    (2..FAILURES).for_each(|_| world.fail());
    assert!(!world.refuses());
    world.fail();
    assert!(world.refuses());
}

#[test]
fn a_try_that_is_given_up_leaves_the_next_one_free() {
    let world = due();
    drop(world.trial());
    assert_eq!(world.breaker.state(), BreakerState::Open);
    drop(world.trial());
}

#[test]
fn waits_grow_up_to_a_bound_and_differ() {
    for (tries, longest) in [(0, WAIT_FIRST), (1, WAIT_FIRST * 2), (5, WAIT_FIRST * 32), (6, WAIT_MAX), (u32::MAX, WAIT_MAX)] {
        assert_eq!(wait(tries, 0), longest / 2, "{tries}");
        assert_eq!(wait(tries, u32::MAX), longest, "{tries}");
    }
    let world = due();
    let down = world.trial().failed("still".to_owned());
    assert_eq!((down.why.as_str(), world.breaker.down()), ("still", Some(down.clone())));
    world.pass(WAIT_FIRST - Duration::from_millis(1));
    assert!(world.refuses(), "twice the first wait, at least half of it");
    world.pass(WAIT_FIRST + Duration::from_millis(1));
    assert!(!world.refuses());
}

#[test]
fn a_late_failure_of_an_ask_from_before_makes_no_wait_longer_and_a_late_success_ends_the_outage() {
    let world = World::new();
    let late: Vec<_> = (0..2).map(|_| world.begin("example.com/m")).collect();
    (0..FAILURES).for_each(|_| world.fail());
    let mut late = late.into_iter();
    late.next().unwrap().settle(unreached());
    world.pass(WAIT_FIRST);
    let trial = world.trial();
    late.next().unwrap().settle(Went::Well);
    assert!(!world.refuses());
    // A try that ends after that takes nothing back.
    trial.failed("too late".to_owned());
    assert!(!world.refuses() && world.breaker.down().is_none());
}

#[test]
fn a_limit_on_the_rate_holds_back_everything_at_once_up_to_a_bound() {
    let world = World::new();
    let (before, again) = (world.begin("example.com/m"), world.begin("example.com/m"));
    world.begin("example.com/m").settle(limited(Duration::from_secs(20)));
    assert!(world.refuses(), "one answer suffices");
    before.settle(Went::Well);
    assert!(world.refuses(), "an answer to what was asked before does not end it");
    world.pass(Duration::from_secs(20) - Duration::from_millis(1));
    assert!(world.refuses());
    // One that comes late makes it longer.
    again.settle(limited(Duration::MAX));
    world.pass(RATE_HOLD_MAX - Duration::from_millis(1));
    assert!(world.refuses());
    world.pass(Duration::from_millis(1));
    world.trial().answered(None).settle(limited(Duration::ZERO));
    assert!(!world.refuses(), "no wish at all");
}

#[test]
fn each_proxy_and_each_side_of_it_has_its_own_and_keeps_it() {
    let breakers = Breakers::default();
    let of = |url: &str, role| breakers.clone().of(&url.parse().unwrap(), role);
    let one = of("https://a.example", UpstreamRole::Modules);
    (0..FAILURES).for_each(|_| pass(&one, "example.com/m").settle(unreached()));
    assert!(of("https://a.example", UpstreamRole::Modules).down().is_some(), "the same, whoever asks for it");
    for (url, role) in [
        ("https://a.example", UpstreamRole::Sumdb),
        ("https://a.example/x", UpstreamRole::Modules),
        ("http://a.example", UpstreamRole::Modules),
    ] {
        assert!(of(url, role).down().is_none(), "{url} {role:?}");
    }
}
