//! Our own checksum log, audited by golang.org/x/mod's own client (`tests/go/xmod/auditors.go`) while the process that serves it is killed
//! again and again: every head that was ever told is of one log, and every record that was ever answered is in it, under its number.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use modgate::module::H1;
use modgate::tlog::{Record, VerifierKey};
use serde_json::{Value, json};

use super::access_matrix::basic;
use super::store_crash::runtime;
use super::sumdb_log::open;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips::Module;

const SETTINGS: &str = "[private]\npatterns = [\"corp.example.com\"]\n[owners.pub]\nvisibility = \"public\"\n[log]\naccess = false\n";
/// How many clients remember a newest head of their own.
const AUDITORS: u8 = 4;
/// So many look-ups are on their way at once.
const AT_ONCE: usize = 16;
/// How long a look-up, or a publish, may take while the gateway is killed and comes back.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries to publish while nobody listens.
const PAUSE: Duration = Duration::from_millis(5);
/// How long all of the log may take.
const WHOLE_LOG: Duration = Duration::from_secs(1200);

/// What happens in a round.
struct Round {
    /// Records that the log has before.
    old: u64,
    /// Versions that the public database has, each looked up first while the gateway is killed.
    public: u64,
    /// Versions that are published meanwhile, and sealed by their first look-ups.
    hosted: usize,
    kills: usize,
}

#[test]
fn x_mod_s_own_clients_find_one_log_however_often_its_process_is_killed() {
    run(&Round { old: 1500, public: 500, hosted: 60, kills: 20 });
}

#[test]
#[ignore = "takes minutes: make audit-log"]
fn x_mod_s_own_clients_find_one_large_log_however_often_its_process_is_killed() {
    run(&Round { old: 20_000, public: 8000, hosted: 800, kills: 200 });
}

fn run(round: &Round) {
    let upstream = Upstream::start_with(Vec::new(), Tree::Growing);
    let public = upstream.make_up(round.public);
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    gateway.terminate();
    append(&gateway.data_dir(), round.old);
    gateway.start();
    let mut auditors = Auditors::start(&gateway);
    let answered = thread::scope(|scope| {
        let (is_published, published) = sync_channel(1);
        let publisher = Publisher { to: gateway.address(), authorization: authorization(&gateway) };
        scope.spawn(move || publisher.publish(round.hosted, &is_published));
        look_up(round, &mut gateway, &mut auditors, public.into(), &published)
    });
    let report = auditors.finish();
    eprintln!("{} kills, {report}", round.kills);
    assert_eq!(report["wrongs"], 0, "{report:#}");
    assert_eq!(report["records"], json!(round.old + answered as u64), "{report:#}");
}

fn authorization(gateway: &Gateway) -> String {
    let admin = gateway.admin();
    basic(&admin.user, &admin.password)
}

/// Appends records of public versions to the log of a data directory that nobody has open.
fn append(data_dir: &Path, count: u64) {
    let record = |i| {
        let path = format!("example.org/old/{i}").parse().expect("a path");
        Record { path, version: "v1.0.0".parse().expect("a version"), zip: H1([1; 32]), go_mod: H1([2; 32]) }
    };
    let log = open(data_dir, None).expect("the gateway's log");
    let appended = runtime().block_on(join_all((0..count).map(|i| log.append(record(i)))));
    assert!(appended.iter().all(Result::is_ok));
}

/// Has all versions looked up, and kills the gateway now and then when one was answered; how many were.
fn look_up(
    round: &Round,
    gateway: &mut Gateway,
    auditors: &mut Auditors,
    mut public: VecDeque<String>,
    published: &Receiver<String>,
) -> usize {
    let every = (public.len() + round.hosted) / (round.kills + 1);
    let (mut asked, mut answered, mut killed) = (0, 0, 0);
    loop {
        while asked - answered < AT_ONCE {
            // Where nothing else is left the publisher is waited for, to its end.
            let next = published.try_recv().ok().or_else(|| public.pop_front());
            let Some(next) = next.or_else(|| published.recv().ok()) else { break };
            auditors.ask(&next);
            asked += 1;
        }
        if asked == answered {
            break;
        }
        auditors.wait_for_one();
        answered += 1;
        if killed < round.kills && answered >= (killed + 1) * every {
            gateway.kill();
            killed += 1;
            gateway.start();
        }
    }
    assert_eq!((answered, killed), (round.public as usize + round.hosted, round.kills));
    answered
}

/// Publishes modules, each under a name of its own.
struct Publisher {
    to: SocketAddr,
    authorization: String,
}

impl Publisher {
    /// Tells of `count` that were answered with 201, until nobody listens. Those whose answer was cut nobody is told of.
    fn publish(&self, count: usize, is_published: &SyncSender<String>) {
        let deadline = |since: Instant| since.elapsed() < PATIENCE;
        let (mut told, mut since) = (0, Instant::now());
        for number in 0.. {
            if told == count {
                return;
            }
            let path = format!("corp.example.com/m{number}");
            if self.put(&path) {
                (told, since) = (told + 1, Instant::now());
                if is_published.send(format!("{path}@v1.0.0")).is_err() {
                    return;
                }
            }
            assert!(deadline(since), "nothing can be published");
        }
    }

    fn put(&self, path: &str) -> bool {
        let zip = Module::parse(&format!("{path}@v1.0.0\n-- go.mod --\nmodule {path}\n")).zip();
        let head = format!(
            "PUT /api/packages/pub/go/upload HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.to,
            self.authorization,
            zip.len()
        );
        match http::send(self.to, &[head.as_bytes(), &zip].concat()) {
            Ok(answer) if answer.status < 500 => {
                assert_eq!(answer.status, 201, "{path}: {}", answer.body_text());
                true
            }
            // It was killed, or is not there yet.
            Ok(_) | Err(_) => {
                thread::sleep(PAUSE);
                false
            }
        }
    }
}

/// The Go program: clients that look up what they are told to.
struct Auditors {
    child: Child,
    questions: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Auditors {
    fn start(gateway: &Gateway) -> Self {
        let key: VerifierKey = gateway.cli(&["sumdb"]).ok().lines().next().expect("a line").parse().expect("a verifier key");
        let mut child = Command::new(super::xmod::program())
            .arg("audit")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the auditors");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (tell, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut auditors = Self { questions: child.stdin.take(), child, lines };
        auditors.write(&json!({
            "URL": format!("{}/sumdb/{}", gateway.url(), key.name()),
            "Key": key.to_string(),
            "Authorization": authorization(gateway),
            "Auditors": AUDITORS,
        }));
        auditors
    }

    fn write(&mut self, line: &impl std::fmt::Display) {
        writeln!(self.questions.as_mut().expect("not finished"), "{line}").expect("the auditors listen");
    }

    /// Has a version looked up, `PATH@VERSION`.
    fn ask(&mut self, version: &str) {
        self.write(&version.replace('@', " "));
    }

    /// Waits until some look-up was answered, believed or not.
    fn wait_for_one(&self) {
        self.lines.recv_timeout(PATIENCE).expect("a look-up is answered");
    }

    /// What came of all of it.
    fn finish(&mut self) -> Value {
        self.questions = None;
        let report = self.lines.recv_timeout(WHOLE_LOG).expect("a report");
        serde_json::from_str(&report).expect("JSON")
    }
}

impl Drop for Auditors {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
