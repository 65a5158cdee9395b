//! Listeners, and where the gateway asks.

use super::*;
use crate::tlog::SignerKey;

#[test]
fn goproxy_is_read_as_the_go_command_reads_it() {
    let hops = |text: &str| {
        let config = Config::from_toml(&format!("[upstream]\ngoproxy = '{text}'")).map_err(|error| error.to_string())?;
        Ok::<_, String>(
            config.upstream.goproxy.iter().map(|hop| format!("{}{}", hop.url, if hop.any_error { "|" } else { "" })).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        hops("https://a.example/x/|b.example/y, ,http://c:1,off,ignored.example").unwrap(),
        ["https://a.example/x|", "https://b.example/y", "http://c:1/"]
    );
    assert!(hops("off").unwrap().is_empty());
    for (bad, word) in [
        ("", "write \\\"off\\\""),
        (",|", "off"),
        ("https://a.example,direct", "never goes to version control"),
        ("https://u:p4ss@a.example", "upstream.auth"),
        ("https://p4ss@a.example:x", "secret"),
        ("file:///x", "http and https"),
        ("noproxy", "http"),
        ("https://a.example/?q", "query"),
        ("ftp://a.example", "http"),
    ] {
        let told = hops(bad).unwrap_err();
        assert!(told.contains(&word.replace('\\', "")) || told.contains("http or https"), "{bad}: {told}");
        assert!(!told.contains("p4ss"), "{told}");
        assert!(told.contains(":2: upstream.goproxy: expected"), "{told}");
    }
}

#[test]
fn a_gateway_is_not_its_own_upstream() {
    let told = one_problem("[server]\nlisten = [\"127.0.0.1:80\"]\n[upstream]\ngoproxy = \"http://127.0.0.1/x\"");
    assert!(told.starts_with("4: upstream.goproxy: expected other proxies, found"), "{told}");
    let told = one_problem("[server]\npublic_url = \"https://Go.example.com\"\n[upstream]\ngoproxy = \"https://go.example.com:443\"");
    assert!(told.contains("this gateway itself"), "{told}");
}

#[test]
fn another_proxy_may_lie_beside_us_on_our_host() {
    let with =
        |path: &str| file(&format!("[server]\npublic_url = \"https://a.example/go\"\n[upstream]\ngoproxy = \"https://a.example{path}\""));
    assert!(with("/proxy").is_ok());
    assert!(with("/go").is_err());
    assert!(with("/go/api/packages/x/go").is_err());
}

#[test]
fn a_unix_socket_is_named_by_its_path_and_takes_plain_http() {
    let unix = |text: &str| file(text).map(|loaded| loaded.config.server.listen_unix);
    let url = "public_url = \"https://a.example\"\n";
    assert_eq!(
        unix(&format!("[server]\n{url}listen = [\"unix:/run/m.sock\", \"unix:m.sock\"]")).unwrap(),
        ["/run/m.sock".into(), PathBuf::from("/etc/x/m.sock")]
    );
    // Beside another listener, or with a URL: else nobody could be told where to go.
    assert!(unix("[server]\nlisten = [\"127.0.0.1:80\", \"unix:/run/m.sock\"]").is_ok());
    let told = one_problem("[server]\nlisten = [\"unix:/run/m.sock\"]");
    assert!(told.starts_with("2: server.public_url: expected the URL that clients use"), "{told}");
    let told = one_problem(&format!("[server]\n{url}listen = [\"unix:/m.sock\", \"unix:/m.sock\"]"));
    assert!(told.starts_with("3: server.listen: expected a socket that no other listener has, found \"unix:/m.sock\""), "{told}");
    for bad in ["unix:", "unix:/run/", &format!("unix:/{}", "x".repeat(107))] {
        assert!(unix(&format!("[server]\n{url}listen = [\"{bad}\"]")).is_err(), "{bad}");
    }
    assert!(unix(&format!("[server]\n{url}listen = [\"unix:/{}\"]", "x".repeat(106))).is_ok());
    assert!(one_problem("[server]\nadmin_listen = \"unix:/m.sock\"").contains("it goes into server.listen"));
}

#[test]
fn the_checksum_database_is_what_gosumdb_says_or_off() {
    let sumdb =
        |text: &str| Config::from_toml(&format!("[upstream]\nverify = 'off'\nsumdb = '{text}'")).map(|config| config.upstream.sumdb);
    assert_eq!(sumdb("off").unwrap(), None);
    // The go command's own is known with its key.
    let built_in = Config::from_toml("").unwrap().upstream.sumdb.unwrap();
    assert_eq!((built_in.key.unwrap().name(), built_in.url), (built_in.name.as_str(), None));
    let key = SignerKey::generate("sum.example.org").unwrap().verifier();
    let (name, at) = (key.name().to_owned(), Some("https://sum.example.net/db".parse().unwrap()));
    for (text, expected) in [
        ("sum.example.org/db".to_owned(), Sumdb { name: "sum.example.org/db".to_owned(), key: None, url: None }),
        ("a  https://sum.example.net/db/".to_owned(), Sumdb { name: "a".to_owned(), key: None, url: at.clone() }),
        (key.to_string(), Sumdb { name: name.clone(), key: Some(key.clone()), url: None }),
        (format!("{key} https://sum.example.net/db"), Sumdb { name, key: Some(key), url: at }),
    ] {
        assert_eq!(sumdb(&text).unwrap(), Some(expected), "{text}");
    }
    for bad in [
        "",
        "a+033de0ae",
        "a+033de0ae+AAAA",
        "a+x+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        // The hash of another name.
        "sum.example.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "a ftp://b.example",
        "a https://u:p@b.example",
        "a https://b.example?q",
        "a https://b.example c",
        "https://a.example",
        "a/../b",
        "a%2f",
    ] {
        assert!(sumdb(bad).is_err(), "{bad}");
    }
    let told = one_problem("[server]\nlisten = [\"127.0.0.1:3000\"]\n[upstream]\nsumdb = \"a http://127.0.0.1:3000/x\"");
    assert!(told.starts_with("4: upstream.sumdb: expected another checksum database, found"), "{told}");
}

#[test]
fn public_url_is_a_scheme_an_authority_and_perhaps_a_plain_path() {
    let url = |text: &str| Config::from_toml(&format!("[server]\npublic_url = '{text}'")).map(|config| config.server.public_url);
    assert_eq!(url("").unwrap(), None);
    assert_eq!(url("https://go.example.com").unwrap().unwrap().as_str(), "https://go.example.com/");
    for path in ["/go", "/dev/Go-1.2_3~x", "/..."] {
        assert_eq!(url(&format!("https://go.example.com{path}")).unwrap().unwrap().path(), path);
    }
    for path in
        ["/go/", "//", "/go//x", "/a/../b", "/./go", "/a/..", "/%67o", "/go%2fx", "/a b", "/a!b", "/é", "/a\\b", "/go?q", "/go#f", "/go;x"]
    {
        assert!(url(&format!("https://go.example.com{path}")).is_err(), "{path}");
    }
    for bad in ["go.example.com", "https://u:pw@go.example.com", "https://u:pw@go.example.com/go", "ftp://x", "https://x/?q", "https://"] {
        let told = url(bad).unwrap_err().to_string();
        assert!(!told.contains("pw@"), "{told}");
    }
}

#[test]
fn a_listener_off_loopback_needs_a_public_url_and_plain_http_there_a_word() {
    let told = problems("[server]\nlisten = [\n\"127.0.0.1:80\",\n\"0.0.0.0:81\"]\n");
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("4: server.listen: expected a loopback address for plain http, found \"0.0.0.0:81\"; "), "{told:#?}");
    assert!(told[1].starts_with("4: server.public_url: expected the URL that clients use"), "{told:#?}");
    let good = "[server]\nlisten = [\"0.0.0.0:81\"]\nallow_plain = true\npublic_url = \"https://go.example.com\"\n";
    assert!(file(good).is_ok());
    let tls = "[server]\ntls_listen = [\"[::]:443\"]\ntls = \"local\"\npublic_url = \"https://go.example.com\"\n";
    assert!(file(tls).is_ok());
    assert!(one_problem("[server]\nadmin_listen = \"10.0.0.1:81\"\n").starts_with("2: server.admin_listen: expected a loopback"));
    assert!(file("[server]\nlisten = [\"[::ffff:127.0.0.1]:81\", \"127.9.9.9:1\"]\n").is_ok());
}

