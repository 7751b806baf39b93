//! The texts that wait for a model, packed into batches across connections.
//!
//! While a batch is computed, requests gather; the next batch takes what is there. So a single
//! client never waits for company, and many clients fill the batches. A large request is taken in
//! slices, between which the others have their turn.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
    vec::IntoIter,
};

use super::{Refusal, version::Version};
use crate::student::Scores;

/// Most texts of a batch: enough for passes of full size on each of many cores.
const BATCH: usize = 256;
/// Most texts of one request in a batch, if others wait.
const SLICE: usize = 64;
/// After a batch of several requests, their clients send the next ones at about the same time. The
/// first of them waits for the others: for this part of the time that the batch took, and at most
/// this long.
const GATHER: (u32, Duration) = (16, Duration::from_millis(2));
/// Weight of the last batch in the measured speed.
const MEMORY: f64 = 0.2;

/// What is answered to a request: the scores of its texts, and the version they are of.
pub(super) type Outcome = Result<(Vec<Scores>, Arc<Version>), Refusal>;

/// A request that waits, in whole or in part.
pub(super) struct Job {
    version: Arc<Version>,
    /// What is not in a batch yet.
    texts: IntoIter<String>,
    scores: Vec<Scores>,
    answer: SyncSender<Outcome>,
    given_up: Arc<AtomicBool>,
}

impl Job {
    /// Adds the scores of its next texts. Returns the job if there are more.
    fn advance(mut self, scores: Vec<Scores>) -> Option<Self> {
        self.scores.extend(scores);
        if self.texts.len() > 0 {
            return Some(self);
        }
        // Nobody may wait any more.
        let _ = self.answer.try_send(Ok((self.scores, self.version)));
        None
    }

    fn fail(self, refusal: Refusal) {
        let _ = self.answer.try_send(Err(refusal));
    }
}

/// Texts of several requests for one version.
pub(super) struct Batch {
    pub version: Arc<Version>,
    pub texts: Vec<String>,
    /// The jobs, and how many of the texts are theirs, in order.
    jobs: Vec<(Job, usize)>,
}

impl Batch {
    /// The part of `all`, which has one item for each text, that belongs to each request.
    pub(super) fn parts<'a, T>(&self, all: &'a [T]) -> impl Iterator<Item = &'a [T]> {
        let mut start = 0;
        self.jobs.iter().map(move |(_, count)| {
            start += count;
            &all[start - count..start]
        })
    }
}

/// A place in the queue.
struct Ticket {
    answer: Receiver<Outcome>,
    given_up: Arc<AtomicBool>,
}

impl Ticket {
    /// Waits for the answer, for at most `patience`.
    fn wait(self, patience: Duration) -> Outcome {
        self.answer.recv_timeout(patience).unwrap_or_else(|_| {
            self.given_up.store(true, Ordering::Release);
            Err(Refusal::busy(503, "the answer took too long", 1))
        })
    }
}

/// The requests that wait for one model.
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// What may wait.
    limits: QueueLimits,
}

