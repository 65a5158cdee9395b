//! Whether time tells what a stranger may not know: a hosted module that is not visible, one that never was, one that was deleted.
//! The real binary on loopback, everything asked in turns, whoever asks on one connection: `make bench`. What changes on the machine
//! while it runs then changes for all alike.

mod gateway;
mod machine;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use base64::Engine as _;

use gateway::{Connection, Gateway};
use machine::machine;

/// Requests of each kind.
const ROUNDS: usize = 10_000;
/// Before anything is counted.
const WARM_UP: usize = 500;
/// How far a median may be from that of the absent module.
const GOAL: f64 = 0.05;

/// Their names are of one length.
const KINDS: [(&str, &str); 3] = [("absent", "x-none"), ("hosted, not visible", "x-here"), ("deleted", "x-gone")];
const READS: [&str; 3] = ["@v/list", "@v/v1.0.0.mod", "@latest"];
/// A host of one's own, and one that is shared, where more is looked at: whose repository a path is in.
const HOSTS: [&str; 2] = ["corp.example.com", "gopkg.in/corp"];

/// What module paths at this host end with.
fn suffix(host: &str) -> &'static str {
    if host.starts_with("gopkg.in/") { ".v1" } else { "" }
}

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench -- --list` ask for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let hash = modgate::access::hash_password("stranger-password").expect("a hash");
    let settings = format!(
        "upstream.goproxy = \"off\"\nupstream.sumdb = \"off\"\nprivate.patterns = [\"corp.example.com\", \"gopkg.in/corp\"]\n\
         [owners.team]\nvisibility = \"private\"\n[users.stranger]\npassword_hash = \"{hash}\"\n"
    );
    let gateway = Gateway::start(folder.path(), &settings);
    for host in HOSTS {
        for name in ["x-here", "x-gone"] {
            gateway.publish(&format!("{host}/{name}{}", suffix(host)));
        }
        let gone = format!("/api/v1/packages/team/go/{host}/x-gone{}/v1.0.0", suffix(host));
        assert_eq!(gateway.connect().ask("DELETE", &gone, &gateway.admin, &[]), 204);
    }
    let stranger = format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode("stranger:stranger-password"));
    // `--test`, as criterion has it: whether it runs at all.
    let rounds = if std::env::args().any(|arg| arg == "--test") { 1 } else { ROUNDS };
    println!("timing of what is not for the caller, {rounds} requests a kind, in turns, on {}", machine());
    let mut series: Vec<Series> = [("anonymous", ""), ("signed-in stranger", stranger.as_str())]
        .into_iter()
        .flat_map(|(who, authorization)| {
            let target = move |host, read| Series { who, authorization, host, read, times: Default::default() };
            HOSTS.into_iter().flat_map(move |host| READS.map(|read| target(host, read)))
        })
        .collect();
    measure(&gateway, &mut series, rounds);
    let within = series.iter_mut().fold(true, |within, series| series.tell() & within);
    println!("goal (each median within {:.0} % of the absent module's): {}", GOAL * 100.0, if within { "met" } else { "MISSED" });
    ExitCode::SUCCESS
}

/// One read by one caller, of all kinds.
struct Series<'a> {
    who: &'static str,
    authorization: &'a str,
    host: &'static str,
    read: &'static str,
    times: [Vec<Duration>; KINDS.len()],
}

impl Series<'_> {
    fn ask(&self, connection: &mut Connection, kind: usize) -> Duration {
        let (who, target) = (self.who, format!("/{}/{}{}/{}", self.host, KINDS[kind].1, suffix(self.host), self.read));
        let began = Instant::now();
        let status = connection.ask("GET", &target, self.authorization, &[]);
        let time = began.elapsed();
        assert_eq!(status, 404, "{who} {target}");
        time
    }

    /// Prints, and says whether the goal is met.
    fn tell(&mut self) -> bool {
        let medians = self.times.each_mut().map(|times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e6
        });
        let mut within = true;
        for ((kind, _), median) in KINDS.iter().zip(medians) {
            let ratio = median / medians[0];
            within &= (ratio - 1.0).abs() <= GOAL;
            let Self { who, host, read, .. } = self;
            println!("{who:<20} {host:<20} {read:<14} {kind:<20} median {median:8.1} us   ratio {ratio:.3}");
        }
        within
    }
}

/// Asks for everything once a round. Whoever comes first pays for what was asked before: each kind does so equally often, in every
/// series.
fn measure(gateway: &Gateway, series: &mut [Series<'_>], rounds: usize) {
    let mut connection = gateway.connect();
    let count = series.len();
    for round in 0..WARM_UP + rounds {
        for step in 0..count {
            let series = &mut series[(round / KINDS.len() + step) % count];
            for turn in 0..KINDS.len() {
                let kind = (round + turn) % KINDS.len();
                let time = series.ask(&mut connection, kind);
                if round >= WARM_UP {
                    series.times[kind].push(time);
                }
            }
        }
    }
}
