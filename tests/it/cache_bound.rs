//! The bound on the disk, looked at from outside while fills compete and the gateway is killed; and the commands that drop
//! what is cached.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::support::gateway::Gateway;
use crate::support::http::{self, Response};
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips::Module;

const MIB: u64 = 1 << 20;
const BOUND: u64 = 50 * MIB;
/// What is fetched from upstream in all, bytes.
const FETCHED: u64 = 500 * MIB;
/// The longest zip, about, bytes.
const BYTES_MAX: u64 = 8 * MIB;
/// When the gateway is killed, bytes fetched.
const KILLS: [u64; 2] = [150 * MIB, 300 * MIB];
const CLIENTS: usize = 4;
const SAMPLE: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(300);

/// Modules whose zips have about so many bytes, which do not shrink.
fn modules(bytes: impl IntoIterator<Item = u64>) -> Vec<Module> {
    let mut state: u64 = 1;
    let words = (0..BYTES_MAX / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let data: Vec<u8> = words.collect();
    let module = |(number, bytes)| {
        let mut module = Module::parse(&format!("example.com/big/m{number}@v1.0.0\n"));
        module.files = vec![("data".to_owned(), data[..bytes as usize].to_vec())];
        module
    };
    bytes.into_iter().enumerate().map(module).collect()
}

fn target(module: &Module) -> String {
    format!("/{}/@v/{}.zip", module.path, module.version)
}

/// The files that the bound counts, by what no other file ever is: number and time of birth.
fn files(dir: &Path, found: &mut HashMap<(u64, SystemTime), u64>) {
    use std::os::unix::fs::MetadataExt as _;
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        match item.metadata() {
            Ok(meta) if meta.is_dir() => files(&item.path(), found),
            Ok(meta) => drop(found.insert((meta.ino(), meta.created().unwrap_or(SystemTime::UNIX_EPOCH)), meta.len())),
            Err(_) => {}
        }
    }
}

fn walk(data: &Path) -> HashMap<(u64, SystemTime), u64> {
    let mut found = HashMap::new();
    files(&data.join("cache"), &mut found);
    files(&data.join("tmp"), &mut found);
    found
}

/// The sum of the files' lengths at one moment, or a little less: a walk takes time, in which files come and go, but what
/// two walks in a row find was there between them.
fn sample(data: &Path) -> u64 {
    let (before, after) = (walk(data), walk(data));
    before.iter().filter_map(|(file, len)| after.get(file).map(|later| later.min(len))).sum()
}

#[test]
fn the_disk_never_holds_more_than_the_bound_while_fills_compete_and_the_gateway_is_killed() {
    let modules = modules((0..20).map(|number| (number % 8 + 1) * BYTES_MAX / 8));
    let upstream = Upstream::start_with(modules.clone(), Tree::Growing);
    for module in &modules {
        upstream.answer(&target(module), Response::of(200, "application/zip", module.zip()));
    }
    let mut gateway = Gateway::builder().upstream(&upstream).config("[cache]\nmax_size = \"50MiB\"\nmin_free = \"0\"\n").start();
    let (data, address) = (gateway.data_dir(), gateway.address());
    let (fetched, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let (most, samples) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut most, mut samples) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                let sum = sample(&data);
                assert!(sum <= BOUND, "{sum} bytes");
                (most, samples) = (most.max(sum), samples + 1);
                thread::sleep(SAMPLE);
            }
            (most, samples)
        });
        for client in 0..CLIENTS {
            let (modules, fetched) = (&modules, &fetched);
            scope.spawn(move || {
                for turn in 0.. {
                    if fetched.load(Ordering::SeqCst) >= FETCHED || started.elapsed() > DEADLINE {
                        return;
                    }
                    let module = &modules[(client * 6 + turn * 5) % modules.len()];
                    // While the gateway is away nobody answers.
                    let Ok(answer) = http::get(address, &target(module)) else { continue };
                    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                    if answer.header("cache-status").is_some_and(|status| status.contains("fwd=miss")) {
                        fetched.fetch_add(answer.body.len() as u64, Ordering::SeqCst);
                    }
                }
            });
        }
        for kill in KILLS {
            let is_filling = || fs::read_dir(data.join("tmp/cache")).is_ok_and(|mut staged| staged.next().is_some());
            while (fetched.load(Ordering::SeqCst) < kill || !is_filling()) && started.elapsed() < DEADLINE {
                thread::yield_now();
            }
            gateway.kill();
            gateway.start();
        }
        while fetched.load(Ordering::SeqCst) < FETCHED && started.elapsed() < DEADLINE {
            thread::sleep(SAMPLE);
        }
        done.store(true, Ordering::SeqCst);
        watch.join().expect("no sample is over the bound")
    });
    assert!(fetched.load(Ordering::SeqCst) >= FETCHED, "{} bytes in {DEADLINE:?}", fetched.load(Ordering::SeqCst));
    println!("{samples} samples, at most {most} of {BOUND} bytes, in {:.1} s", started.elapsed().as_secs_f64());
    assert!(most > BOUND / 2 && samples > 10, "{most} bytes at most in {samples} samples");
    assert!(!gateway.log().contains("corrupt"), "{}", gateway.log());
    // What is there after a clean stop is there after the next start.
    gateway.restart();
    let log = gateway.log_with(&["\"from\":\"snapshot\""]);
    assert_eq!(log.matches("\"from\":\"scan\"").count(), 1 + KILLS.len(), "{log}");
}

