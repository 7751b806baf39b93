//! A request as it was read, and a response.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

/// A request. While it is admitted, its body is not read yet and empty.
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
}

impl Request {
    /// The head of a request; `None` if a header is not UTF-8.
    pub(super) fn new(head: &hyper::http::request::Parts) -> Option<Self> {
        let field = |(name, value): (&hyper::http::HeaderName, &hyper::http::HeaderValue)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.trim().to_owned()))
        };
        Some(Self {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.iter().map(field).collect::<Option<_>>()?,
            body: Vec::new(),
        })
    }

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
    pub content_type: Cow<'static, str>,
    pub body: Vec<u8>,
    /// Headers besides type and length.
    pub headers: Vec<(&'static str, String)>,
}

impl Response {
    pub(crate) fn new(
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let (content_type, body) = (content_type.into(), body.into());
        Self { status: 200, content_type, body, headers: Vec::new() }
    }

    pub(crate) fn html(body: impl Into<Vec<u8>>) -> Self {
        Self::new("text/html; charset=utf-8", body)
    }

    /// A sentence.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, ..Self::new("text/plain; charset=utf-8", body.into()) }
    }

    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("what a client is told is plain values");
        Self { status, ..Self::new("application/json", body) }
    }

    /// The same response with another header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