/// What may wait for a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    /// Most texts.
    pub texts: usize,
    /// How long a request waits for its answer at most: one that would not have it by then is not
    /// taken.
    pub patience: Duration,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Texts of all jobs that are in no batch.
    texts: usize,
    /// Texts per second, while there is work.
    speed: f64,
    /// Of the last batch.
    took: Duration,
    gathered: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), limits }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Texts that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().texts
    }

    /// Whether `more` texts have room.
    ///
    /// # Errors
    /// They have not; with the time after which they may.
    pub(super) fn has_room(&self, more: usize) -> Result<(), Refusal> {
        self.lock().has_room(more, self.limits)
    }

    /// The scores of `texts` by `version`, in time.
    ///
    /// # Errors
    /// There is no room, or it took too long.
    pub(super) fn classify(&self, texts: Vec<String>, version: Arc<Version>) -> Outcome {
        self.enter(texts, version)?.wait(self.limits.patience)
    }

    /// Lets `texts` wait for a batch of `version`.
    ///
    /// # Errors
    /// There is no room.
    fn enter(&self, texts: Vec<String>, version: Arc<Version>) -> Result<Ticket, Refusal> {
        let mut state = self.lock();
        state.has_room(texts.len(), self.limits)?;
        let (answer, receiver) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let ticket = Ticket { answer: receiver, given_up: Arc::clone(&given_up) };
        let (count, scores) = (texts.len(), Vec::with_capacity(texts.len()));
        state.texts += count;
        state.jobs.push_back(Job { version, texts: texts.into_iter(), scores, answer, given_up });
        drop(state);
        self.arrived.notify_one();
        Ok(ticket)
    }

    /// The next batch, once there is one; `None` after [`Self::close`].
    pub(super) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            while state.jobs.is_empty() && !state.closed {
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return None;
            }
            state = self.gather(state);
            if let Some(batch) = state.batch() {
                return Some(batch);
            }
        }
    }

    /// Waits for the clients of the last batch.
    fn gather<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let wanted = state.gathered;
        if wanted < 2 {
            return state;
        }
        let deadline = Instant::now() + (state.took / GATHER.0).min(GATHER.1);
        while state.jobs.len() < wanted && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) =
                self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Answers the requests of `batch` as far as they are whole; the others wait on. Each has the
    /// scores of its part of the batch, or why there are none; all together `took` so long.
    pub(super) fn done(
        &self,
        batch: Batch,
        outcomes: impl IntoIterator<Item = Result<Vec<Scores>, Refusal>>,
        took: Duration,
    ) {
        let mut state = self.lock();
        let speed = batch.texts.len() as f64 / took.as_secs_f64().max(1e-9);
        state.speed = match state.speed {
            0.0 => speed,
            before => before + MEMORY * (speed - before),
        };
        (state.took, state.gathered) = (took, batch.jobs.len());
        for ((job, _), outcome) in batch.jobs.into_iter().zip(outcomes) {
            match outcome {
                Ok(scores) => {
                    let rest = job.advance(scores);
                    state.jobs.extend(rest);
                }
                Err(refusal) => {
                    state.texts -= job.texts.len();
                    job.fail(refusal);
                }
            }
        }
    }

    /// Ends [`Self::take`].
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

impl State {
    fn has_room(&self, more: usize, limits: QueueLimits) -> Result<(), Refusal> {
        let seconds = |texts: usize| texts as f64 / self.speed.max(1.0);
        // Before the first batch nothing is known, and where nothing waits, trying costs nobody.
        let is_late = self.speed > 0.0
            && self.texts > 0
            && seconds(self.texts + more) > limits.patience.as_secs_f64();
        if self.texts + more <= limits.texts && !is_late {
            return Ok(());
        }
        let after = seconds(self.texts).ceil().clamp(1.0, 60.0) as u64;
        Err(Refusal::busy(429, format!("{} texts wait already", self.texts), after))
    }

    /// The texts at the head of the queue, of one version. Jobs that nobody waits for are dropped.
    fn batch(&mut self) -> Option<Batch> {
        let alone = self.jobs.len() == 1;
        let (mut batch, mut others) = (None::<Batch>, VecDeque::new());
        while let Some(mut job) = self.jobs.pop_front() {
            if job.given_up.load(Ordering::Acquire) {
                self.texts -= job.texts.len();
                continue;
            }
            let batch = batch.get_or_insert_with(|| Batch {
                version: Arc::clone(&job.version),
                texts: Vec::new(),
                jobs: Vec::new(),
            });
            let room = BATCH - batch.texts.len();
            if room == 0 || !Arc::ptr_eq(&batch.version, &job.version) {
                others.push_back(job);
                if room == 0 {
                    break;
                }
                continue;
            }
            let count = job.texts.len().min(room).min(if alone { BATCH } else { SLICE });
            batch.texts.extend(job.texts.by_ref().take(count));
            self.texts -= count;
            batch.jobs.push((job, count));
        }
        others.append(&mut self.jobs);
        self.jobs = others;
        batch
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::student::Precision;

    const SOON: Duration = Duration::from_secs(20);

    fn queue(texts: usize) -> Queue {
        Queue::new(QueueLimits { texts, patience: SOON })
    }

    fn version(number: u64) -> Arc<Version> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");
        let engine = (&Device::Cpu, Precision::F32);
        Arc::new(Version::load("bert", folder.as_ref(), number, engine).unwrap())
    }

