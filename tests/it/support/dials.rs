//! A trap for what would go to the internet: the HTTP proxy of every process that a test starts. It lets nothing through and remembers
//! which hosts were asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::http::{Request, Response};
use super::server::Server;

/// The trap. Its Drop fails the test if a host was dialled that was not declared.
pub(crate) struct Dials {
    server: Server,
    hosts: Arc<Mutex<Vec<String>>>,
    declared: Mutex<Vec<String>>,
}

impl Dials {
    /// Sets the trap.
    pub(crate) fn start() -> Self {
        let hosts = Arc::new(Mutex::new(Vec::new()));
        let seen = hosts.clone();
        let server = Server::start(
            None,
            Arc::new(move |request: &Request| {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(host(&request.target));
                Some(Response::text(403, "no test may go there\n"))
            }),
        );
        Self { server, hosts, declared: Mutex::new(Vec::new()) }
    }

    /// The environment that sends a process, git and curl into the trap with all that is not on 127.0.0.1.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://{}", self.server.address());
        let mut env = vec![("NO_PROXY", "127.0.0.1,::1,localhost".to_owned()), ("no_proxy", "127.0.0.1,::1,localhost".to_owned())];
        env.extend(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, url.clone())));
        env
    }

    /// Lets a host be dialled: it is still refused.
    pub(crate) fn declare(&self, host: &str) {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).push(host.to_owned());
    }

    /// The hosts dialled until now, in order.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Dials {
    fn drop(&mut self) {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let undeclared: Vec<_> = self.hosts().into_iter().filter(|host| !declared.contains(host)).collect();
        if undeclared.is_empty() {
            return;
        }
        let message = format!("dialled without leave: {}", undeclared.join(", "));
        if thread::panicking() {
            eprintln!("{message}");
        } else {
            panic!("{message}");
        }
    }
}

/// The host of a CONNECT target or an absolute URL.
fn host(target: &str) -> String {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned()
}

#[test]
#[should_panic(expected = "dialled without leave: corp.example.com, example.org")]
fn a_dial_that_was_not_declared_fails_the_test() {
    let dials = Dials::start();
    dials.declare("example.com");
    for target in ["example.com:443", "corp.example.com:443", "http://example.org/x"] {
        drop(super::http::ask(dials.server.address(), "CONNECT", target, &[]));
    }
}
