//! One connection: hyper reads requests and writes responses, this thread waits for it.
//!
//! hyper asks for bytes and, where none are there, expects to be called again. So nothing here
//! blocks while it is at work: [`Io::wait`] fills a buffer when it has nothing left to do, with a
//! timeout that follows from the deadline of the whole request. Writes wait where they are.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Bytes, Incoming},
    rt::ReadBufCursor,
    server::conn::http1,
    service::service_fn,
};

use super::{
    handler::Handler,
    limits::{Budget, Limits, Share},
    message::{Request, Response},
    open::Place,
};

/// Bytes of a request's head; browsers send about one kB.
const MAX_HEAD: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Bytes that are read at once.
const BLOCK: usize = 16 << 10;
/// Bytes that hyper keeps of what was read.
const MAX_BUFFER: usize = 64 << 10;
/// How long the rest of a request is read that was answered before its end, and how long each part
/// of it may take. Without that, the answer may be lost: a connection that is closed before all was
/// read is reset.
const LINGER: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(2));
/// What is sent to who takes too long.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What all connections share.
pub(super) struct Shared<H> {
    pub handler: H,
    pub limits: Limits,
    pub budget: Budget,
    /// No further request is to be read.
    pub stopping: AtomicBool,
}

/// Answers the requests of a connection until one of the two sides ends it.
pub(super) fn serve<H: Handler>(shared: &Shared<H>, place: &Place) {
    let io = Io::new(place, shared.limits);
    let mut http = http1::Builder::new();
    // A client may end its side behind its request.
    http.half_close(true).max_headers(MAX_HEADERS).max_header_size(MAX_HEAD);
    http.max_buf_size(MAX_BUFFER);
    let service = service_fn(|request| {
        let io = io.clone();
        async move {
            let response = respond(shared, request).await;
            io.answered();
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(http.serve_connection(io.clone(), service));
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut is_last = false;
    loop {
        if let Poll::Ready(ended) = connection.as_mut().poll(&mut context) {
            // An error ends the connection. hyper has answered what it could not read.
            if let Some(status) = ended.err().and_then(|error| unreadable(&error)) {
                shared.handler.unread(status);
            }
            break;
        }
        if woken.0.swap(false, Ordering::AcqRel) {
            continue;
        }
        if !is_last && shared.stopping.load(Ordering::Acquire) {
            is_last = true;
            connection.as_mut().graceful_shutdown();
            continue;
        }
        match io.wait() {
            Wait::More => {}
            Wait::Over => break,
            Wait::TooSlow => {
                shared.handler.unread(408);
                break;
            }
        }
    }
    io.linger();
}

/// The status with which hyper answers what is no request.
fn unreadable(error: &hyper::Error) -> Option<u16> {
    match error.is_parse() {
        true if error.is_parse_too_large() => Some(431),
        true => Some(400),
        false => None,
    }
}

/// Whether hyper wants to be called again at once.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Answers one request.
async fn respond<H: Handler>(
    shared: &Shared<H>,
    incoming: hyper::Request<Incoming>,
) -> hyper::Response<Full<Bytes>> {
    let start = Instant::now();
    let (head, mut body) = incoming.into_parts();
    let mut is_read = body.is_end_stream();
    let mut share = shared.budget.share();
    let (request, mut response) = match Request::new(&head) {
        None => {
            let request = Request::default();
            let response = shared.handler.refuse(&request, 400, "a header is not UTF-8");
            (request, response)
        }
        Some(mut request) => {
            let response = match shared.handler.admit(&request) {
                Err(response) => response,
                Ok(most) => match read(&mut body, most, &mut share).await {
                    Err((status, why)) => shared.handler.refuse(&request, status, &why),
                    Ok(bytes) => {
                        (request.body, is_read) = (bytes, true);
                        answer(&shared.handler, &request)
                    }
                },
            };
            (request, response)
        }
    };
    shared.handler.answered(&request, &response, start.elapsed());
    if !is_read || shared.stopping.load(Ordering::Acquire) {
        response = response.with("connection", "close");
    }
    built(response, shared.handler.headers())
}

/// The answer of `handler`. If it panics, the other requests are answered, and this one is told.
fn answer(handler: &impl Handler, request: &Request) -> Response {
    catch_unwind(AssertUnwindSafe(|| handler.answer(request)))
        .unwrap_or_else(|_| handler.refuse(request, 500, "internal error, see the log"))
}

/// The response as hyper has it.
fn built(
    response: Response,
    headers_of_all: &[(&'static str, &'static str)],
) -> hyper::Response<Full<Bytes>> {
    let Response { status, content_type, body, headers } = response;
    let mut built = hyper::Response::builder().status(status);
    built = built.header("content-type", &*content_type);
    for (name, value) in headers_of_all {
        built = built.header(*name, *value);
    }
    for (name, value) in headers {
        built = built.header(name, value);
    }
    let whole = Full::new(Bytes::from(body));
    built.body(whole).unwrap_or_else(|_| {
        let mut broken = hyper::Response::new(Full::new(Bytes::new()));
        *broken.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}

/// The whole body, or the status and the reason of a refusal.
async fn read(
    body: &mut Incoming,
    most: usize,
    share: &mut Share<'_>,
) -> Result<Vec<u8>, (u16, String)> {
    let too_large = || (413, format!("the body has more than {most} bytes"));
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > most as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| (400, "the body ends early or is malformed".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large());
        }
        if !share.grow(data.len()) {
            return Err((503, "too many large requests at once".to_owned()));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The connection as hyper sees it. Clones are the same connection.
#[derive(Clone)]
struct Io<'a>(Rc<RefCell<State<'a>>>);

struct State<'a> {
    place: &'a Place,
    limits: Limits,
    buffer: Vec<u8>,
    /// The part of the buffer that was read and not passed on.
    rest: std::ops::Range<usize>,
    /// What follows it: an error, or the end.
    end: Option<Option<io::Error>>,
    /// Whether hyper waits for bytes.
    is_wanted: bool,
    phase: Phase,
    deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No byte of a request has come.
    Idle,
    Reading,
    Answering,
}

/// What came of waiting for bytes.
enum Wait {
    /// There is something to go on with.
    More,
    /// The connection ends.
    Over,
    /// The connection ends: a request that was begun took too long, which the client was told.
    TooSlow,
}

impl<'a> Io<'a> {
    fn new(place: &'a Place, limits: Limits) -> Self {
        Self(Rc::new(RefCell::new(State {
            place,
            limits,
            buffer: vec![0; BLOCK],
            rest: 0..0,
            end: None,
            is_wanted: false,
            phase: Phase::Idle,
            deadline: Instant::now() + limits.idle,
        })))
    }

    /// The request was answered; the answer is to be written.
    fn answered(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Answering;
        state.deadline = Instant::now() + state.limits.request;
    }

    /// Waits for bytes.
    fn wait(&self) -> Wait {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        if !state.is_wanted {
            return Wait::Over;
        }
        if state.phase == Phase::Answering {
            // It was written, or hyper would not wait.
            state.phase = Phase::Idle;
            state.deadline = Instant::now() + state.limits.idle;
            state.place.set_idle(true);
        }
        loop {
            let left = state.deadline.saturating_duration_since(Instant::now());
            let read = match left.is_zero() {
                true => Err(io::ErrorKind::TimedOut.into()),
                false => state.place.stream().read(&mut state.buffer, left),
            };
            match read {
                Ok(0) => state.end = Some(None),
                Ok(count) => {
                    state.rest = 0..count;
                    if state.phase == Phase::Idle {
                        state.phase = Phase::Reading;
                        state.deadline = Instant::now() + state.limits.request;
                        state.place.set_idle(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_late(&error) && state.phase == Phase::Reading => {
                    let _ = state.place.stream().write(TOO_SLOW, LINGER.1);
                    return Wait::TooSlow;
                }
                Err(error) if is_late(&error) => return Wait::Over,
                Err(error) => state.end = Some(Some(error)),
            }
            state.is_wanted = false;
            return Wait::More;
        }
    }

    /// Ends the connection so that what was written arrives.
    fn linger(&self) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        state.place.set_idle(false);
        state.place.stream().end_writing();
        let deadline = Instant::now() + LINGER.0;
        while state.end.is_none() && Instant::now() < deadline {
            match state.place.stream().read(&mut state.buffer, LINGER.1) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether `error` is that of a timeout: its kind differs between systems.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl hyper::rt::Read for Io<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        if state.rest.is_empty() {
            return match &mut state.end {
                Some(error) => Poll::Ready(error.take().map_or(Ok(()), Err)),
                None => {
                    state.is_wanted = true;
                    Poll::Pending
                }
            };
        }
        let count = state.rest.len().min(buffer.remaining());
        let from = state.rest.start;
        buffer.put_slice(&state.buffer[from..from + count]);
        state.rest.start += count;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = self.0.borrow();
        loop {
            let left = state.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            match state.place.stream().write(bytes, left) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow().place.stream().end_writing();
        Poll::Ready(Ok(()))
    }
}
