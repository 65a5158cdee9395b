//! `egress.log`: one line the first time that a path leaves, `TIME PATH PRINCIPAL RULE`, separated by tabs.
//!
//! A file that has grown long becomes `egress.N.log`, with a higher N than any before, and a new one is begun.
//! Line numbers count the good lines of all files.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Group, Lines, Noted};
use crate::durable::{Disk, DurableError, Journal, Step};
use crate::module::ModulePath;
use crate::store::{Finding, FindingKind, LedgerLine, OpenError, StoreError};

/// A file is closed when it is longer, bytes.
const ROTATE_BYTES: u64 = 16 << 20;
/// Lines between two remembered places in a file.
const MARK_LINES: u64 = 1024;
/// Longest principal or rule that is written, bytes; the rest is left out.
const TEXT_BYTES_MAX: usize = 256;

/// A path in memory: half of its SHA-256. Whoever could make two paths meet in it could do better things.
type Print = [u8; 16];

/// The ledger.
pub(in crate::store::embedded) struct Egress {
    shared: Arc<Shared>,
    group: Group<Log>,
}

#[derive(Default)]
struct Shared {
    seen: RwLock<HashSet<Print>>,
    /// Oldest first; the last one grows. Locked while one is renamed.
    files: Mutex<Vec<Pages>>,
}

/// Where the lines of a file are.
#[derive(Clone, Debug)]
struct Pages {
    path: PathBuf,
    /// Good lines.
    lines: u64,
    /// Where every [`MARK_LINES`]th good line begins, from the first on.
    marks: Vec<u64>,
}

impl Pages {
    fn count(&mut self, at: u64) {
        if self.lines.is_multiple_of(MARK_LINES) {
            self.marks.push(at);
        }
        self.lines += 1;
    }
}

impl Egress {
    /// Reads all files. The second is the number of torn lines that were cut off.
    pub(in crate::store::embedded) fn open(dir: &Path, disk: &Disk, findings: &mut Vec<Finding>) -> Result<(Self, u64), OpenError> {
        Self::open_with(dir, disk, ROTATE_BYTES, findings)
    }

    fn open_with(dir: &Path, disk: &Disk, rotate: u64, findings: &mut Vec<Finding>) -> Result<(Self, u64), OpenError> {
        let shared = Arc::new(Shared::default());
        let (log, bad, torn) = Log::open(dir, disk, rotate, &shared).map_err(|source| crate::store::data_dir::failed(dir, source))?;
        if bad > 0 {
            let text = format!("{bad} lines cannot be read");
            findings.push(Finding { kind: FindingKind::LedgerDamaged, path: dir.to_owned(), text });
        }
        let group = Group::start("modgate-ledger", log).map_err(|source| OpenError::NotReadable { path: dir.to_owned(), source })?;
        Ok((Self { shared, group }, torn))
    }

    /// Notes that a path is about to leave.
    pub(in crate::store::embedded) async fn first(&self, path: &ModulePath, principal: &str, rule: &str) -> Result<Noted, StoreError> {
        if self.shared.holds(&print(path)) {
            return Ok(Noted::Before);
        }
        self.group.note(Leaving { path: path.clone(), principal: clean(principal), rule: clean(rule) }).await
    }

    /// Every file with its name, opened, none renamed meanwhile.
    pub(in crate::store::embedded) fn opened(&self) -> io::Result<Vec<(PathBuf, File)>> {
        let files = self.shared.files();
        files.iter().map(|pages| Ok((pages.path.clone(), File::open(&pages.path)?))).collect()
    }

    /// Lines from number `from` on, at most `limit`. Blocks.
    pub(in crate::store::embedded) fn page(&self, from: u64, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let mut page = Vec::new();
        let mut skip = from;
        for at in 0.. {
            // Opened under the lock: a name may be another file's a moment later.
            let (pages, file) = {
                let files = self.shared.files();
                let Some(pages) = files.get(at) else { break };
                if skip >= pages.lines {
                    skip -= pages.lines;
                    continue;
                }
                (pages.clone(), File::open(&pages.path).map_err(|e| StoreError::Unavailable(e.into()))?)
            };
            read_page(&pages, file, skip, limit, &mut page).map_err(|e| StoreError::Unavailable(e.into()))?;
            if page.len() >= limit {
                break;
            }
            skip = 0;
        }
        Ok(page)
    }
}

fn read_page(pages: &Pages, file: File, skip: u64, limit: usize, page: &mut Vec<LedgerLine>) -> io::Result<()> {
    let mut reader = BufReader::new(file);
    let mark = skip / MARK_LINES;
    let at = usize::try_from(mark).ok().and_then(|mark| pages.marks.get(mark)).copied().unwrap_or_default();
    reader.seek(SeekFrom::Start(at))?;
    let mut number = mark * MARK_LINES;
    let mut line = Vec::new();
    // What is not counted yet is not durable yet.
    while page.len() < limit && number < pages.lines && reader.read_until(b'\n', &mut line)? > 0 {
        if let Some(read) = parse(&line) {
            if number >= skip {
                page.push(read);
            }
            number += 1;
        }
        line.clear();
    }
    Ok(())
}

