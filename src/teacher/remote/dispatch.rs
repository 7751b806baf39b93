//! Distributes requests over the addresses: how many at once, when to retry, which request is to
//! blame.
//!
//! Every address has threads that take requests from one queue ([`Board`]). How many requests it
//! gets at once is what the engine says it can work on, or is found by trial: one more after a
//! round of answers, half as many when the engine is busy. An address that cannot be reached, or
//! closes connections, is left alone for a time that doubles. A request that was under way when two
//! connections broke is tried alone; if it breaks three more of them alone, it is skipped. A
//! request that takes far longer than the others is sent to another address as well; the first
//! answer counts.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    board::{Board, Load, News, Take},
    connection::{Client, Failure},
    server::Server,
};
use crate::teacher::{EngineEvent, EngineSink, TeacherError};

/// How often the caller hears that work goes on.
const ALIVE: Duration = Duration::from_millis(500);

/// The answers to `count` requests, each by one call of `ask` if all goes well.
///
/// # Errors
/// No address answers for as long as an engine may be silent; an address that may not be asked any
/// more; a `sink` that stops.
pub(super) fn run<A: Send + 'static>(
    servers: &[Arc<Server>],
    count: usize,
    ask: impl Fn(&Server, &Client, usize) -> Result<A, Failure> + Send + Sync + 'static,
    sink: EngineSink<'_, A>,
) -> Result<(), TeacherError> {
    let (sender, receiver) = mpsc::channel();
    let job = Arc::new(Job {
        board: Mutex::new(Board::new(
            servers.iter().map(|server| Load::of(server)).collect(),
            count,
            sender,
        )),
        changed: Condvar::new(),
        ask: Box::new(ask),
    });
    for (index, server) in servers.iter().enumerate() {
        server.doubt();
        for _ in 0..server.most_at_once().min(count) {
            let (job, server) = (Arc::clone(&job), Arc::clone(server));
            // A thread whose request gets no answer ends by itself, later.
            thread::spawn(move || job.work(index, &server));
        }
    }
    let silence = servers.first().and_then(|server| server.silence());
    let outcome = job.watch(silence, &receiver, sink);
    let mut board = job.lock();
    board.ended = true;
    for (server, load) in servers.iter().zip(&board.servers) {
        server.at_once.store(load.limit as usize, Ordering::Relaxed);
    }
    job.changed.notify_all();
    outcome
}

type Ask<A> = dyn Fn(&Server, &Client, usize) -> Result<A, Failure> + Send + Sync;

/// One list of requests.
struct Job<A> {
    board: Mutex<Board<A>>,
    changed: Condvar,
    ask: Box<Ask<A>>,
}

impl<A> Job<A> {
    fn lock(&self) -> MutexGuard<'_, Board<A>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers requests until there is none left.
    fn work(&self, index: usize, server: &Server) {
        loop {
            let mut board = self.lock();
            let request = loop {
                match board.take(index, Instant::now()) {
                    Take::Request(request) => break request,
                    Take::Nothing => return,
                    Take::Wait(limit) => {
                        let waited = self.changed.wait_timeout(board, limit);
                        board = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                }
            };
            drop(board);
            // Another address may be the one with least to do now.
            self.changed.notify_all();
            let client = server.client();
            let begun = Instant::now();
            let outcome = server.ask(client, |client| (self.ask)(server, client, request));
            self.lock().finish(index, request, outcome, begun.elapsed());
            self.changed.notify_all();
        }
    }

    /// Passes the news on until every request is answered or skipped.
    fn watch(
        &self,
        silence: Option<Duration>,
        receiver: &mpsc::Receiver<News<A>>,
        sink: EngineSink<'_, A>,
    ) -> Result<(), TeacherError> {
        let (mut open, mut last) = (self.lock().open, Instant::now());
        while open > 0 {
            let event = match receiver.recv_timeout(ALIVE) {
                Ok(News::Began(request)) => EngineEvent::Began(vec![request]),
                Ok(News::Answer(request, answer)) => {
                    (open, last) = (open - 1, Instant::now());
                    EngineEvent::Done(vec![(request, answer)])
                }
                Ok(News::Skipped(request, reason)) => {
                    (open, last) = (open - 1, Instant::now());
                    EngineEvent::Skipped(request, reason)
                }
                Ok(News::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) if silence.is_none_or(|it| last.elapsed() < it) => {
                    EngineEvent::Alive
                }
                Err(_) => return Err(self.lock().unreachable()),
            };
            sink(event).map_err(TeacherError::Stopped)?;
        }
        Ok(())
    }
}
