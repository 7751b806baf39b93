//! A server on 127.0.0.1 with as much HTTP as the hub and its CDN need.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// One request as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub path: String,
    pub host: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// Whether the client used this server as a proxy.
    pub proxied: bool,
}

/// The response to a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The connection is closed after this many bytes of the body.
    pub cut: Option<usize>,
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// The requested range of `bytes`.
    pub(super) fn part(bytes: &[u8], seen: &Seen) -> Self {
        let Some(range) = seen.range.as_deref().and_then(|range| range.strip_prefix("bytes="))
        else {
            return Self { status: 200, body: bytes.to_vec(), ..Self::default() };
        };
        let (first, last) = range.split_once('-').expect("a range");
        let first: usize = first.parse().expect("a number");
        let last = last.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
        if first > last {
            return Self::status(416);
        }
        let reply = Self { status: 206, body: bytes[first..=last].to_vec(), ..Self::default() };
        reply.with("content-range", format!("bytes {first}-{last}/{}", bytes.len()))
    }
}

/// A server; it runs until the tests end.
pub(super) struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `answer` receives each request and the number of requests before it.
    pub(super) fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, noted) = (answer.clone(), noted.clone());
                // Some clients close the connection early.
                thread::spawn(move || {
                    let _ = serve(stream, &*answer, &noted);
                });
            }
        });
        Self { port, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(&Seen, usize) -> Reply + Send + Sync),
    noted: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let (mut method, mut seen) = request(&mut reader)?;
    if method == "CONNECT" {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        (method, seen) = request(&mut reader)?;
        seen.proxied = true;
    }
    assert_eq!(method, "GET");
    if let Some(rest) = seen.path.strip_prefix("http://") {
        seen.proxied = true;
        seen.path = rest[rest.find('/').unwrap_or(rest.len())..].to_owned();
    }
    let before = {
        let mut noted = noted.lock().unwrap();
        noted.push(seen.clone());
        noted.len() - 1
    };
    let reply = answer(&seen, before);
    let mut head = format!("HTTP/1.1 {} Status\r\nconnection: close\r\n", reply.status);
    head += &format!("content-length: {}\r\n", reply.body.len());
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    stream.shutdown(Shutdown::Write)?;
    // Wait until the client has read everything: closing earlier could discard the last bytes.
    std::io::copy(&mut reader.take(1 << 16), &mut std::io::sink()).map(|_| ())
}

fn request(reader: &mut impl BufRead) -> std::io::Result<(String, Seen)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let mut seen = Seen { path: words.next().unwrap_or_default(), ..Seen::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok((method, seen));
        };
        match name.to_ascii_lowercase().as_str() {
            "host" => seen.host = value.to_owned(),
            "range" => seen.range = Some(value.to_owned()),
            "authorization" => seen.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
}
