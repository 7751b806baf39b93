//! The state of all requests and addresses while a list of requests is answered: what is asked
//! next, and where. Knows nothing of threads and connections.

use std::{
    collections::VecDeque,
    sync::{atomic::Ordering, mpsc::Sender},
    time::{Duration, Instant},
};

use super::{connection::Failure, server::Server};
use crate::teacher::TeacherError;

/// How many requests an address gets at once at first, if it can take as many.
const FIRST_AT_ONCE: usize = 16;
/// The shortest and the longest time for which an address is left alone.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// During how many broken connections a request was under way before it is tried alone, and how
/// many it may break alone.
const SUSPECT: u8 = 2;
const MAX_BREAKS_ALONE: u8 = 3;
/// A request is sent to another address as well after this many times the usual time, but not
/// before the second number.
const SLOW: (u32, Duration) = (4, Duration::from_secs(20));
/// The longest time that an idle thread waits before it looks again.
const LOOK: Duration = Duration::from_millis(500);

/// What becomes of a request.
pub(super) enum News<A> {
    Began(usize),
    Answer(usize, A),
    Skipped(usize, String),
    Failed(TeacherError),
}

/// What a thread is to do.
pub(super) enum Take {
    Request(usize),
    Wait(Duration),
    Nothing,
}

/// How a request stands.
#[derive(Debug, Clone, Default)]
struct Progress {
    closed: bool,
    /// Where it is under way, since when.
    under_way: Vec<(usize, Instant)>,
    /// It took unusually long and was asked a second time.
    asked_twice: bool,
    /// Connections that broke while it was under way, and of those the ones where it was alone.
    breaks: u8,
    breaks_alone: u8,
}

/// How an address stands.
#[derive(Debug)]
pub(super) struct Load {
    address: String,
    /// How many requests it gets at once; a fraction is on the way to one more.
    pub limit: f64,
    most: usize,
    under_way: usize,
    /// A suspect is under way, and nothing else may be.
    alone: bool,
    /// Nothing is to be asked before.
    until: Instant,
    pause: Duration,
    last_reason: Option<String>,
}

/// The state of all requests and addresses.
pub(super) struct Board<A> {
    waiting: VecDeque<usize>,
    requests: Vec<Progress>,
    /// Requests that are neither answered nor skipped.
    pub open: usize,
    pub servers: Vec<Load>,
    /// The usual time of a request.
    usual: Option<Duration>,
    pub ended: bool,
    news: Sender<News<A>>,
}

impl<A> Board<A> {
    pub(super) fn new(servers: Vec<Load>, count: usize, news: Sender<News<A>>) -> Self {
        Self {
            waiting: (0..count).collect(),
            requests: vec![Progress::default(); count],
            open: count,
            servers,
            usual: None,
            ended: count == 0,
            news,
        }
    }

    /// What a thread of the address number `index` does next.
    pub(super) fn take(&mut self, index: usize, now: Instant) -> Take {
        if self.ended || self.open == 0 {
            return Take::Nothing;
        }
        let load = &self.servers[index];
        if now < load.until {
            return Take::Wait(load.until - now);
        }
        // The address with the least to do takes the next request.
        let freer = |other: &Load| other.can_take(now) && other.fill() < load.fill();
        if !load.can_take(now) || self.servers.iter().any(freer) {
            return Take::Wait(LOOK);
        }
        let next = match self.waiting.front() {
            Some(&next) => next,
            None => match self.slow(index, now) {
                Some(next) => next,
                None => return Take::Wait(LOOK),
            },
        };
        let suspect = self.requests[next].breaks >= SUSPECT;
        if suspect && load.under_way > 0 {
            return Take::Wait(LOOK);
        }
        if self.waiting.front() == Some(&next) {
            self.waiting.pop_front();
        } else {
            self.requests[next].asked_twice = true;
        }
        let load = &mut self.servers[index];
        load.under_way += 1;
        load.alone = suspect;
        self.requests[next].under_way.push((index, now));
        // Nobody listens any more if the job has ended.
        let _ = self.news.send(News::Began(next));
        Take::Request(next)
    }

    /// A request that takes unusually long at another address, and was not asked twice yet.
    fn slow(&self, index: usize, now: Instant) -> Option<usize> {
        let limit = self.usual.map(|usual| (usual * SLOW.0).max(SLOW.1))?;
        let is_slow = |progress: &Progress| match progress.under_way[..] {
            [(server, since)] => {
                !progress.closed
                    && !progress.asked_twice
                    && server != index
                    && now.duration_since(since) > limit
            }
            _ => false,
        };
        let others = self.servers.len() > 1;
        others.then(|| self.requests.iter().position(is_slow)).flatten()
    }

