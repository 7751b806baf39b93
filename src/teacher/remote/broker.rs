//! The broker: the only process that may connect, and only to the addresses that the user named.
//!
//! ```text
//! command ── starts, before its own sockets are taken away ──► broker
//!    │ starts                                                    ▲ │ a connected descriptor
//!    ▼                                                           │ ▼
//! teacher's process ──────────── "connect to ADDRESS" ───────────┘
//! ```
//!
//! All three share one socket pair. A request carries an end of a socket pair of its own, on which
//! the broker answers, so answers cannot be mixed up, whoever asks. The broker reads no file and no
//! text of the user: it knows a list of addresses, which is given once.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize};

use super::address::{Address, loopback};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest message in bytes.
const MESSAGE: usize = 64 << 10;

/// What is asked of the broker.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// The addresses, for a broker that was started without any; it listens to the first list.
    Allow(Vec<Address>),
    /// A connection to an address. A descriptor for the answer comes with it.
    Connect(Address),
}

/// This process's end of the broker's socket.
static BROKER: OnceLock<OwnedFd> = OnceLock::new();

/// Starts the broker as a child process, which keeps the network when this process loses it.
/// Without `addresses` it waits for [`allow`].
///
/// # Errors
/// The system starts no process.
pub(crate) fn start(program: &Path, addresses: &[Address]) -> io::Result<()> {
    let (ours, theirs) = pair(SocketType::SEQPACKET)?;
    Command::new(program)
        .arg("address-broker")
        .args(addresses.iter().map(ToString::to_string))
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        // Ctrl-C in the terminal goes to the command, whose end ends the broker.
        .process_group(0)
        .spawn()?;
    BROKER.set(ours).map_err(|_| io::Error::other("there is a broker already"))
}

/// Uses the descriptor `number`, which the parent process left open for this one, as the broker's
/// socket.
pub(crate) fn inherit(number: RawFd) {
    use std::os::fd::FromRawFd;
    // SAFETY: the parent passes the number of an open descriptor that nothing else here uses.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // It is for this process alone.
    let _ = fcntl_setfd(&descriptor, FdFlags::CLOEXEC);
    let _ = BROKER.set(descriptor);
}

/// Whether this process can ask for connections.
pub(crate) fn is_running() -> bool {
    BROKER.get().is_some()
}

/// Names the addresses, or that there are none, to a broker that was started without any. One that
/// has a list ignores it.
///
/// # Errors
/// The broker has ended.
pub(crate) fn allow(addresses: Vec<Address>) -> io::Result<()> {
    let broker = BROKER.get().ok_or(io::ErrorKind::NotConnected)?;
    send(broker, &Request::Allow(addresses), None)
}

/// Lets the process that `command` starts ask for connections, if this one can: returns the
/// descriptor's number, for [`inherit`].
pub(crate) fn pass_on(command: &mut Command) -> Option<RawFd> {
    let number = BROKER.get()?.as_raw_fd();
    // SAFETY: between fork and exec only a system call is made, on a descriptor that stays open as
    // long as this process.
    unsafe {
        command.pre_exec(move || {
            let descriptor = BorrowedFd::borrow_raw(number);
            fcntl_setfd(descriptor, FdFlags::empty()).map_err(Into::into)
        });
    }
    Some(number)
}

/// A descriptor that is connected to `address`.
///
/// # Errors
/// No connection; an address that was not named; no broker ([`io::ErrorKind::NotConnected`]).
pub(super) fn connect(address: &Address) -> io::Result<OwnedFd> {
    let gone =
        || io::Error::new(io::ErrorKind::NotConnected, "the process that connects has ended");
    let broker = BROKER.get().ok_or_else(gone)?;
    let (ours, theirs) = pair(SocketType::SEQPACKET)?;
    send(broker, &Request::Connect(address.clone()), Some(theirs.as_fd())).map_err(|_| gone())?;
    drop(theirs);
    let (answer, descriptor) = receive(&ours)?;
    match (serde_json::from_slice::<Result<(), String>>(&answer), descriptor) {
        (Ok(Ok(())), Some(descriptor)) => Ok(descriptor),
        (Ok(Err(reason)), _) => Err(io::Error::other(reason)),
        _ => Err(gone()),
    }
}

/// Serves on stdin until nobody holds the other end.
///
/// # Errors
/// A broken socket.
pub(crate) fn serve(mut addresses: Vec<Address>) -> io::Result<()> {
    let socket = io::stdin();
    let mut named = !addresses.is_empty();
    loop {
        let (message, descriptor) = receive(&socket)?;
        if message.is_empty() {
            return Ok(());
        }
        match (serde_json::from_slice(&message), descriptor) {
            (Ok(Request::Allow(list)), _) if !named => (addresses, named) = (list, true),
            (Ok(Request::Connect(address)), Some(asker)) => {
                if addresses.contains(&address) {
                    // An address that does not answer must not keep the others waiting.
                    thread::spawn(move || answer(&asker, open(&address)));
                } else {
                    answer(&asker, Err(io::Error::other("this address was not allowed")));
                }
            }
            _ => {}
        }
    }
}

fn answer(asker: &OwnedFd, outcome: io::Result<OwnedFd>) {
    let message = outcome.as_ref().map(|_| ()).map_err(ToString::to_string);
    // Whoever asked may have ended.
    let _ = send(asker, &message, outcome.as_ref().ok().map(AsFd::as_fd));
}

/// Connects to `address`, on the first of its host's addresses that answers.
fn open(address: &Address) -> io::Result<OwnedFd> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(UnixStream::connect(path)?.into()),
        Address::Http { host, port } | Address::Https { host, port } => (host.as_str(), *port),
    };
    let known = loopback(host).map(|ip| SocketAddr::new(ip, port));
    let resolved = match known {
        Some(address) => vec![address],
        None => (host, port).to_socket_addrs()?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its host has no address");
    let each = CONNECT / u32::try_from(resolved.len().max(1)).unwrap_or(u32::MAX);
    for address in resolved {
        match TcpStream::connect_timeout(&address, each) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream.into());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message, with a descriptor if there is one.
fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    with: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let descriptors: Vec<BorrowedFd<'_>> = with.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message, with a descriptor if one came along. An empty message: the other end is
/// closed.
fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?.bytes,
        }
    };
    bytes.truncate(received);
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((bytes, descriptor))
}
