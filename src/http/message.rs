//! A request as it was read, and a response.

use serde::{Serialize, de::DeserializeOwned};

/// A request with its whole body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub method: String,
    /// Without the query, as it was sent.
    pub path: String,
    /// What follows the `?`, as it was sent; empty without one.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the connection stays open for another request.
    pub keep_alive: bool,
}

impl Request {
    /// The value of the header `name`, in lower case; `None` if it is missing or given twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The body as JSON, or the answer to a body that is something else.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Response> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Response::text(400, "the request is not what this page sends"))
    }
}

/// A response with its whole body.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// The value of `Set-Cookie`, if one is set.
    pub cookie: Option<String>,
}

impl Response {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, content_type, body: body.into(), cookie: None }
    }

    pub(crate) fn html(body: impl Into<Vec<u8>>) -> Self {
        Self::new("text/html; charset=utf-8", body)
    }

    /// A sentence.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, ..Self::new("text/plain; charset=utf-8", body.into()) }
    }

    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("what a page is told is plain values");
        Self { status, ..Self::new("application/json", body) }
    }

    /// Status line, headers and body.
    ///
    /// The page may load what comes from here and nothing else, and nothing else may show or read
    /// the page.
    pub(super) fn bytes(&self, keep_alive: bool) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            self.status,
            reason(self.status),
            self.content_type,
            self.body.len()
        );
        for (name, value) in HEADERS {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            head += &format!("Set-Cookie: {cookie}\r\n");
        }
        head += if keep_alive { "\r\n" } else { "Connection: close\r\n\r\n" };
        [head.as_bytes(), &self.body].concat()
    }
}

const HEADERS: [(&str, &str); 7] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
];

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Error",
    }
}
