//! HTTP on a connection that the broker made: ureq over a descriptor, with TLS where the address
//! asks for it.
//!
//! ureq itself opens nothing here: its connector is [`Descriptors`], which asks the broker, and its
//! resolver looks nothing up.

use std::{
    fmt::Debug,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use serde_json::Value;
use ureq::{
    Agent, RequestBuilder,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use super::{address::Address, broker};

/// The largest answer in bytes: the log-probabilities of a whole vocabulary as JSON.
const MAX_ANSWER: u64 = 256 << 20;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The engine has too much to do, or is not ready yet, and may say when to come again.
    Busy { again: Option<Duration> },
    /// The connection cannot be made, or broke, or the engine failed. `sent`: the request may have
    /// caused it.
    Broken { reason: String, sent: bool },
    /// The engine does not want this request.
    Rejected { reason: String },
    /// Nothing more is to be asked.
    Fatal { message: String, hint: String },
}

/// What all connections to an address have in common.
pub(super) struct Access {
    pub address: Address,
    /// For `https`.
    pub tls: Option<Arc<ClientConfig>>,
    /// Sent as `Authorization: Bearer`.
    pub key: Option<String>,
    /// How long an engine may be silent.
    pub silence: Option<Duration>,
}

/// When a connection was made.
#[derive(Debug, Clone, Default)]
struct Connected(Arc<Mutex<Option<Instant>>>);

/// One connection, which is made when it is needed, and again when it broke.
pub(super) struct Client {
    agent: Agent,
    root: String,
    key: Option<String>,
    connected: Connected,
}

impl Client {
    pub(super) fn new(access: &Access) -> Self {
        let connected = Connected::default();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_secs(3600))
            .timeout_global(access.silence)
            .user_agent(concat!("promptmix/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = Descriptors {
            address: access.address.clone(),
            tls: access.tls.clone(),
            connected: connected.clone(),
        };
        Self {
            agent: Agent::with_parts(config, connector, Nowhere),
            // The scheme is for ureq alone: whether there is TLS is decided by the connector.
            root: format!("http://{}", access.address.authority()),
            key: access.key.clone(),
            connected,
        }
    }

    /// When the connection was made. Behind a later one another engine may answer.
    pub(super) fn connected_at(&self) -> Option<Instant> {
        *self.connected.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.get(format!("{}{path}", self.root));
        read(self.signed(request).call())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(format!("{}{path}", self.root));
        let request = request.header("content-type", "application/json");
        let body = serde_json::to_vec(body).expect("a value is valid JSON");
        read(self.signed(request).send(&body[..]))
    }

    /// `request` with the API key, if there is one.
    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }
}

/// The JSON of a response.
fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Failure> {
    let broken = |error: ureq::Error| {
        match &error {
        ureq::Error::Io(io) if is_untrusted(io) => Failure::Fatal {
            message: format!("its certificate is not trusted: {io}"),
            hint: "set `teacher.tls_ca` to the PEM file of the authority that signed it, or `teacher.tls_pin` to its sha256".to_owned(),
        },
        ureq::Error::Io(io) => match io.get_ref().and_then(|it| it.downcast_ref()) {
            Some(Unconnected { gone: true, reason }) => Failure::Fatal {
                message: reason.clone(),
                hint: "rerun the same command; finished work is kept".to_owned(),
            },
            Some(Unconnected { reason, .. }) => {
                Failure::Broken { reason: reason.clone(), sent: false }
            }
            None => Failure::Broken { reason: io.to_string(), sent: true },
        },
        error => Failure::Broken { reason: error.to_string(), sent: true },
    }
    };
    let mut response = response.map_err(broken)?;
    let status = response.status().as_u16();
    let again = response.headers().get("retry-after").and_then(|it| it.to_str().ok()?.parse().ok());
    let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(broken)?;
    match status {
        200 => serde_json::from_slice(&body).map_err(|_| Failure::Broken {
            reason: "its answer is not JSON, or incomplete".to_owned(),
            sent: true,
        }),
        429 | 503 => Err(Failure::Busy { again: again.map(Duration::from_secs) }),
        401 | 403 => Err(Failure::Fatal {
            message: format!("it wants another API key (status {status})"),
            hint: "put the key into a file and set `teacher.api_key_file` to it".to_owned(),
        }),
        400 | 404 | 405 | 413 | 422 => {
            Err(Failure::Rejected { reason: format!("status {status}{}", told(&body)) })
        }
        // A proxy says so of the engine behind it.
        408 | 502 | 504 => Err(Failure::Broken { reason: format!("status {status}"), sent: false }),
        _ => Err(Failure::Broken { reason: format!("status {status}{}", told(&body)), sent: true }),
    }
}

