//! What the cache's index costs: memory an entry, starts, uses and evictions; all files are tiny.
//!
//! `cargo bench --bench index -- [ENTRIES]` (a million if not given). Prints the machine, then a figure a line. The files
//! lie in a temporary folder (4 KiB each and more); the page cache is warm.

mod machine;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use modgate::cache::index::{Bounds, Index, Upkeep};
use modgate::durable::Disk;

use machine::machine;

const ENTRIES: usize = 1_000_000;
/// Files in a folder.
const VERSIONS: usize = 10;
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(300);
/// A bound that evicts nothing.
const ROOMY: Bounds = Bounds { bytes_max: 1 << 40, free_min: 0 };

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let count = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ENTRIES);
    println!("{}", machine());
    let dir = tempfile::Builder::new().prefix("modgate-bench-").tempdir()?;
    let data = dir.path().join("data");
    let started = Instant::now();
    make_files(&data.join("cache"), count)?;
    println!("{count} files made in {:.1} s", started.elapsed().as_secs_f64());
    starts(dir.path(), &data)?;
    memory_and_use(&data, count)?;
    evictions(&data, count)
}

fn module(number: usize) -> String {
    format!("github.com/organisation-{:04}/repository-{:07}", number / VERSIONS % 5000, number / VERSIONS)
}

fn version(number: usize) -> String {
    format!("v1.{}.{}", number % VERSIONS, number % 7)
}

fn key(number: usize) -> String {
    format!("download/{}/@v/{}.info", module(number), version(number))
}

fn make_files(cache: &Path, count: usize) -> Result<()> {
    for number in 0..count {
        let path = cache.join(key(number));
        if number % VERSIONS == 0 {
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        }
        fs::write(path, format!("{{\"Version\":\"{}\"}}", version(number)))?;
    }
    // As a data directory that a gateway made.
    let data = cache.parent().ok_or("no data directory")?;
    fs::write(data.join("format"), "{\"format\":1}\n")?;
    Ok(())
}

/// Starts the gateway itself after a kill and after a clean stop.
fn starts(dir: &Path, data: &Path) -> Result<()> {
    let state = data.join("index/state");
    Gateway::start(dir, data)?.stop(true)?;
    // A cache that is clean on disk and one whose process was killed differ by this word.
    for (name, clean) in [("clean stop", true), ("kill", false)] {
        let text = fs::read_to_string(&state)?.replace("\"clean\":true", &format!("\"clean\":{clean}"));
        fs::write(&state, text)?;
        let gateway = Gateway::start(dir, data)?;
        println!(
            "after a {name}: first answer {:.0} ms after exec, index complete {:.2} s after exec, RSS then {:.0} MB (peak {:.0} MB)",
            gateway.first_answer.as_secs_f64() * 1e3,
            gateway.complete.as_secs_f64(),
            megabytes(&gateway.child.id().to_string(), "VmRSS:")?,
            megabytes(&gateway.child.id().to_string(), "VmHWM:")?
        );
        gateway.stop(true)?;
    }
    Ok(())
}

/// The real binary.
struct Gateway {
    child: Child,
    first_answer: Duration,
    complete: Duration,
}

impl Gateway {
    fn start(dir: &Path, data: &Path) -> Result<Self> {
        let address: SocketAddr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = dir.join("modgate.toml");
        let text = format!(
            "data_dir = {:?}\n[server]\nlisten = [\"{address}\"]\n[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n[log]\nformat = \"json\"\naccess = false\n[cache]\nmin_free = \"0\"\n",
            data.display().to_string()
        );
        fs::write(&config, text)?;
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_modgate"))
            .args(["serve", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = BufReader::new(child.stderr.take().ok_or("no log")?);
        let (tell, told) = std::sync::mpsc::channel();
        // Reads on to the end: a full pipe would stop the gateway.
        std::thread::spawn(move || {
            for line in log.lines().map_while(std::io::Result::ok) {
                if line.contains("index is complete") {
                    let _ = tell.send(Instant::now());
                }
            }
        });
        while !answers(address) {
            if started.elapsed() > DEADLINE {
                return Err("the gateway does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let first_answer = started.elapsed();
        let complete = told.recv_timeout(DEADLINE)? - started;
        Ok(Self { child, first_answer, complete })
    }

    fn stop(mut self, clean: bool) -> Result<()> {
        if clean {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        } else {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }
}

/// Whether the last of the files is served.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        let target = format!("/{}/@v/{}.info", module(0), version(0));
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200") && answer.contains("hit"))
    };
    ask().unwrap_or(false)
}

/// A line of a process's status, megabytes.
fn megabytes(pid: &str, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}

fn open(data: &Path, bounds: Bounds) -> Result<(Arc<Index>, Upkeep)> {
    let index = Arc::new(Index::open(&data.join("cache"), &data.join("index"), Disk::default(), bounds)?);
    let upkeep = Upkeep::start(index.clone())?;
    index.wait_complete();
    Ok((index, upkeep))
}

fn memory_and_use(data: &Path, count: usize) -> Result<()> {
    let before = megabytes("self", "VmRSS:")?;
    let (index, upkeep) = open(data, ROOMY)?;
    let text: usize = (0..count).map(|number| key(number).len()).sum();
    let beyond = ((megabytes("self", "VmRSS:")? - before) * 1e6 - text as f64) / count as f64;
    println!("memory: {beyond:.0} bytes an entry beyond its path's {:.0}", text as f64 / count as f64);
    for threads in [1, 2] {
        let started = Instant::now();
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let index = index.clone();
                std::thread::spawn(move || {
                    (0..count).filter(|number| matches!(index.lease(&key((number * 7919 + thread) % count)), Ok(Some(_)))).count()
                })
            })
            .collect();
        let mut found = 0;
        for thread in running {
            found += thread.join().map_err(|_| "a thread panicked")?;
        }
        println!(
            "uses: {:.2} million a second on {threads} threads (key made each time)",
            found as f64 / started.elapsed().as_secs_f64() / 1e6
        );
    }
    upkeep.close();
    Ok(())
}

/// A tenth of the files goes by eviction, another by plain unlinking.
fn evictions(data: &Path, count: usize) -> Result<()> {
    let tenth = count / 10;
    let files: Vec<PathBuf> = (count - tenth..count).map(|number| data.join("cache").join(key(number))).collect();
    let started = Instant::now();
    for file in &files {
        fs::remove_file(file)?;
    }
    File::open(data.join("cache"))?.sync_all()?;
    let plain = tenth as f64 / started.elapsed().as_secs_f64();
    fs::remove_dir_all(data.join("index"))?;
    // The files are so small that their number is what is bounded: by one for 16 KiB.
    let (index, upkeep) = open(data, Bounds { bytes_max: (count - tenth) as u64 * (16 << 10), free_min: 0 })?;
    let before = index.usage().evicted;
    let started = Instant::now();
    let reservations: Vec<_> = (0..tenth).map_while(|_| index.reserve(0)).collect();
    let took = started.elapsed().as_secs_f64();
    let evicted = index.usage().evicted - before;
    println!("evictions: {:.0} a second, their empty folders removed; plain unlink: {plain:.0} a second", evicted as f64 / took);
    drop(reservations);
    upkeep.close();
    Ok(())
}
