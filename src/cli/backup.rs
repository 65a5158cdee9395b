//! `modgate backup` and `modgate restore`: an archive of all that cannot be made anew, and back.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::connection::Connection;
use super::{FAILED, Global, UsageError, out};
use crate::admin::{BACKUP, Foundation, OPERATOR};
use crate::durable::Disk;
use crate::observe::audit::{Actor, Event};
use crate::store::backup::{self, BackupError, Foot};
use crate::store::restore;

/// Bytes read at once.
const PIECE_BYTES: usize = 128 << 10;

/// Which file.
#[derive(Debug, Args)]
pub struct Options {
    /// The archive; - is standard output, or input
    file: PathBuf,
}

impl Options {
    fn is_standard(&self) -> bool {
        self.file.as_os_str() == "-"
    }
}

/// Writes a backup, and reads it while it is written: a file that appears is whole.
pub async fn take(server: Connection, options: &Options) -> anyhow::Result<ExitCode> {
    if options.is_standard() {
        let foot = copy(server, io::stdout().lock()).await?;
        return Ok(code(&foot.findings));
    }
    let to = std::path::absolute(&options.file)?;
    if to.symlink_metadata().is_ok() {
        return Err(UsageError(format!("{} is there already: name a file that is not", to.display())).into());
    }
    let folder = to.parent().unwrap_or(Path::new("/"));
    let disk = Disk::default();
    let staged = disk.stage(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    let foot = copy(server, staged.as_file()).await?;
    let (file, path) = staged.into_parts();
    disk.persist(&file, path, &to)?;
    let Foot { versions, blobs, bytes, .. } = &foot;
    out::print(&format!("{}: {versions} hosted versions, {blobs} blobs, {bytes} bytes\n", to.display()))?;
    Ok(code(&foot.findings))
}

/// Findings go to standard error: the archive may be on standard output.
fn code(findings: &[String]) -> ExitCode {
    for finding in findings {
        // There is nobody left to tell if this fails.
        let _ = writeln!(io::stderr(), "{finding}");
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// Copies the archive, and reads it meanwhile, to its end.
async fn copy(server: Connection, out: impl Write) -> anyhow::Result<Foot> {
    let Connection::Local(operations) = server else {
        return read(server.stream(BACKUP)?, out).map_err(Into::into);
    };
    let snapshot = operations.snapshot(&Actor::local(OPERATOR)).await?;
    let (from, to) = io::pipe()?;
    let writer = std::thread::spawn(move || snapshot.write(to));
    let copied = read(from, out);
    match writer.join() {
        // What stopped it says more than that it stopped.
        Ok(Err(error)) if copied.is_err() => Err(error.into()),
        _ => Ok(copied?),
    }
}

fn read(from: impl Read, to: impl Write) -> Result<Foot, BackupError> {
    let mut copied = BufReader::with_capacity(PIECE_BYTES, Copied { from, to });
    let foot = backup::read(&mut copied, |_| Ok(()), |_, _| Ok(()))?;
    // The archive's own end, after its last file.
    io::copy(&mut copied, &mut io::sink())?;
    copied.get_mut().to.flush()?;
    Ok(foot)
}

/// Puts a backup back into the data directory, which nothing may live in, and opens it.
pub fn put(global: &Global, options: &Options) -> anyhow::Result<ExitCode> {
    let config = global.load(&[], &[])?.config;
    let restored = if options.is_standard() {
        restore(&config.data_dir, io::stdin().lock())
    } else {
        let file = File::open(&options.file).with_context(|| format!("{}", options.file.display()))?;
        restore(&config.data_dir, BufReader::with_capacity(PIECE_BYTES, file))
    }?;
    let data_dir = config.data_dir.display().to_string();
    // What a start would stumble over is told now.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Foot { versions, blobs, bytes, findings, .. } = &restored.foot;
    runtime.block_on(async {
        let (_foundation, operations) = Foundation::open(config).await?;
        operations.audit.record_durably(&Actor::local(OPERATOR), &[Event::Restore { versions: *versions }]).await;
        anyhow::Ok(())
    })?;
    out::print(&format!("{data_dir}: {versions} hosted versions, {blobs} blobs, {bytes} bytes\n"))?;
    Ok(code(&findings.iter().chain(&restored.damaged).cloned().collect::<Vec<_>>()))
}

/// What is read is written.
struct Copied<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Copied<R, W> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(into)?;
        self.to.write_all(&into[..n])?;
        Ok(n)
    }
}