/// What the body of an error says. Prompts are sent as numbers, so an engine has no text to quote;
/// a message with a list of numbers is left out.
fn told(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = value.get("error").unwrap_or(&value);
    let message = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
    let is_list = |text: &&str| text.matches(|c: char| c.is_ascii_digit()).count() > 40;
    let message = message.as_str().filter(|text| !is_list(text));
    message.map_or(String::new(), |it| format!(": {}", crate::printable::excerpt(it)))
}

/// An error of [`Descriptors`]: the request was not sent.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct Unconnected {
    reason: String,
    /// No connection can be made any more.
    gone: bool,
}

fn unconnected(error: impl ToString) -> io::Error {
    io::Error::other(Unconnected { reason: error.to_string(), gone: false })
}

/// Whether the other side has another certificate than the user trusts.
fn is_untrusted(error: &io::Error) -> bool {
    use rustls::Error::{General, InvalidCertificate};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(InvalidCertificate(_) | General(_)))
}

/// Connects by asking the broker.
#[derive(Debug)]
struct Descriptors {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    connected: Connected,
}

impl Connector for Descriptors {
    type Out = Stream;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Stream>, ureq::Error> {
        let descriptor = broker::connect(&self.address).map_err(|error| {
            let gone = error.kind() == io::ErrorKind::NotConnected;
            io::Error::other(Unconnected { reason: error.to_string(), gone })
        })?;
        let socket = match &self.address {
            Address::Unix(_) => Socket::Unix(descriptor.into()),
            Address::Http { .. } => Socket::Plain(descriptor.into()),
            Address::Https { host, .. } => {
                let config = self.tls.clone().ok_or_else(|| unconnected("no TLS is set up"))?;
                let name = ServerName::try_from(host.clone()).map_err(unconnected)?;
                let tls = ClientConnection::new(config, name).map_err(unconnected)?;
                Socket::Tls(Box::new(StreamOwned::new(tls, descriptor.into())))
            }
        };
        *self.connected.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Stream { socket, buffers }))
    }
}

/// The broker knows where the address is.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut none = self.empty();
        none.push(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
        Ok(none)
    }
}

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Socket {
    fn set_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        let tcp = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
            Self::Unix(socket) => {
                socket.set_read_timeout(limit)?;
                return socket.set_write_timeout(limit);
            }
        };
        tcp.set_read_timeout(limit)?;
        tcp.set_write_timeout(limit)
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_nonblocking(on),
            Self::Tls(stream) => stream.sock.set_nonblocking(on),
            Self::Unix(socket) => socket.set_nonblocking(on),
        }
    }

    fn stream(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream,
            Self::Unix(socket) => socket,
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A connection, as ureq wants it.
#[derive(Debug)]
struct Stream {
    socket: Socket,
    buffers: LazyBuffers,
}

impl Stream {
    /// Does `work` within the time that is left.
    fn within<T>(
        timeout: NextTimeout,
        socket: &mut Socket,
        work: impl FnOnce(&mut dyn ReadWrite) -> io::Result<T>,
    ) -> Result<T, ureq::Error> {
        let limit = timeout.not_zero().map(|left| *left);
        socket.set_timeout(limit).map_err(ureq::Error::Io)?;
        work(socket.stream()).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                ureq::Error::Timeout(timeout.reason)
            }
            _ => ureq::Error::Io(error),
        })
    }
}

impl Transport for Stream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let Self { socket, buffers } = self;
        let output = &buffers.output()[..amount];
        Self::within(timeout, socket, |stream| {
            stream.write_all(output)?;
            stream.flush()
        })
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let Self { socket, buffers } = self;
        let input = buffers.input_append_buf();
        let amount = Self::within(timeout, socket, |stream| {
            loop {
                match stream.read(input) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => return read,
                }
            }
        })?;
        buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Nothing is to be read between two requests: whatever comes is the end.
    fn is_open(&mut self) -> bool {
        if self.socket.set_nonblocking(true).is_err() {
            return false;
        }
        let read = self.socket.stream().read(&mut [0]);
        let silent = matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        silent && self.socket.set_nonblocking(false).is_ok()
    }
}
