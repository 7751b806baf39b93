//! The only socket of a command that shows a page.

use std::{
    borrow::Cow,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::Duration,
};
#[cfg(unix)]
use std::{
    fs,
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use crate::{
    hint::{Hint, shell_path},
    interrupt::Leftover,
};

/// A connection on which nothing comes or goes is closed after this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where to listen.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// On 127.0.0.1; port 0 is any that is free.
    Port(u16),
    /// On a socket in the file system, for its owner alone.
    Path(PathBuf),
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on 127.0.0.1:{port}")]
    Port { port: u16, source: io::Error },
    #[error("cannot listen on {path}")]
    Path { path: PathBuf, source: io::Error },
}

impl Hint for ListenError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Port { .. } => "leave --port out, and a free port is chosen".into(),
            Self::Path { path, .. } => format!(
                "the path must be free, short (at most about 100 bytes) and in a folder of yours; `rm {}` removes what is there",
                shell_path(path)
            )
            .into(),
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
    Tcp(TcpListener),
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
                let fail = |source| ListenError::Port { port: *port, source };
                let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).map_err(fail)?;
                let address = Address::Port(socket.local_addr().map_err(fail)?.port());
                Ok(Self { socket: Socket::Tcp(socket), address, leftover: None })
            }
            #[cfg(unix)]
            Address::Path(path) => {
                let fail = |source| ListenError::Path { path: path.clone(), source };
                remove_abandoned(path);
                let socket = UnixListener::bind(path).map_err(fail)?;
                let (socket, address) = (Socket::Unix(socket), address.clone());
                Ok(Self { socket, address, leftover: Some(Leftover::new(path.clone())) })
            }
            #[cfg(not(unix))]
            Address::Path(path) => {
                let source = io::Error::from(io::ErrorKind::Unsupported);
                Err(ListenError::Path { path: path.clone(), source })
            }
        }
    }

    /// Where it listens, with the port that was chosen.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

impl Socket {
    /// The next connection, from this machine.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer): (_, SocketAddr) = socket.accept()?;
                if !peer.ip().is_loopback() {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Stream::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Stream::Unix(stream))
            }
        }
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
