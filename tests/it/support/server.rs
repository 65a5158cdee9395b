//! A small HTTP server for fixtures: a thread a connection, and it can go away and come back on its port.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::http::{self, Request, Response};
use super::port::Port;

/// Answers a request; `None` cuts the connection without an answer.
pub(crate) type Handler = Arc<dyn Fn(&Request) -> Option<Response> + Send + Sync>;

/// The server.
pub(crate) struct Server {
    port: Port,
    tls: Option<Arc<rustls::ServerConfig>>,
    handler: Handler,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: JoinHandle<()>,
}

impl Server {
    /// Starts on a free loopback port, with TLS if a configuration is given.
    pub(crate) fn start(tls: Option<Arc<rustls::ServerConfig>>, handler: Handler) -> Self {
        let server = Self { port: Port::reserve(), tls, handler, running: Mutex::new(None) };
        server.resume();
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Listens again, if it does not.
    pub(crate) fn resume(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return;
        }
        let listener = self.port.listen();
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let acceptor = thread::spawn({
            let (stop, connections, tls, handler) = (stop.clone(), connections.clone(), self.tls.clone(), self.handler.clone());
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let Ok(handle) = stream.try_clone() else { continue };
                    connections.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
                    let (tls, handler) = (tls.clone(), handler.clone());
                    thread::spawn(move || serve(stream, tls, &handler));
                }
            }
        });
        *running = Some(Running { stop, connections, acceptor });
    }

    /// Cuts every connection and refuses new ones.
    pub(crate) fn halt(&self) {
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        running.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor; if a client did so first it is gone already and this is refused.
        drop(TcpStream::connect(self.port.address()));
        running.acceptor.join().expect("the acceptor ends");
        for connection in running.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(connection.shutdown(std::net::Shutdown::Both));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.halt();
    }
}

fn serve(mut stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, handler: &Handler) {
    drop(stream.set_nodelay(true));
    // A client that went away is no failure of the fixture.
    let _gone: io::Result<()> = match tls {
        None => converse(&mut stream, handler),
        Some(config) => rustls::ServerConnection::new(config)
            .map_err(io::Error::other)
            .and_then(|connection| converse(&mut rustls::StreamOwned::new(connection, &mut stream), handler)),
    };
    drop(stream.shutdown(std::net::Shutdown::Both));
}

fn converse(stream: &mut (impl Read + Write), handler: &Handler) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = http::read_request(stream, &mut buffer)? {
        let Some(response) = handler(&request) else { return Ok(()) };
        response.write(stream, request.method == "HEAD")?;
        if request.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}
