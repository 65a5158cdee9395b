//! `upstream.auth`, `upstream.proxy` and `upstream.ca_file`.

use super::*;

fn upstream(text: &str) -> Upstream {
    file(&format!("[upstream]\n{text}\n")).unwrap_or_else(|e| panic!("{e}")).config.upstream
}

#[test]
fn credentials_are_a_url_and_a_file_beside_the_settings() {
    let inline = upstream(
        "auth = [{ url = \"https://a.example/go/\", user = \"u\", password_file = \"p\" }, { url = \"https://b.example\", bearer_file = \"/t\" }]",
    );
    let expected = [
        UpstreamAuth {
            url: "https://a.example/go".parse().unwrap(),
            secret: Secret::Password { user: "u".to_owned(), file: "/etc/x/p".into() },
        },
        UpstreamAuth { url: "https://b.example".parse().unwrap(), secret: Secret::Bearer { file: "/t".into() } },
    ];
    assert_eq!(inline.auth, expected);
    let tables = "[[upstream.auth]]\nurl = \"https://a.example/go\"\nuser = \"u\"\npassword_file = \"p\"\n\
                  [[upstream.auth]]\nurl = \"https://b.example\"\nbearer_file = \"/t\"\n";
    let loaded = file(tables).unwrap();
    assert_eq!(loaded.config.upstream.auth, expected);
    let printed = value_of(&loaded, "upstream.auth");
    let again = file(&format!("[upstream]\n{}\n", printed.trim_start_matches("upstream."))).unwrap();
    // The file's folder is put before a relative name once only.
    assert_eq!(again.config.upstream.auth, expected, "{printed}");
}

#[test]
fn wrong_credentials_are_told_by_line_and_no_secret_is_repeated() {
    for (entry, told) in [
        ("{ url = \"https://a.example\", user = \"u\", password = \"hunter2\" }", "secrets stand in files of their own"),
        ("{ url = \"https://a.example\", token = \"hunter2\" }", "secrets stand in files of their own"),
        ("{ url = \"https://a.example\", bearer_flie = \"f\" }", "did you mean bearer_file?"),
        ("{ url = \"https://u:hunter2@a.example\", bearer_file = \"f\" }", "expected URLs without credentials"),
        ("{ url = \"ftp://a.example\", bearer_file = \"f\" }", "expected an http or https URL"),
        ("{ url = \"https://a.example\", user = \"u\" }", "expected url, and either"),
        ("{ url = \"https://a.example\", password_file = \"f\" }", "expected url, and either"),
        ("{ url = \"https://a.example\", user = \"u\", password_file = \"f\", bearer_file = \"f\" }", "expected url, and either"),
        ("{ user = \"u\", password_file = \"f\" }", "expected url, and either"),
        ("{ url = \"https://a.example\", user = \"a:b\", password_file = \"f\" }", "without a colon"),
        ("{ url = \"https://a.example\", bearer_file = \"\" }", "expected a path"),
        ("\"https://u:hunter2@a.example\"", "expected a list of tables"),
    ] {
        let problems = problems(&format!("[upstream]\nauth = [\n{entry},\n]\n"));
        assert!(problems.iter().any(|problem| problem.starts_with("3: upstream.auth") && problem.contains(told)), "{entry}: {problems:#?}");
        assert!(!problems.concat().contains("hunter2"), "{entry}: {problems:#?}");
    }
    assert!(one_problem("[upstream.auth]\nurl = \"x\"\n").contains("expected a list of tables"));
    let twice = "{ url = \"https://a.example\", bearer_file = \"f\" }, { url = \"https://a.example/\", bearer_file = \"g\" }";
    assert!(one_problem(&format!("[upstream]\nauth = [{twice}]\n")).contains("each URL once"));
    let variables = environment(&[("MODGATE_UPSTREAM__AUTH", "hunter2")]);
    let error = load(&Flags::default(), &variables).unwrap_err().to_string();
    assert!(error.contains("it is set in the file only") && !error.contains("hunter2"), "{error}");
}

#[test]
fn credentials_that_are_shown_to_nobody_or_to_everybody_are_warned_of() {
    let warnings = |goproxy: &str, url: &str| {
        let text = format!("[upstream]\ngoproxy = \"{goproxy}\"\nauth = [{{ url = \"{url}\", bearer_file = \"f\" }}]\n[owners.a]\n");
        file(&text).unwrap().warnings.len()
    };
    assert_eq!(warnings("https://a.example/go", "https://a.example/go"), 0);
    assert_eq!(warnings("https://a.example", "https://b.example"), 1);
    assert_eq!(warnings("http://a.example", "http://a.example"), 1);
    assert_eq!(warnings("http://127.0.0.1:1", "http://127.0.0.1:1"), 0);
}

#[test]
fn a_proxy_is_a_bare_url() {
    assert_eq!(upstream("").proxy, None);
    assert_eq!(upstream("proxy = \"\"").proxy, None);
    assert_eq!(upstream("proxy = \"http://proxy.example:3128\"").proxy.unwrap().as_str(), "http://proxy.example:3128/");
    assert_eq!(upstream("ca_file = \"ca.pem\"").ca_file.unwrap(), Path::new("/etc/x/ca.pem"));
    for wrong in ["proxy.example:3128", "socks5://proxy.example", "http://proxy.example/x", "http://u:hunter2@proxy.example"] {
        let told = one_problem(&format!("[upstream]\nproxy = \"{wrong}\"\n"));
        assert!(told.contains("upstream.proxy: expected") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn unknown_hosts_and_misses_are_words() {
    let config = Config::from_toml("[private]\nunknown_hosts = \"hold\"\nmiss = \"refuse\"\n").unwrap();
    assert_eq!((config.private.unknown_hosts.value, config.private.miss), (UnknownHosts::Hold, Miss::Refuse));
    assert!(matches!(config.private.unknown_hosts.source, Source::File(_, 2)));
    let config = Config::from_toml("").unwrap();
    assert_eq!((config.private.unknown_hosts.value, config.private.miss), (UnknownHosts::Allow, Miss::NotFound));
    assert!(one_problem("[private]\nunknown_hosts = \"deny\"\n").contains("\"allow\" or \"audit\" or \"hold\""));
}
