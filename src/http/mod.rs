//! HTTP/1.1 for pages in the browser beside the command, and for clients of a classifier.
//!
//! ```text
//! Listener::open ─► sandbox::install_without_sockets ─► serve ─► Handler: admit, answer
//! ```
//!
//! The listener is the last socket that the process creates: it is opened first, and then the
//! kernel refuses all others ([`crate::sandbox`]). [`guard`] turns away whoever is not the person
//! who started a command with a page.
//!
//! Requests are read and responses written by hyper's server half, which contains no code that
//! connects to anything; there is no asynchronous runtime beside it. Each connection has a thread
//! ([`connection`]), so that whoever answers may block, and a deadline for each request. There is
//! no TLS: what leaves the machine goes through a proxy that has the certificate.
//!
//! | file | what it is for |
//! |---|---|
//! | `listener` | the socket: a port, a path, or one that the service manager opened |
//! | `message` | a request and a response as a whole |
//! | `handler` | what a command does with requests |
//! | `limits`, `open` | bounds of time, number and memory; the connections that are open |
//! | `connection` | one connection, with hyper |
//! | `guard` | a page for one browser |

mod connection;
mod guard;
mod handler;
mod limits;
mod listener;
mod message;
mod open;
#[cfg(all(test, unix))]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub(crate) use guard::{Guard, Page, is_equal};
pub(crate) use handler::Handler;
pub(crate) use limits::Limits;
pub(crate) use listener::{Address, Ip, ListenError, Listener};
pub(crate) use message::{Request, Response};

use crate::interrupt::Leftover;

use connection::Shared;
use limits::Budget;
use listener::{Socket, Stream};
use open::Open;

/// How often the thread that accepts connections looks whether it should stop.
const STEP: Duration = Duration::from_millis(100);
/// Bytes of the stack of a connection's thread. What is read of a client is not nested deeply:
/// serde_json allows 128 levels.
const STACK: usize = 512 << 10;
/// What is sent where there is no room for another connection.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Bounds of the page of a command. A browser opens six connections.
pub(crate) const PAGE: Limits = Limits {
    connections: 64,
    idle: Duration::from_secs(60),
    request: Duration::from_secs(60),
    bodies: 64 << 20,
};

/// A running server. It goes on until the process ends or it is stopped.
pub(crate) struct Server {
    open: Arc<Open>,
    stop: Box<dyn Fn() + Send + Sync>,
    accepting: thread::JoinHandle<()>,
    /// Removed in the end: the path of a socket.
    _leftover: Option<Leftover>,
}

impl Server {
    /// The number of open connections, to ask at any time.
    pub(crate) fn connections(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let open = Arc::clone(&self.open);
        move || open.count()
    }

    /// Accepts no further connection and no further request, and lets those that were begun be
    /// answered, for at most `patience`. Returns how many connections were cut.
    pub(crate) fn stop(self, patience: Duration) -> usize {
        (self.stop)();
        // It ends within a step. A panic there ended it before.
        let _ = self.accepting.join();
        self.open.drain(patience)
    }
}

/// Serves `listener` in threads of its own.
pub(crate) fn serve<H: Handler>(listener: Listener, handler: H, limits: Limits) -> Server {
    let Listener { socket, leftover, .. } = listener;
    let (budget, stopping) = (Budget::new(limits.bodies), AtomicBool::new(false));
    let shared = Arc::new(Shared { handler, limits, budget, stopping });
    let open = Arc::new(Open::default());
    let stop = {
        let shared = Arc::clone(&shared);
        Box::new(move || shared.stopping.store(true, Ordering::Release))
    };
    let accepting = {
        let open = Arc::clone(&open);
        thread::spawn(move || accept(&socket, &shared, &open))
    };
    Server { open, stop, accepting, _leftover: leftover }
}

/// Gives each connection of `socket` a thread until the server is to stop.
fn accept<H: Handler>(socket: &Socket, shared: &Arc<Shared<H>>, open: &Arc<Open>) {
    while !shared.stopping.load(Ordering::Acquire) {
        let stream = match socket.accept(STEP) {
            Ok(Some(stream)) => stream,
            Ok(None) => continue,
            // A connection that was gone before it was accepted, or too many open files.
            Err(_) => {
                listener::pause();
                continue;
            }
        };
        let entry = match open.enter(stream, shared.limits.connections) {
            Ok(entry) => entry,
            Err(stream) => {
                shared.handler.turned_away();
                turn_away(&stream);
                continue;
            }
        };
        let serving = Arc::clone(shared);
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
            connection::serve(&serving, &entry.place);
        });
        // Without a thread, the connection is closed: it is dropped with the closure.
        if spawned.is_err() {
            shared.handler.turned_away();
        }
    }
}

/// Says that there is no room. The first bytes of a connection do not wait.
fn turn_away(stream: &Stream) {
    let _ = stream.write(FULL, STEP);
    stream.end_writing();
}
