//! A server on a path, and clients that write bytes.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{listener::Shutdown, *};

const LIMITS: Limits = Limits {
    connections: 8,
    idle: Duration::from_secs(20),
    request: Duration::from_secs(20),
    bodies: 1 << 20,
};
/// Bytes that the body of a request may have.
const MOST: usize = 100_000;

/// Answers each request by what it is.
struct Echo;

impl Handler for Echo {
    fn admit(&self, request: &Request) -> Result<usize, Response> {
        match request.path.as_str() {
            "/forbidden" => Err(Response::text(403, "forbidden")),
            _ => Ok(MOST),
        }
    }

    fn answer(&self, request: &Request) -> Response {
        assert!(request.path != "/panic", "a panic on purpose");
        if request.path == "/slow" {
            thread::sleep(Duration::from_millis(300));
        }
        let Request { method, path, query, body, .. } = request;
        let body = match body.len() {
            0..100 => String::from_utf8_lossy(body).into_owned(),
            length => length.to_string(),
        };
        Response::text(200, format!("[{method} {path} {query} {body}]"))
    }
}

struct Running {
    server: Server,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Running {
    fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Listener::open(&Address::Path(path.clone())).unwrap();
        Self { server: serve(listener, Echo, limits), path, _folder: folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// What comes back for `incoming`, sent in pieces of `step` bytes, until the connection ends.
    fn answers(&self, incoming: &[u8], step: usize) -> String {
        let mut stream = self.connect();
        for piece in incoming.chunks(step) {
            // It may be refused before its end.
            let _ = stream.write_all(piece);
        }
        let _ = stream.shutdown(Shutdown::Write);
        rest(&mut stream)
    }

    /// Until `wanted` connections are open.
    fn wait(&self, wanted: usize) {
        let (count, deadline) = (self.server.connections(), Instant::now() + LIMITS.idle);
        while count() != wanted {
            assert!(Instant::now() < deadline, "{} connections are open", count());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn rest(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// The next answer of a connection that stays open.
fn next(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"]") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn requests_are_read_however_they_arrive() {
    let running = Running::new(LIMITS);
    let two = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyzGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for step in [1, 7, 1000] {
        let answers = running.answers(two, step);
        assert!(answers.contains("[POST /a b=c xyz]"), "{answers}");
        assert!(answers.ends_with("[GET /  ]"), "{answers}");
        assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    }
    let chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n";
    for step in [1, 1000] {
        let answers = running.answers(chunked, step);
        assert!(answers.contains("[POST /  abcde]") && answers.contains("[GET /2  ]"), "{answers}");
    }
    assert_eq!(running.answers(b"GET / HT", 3), "", "a connection that ends in a request");
    assert_eq!(running.answers(b"", 3), "");
    let large = format!("POST / HTTP/1.1\r\nContent-Length: {MOST}\r\n\r\n{}", "x".repeat(MOST));
    let answers = running.answers(large.as_bytes(), 1 << 20);
    assert!(answers.ends_with(&format!("[POST /  {MOST}]")), "{answers}");
}

#[test]
fn a_client_that_waits_for_leave_to_send_its_body_gets_it_or_the_refusal() {
    let running = Running::new(LIMITS);
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
    };
    let mut stream = running.connect();
    stream.write_all(head("/").as_bytes()).unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ab").unwrap();
    assert!(next(&mut stream).ends_with("[POST /  ab]"));
    stream.write_all(head("/forbidden").as_bytes()).unwrap();
    let answer = rest(&mut stream);
    assert!(
        answer.starts_with("HTTP/1.1 403 ") && answer.contains("connection: close"),
        "{answer}"
    );
}

#[test]
fn what_is_too_long_or_unclear_is_refused_and_ends_the_connection() {
    let running = Running::new(LIMITS);
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(20 << 10));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(70));
    let announced = "POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n";
    let endless = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        format!("2710\r\n{}\r\n", "x".repeat(10_000)).repeat(300)
    );
    let cases: [(&str, &str); 9] = [
        (&long, "431 "),
        (&many, "431 "),
        ("\u{16}\u{3}\u{1}hello\r\n\r\n", "400 "),
        (announced, "413 "),
        (&endless, "413 "),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400 "),
        ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", "400 "),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400 "),
        ("POST /forbidden HTTP/1.1\r\nContent-Length: 9\r\n\r\n", "403 "),
    ];
    for (request, status) in cases {
        let answers = running.answers(request.as_bytes(), 1000);
        let what = &request[..request.len().min(80)];
        assert!(answers.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {answers}");
        assert!(answers.contains("connection: close"), "{what}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{what}: {answers}");
    }
    running.wait(0);
}

#[test]
fn who_takes_too_long_is_cut() {
    let brief = Duration::from_millis(200);
    let running = Running::new(Limits { idle: brief, request: brief, ..LIMITS });
    let start = Instant::now();
    let mut silent = running.connect();
    assert_eq!(rest(&mut silent), "");
    // A byte now and then does not help.
    let mut slow = running.connect();
    let mut copy = slow.try_clone().unwrap();
    let drip = thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nHost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" {
            let _ = copy.write_all(&[*byte]);
            thread::sleep(Duration::from_millis(20));
        }
    });
    let answer = rest(&mut slow);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut half = running.connect();
    half.write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").unwrap();
    let answer = rest(&mut half);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(10));
    drip.join().unwrap();
    drop((silent, slow, half));
    running.wait(0);
}

