use super::super::key::SignerKey;
use super::*;

#[test]
fn a_known_name_stands_for_its_key_and_an_alias_for_its_url_too() {
    for (name, key) in KNOWN {
        let database: Gosumdb = name.parse().unwrap();
        assert_eq!((database.key.name(), database.key.to_string().as_str(), &database.url), (*name, *key, &None));
        let elsewhere: Gosumdb = format!(" {name}  https://mirror.example.org/db ").parse().unwrap();
        assert_eq!(elsewhere.url.unwrap().as_str(), "https://mirror.example.org/db");
    }
    for (alias, setting) in ALIASES {
        assert_eq!(alias.parse::<Gosumdb>(), setting.parse());
        assert!(alias.parse::<Gosumdb>().unwrap().url.is_some());
    }
}

#[test]
fn any_other_name_needs_its_key_and_is_a_host_and_a_path() {
    let key = SignerKey::generate("log.example.org:8443").unwrap().verifier();
    assert_eq!(key.to_string().parse(), Ok(Gosumdb { key: key.clone(), url: None }));
    let refused = |text: &str| text.parse::<Gosumdb>().map(drop).unwrap_err();
    assert_eq!(refused(""), GosumdbError::Fields);
    assert_eq!(refused("a b c"), GosumdbError::Fields);
    assert_eq!(refused("sum.example.org"), GosumdbError::Key(KeyError::Malformed));
    for url in ["ftp://a.example", "a.example"] {
        assert_eq!(refused(&format!("{key} {url}")), GosumdbError::Url);
    }
    for host in ["https:/", "a/..", "a%2f", "a?b"] {
        let key = SignerKey::generate(host).unwrap().verifier();
        assert_eq!(refused(&key.to_string()), GosumdbError::Name, "{host}");
    }
}
