//! Every way in which an upstream does harm, tried on the real go command through a gateway: clients that verify nothing by themselves,
//! those that verify by the public checksum database, and those that verify by the gateway's own.

use std::collections::BTreeSet;
use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::sumdb_client::{FIRST, NEXT, complete, events, look_up};
use crate::support::files_below;
use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::hostile::Hostile;
use crate::support::http;
use crate::support::process::Ran;
use crate::support::upstream::Upstream;

/// Of [`NEXT`], without its ending.
const FILES: &str = "example.net/beta/@v/v1.0.0";
/// What stands in files that nobody vouches for.
const EVIL: [&[u8]; 2] = [b"evil.go", b"Not what it was."];
/// How the go command tells that something is not there.
const ABSENCES: [&str; 4] = ["404 Not Found", "410 Gone", "no matching versions", "GOPROXY=off"];
/// The events that tell of harm.
const ALARMS: [&str; 3] = ["mismatch", "integrity", "sumdb-fork"];
/// Ways that are tried at the same time.
const AT_ONCE: usize = 4;
/// How long a gateway may leave an upstream alone that failed, and an event be on its way.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

/// What comes of one way.
struct Row {
    /// The gateway knew the database's tree before.
    prepared: bool,
    outcome: Outcome,
}

enum Outcome {
    Refused(Refused),
    /// There is nothing wrong with what clients get.
    Borne,
}

/// Nothing is given out, with 502.
struct Refused {
    /// The files that are: the others are right.
    files: &'static [&'static str],
    /// The status of a look-up in the public database, by way of the gateway.
    look_up: u16,
    /// What a client is told.
    says: &'static str,
    told: Told,
}

/// Where an operator learns of it.
enum Told {
    /// By `mismatch`, of this file.
    Mismatch(&'static str),
    /// By `integrity`, of the database, with this text.
    Integrity(&'static str),
    /// By `sumdb-fork`. Nothing else enters until it is decided.
    Fork,
    /// By a line in the log with this text: no client was near any harm.
    Log(&'static str),
}

impl Told {
    /// The event's name.
    fn alarm(&self) -> Option<&'static str> {
        match self {
            Self::Mismatch(_) => Some("mismatch"),
            Self::Integrity(_) => Some("integrity"),
            Self::Fork => Some("sumdb-fork"),
            Self::Log(_) => None,
        }
    }

    /// Whether an event of that name tells this.
    fn is_in(&self, event: &Value) -> bool {
        let has = |key: &str, text: &str| event[key].as_str().is_some_and(|found| found.contains(text));
        match self {
            Self::Mismatch(file) => event["path"] == "example.net/beta" && event["version"] == "v1.0.0" && event["file"] == *file,
            Self::Integrity(text) => event["kind"] == "checksum-database" && has("path", &format!("lookup {NEXT}")) && has("text", text),
            Self::Fork => event["kept"]["root"] != event["shown"]["root"],
            Self::Log(_) => false,
        }
    }
}

const BOTH: &[&str] = &[".mod", ".zip"];
const AWAY: &str = "the checksum database sum.example.net cannot be reached";
const LENGTH: &str = "than any such answer may be";

/// What is to come of each way.
fn row(way: Hostile) -> Row {
    use Hostile as H;
    let refused =
        |prepared, files, look_up, says, told| Row { prepared, outcome: Outcome::Refused(Refused { files, look_up, says, told }) };
    let other = |files, of| refused(true, files, 200, "checksum mismatch", Told::Mismatch(of));
    let false_word = |says| refused(true, BOTH, 502, says, Told::Integrity(says));
    let false_tile = |says| refused(false, BOTH, 502, says, Told::Integrity(says));
    let away = || refused(true, BOTH, 502, AWAY, Told::Log(AWAY));
    let fork = || refused(true, BOTH, 502, "shows two trees", Told::Fork);
    let borne = Row { prepared: true, outcome: Outcome::Borne };
    match way {
        H::OtherZip | H::ZipListsOther => other(&[".zip"], ".zip"),
        H::OtherMod => other(&[".mod"], ".mod"),
        H::ZipStreamsOther | H::Shrunk => borne,
        // Without its last byte a .mod has another hash.
        H::LengthShort => other(BOTH, ".mod"),
        H::LengthLong => refused(true, BOTH, 200, "cut its answer short", Told::Log("cut its answer short")),
        H::RecordOfAnotherModule | H::RecordOfAnotherVersion => false_word("not one record of example.net/beta@v1.0.0"),
        H::RecordAltered => false_word("cannot authenticate record"),
        // The one absence: of the look-up, and of nothing else.
        H::LookupMissing => refused(true, BOTH, 404, "sum.example.net does not know it", Told::Log("sum.example.net does not know it")),
        H::LookupEndless => false_word(LENGTH),
        H::SignatureForged => false_word("invalid signature"),
        H::SignedByAnotherKey => false_word("is not signed by"),
        H::SignaturesTooMany => false_word("malformed note"),
        H::ForkNewer | H::ForkOlder => fork(),
        H::TilesEmpty => false_tile("a tile of 0 bytes"),
        H::TilesEndless => false_tile(LENGTH),
        H::TilesShort => false_tile("a tile of"),
        H::TilesOfAnotherPlace => false_tile("inconsistent tile"),
        H::DatabaseCuts | H::DatabaseFails | H::DatabaseHangs => away(),
    }
}

/// A gateway before its upstream.
struct World {
    way: Hostile,
    upstream: Upstream,
    gateway: Gateway,
}

#[test]
fn whatever_an_upstream_does_nobody_gets_what_is_not_vouched_for_or_takes_it_for_an_absence() {
    for ways in Hostile::ALL.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for way in ways {
                let name = format!("{way:?}");
                thread::Builder::new().name(name).spawn_scoped(scope, || World::new(*way).try_out()).expect("a thread");
            }
        });
    }
}

