//! Publishing with the real curl: raw, as a form, large, many at once, and through crashes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::curl::{self, Login};
use crate::support::files_below;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const SETTINGS: &str = "[owners.default]\nvisibility = \"public\"\n[owners.other]\nvisibility = \"public\"\n";

fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::builder().upstream(upstream).config(SETTINGS).start()
}

fn module(path: &str, version: &str, text: &str) -> Module {
    Module::parse(&format!("{path}@{version}\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a // {text}\n"))
}

/// A module zip of about this many bytes that does not compress.
fn large_zip(folder: &Path, bytes: usize) -> PathBuf {
    let path = folder.join("large.zip");
    let mut zip = ZipWriter::new(File::create(&path).expect("make a file"));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("corp.example.com/large@v1.0.0/go.mod", stored).expect("an entry");
    zip.write_all(b"module corp.example.com/large\n").expect("write");
    zip.start_file("corp.example.com/large@v1.0.0/data.bin", stored).expect("an entry");
    let mut state = 1_u64;
    let mut block = vec![0_u8; 1 << 20];
    for _ in 0..bytes >> 20 {
        for chunk in block.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        zip.write_all(&block).expect("write");
    }
    zip.finish().expect("finish");
    path
}

/// Resident memory of a process, in KiB: now, and the most since [`forget_peak`].
fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read /proc");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("the field");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("reset the peak");
}

#[test]
fn a_300_mib_zip_is_streamed_to_disk() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let scratch = tempfile::tempdir().expect("a folder");
    let zip = large_zip(scratch.path(), 300 << 20);
    let pid = gateway.pid().expect("it runs");
    // What a first publish costs for good is not the question.
    curl::publish(
        &gateway.url(),
        "default",
        Some(&gateway.admin()),
        &module("corp.example.com/a", "v1.0.0", "").write_zip(scratch.path()),
        None,
    )
    .is(201);
    forget_peak(pid);
    let (before, _) = memory(pid);
    curl::publish(&gateway.url(), "default", Some(&gateway.admin()), &zip, None).is(201);
    let (_, peak) = memory(pid);
    let grown = peak.saturating_sub(before);
    println!("300 MiB published: RSS {before} KiB before, at most {peak} KiB: grown by {grown} KiB");
    assert!(grown < 32 << 10, "grown by {grown} KiB");
    let fetched = scratch.path().join("fetched.zip");
    let target = format!("{}/corp.example.com/large/@v/v1.0.0.zip", gateway.url());
    forget_peak(pid);
    curl::curl(&["--output", fetched.to_str().expect("UTF-8")], &target, None).is(200);
    let (_, peak) = memory(pid);
    println!("300 MiB fetched: at most {peak} KiB");
    assert!(peak.saturating_sub(before) < 32 << 10, "{before} {peak}");
    assert!(fs::read(&fetched).expect("read") == fs::read(&zip).expect("read"), "what was fetched is not what was published");
}

#[test]
fn a_form_is_taken_like_a_raw_body() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let scratch = tempfile::tempdir().expect("a folder");
    let zip = module("corp.example.com/form", "v1.0.0", "").write_zip(scratch.path());
    let login = gateway.admin();
    let user = format!("{}:{}", login.user, login.password);
    let target = format!("{}/api/packages/default/go/upload", gateway.url());
    let file = format!("file=@{}", zip.display());
    let args = ["--user", &user, "-X", "PUT", "--form", "note=first a field", "--form", &file];
    let reply = curl::curl(&args, &target, None);
    assert!(reply.is(201).body.starts_with("corp.example.com/form v1.0.0 h1:"), "{}", reply.body);
    curl::curl(&["--user", &user, "-X", "PUT", "--form", "note=no file"], &target, None).is(400);
    let bytes = http::get(gateway.address(), "/corp.example.com/form/@v/v1.0.0.zip").expect("a reply").body;
    assert_eq!(bytes, fs::read(&zip).expect("read"));
}