    fn texts(count: usize) -> Vec<String> {
        (0..count).map(|at| "my card ".repeat(at % 5 + 1)).collect()
    }

    /// Answers the next batch. Returns how many texts and requests it had.
    fn work(queue: &Queue) -> (usize, usize) {
        let batch = queue.take().expect("a batch");
        let scores = batch.version.student.scores(&batch.texts).unwrap();
        let size = (batch.texts.len(), batch.jobs.len());
        let parts: Vec<_> = batch.parts(&scores).map(|part| Ok(part.to_vec())).collect();
        queue.done(batch, parts, Duration::from_millis(10));
        size
    }

    #[test]
    fn a_large_request_lets_small_ones_pass_and_is_answered_as_a_whole() {
        let (queue, version) = (queue(1000), version(1));
        let large = queue.enter(texts(200), Arc::clone(&version)).unwrap();
        let small = queue.enter(texts(1), Arc::clone(&version)).unwrap();
        assert_eq!((work(&queue), queue.len()), ((SLICE + 1, 2), 200 - SLICE));
        assert_eq!(small.wait(SOON).unwrap().0.len(), 1);
        assert_eq!((work(&queue), queue.len()), ((200 - SLICE, 1), 0));
        let (scores, _) = large.wait(SOON).unwrap();
        let alone = version.student.scores(&texts(200)).unwrap();
        assert_eq!(scores.len(), alone.len());
        for (one, other) in scores.iter().zip(alone) {
            assert!((one.logits[0] - other.logits[0]).abs() < 1e-5);
        }
    }

    #[test]
    fn what_has_no_room_is_refused_and_what_nobody_waits_for_is_dropped() {
        let (queue, version) = (queue(10), version(1));
        let given_up = queue.enter(texts(8), Arc::clone(&version)).unwrap();
        let refusal = queue.enter(texts(3), Arc::clone(&version)).err().unwrap();
        assert_eq!((refusal.status, refusal.retry_after), (429, Some(8)));
        assert!(queue.has_room(2).is_ok() && queue.len() == 8);
        let late = given_up.wait(Duration::ZERO).err().unwrap();
        assert_eq!((late.status, late.retry_after), (503, Some(1)));
        let next = queue.enter(texts(2), version).unwrap();
        assert_eq!((work(&queue), queue.len()), ((2, 1), 0));
        assert_eq!(next.wait(SOON).unwrap().0.len(), 2);
        queue.close();
        assert!(queue.take().is_none());
    }

    #[test]
    fn what_would_be_answered_too_late_is_not_taken() {
        // A batch of 10 ms with 2 texts: 200 a second.
        let patience = Duration::from_millis(100);
        let (queue, version) = (Queue::new(QueueLimits { texts: 1000, patience }), version(1));
        let first = queue.enter(texts(2), Arc::clone(&version)).unwrap();
        assert!(queue.has_room(900).is_ok(), "the speed is not known yet");
        work(&queue);
        assert!(first.wait(SOON).is_ok() && queue.has_room(900).is_ok(), "nothing waits");
        let _second = queue.enter(texts(15), version).unwrap();
        assert!(queue.has_room(5).is_ok());
        let refusal = queue.has_room(6).unwrap_err();
        assert_eq!((refusal.status, refusal.retry_after), (429, Some(1)));
    }

    #[test]
    fn versions_share_no_batch_and_a_failed_request_takes_no_other_with_it() {
        let (queue, old, new) = (queue(100), version(1), version(2));
        let enter = |version: &Arc<Version>| queue.enter(texts(3), Arc::clone(version)).unwrap();
        let (first, second, third) = (enter(&old), enter(&new), enter(&old));
        let batch = queue.take().unwrap();
        assert_eq!((batch.version.number, batch.texts.len()), (1, 6));
        let scores = batch.version.student.scores(&batch.texts[..3]).unwrap();
        let outcomes = [Ok(scores), Err(Refusal::new(500, "no"))];
        queue.done(batch, outcomes, Duration::from_millis(10));
        assert_eq!(first.wait(SOON).unwrap().1.number, 1);
        assert_eq!(third.wait(SOON).err().unwrap().status, 500);
        assert_eq!(work(&queue), (3, 1));
        assert_eq!(second.wait(SOON).unwrap().1.number, 2);
    }
}
