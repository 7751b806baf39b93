//! `promptmix serve`, started in a test's folder, and clients that speak plain HTTP to it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::TestDir;

/// The running command.
pub(crate) struct Server {
    pub child: Child,
    /// As printed.
    pub address: String,
    errors: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Server {
    /// Starts the command on a free port and waits until it is ready.
    pub(crate) fn start(dir: &TestDir, args: &[&str]) -> Self {
        let args = [&["serve", "--port", "0"], args].concat();
        let mut server = Self::launch(dir.program(&args));
        server.wait_for("ready; Ctrl-C");
        server
    }

    /// Starts `command`, which need not be ready yet.
    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = Arc::new(Mutex::new(String::new()));
        let (stderr, copy) = (child.stderr.take().unwrap(), Arc::clone(&errors));
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                *copy.lock().unwrap() += &(line.unwrap() + "\n");
            }
        });
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let server =
            Self { child, address: address.trim().to_owned(), errors, reader: Some(reader) };
        assert!(!server.address.is_empty(), "no address was printed: {}", server.errors());
        server
    }

    /// What was printed on stderr so far.
    pub(crate) fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    pub(crate) fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.errors().contains(words) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {}", self.errors());
            assert!(Instant::now() < deadline, "{words}: {}", self.errors());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// As in `Host`.
    pub(crate) fn host(&self) -> &str {
        self.address.strip_prefix("http://").expect("a network address")
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(self.host())
    }

    /// Sends JSON on a connection of its own.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.connect().post(path, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.connect().send("GET", path, &[], b"")
    }

    /// The value of a line of `/metrics`.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let text = self.get("/metrics").body;
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '))?;
        Some(value.parse().expect("a number"))
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: it signals the process that this test started and has not waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Waits for the end. Returns the exit code and what was printed on stderr.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.take().unwrap().join().unwrap();
        (code, self.errors())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept.
pub(crate) struct Client {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn new(host: &str) -> Self {
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { host: host.to_owned(), stream: BufReader::new(stream) }
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    /// Sends a request with `Host` and these headers.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        self.write(&[head.as_bytes(), body].concat());
        self.read().expect("an answer")
    }

    /// Sends bytes; the other side may have closed the connection.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// The next answer; `None` if the connection ends.
    pub(crate) fn read(&mut self) -> Option<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let mut body = vec![0; length.parse().ok()?];
        self.stream.read_exact(&mut body).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head, body: String::from_utf8(body).ok()? })
    }
}
