//! What left, and what is known to be public.

use super::*;

#[test]
fn the_ledger_has_one_line_a_path_and_pages() {
    over_all(|place| async move {
        let mut stores = place.open();
        let firsts = (0..50).map(|n| {
            let stores = stores.clone();
            // Every path five times at once.
            tokio::spawn(async move {
                stores.records.ledger_first(&path(&format!("example.com/m{}", n % 10)), "user:a\tb\nc", "public").await.unwrap()
            })
        });
        let firsts = futures::future::join_all(firsts).await;
        assert_eq!(firsts.into_iter().filter(|first| *first.as_ref().unwrap() == Ledger::First).count(), 10);
        for _ in 0..2 {
            let again = stores.records.ledger_first(&path("example.com/m3"), "anonymous", "public").await.unwrap();
            assert_eq!(again, Ledger::Known);
            let all = stores.records.ledger(0, 100).await.unwrap();
            assert_eq!(all.len(), 10);
            assert!(all.iter().all(|line| line.principal == "user:a\u{fffd}b\u{fffd}c" && line.rule == "public"));
            let mut paged = Vec::new();
            while let page = stores.records.ledger(paged.len() as u64, 3).await.unwrap()
                && !page.is_empty()
            {
                assert!(page.len() <= 3);
                paged.extend(page);
            }
            assert_eq!(paged, all);
            assert_eq!(stores.records.ledger(10, 5).await.unwrap(), []);
            drop(stores);
            stores = place.open();
        }
    });
}

#[test]
fn known_modules_are_found_exactly_and_by_what_lies_above_them_in_any_case() {
    over_all(|place| async move {
        let stores = place.open();
        for name in ["example.com/lib/v2", "github.com/Azure/sdk", "example.org"] {
            stores.records.known_put(&path(name)).await.unwrap();
        }
        let known = stores.records.known();
        drop(known);
        drop(stores);
        let stores = place.open();
        let known = stores.records.known();
        for (name, is) in
            [("example.com/lib/v2", true), ("example.com/lib", false), ("github.com/Azure/sdk", true), ("github.com/azure/sdk", false)]
        {
            assert_eq!(known.contains(&path(name)), is, "{name}");
        }
        for (prefix, is) in [
            ("example.com", true),
            ("example.com/lib", true),
            ("example.com/lib/v2", true),
            ("example.com/li", false),
            ("example.co", false),
            ("github.com/azure", true),
            ("github.com/azure/sdk", true),
            ("github.com/azure/sdk/x", false),
            ("example.org", true),
        ] {
            assert_eq!(known.any_at_or_below(prefix), is, "{prefix}");
        }
        for (name, is) in
            [("example.com/lib/v2", true), ("example.com/lib", false), ("github.com/azure/sdk", true), ("github.com/azure", false)]
        {
            assert_eq!(known.any_at(name), is, "{name}");
        }
        for (from, to, is) in [
            ("github.com/azure/sdk", "github.com/azure/sdl", true),
            ("github.com/azure/a", "github.com/azure/sdk", false),
            ("github.com/azure/sdk/", "github.com/azure/sdk0", false),
            ("example.com/lib/v", "example.com/lib/w", true),
        ] {
            assert_eq!(known.any_between(from, to, &|_| true), is, "{from} {to}");
        }
        let mut shown = Vec::new();
        let seen = std::cell::RefCell::new(&mut shown);
        assert!(!known.any_between("github.com/a", "github.com/b", &|path| {
            seen.borrow_mut().push(path.to_owned());
            false
        }));
        assert_eq!(shown, ["github.com/azure/sdk"], "in lower case");
        stores.records.known_put(&path("new.example.com/x")).await.unwrap();
        assert!(known.any_at_or_below("new.example.com"));
    });
}
