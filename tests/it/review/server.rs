//! `promptmix review`, started in a test's folder, and a browser that speaks plain HTTP to it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::TestDir;

/// The running command and the cookie of its page.
pub(crate) struct Server {
    pub child: Child,
    /// As printed, with the token.
    pub url: String,
    /// As in `Host`.
    pub host: String,
    pub cookie: String,
    connection: Option<BufReader<TcpStream>>,
}

pub(crate) struct Answer {
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    pub body: String,
}

impl Server {
    /// Starts the command for the run `out` and lets its token become a cookie.
    pub(crate) fn start(dir: &TestDir) -> Self {
        let mut server = Self::launch(dir.program(&["review", "out"]));
        server.enter();
        server
    }

    /// Starts `command`; its token is not used yet.
    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        if url.is_empty() {
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("no address was printed: {errors}");
        }
        let url = url.trim().to_owned();
        let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let host = host.expect("an address").to_owned();
        Self { child, url, host, cookie: String::new(), connection: None }
    }

    /// Lets the token become a cookie.
    pub(crate) fn enter(&mut self) {
        let target = self.target();
        let answer = self.send("GET", &target, &[("Host", &self.host.clone())], "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        self.cookie = cookie.expect("a cookie").split(';').next().unwrap().to_owned();
    }

    /// Path and query of the address.
    pub(crate) fn target(&self) -> String {
        format!("/{}", self.url.splitn(4, '/').nth(3).unwrap())
    }

    /// Sends a request with these headers only.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_send(method, target, headers, body).expect("an answer")
    }

    /// The same; `None` if the connection breaks.
    fn try_send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(&self.host).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                stream.set_nodelay(true).unwrap();
                BufReader::new(stream)
            }
        };
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        connection.get_mut().write_all(request.as_bytes()).ok()?;
        let answer = read(&mut connection)?;
        if !answer.head.contains("connection: close") {
            self.connection = Some(connection);
        }
        Some(answer)
    }

    /// Sends JSON as the page does; `None` if the connection breaks.
    pub(crate) fn try_post(&mut self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let (host, cookie) = (self.host.clone(), self.cookie.clone());
        let origin = format!("http://{host}");
        let headers = [("Host", host.as_str()), ("Origin", &origin), ("Cookie", &cookie)];
        let answer = self.try_send("POST", path, &headers, &body.to_string())?;
        Some((answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null)))
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(path, body).expect("an answer")
    }

    /// The rows of `list`, decided or not.
    pub(crate) fn rows(&mut self, list: &str) -> Vec<Value> {
        let query = json!({"list": list, "filter": {"decided": "either"}, "limit": 200});
        let (status, page) = self.post("/api/rows", &query);
        assert_eq!(status, 200);
        page["rows"].as_array().unwrap().clone()
    }

    /// Decides about `row` as it was shown.
    pub(crate) fn decide(&mut self, row: &Value, action: &Value) -> (u16, Value) {
        self.post("/api/decide", &decision(row, action))
    }

    /// Ends the review as the page does. Returns what the command printed.
    pub(crate) fn finish(mut self) -> String {
        assert_eq!(self.post("/api/close", &json!({})).0, 200);
        let mut printed = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{printed}");
        printed
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn decision(row: &Value, action: &Value) -> Value {
    json!({"key": row["key"], "version": row["version"], "action": action})
}

fn read(connection: &mut BufReader<TcpStream>) -> Option<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    connection.read_exact(&mut body).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: String::from_utf8(body).ok()? })
}
