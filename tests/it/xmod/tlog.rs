//! Checksum databases, held against golang.org/x/mod/sumdb/tlog and …/note: one log of synthetic records, grown on both sides, and
//! notes, keys, paths and records, good and mutated.

use std::collections::BTreeMap;

use modgate::tlog::{
    Hash, Head, Lookup, RecordText, SignedHead, SignerKey, Step, Tile, TileLevel, Tiles, VerifierKey, consistency, grow, inclusion,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::generate::{Random, mutations};
use super::oracle::{Question, ask, compare};

const EVERY_SIZE: u64 = 1000;
/// Around where a third level begins, and a large one.
const LARGE: [u64; 5] = [65_535, 65_536, 65_537, 65_793, 100_000];

/// The one log that all questions are about; its Go twin is in tests/go/xmod/tlog.go.
struct Log {
    heads: BTreeMap<u64, Head>,
    tiles: Tiles,
    /// What each step wrote.
    grown: Vec<(u64, u64, Value)>,
}

fn record(id: u64) -> RecordText {
    RecordText::new(format!("record {id}\n").as_bytes()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Log {
    fn new() -> Self {
        let mut log = Self { heads: BTreeMap::from([(0, Head::empty())]), tiles: Tiles::default(), grown: Vec::new() };
        (1..=EVERY_SIZE).chain(LARGE).for_each(|size| log.grow_to(size));
        log
    }

    fn grow_to(&mut self, size: u64) {
        let (&older, head) = self.heads.last_key_value().unwrap();
        let leaves: Vec<Hash> = (older..size).map(|id| record(id).hash()).collect();
        let Step::Done(grown) = grow(head, &leaves, &self.tiles).unwrap() else { panic!("every tile is at hand") };
        let tiles: Vec<Value> = grown.tiles.iter().map(|(tile, content)| json!([tile.to_string(), hex(content)])).collect();
        self.grown.push((older, size, json!({ "root": grown.head.root.to_string(), "tiles": tiles })));
        for (tile, content) in grown.tiles {
            self.tiles.insert(tile, content).unwrap();
        }
        self.heads.insert(size, grown.head);
    }
}

fn numbers(question: &Question) -> (u64, u64) {
    (question.text(0).parse().unwrap(), question.text(1).parse().unwrap())
}

fn about(op: &'static str, a: u64, b: u64) -> Question {
    Question::new(op, [a.to_string().as_bytes(), b.to_string().as_bytes()])
}

/// The tiles that are asked for with none at hand; and with those alone, it must hold.
fn asked_for<T>(log: &Log, question: impl Fn(&Tiles) -> Step<T>) -> Vec<String> {
    let Step::Missing(missing) = question(&Tiles::default()) else { panic!("nothing was at hand") };
    let mut tiles = Tiles::default();
    for tile in &missing {
        let content = log.tiles.get(*tile).unwrap_or_else(|| panic!("{tile}")).to_vec();
        tiles.insert(*tile, content.into()).unwrap();
    }
    assert!(matches!(question(&tiles), Step::Done(_)), "{missing:?}");
    missing.iter().map(ToString::to_string).collect()
}

#[test]
fn trees_grow_and_prove_alike() {
    let log = Log::new();
    let mut questions: Vec<Question> = log.grown.iter().map(|(older, newer, _)| about("grow", *older, *newer)).collect();
    for &size in log.heads.keys().skip(1) {
        let ids = [0, 255, 256, 65_535, size / 2, size - 1];
        questions.extend(ids.into_iter().filter(|id| *id < size).map(|id| about("inclusion", size, id)));
        let olders = [1, 255, 256, 257, 512, 65_536, size / 2, size - 1].into_iter();
        questions.extend(
            olders
                .filter(|older| (1..size).contains(older))
                .filter(|older| log.heads.contains_key(older))
                .map(|older| about("consistency", older, size)),
        );
    }
    let grown: BTreeMap<(u64, u64), &Value> = log.grown.iter().map(|(older, newer, value)| ((*older, *newer), value)).collect();
    compare(questions, |question| {
        let (a, b) = numbers(question);
        match question.op {
            "grow" => grown[&(a, b)].clone(),
            "inclusion" => {
                let tiles = asked_for(&log, |tiles| inclusion(&log.heads[&a], b, &record(b), tiles).unwrap());
                json!({ "hash": record(b).hash().to_string(), "tiles": tiles })
            }
            _ => {
                let tiles = asked_for(&log, |tiles| consistency(&log.heads[&a], &log.heads[&b], tiles).unwrap());
                json!({ "hash": log.heads[&a].root.to_string(), "tiles": tiles })
            }
        }
    });
}

const TILE_PATHS: &[&str] = &[
    "tile/8/0/000",
    "tile/8/0/001.p/255",
    "tile/8/1/x123/456.p/1",
    "tile/8/data/x001/x234/067",
    "tile/8/data/x001/067.p/17",
    "tile/8/63/x999/x999/x999/x999/x999/999",
    "tile/8/64/000",
    "tile/8/256/000",
    "tile/8/0/x001/x000/x000/x000/x000/x000/000",
    "tile/8/0/x018/x446/x744/x073/x709/x551/616",
    "tile/8/0/000.p/0",
    "tile/8/0/000.p/256",
    "tile/7/0/000",
    "tile/8/-1/000",
    "/tile/8/0/000",
];
const TILE_PIECES: &[&str] = &["/", "x", "0", "00", "9", "123", ".p/", ".p", "data", "-", "+", "tile/", "8/", "x000/", "999", "é", " "];

#[test]
fn tile_paths_are_read_alike() {
    let paths = mutations(TILE_PATHS, TILE_PIECES, 8000, 21);
    let questions =
        TILE_PATHS.iter().copied().chain(paths.iter().map(String::as_str)).map(|path| Question::new("tilepath", [path.as_bytes()]));
    compare(questions.collect(), |question| match question.text(0).parse::<Tile>() {
        Err(_) => json!({ "ok": false }),
        Ok(tile) => {
            assert_eq!(tile.to_string(), question.text(0));
            let level = match tile.level() {
                TileLevel::Hashes(level) => i64::from(level),
                TileLevel::Data => -1,
            };
            json!({ "ok": true, "level": level, "n": tile.n(), "width": tile.width() })
        }
    });
}

const LOOKUPS: &[&str] = &[
    "3\nexample.com/m v1.0.0 h1:x=\nexample.com/m v1.0.0/go.mod h1:y=\n\ngo.sum database tree\n9\nAAAA\n\n\u{2014} s AAAA\n",
    "0\na\n\n",
    "9223372036854775807\na\nb\nc\n\n\n\nd",
    "9223372036854775808\na\n\n",
    "-1\na\n\n",
    "1\n\n\n",
    "\n\n\n",
];
const LOOKUP_PIECES: &[&str] = &["\n", "\n\n", "0", "1", "-", "+", "a", "\t", "\r", "\u{0}", "\u{7f}", "\u{85}", "é", " ", "\u{2014}"];

#[test]
fn lookups_are_read_alike() {
    let mut all: Vec<Vec<u8>> = mutations(LOOKUPS, LOOKUP_PIECES, 8000, 22).into_iter().map(String::into_bytes).collect();
    all.extend(LOOKUPS.iter().map(|text| text.as_bytes().to_vec()));
    spoil(&mut all, 23);
    compare(all.iter().map(|bytes| Question::new("record", [bytes])).collect(), |question| {
        let bytes = &question.args[0];
        match Lookup::parse(bytes) {
            Err(_) => json!({ "ok": false }),
            Ok(lookup) => {
                assert_eq!(lookup.to_bytes(), *bytes);
                json!({ "ok": true, "id": lookup.id, "text": lookup.record.as_str(), "rest": String::from_utf8_lossy(&lookup.note) })
            }
        }
    });
}

/// Some with a byte that is no UTF-8, before an empty line, where it is asked for that.
fn spoil(all: &mut Vec<Vec<u8>>, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..300 {
        let mut bytes = random.pick(all).clone();
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
        bytes.insert(random.below(end + 1), *random.pick(&[0x80, 0xc3, 0xff]));
        all.push(bytes);
    }
}

const KEY_PIECES: &[&str] = &["+", "++", "A", "=", "\n", " ", "é", "\u{a0}", "-", "0", "f", "F", "/", "PRIVATE+", "KEY+"];

#[test]
fn keys_are_read_alike_and_each_reads_the_other_s() {
    let ours = SignerKey::generate("log.example.org:8443").unwrap();
    let theirs = ask(&[Question::new("genkey", [b"log.example.org/x"]), Question::new("genkey", ["ü.example".as_bytes()])]);
    let text = |answer: &Value, field: &str| answer[field].as_str().unwrap().to_owned();
    let mut verifiers = vec![ours.verifier().to_string()];
    let mut signers = vec![ours.secret()];
    for answer in &theirs {
        let signer: SignerKey = text(answer, "skey").parse().unwrap();
        assert_eq!(signer.secret(), text(answer, "skey"));
        assert_eq!(signer.verifier().to_string(), text(answer, "vkey"));
        verifiers.push(text(answer, "vkey"));
        signers.push(text(answer, "skey"));
    }
    let mut questions = Vec::new();
    for (op, seeds) in [("vkey", &verifiers), ("skey", &signers)] {
        let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
        let all = mutations(&seeds, KEY_PIECES, 3000, 24);
        questions.extend(seeds.iter().copied().chain(all.iter().map(String::as_str)).map(|key| Question::new(op, [key.as_bytes()])));
    }
    compare(questions, |question| {
        let text = question.text(0);
        let name = match question.op {
            "vkey" => text.parse::<VerifierKey>().map(|key| key.name().to_owned()),
            _ => text.parse::<SignerKey>().map(|key| key.name().to_owned()),
        };
        name.map_or_else(|_| json!({ "ok": false }), |name| json!({ "ok": true, "name": name }))
    });
}

const NOTE_PIECES: &[&str] = &[
    "\n",
    "\n\n",
    "\u{2014} ",
    "\u{2014} other.example AAAAAAAA\n",
    "\u{2014} other.example AAAAAAB=\n",
    "\u{2014} a+b AAAAAAAA\n",
    "\u{2014} other.example AAAA\n",
    "extra line\n",
    "0",
    "1",
    "+",
    "-",
    "A",
    "=",
    " ",
    "\t",
    "\r",
    "\u{a0}",
    "é",
];

#[test]
fn notes_are_opened_alike_and_each_opens_the_other_s() {
    let key = SignerKey::generate("log.example.org").unwrap();
    let verifier = key.verifier();
    let head = |size: u64| Head { size, root: record(size).hash() };
    let mut notes: Vec<String> = Vec::new();
    for size in [0, 1, 255, 1 << 40, (1 << 63) - 1] {
        let ours = String::from_utf8(key.sign(&head(size)).note().to_vec()).unwrap();
        let theirs = ask(&[Question::new("sign", [key.secret().as_bytes(), head(size).to_string().as_bytes()])]);
        // Ed25519 is deterministic.
        assert_eq!(theirs[0]["note"], json!(ours));
        notes.push(ours);
    }
    // Signed over what ours never writes: lines behind the head, other sizes, other titles.
    let root = record(1).hash();
    for text in [
        format!("go.sum database tree\n5\n{root}\nmore\n\nstill more\n"),
        format!("go.sum database tree\n05\n{root}\n"),
        format!("go.sum database tree\n-5\n{root}\n"),
        format!("go.sum database tree\n9223372036854775808\n{root}\n"),
        format!("go.sum database tree\n5\n{root}="),
        format!("go.sum database tree\n5\n{}\n", root.to_string().replace('=', "")),
        format!("go.sum database trees\n5\n{root}\n"),
        "go.sum database tree\n5\n".to_owned(),
    ] {
        let text = if text.ends_with('\n') { text } else { format!("{text}\n") };
        let signed = ask(&[Question::new("sign", [key.secret().as_bytes(), text.as_bytes()])]);
        notes.push(signed[0]["note"].as_str().unwrap().to_owned());
    }
    // One hundred signatures are read, one more is not.
    for more in [99, 100] {
        notes.push(format!("{}{}", notes[1], (0..more).map(|i| format!("\u{2014} s{i} AAAAAAAA\n")).collect::<String>()));
    }
    // The same signature twice; the same name, another key's.
    let line = notes[1].lines().last().unwrap().to_owned();
    notes.push(format!("{}{line}\n", notes[1]));
    notes.push(format!("{}{}\n", notes[1], line.replace("AA", "BB")));
    let seeds: Vec<&str> = notes.iter().map(String::as_str).collect();
    let mut all: Vec<Vec<u8>> = mutations(&seeds, NOTE_PIECES, 3000, 25).into_iter().map(String::into_bytes).collect();
    spoil(&mut all, 26);
    all.extend(notes.iter().map(|note| note.as_bytes().to_vec()));
    let vkey = verifier.to_string();
    compare(all.iter().map(|note| Question::new("open", [note, vkey.as_bytes()])).collect(), |question| {
        match SignedHead::open(question.args[0].clone(), &verifier) {
            Err(_) => json!({ "ok": false }),
            Ok(signed) => {
                assert_eq!(*signed.note(), question.args[0]);
                json!({ "ok": true, "size": signed.head().size, "root": signed.head().root.to_string() })
            }
        }
    });
}
