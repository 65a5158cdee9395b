//! What a warm look-up costs beside the hit of an `.info`: processor time of the gateway a request, asked in turns: `make bench`.
//!
//! Two gateways, the real binary on loopback. One hosts modules, and records them in its checksum database; for the other it is the
//! upstream and the public checksum database, whose look-ups that keeps, and copies into a database of its own.

mod gateway;
mod machine;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use modgate::tlog::{SignerKey, VerifierKey};

use gateway::{Connection, Gateway};
use machine::machine;

/// More than a tile has records.
const MODULES: usize = 300;
/// How often each kind is asked for in turn.
const TURNS: usize = 20;
/// Requests in a turn.
const TURN: usize = 2_000;

/// What is asked for, of whom.
struct Kind<'a> {
    name: &'static str,
    gateway: &'a Gateway,
    connection: Connection,
    target: Box<dyn Fn(usize) -> String + 'a>,
    processor: Duration,
}

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench -- --list` ask for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    // `--test`, as criterion has it: whether it runs at all.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (modules, turns, turn) = if is_test { (2, 1, 2) } else { (MODULES, TURNS, TURN) };
    println!("warm look-ups, {} requests a kind, in turns, on {}", turns * turn, machine());
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let off = "upstream.goproxy = \"off\"\nupstream.sumdb = \"off\"\n[owners.team]\nvisibility = \"public\"\n";
    let origin = Gateway::start(folders[0].path(), off);
    let public = key(folders[0].path());
    let sumdb = format!("{public} http://{}/sumdb/{}", origin.address, public.name());
    let proxy =
        Gateway::start(folders[1].path(), &format!("upstream.goproxy = \"http://{}\"\nupstream.sumdb = \"{sumdb}\"\n", origin.address));
    let own = key(folders[1].path());
    for n in 0..modules {
        origin.publish(&path(n));
    }
    let kind = |name, gateway, target| Kind { name, gateway, connection: Gateway::connect(gateway), target, processor: Duration::ZERO };
    let look_up = |key: &VerifierKey| -> Box<dyn Fn(usize) -> String> {
        let name = key.name().to_owned();
        Box::new(move |n| format!("/sumdb/{name}/lookup/{}@v1.0.0", path(n)))
    };
    let info = || -> Box<dyn Fn(usize) -> String> { Box::new(|n| format!("/{}/@v/v1.0.0.info", path(n))) };
    let mut kinds = [
        kind(".info, from the cache", &proxy, info()),
        kind("public database, kept", &proxy, look_up(&public)),
        kind("own, of a public module", &proxy, look_up(&own)),
        kind(".info, hosted", &origin, info()),
        kind("own, of a hosted module", &origin, look_up(&public)),
    ];
    for kind in &mut kinds {
        // Twice: what came from elsewhere is read back by the second.
        kind.ask(2 * modules, modules);
    }
    for _ in 0..turns {
        for kind in &mut kinds {
            let before = processor_time(kind.gateway);
            kind.ask(turn, modules);
            kind.processor += processor_time(kind.gateway).saturating_sub(before);
        }
    }
    let requests = (turns * turn) as f64;
    let info = kinds[0].processor.as_secs_f64();
    for Kind { name, processor, .. } in &kinds {
        let each = processor.as_secs_f64() * 1e6 / requests;
        println!("{name:<26} {each:7.1} us of processor a request   ratio {:.2}", processor.as_secs_f64() / info);
    }
    ExitCode::SUCCESS
}

impl Kind<'_> {
    fn ask(&mut self, requests: usize, modules: usize) {
        for n in 0..requests {
            let target = (self.target)(n % modules);
            assert_eq!(self.connection.ask("GET", &target, "", &[]), 200, "{target}");
        }
    }
}

fn path(n: usize) -> String {
    format!("github.com/organisation/module-{n:03}")
}

/// Of the gateway's own checksum database.
fn key(folder: &Path) -> VerifierKey {
    let key = fs::read_to_string(folder.join("data/sumdb/log/key")).expect("a key file");
    key.trim().parse::<SignerKey>().expect("a key").verifier()
}

/// Of all threads of the gateway that are still there.
fn processor_time(gateway: &Gateway) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", gateway.child.id())).expect("its threads");
    let of = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(|thread| of(thread.ok()?)).sum())
}
