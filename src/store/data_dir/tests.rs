use std::sync::Mutex;

use super::*;
use crate::durable::{Faults, Step};

const LOOKUP: &str = "cache/download/sumdb/sum.example.org/lookup/example.com/m@v1.0.0";
const ZIP: &str = "cache/download/example.com/m/@v/v1.0.0.zip";

/// A directory as a program of format 2 left it.
fn of_format_2() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDir::open(dir.path()).unwrap());
    for file in [LOOKUP, "cache/download/sumdb/sum.example.org/tile/8/0/000.p/1", ZIP, "index/state", "index/recency"] {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    fs::write(dir.path().join(FORMAT_FILE), "{\"format\":2,\"needs\":\"0.2.0\"}\n").unwrap();
    dir
}

fn is_upgraded(dir: &Path) {
    assert!(fs::read_to_string(dir.join(FORMAT_FILE)).unwrap().contains("\"format\":3"));
    assert!(!dir.join("cache/download/sumdb").exists() && !dir.join(INDEX_STATE).exists());
    assert!(dir.join(ZIP).exists() && dir.join("index/recency").exists());
    assert_eq!(fs::read_dir(dir.join(TMP)).unwrap().count(), 0);
}

#[test]
fn what_nobody_verified_goes_when_format_2_becomes_3_and_nothing_else() {
    let dir = of_format_2();
    drop(DataDir::open(dir.path()).unwrap());
    is_upgraded(dir.path());
    // Of format 3 it was verified.
    fs::create_dir_all(dir.path().join(LOOKUP)).unwrap();
    drop(DataDir::open(dir.path()).unwrap());
    assert!(dir.path().join(LOOKUP).exists());
}

/// Fails from so many steps on.
struct From(Mutex<usize>);

impl Faults for From {
    fn step(&self, _: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let mut left = self.0.lock().unwrap();
        if *left == 0 {
            return Err(io::Error::other("cut"));
        }
        *left -= 1;
        run()
    }
}

#[test]
fn an_upgrade_that_is_cut_at_any_step_is_done_by_the_next_start() {
    let mut cut = 0;
    loop {
        let dir = of_format_2();
        let disk = Disk::with_faults(std::sync::Arc::new(From(Mutex::new(cut))));
        let opened = DataDir::open_on(dir.path(), disk);
        // Never the new format with the old records.
        let is_new = fs::read_to_string(dir.path().join(FORMAT_FILE)).unwrap().contains("\"format\":3");
        assert!(!(is_new && dir.path().join(LOOKUP).exists()), "{cut}");
        let done = opened.is_ok();
        drop(opened);
        drop(DataDir::open(dir.path()).unwrap());
        is_upgraded(dir.path());
        if done {
            assert!(cut > 5, "{cut}");
            return;
        }
        cut += 1;
    }
}
