//! The shipped reference, what is printed, and texts of chance.

use proptest::prelude::*;

use super::*;

/// The reference with every `#key = …` and `#[table]` line in force.
fn reference_in_full() -> String {
    let in_force = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => rest.to_owned(),
        _ => line.to_owned(),
    };
    REFERENCE.lines().map(in_force).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_names_every_key_and_no_other_and_the_defaults_are_right() {
    let full = file(&reference_in_full()).unwrap();
    let defaults = file("").unwrap();
    let known = |key: &str| match key.split('.').collect::<Vec<_>>()[..] {
        [section @ ("owners" | "users"), _, ref key @ ..] => format!("{section}.*.{}", key.join(".")),
        _ => key.to_owned(),
    };
    let named: BTreeSet<String> =
        full.settings.iter().filter(|setting| setting.source != Source::Default).map(|setting| known(&setting.key)).collect();
    // `tls` stands as a word; its other form is in the comment.
    let every = keys::KEYS.iter().map(|key| key.name.to_owned()).filter(|name| !name.starts_with("server.tls."));
    assert_eq!(named, every.collect());
    assert!(REFERENCE.contains("{ cert = \"cert.pem\", key = \"key.pem\" }"));
    const EXAMPLES: &[&str] = &[
        "server.listen",
        "server.tls_listen",
        "server.tls",
        "server.public_url",
        "server.admin_listen",
        "server.trusted_proxies",
        "upstream.goproxy",
        "upstream.sumdb",
        "upstream.unverified",
        "upstream.proxy",
        "upstream.ca_file",
        "upstream.auth",
        "private.patterns",
        "private.public",
        "private.public_hosts",
        "sumdb.host",
        "sumdb.head_path",
    ];
    for setting in &defaults.settings {
        if !EXAMPLES.contains(&setting.key.as_str()) {
            let written = full.settings.iter().find(|other| other.key == setting.key).unwrap();
            assert_eq!(written.value, setting.value, "{}", setting.key);
        }
    }
}

#[test]
fn the_reference_as_it_stands_is_the_run_without_a_file() {
    let plain = |loaded: Loaded| loaded.settings.into_iter().map(|setting| (setting.key, setting.value)).collect::<Vec<_>>();
    let loaded = file(REFERENCE).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(plain(loaded), plain(load(&Flags::default(), &environment(&[])).unwrap()));
}

#[test]
fn what_is_printed_is_toml_that_says_the_same() {
    let printed = |loaded: &Loaded| loaded.settings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let text = "[server]\nlisten = [\"127.0.0.1:1\"]\n[private]\npatterns = ['a.example/\\\"b']\n[owners.a]\n";
    let text = text.replace("\\\"", "");
    let first = file(&text).unwrap();
    let again = file(&printed(&first)).unwrap();
    let values = |loaded: &Loaded| loaded.settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect::<Vec<_>>();
    assert_eq!(values(&first), values(&again));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = file(&text);
    }

    #[test]
    fn no_mutation_of_the_reference_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\"'=.,#\\n\\r\\\\a-z0-9*_é-]{0,3}", 0usize..6), 1..6)) {
        let mut text = reference_in_full();
        for (at, insert, removed) in edits {
            let chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            let tail = chars.iter().skip(at + removed);
            text = chars.iter().take(at).copied().chain(insert.chars()).chain(tail.copied()).collect();
        }
        if let Err(error) = file(&text) {
            prop_assert!(!error.to_string().is_empty());
            for line in error.to_string().lines() {
                let places = ["/etc/x/modgate.toml:", "default: ", "and "];
                prop_assert!(places.iter().any(|place| line.starts_with(place)), "{}", line);
            }
        }
    }
}
