//! HTTP/1.1 for one person at this machine: the pages of a command, in the browser beside it.
//!
//! ```text
//! Listener::open ─► sandbox::install_without_sockets ─► serve ─ Guard ─► the command's answer
//! ```
//!
//! The listener is the last socket that the process creates: it is opened first, on the loopback
//! address or on a path, and then the kernel refuses all others ([`crate::sandbox`]). [`guard`]
//! turns away whoever is not the person who started the command.
//!
//! Requests are read by `httparse`, the parser of hyper, one thread for each connection. There is
//! no TLS, since nothing leaves the machine, and no chunked body, since no browser sends one.

mod connection;
mod guard;
mod listener;
mod message;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

pub(crate) use guard::Guard;
pub(crate) use listener::{Address, ListenError, Listener};
pub(crate) use message::{Request, Response};

use crate::interrupt::Leftover;

use listener::Stream;

/// Connections that are served at once. A browser opens six; what goes beyond is closed.
const CONNECTIONS: usize = 64;
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves `listener` in threads of its own until the process ends: requests that `guard` lets pass
/// are answered by `answer`. Returns what is to be removed in the end: the path of a socket.
pub(crate) fn serve(
    listener: Listener,
    guard: Guard,
    answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> Option<Leftover> {
    let Listener { socket, leftover, .. } = listener;
    let shared = Arc::new((guard, answer));
    let open = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        loop {
            // A connection that was gone before it was accepted, or too many open files.
            let Ok(stream) = socket.accept() else {
                thread::sleep(PAUSE);
                continue;
            };
            if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS {
                open.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let (shared, open) = (Arc::clone(&shared), Arc::clone(&open));
            thread::spawn(move || {
                let (guard, answer) = &*shared;
                answer_all(stream, |request| guard.answer(request, answer));
                open.fetch_sub(1, Ordering::AcqRel);
            });
        }
    });
    leftover
}

/// Answers the requests of one connection. Errors end it: there is nobody else to tell.
fn answer_all(stream: Stream, answer: impl Fn(&Request) -> Response) {
    let _ = match stream {
        Stream::Tcp(stream) => connection::serve(stream, answer),
        #[cfg(unix)]
        Stream::Unix(stream) => connection::serve(stream, answer),
    };
}
