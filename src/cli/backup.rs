//! `modgate backup` and `modgate restore`: an archive of all that cannot be made anew, and back.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::connection::Connection;
use super::{FAILED, Global, UsageError, out};
use crate::admin::{BACKUP, Foundation, OPERATOR, Operations, log_settings};
use crate::config::{Config, Loaded, Source};
use crate::durable::Disk;
use crate::observe::audit::{Actor, Event};
use crate::store::backup::{self, BackupError, Foot};
use crate::store::{RestoreError, Restored, restore, restore_with_log};
use crate::sumdb::log::{Log, LogSettings, Yielded, carry, set_head_path_aside};
use crate::tlog::VerifierKey;

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

/// Which file, and what becomes of a checksum database in it.
#[derive(Debug, Args)]
pub struct RestoreOptions {
    #[command(flatten)]
    archive: Options,
    /// Carry the records of the gateway's own checksum database over into a new one, with a key that every client must be given
    ///
    /// A backup has no secret key, and a database put back to an older state would contradict what clients saw of it. A file that
    /// sumdb.head_path names is renamed, to FILE.old-XXXXXXXX, if it is of that database and the data directory is the one of the
    /// settings file; with --data-dir it stays, as a gateway may be using it.
    #[arg(long)]
    new_log: bool,
}

/// Writes a backup, and reads it while it is written: a file that appears is whole.
pub async fn take(server: Connection, options: &Options) -> anyhow::Result<ExitCode> {
    if options.is_standard() {
        let foot = copy(server, io::stdout().lock(), "standard output").await?;
        return Ok(code(&foot.findings));
    }
    let to = std::path::absolute(&options.file)?;
    if to.symlink_metadata().is_ok() {
        return Err(UsageError(format!("{} is there already: name a file that is not", to.display())).into());
    }
    let folder = to.parent().unwrap_or(Path::new("/"));
    let disk = Disk::default();
    if !folder.is_dir() {
        bail!("cannot write {}: there is no folder {}", to.display(), folder.display());
    }
    let staged = disk.stage(folder)?;
    let foot = copy(server, staged.as_file(), &to.display().to_string()).await?;
    let (file, path) = staged.into_parts();
    disk.persist(&file, path, &to).with_context(|| format!("cannot finish {}", to.display()))?;
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

/// Why an archive was not copied.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    /// What is written to.
    #[error("cannot write the archive to {to}")]
    Write {
        /// As an operator named it.
        to: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is read.
    #[error("no whole archive came")]
    Archive(#[from] BackupError),
}

/// Copies the archive, and reads it meanwhile, to its end. `name`: what `out` is, for errors.
async fn copy(server: Connection, out: impl Write, name: &str) -> anyhow::Result<Foot> {
    let Connection::Local(operations) = server else {
        return read(server.stream(BACKUP)?, out, name).map_err(Into::into);
    };
    let snapshot = operations.snapshot(&Actor::local(OPERATOR)).await?;
    let (from, to) = io::pipe()?;
    let writer = std::thread::spawn(move || snapshot.write(to));
    let copied = read(from, out, name);
    match (writer.join(), copied) {
        // What stopped it says more than that it stopped.
        (Ok(Err(error)), Err(CopyError::Archive(_))) => Err(error.into()),
        (_, copied) => Ok(copied?),
    }
}

fn read(from: impl Read, to: impl Write, name: &str) -> Result<Foot, CopyError> {
    let mut copied = BufReader::with_capacity(PIECE_BYTES, Copied { from, to, failed: None });
    let read = backup::read(&mut copied, |_| Ok(()), |_, _| Ok(())).and_then(|foot| {
        // The archive's own end, after its last file.
        io::copy(&mut copied, &mut io::sink())?;
        Ok(foot)
    });
    let Copied { to, failed, .. } = copied.get_mut();
    let written = failed.take().map_or_else(|| to.flush(), Err);
    written.map_err(|source| CopyError::Write { to: name.to_owned(), source })?;
    Ok(read?)
}

/// Puts a backup back into the data directory, which nothing may live in, and opens it.
pub fn put(global: &Global, options: &RestoreOptions) -> anyhow::Result<ExitCode> {
    let loaded = global.load(&[], &[])?;
    let (is_own, config) = (is_of_settings(&loaded), loaded.config);
    let Options { file } = &options.archive;
    let restored = if options.archive.is_standard() {
        restored(&config, io::stdin().lock(), options.new_log)
    } else {
        let opened = File::open(file).with_context(|| format!("{}", file.display()))?;
        restored(&config, BufReader::with_capacity(PIECE_BYTES, opened), options.new_log)
    }?;
    let Foot { versions, blobs, bytes, findings, .. } = &restored.foot;
    out::print(&format!("{}: {versions} hosted versions, {blobs} blobs, {bytes} bytes\n", config.data_dir.display()))?;
    if let Some(log) = &restored.log {
        give_up(&config, is_own, &log.old)?;
    }
    let restoring = Event::Restore { versions: *versions, key: restored.log.as_ref().map(|log| log.key.to_string()) };
    // What a start would stumble over is told now.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(async {
        let (_foundation, operations) = Foundation::look(config).await?;
        operations.audit.record_durably(&Actor::local(OPERATOR), &[restoring]).await;
        let settings = LogSettings { head_path: None, ..log_settings(&operations.config) };
        anyhow::Ok(match Log::look(&operations.data, &settings, &operations.stop)? {
            Some(log) => new_key(&log),
            None => {
                no_log(&operations);
                String::new()
            }
        })
    })?;
    out::print(&text)?;
    Ok(code(&findings.iter().chain(&restored.damaged).cloned().collect::<Vec<_>>()))
}

