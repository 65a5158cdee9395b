use super::row::FAILURES;
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

    /// The base answers, and these may be asked for.
    fn answered(&self, module: &str) -> Pass {
        self.trial().answered(Some(&module.parse().unwrap()))
    }

    /// No ask of this module is let through.
    fn refuses_for(&self, module: &str) -> bool {
        self.breaker.admit(Some(&module.parse().unwrap())).is_err()
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
fn one_at_a_time_tries_it_and_what_goes_well_then_closes_it() {
    let world = due();
    let trial = world.trial();
    assert!(world.refuses(), "somebody tries it");
    assert_eq!(world.breaker.state(), BreakerState::HalfOpen);
    let pass = trial.answered(None);
    assert_eq!((world.breaker.state(), world.breaker.down().is_some()), (BreakerState::HalfOpen, true), "a base says little");
    pass.settle(Went::Well);
    assert_eq!((world.breaker.state(), world.breaker.down()), (BreakerState::Closed, None));
    // The row begins anew.
    (1..FAILURES).for_each(|_| world.fail());
    assert!(!world.refuses());
    world.fail();
    assert!(world.refuses());
}

#[test]
fn when_the_base_answers_a_few_modules_that_differ_are_let_through_at_once() {
    let world = due();
    let mut passes = vec![world.answered("example.com/a")];
    assert!(world.refuses_for("example.com/a") && world.refuses_for("example.com/a/v2") && world.refuses_for("example.com"));
    passes.extend(["example.com/b", "example.com/c"].map(|module| world.begin(module)));
    assert!(world.refuses_for("example.com/d"), "enough of them wait");
    // One that is given up makes room, as does a long answer that has begun.
    drop(passes.pop());
    passes.push(world.begin("example.com/d"));
    assert!(world.refuses_for("example.com/e"));
    passes[0].begun();
    passes.push(world.begin("example.com/e"));
    passes.remove(0).settle(Went::Well);
    assert!(world.breaker.down().is_none());
}

#[test]
fn a_module_that_fails_keeps_no_other_from_closing_it() {
    let world = due();
    world.answered("example.com/broken").settle(badly());
    assert_eq!(world.breaker.state(), BreakerState::HalfOpen);
    assert!(world.refuses_for("example.com/broken"), "it is one failure however often it is asked for");
    world.begin("example.com/m").settle(Went::Well);
    assert!(world.breaker.down().is_none());
}

#[test]
fn while_modules_fail_though_the_base_answers_the_waits_go_on_growing() {
    let world = due();
    let mut waited = WAIT_FIRST;
    for tries in 1..12 {
        world.answered("example.com/a").settle(badly());
        ["example.com/b", "example.com/c"].iter().for_each(|module| world.begin(module).settle(badly()));
        assert_eq!(world.breaker.state(), BreakerState::Open, "{tries}");
        waited = wait(tries, u32::MAX);
        world.pass(waited / 2 - Duration::from_millis(1));
        assert!(world.refuses_for("example.com/d"), "{tries}");
        world.pass(waited / 2 + Duration::from_millis(1));
    }
    assert_eq!(waited, WAIT_MAX);
    // No connection at all: whatever is asked for next.
    world.answered("example.com/a").settle(unreached());
    assert_eq!(world.breaker.state(), BreakerState::Open);
}

#[test]
fn an_outage_that_follows_soon_goes_on_with_the_waits_of_the_last_one() {
    for (after, tries) in [(RELAPSE - Duration::from_millis(1), 5), (RELAPSE, 0)] {
        let world = due();
        for tries in 1..5 {
            world.trial().failed("still".to_owned());
            world.pass(wait(tries, u32::MAX));
        }
        world.answered("example.com/m").settle(Went::Well);
        world.pass(after);
        (0..FAILURES).for_each(|_| world.fail());
        world.pass(wait(tries, 0) - Duration::from_millis(1));
        assert!(world.refuses(), "{after:?}");
        world.pass(wait(tries, u32::MAX) - wait(tries, 0) + Duration::from_millis(1));
        assert!(!world.refuses(), "{after:?}");
    }
}

#[test]
fn what_was_let_through_in_an_earlier_round_takes_no_place_in_a_later_one() {
    let world = due();
    let early = world.answered("example.com/a");
    world.begin("example.com/b").settle(unreached());
    world.pass(WAIT_MAX);
    let late = world.answered("example.com/a");
    drop(early);
    assert!(world.refuses_for("example.com/a"));
    late.settle(Went::Well);
    assert!(world.breaker.down().is_none());
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
fn a_limit_on_the_rate_that_several_modules_meet_holds_back_everything_up_to_a_bound() {
    let world = World::new();
    let (before, again) = (world.begin("example.com/m"), world.begin("example.com/m"));
    for module in ["example.com/a", "example.com/a", "example.com/a/v2", "example.com/b"] {
        world.begin(module).settle(limited(Duration::from_secs(20)));
        assert!(!world.refuses(), "{module}: it may be about that one");
    }
    world.begin("example.com/c").settle(limited(Duration::from_secs(20)));
    assert!(world.refuses(), "three suffice");
    before.settle(Went::Well);
    assert!(world.refuses(), "an answer to what was asked before does not end it");
    world.pass(Duration::from_secs(20) - Duration::from_millis(1));
    assert!(world.refuses());
    world.pass(Duration::from_millis(1));
    // One alone, that comes late, makes it no longer.
    again.settle(limited(Duration::MAX));
    world.answered("example.com/a").settle(limited(Duration::MAX));
    world.begin("example.com/b").settle(limited(Duration::MAX));
    world.pass(RATE_HOLD_MAX - Duration::from_millis(1));
    assert!(world.refuses());
    world.pass(Duration::from_millis(1));
    world.answered("example.com/a").settle(Went::Well);
    assert!(!world.refuses());
    for module in ["example.com/a", "example.com/b", "example.com/c"] {
        world.begin(module).settle(limited(Duration::ZERO));
    }
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