#[test]
fn eight_at_once_are_all_kept_and_of_two_for_one_version_one_wins() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let scratch = tempfile::tempdir().expect("a folder");
    let login = gateway.admin();
    let publish = |owner: &str, zip: &Path| curl::publish(&gateway.url(), owner, Some(&login), zip, None);
    thread::scope(|scope| {
        let tasks: Vec<_> = (0..8)
            .map(|client| {
                let (publish, scratch) = (&publish, scratch.path());
                scope.spawn(move || {
                    for n in 0..5 {
                        let zip = module(&format!("corp.example.com/at-once/m{client}"), &format!("v1.{n}.0"), "").write_zip(scratch);
                        publish("default", &zip).is(201);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join().expect("a client");
        }
    });
    for client in 0..8 {
        let list = http::get(gateway.address(), &format!("/corp.example.com/at-once/m{client}/@v/list")).expect("a reply");
        assert_eq!(list.body_text(), "v1.0.0\nv1.1.0\nv1.2.0\nv1.3.0\nv1.4.0\n");
    }
    // One version, other contents: one is kept, and the loser's bytes are nowhere.
    for round in 0..5 {
        let zips: Vec<PathBuf> = (0..4)
            .map(|n| {
                let folder = scratch.path().join(format!("{round}-{n}"));
                fs::create_dir(&folder).expect("a folder");
                module("corp.example.com/race", &format!("v1.{round}.0"), &n.to_string()).write_zip(&folder)
            })
            .collect();
        let before = fs::read_dir(gateway.data_dir().join("blobs")).expect("blobs").count();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let tasks: Vec<_> = zips.iter().map(|zip| scope.spawn(|| publish("default", zip).status)).collect();
            tasks.into_iter().map(|task| task.join().expect("a client")).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 3, "{statuses:?}");
        let after = fs::read_dir(gateway.data_dir().join("blobs")).expect("blobs").count();
        // The go.mod is the same in all rounds.
        assert!(after - before <= if round == 0 { 2 } else { 1 }, "{before} {after}");
    }
    // One path, two owners: one wins.
    let zip = module("corp.example.com/owned", "v1.0.0", "").write_zip(scratch.path());
    let statuses: Vec<u16> = thread::scope(|scope| {
        let tasks: Vec<_> = ["default", "other"]
            .map(|owner| {
                scope.spawn({
                    let (publish, zip) = (&publish, &zip);
                    move || publish(owner, zip).status
                })
            })
            .into();
        tasks.into_iter().map(|task| task.join().expect("a client")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    gateway.cli(&["verify"]).ok();
}

/// Publishes six modules at once and kills the gateway after `instant`, or not at all. Returns what was acknowledged: 201 means kept.
fn publish_until_killed(
    gateway: &mut Gateway,
    login: &Login,
    round: u32,
    folder: &Path,
    instant: Option<Duration>,
) -> BTreeMap<String, Vec<u8>> {
    let url = gateway.url();
    let mut children = vec![];
    for n in 0..6 {
        let path = format!("corp.example.com/crash/r{round}n{n}");
        let zip = module(&path, "v1.0.0", &"x".repeat(2000)).write_zip(folder);
        let child = Command::new("curl")
            .args(["--disable", "--silent", "--noproxy", "*", "--user", &format!("{}:{}", login.user, login.password), "--upload-file"])
            .arg(&zip)
            .args(["--output", "/dev/null", "--write-out", "%{http_code}", &format!("{url}/api/packages/default/go/upload")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start curl");
        children.push((path, zip, child));
    }
    if let Some(instant) = instant {
        let end = Instant::now() + instant;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        gateway.kill();
    }
    let mut kept = BTreeMap::new();
    for (path, zip, child) in children {
        let output = child.wait_with_output().expect("curl ends");
        if output.stdout == b"201" {
            kept.insert(path, fs::read(zip).expect("read"));
        }
    }
    kept
}

#[test]
fn kill_9_at_any_instant_loses_nothing_acknowledged_and_serves_nothing_half() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream);
    let login = gateway.admin();
    let scratch = tempfile::tempdir().expect("a folder");
    let mut kept: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut cut = 0;
    // How long six take when nobody kills it: the instants are spread over that, before the first record to after the last.
    let whole = Instant::now();
    assert_eq!(publish_until_killed(&mut gateway, &login, 1000, scratch.path(), None).len(), 6);
    let whole = whole.elapsed();
    for round in 0..30 {
        let acknowledged = publish_until_killed(&mut gateway, &login, round, scratch.path(), Some(whole * (round + 2) / 32));
        cut += 6 - acknowledged.len();
        kept.extend(acknowledged);
        gateway.start();
        for n in 0..6 {
            let path = format!("corp.example.com/crash/r{round}n{n}");
            let zip = http::get(gateway.address(), &format!("/{path}/@v/v1.0.0.zip")).expect("a reply");
            match (kept.get(&path), zip.status) {
                (Some(bytes), 200) => assert_eq!(&zip.body, bytes, "{path}"),
                (Some(_), status) => panic!("{path} was acknowledged and is {status} now: {}", zip.body_text()),
                // Kept, but nobody heard of it: whole all the same.
                (None, 200) => assert_eq!(http::get(gateway.address(), &format!("/{path}/@v/v1.0.0.mod")).expect("a reply").status, 200),
                (None, status) => assert_eq!(status, 404, "{path}"),
            }
        }
        // What was just given out is on its way into the checksum database.
        let until = Instant::now() + Duration::from_secs(30);
        let staged = loop {
            let staged = files_below(&gateway.data_dir().join("tmp"));
            if staged.is_empty() || Instant::now() > until {
                break staged;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(staged.is_empty(), "tmp/ was not swept: {staged:?}");
        gateway.cli(&["verify"]).ok();
    }
    println!("30 rounds: {} acknowledged and kept, {cut} cut", kept.len());
    assert!(kept.len() >= 10 && cut >= 10, "the instants hit too little: {} kept, {cut} cut", kept.len());
}

#[test]
fn whatever_happens_to_the_index_is_rebuilt_from_the_records() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream);
    let scratch = tempfile::tempdir().expect("a folder");
    let login = gateway.admin();
    for n in 0..20 {
        let zip = module(&format!("corp.example.com/index/m{n}"), "v1.0.0", "").write_zip(scratch.path());
        curl::publish(&gateway.url(), "default", Some(&login), &zip, None).is(201);
    }
    let target = format!("{}/api/v1/packages/default/go/corp.example.com/index/m0/v1.0.0", gateway.url());
    curl::curl(&["--user", &format!("{}:{}", login.user, login.password), "-X", "DELETE"], &target, None).is(204);
    let all_there = |gateway: &Gateway, what: &str| {
        for n in 0..20 {
            let reply = http::get(gateway.address(), &format!("/corp.example.com/index/m{n}/@v/v1.0.0.info")).expect("a reply");
            assert_eq!(reply.status, if n == 0 { 404 } else { 200 }, "m{n} after {what}");
        }
        assert!(gateway.cli(&["claim", "list"]).ok().contains("corp.example.com/index/m0"), "the tombstone is gone after {what}");
        gateway.cli(&["verify"]).ok();
        let reply = gateway.ask("HEAD", "/", &[("Authorization", &format!("Bearer {}", login.password))]);
        assert_eq!(reply.status, 200, "the token is gone after {what}");
    };
    let meta = gateway.data_dir().join("meta");
    gateway.kill();
    fs::remove_dir_all(&meta).expect("remove the index");
    gateway.start();
    all_there(&gateway, "its folder was deleted");
    for at in [0_usize, 1, 2, 3] {
        gateway.kill();
        let file = meta.join("db");
        let bytes = fs::read(&file).expect("sled's file");
        fs::write(&file, &bytes[..bytes.len() * at / 4]).expect("truncate");
        gateway.start();
        all_there(&gateway, &format!("its file was cut to {at}/4"));
        gateway.kill();
        let mut bytes = fs::read(&file).expect("sled's file");
        let middle = bytes.len() * (at + 1) / 5;
        for byte in bytes.iter_mut().skip(middle).take(4096) {
            *byte = byte.wrapping_add(0x5a);
        }
        fs::write(&file, &bytes).expect("overwrite");
        gateway.start();
        all_there(&gateway, &format!("bytes at {middle} were changed"));
    }
}