#[test]
fn two_listeners_do_not_share_a_port() {
    let told = one_problem("[server]\nlisten = [\"127.0.0.1:80\",\n\"127.0.0.1:80\"]\n");
    assert!(told.starts_with("3: server.listen: expected an address and port that no other listener has, found"), "{told}");
    let other =
        "[server]\npublic_url=\"https://a.example\"\ntls=\"local\"\ntls_listen = [\"0.0.0.0:80\"]\nadmin_listen = \"127.0.0.1:80\"\n";
    assert!(one_problem(other).starts_with("5: server.admin_listen: "));
    assert!(file("[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n").is_ok());
}

#[test]
fn https_needs_a_certificate_from_one_place() {
    assert!(one_problem("[server]\ntls_listen = [\"127.0.0.1:443\"]").starts_with("2: server.tls: expected a certificate"));
    assert!(one_problem("[server]\ntls = \"lokal\"").starts_with("2: server.tls: expected \"local\" or a table"));
    assert_eq!(
        one_problem("[server]\ntls = { cert = \"c\" }"),
        "0: server.tls.key: expected a value, found nothing".replace("0:", "default:")
    );
    let text = "[server]\ntls_listen = [\"127.0.0.1:443\"]\ntls = { cert = \"c.pem\", key = \"/k.pem\" }";
    let tls = file(text).unwrap().config.server.tls;
    let set = |value: &str, source| Sourced { value: PathBuf::from(value), source };
    let at = |file: &str, line| Source::File(Arc::new(file.into()), line);
    let cert = set("/etc/x/c.pem", at("/etc/x/modgate.toml", 3));
    assert_eq!(tls, Some(Tls::Files { cert, key: set("/k.pem", at("/etc/x/modgate.toml", 3)) }));
    let over = environment(&[("MODGATE_SERVER__TLS", "local")]);
    let loaded = load_text(text, Path::new("m.toml"), &Flags::default(), &over).unwrap();
    assert_eq!(loaded.config.server.tls, Some(Tls::Local));
    assert_eq!(value_of(&loaded, "server.tls.cert"), "");
    let key = environment(&[("MODGATE_SERVER__TLS__KEY", "k2.pem")]);
    let loaded = load_text(text, Path::new("d/m.toml"), &Flags::default(), &key).unwrap();
    let key = set("k2.pem", Source::Env("MODGATE_SERVER__TLS__KEY".to_owned()));
    assert_eq!(loaded.config.server.tls, Some(Tls::Files { cert: set("d/c.pem", at("d/m.toml", 3)), key }));
}

#[test]
fn trusted_proxies_are_networks_addresses_and_unix() {
    let trusted = |list: &str| Config::from_toml(&format!("server.trusted_proxies = {list}")).map(|config| config.server.trusted_proxies);
    let some = trusted("['10.0.0.0/8', '192.0.2.1', '2001:db8::/32', 'unix:']").unwrap();
    assert!(some.unix);
    for (address, held) in [
        ("10.255.0.1", true),
        ("11.0.0.1", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
    ] {
        assert_eq!(some.holds(address.parse().unwrap()), held, "{address}");
    }
    assert!(!trusted("[]").unwrap().unix);
    for bad in ["10.0.0.0/33", "10.0.0", "front.example", "unix:/x", "*", ""] {
        let told = one_problem(&format!("server.trusted_proxies = ['{bad}']"));
        assert!(told.starts_with("1: server.trusted_proxies: expected a network or an address"), "{bad}: {told}");
    }
    let loaded = load_text("server.trusted_proxies = ['::/0']", Path::new("x"), &Flags::default(), &environment(&[])).unwrap();
    assert!(loaded.warnings.iter().any(|warning| warning.contains("::/0 is everyone")), "{:?}", loaded.warnings);
}
