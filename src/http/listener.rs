//! The only socket of a command that answers requests.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::Duration,
};
#[cfg(unix)]
use std::{
    fs,
    os::unix::{
        fs::FileTypeExt,
        io::{AsRawFd, RawFd},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use crate::{
    hint::{Hint, shell_path},
    interrupt::Leftover,
};

pub(super) use std::net::Shutdown;

/// An address of a network, as `--host` has it.
pub(crate) type Ip = IpAddr;

/// Where to listen.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// On 127.0.0.1; port 0 is any that is free.
    Port(u16),
    /// On an address that other machines may reach.
    Host(IpAddr, u16),
    /// On a socket in the file system, for its owner alone.
    Path(PathBuf),
    /// On a socket that the service manager opened, and whether other machines may reach it.
    Inherited { name: String, is_public: bool },
}

impl Address {
    /// Whether other machines may reach it.
    pub(crate) fn is_public(&self) -> bool {
        match self {
            Self::Port(_) | Self::Path(_) => false,
            Self::Host(host, _) => !host.is_loopback(),
            Self::Inherited { is_public, .. } => *is_public,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "http://127.0.0.1:{port}"),
            Self::Host(host, port) => write!(f, "http://{}", SocketAddr::new(*host, *port)),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited { name, .. } => f.write_str(name),
        }
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address}")]
    Network { address: SocketAddr, source: io::Error },
    #[error("cannot listen on {path}")]
    Path { path: PathBuf, source: io::Error },
    #[error("cannot use the socket that LISTEN_FDS announces: {reason}")]
    Inherited { reason: String },
}

impl Hint for ListenError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Network { .. } => {
                "choose a port that is free with --port; 0 is any that is free".into()
            }
            Self::Path { path, .. } => format!(
                "the path must be free, short (at most about 100 bytes) and in a folder of yours; `rm {}` removes what is there",
                shell_path(path)
            )
            .into(),
            Self::Inherited { .. } => {
                "name one ListenStream in the .socket unit, with Accept=no".into()
            }
        })
    }
}

/// An open listener.
pub(crate) struct Listener {
    pub(super) socket: Socket,
    address: Address,
    /// The path of a socket in the file system.
    pub(super) leftover: Option<Leftover>,
}

pub(super) enum Socket {
    /// A listener, and whether it takes connections from this machine only.
    Tcp { listener: TcpListener, is_local: bool },
    #[cfg(unix)]
    Unix(UnixListener),
}

