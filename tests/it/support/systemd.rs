//! Plays systemd for a gateway: opens its listeners, passes them on to each process, and is told by each when it is ready.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::gateway::Gateway;

/// How long a process may take to be ready, or to end.
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// Takes up to three sockets, which came as the standard streams, to where `sd_listen_fds(3)` says; the log's name is the first argument.
const PASS_ON: &str = r#"exec 3<&0 4<&1 5<&2 </dev/null >>"$1" 2>&1; shift; export LISTEN_PID=$$; exec "$@""#;

/// A socket unit, and the service's processes.
pub(crate) struct Unit {
    /// Never started itself: its settings, its addresses, its data directory and its log.
    pub(crate) gateway: Gateway,
    sockets: Vec<OwnedFd>,
    names: String,
    main: Option<Process>,
    started: usize,
}

/// One process of the service.
pub(crate) struct Process {
    child: Child,
    notify: UnixDatagram,
}

impl Unit {
    /// Listens at the three addresses of a gateway that was prepared. `names`: `LISTEN_FDNAMES`, for http, https and operations in turn.
    pub(crate) fn new(gateway: Gateway, names: [&str; 3]) -> Self {
        let https = gateway.https_url().trim_start_matches("https://").parse().expect("an address");
        let listen = |address: std::net::SocketAddr| OwnedFd::from(TcpListener::bind(address).expect("listen"));
        let sockets = vec![listen(gateway.address()), listen(https), listen(gateway.admin_address())];
        Self { gateway, sockets, names: names.join(":"), main: None, started: 0 }
    }

    /// Passes a Unix listener on, and nothing else.
    pub(crate) fn of_unix(gateway: Gateway, path: &std::path::Path) -> Self {
        let sockets = vec![OwnedFd::from(UnixListener::bind(path).expect("listen"))];
        Self { gateway, sockets, names: "modgate.socket".to_owned(), main: None, started: 0 }
    }

    /// Starts a process, which becomes the main one; returns the one before.
    pub(crate) fn start_next(&mut self) -> Option<Process> {
        self.started += 1;
        let told: PathBuf = self.gateway.config_file().with_file_name(format!("notify-{}", self.started));
        let notify = UnixDatagram::bind(&told).expect("a socket to be told by");
        notify.set_read_timeout(Some(PAUSE)).expect("a timeout");
        let mut command = self.gateway.command_of("sh");
        command.args(["-c", PASS_ON, "sh"]).arg(self.gateway.log_file()).arg(env!("CARGO_BIN_EXE_modgate")).arg("serve");
        command.arg("--config").arg(self.gateway.config_file()).arg("--data-dir").arg(self.gateway.data_dir());
        command.env("NOTIFY_SOCKET", told).env("LISTEN_FDS", self.sockets.len().to_string()).env("LISTEN_FDNAMES", &self.names);
        let log = OpenOptions::new().create(true).append(true).open(self.gateway.log_file()).expect("open the log");
        let stream = |at: usize| match self.sockets.get(at) {
            Some(socket) => Stdio::from(socket.try_clone().expect("share a socket")),
            None => Stdio::from(log.try_clone().expect("share the log")),
        };
        let child = command.stdin(stream(0)).stdout(stream(1)).stderr(stream(2)).spawn().expect("start the gateway");
        self.main.replace(Process { child, notify })
    }

    /// Waits until the main process has said that it is ready.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) {
        let log = self.gateway.log_file();
        self.main().wait_told("READY=1").unwrap_or_else(|why| panic!("{why}:\n{}", std::fs::read_to_string(log).unwrap_or_default()));
    }

    /// The main process.
    #[track_caller]
    pub(crate) fn main(&mut self) -> &mut Process {
        self.main.as_mut().expect("it was started")
    }

    /// Tells the main process to stop and starts the next at once, as both of a pair do: returns when it is ready, with the one before.
    #[track_caller]
    pub(crate) fn hand_over(&mut self) -> Process {
        self.main().ask_to_end();
        let before = self.start_next().expect("it was started");
        self.wait_ready();
        before
    }

    /// As `systemctl restart`: the next process is started when the one before has ended.
    #[track_caller]
    pub(crate) fn restart(&mut self) -> ExitStatus {
        self.main().ask_to_end();
        let ended = self.main().wait_for_end();
        self.start_next();
        self.wait_ready();
        ended
    }
}

impl Process {
    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("send SIGTERM");
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "a process did not end after {DEADLINE:?}");
            thread::sleep(PAUSE);
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("look at the process")
    }

    /// Waits for a message with this line, unless the process ends before.
    pub(crate) fn wait_told(&mut self, line: &str) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        let mut message = [0; 4096];
        loop {
            match self.notify.recv(&mut message) {
                Ok(len) if String::from_utf8_lossy(&message[..len]).lines().any(|told| told == line) => return Ok(()),
                Ok(_) => {}
                Err(_) => {
                    if let Some(status) = self.ended() {
                        return Err(format!("the process ended without saying {line}: {status}"));
                    }
                }
            }
            if Instant::now() > deadline {
                return Err(format!("the process does not say {line}"));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
