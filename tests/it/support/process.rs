//! Running a program to its end: cleared environment, output captured, a deadline after which its whole process group is killed.

use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The command line, for messages.
    pub(crate) what: String,
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        writeln!(f, "$ {}\nended with {code}", self.what)?;
        write!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout.trim_end(), self.stderr.trim_end())
    }
}

impl Ran {
    /// It succeeded; its standard output.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert!(self.code == Some(0), "should have succeeded: {self}");
        &self.stdout
    }

    /// It failed, by itself; its standard error.
    #[track_caller]
    pub(crate) fn failed(&self) -> &str {
        assert!(self.code.is_some_and(|code| code != 0), "should have failed: {self}");
        &self.stderr
    }

    /// Standard error holds each of these.
    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.stderr.contains(text), "should say {text:?}: {self}");
        }
        self
    }

    /// Standard output is exactly these lines.
    #[track_caller]
    pub(crate) fn prints(&self, lines: &[&str]) -> &Self {
        let got: Vec<_> = self.ok().lines().collect();
        assert!(got == lines, "should print {lines:#?}: {self}");
        self
    }
}

/// The command line, with what of the environment matters most for reading a failure.
fn line(command: &Command) -> String {
    let dir = command.get_current_dir().map(|dir| format!("cd {}; ", dir.display())).unwrap_or_default();
    let told = ["GOPROXY", "GOSUMDB", "GONOSUMDB", "GOAUTH"];
    let env = command.get_envs().filter(|(name, _)| told.iter().any(|n| name == n));
    let env: String = env.filter_map(|(name, value)| Some(format!("{}={} ", name.display(), value?.display()))).collect();
    let args = [command.get_program()].into_iter().chain(command.get_args());
    let args: Vec<_> = args.map(|arg| arg.display().to_string()).collect();
    format!("{dir}{env}{}", args.join(" "))
}

/// Runs `command` to its end, in a process group of its own.
///
/// # Panics
/// If the program is missing: a missing tool fails the run. If it is not done after `deadline`.
#[track_caller]
pub(crate) fn run(mut command: Command, deadline: Duration) -> Ran {
    let what = line(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|e| panic!("the tests need {:?}: {e}", command.get_program()));
    let group = rustix::process::Pid::from_child(&child);
    let read = |pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let (mut pipe, mut bytes) = (pipe, Vec::new());
            drop(pipe.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("stdout is piped")));
    let stderr = read(Box::new(child.stderr.take().expect("stderr is piped")));
    let (ended, end) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let status = child.wait();
        let _ = ended.send(());
        status
    });
    let late = end.recv_timeout(deadline).is_err();
    if late {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = waiter.join().expect("the waiter ends").expect("wait for a program");
    let ran =
        Ran { what, code: status.code(), stdout: stdout.join().expect("stdout is read"), stderr: stderr.join().expect("stderr is read") };
    assert!(!late, "was not done after {deadline:?}: {ran}");
    ran
}