/// An accepted connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    /// Listens at `address`. To be called before the process loses the right to create sockets.
    ///
    /// # Errors
    /// A port or a path that is in use or forbidden.
    pub(crate) fn open(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Port(port) => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
                Self::network(listener, address, Address::Port)
            }
            Address::Host(host, port) => {
                let address = SocketAddr::new(*host, *port);
                let listener = TcpListener::bind(address);
                Self::network(listener, address, |port| Address::Host(*host, port))
            }
            #[cfg(unix)]
            Address::Path(path) => {
                let fail = |source| ListenError::Path { path: path.clone(), source };
                remove_abandoned(path);
                let socket = UnixListener::bind(path).map_err(fail)?;
                socket.set_nonblocking(true).map_err(fail)?;
                let (socket, address) = (Socket::Unix(socket), address.clone());
                Ok(Self { socket, address, leftover: Some(Leftover::new(path.clone())) })
            }
            #[cfg(not(unix))]
            Address::Path(path) => {
                let source = io::Error::from(io::ErrorKind::Unsupported);
                Err(ListenError::Path { path: path.clone(), source })
            }
            Address::Inherited { name, .. } => {
                let reason = format!("{name} was opened elsewhere");
                Err(ListenError::Inherited { reason })
            }
        }
    }

    fn network(
        listener: io::Result<TcpListener>,
        address: SocketAddr,
        with_port: impl Fn(u16) -> Address,
    ) -> Result<Self, ListenError> {
        let fail = |source| ListenError::Network { address, source };
        let listener = listener.map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let is_local = address.ip().is_loopback();
        let address = with_port(listener.local_addr().map_err(fail)?.port());
        Ok(Self { socket: Socket::Tcp { listener, is_local }, address, leftover: None })
    }

    /// The socket that the service manager opened for this process: descriptor 3, announced by
    /// `LISTEN_PID` and `LISTEN_FDS` (sd_listen_fds(3)). `None` without one.
    ///
    /// # Errors
    /// More than one socket, or one that does not listen.
    #[cfg(unix)]
    pub(crate) fn inherited() -> Result<Option<Self>, ListenError> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Ok(None);
        }
        let refused = |reason: &str| ListenError::Inherited { reason: reason.to_owned() };
        match number("LISTEN_FDS") {
            Some(1) => inherited::listener(refused).map(Some),
            None | Some(0) => Ok(None),
            Some(_) => Err(refused("there is more than one")),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn inherited() -> Result<Option<Self>, ListenError> {
        Ok(None)
    }

    /// Where it listens, with the port that was chosen.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

#[cfg(unix)]
mod inherited {
    use std::os::fd::{FromRawFd, OwnedFd};

    use super::*;

    /// SD_LISTEN_FDS_START.
    const FIRST: RawFd = 3;

    pub(super) fn listener(refused: impl Fn(&str) -> ListenError) -> Result<Listener, ListenError> {
        // SAFETY: `getsockopt` and `fcntl` read and set properties of a descriptor, whatever it is;
        // the buffers are as long as is said.
        let (listens, family) = unsafe {
            libc::fcntl(FIRST, libc::F_SETFD, libc::FD_CLOEXEC);
            let mut listens: libc::c_int = 0;
            let mut length = size_of::<libc::c_int>() as libc::socklen_t;
            let flag = (&raw mut listens).cast();
            let level = libc::SOL_SOCKET;
            let known = libc::getsockopt(FIRST, level, libc::SO_ACCEPTCONN, flag, &raw mut length);
            let mut address: libc::sockaddr_storage = std::mem::zeroed();
            let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            let named = libc::getsockname(FIRST, (&raw mut address).cast(), &raw mut length);
            (known == 0 && named == 0 && listens != 0, libc::c_int::from(address.ss_family))
        };
        if !listens {
            return Err(refused("descriptor 3 is no socket that listens"));
        }
        // SAFETY: the descriptor is an open socket that the service manager handed to this process;
        // nothing else here uses it.
        let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
        let fault = |error: io::Error| refused(&error.to_string());
        let (socket, name, is_public) = match family {
            libc::AF_UNIX => {
                let listener = UnixListener::from(socket);
                listener.set_nonblocking(true).map_err(fault)?;
                let address = listener.local_addr().map_err(fault)?;
                let path = address.as_pathname().map(|path| path.display().to_string());
                let name = format!("unix:{}", path.unwrap_or_else(|| "(without a path)".into()));
                (Socket::Unix(listener), name, false)
            }
            libc::AF_INET | libc::AF_INET6 => {
                let listener = TcpListener::from(socket);
                listener.set_nonblocking(true).map_err(fault)?;
                let address = listener.local_addr().map_err(fault)?;
                let is_local = address.ip().is_loopback();
                (Socket::Tcp { listener, is_local }, format!("http://{address}"), !is_local)
            }
            _ => return Err(refused("it is neither a TCP socket nor one in the file system")),
        };
        let address = Address::Inherited { name, is_public };
        Ok(Listener { socket, address, leftover: None })
    }
}

impl Socket {
    /// The next connection; `None` if none comes within `patience`.
    pub(super) fn accept(&self, patience: Duration) -> io::Result<Option<Stream>> {
        self.wait(patience);
        let stream = match self {
            Self::Tcp { listener, is_local } => listener.accept().and_then(|(stream, peer)| {
                if *is_local && !peer.ip().is_loopback() {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                // Not everywhere is it blocking by itself.
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }),
            #[cfg(unix)]
            Self::Unix(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                Ok(Stream::Unix(stream))
            }),
        };
        match stream {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Until a connection is there, or `patience` is over.
    #[cfg(unix)]
    fn wait(&self, patience: Duration) {
        let fd = match self {
            Self::Tcp { listener, .. } => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        };
        let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which outlives the call. If it fails, `accept` says why.
        unsafe {
            libc::poll(&raw mut wanted, 1, patience.as_millis() as libc::c_int);
        }
    }

    #[cfg(not(unix))]
    fn wait(&self, patience: Duration) {
        thread::sleep(patience.min(Duration::from_millis(5)));
    }
}

/// How long to wait where there is no other way to wait.
const PAUSE: Duration = Duration::from_millis(20);

/// After a connection that could not be accepted.
pub(super) fn pause() {
    thread::sleep(PAUSE);
}

impl Stream {
    /// Reads what there is, for at most `patience`, which must not be zero.
    pub(super) fn read(&self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(patience))?;
                (&*stream).read(buffer)
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(patience))?;
                (&*stream).read(buffer)
            }
        }
    }

    /// Writes as much as goes, for at most `patience`, which must not be zero.
    pub(super) fn write(&self, bytes: &[u8], patience: Duration) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                stream.set_write_timeout(Some(patience))?;
                (&*stream).write(bytes)
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_write_timeout(Some(patience))?;
                (&*stream).write(bytes)
            }
        }
    }

    /// Says that nothing more is written.
    pub(super) fn end_writing(&self) {
        self.shutdown(Shutdown::Write);
    }

    /// Ends a read that waits in another thread, as if the other side had closed the connection.
    pub(super) fn end_reading(&self) {
        self.shutdown(Shutdown::Read);
    }

    fn shutdown(&self, how: Shutdown) {
        // It may be closed already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(how),
        };
    }
}

/// Removes the socket at `path` that a killed process left: nobody answers there.
#[cfg(unix)]
fn remove_abandoned(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let refused = || {
        UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_socket && refused() {
        let _ = fs::remove_file(path);
    }
}