    /// Takes note of the `outcome` of a `request` at the address number `index`.
    pub(super) fn finish(
        &mut self,
        index: usize,
        request: usize,
        outcome: Result<A, Failure>,
        took: Duration,
    ) {
        let load = &mut self.servers[index];
        let alone = std::mem::take(&mut load.alone);
        load.under_way -= 1;
        let progress = &mut self.requests[request];
        if let Some(at) = progress.under_way.iter().position(|(server, _)| *server == index) {
            progress.under_way.swap_remove(at);
        }
        match outcome {
            Ok(answer) => {
                load.limit = (load.limit + 1.0 / load.limit).min(load.most as f64);
                load.pause = PAUSE.0;
                let usual = self.usual.unwrap_or(took);
                self.usual = Some((usual * 7 + took) / 8);
                self.close(request, News::Answer(request, answer));
            }
            Err(Failure::Rejected { reason }) => {
                self.close(request, News::Skipped(request, reason));
            }
            Err(Failure::Fatal { message, hint }) => {
                let address = load.address.clone();
                let error = TeacherError::Address { address, message, hint };
                self.ended = true;
                let _ = self.news.send(News::Failed(error));
            }
            Err(Failure::Busy { again }) => {
                // Others that were under way say the same.
                if Instant::now() >= load.until {
                    load.limit = (load.limit / 2.0).max(1.0);
                }
                load.rest(again);
                load.last_reason = Some("it has too much to do, or is not ready".to_owned());
                self.requeue(request);
            }
            Err(Failure::Broken { reason, sent }) => {
                load.rest(None);
                load.last_reason = Some(reason.clone());
                progress.breaks = progress.breaks.saturating_add(u8::from(sent));
                progress.breaks_alone += u8::from(sent && alone);
                if progress.breaks_alone >= MAX_BREAKS_ALONE {
                    let reason = format!("its connection broke each time: {reason}");
                    self.close(request, News::Skipped(request, reason));
                } else {
                    self.requeue(request);
                }
            }
        }
    }

    /// Ends a request, unless that was done.
    fn close(&mut self, request: usize, news: News<A>) {
        if std::mem::replace(&mut self.requests[request].closed, true) {
            return;
        }
        self.open -= 1;
        let _ = self.news.send(news);
    }

    /// Puts a request in front again, unless it has an answer or may get one elsewhere.
    fn requeue(&mut self, request: usize) {
        let progress = &self.requests[request];
        if !progress.closed && progress.under_way.is_empty() {
            self.waiting.push_front(request);
        }
    }

    pub(super) fn unreachable(&self) -> TeacherError {
        let reason = |load: &Load| {
            let reason = load.last_reason.as_deref().unwrap_or("no answer");
            format!("{}: {reason}", load.address)
        };
        let addresses = self.servers.iter().map(|load| load.address.as_str());
        let reasons: Vec<String> = self.servers.iter().map(reason).collect();
        TeacherError::Address {
            address: addresses.collect::<Vec<_>>().join(", "),
            message: format!("no answer for too long ({})", reasons.join("; ")),
            hint: "start the engine again and rerun the same command: finished work is kept; `teacher.watchdog_seconds` is how long an engine may be silent".to_owned(),
        }
    }
}

impl Load {
    fn new(address: String, limit: usize, most: usize) -> Self {
        Self {
            address,
            limit: limit as f64,
            most,
            under_way: 0,
            alone: false,
            until: Instant::now(),
            pause: PAUSE.0,
            last_reason: None,
        }
    }

    /// An address as the last list of requests left it.
    pub(super) fn of(server: &Server) -> Self {
        let most = server.most_at_once();
        let limit = match server.at_once.load(Ordering::Relaxed) {
            0 => most.min(FIRST_AT_ONCE),
            found => found.min(most),
        };
        Self::new(server.address().to_string(), limit, most)
    }

    fn can_take(&self, now: Instant) -> bool {
        now >= self.until && !self.alone && (self.under_way as f64) < self.limit.floor()
    }

    /// How much of what it can do at once it does.
    fn fill(&self) -> f64 {
        self.under_way as f64 / self.limit
    }

