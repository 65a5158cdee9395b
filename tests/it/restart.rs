//! From one process to the next on the same sockets: nobody is refused, downloads go on, and only one at a time has the data directory.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::gateway::Gateway;
use crate::support::http::{self, PATIENCE};
use crate::support::load::Load;
use crate::support::systemd::Unit;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const OPEN: &str = "[owners.default]\nvisibility = \"public\"\n";
const OFF: &str = "[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n";
/// As the three sections of a socket unit would name theirs.
const NAMES: [&str; 3] = ["http", "https", "admin"];
/// Of an answer: more than the two kernels' buffers take, so that its sending waits for its reader.
const LARGE: usize = 24 << 20;

/// How often a process makes way for the next under load, by each of the two ways.
const TIMES: usize = 10;
/// What every worker must have had between two of them.
const BETWEEN: u64 = 2;

/// A hosted module with a file of so many bytes that do not shrink.
fn module(name: &str, version: &str, len: usize) -> Module {
    let mut module = Module::parse(&format!(
        "corp.example.com/{name}@{version}\nowner: default\n-- go.mod --\nmodule corp.example.com/{name}\n-- a.go --\npackage a\n"
    ));
    let mut noise = vec![0; len];
    getrandom::fill(&mut noise).expect("randomness");
    module.files.push(("noise".to_owned(), noise));
    module
}

#[test]
fn twenty_restarts_under_load_fail_no_request() {
    let upstream = Upstream::start();
    let mut unit = Unit::new(Gateway::builder().upstream(&upstream).config(OPEN).prepare(), NAMES);
    unit.start_next();
    unit.wait_ready();
    unit.gateway.publish(&module("small", "v1.0.0", 100)).is(201);
    unit.gateway.publish(&module("larger", "v1.0.0", 1 << 20)).is(201);
    let asked = [
        "/corp.example.com/small/@v/list",
        "/corp.example.com/larger/@v/v1.0.0.zip",
        "/example.net/alpha/@v/v1.0.0.zip",
        "/example.net/alpha/@v/v1.1.0.mod",
        "/",
    ];
    let load = Load::start(&unit.gateway, &asked, "default");
    for _ in 0..TIMES {
        load.wait_for(BETWEEN);
        let mut before = unit.hand_over();
        load.wait_for(BETWEEN);
        assert_eq!(before.wait_for_end().code(), Some(0));
        assert_eq!(unit.restart().code(), Some(0));
    }
    load.wait_for(BETWEEN);
    let tally = load.stop();
    println!("{} restarts: {tally:?}", 2 * TIMES);
    assert!(tally.failed == 0, "{tally:?}\n{}", unit.gateway.log());
}

#[test]
fn the_next_process_publishes_while_the_one_before_still_sends_a_download() {
    let mut unit = Unit::new(Gateway::builder().config(OFF).config(OPEN).prepare(), NAMES);
    unit.start_next();
    unit.wait_ready();
    let large = module("large", "v1.0.0", LARGE);
    unit.gateway.publish(&large).is(201);
    let mut download = TcpStream::connect(unit.gateway.address()).expect("connect");
    download.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    download.write_all(b"GET /corp.example.com/large/@v/v1.0.0.zip HTTP/1.1\r\nHost: h\r\n\r\n").expect("ask");
    let mut start = vec![0; 1000];
    download.read_exact(&mut start).expect("the start of an answer");

    let mut before = unit.hand_over();
    assert_eq!(before.ended(), None);
    // The next one has the directory, all of it: what is deleted there is still sent.
    unit.gateway.publish(&module("other", "v1.0.0", 100)).is(201);
    let ready = http::get(unit.gateway.admin_address(), "/readyz").expect("an answer");
    assert_eq!(ready.status, 200);
    let token = format!("Bearer {}", unit.gateway.admin_token());
    let target = "/api/v1/packages/default/go/corp.example.com%2Flarge/v1.0.0";
    assert_eq!(unit.gateway.ask("DELETE", target, &[("Authorization", &token)]).status, 204);
    unit.gateway.cli(&["claim", "list"]).ok();
    assert_eq!(before.ended(), None);

    let mut rest = Vec::new();
    // The connection closes after the answer: nothing is asked of a process that has let go.
    download.read_to_end(&mut rest).expect("the rest");
    let all = [start, rest].concat();
    assert!(all.ends_with(&large.zip()), "{} bytes", all.len());
    assert_eq!(before.wait_for_end().code(), Some(0));
    let log = unit.gateway.log_with(&[r#""kind":"zip""#]);
    assert!(!log.contains("requests were cut"), "{log}");
    // The socket's name is the next one's, and stays.
    unit.gateway.cli(&["claim", "list"]).ok();
}

#[test]
fn a_publish_under_way_ends_before_the_next_process_begins_and_both_are_kept() {
    let mut unit = Unit::new(Gateway::builder().config(OFF).config(OPEN).prepare(), NAMES);
    unit.start_next();
    unit.wait_ready();
    let zip = module("slow", "v1.0.0", 1 << 20).zip();
    let mut upload = TcpStream::connect(unit.gateway.address()).expect("connect");
    upload.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = format!(
        "PUT /api/packages/default/go/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        unit.gateway.admin_token(),
        zip.len()
    );
    upload.write_all(&[head.as_bytes(), &zip[..1000]].concat()).expect("begin");

    unit.main().ask_to_end();
    let mut before = unit.start_next().expect("it was started");
    unit.main().wait_told("STATUS=waiting for the process before to let go of the data directory").expect("it waits");
    let reply = http::exchange(&mut upload, &zip[1000..]).expect("an answer");
    assert_eq!(reply.status, 201, "{}", reply.body_text());
    unit.wait_ready();
    assert_eq!(before.wait_for_end().code(), Some(0));
    assert_eq!(unit.gateway.ask("GET", "/corp.example.com/slow/@v/list", &[]).body_text(), "v1.0.0\n");
}

#[test]
fn a_socket_that_no_setting_names_stops_the_start() {
    let gateway = Gateway::builder().config(OFF).config(OPEN).prepare();
    let admin = gateway.admin_address().to_string();
    gateway.configure(&gateway.settings().replace(&format!("admin_listen = \"{admin}\"\n"), ""));
    let mut unit = Unit::new(gateway, ["", "x", "surplus"]);
    unit.start_next();
    unit.main().wait_told("READY=1").expect_err("it refuses");
    let log = unit.gateway.log_with(&["that no setting names"]);
    assert!(log.contains(&format!("a socket at {admin} (named \"surplus\")")) && log.contains("FileDescriptorName="), "{log}");
}

#[test]
fn a_unix_socket_that_was_passed_on_is_found_by_its_path_and_keeps_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("modgate.sock");
    let text = format!("[server]\nlisten = [\"unix:{}\"]\n", path.display());
    let mut unit = Unit::of_unix(Gateway::builder().config(OFF).config(OPEN).config(&text).prepare(), &path);
    unit.start_next();
    unit.wait_ready();
    for _ in 0..2 {
        let reply = crate::support::curl::curl(&["--unix-socket", path.to_str().expect("UTF-8")], "http://h/healthz", None);
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok\n"));
        assert_eq!(unit.restart().code(), Some(0));
    }
    assert!(fs::exists(&path).expect("a look"));
}