impl World {
    fn new(way: Hostile) -> Self {
        let upstream = complete();
        let builder = Gateway::builder().upstream(&upstream);
        let builder = if way == Hostile::DatabaseHangs { builder.config("[upstream]\nstall_timeout = \"3s\"\n") } else { builder };
        Self { way, gateway: builder.start(), upstream }
    }

    fn try_out(&self) {
        let Row { prepared, outcome } = row(self.way);
        if prepared {
            self.clients()[0].run(&["mod", "download", FIRST]).ok();
        }
        let newest = self.gateway.cli(&["sumdb", "state"]).stdout;
        self.upstream.turn(self.way);
        match outcome {
            Outcome::Refused(refused) => {
                self.is_refused(&refused);
                self.upstream.turn_honest();
                if matches!(refused.told, Told::Fork) {
                    self.is_refused(&refused);
                    self.gateway.cli(&["sumdb", "trust", "kept"]).ok();
                }
                self.until("the upstream is asked again", || self.looked_up() == 200);
            }
            Outcome::Borne => {
                self.clients().iter().for_each(|go| has_it(&go.run(&["mod", "download", NEXT]), go));
                assert_eq!(self.alarms(), BTreeSet::new(), "{:?}", self.way);
                self.upstream.turn_honest();
            }
        }
        // Those who verify by the gateway's own database have what it says now.
        let [.., go] = &self.clients();
        has_it(&go.run(&["mod", "download", NEXT]), go);
        if prepared {
            assert_eq!(self.gateway.cli(&["sumdb", "state"]).stdout, newest, "{:?}", self.way);
        }
    }

    /// Machines that verify nothing, that verify by the public database, and that verify by the gateway's own.
    fn clients(&self) -> [Go; 3] {
        let key = self.gateway.cli(&["sumdb"]).ok().lines().next().expect("a line").to_owned();
        let proxy = format!("{},off", self.gateway.url());
        let [mut unwary, public, own] = [self.upstream.gosumdb(), self.upstream.gosumdb(), &key].map(|gosumdb| Go::new(&proxy, gosumdb));
        unwary.set("GONOSUMDB", "*");
        [unwary, public, own]
    }

