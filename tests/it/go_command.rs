//! The real go command against the fixtures, and through the gateway.

use crate::support::gateway::Gateway;
use crate::support::scenarios::{self, GATEWAY_SETTINGS, Needs, Scenario, World};
use crate::support::stand_in::StandIn;
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips;

/// The scenarios that need no hosted modules.
fn public() -> Vec<Scenario> {
    scenarios::all().into_iter().filter(|s| s.needs == Needs::Public).collect()
}

/// Those of them that neither choose their own GOPROXY nor ask for what is nowhere.
fn over_any_proxy() -> Vec<Scenario> {
    public().into_iter().filter(|s| !s.name.starts_with("then_") && !s.name.starts_with("what_is_absent")).collect()
}

#[test]
fn the_fixture_itself_satisfies_every_public_scenario() {
    let upstream = Upstream::start();
    upstream.tolerate_private();
    let growing = scenarios::run(&World::direct(&upstream), &public());
    let looked_up = |module: &str| upstream.seen().iter().any(|r| r.target.starts_with("/sumdb/") && r.target.contains(module));
    assert!(looked_up("/lookup/golang.org/toolchain@v0.0.1-go1.999fixture.linux-amd64"));
    assert!(looked_up("/lookup/example.net/alpha@v1.2.0"));
    assert!(looked_up("/tile/8/0/"));

    let upstream = Upstream::start_with(zips::load("modules"), Tree::Complete);
    upstream.tolerate_private();
    let complete = scenarios::run(&World::direct(&upstream), &public());
    scenarios::same("two upstreams over the same modules", &growing, &complete);
}

#[test]
fn the_recorder_sees_what_go_leaks_without_a_gateway() {
    let upstream = Upstream::start();
    upstream.tolerate_private();
    let leaky = public().into_iter().find(|s| s.name == "updates_are_listed_beside_an_unpublished_replacement").expect("it is there");
    scenarios::run(&World::direct(&upstream), &[leaky]);
    upstream.forbid(&["corp.example.com/unpublished"]);
    assert!(!upstream.violations().is_empty());
    upstream.tolerate_private();
}

#[test]
fn a_stand_in_satisfies_every_scenario_and_leaks_nothing() {
    let upstream = Upstream::start();
    let stand_in = StandIn::start(&upstream);
    let world = World::stand_in(&stand_in, &upstream);
    let seen = scenarios::run(&world, &scenarios::all());
    let owner_base = World { goproxy: format!("{}/api/packages/open/go", stand_in.url()), ..world };
    scenarios::same("the root base, and an owner's", &seen, &scenarios::run(&owner_base, &over_any_proxy()));

    let upstream = Upstream::start();
    upstream.tolerate_private();
    let direct = scenarios::run(&World::direct(&upstream), &public());
    scenarios::same("direct, and through a stand-in", &direct, &seen);
}

#[test]
fn every_scenario_passes_live_then_with_the_upstream_failing_or_dead_then_after_a_restart() {
    let upstream = Upstream::start();
    // So short that what is mutable is stale, not fresh, when the upstream is away.
    let memory = "[cache]\nfresh = \"1s\"\nnot_found = \"1s\"\n";
    let mut gateway = Gateway::builder().upstream(&upstream).config(GATEWAY_SETTINGS).config(memory).start();
    gateway.publish_fixture();
    let world = World::through(&gateway, &upstream);
    let live = scenarios::run(&world, &scenarios::all());
    let owner = |owner: &str| format!("{}/api/packages/{owner}/go", gateway.url());
    for goproxy in [owner("open"), format!("{},{},direct", owner("open"), gateway.url())] {
        let seen = scenarios::run(&World { goproxy, ..world.clone() }, &over_any_proxy());
        scenarios::same("the root base, and others", &live, &seen);
    }

    upstream.fail(500);
    let failing = scenarios::run(&world, &scenarios::all());
    scenarios::same("live, and with the upstream failing", &live, &failing);

    upstream.dead();
    let dead = scenarios::run(&world, &scenarios::all());
    scenarios::same("live, and with the upstream dead", &live, &dead);

    gateway.restart();
    let restarted = scenarios::run(&world, &scenarios::all());
    scenarios::same("live, and restarted with the upstream dead", &live, &restarted);

    let upstream = Upstream::start();
    upstream.tolerate_private();
    let direct = scenarios::run(&World::direct(&upstream), &public());
    scenarios::same("direct, and through the gateway", &direct, &live);
}

#[test]
fn every_scenario_passes_for_clients_that_keep_the_public_database_and_their_look_ups_serve_those_that_have_ours() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(GATEWAY_SETTINGS).start();
    gateway.publish_fixture();
    let own = World::through(&gateway, &upstream);
    let public = own.clone().keeping_the_public_database();
    let live = scenarios::run(&public, &scenarios::all());
    upstream.dead();
    let dead = scenarios::run(&public, &scenarios::all());
    scenarios::same("live, and with the upstream dead", &live, &dead);
    // Nothing of it is in our database yet: its records are made of look-ups that were verified for others.
    let ours = scenarios::run(&own, &scenarios::all());
    scenarios::same("the public database, and ours", &live, &ours);
}
