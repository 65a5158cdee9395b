//! What every family must be.

use super::*;

/// A page on which every family has a sample.
fn page() -> String {
    let metrics = Metrics::new().unwrap();
    metrics.http.answered(&Answered {
        kind: "zip",
        owner: OwnerClass::None,
        status: 404,
        cache: Some("hit"),
        rule: Some("pattern"),
        bytes_in: 1,
        bytes_out: 2,
        duration: std::time::Duration::from_millis(3),
    });
    metrics.audit.event("publish");
    metrics.text().unwrap()
}

#[test]
fn every_family_has_a_row_in_the_documents_and_a_name_by_the_conventions() {
    let documents = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap();
    let metrics = Metrics::new().unwrap();
    assert!(metrics.names().len() > 10);
    for name in metrics.names() {
        assert!(documents.contains(&format!("| `{name}` |")), "{name} has no row in docs/operating.md");
        assert!(name.starts_with("modgate_") || name.starts_with("process_"), "{name}");
    }
    for row in documents.lines().filter_map(|line| line.strip_prefix("| `modgate_")) {
        let name = format!("modgate_{}", row.split('`').next().unwrap());
        assert!(metrics.names().contains(&name), "{name} is documented and is not there");
    }
    let page = page();
    for name in metrics.names() {
        assert!(page.contains(&format!("# TYPE {name} ")), "{name} has no sample after all that can be counted was");
    }
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
    }
}

#[test]
fn a_fill_is_in_flight_as_long_as_its_guard_lives() {
    let metrics = Metrics::new().unwrap();
    let fill = metrics.fills.begin();
    assert!(metrics.text().unwrap().contains("modgate_fills_in_flight 1\n"));
    drop(fill);
    assert!(metrics.text().unwrap().contains("modgate_fills_in_flight 0\n"));
}

#[test]
fn evictions_are_counted_to_what_the_cache_counted_and_never_back() {
    let metrics = Metrics::new().unwrap();
    for (evicted, shown) in [(3, 3), (3, 3), (5, 5), (4, 5)] {
        metrics.cache.state(&CacheState { evicted, ..CacheState::default() });
        assert!(metrics.text().unwrap().contains(&format!("modgate_cache_evictions_total {shown}\n")));
    }
}

#[test]
fn a_breaker_that_is_open_and_stays_so_opened_once() {
    let metrics = Metrics::new().unwrap();
    for state in [BreakerState::Open, BreakerState::Open, BreakerState::HalfOpen, BreakerState::Open, BreakerState::Closed] {
        metrics.upstream.breaker(UpstreamRole::Sumdb, state);
    }
    let page = metrics.text().unwrap();
    assert!(page.contains("modgate_upstream_breaker_opened_total{upstream=\"sumdb\"} 2\n"), "{page}");
    assert!(page.contains("modgate_upstream_breaker_state{upstream=\"sumdb\"} 0\n"), "{page}");
}
