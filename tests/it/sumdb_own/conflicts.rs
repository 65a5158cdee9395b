//! The log's word stands, whatever a version becomes after it was recorded.

use super::*;

const ALPHA: &str = "lookup/example.net/alpha@v1.2.0";

/// What go with nothing but our key makes of a version.
fn refused_by_go(gateway: &Gateway, version: &str) {
    let go = Go::new(&format!("{},off", gateway.url()), &key(gateway).to_string());
    go.run(&["mod", "download", version]).says(&["checksum mismatch"]).failed();
}

fn zips_asked(upstream: &Upstream) -> usize {
    upstream.seen().iter().filter(|request| request.target.contains("/@v/")).count()
}

#[test]
fn a_public_record_is_copied_without_a_file_of_the_module_and_answered_with_the_database_dead() {
    let (gateway, upstream) = world("");
    let known = looked_up(&gateway, &ask(&gateway, None, ALPHA));
    assert_eq!(zips_asked(&upstream), 0, "{:?}", upstream.seen());
    upstream.dead();
    assert_eq!(looked_up(&gateway, &ask(&gateway, None, ALPHA)), known);
    // Nothing else of the module is here.
    assert_eq!(gateway.ask("GET", "/example.net/alpha/@v/v1.2.0.zip", &[]).status, 502);
}

#[test]
fn what_was_recorded_of_a_public_module_stands_when_another_is_hosted_by_its_name_and_that_is_told_once() {
    let (gateway, _upstream) = world("");
    let public = looked_up(&gateway, &ask(&gateway, None, ALPHA));
    let mine = module_of("example.net/alpha", "v1.2.0", "package mine\n");
    publish(&gateway, "pub", &mine);
    // What is published is what is given out; no client that verifies takes it.
    for _ in 0..2 {
        assert_eq!(looked_up(&gateway, &ask(&gateway, None, ALPHA)), public);
        let zip = gateway.ask("GET", "/example.net/alpha/@v/v1.2.0.zip", &[]);
        assert!(zip.status == 200 && zip.body == mine.zip());
    }
    refused_by_go(&gateway, "example.net/alpha@v1.2.0");
    assert_eq!(size(&gateway), 1);
    gateway.log_with(&["our checksum database has another record of this version, which stands: clients refuse it"]);
    let told = events(&gateway, "integrity");
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told["kind"].as_str(), told["path"].as_str()), (Some("checksum-log"), Some("example.net/alpha@v1.2.0")));
    let recorded = public.1.split_ascii_whitespace().nth(2).expect("a hash");
    let text = told["text"].as_str().expect("a text");
    assert!(text.contains(&format!("our checksum database has {recorded}")) && text.matches("h1:").count() == 2, "{text}");
}

#[test]
fn what_was_deleted_before_it_was_given_out_leaves_no_record() {
    let (gateway, _upstream) = world("");
    let (path, lookup) = ("corp.example.com/open", "lookup/corp.example.com/open@v1.0.0");
    publish(&gateway, "pub", &module(path));
    // Neither of these gives it out.
    assert_eq!(gateway.ask("HEAD", "/corp.example.com/open/@v/v1.0.0.zip", &[]).status, 200);
    assert_eq!(gateway.ask("GET", "/corp.example.com/open/@v/v1.0.0.info", &[]).status, 200);
    let admin = gateway.admin();
    let target = format!("{}/api/v1/packages/pub/go/{path}/v1.0.0", gateway.url());
    curl::curl(&["--user", &format!("{}:{}", admin.user, admin.password), "-X", "DELETE"], &target, None).is(204);
    assert_eq!(ask(&gateway, None, lookup).status, 404);
    publish(&gateway, "pub", &module_of(path, "v1.0.0", "package other\n"));
    looked_up(&gateway, &ask(&gateway, None, lookup));
    Go::new(&gateway.url(), &key(&gateway).to_string()).run(&["mod", "download", &format!("{path}@v1.0.0")]).ok();
    assert_eq!((size(&gateway), events(&gateway, "integrity").len()), (1, 0));
}

#[test]
fn what_was_recorded_on_first_use_stands_when_upstream_has_another_file() {
    for settings in ["[upstream]\nverify = \"off\"\n", "[upstream]\nunverified = [\"example.net/*\"]\n"] {
        let (gateway, upstream) = world(settings);
        upstream.turn(Hostile::LookupMissing);
        let first = looked_up(&gateway, &ask(&gateway, None, ALPHA));
        let original = gateway.ask("GET", "/example.net/alpha/@v/v1.2.0.zip", &[]).body;
        upstream.turn(Hostile::OtherZip);
        // What is kept goes on as it is; what is fetched anew is believed as it comes, since nobody is asked.
        assert!(gateway.ask("GET", "/example.net/alpha/@v/v1.2.0.zip", &[]).body == original);
        gateway.cli(&["refresh", "--purge", "example.net/alpha"]).ok();
        let other = gateway.ask("GET", "/example.net/alpha/@v/v1.2.0.zip", &[]);
        assert!(other.status == 200 && other.body != original, "{settings}");
        assert_eq!(looked_up(&gateway, &ask(&gateway, None, ALPHA)), first, "{settings}");
        refused_by_go(&gateway, "example.net/alpha@v1.2.0");
        let marked = events(&gateway, "sumdb-first-use");
        let [marked] = &marked[..] else { panic!("{settings}: {marked:?}") };
        assert!(first.1.contains(marked["zip"].as_str().expect("a hash")), "{marked}");
    }
}
