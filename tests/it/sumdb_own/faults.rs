//! Our checksum database on a disk that fails, at the end of a process, and at addresses that are not plain.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use super::*;

/// A disk that does not take a record: what stands where something else is to be.
struct Fault {
    at: PathBuf,
    aside: PathBuf,
}

impl Fault {
    /// No tile can be written: a file stands where their folder is to be.
    fn of_tiles(gateway: &Gateway) -> Self {
        let fault = Self::at(gateway, "tile");
        fs::write(&fault.at, "").expect("a file");
        fault
    }

    /// No head can be written: a folder stands in its place.
    fn of_heads(gateway: &Gateway) -> Self {
        let fault = Self::at(gateway, "head");
        fs::create_dir(&fault.at).expect("a folder");
        fs::write(fault.at.join("x"), "").expect("a file");
        fault
    }

    fn at(gateway: &Gateway, name: &str) -> Self {
        let log = gateway.data_dir().join("sumdb/log");
        let fault = Self { at: log.join(name), aside: gateway.data_dir().join(format!("tmp/{name}")) };
        if fault.at.exists() {
            fs::rename(&fault.at, &fault.aside).expect("set aside");
        }
        fault
    }

    fn mend(self) {
        let Self { at, aside } = self;
        if at.is_dir() {
            fs::remove_dir_all(&at).expect("gone")
        } else {
            fs::remove_file(&at).expect("gone")
        }
        if aside.exists() {
            fs::rename(aside, at).expect("put back");
        }
    }
}

#[test]
fn a_log_that_cannot_be_written_says_so_and_has_one_record_of_what_was_asked_meanwhile() {
    for fault in [Fault::of_tiles, Fault::of_heads] {
        let (mut gateway, _upstream) = world("");
        publish(&gateway, "pub", &module("corp.example.com/open"));
        publish(&gateway, "pub", &module("corp.example.com/read"));
        let lookups = ["lookup/corp.example.com/open@v1.0.0", "lookup/example.net/alpha@v1.2.0"];
        let fault = fault(&gateway);
        for lookup in lookups.into_iter().chain(lookups) {
            let answer = ask(&gateway, None, lookup);
            assert_eq!(answer.status, 503, "{lookup}: {}", answer.body_text());
            assert!(answer.body_text().contains("the gateway's storage failed"), "{}", answer.body_text());
        }
        // Giving out waits for no log.
        assert_eq!(gateway.ask("GET", "/corp.example.com/read/@v/v1.0.0.zip", &[]).status, 200);
        gateway.log_with(&["the checksum log: ", "the checksum database takes this version when it is asked for it"]);
        assert_eq!(size(&gateway), 0, "nobody was told of a record");
        // It was sealed, as whoever asked may have been answered for all that the gateway knows.
        let admin = gateway.admin();
        let target = format!("{}/api/v1/packages/pub/go/corp.example.com/open/v1.0.0", gateway.url());
        curl::curl(&["--user", &format!("{}:{}", admin.user, admin.password), "-X", "DELETE"], &target, None).is(204);
        let other = module_of("corp.example.com/open", "v1.0.0", "package other\n");
        let zip = other.write_zip(gateway.data_dir().parent().expect("a folder"));
        curl::publish(&gateway.url(), "pub", Some(&admin), &zip, None).is(409);
        publish(&gateway, "pub", &module("corp.example.com/open"));
        fault.mend();
        let said: Vec<_> = lookups.iter().map(|lookup| looked_up(&gateway, &ask(&gateway, None, lookup))).collect();
        looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/read@v1.0.0"));
        assert_eq!(size(&gateway), 3);
        gateway.restart();
        for (lookup, said) in lookups.iter().zip(&said) {
            assert_eq!(looked_up(&gateway, &ask(&gateway, None, lookup)), *said);
        }
        let go = Go::new(&gateway.url(), &key(&gateway).to_string());
        go.run(&["mod", "download", "corp.example.com/open@v1.0.0", "example.net/alpha@v1.2.0"]).ok();
    }
}

