//! Settings that are read again.

use super::*;

fn reloaded(old: &str, new: &str) -> Reloaded {
    file(old).unwrap().replaced_by(file(new).unwrap()).unwrap()
}

#[test]
fn keys_whose_values_changed_are_named_and_no_secret() {
    let user = |hash: &str| format!("[users.alice]\npassword_hash = \"{hash}\"\n");
    let old =
        user(HASH) + "[owners.a]\nmembers = [\"alice\"]\n[owners.b]\n[private]\npatterns = [\"a.example\"]\n[cache]\nfresh = \"1m\"\n";
    let other_hash = HASH.replace("0123", "3210");
    let new = user(&other_hash)
        + "[owners.a]\nmembers = []\n[owners.c]\n[users.bob]\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$0123456789abcdefghijklmnopqrstuvwxyzABCDEFE\"\n\
           [private]\npatterns = [\"b.example\"]\n[cache]\nfresh = \"2m\"\n";
    let reloaded = reloaded(&old, &new);
    let changed: Vec<_> = reloaded.changed.iter().map(String::as_str).collect();
    assert_eq!(
        changed,
        ["private.patterns", "cache.fresh", "owners.b", "owners.c", "owners.a.members", "users.alice.password_hash", "users.bob"]
    );
    assert_eq!(reloaded.kept, []);
    assert_eq!(reloaded.loaded.config.cache.fresh, Duration::from_secs(120));
}

#[test]
fn lines_that_moved_change_nothing_but_where_values_stand() {
    let text = "[private]\npatterns = [\"a.example\"]\n";
    let reloaded = reloaded(text, &format!("# a comment\n\n{text}"));
    assert_eq!(reloaded.changed, Vec::<String>::new());
    let source = &reloaded.loaded.config.private.patterns[0].source;
    assert_eq!(source.to_string(), "/etc/x/modgate.toml:4");
}

#[test]
fn what_is_opened_once_keeps_its_value_and_is_told_with_its_line() {
    let old = "data_dir = \"/a\"\n[server]\nlisten = [\"127.0.0.1:1\"]\n";
    let new = "data_dir = \"/b\"\n[server]\nlisten = [\"127.0.0.1:2\"]\ntls_listen = [\"127.0.0.1:3\"]\ntls = \"local\"\n\
               admin_listen = \"127.0.0.1:4\"\n[log]\nformat = \"text\"\nlevel = \"warn\"\n";
    let reloaded = reloaded(old, new);
    let kept: Vec<_> = reloaded.kept.iter().map(|kept| format!("{} {}", kept.source, kept.key)).collect();
    let told = [(1, "data_dir"), (3, "server.listen"), (4, "server.tls_listen"), (6, "server.admin_listen"), (8, "log.format")];
    assert_eq!(kept, told.map(|(line, key)| format!("/etc/x/modgate.toml:{line} {key}")));
    assert_eq!(reloaded.changed, ["server.tls", "log.level"]);
    let config = reloaded.loaded.config;
    assert_eq!(config.data_dir, Path::new("/a"));
    assert_eq!(config.server.listen, ["127.0.0.1:1".parse().unwrap()]);
    assert!(config.server.tls_listen.is_empty() && config.server.admin_listen.is_none());
    assert_eq!((config.log.format, config.log.level), (LogFormat::Auto, tracing::Level::WARN));
}

#[test]
fn what_does_not_go_with_what_is_kept_is_refused() {
    let old = "[server]\ntls_listen = [\"127.0.0.1:1\"]\ntls = \"local\"\n";
    let error = file(old).unwrap().replaced_by(file("[server]\nlisten = [\"127.0.0.1:2\"]\n").unwrap()).unwrap_err();
    assert!(error.to_string().contains("server.tls: expected a certificate, since server.tls_listen is set"), "{error}");
}

#[test]
fn every_key_that_is_kept_is_one() {
    for key in keys::FIXED {
        assert!(keys::find(key).is_some(), "{key}");
    }
}
