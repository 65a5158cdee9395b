//! Listeners that a service manager opened and passed on: systemd's socket activation. It keeps them open between two processes, and the
//! kernel keeps connections in them meanwhile: a restart refuses nobody.
//!
//! Each takes the place of a listener that the settings name, so that all that is said of those holds for it too:
//!
//! 1. that of the same address (`server.listen`, `tls_listen`, `admin_listen`), or of the same path (`unix:`);
//! 2. else, if its name (`FileDescriptorName=`) is `http`, `https` or `admin`, the first of `server.listen`, `server.tls_listen` or
//!    `server.admin_listen` that got none by 1. So the settings may say `0.0.0.0:443` where systemd's `ListenStream=443` is `[::]:443`.
//!
//! One that has no place is an error: connections to it would wait for ever. Listeners that got no socket are opened as usual.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use super::bind::BindError;

/// The sockets that were passed on and have not found their place yet.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<Passed>,
    unix: Vec<(PathBuf, UnixListener)>,
}

#[derive(Debug)]
struct Passed {
    /// What the service manager calls it.
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl Inherited {
    /// Takes the sockets that this process was given (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`). To be called once, and before there
    /// are threads, since it changes the environment.
    ///
    /// # Errors
    /// What was passed is no stream socket with an address.
    pub fn from_env() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for i in 0..passed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            if let Ok(Some(listener)) = passed.take_unix_listener(i) {
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| io::Error::other("a Unix socket without a path"))?;
                listener.set_nonblocking(true)?;
                inherited.unix.push((path.to_owned(), listener));
            } else if let Some(listener) = passed.take_tcp_listener(i)? {
                listener.set_nonblocking(true)?;
                inherited.tcp.push(Passed { name, address: listener.local_addr()?, listener });
            }
        }
        Ok(inherited)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.unix.is_empty()
    }

    /// The sockets of these addresses, in their order.
    pub(super) fn at(&mut self, addresses: &[SocketAddr]) -> Vec<Option<TcpListener>> {
        let take = |address: &SocketAddr| {
            let at = self.tcp.iter().position(|passed| passed.address == *address)?;
            Some(self.tcp.swap_remove(at).listener)
        };
        addresses.iter().map(take).collect()
    }

    /// Gives those of this name to the `places` of `addresses` that are still empty.
    ///
    /// # Errors
    /// One is open beyond this machine, and the listener whose place it would take is not.
    pub(super) fn named(&mut self, name: &str, addresses: &[SocketAddr], places: &mut [Option<TcpListener>]) -> Result<(), BindError> {
        for (place, instead_of) in places.iter_mut().zip(addresses).filter(|(place, _)| place.is_none()) {
            let Some(at) = self.tcp.iter().position(|passed| passed.name == name) else { break };
            let Passed { address, listener, .. } = self.tcp.remove(at);
            if instead_of.ip().is_loopback() && !address.ip().to_canonical().is_loopback() {
                return Err(BindError::Wider { address, instead_of: *instead_of });
            }
            *place = Some(listener);
        }
        Ok(())
    }

    /// The Unix socket of this path.
    pub(super) fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let at = self.unix.iter().position(|(own, _)| own == path)?;
        Some(self.unix.swap_remove(at).1)
    }

    /// # Errors
    /// One has found no place.
    pub(super) fn none_left(&self) -> Result<(), BindError> {
        let tcp = self.tcp.first().map(|passed| (passed.address.to_string(), passed.name.clone()));
        let unix = || self.unix.first().map(|(path, _)| (format!("unix:{}", path.display()), String::new()));
        tcp.or_else(unix).map_or(Ok(()), |(place, name)| Err(BindError::NoPlace { place, name }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Listens on a free port of `ip`, as passed on under `name`.
    fn passed(ip: &str, name: &str) -> Passed {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        Passed { name: name.to_owned(), address: listener.local_addr().unwrap(), listener }
    }

    fn local(listener: Option<&TcpListener>) -> Option<SocketAddr> {
        listener.map(|listener| listener.local_addr().unwrap())
    }

    #[test]
    fn an_address_goes_before_a_name_and_a_name_takes_the_first_empty_place() {
        let (by_address, by_name) = (passed("127.0.0.1", "http"), passed("127.0.0.1", "http"));
        let (first, second) = (by_address.address, by_name.address);
        let settings = ["127.0.0.1:1".parse().unwrap(), first];
        let mut inherited = Inherited { tcp: vec![by_address, by_name], unix: Vec::new() };
        let mut places = inherited.at(&settings);
        assert_eq!([local(places[0].as_ref()), local(places[1].as_ref())], [None, Some(first)]);
        inherited.named("https", &settings, &mut places).unwrap();
        assert_eq!(local(places[0].as_ref()), None);
        inherited.named("http", &settings, &mut places).unwrap();
        assert_eq!(local(places[0].as_ref()), Some(second));
        assert!(inherited.is_empty());
        inherited.none_left().unwrap();
    }

    #[test]
    fn a_name_opens_nothing_to_more_than_the_settings_say() {
        let settings = ["127.0.0.1:1".parse().unwrap()];
        let mut inherited = Inherited { tcp: vec![passed("0.0.0.0", "admin")], unix: Vec::new() };
        let mut places = inherited.at(&settings);
        let error = inherited.named("admin", &settings, &mut places).unwrap_err();
        assert!(matches!(error, BindError::Wider { .. }), "{error}");
        // Beyond this machine is what the settings say: any such address will do.
        let settings = ["[::]:1".parse().unwrap()];
        let mut inherited = Inherited { tcp: vec![passed("0.0.0.0", "admin")], unix: Vec::new() };
        let mut places = inherited.at(&settings);
        inherited.named("admin", &settings, &mut places).unwrap();
        assert!(places[0].is_some());
    }

    #[test]
    fn one_too_many_is_an_error_that_says_which() {
        let surplus = passed("127.0.0.1", "http");
        let address = surplus.address;
        let mut inherited = Inherited { tcp: vec![surplus], unix: Vec::new() };
        inherited.named("http", &[], &mut []).unwrap();
        let text = inherited.none_left().unwrap_err().to_string();
        assert!(text.contains(&address.to_string()) && text.contains("\"http\""), "{text}");
    }
}