    fn is_refused(&self, refused: &Refused) {
        let way = self.way;
        for go in self.clients() {
            let ran = go.run(&["mod", "download", NEXT]);
            let absence = ABSENCES.iter().find(|absence| ran.stderr.contains(**absence));
            assert!(ran.code == Some(1) && ran.stderr.contains("502 Bad Gateway") && absence.is_none(), "{way:?}: {ran}");
            ran.says(&[refused.says]);
            // The database's own words, in quotation.
            assert!(way == Hostile::LookupMissing || !ran.stderr.contains("not found"), "{ran}");
            assert!(!go.cache().contains(&format!("{FILES}.ziphash")), "{way:?}: {ran}");
        }
        for ext in [".mod", ".zip"] {
            let answer = http::get(self.gateway.address(), &format!("/{FILES}{ext}")).expect("an answer");
            let status = if refused.files.contains(&ext) { 502 } else { 200 };
            assert_eq!(answer.status, status, "{way:?} {ext}: {}", answer.body_text());
        }
        assert_eq!(self.looked_up(), refused.look_up, "{way:?}");
        self.nothing_is_kept(refused);
        self.is_told(&refused.told);
    }

    fn looked_up(&self) -> u16 {
        look_up(&self.gateway, &self.upstream, NEXT).status
    }

    fn nothing_is_kept(&self, refused: &Refused) {
        let cache = self.gateway.data_dir().join("cache");
        let mut never: Vec<String> = refused.files.iter().map(|ext| format!("{FILES}{ext}")).collect();
        if refused.files.contains(&".zip") {
            never.push(format!("{FILES}.ziphash"));
        }
        if refused.look_up != 200 {
            never.push(format!("sumdb/{}/lookup/{NEXT}", self.upstream.sumdb_name()));
        }
        for file in never {
            assert!(!cache.join("download").join(&file).exists(), "{:?}: {file}", self.way);
        }
        for file in files_below(&cache) {
            let content = fs::read(&file).unwrap_or_default();
            assert!(!EVIL.iter().any(|evil| content.windows(evil.len()).any(|bytes| bytes == *evil)), "{:?}: {file}", self.way);
        }
    }

    /// Which of the events that tell of harm are in the audit trail.
    fn alarms(&self) -> BTreeSet<&'static str> {
        ALARMS.into_iter().filter(|name| !events(&self.gateway, name).is_empty()).collect()
    }

    fn is_told(&self, told: &Told) {
        match (told.alarm(), told) {
            (Some(alarm), _) => self.until(alarm, || events(&self.gateway, alarm).iter().any(|event| told.is_in(event))),
            (None, Told::Log(text)) => drop(self.gateway.log_with(&[text])),
            (None, _) => {}
        }
        assert_eq!(self.alarms(), told.alarm().into_iter().collect(), "{:?}", self.way);
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let since = Instant::now();
        while !is_so() {
            assert!(since.elapsed() < PATIENCE, "{:?}: not so after {PATIENCE:?}: {what}", self.way);
            thread::sleep(PAUSE);
        }
    }
}

/// A machine has what the database vouches for, as one that asks an honest upstream itself.
#[track_caller]
fn has_it(ran: &Ran, go: &Go) {
    static RIGHT: OnceLock<String> = OnceLock::new();
    ran.ok();
    let hashed = |go: &Go| {
        let cache = go.cache();
        let of_next = |line: &&str| [".mod ", ".ziphash "].iter().any(|ext| line.starts_with(&format!("{FILES}{ext}")));
        cache.lines().filter(of_next).collect::<Vec<_>>().join("\n")
    };
    let right = RIGHT.get_or_init(|| {
        let upstream = complete();
        let direct = Go::new(&upstream.url(), upstream.gosumdb());
        direct.run(&["mod", "download", NEXT]).ok();
        hashed(&direct)
    });
    assert!(right.lines().count() == 2 && hashed(go) == *right, "{right}: {ran}");
}
