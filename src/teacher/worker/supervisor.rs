//! The parent's side: hands out work to the worker pool and collects the answers.
//!
//! One loop serves all workers. [`WorkQueue`] decides which requests are sent to which worker, and
//! what happens to the requests that a worker ended on.

use std::{collections::HashSet, time::Instant};

use super::{
    process::{WorkerExit, WorkerMessage},
    protocol::{Command, Report},
    queue::WorkQueue,
    worker_pool::{Launch, Slot, WorkerPool, WorkerState, unexpected_report},
};
use crate::teacher::{
    Answer, EngineEvent, GenerateRequest, Generated, Measured, ScoreRequest, Scored, Sink,
    SkippedRequest, Teacher, TeacherError, TeacherEvent, TeacherIdentity, deliver,
};

/// Maximum size in bytes of the prompts in one work item.
const ITEM_BYTES: usize = 64 << 20;
/// Work items per worker, if there are several workers: enough that all finish at about the same
/// time.
const ITEMS_PER_WORKER: usize = 4;
/// How often a worker may end on one request alone before the request is skipped.
const MAX_DEATHS: u8 = 2;
/// The same if the worker was killed from outside, which says less about the request.
const MAX_DEATHS_IF_KILLED: u8 = 8;
/// How often workers may end in a row without a single answer. After that, no request is to blame.
const MAX_DEATHS_WITHOUT_ANSWER: usize = 24;

/// A teacher in worker processes.
pub(crate) struct Supervised {
    pool: WorkerPool,
}

impl Supervised {
    /// Starts the workers and waits until all have loaded the model.
    ///
    /// # Errors
    /// Errors of the engine about the model; a program that does not start; a worker that ends
    /// twice while it loads the model.
    pub(crate) fn start(launch: Launch) -> Result<Self, TeacherError> {
        Ok(Self { pool: WorkerPool::start(launch)? })
    }

