//! Reads requests from one connection and writes the responses.

use std::io::{self, Read, Write};

use super::message::{Request, Response};

/// Bytes of a request's head; browsers send about one kB.
const MAX_HEAD: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Bytes of a request's body: an edited text, as JSON.
const MAX_BODY: usize = 4 << 20;

/// Answers requests until the other side closes the connection or sends what is no request.
///
/// # Errors
/// The connection broke, or nothing came for too long.
pub(super) fn serve<S: Read + Write>(
    mut stream: S,
    answer: impl Fn(&Request) -> Response,
) -> io::Result<()> {
    // What was read and belongs to the next request.
    let mut rest = Vec::new();
    loop {
        let (response, keep_alive) = match read(&mut stream, &mut rest)? {
            Incoming::End => return Ok(()),
            Incoming::Refused(response) => (response, false),
            Incoming::Request(request) => (answer(&request), request.keep_alive),
        };
        stream.write_all(&response.bytes(keep_alive))?;
        stream.flush()?;
        if !keep_alive {
            return Ok(());
        }
    }
}

enum Incoming {
    Request(Request),
    /// What was sent is no request that is answered here.
    Refused(Response),
    /// The other side closed the connection.
    End,
}

/// The next request of `stream`; `rest` is what was read before and not used.
fn read(stream: &mut impl Read, rest: &mut Vec<u8>) -> io::Result<Incoming> {
    let (mut request, body_length) = loop {
        match head(rest) {
            Head::Whole { request, head_length, body_length } => {
                rest.drain(..head_length);
                break (request, body_length);
            }
            Head::Refused(response) => return Ok(Incoming::Refused(response)),
            Head::Partial if rest.len() > MAX_HEAD => {
                return Ok(Incoming::Refused(Response::text(
                    431,
                    "the request's head is too long",
                )));
            }
            Head::Partial => {}
        }
        if more(stream, rest)? == 0 {
            return Ok(Incoming::End);
        }
    };
    while rest.len() < body_length {
        if more(stream, rest)? == 0 {
            return Ok(Incoming::End);
        }
    }
    request.body = rest.drain(..body_length).collect();
    Ok(Incoming::Request(request))
}

/// Appends what `stream` has to `bytes`; the number of bytes that came.
fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(read) => {
                bytes.extend_from_slice(&buffer[..read]);
                return Ok(read);
            }
        }
    }
}

enum Head {
    Whole { request: Request, head_length: usize, body_length: usize },
    Partial,
    Refused(Response),
}

/// The head at the start of `bytes`.
fn head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let refused = |status, why: &str| Head::Refused(Response::text(status, why));
    let head_length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return refused(400, "not an HTTP request"),
    };
    if head_length > MAX_HEAD {
        return refused(431, "the request's head is too long");
    }
    let mut fields = Vec::new();
    for header in parsed.headers.iter() {
        let Ok(value) = std::str::from_utf8(header.value) else {
            return refused(400, "a header is not UTF-8");
        };
        fields.push((header.name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: fields,
        body: Vec::new(),
        keep_alive: false,
    };
    request.keep_alive = parsed.version == Some(1)
        && !request.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
    match body_length(&request) {
        Ok(body_length) => Head::Whole { request, head_length, body_length },
        Err(response) => Head::Refused(response),
    }
}

/// The length of the body of `request`, which must say it itself.
fn body_length(request: &Request) -> Result<usize, Response> {
    let has = |name: &str| request.headers.iter().any(|(other, _)| other == name);
    if has("transfer-encoding") {
        return Err(Response::text(411, "the length of the body must be given"));
    }
    if !has("content-length") {
        return Ok(0);
    }
    let length = request.header("content-length");
    // Digits only: `parse` would take a sign, too.
    let length = length.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match length.and_then(|text| text.parse().ok()) {
        None => Err(Response::text(400, "the length of the body is not a number")),
        Some(length) if length > MAX_BODY => Err(Response::text(413, "the text is too long")),
        Some(length) => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection on which `incoming` arrives in pieces of `step` bytes.
    struct Pipe {
        incoming: Vec<u8>,
        step: usize,
        out: Vec<u8>,
    }

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.step.min(buffer.len()).min(self.incoming.len());
            buffer[..length].copy_from_slice(&self.incoming[..length]);
            self.incoming.drain(..length);
            Ok(length)
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.out.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is answered to `incoming`, where each request is answered by what it is.
    fn answers(incoming: &[u8], step: usize) -> String {
        let mut pipe = Pipe { incoming: incoming.to_vec(), step, out: Vec::new() };
        let echo = |request: &Request| {
            let Request { method, path, query, body, .. } = request;
            let body = String::from_utf8_lossy(body);
            Response::text(200, format!("[{method} {path} {query} {body}]"))
        };
        serve(&mut pipe, echo).unwrap();
        String::from_utf8(pipe.out).unwrap()
    }

    #[test]
    fn requests_are_read_however_they_arrive() {
        let two = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyzGET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        for step in [1, 7, 1000] {
            let answers = answers(two, step);
            assert!(answers.contains("[POST /a b=c xyz]"), "{answers}");
            assert!(answers.ends_with("Connection: close\r\n\r\n[GET /  ]"), "{answers}");
        }
        assert_eq!(answers(b"GET / HT", 3), "", "a connection that ends in a request");
    }

    #[test]
    fn what_is_too_long_or_unclear_is_refused_and_ends_the_connection() {
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        let cases: [(&str, &str); 8] = [
            (&long, "431 "),
            (&many, "400 "),
            ("\u{16}\u{3}\u{1}hello\r\n\r\n", "400 "),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411 "),
            ("POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", "413 "),
            ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", "400 "),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400 "),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nx", "400 "),
        ];
        for (request, status) in cases {
            let answers = answers(request.as_bytes(), 1000);
            assert!(answers.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answers}");
            assert!(answers.contains("Connection: close"), "{answers}");
            assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
        }
    }

    #[test]
    fn pages_load_nothing_from_elsewhere() {
        let answer = answers(b"GET / HTTP/1.1\r\n\r\n", 1000);
        assert!(answer.contains("default-src 'none'"), "{answer}");
        assert!(!answer.contains("unsafe") && !answer.contains("http:"), "{answer}");
    }
}
