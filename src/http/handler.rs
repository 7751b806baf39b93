//! What a command does with requests.

use std::time::Duration;

use super::message::{Request, Response};

/// Answers requests, many at once.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Looks at a request whose body is not read yet. Returns the most bytes that the body may
    /// have.
    ///
    /// # Errors
    /// The answer to a request whose body is not worth reading.
    fn admit(&self, request: &Request) -> Result<usize, Response>;

    /// Answers a request that was admitted. May take its time: the connection has a thread.
    fn answer(&self, request: &Request) -> Response;

    /// The answer to a request that cannot be read, for this reason.
    fn refuse(&self, _request: &Request, status: u16, why: &str) -> Response {
        Response::text(status, why)
    }

    /// Is told of each answer, and how long it took from the end of the request's head.
    fn answered(&self, _request: &Request, _response: &Response, _took: Duration) {}

    /// Is told of an answer to what is no whole request: it took too long (408) or cannot be read
    /// (400, 431).
    fn unread(&self, _status: u16) {}

    /// Is told of a connection for which there is no room.
    fn turned_away(&self) {}

    /// Headers of all answers.
    fn headers(&self) -> &[(&'static str, &'static str)] {
        &[]
    }
}
