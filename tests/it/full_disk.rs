//! A disk that is full, for want of bytes or of inodes: what is published goes before what is cached, and what cannot be kept is
//! refused in clear words.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::support::curl::{self, Login, Reply};
use crate::support::files_below;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::upstream::Upstream;
use crate::support::zips;

/// Runs this test again in a mount namespace of its own, in which it may mount and nobody else sees it; `true` if we are in there.
fn in_a_namespace_of_its_own(test: &str) -> bool {
    const INSIDE: &str = "MODGATE_TEST_MAY_MOUNT";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(if rustix::process::geteuid().is_root() { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
    command.arg(std::env::current_exe().expect("this program")).args(["--exact", "--nocapture", test]).env(INSIDE, "1");
    let output = command.output().expect("run unshare");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn mount(args: &[&str], at: &Path) {
    let output = Command::new("mount").args(args).arg(at).output().expect("run mount");
    assert!(output.status.success(), "mount {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_serves_the_rest() {
    if !in_a_namespace_of_its_own("full_disk::a_full_disk_refuses_what_does_not_fit_and_serves_the_rest") {
        return;
    }
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config("[owners.default]\nvisibility = \"public\"\n").prepare();
    let data = gateway.data_dir();
    fs::create_dir(&data).expect("a folder");
    // The store keeps 8 MiB for itself.
    mount(&["-t", "tmpfs", "-o", "size=12m", "modgate-test"], &data);
    gateway.start();
    let admin = gateway.admin();
    let mut kept = 0;
    let blobs = loop {
        let blobs = files_below(&data.join("blobs"));
        let reply = publish(&gateway, &admin, kept, 512 << 10);
        if reply.status == 507 {
            break blobs;
        }
        reply.is(201);
        kept += 1;
        assert!(kept < 12, "12 MiB took {kept} modules of half a MiB");
    };
    assert!(kept > 0);
    // Nothing of it stays, and what was kept before is served.
    publish(&gateway, &admin, kept, 512 << 10).is(507);
    assert_eq!(files_below(&data.join("blobs")), blobs);
    assert!(files_below(&data.join("tmp")).is_empty(), "{:?}", files_below(&data.join("tmp")));
    for n in 0..kept {
        let reply = http::get(gateway.address(), &format!("/corp.example.com/m{n}/@v/v1.0.0.zip")).expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.body_text());
    }
    assert_eq!(gateway.ask("GET", &format!("/corp.example.com/m{kept}/@v/v1.0.0.info"), &[]).status, 404);
    gateway.cli(&["verify"]).ok();
    let check = gateway.cli(&["check"]);
    assert!(check.code == Some(1) && check.stdout.contains("MiB left"), "{check}");
    // A delete makes room again.
    delete(&gateway, &admin, 0).is(204);
    gateway.terminate();

    mount(&["-o", "remount,ro"], &data);
    let (code, said) = gateway.start_refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be written"), "{said}");
}

/// A gateway whose data directory is a file system of its own, made with these options of tmpfs. It caches whatever is free.
fn gateway_on(upstream: &Upstream, options: &str) -> Gateway {
    let gateway =
        Gateway::builder().upstream(upstream).config("[owners.default]\nvisibility = \"public\"\n[cache]\nmin_free = \"0\"\n").prepare();
    fs::create_dir(gateway.data_dir()).expect("a folder");
    mount(&["-t", "tmpfs", "-o", options, "modgate-test"], &gateway.data_dir());
    gateway
}

/// Takes all that is left of a file system, but for whole pages.
fn fill(data: &Path, name: &str) -> PathBuf {
    let path = data.join(name);
    let mut file = fs::File::options().create(true).append(true).open(&path).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    path
}

/// Publishes a module whose zip is of about so many bytes.
fn publish(gateway: &Gateway, login: &Login, number: usize, bytes: usize) -> Reply {
    let module = format!("corp.example.com/m{number}@v1.0.0/");
    let go_mod = format!("module corp.example.com/m{number}\n");
    let data: Vec<u8> = (0..bytes / 32).flat_map(|block| Sha256::digest(format!("{number} {block}"))).collect();
    let (first, second) = (format!("{module}go.mod"), format!("{module}data.bin"));
    let zip = zips::zip([(first.as_str(), go_mod.as_bytes()), (second.as_str(), data.as_slice())]);
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("m.zip");
    fs::write(&file, zip).expect("write a file");
    curl::publish(&gateway.url(), "default", Some(login), &file, None)
}

fn delete(gateway: &Gateway, login: &Login, number: usize) -> Reply {
    let url = format!("{}/api/v1/packages/default/go/corp.example.com/m{number}/v1.0.0", gateway.url());
    curl::curl(&["--user", &format!("{}:{}", login.user, login.password), "-X", "DELETE"], &url, None)
}

/// What is known of the disk is a moment old.
fn wait_for_readiness(gateway: &Gateway, status: u16) {
    let began = Instant::now();
    while gateway.ask("GET", "/readyz", &[]).status != status {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never {status}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Puts so many zips of 1 MiB into the cache of a gateway that is stopped.
fn cache_by_hand(data: &Path, zips: usize) {
    for number in 0..zips {
        let folder = data.join(format!("cache/download/example.net/big{number}/@v"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("v1.0.0.zip"), vec![0; 1 << 20]).expect("a zip");
        fs::write(folder.join("v1.0.0.ziphash"), "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").expect("its hash");
    }
    fs::remove_dir_all(data.join("index")).expect("no index");
}

fn cached_zips(data: &Path) -> usize {
    files_below(&data.join("cache")).iter().filter(|file| file.ends_with(".zip")).count()
}

#[test]
fn what_is_cached_gives_way_to_a_start_to_publishing_and_to_deleting() {
    if !in_a_namespace_of_its_own("full_disk::what_is_cached_gives_way_to_a_start_to_publishing_and_to_deleting") {
        return;
    }
    let upstream = Upstream::start();
    let mut gateway = gateway_on(&upstream, "size=64m");
    let data = gateway.data_dir();
    gateway.start();
    let admin = gateway.admin();
    gateway.terminate();

    // A start.
    cache_by_hand(&data, 40);
    let ballast = fill(&data, "ballast");
    gateway.start();
    let left = cached_zips(&data);
    assert!((28..40).contains(&left), "{left} zips are left");
    assert_eq!(gateway.ask("GET", "/readyz", &[]).status, 200);

    // Publishing: also what is longer than the reserve.
    fill(&data, "ballast");
    publish(&gateway, &admin, 0, 12 << 20).is(201);
    publish(&gateway, &admin, 1, 1 << 10).is(201);
    let left = cached_zips(&data);
    assert!((1..24).contains(&left), "{left} zips are left");

    // Deleting.
    fill(&data, "ballast");
    delete(&gateway, &admin, 1).is(204);
    assert!(cached_zips(&data) < left);

    // When nothing is left that could go.
    gateway.terminate();
    fs::remove_dir_all(data.join("cache")).expect("no cache");
    fill(&data, "ballast");
    let (code, said) = gateway.start_refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the disk is full, and nothing that is cached there is left to give way"), "{said}");
    fs::remove_file(ballast).expect("room");
    gateway.start();
    assert_eq!(gateway.ask("GET", "/corp.example.com/m0/@v/v1.0.0.info", &[]).status, 200);
}

#[test]
fn a_delete_that_a_full_disk_cannot_record_says_so() {
    if !in_a_namespace_of_its_own("full_disk::a_delete_that_a_full_disk_cannot_record_says_so") {
        return;
    }
    let upstream = Upstream::start();
    let mut gateway = gateway_on(&upstream, "size=24m");
    gateway.start();
    let admin = gateway.admin();
    for number in 0..40 {
        publish(&gateway, &admin, number, 64).is(201);
    }
    // Within the page that the journal ends in there is room for some.
    let refused = (0..40).find_map(|number| {
        fill(&gateway.data_dir(), "ballast");
        let reply = delete(&gateway, &admin, number);
        (reply.status != 204).then_some((number, reply))
    });
    let (number, reply) = refused.expect("a delete that is refused");
    reply.is(507);
    assert!(reply.body.contains("the deletion could not be recorded for good; delete it again when there is room"), "{}", reply.body);
    // Whatever had become of it.
    fs::remove_file(gateway.data_dir().join("ballast")).expect("room");
    wait_for_readiness(&gateway, 200);
    // What could not be written is tried again by itself, a little later.
    let until = Instant::now() + Duration::from_secs(30);
    let again = loop {
        let again = delete(&gateway, &admin, number);
        if again.status != 507 || Instant::now() > until {
            break again;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(matches!(again.status, 204 | 404), "{again:?}");
    assert_eq!(gateway.ask("GET", &format!("/corp.example.com/m{number}/@v/v1.0.0.info"), &[]).status, 404);
}

#[test]
fn a_version_that_a_full_disk_cannot_seal_or_record_is_answered_when_there_is_room_again() {
    if !in_a_namespace_of_its_own("full_disk::a_version_that_a_full_disk_cannot_seal_or_record_is_answered_when_there_is_room_again") {
        return;
    }
    let upstream = Upstream::start();
    let mut gateway = gateway_on(&upstream, "size=24m");
    gateway.start();
    let admin = gateway.admin();
    for number in 0..2 {
        publish(&gateway, &admin, number, 64).is(201);
    }
    let printed = gateway.cli(&["sumdb"]).ok().to_owned();
    let hash = printed.split('+').next().and_then(|name| name.rsplit('/').next()).expect("a name").to_owned();
    let ballast = fill(&gateway.data_dir(), "ballast");
    let refused = "this version cannot be given out for the first time until there is room again";
    let targets = [0, 1].map(|number| format!("/{hash}/lookup/corp.example.com/m{number}@v1.0.0"));
    for target in &targets {
        let answer = gateway.ask("GET", target, &[]);
        assert!(answer.status == 503 && answer.body_text().contains(refused), "{}: {}", answer.status, answer.body_text());
        assert!(answer.header("retry-after").is_some());
    }
    fs::remove_file(ballast).expect("room");
    wait_for_readiness(&gateway, 200);
    let until = Instant::now() + Duration::from_secs(30);
    for (number, target) in targets.iter().enumerate() {
        let answer = loop {
            let answer = gateway.ask("GET", target, &[]);
            // What could not be written is tried again by itself, a little later.
            if answer.status != 503 || Instant::now() > until {
                break answer;
            }
            thread::sleep(Duration::from_millis(100));
        };
        let expected = format!("{number}\ncorp.example.com/m{number} v1.0.0 h1:");
        assert!(answer.status == 200 && answer.body_text().starts_with(&expected), "{}", answer.body_text());
    }
    assert!(gateway.cli(&["sumdb"]).ok().contains("\nsize 2\n"));
}

#[test]
fn a_disk_without_free_inodes_is_full_and_the_rest_is_served() {
    if !in_a_namespace_of_its_own("full_disk::a_disk_without_free_inodes_is_full_and_the_rest_is_served") {
        return;
    }
    let upstream = Upstream::start();
    let mut gateway = gateway_on(&upstream, "size=64m,nr_inodes=400");
    let data = gateway.data_dir();
    gateway.start();
    let admin = gateway.admin();
    let taken = data.join("taken");
    fs::create_dir(&taken).expect("a folder");
    let free = (0..).find(|number| fs::write(taken.join(number.to_string()), "").is_err()).expect("an end");
    assert!(free > 100, "{free}");
    publish(&gateway, &admin, 0, 64).is(507);
    wait_for_readiness(&gateway, 503);
    assert_eq!(gateway.ask("GET", "/example.net/alpha/@v/list", &[]).status, 200);
    let check = gateway.cli(&["check"]);
    assert!(check.code == Some(1) && check.stdout.contains("free inodes left"), "{check}");
    fs::remove_dir_all(taken).expect("room");
    publish(&gateway, &admin, 0, 64).is(201);
}

#[test]
fn a_restore_onto_a_full_disk_says_so_and_leaves_nothing() {
    if !in_a_namespace_of_its_own("full_disk::a_restore_onto_a_full_disk_says_so_and_leaves_nothing") {
        return;
    }
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).prepare();
    let scratch = tempfile::tempdir().expect("a folder");
    let (archive, data) = (scratch.path().join("backup.tar"), scratch.path().join("data"));
    fs::write(&archive, "").expect("a file");
    fs::create_dir(&data).expect("a folder");
    // One inode is the folder's own: there is none for the lock, then none for what is staged.
    for inodes in [1, 2] {
        mount(&["-t", "tmpfs", "-o", &format!("size=1m,nr_inodes={inodes}"), "modgate-test"], &data);
        let ran = gateway.cli_over(&data, &[], &["restore", archive.to_str().expect("a path in UTF-8")]);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("the disk is full; make room on its file system") && !ran.stderr.contains("cached"), "{ran}");
        assert_eq!(fs::read_dir(&data).expect("a folder").count(), 0, "{inodes}");
    }
}