impl Shared {
    fn holds(&self, print: &Print) -> bool {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).contains(print)
    }

    fn files(&self) -> MutexGuard<'_, Vec<Pages>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path about to leave.
struct Leaving {
    path: ModulePath,
    principal: String,
    rule: String,
}

/// The thread's side.
struct Log {
    dir: PathBuf,
    disk: Disk,
    rotate: u64,
    shared: Arc<Shared>,
    journal: Journal,
    /// Rotating failed halfway: the folder is read again before the next line.
    lost: bool,
}

impl Log {
    /// Also tells how many lines cannot be read, and how many torn ones were cut off.
    fn open(dir: &Path, disk: &Disk, rotate: u64, shared: &Arc<Shared>) -> Result<(Self, u64, u64), DurableError> {
        let unreadable = |source| DurableError { step: Step::Create, path: dir.to_owned(), source };
        let current = dir.join("egress.log");
        let old = rotated(dir).map_err(unreadable)?.into_iter().map(|n| dir.join(format!("egress.{n}.log")));
        let (mut files, mut bad_lines, mut torn, mut whole) = (Vec::new(), 0, 0, 0);
        for path in old.chain([current.clone()]) {
            let mut pages = Pages { path: path.clone(), lines: 0, marks: Vec::new() };
            let (bad, good, rest) = shared.load(&mut pages).map_err(unreadable)?;
            bad_lines += bad;
            whole = good;
            torn = u64::from(rest);
            files.push(pages);
        }
        let journal = Journal::open(disk, &current, whole)?;
        *shared.files() = files;
        let log = Self { dir: dir.to_owned(), disk: disk.clone(), rotate, shared: Arc::clone(shared), journal, lost: false };
        Ok((log, bad_lines, torn))
    }

    fn make_room(&mut self) -> Result<(), DurableError> {
        if self.lost {
            let (log, ..) = Self::open(&self.dir, &self.disk, self.rotate, &self.shared)?;
            *self = log;
        }
        if self.journal.len() < self.rotate {
            return Ok(());
        }
        // Whatever fails from here on, names and handle may not fit any more.
        self.lost = true;
        let unreadable = |source| DurableError { step: Step::Rename, path: self.dir.clone(), source };
        let next = rotated(&self.dir).map_err(unreadable)?.last().map_or(1, |n| n + 1);
        let (current, old) = (self.dir.join("egress.log"), self.dir.join(format!("egress.{next}.log")));
        let mut files = self.shared.files();
        self.disk.rename(&current, &old)?;
        if let Some(pages) = files.last_mut() {
            pages.path = old;
        }
        self.journal = Journal::open(&self.disk, &current, 0)?;
        files.push(Pages { path: current, lines: 0, marks: Vec::new() });
        drop(files);
        self.lost = false;
        Ok(())
    }
}

impl Shared {
    /// Takes in a file, if it is there: lines that are not, length of the whole lines in bytes, whether something torn follows.
    fn load(&self, pages: &mut Pages) -> io::Result<(u64, u64, bool)> {
        let file = match File::open(&pages.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((0, 0, false)),
            Err(e) => return Err(e),
        };
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let mut reader = BufReader::new(file);
        let (mut bad, mut at, mut line) = (0, 0, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.last() != Some(&b'\n') {
                return Ok((bad, at, true));
            }
            match parse(&line) {
                Some(read) => {
                    seen.insert(print(&read.path));
                    pages.count(at);
                }
                None => bad += 1,
            }
            at += line.len() as u64;
            line.clear();
        }
        Ok((bad, at, false))
    }
}

impl Lines for Log {
    type Note = Leaving;
    type Key = Print;

    fn key(note: &Leaving) -> Print {
        print(&note.path)
    }

    fn holds(&self, key: &Print) -> bool {
        self.shared.holds(key)
    }

    fn line(note: &Leaving) -> String {
        let time = OffsetDateTime::now_utc().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
        format!("{}\t{}\t{}\t{}", time.unwrap_or_default(), note.path, note.principal, note.rule)
    }

    fn append(&mut self, lines: &[String]) -> Result<(), DurableError> {
        self.make_room()?;
        let mut at = self.journal.len();
        self.journal.append((lines.join("\n") + "\n").as_bytes())?;
        let mut files = self.shared.files();
        if let Some(pages) = files.last_mut() {
            for line in lines {
                pages.count(at);
                at += line.len() as u64 + 1;
            }
        }
        Ok(())
    }

    fn noted(&mut self, key: Print) {
        self.shared.seen.write().unwrap_or_else(PoisonError::into_inner).insert(key);
    }
}