#[test]
fn a_panic_is_answered_and_leaves_nothing_behind() {
    let running = Running::new(LIMITS);
    let mut stream = running.connect();
    stream.write_all(b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    let answers = next(&mut stream);
    assert!(answers.starts_with("HTTP/1.1 500 ") && answers.contains(" 200 OK"), "{answers}");
    running.wait(1);
    drop(stream);
    running.wait(0);
}

#[test]
fn bodies_together_have_a_bound() {
    let running = Running::new(Limits { bodies: 60_000, ..LIMITS });
    let head = |length: usize| format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
    let mut first = running.connect();
    first.write_all(format!("{}{}", head(50_000), "x".repeat(49_999)).as_bytes()).unwrap();
    // Until the first one is read; then there is no room for the second one.
    thread::sleep(Duration::from_millis(100));
    let second = format!("{}{}", head(20_000), "x".repeat(20_000));
    let answer = running.answers(second.as_bytes(), 1 << 20);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    first.write_all(b"x").unwrap();
    assert!(next(&mut first).ends_with("[POST /  50000]"));
    let answer = running.answers(second.as_bytes(), 1 << 20);
    assert!(answer.ends_with("[POST /  20000]"), "{answer}");
}

#[test]
fn where_there_is_no_room_an_idle_connection_makes_it() {
    let running = Running::new(Limits { connections: 2, ..LIMITS });
    let mut idle = running.connect();
    idle.write_all(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(next(&mut idle).ends_with("[GET /1  ]"));
    let mut busy = running.connect();
    busy.write_all(b"GET /2 HTTP/1.1\r\n").unwrap();
    running.wait(2);
    thread::sleep(Duration::from_millis(50));
    let mut third = running.connect();
    third.write_all(b"GET /3 HTTP/1.1\r\n").unwrap();
    assert_eq!(rest(&mut idle), "", "it has made room");
    drop(idle);
    running.wait(2);
    thread::sleep(Duration::from_millis(50));
    let mut fourth = running.connect();
    assert!(rest(&mut fourth).starts_with("HTTP/1.1 503 "), "nobody can make room");
    for stream in [&mut busy, &mut third] {
        stream.write_all(b"Host: x\r\n\r\n").unwrap();
        assert!(next(stream).contains(" 200 OK"));
    }
}

#[test]
fn a_stop_lets_requests_that_were_begun_be_answered() {
    let running = Running::new(LIMITS);
    let mut idle = running.connect();
    let mut begun = running.connect();
    begun.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut half = running.connect();
    half.write_all(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na").unwrap();
    running.wait(3);
    thread::sleep(Duration::from_millis(50));
    let Running { server, path, _folder } = running;
    let ending = thread::spawn(move || server.stop(Duration::from_secs(10)));
    assert_eq!(rest(&mut idle), "");
    thread::sleep(Duration::from_millis(150));
    assert!(UnixStream::connect(&path).is_err(), "nobody listens any more");
    half.write_all(b"b").unwrap();
    for (stream, wanted) in [(&mut begun, "[GET /slow  ]"), (&mut half, "[POST /half  ab]")] {
        let answer = rest(stream);
        assert!(answer.contains("connection: close") && answer.ends_with(wanted), "{answer}");
        // As a client does that was told that the connection ends.
        let _ = stream.shutdown(Shutdown::Write);
    }
    drop((idle, begun, half));
    assert_eq!(ending.join().unwrap(), 0);
}