#[test]
fn a_purge_drops_a_version_or_a_module_and_the_next_request_fetches_it_anew() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[cache]\nmin_free = \"0\"\n").start();
    let asks = ["@v/list", "@v/v1.0.0.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip", "@v/v1.1.0.mod"];
    let modules = [Module::parse("example.com/big/small@v1.0.0\n"), Module::parse("example.com/big/small@v1.1.0\n")];
    for module in &modules {
        upstream.answer(&target(module), Response::of(200, "application/zip", module.zip()));
        let file = |ext: &str| format!("/{}/@v/{}.{ext}", module.path, module.version);
        upstream.answer(&file("info"), Response::of(200, "application/json", module.info.clone().into_bytes()));
        upstream.answer(&file("mod"), Response::text(200, "module example.com/big/small\n"));
    }
    upstream.answer("/example.com/big/small/@v/list", Response::text(200, "v1.0.0\nv1.1.0\n"));
    let get = |ask: &str| {
        let answer = http::get(gateway.address(), &format!("/example.com/big/small/{ask}")).expect("an answer");
        assert_eq!(answer.status, 200, "{ask}: {}", String::from_utf8_lossy(&answer.body));
        answer.header("cache-status").expect("a cache status").to_owned()
    };
    let all = || asks.map(|ask| get(ask).contains("hit"));
    assert_eq!(all(), [false; 5]);
    assert_eq!(all(), [true; 5]);
    let purged = gateway.cli(&["refresh", "--purge", "example.com/big/small@v1.0.0"]);
    assert!(purged.code == Some(0) && purged.stdout.starts_with("purged: 4 files, "), "{purged:?}");
    assert_eq!(all(), [true, false, false, false, true]);
    let purged = gateway.cli(&["refresh", "--purge", "example.com/big/small"]);
    assert!(purged.stdout.starts_with("purged: 7 files, "), "{purged:?}");
    assert_eq!(all(), [false; 5]);
    for wrong in [vec!["refresh", "--purge", "no module"], vec!["refresh", "--purge", "example.com/m@1"], vec!["refresh", "--purge"]] {
        assert_eq!(gateway.cli(&wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn gc_tells_what_goes_and_removes_it_only_by_force_and_shows_last_copies() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[cache]\nmin_free = \"0\"\n[upstream]\nverify = \"off\"\n").start();
    let module = Module::parse("example.com/big/gone@v1.0.0\n");
    let file = |ext: &str| format!("/{}/@v/{}.{ext}", module.path, module.version);
    upstream.answer(&file("mod"), Response::text(200, "module example.com/big/gone\n"));
    assert_eq!(http::get(gateway.address(), &file("mod")).expect("an answer").status, 200);
    let nothing = gateway.cli(&["gc"]);
    assert!(nothing.code == Some(0) && nothing.stdout == "nothing to remove\n", "{nothing:?}");
    // Upstream says that the version is gone: what is kept of it is the last copy.
    upstream.answer(&file("zip"), Response::text(410, "gone\n"));
    assert_eq!(http::get(gateway.address(), &file("zip")).expect("an answer").status, 404 + 6);
    let stray = gateway.data_dir().join("cache/download/README");
    fs::write(&stray, "mine").expect("write a stray file");
    let kept = "last-copy\tdownload/example.com/big/gone/@v/v1.0.0.mod\t28\tupstream has it no more; stays\n";
    let found = gateway.cli(&["gc"]);
    let goes = "cache-stray\tdownload/README\t4\tis nobody's\n";
    assert_eq!(found.stdout, format!("{kept}{goes}would remove: 1 files, 4 bytes; --force removes them\n"));
    assert!(stray.exists());
    assert_eq!(gateway.cli(&["gc", "--force"]).stdout, format!("{kept}{goes}removed: 1 files, 4 bytes\n"));
    assert!(!stray.exists());
    assert_eq!(gateway.cli(&["gc"]).stdout, format!("{kept}nothing to remove\n"));
    assert!(gateway.cli(&["gc", "--json"]).stdout.contains("\"kind\":\"last-copy\""));
}