/// The numbers of the closed files, ascending.
fn rotated(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| name.strip_prefix("egress.")?.strip_suffix(".log")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn parse(line: &[u8]) -> Option<LedgerLine> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut fields = line.split('\t');
    let (time, path, principal, rule) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let path = path.parse().ok().filter(|_| fields.next().is_none())?;
    Some(LedgerLine { time: time.to_owned(), path, principal: principal.to_owned(), rule: rule.to_owned() })
}

fn print(path: &ModulePath) -> Print {
    let digest: [u8; 32] = Sha256::digest(path.as_str()).into();
    let mut print = Print::default();
    print.copy_from_slice(&digest[..16]);
    print
}

/// Text that is one field of one line, whatever it was.
fn clean(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let one_line = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '\u{fffd}' } else { c };
    let clean: String = text[..end].chars().map(one_line).collect();
    if clean.is_empty() { "-".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(n: usize) -> ModulePath {
        format!("example.com/m{n}").parse().unwrap()
    }

    fn paths(egress: &Egress, from: u64, limit: usize) -> Vec<String> {
        egress.page(from, limit).unwrap().into_iter().map(|line| line.path.to_string()).collect()
    }

    #[tokio::test]
    async fn a_rotated_ledger_is_one_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<String> = (0..40).map(|n| path(n).to_string()).collect();
        for round in 0..4 {
            let (egress, torn) = Egress::open_with(dir.path(), &Disk::default(), 300, &mut Vec::new()).unwrap();
            assert_eq!(torn, 0);
            for n in round * 10..(round + 1) * 10 {
                assert_eq!(egress.first(&path(n), "anonymous", "public").await.unwrap(), Noted::First);
            }
            for n in 0..(round + 1) * 10 {
                assert_eq!(egress.first(&path(n), "anonymous", "public").await.unwrap(), Noted::Before);
            }
            let here = &all[..(round + 1) * 10];
            assert_eq!(paths(&egress, 0, 100), here);
            for from in 0..=here.len() {
                assert_eq!(paths(&egress, from as u64, 7), here[from..(from + 7).min(here.len())]);
            }
        }
        assert!(rotated(dir.path()).unwrap().len() > 3);
    }

    #[tokio::test]
    async fn rotation_that_fails_at_any_step_loses_no_line() {
        struct Once(Mutex<Option<(usize, bool)>>);
        impl crate::durable::Faults for Once {
            fn step(&self, _: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
                let mut left = self.0.lock().unwrap();
                match left.take() {
                    Some((0, happens)) => if happens { run() } else { Ok(()) }.and(Err(io::Error::other("a fault"))),
                    Some((n, happens)) => {
                        *left = Some((n - 1, happens));
                        run()
                    }
                    None => run(),
                }
            }
        }
        for at in 0..30 {
            for happens in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let disk = Disk::with_faults(Arc::new(Once(Mutex::new(Some((at, happens))))));
                let Ok((egress, _)) = Egress::open_with(dir.path(), &disk, 60, &mut Vec::new()) else { continue };
                for n in 0..6 {
                    if egress.first(&path(n), "anonymous", "public").await.is_err() {
                        egress.first(&path(n), "anonymous", "public").await.unwrap();
                    }
                }
                let here: Vec<String> = (0..6).map(|n| path(n).to_string()).collect();
                assert_eq!(paths(&egress, 0, 100), here);
                drop(egress);
                let mut findings = Vec::new();
                let (egress, torn) = Egress::open_with(dir.path(), &Disk::default(), 60, &mut findings).unwrap();
                assert_eq!((paths(&egress, 0, 100), torn, findings), (here, 0, vec![]), "fault at {at}");
            }
        }
    }

    #[tokio::test]
    async fn pages_begin_anywhere_in_a_long_file() {
        let dir = tempfile::tempdir().unwrap();
        let lines: String = (0..3000).map(|n| format!("2026-01-01T00:00:00Z\t{}\tanonymous\tpublic\n", path(n))).collect();
        fs::write(dir.path().join("egress.log"), lines).unwrap();
        let (egress, _) = Egress::open(dir.path(), &Disk::default(), &mut Vec::new()).unwrap();
        for from in [0, 1, 1023, 1024, 1025, 2047, 2048, 2999] {
            assert_eq!(paths(&egress, from, 1), [path(usize::try_from(from).unwrap()).to_string()]);
        }
        assert_eq!(paths(&egress, 3000, 1), Vec::<String>::new());
        assert_eq!(paths(&egress, u64::MAX, 1), Vec::<String>::new());
    }

    #[test]
    fn text_is_one_field_whatever_it_was() {
        assert_eq!(clean("user:alice"), "user:alice");
        assert_eq!(clean("a\tb\nc\r\0\u{2028}\u{85}d"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}\u{fffd}\u{fffd}d");
        assert_eq!(clean(""), "-");
        assert!(clean(&"ü".repeat(1000)).len() <= TEXT_BYTES_MAX);
    }
}
