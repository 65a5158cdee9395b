use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;

mod auth;
mod network;
mod reference;
mod reload;
mod verification;

/// A hash of the word `secret`, cheap to verify but not to guess.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$0123456789abcdefghijklmnopqrstuvwxyzABCDEFE";

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    Environment { variables, root: true, system_file: None }
}

fn file(text: &str) -> Result<Loaded, ConfigError> {
    load_text(text, Path::new("/etc/x/modgate.toml"), &Flags::default(), &environment(&[]))
}

/// Every problem of a file of this text, as printed, without the file's name.
fn problems(text: &str) -> Vec<String> {
    match file(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(|line| line.trim_start_matches("/etc/x/modgate.toml:").to_owned()).collect(),
    }
}

#[track_caller]
fn one_problem(text: &str) -> String {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

fn value_of(loaded: &Loaded, key: &str) -> String {
    loaded.settings.iter().find(|setting| setting.key == key).map(ToString::to_string).unwrap_or_default()
}

#[test]
fn a_run_without_a_file_listens_on_loopback_and_has_two_owners() {
    let loaded = load(&Flags::default(), &environment(&[("HOME", "/root")])).unwrap();
    let config = loaded.config;
    assert_eq!(config.file, None);
    assert_eq!(config.data_dir, Path::new("/var/lib/modgate"));
    assert_eq!(config.server.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.server.tls_listen, ["127.0.0.1:8443".parse().unwrap()]);
    assert_eq!(config.server.tls, Some(Tls::Local));
    let owners: Vec<_> = config.owners.iter().map(|(name, owner)| (name.as_str(), owner.visibility)).collect();
    assert_eq!(owners, [("default", Visibility::Public), ("private", Visibility::Private)]);
    assert!(config.users.is_empty());
    assert_eq!(config.upstream.goproxy.len(), 1);
    assert!(!config.upstream.goproxy[0].any_error);
    assert!(config.upstream.sumdb.is_some());
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn with_a_file_only_the_listeners_that_it_names_are_opened() {
    let config = Config::from_toml("[server]\nlisten = [\"127.0.0.1:9000\"]").unwrap();
    assert_eq!(config.server.listen.len(), 1);
    assert!(config.server.tls_listen.is_empty());
    assert!(config.owners.is_empty());
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let config = Config::from_toml("").unwrap();
    assert_eq!(config.server.drain, Duration::from_secs(30));
    assert_eq!(config.limits.upload, 500 << 20);
    assert_eq!(config.limits.header, 16 << 10);
    assert_eq!(config.limits.header_time, Duration::from_secs(10));
    assert_eq!(config.limits.idle, Duration::from_secs(75));
    assert_eq!(config.limits.stall, Duration::from_secs(60));
    assert_eq!(config.limits.connections, 10_000);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.upstream.stall_timeout, Duration::from_secs(30));
    assert!(config.private.claim_hosts && config.private.patterns.is_empty() && config.private.public.is_empty());
    assert_eq!(config.cache.max_size, 20 << 30);
    assert_eq!(config.cache.fresh, Duration::from_secs(60));
    assert_eq!(config.cache.not_found, Duration::from_secs(30));
    assert!(config.access.anonymous_read);
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert_eq!(config.log.format, LogFormat::Auto);
    assert!(config.log.access && !config.server.allow_plain);
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let flags = Flags { listen: vec!["127.0.0.1:3".into()], data_dir: Some("d".into()), ..Flags::default() };
    let environment = environment(&[
        ("MODGATE_SERVER__LISTEN", "127.0.0.1:2"),
        ("MODGATE_LIMITS__IDLE", "2s"),
        ("MODGATE_PRIVATE__PATTERNS", "a.example.com, b.example.com"),
        ("MODGATE_LOG__ACCESS", "false"),
        ("MODGATE_LIMITS__CONNECTIONS", "7"),
        ("MODGATE_CACHE__MAX_SIZE", "1000"),
    ]);
    let text = "data_dir = \"f\"\n[server]\nlisten = [\"127.0.0.1:1\"]\n[limits]\nidle = \"1s\"\nstall = \"1s\"\n";
    let loaded = load_text(text, Path::new("/e/m.toml"), &flags, &environment).unwrap();
    let config = &loaded.config;
    assert_eq!(config.server.listen, ["127.0.0.1:3".parse().unwrap()]);
    assert_eq!(config.data_dir, Path::new("d"));
    assert_eq!(config.limits.idle, Duration::from_secs(2));
    assert_eq!(config.limits.stall, Duration::from_secs(1));
    assert_eq!((config.log.access, config.limits.connections, config.cache.max_size), (false, 7, 1000));
    let patterns: Vec<_> = config.private.patterns.iter().map(|p| p.value.as_str()).collect();
    assert_eq!(patterns, ["a.example.com", "b.example.com"]);
    assert_eq!(value_of(&loaded, "server.listen"), "server.listen = [\"127.0.0.1:3\"]  # flag --listen");
    assert_eq!(value_of(&loaded, "limits.idle"), "limits.idle = \"2s\"  # env MODGATE_LIMITS__IDLE");
    assert_eq!(value_of(&loaded, "limits.stall"), "limits.stall = \"1s\"  # /e/m.toml:6");
    assert_eq!(value_of(&loaded, "limits.upload"), "limits.upload = \"500MiB\"  # default");
}

#[test]
fn an_element_of_a_list_knows_its_own_line() {
    let config = file("[private]\npatterns = [\n  # ours\n  \"corp.example.com\",\n\n  \"github.com/acme/*\",\n]\n").unwrap().config;
    let sources: Vec<_> = config.private.patterns.iter().map(|p| p.source.to_string()).collect();
    assert_eq!(sources, ["/etc/x/modgate.toml:4", "/etc/x/modgate.toml:6"]);
}

#[test]
fn every_error_is_told_at_once_with_line_key_and_nearest_key() {
    let text = "\
data_dri = \"x\"
[server]
lisen = []
allow_plain = \"true\"
drain = 30
[limits]
upload = \"500 apples\"
connections = 0
[servr]
x = 1
[owners.Acme]
[owners.acme]
visiblity = \"public\"
visibility = \"Public\"
members = [\"bob\", 3]
[users.bop]
password_hash = \"hunter2\"
[log]
level = \"warning\"
";
    let expected = [
        "1: data_dri: unknown key; did you mean data_dir?",
        "3: server.lisen: unknown key; did you mean server.listen?",
        "4: server.allow_plain: expected true or false, found \"true\"",
        "5: server.drain: expected a duration like \"30s\", \"5m\" or \"400d\" (units ms, s, m, h, d), found 30",
        "7: limits.upload: expected a size like \"20GiB\" or \"500MB\", or a number of bytes, found \"500 apples\"",
        "8: limits.connections: expected a whole number from 1 to 1000000, found 0",
        "9: servr: unknown key; did you mean server?",
        "11: owners.Acme: expected a name of 1 to 40 characters of a-z, 0-9 and -, not beginning with -, found \"Acme\"",
        "13: owners.acme.visiblity: unknown key; did you mean owners.acme.visibility?",
        "14: owners.acme.visibility: expected \"public\" or \"internal\" or \"private\", found \"Public\"; did you mean \"public\"?",
        "15: owners.acme.members: expected a string, found 3",
        "15: owners.acme.members: expected the name of a user in [users], found \"bob\"; did you mean bop?",
        "17: users.bop.password_hash: expected a password hash as `modgate password` prints it, $argon2id$…, found another text (not \
         repeated here): it is not a PHC string",
        "19: log.level: expected \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", found \"warning\"; did you mean \"warn\"?",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn a_right_key_in_the_wrong_section_is_pointed_to_its_own() {
    assert_eq!(one_problem("public_url = \"https://x.example\""), "1: public_url: unknown key; did you mean server.public_url?");
    assert_eq!(one_problem("[server]\nmax_size = 1"), "2: server.max_size: unknown key; did you mean cache.max_size?");
    let password = problems("[users.alice]\npassword = \"x\"");
    assert!(password.contains(&"2: users.alice.password: unknown key; did you mean users.alice.password_hash?".to_owned()), "{password:?}");
    assert_eq!(one_problem("[upstream]\nzzz = 1"), "2: upstream.zzz: unknown key");
    assert_eq!(one_problem("[upstream.goproxy]\nx = 1"), "1: upstream.goproxy: expected a string, a GOPROXY list, found a table");
    assert_eq!(one_problem("limits = 3"), "1: limits: expected a table, [limits], found 3");
    assert_eq!(one_problem("[[owners]]\n"), "1: owners: expected a table, [owners], found a list");
}

#[test]
fn what_is_not_toml_names_its_line() {
    let told = problems("[server]\nlisten = [\"127.0.0.1:1\"\n[limits]\nidle = \n");
    assert!(told.iter().all(|line| line.contains("not TOML")), "{told:#?}");
    assert!(problems("a = 1\na = 2")[0].starts_with("2: not TOML: duplicate key"), "{:?}", problems("a = 1\na = 2"));
}

#[test]
fn variables_that_are_no_settings_are_errors_only_where_they_look_like_ours() {
    let quiet = environment(&[("MODGATE_PORT", "tcp://10.0.0.1:80"), ("MODGATE_TOKEN", "x"), ("MODGATE_SERVICE_HOST", "h"), ("HOME", "/")]);
    assert!(load(&Flags::default(), &quiet).is_ok());
    let loud = environment(&[
        ("MODGATE_SERVER__LISTNE", "x"),
        ("MODGATE_OWNERS__A__VISIBILITY", "public"),
        ("MODGATE_LOG__ACCESS", "yes"),
        ("MODGATE_SERVER__LISTEN", "8080"),
    ]);
    let told = load(&Flags::default(), &loud).unwrap_err().to_string();
    let expected = "\
env MODGATE_OWNERS__A__VISIBILITY: owners.a.visibility: unknown key; owners and users are set in the file only
env MODGATE_SERVER__LISTNE: server.listne: unknown key; did you mean MODGATE_SERVER__LISTEN?
env MODGATE_SERVER__LISTEN: server.listen: expected an IP address and a port, like \"127.0.0.1:8080\" or \"[::1]:8080\", found \
\"8080\"; for every interface write \"0.0.0.0:8080\"
env MODGATE_LOG__ACCESS: log.access: expected true or false, found \"yes\"";
    assert_eq!(told, expected);
}

#[test]
fn a_pattern_that_takes_in_a_public_or_shared_host_stops_the_start() {
    for (pattern, host) in [
        ("github.com/*", "host: github.com,"),
        ("GitHub.com", "host: github.com,"),
        ("*.com", "gist.github.com and "),
        ("k8s.io", "k8s.io"),
        ("*", "more"),
        ("*/*", "more"),
    ] {
        let told = one_problem(&format!("[private]\npatterns = [\n'corp.example.com',\n'{pattern}']"));
        assert!(told.starts_with("4: private.patterns: expected a pattern that does not take in a whole"), "{told}");
        assert!(told.contains(host), "{told}");
    }
    let told = one_problem("[owners.a]\nmodules = ['git.example.org/*']\n[private]\npublic_hosts = ['git.example.org/*']");
    assert!(told.starts_with("2: owners.a.modules: "), "{told}");
    assert!(file("[private]\npatterns = ['github.com/acme/*', 'github.com/acme', 'k8s.io/ours', '*.corp.example']").is_ok());
}

#[test]
fn a_host_has_one_character() {
    let told = one_problem("[private]\npublic_hosts = ['a.example',\n'A.example/*']");
    assert!(told.starts_with("3: private.public_hosts: expected a.example once"), "{told}");
    assert!(one_problem("[private]\npublic_hosts = ['github.com']").contains("shared"));
    assert!(one_problem("[private]\npublic_hosts = ['https://a.example']").contains("expected a host like"));
    let hosts = Config::from_toml("[private]\npublic_hosts = ['A.example', 'b.example/*', 'github.com/*']").unwrap().private.hosts;
    assert_eq!(hosts.kind("a.example"), Some(HostKind::Whole));
    assert!(hosts.three_part("b.example") && hosts.three_part("github.com") && !hosts.three_part("gopkg.in"));
    assert_eq!(hosts.kind("gopkg.in"), Some(HostKind::Flat));
    assert_eq!(hosts.kind("c.example"), None);
}

#[test]
fn every_line_of_the_shipped_list_is_an_entry_and_no_host_stands_twice() {
    let mut seen = BTreeSet::new();
    for line in include_str!("../../config/public-hosts.txt").lines() {
        let line = line.split('#').next().unwrap().trim();
        if !line.is_empty() {
            let (host, _) = hosts::parse_host(line).unwrap();
            assert!(line.starts_with(&host), "{line}: not in lower case");
            assert!(seen.insert(host), "{line} stands twice");
        }
    }
    assert_eq!(PublicHosts::shipped().all().count(), seen.len());
}

#[test]
fn a_password_hash_is_argon2id_and_bounded() {
    let user = |hash: &str| file(&format!("[users.alice]\npassword_hash = '{hash}'"));
    let loaded = user(HASH).unwrap();
    assert_eq!(value_of(&loaded, "users.alice.password_hash"), "users.alice.password_hash = \"***\"  # /etc/x/modgate.toml:2");
    assert!(!loaded.warnings.iter().any(|warning| warning.contains("guess")));
    assert!(user(&HASH.replace("m=19456", "m=64")).unwrap().warnings.iter().any(|warning| warning.contains("guess")));
    for bad in [
        HASH.replace("m=19456", "m=2097152"),
        HASH.replace("t=2", "t=4000000"),
        HASH.replace("t=2", "t=4294967295"),
        HASH.replace("m=19456,t=2", "m=1048576,t=5"),
        HASH.replace("p=1", "p=200"),
        HASH.replace("m=19456", "m=1"),
        HASH.replace("argon2id", "argon2i"),
        HASH.replace("v=19", "v=16"),
        HASH.replace("$c2FsdHNhbHRzYWx0c2FsdA", ""),
        "hunter2".to_owned(),
        "$2b$10$abcdefghijklmnopqrstuv".to_owned(),
        String::new(),
    ] {
        let told = user(&bad).unwrap_err().to_string();
        assert!(told.contains(":2: users.alice.password_hash: expected a password hash"), "{bad}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(one_problem("\n[users.bob]\nadmin = true"), "2: users.bob.password_hash: expected a value, found nothing");
    assert!(!one_problem("[users.bob]\npassword_hash = 31337").contains("31337"));
}

#[test]
fn sizes_and_durations_are_exact() {
    let size = |text: &str| Config::from_toml(&format!("[cache]\nmax_size = {text}")).map(|config| config.cache.max_size).ok();
    assert_eq!(size("'20GiB'"), Some(20 << 30));
    assert_eq!(size("'500MB'"), Some(500_000_000));
    assert_eq!(size("'7'"), Some(7));
    assert_eq!(size("0x10"), Some(16));
    assert_eq!(size("1_000"), Some(1000));
    for bad in
        ["'20 GiB'", "'-1'", "-1", "'1.5GiB'", "1.5", "'GiB'", "''", "'16777216TiB'", "'18446744073709551616'", "'20gb'", "true", "[]"]
    {
        assert_eq!(size(bad), None, "{bad}");
    }
    let time = |text: &str| Config::from_toml(&format!("[cache]\nfresh = {text}")).map(|config| config.cache.fresh).ok();
    assert_eq!(time("'400d'"), Some(Duration::from_secs(400 * 86_400)));
    assert_eq!(time("'250ms'"), Some(Duration::from_millis(250)));
    assert_eq!(time("'0s'"), Some(Duration::ZERO));
    for bad in ["'5'", "5", "'5 m'", "'-5m'", "'1h30m'", "'99999999d'", "''", "'s'"] {
        assert_eq!(time(bad), None, "{bad}");
    }
    assert!(Config::from_toml("[limits]\nidle = '0s'").is_err());
    assert_eq!(parse_duration("30d"), Some(Duration::from_secs(30 * 86_400)));
    assert_eq!((parse_duration("30"), parse_duration("0d")), (None, None));
}

#[test]
fn what_an_owner_may_hold_and_keeps_is_read_and_half_a_rule_is_an_error() {
    let owner = |text: &str| {
        let config = file(&format!("[owners.a]\n{text}")).unwrap().config;
        config.owners.into_values().next().map(|owner| (owner.max_bytes, owner.retain)).unwrap()
    };
    let retain = |days: u64, keep| Some(Retain { prerelease: Duration::from_secs(days * 86_400), keep });
    assert_eq!(owner(""), (None, None));
    assert_eq!(owner("max_bytes = \"\""), (None, None));
    assert_eq!(owner("max_bytes = \"1KiB\"\nretain = { prerelease = \"90d\", keep = 10 }"), (Some(1024), retain(90, 10)));
    assert_eq!(owner("max_bytes = 0\n[owners.a.retain]\nprerelease = \"1d\"\nkeep = 0"), (Some(0), retain(1, 0)));
    for (text, told) in [
        ("max_bytes = \"much\"", "2: owners.a.max_bytes: "),
        ("max_bytes = -1", "2: owners.a.max_bytes: "),
        ("retain = \"90d\"", "2: owners.a.retain: "),
        ("retain = { prerelease = \"90d\" }", "owners.a.retain.keep: "),
        ("retain = { keep = 1 }", "owners.a.retain.prerelease: "),
        ("retain = { prerelease = \"0s\", keep = 1 }", "2: owners.a.retain.prerelease: "),
        ("retain = { prerelease = \"1d\", keep = -1 }", "2: owners.a.retain.keep: "),
        ("retain = { prerelease = \"1d\", keep = 1, release = \"1d\" }", "2: owners.a.retain.release: "),
    ] {
        let problem = one_problem(&format!("[owners.a]\n{text}"));
        assert!(problem.contains(told), "{text}: {problem}");
    }
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    assert_eq!(file("data_dir = 'data'").unwrap().config.data_dir, Path::new("/etc/x/data"));
    assert_eq!(file("data_dir = '/data'").unwrap().config.data_dir, Path::new("/data"));
    assert!(file("data_dir = ''").is_err());
}

#[test]
fn the_data_folder_is_the_users_own_unless_root_runs() {
    let at = |variables: &[(&str, &str)]| {
        load(&Flags::default(), &Environment { root: false, ..environment(variables) }).map(|loaded| loaded.config.data_dir)
    };
    assert_eq!(at(&[("HOME", "/home/a")]).unwrap(), Path::new("/home/a/.local/share/modgate"));
    assert_eq!(at(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/d")]).unwrap(), Path::new("/d/modgate"));
    assert_eq!(at(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "d")]).unwrap(), Path::new("/home/a/.local/share/modgate"));
    assert!(at(&[]).unwrap_err().to_string().starts_with("default: data_dir: expected a folder, found nothing; "));
}

#[test]
fn the_file_is_searched_in_order_and_a_named_one_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, idle: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("[limits]\nidle = \"{idle}\"\n")).unwrap();
        path
    };
    let (flag, variable, system) = (write("flag", "1s"), write("env", "2s"), write("system", "3s"));
    let idle = |flag: Option<&Path>, variable: Option<&Path>, system: &Path| {
        let mut environment = environment(&[]);
        environment.system_file = Some(system.to_owned());
        if let Some(path) = variable {
            environment.variables.insert("MODGATE_CONFIG".into(), path.into());
        }
        load(&Flags { config: flag.map(Path::to_owned), ..Flags::default() }, &environment)
            .map(|loaded| loaded.config.limits.idle.as_secs())
    };
    assert_eq!(idle(Some(&flag), Some(&variable), &system).unwrap(), 1);
    assert_eq!(idle(None, Some(&variable), &system).unwrap(), 2);
    assert_eq!(idle(None, None, &system).unwrap(), 3);
    assert_eq!(idle(None, None, &dir.path().join("none")).unwrap(), 75);
    let told = idle(Some(&dir.path().join("none")), None, &system).unwrap_err().to_string();
    assert!(told.contains("none: cannot read the settings"), "{told}");
    assert!(idle(None, None, dir.path()).is_err(), "a system file that is there and cannot be read is not passed over");
}

#[test]
fn hashes_that_everyone_can_read_are_warned_of_and_bytes_that_are_no_text_name_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("modgate.toml");
    let flags = Flags { config: Some(path.clone()), ..Flags::default() };
    fs::write(&path, format!("[owners.a]\n[users.alice]\npassword_hash = '{HASH}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(&flags, &environment(&[])).unwrap().warnings[0].contains("chmod"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(load(&flags, &environment(&[])).unwrap().warnings, Vec::<String>::new());
    fs::write(&path, b"# a\n# b \xff\n").unwrap();
    assert!(load(&flags, &environment(&[])).unwrap_err().to_string().ends_with("modgate.toml:2: not TOML: these bytes are not UTF-8"));
}

#[test]
fn sources_print_as_people_name_them() {
    assert_eq!(Source::File(Arc::new("a.toml".into()), 3).to_string(), "a.toml:3");
    assert_eq!(Source::Env("X".into()).to_string(), "env X");
    assert_eq!(Source::Flag("--listen").to_string(), "flag --listen");
}
