use std::sync::Mutex;

use super::*;

/// Notes the steps, and lets one kind of them fail.
#[derive(Default)]
struct Noting {
    seen: Mutex<Vec<(Step, String)>>,
    fails: Mutex<Option<(Step, i32)>>,
}

impl Faults for Noting {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.seen.lock().unwrap().push((step, if name.len() == 16 { "STAGED".to_owned() } else { name }));
        match *self.fails.lock().unwrap() {
            Some((fails, errno)) if fails == step => Err(io::Error::from_raw_os_error(errno)),
            _ => run(),
        }
    }
}

fn noting() -> (Arc<Noting>, Disk, tempfile::TempDir) {
    let noting = Arc::new(Noting::default());
    (noting.clone(), Disk::with_faults(noting), tempfile::tempdir().unwrap())
}

fn steps(noting: &Noting) -> Vec<(Step, String)> {
    std::mem::take(&mut noting.seen.lock().unwrap())
}

#[test]
fn a_file_is_written_synced_renamed_and_then_its_folder_is_synced() {
    let (noting, disk, dir) = noting();
    let (tmp, to) = (dir.path().join("tmp"), dir.path().join("a/b"));
    disk.create_dirs(&tmp).unwrap();
    disk.create_dirs(&to).unwrap();
    let root = dir.path().file_name().unwrap().to_string_lossy().into_owned();
    let made = [(Step::CreateDir, "tmp"), (Step::SyncDir, &root), (Step::CreateDir, "a"), (Step::SyncDir, &root), (Step::CreateDir, "b")];
    assert_eq!(
        steps(&noting),
        made.iter().map(|(s, n)| (*s, (*n).to_owned())).chain([(Step::SyncDir, "a".to_owned())]).collect::<Vec<_>>()
    );
    disk.write(&tmp, &to.join("file"), b"bytes").unwrap();
    let order =
        [(Step::Create, "a new file"), (Step::Write, "STAGED"), (Step::SyncFile, "STAGED"), (Step::Rename, "file"), (Step::SyncDir, "b")];
    assert_eq!(steps(&noting), order.map(|(s, n)| (s, n.to_owned())));
    assert_eq!(fs::read(to.join("file")).unwrap(), b"bytes");
    disk.create_dirs(&to).unwrap();
    assert_eq!(steps(&noting), []);
}

#[test]
fn whichever_step_fails_the_old_file_or_the_new_one_is_there_and_nothing_is_left_over() {
    for step in [Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncDir] {
        let (noting, disk, dir) = noting();
        let (tmp, to) = (dir.path().join("tmp"), dir.path().join("file"));
        fs::create_dir(&tmp).unwrap();
        disk.write(&tmp, &to, b"old").unwrap();
        *noting.fails.lock().unwrap() = Some((step, 28));
        let error = disk.write(&tmp, &to, b"new").unwrap_err();
        assert!(error.is_full() && error.step == step);
        assert_eq!(error.may_have_happened(), matches!(step, Step::Rename | Step::SyncDir));
        assert_eq!(fs::read(&to).unwrap(), if step == Step::SyncDir { b"new" } else { b"old" });
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }
}

#[test]
fn all_that_is_synced_at_once_is_tried_and_any_failure_is_told() {
    let (noting, disk, dir) = noting();
    let written = || {
        let file = |name: &str| Unsynced::File(File::create(dir.path().join(name)).unwrap(), dir.path().join(name));
        [file("a"), file("b"), Unsynced::Folder(dir.path().to_owned())]
    };
    let folder = dir.path().file_name().unwrap().to_string_lossy().into_owned();
    let tried = [(Step::SyncFile, "a".to_owned()), (Step::SyncFile, "b".to_owned()), (Step::SyncDir, folder)];
    for fails in [None, Some(Step::SyncFile), Some(Step::SyncDir)] {
        *noting.fails.lock().unwrap() = fails.map(|step| (step, 5));
        assert_eq!(disk.sync_all(&written()).err().map(|error| error.step), fails);
        let mut seen = steps(&noting);
        seen.sort_by_key(|(_, name)| tried.iter().position(|(_, tried)| tried == name));
        assert_eq!(seen, tried);
    }
    assert!(disk.sync_all(&[]).is_ok());
}