#[test]
fn what_was_answered_before_a_process_ended_is_there_and_nothing_else_has_its_place() {
    const VERSIONS: usize = 24;
    let (mut gateway, _upstream) = world("");
    for version in 0..VERSIONS {
        publish(&gateway, "pub", &module_of("corp.example.com/open", &format!("v1.{version}.0"), "package a\n"));
    }
    let lookup = |version: usize| format!("/sumdb/{}/lookup/corp.example.com/open@v1.{version}.0", key(&gateway).name());
    let targets: Vec<_> = (0..VERSIONS).map(lookup).collect();
    let (verifier, address) = (key(&gateway), gateway.address());
    let (tell, answered) = mpsc::channel();
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = targets
            .iter()
            .map(|target| {
                let tell = tell.clone();
                scope.spawn(move || {
                    let answer = http::get(address, target);
                    // Nobody listens any more once one has come.
                    let _ = tell.send(());
                    answer
                })
            })
            .collect();
        answered.recv().expect("an answer");
        gateway.ask_to_end();
        asking.into_iter().map(|asking| asking.join().expect("an answer, or none")).collect()
    });
    gateway.terminate();
    gateway.start();
    assert!(answers.iter().flatten().any(|answer| answer.status == 200));
    let mut places = BTreeMap::new();
    for (target, answer) in targets.iter().zip(answers) {
        let now = looked_up(&gateway, &gateway.ask("GET", target, &[]));
        assert!(places.insert(now.0, target).is_none(), "{target} has the place of another");
        // Whoever was cut, or came too late, knows nothing.
        let Ok(answer) = answer else { continue };
        match answer.status {
            200 => {
                let then = Lookup::parse(&answer.body).expect("a look-up");
                assert!(SignedHead::open(then.note.clone(), &verifier).is_ok_and(|head| then.id < head.head().size), "{target}");
                assert_eq!((then.id, then.record.as_str()), (now.0, &*now.1), "{target}");
            }
            status => assert!(status == 503 && !answer.body.is_empty(), "{target}: {status} {}", answer.body_text()),
        }
    }
    assert_eq!((places.len(), size(&gateway)), (VERSIONS, VERSIONS as u64));
}

/// What the home page has developers set.
fn pasted<'a>(home: &'a str, variable: &str) -> &'a str {
    let line = home.lines().find_map(|line| line.strip_prefix(&format!("go env -w {variable}=")));
    line.unwrap_or_else(|| panic!("no {variable} in {home}")).trim_matches('\'')
}

#[test]
fn the_lines_to_paste_are_enough_below_a_path_and_at_an_ipv6_address() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("[::1]:0").expect("IPv6 on loopback").local_addr().expect("an address");
    for (listen, base, host, path) in [(None, "/go/proxy", "127.0.0.1", "/go/proxy"), (Some(free.to_string()), "", "localhost", "")] {
        let upstream = Upstream::start_with(zips::load("modules"), Tree::Complete);
        let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).prepare();
        let at = listen.clone().unwrap_or_else(|| gateway.address().to_string());
        let mut settings: toml::Table = gateway.settings().parse().expect("settings");
        let server = settings["server"].as_table_mut().expect("a table");
        // Where there is https, developers are told of that.
        server.retain(|name, _| !name.starts_with("tls"));
        server.insert("public_url".to_owned(), format!("http://{at}{base}").into());
        if let Some(listen) = listen {
            server.insert("listen".to_owned(), vec![gateway.address().to_string(), listen].into());
        }
        gateway.configure(&settings.to_string());
        gateway.start();
        let zip = module("corp.example.com/open").write_zip(gateway.data_dir().parent().expect("a folder"));
        curl::publish(&format!("{}{path}", gateway.url()), "pub", Some(&gateway.admin()), &zip, None).is(201);
        let key = key(&gateway);
        assert!(key.name().starts_with(&format!("{host}/")), "{key}");
        let home = gateway.ask("GET", &format!("{path}/"), &[]).body_text();
        let (goproxy, gosumdb) = (pasted(&home, "GOPROXY"), pasted(&home, "GOSUMDB"));
        assert_eq!((goproxy, gosumdb), (&*format!("http://{at}{base}"), &*key.to_string()));
        // What the start printed is the same.
        gateway.log_with(&[goproxy, gosumdb]);
        let go = Go::new(goproxy, gosumdb);
        go.run(&["mod", "download", "corp.example.com/open@v1.0.0", "example.net/alpha@v1.2.0"]).ok();
        assert_eq!(go.dialled(), [""; 0]);
        assert_eq!(size(&gateway), 2);
    }
}