    /// Sends `requests` to the workers until each one is answered or skipped.
    fn work<W: WorkRequest>(
        &mut self,
        requests: &[W],
        sink: Sink<'_, W::Answer>,
    ) -> Result<(), TeacherError> {
        // Sorted, so that prompts with a common prefix go to the same worker.
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|request| requests[*request].prompt());
        let bytes: usize = requests.iter().map(|request| request.prompt().len()).sum();
        let workers = self.pool.slots.len();
        let items = if workers > 1 { workers * ITEMS_PER_WORKER } else { 1 };
        let items = items.max(bytes.div_ceil(ITEM_BYTES)).max(1);
        let queue = WorkQueue::new(&order, requests.len().div_ceil(items));
        let mut job = Job::new(requests, queue);
        let outcome = self.run_job(&mut job, sink);
        if outcome.is_err() {
            // Workers that are still busy with this job are stopped.
            for slot in &mut self.pool.slots {
                if matches!(slot.state, WorkerState::Busy { .. }) {
                    (slot.process, slot.state, slot.process_number) = (None, WorkerState::Off, 0);
                }
            }
        }
        outcome
    }

    fn run_job<W: WorkRequest>(
        &mut self,
        job: &mut Job<'_, W>,
        sink: Sink<'_, W::Answer>,
    ) -> Result<(), TeacherError> {
        loop {
            let busy = |slot: &Slot| matches!(slot.state, WorkerState::Busy { .. });
            if job.queue.is_done() && !self.pool.slots.iter().any(busy) {
                let skipped = std::mem::take(&mut job.skipped);
                if let Some((request, _)) = skipped.first().filter(|_| !job.answered) {
                    self.check_engine(&job.requests[*request])?;
                }
                return deliver(skipped, sink);
            }
            for slot in 0..self.pool.slots.len() {
                self.assign(slot, job)?;
            }
            let (mut news, mut outcome) = (News::default(), Ok(()));
            for (slot, message) in self.pool.receive() {
                let handled = match message {
                    WorkerMessage::Report(report) => {
                        self.handle_report(slot, *report, job, &mut news)
                    }
                    WorkerMessage::Ended(fault) => {
                        let exit = self.pool.reap(slot, fault);
                        let delivered = sink(TeacherEvent::Restarted(exit.description.clone()));
                        self.handle_exit(slot, &exit, job)
                            .and(delivered.map_err(TeacherError::Stopped))
                    }
                };
                outcome = outcome.and(handled);
            }
            let News { began, mut answers } = news;
            if !began.is_empty() {
                sink(TeacherEvent::Began(began)).map_err(TeacherError::Stopped)?;
            }
            if !answers.is_empty() {
                (job.deaths_without_answer, job.answered) = (0, true);
                answers.append(&mut job.skipped);
                deliver(answers, sink)?;
            }
            outcome?;
        }
    }

    /// Sends a harmless request of the same kind as `request`. If every request was skipped, the
    /// machine may be to blame rather than the requests, and this fails.
    fn check_engine<W: WorkRequest>(&mut self, request: &W) -> Result<(), TeacherError> {
        let harmless = [request.harmless()];
        let mut job = Job { answered: true, ..Job::new(&harmless, WorkQueue::new(&[0], 1)) };
        let mut skipped = None;
        self.run_job(&mut job, &mut |event| {
            if let TeacherEvent::Answers(answers) = event {
                skipped = answers.into_iter().find_map(|(_, answer)| answer.err());
            }
            Ok(())
        })?;
        match skipped {
            None => Ok(()),
            Some(SkippedRequest { reason }) => Err(TeacherError::Worker {
                message: format!("answers no request at all: {reason}"),
                hint:
                    "a smaller model, a lower `teacher.slots` or `teacher.gpu_layers = 0` may help"
                        .to_owned(),
            }),
        }
    }

    /// Starts the worker in `slot` or gives it a work item, if there is work for it.
    fn assign<W: WorkRequest>(
        &mut self,
        slot: usize,
        job: &mut Job<'_, W>,
    ) -> Result<(), TeacherError> {
        match self.pool.slots[slot].state {
            WorkerState::Off if job.queue.is_waiting() => self.pool.start_worker(slot),
            WorkerState::Idle => {
                let Some(item) = job.queue.next() else { return Ok(()) };
                let requests = item.requests.iter().map(|index| job.requests[*index].clone());
                let slot = &mut self.pool.slots[slot];
                if let Some(process) = &slot.process {
                    process.send(W::command(requests.collect()));
                }
                slot.last_heard = Instant::now();
                slot.state = WorkerState::Busy { item, begun: HashSet::new() };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn handle_report<W: WorkRequest>(
        &mut self,
        slot: usize,
        report: Report,
        job: &mut Job<'_, W>,
        news: &mut News<W::Answer>,
    ) -> Result<(), TeacherError> {
        let WorkerState::Busy { item, begun } = &mut self.pool.slots[slot].state else {
            return self.pool.finish_loading(slot, report);
        };
        // A worker numbers the requests of its work item.
        let request = |index: usize| item.requests.get(index).copied();
        match report {
            Report::Finished => {
                let missing = job.queue.unanswered(item).first().copied();
                self.pool.slots[slot].state = WorkerState::Idle;
                match missing {
                    None => Ok(()),
                    Some(request) => {
                        Err(TeacherError::NoAnswer { id: job.requests[request].id().to_owned() })
                    }
                }
            }
            Report::Failed(error) => {
                self.pool.slots[slot].state = WorkerState::Idle;
                Err(error)
            }
            other => match W::event(other) {
                Ok(EngineEvent::Began(indices)) => {
                    let requests: Vec<usize> = indices.into_iter().filter_map(request).collect();
                    begun.extend(&requests);
                    news.began.extend(requests);
                    Ok(())
                }
                Ok(EngineEvent::Done(done)) => {
                    let done = done
                        .into_iter()
                        .filter_map(|(index, answer)| Some((request(index)?, answer)));
                    news.answers.extend(
                        done.filter(|(request, _)| job.queue.answer(*request))
                            .map(|(request, answer)| (request, Ok(answer))),
                    );
                    Ok(())
                }
                Ok(EngineEvent::Skipped(index, reason)) => {
                    if let Some(request) = request(index).filter(|it| job.queue.answer(*it)) {
                        job.skipped.push((request, Err(SkippedRequest { reason })));
                    }
                    Ok(())
                }
                Ok(EngineEvent::Alive) => Ok(()),
                Err(other) => Err(unexpected_report(&other)),
            },
        }
    }

    fn handle_exit<W: WorkRequest>(
        &mut self,
        slot: usize,
        exit: &WorkerExit,
        job: &mut Job<'_, W>,
    ) -> Result<(), TeacherError> {
        let state = std::mem::replace(&mut self.pool.slots[slot].state, WorkerState::Off);
        let (item, begun) = match state {
            WorkerState::Busy { item, begun } => (item, begun),
            WorkerState::Loading => return self.pool.retry_loading(slot, exit),
            WorkerState::Off | WorkerState::Idle | WorkerState::Measuring => return Ok(()),
        };
        job.deaths_without_answer += 1;
        if job.deaths_without_answer >= MAX_DEATHS_WITHOUT_ANSWER {
            return Err(TeacherError::Worker {
                message: format!(
                    "ended {MAX_DEATHS_WITHOUT_ANSWER} times without a single answer: {}",
                    exit.description
                ),
                hint: "the requests are not to blame; a smaller model, a lower `teacher.slots` or `teacher.gpu_layers = 0` may help".to_owned(),
            });
        }
        let limit = if exit.killed { MAX_DEATHS_IF_KILLED } else { MAX_DEATHS };
        if let Some(request) = job.queue.died(&item, &begun, limit) {
            let reason = format!("it ended the teacher's process each time: {}", exit.description);
            job.skipped.push((request, Err(SkippedRequest { reason })));
        }
        Ok(())
    }
}

/// What the workers reported in one round.
struct News<A> {
    /// Requests whose prompts are being read.
    began: Vec<usize>,
    answers: Vec<(usize, Answer<A>)>,
}

impl<A> Default for News<A> {
    fn default() -> Self {
        Self { began: Vec::new(), answers: Vec::new() }
    }
}

/// The requests of one call and what has become of them.
struct Job<'a, W: WorkRequest> {
    requests: &'a [W],
    queue: WorkQueue,
    /// Skipped requests are reported together with the next answer. If there is never an answer,
    /// the machine is at fault, and no request may be recorded as skipped.
    skipped: Vec<(usize, Answer<W::Answer>)>,
    deaths_without_answer: usize,
    /// Whether any request was answered.
    answered: bool,
}

impl<'a, W: WorkRequest> Job<'a, W> {
    fn new(requests: &'a [W], queue: WorkQueue) -> Self {
        Self { requests, queue, skipped: Vec::new(), deaths_without_answer: 0, answered: false }
    }
}

impl Teacher for Supervised {
    fn identity(&self) -> &TeacherIdentity {
        &self.pool.identity
    }

    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        let mut deaths = 0;
        loop {
            match self.pool.slots[0].state {
                WorkerState::Off => self.pool.start_worker(0)?,
                WorkerState::Idle => {
                    let slot = &mut self.pool.slots[0];
                    if let Some(process) = &slot.process {
                        process.send(Command::Measure(prompts.to_vec()));
                    }
                    (slot.last_heard, slot.state) = (Instant::now(), WorkerState::Measuring);
                }
                _ => {}
            }
            let mut outcome = None;
            for (slot, message) in self.pool.receive() {
                let state = &mut self.pool.slots[slot].state;
                let measuring = matches!(state, WorkerState::Measuring);
                match message {
                    WorkerMessage::Report(report) if measuring => {
                        *state = WorkerState::Idle;
                        outcome = Some(match *report {
                            Report::Measured(measured) => Ok(measured),
                            Report::Failed(error) => Err(error),
                            other => Err(unexpected_report(&other)),
                        });
                    }
                    WorkerMessage::Report(report) => self.pool.finish_loading(slot, *report)?,
                    WorkerMessage::Ended(fault) => {
                        let state = std::mem::replace(state, WorkerState::Off);
                        let exit = self.pool.reap(slot, fault);
                        if matches!(state, WorkerState::Loading) {
                            self.pool.retry_loading(slot, &exit)?;
                        }
                        deaths += u8::from(measuring);
                        if deaths >= MAX_DEATHS {
                            return Err(TeacherError::Worker {
                                message: format!(
                                    "ended {deaths} times while it measured the prompts: {}",
                                    exit.description
                                ),
                                hint: "the model's tokenizer may be damaged; try another file"
                                    .to_owned(),
                            });
                        }
                    }
                }
            }
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: Sink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        self.work(requests, sink)
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        self.work(requests, sink)
    }
}

/// A request for generation or for scores.
trait WorkRequest: Clone {
    type Answer;
    fn id(&self) -> &str;
    fn prompt(&self) -> &str;
    fn command(requests: Vec<Self>) -> Command;
    /// A request of this kind that any working engine answers.
    fn harmless(&self) -> Self;
    /// The event of the engine in `report`, if it belongs to this kind of request.
    fn event(report: Report) -> Result<EngineEvent<Self::Answer>, Report>;
}

impl WorkRequest for GenerateRequest {
    type Answer = Generated;

    fn id(&self) -> &str {
        &self.id
    }

    fn prompt(&self) -> &str {
        &self.prompt
    }

    fn command(requests: Vec<Self>) -> Command {
        Command::Generate(requests)
    }

    fn harmless(&self) -> Self {
        let (id, prompt) = ("a trial".to_owned(), "Hello".to_owned());
        Self { id, prompt, constrained: false, max_tokens: 1, ..self.clone() }
    }

    fn event(report: Report) -> Result<EngineEvent<Generated>, Report> {
        match report {
            Report::Generated(event) => Ok(event),
            other => Err(other),
        }
    }
}

impl WorkRequest for ScoreRequest {
    type Answer = Scored;

    fn id(&self) -> &str {
        &self.id
    }

    fn prompt(&self) -> &str {
        &self.prompt
    }

    fn command(requests: Vec<Self>) -> Command {
        Command::Score(requests)
    }

    fn harmless(&self) -> Self {
        let (id, prompt) = ("a trial".to_owned(), "Hello".to_owned());
        Self { id, prompt, candidates: vec!["yes".to_owned()], ..self.clone() }
    }

    fn event(report: Report) -> Result<EngineEvent<Scored>, Report> {
        match report {
            Report::Scored(event) => Ok(event),
            other => Err(other),
        }
    }
}