#[test]
fn a_file_has_the_mode_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, to) = (Disk::default(), dir.path().join("file"));
    let mode = || fs::metadata(&to).unwrap().permissions().mode() & 0o777;
    disk.write_with_mode(dir.path(), &to, b"open", 0o644).unwrap();
    assert_eq!(mode(), 0o644);
    disk.write(dir.path(), &to, b"closed").unwrap();
    assert_eq!((mode(), fs::read(&to).unwrap()), (0o600, b"closed".to_vec()));
}

#[test]
fn an_append_that_fails_is_cut_off_again() {
    for fails in [Step::Write, Step::SyncFile] {
        let (noting, disk, dir) = noting();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&disk, &path, 0).unwrap();
        journal.append(b"one\n").unwrap();
        *noting.fails.lock().unwrap() = Some((fails, 5));
        assert!(!journal.append(b"two\n").unwrap_err().is_full());
        // With fsync away, it could not be cut off for certain either.
        assert_eq!(journal.is_torn(), fails == Step::SyncFile);
        *noting.fails.lock().unwrap() = None;
        journal.append(b"three\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\nthree\n");
        assert_eq!((journal.len(), journal.is_torn()), (10, false));
    }
}

#[test]
fn a_journal_that_cannot_be_cut_takes_nothing_more() {
    let (noting, disk, dir) = noting();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&disk, &path, 0).unwrap();
    *noting.fails.lock().unwrap() = Some((Step::SyncFile, 5));
    journal.append(b"one\n").unwrap_err();
    journal.append(b"two\n").unwrap_err();
    assert!(journal.is_torn() && journal.is_empty());
}

#[test]
fn a_journal_opens_behind_what_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    fs::write(&path, b"good\nto").unwrap();
    let mut journal = Journal::open(&Disk::default(), &path, 5).unwrap();
    journal.append(b"more\n").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"good\nmore\n");
    let shorter = Journal::open(&Disk::default(), &path, 50).unwrap_err();
    assert_eq!(shorter.source.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn removing_what_is_gone_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    Disk::default().remove(&dir.path().join("gone")).unwrap();
    assert!(Disk::default().room(dir.path()).unwrap().bytes > 0);
}

#[test]
fn an_error_names_the_step_and_the_file() {
    let error = Disk::default().write(Path::new("/nonexistent/tmp"), Path::new("/nonexistent/file"), b"").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot create /nonexistent/tmp/a new file: No such file or directory"), "{text}");
}

#[test]
fn a_closed_way_leads_nowhere_by_any_of_its_clones_and_others_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (own, file) = (disk.apart(), dir.path().join("file"));
    let clone = own.clone();
    let mut journal = Journal::open(&clone, &dir.path().join("journal"), 0).unwrap();
    journal.append(b"kept\n").unwrap();
    own.close();
    assert!(clone.write(dir.path(), &file, b"late").is_err());
    assert!(journal.append(b"late\n").is_err());
    assert_eq!(fs::read(dir.path().join("journal")).unwrap(), b"kept\n");
    disk.write(dir.path(), &file, b"others").unwrap();
}

#[test]
fn a_full_disk_is_known_by_whatever_wraps_its_error() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        assert!(is_full(&io::Error::new(kind, "at path \"/data/tmp/x\"")), "{kind}");
    }
    for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
        assert!(is_full(&errno.into()), "{errno}");
    }
    assert!(!is_full(&rustix::io::Errno::IO.into()));
}

#[test]
fn who_has_run_out_of_descriptors_or_memory_knows_nothing_of_the_file() {
    use rustix::io::Errno;
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        assert!(is_exhausted(&errno.into()), "{errno}");
    }
    for errno in [Errno::IO, Errno::LOOP, Errno::ACCESS, Errno::STALE, Errno::NOSPC] {
        assert!(!is_exhausted(&errno.into()), "{errno}");
    }
}