fn restored(config: &Config, archive: impl Read, new_log: bool) -> Result<Restored, RestoreError> {
    if !new_log {
        return restore(&config.data_dir, archive);
    }
    let LogSettings { host, .. } = log_settings(config);
    restore_with_log(&config.data_dir, archive, |folder| Ok(carry(folder, &host)?))
}

/// Whether the data directory is the one that the settings have, and not one that was named for this command.
fn is_of_settings(loaded: &Loaded) -> bool {
    let data_dir = loaded.settings.iter().find(|setting| setting.key == "data_dir");
    data_dir.is_some_and(|setting| matches!(setting.source, Source::Default | Source::File(..)))
}

/// A new log begins: what watched over the old one, whose key this is, would refuse it. `is_own`: the data directory is the one of the
/// settings, and so is `head_path`. Else a gateway may run by these settings while its backup is tried, and lives by that file.
fn give_up(config: &Config, is_own: bool, old: &VerifierKey) -> anyhow::Result<()> {
    let Some(path) = &config.sumdb.head_path else { return Ok(()) };
    let (shown, data_dir) = (path.display(), config.data_dir.display());
    let stays = |why: &str| {
        out::tell(&format!(
            "warning: sumdb.head_path: {shown} stays, as {why}: before a start on {data_dir}, name another file there, or move this one \
             away if no gateway writes it any more"
        ));
    };
    if !is_own {
        if path.exists() {
            stays("the data directory was named for this command alone");
        }
        return Ok(());
    }
    let yielded = set_head_path_aside(path, old);
    match yielded.with_context(|| format!("restored; but {shown} could not be renamed: move it away before a start"))? {
        Yielded::Absent => {}
        Yielded::Foreign => stays("it holds no head of the database in the backup"),
        Yielded::Aside(aside) => {
            out::tell(&format!("sumdb.head_path: {shown} held a head of a database that is given up, and is {} now", aside.display()))
        }
    }
    Ok(())
}

/// The line for clients.
fn new_key(log: &Log) -> String {
    let records = log.latest().head().size;
    format!(
        "checksum database: {records} records, signed by a new key, which every client must be given:\ngo env -w GOSUMDB=\"{}\"\n",
        log.key()
    )
}

/// What an operator should know where the archive brought no log.
fn no_log(operations: &Operations) {
    if !operations.config.sumdb.enabled {
        return;
    }
    match &operations.log_wrong {
        Some(wrong) => {
            out::tell(&format!("warning: this backup holds no checksum database of the gateway's own, and a start is refused: {wrong}"))
        }
        None => out::tell(
            "warning: this backup holds no checksum database of the gateway's own: the next start makes a new one, with a key that every \
             client must be given (`modgate sumdb` prints it)",
        ),
    }
}

/// What is read is written.
struct Copied<R, W> {
    from: R,
    to: W,
    /// Why it could not be.
    failed: Option<io::Error>,
}

impl<R: Read, W: Write> Read for Copied<R, W> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(into)?;
        if let Err(error) = self.to.write_all(&into[..n]) {
            let kind = error.kind();
            self.failed = Some(error);
            return Err(kind.into());
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::chain;

    /// A disk without room.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_is_full_names_the_file_and_an_archive_that_is_none_does_not() {
        let told = read(&b"anything"[..], Full, "/backups/b.tar").unwrap_err();
        assert_eq!(chain(&told), "cannot write the archive to /backups/b.tar: no storage space");
        let told = read(&b"anything"[..], io::sink(), "/backups/b.tar").unwrap_err();
        assert!(matches!(told, CopyError::Archive(_)), "{told:?}");
    }
}