    /// Asks nothing for a while, which gets longer each time; what fails meanwhile counts with the
    /// first failure.
    fn rest(&mut self, again: Option<Duration>) {
        let now = Instant::now();
        if now >= self.until {
            self.until = now + again.unwrap_or(self.pause).min(PAUSE.1);
            self.pause = (self.pause * 2).min(PAUSE.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    /// A board of so many addresses, each of which gets two requests at once, and what it tells.
    fn board(servers: usize, count: usize) -> (Board<()>, Receiver<News<()>>) {
        let (news, told) = mpsc::channel();
        let loads = (0..servers).map(|at| Load::new(format!("http://{at}"), 2, 8)).collect();
        (Board::new(loads, count, news), told)
    }

    fn take(board: &mut Board<()>, server: usize) -> Option<usize> {
        let later = Instant::now() + Duration::from_secs(60);
        match board.take(server, later) {
            Take::Request(request) => Some(request),
            Take::Wait(_) | Take::Nothing => None,
        }
    }

    fn broken(sent: bool) -> Result<(), Failure> {
        Err(Failure::Broken { reason: "reset".to_owned(), sent })
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_address_with_least_to_do_is_next() {
        let (mut board, _told) = board(2, 9);
        assert_eq!(take(&mut board, 0), Some(0));
        assert_eq!(take(&mut board, 0), None);
        assert_eq!((take(&mut board, 1), take(&mut board, 1)), (Some(1), Some(2)));
        // Both are equally busy but for one.
        assert_eq!((take(&mut board, 1), take(&mut board, 0)), (None, Some(3)));
        board.finish(0, 0, Ok(()), SECOND);
        assert_eq!((take(&mut board, 1), take(&mut board, 0)), (None, Some(4)));
    }

    #[test]
    fn a_burst_of_failures_counts_once() {
        let (mut board, _told) = board(1, 9);
        assert_eq!((take(&mut board, 0), take(&mut board, 0)), (Some(0), Some(1)));
        board.finish(0, 0, Err(Failure::Busy { again: None }), SECOND);
        board.finish(0, 1, Err(Failure::Busy { again: None }), SECOND);
        assert_eq!((board.servers[0].limit, board.servers[0].pause), (1.0, 2 * PAUSE.0));
    }

    #[test]
    fn too_much_to_do_halves_what_is_sent_and_answers_raise_it() {
        let (mut board, _told) = board(1, 9);
        assert_eq!((take(&mut board, 0), take(&mut board, 0)), (Some(0), Some(1)));
        board.finish(0, 1, Err(Failure::Busy { again: None }), SECOND);
        assert_eq!(board.servers[0].limit, 1.0);
        assert_eq!(take(&mut board, 0), None, "one is under way");
        board.finish(0, 0, Ok(()), SECOND);
        assert_eq!(board.servers[0].limit, 2.0);
        // What was sent back is next.
        assert_eq!(take(&mut board, 0), Some(1));
        assert_eq!(board.open, 8);
    }

    #[test]
    fn a_request_during_which_connections_break_is_tried_alone_and_then_left_out() {
        let (mut board, told) = board(1, 2);
        for _ in 0..SUSPECT {
            assert_eq!((take(&mut board, 0), take(&mut board, 0)), (Some(0), Some(1)));
            board.finish(0, 1, broken(true), SECOND);
            board.finish(0, 0, broken(true), SECOND);
        }
        for _ in 0..MAX_BREAKS_ALONE {
            assert_eq!((take(&mut board, 0), take(&mut board, 0)), (Some(0), None));
            board.finish(0, 0, broken(true), SECOND);
        }
        assert_eq!(board.open, 1);
        let skipped = told.try_iter().filter(|news| matches!(news, News::Skipped(0, _))).count();
        assert_eq!(skipped, 1);
        assert_eq!(take(&mut board, 0), Some(1));
        board.finish(0, 1, Ok(()), SECOND);
        assert!(matches!(board.take(0, Instant::now()), Take::Nothing));
    }

    #[test]
    fn a_request_that_was_not_sent_is_not_to_blame() {
        let (mut board, _told) = board(1, 1);
        for _ in 0..50 {
            assert_eq!(take(&mut board, 0), Some(0));
            board.finish(0, 0, broken(false), SECOND);
            board.servers[0].until = Instant::now();
        }
        assert_eq!(board.servers[0].pause, PAUSE.1);
        assert_eq!((board.open, board.requests[0].breaks), (1, 0));
    }

    #[test]
    fn a_slow_request_is_asked_again_elsewhere_and_the_first_answer_counts() {
        let (mut board, told) = board(2, 2);
        let now = Instant::now();
        assert!(matches!(board.take(0, now), Take::Request(0)));
        assert!(matches!(board.take(1, now), Take::Request(1)));
        let later = now + SLOW.1 + SECOND;
        assert!(matches!(board.take(1, later), Take::Wait(_)), "nobody knows what is usual");
        board.finish(1, 1, Ok(()), SECOND);
        assert!(matches!(board.take(1, now + SECOND), Take::Wait(_)));
        assert!(matches!(board.take(0, later), Take::Wait(_)), "it is slow there");
        assert!(matches!(board.take(1, later), Take::Request(0)));
        assert!(matches!(board.take(1, later), Take::Wait(_)), "not a third time");
        board.finish(1, 0, Ok(()), SECOND);
        board.finish(0, 0, Ok(()), SECOND);
        let answers = told.try_iter().filter(|news| matches!(news, News::Answer(0, ()))).count();
        assert_eq!((board.open, answers), (0, 1));
    }
}
