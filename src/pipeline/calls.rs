//! The one loop that talks to the teacher, for texts and for label scores alike.
//!
//! ```text
//! requests ─ key ─► in the ledger? ── yes ──────────► read
//!                         └─ no ─► teacher ─► ledger ─► read
//! ```
//!
//! The key of a call is the hash of all that its answer depends on. Each answer is read once,
//! whether it comes from the ledger or from the teacher. Where the folder has one shard of a stage,
//! the keys decide which requests are its own, and the stage ends after them.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{Event, PipelineError, Watch};
use crate::{
    prompt::reply::ReplyFault,
    run::{RunFolder, ledger::Entry},
    teacher::{
        GenerateRequest, Generated, ScoreRequest, Scored, Sink, SkippedRequest, Teacher,
        TeacherError, TeacherEvent, TeacherIdentity,
    },
    verbosity,
};

/// What the user is told before the reason.
const RESTARTED: &str = "the teacher's process ended and is restarted";

/// A kind of call: what is asked, how the ledger keeps the answer, and how the answer is read.
pub(super) trait Call {
    type Request;
    /// As the teacher gives it and the ledger keeps it.
    type Answer;
    /// As the stages use it.
    type Reading: Clone;

    fn id(request: &Self::Request) -> &str;
    fn key(request: &Self::Request, teacher: &TeacherIdentity) -> String;

    /// Sends `requests` to the teacher.
    fn send(
        teacher: &mut dyn Teacher,
        requests: &[Self::Request],
        sink: Sink<'_, Self::Answer>,
    ) -> Result<(), TeacherError>;

    /// The answer in a ledger's `entry`, if it is of this kind.
    fn recorded(entry: &Entry) -> Option<Self::Answer>;

    /// The ledger's entry of an answer.
    fn entry(
        &self,
        call: Made<'_, Self::Request>,
        answer: Self::Answer,
        reading: &Self::Reading,
    ) -> Entry;

    /// Reads the answer to request number `item`.
    fn read(&self, item: usize, answer: &Self::Answer) -> Self::Reading;

    /// Whether the answer is of no use.
    fn is_refused(reading: &Self::Reading) -> bool;

    /// The tokens that progress is measured in.
    fn tokens(answer: &Self::Answer) -> usize;

    /// What `-vv` shows: titles and texts.
    fn texts(request: &Self::Request, answer: &Self::Answer) -> Vec<(String, String)>;
}

/// A call that was made just now.
pub(super) struct Made<'a, R> {
    pub key: &'a str,
    pub stage: &'a str,
    pub request: &'a R,
    /// Its share of the clock.
    pub seconds: f64,
}

/// What came of a request.
pub(super) struct Answered<R> {
    /// The key of the call in the ledger.
    pub key: String,
    /// `None` if the request was given up: it ended the teacher's process each time it was tried.
    pub reading: Option<R>,
}

/// The answers to `requests`, in their order: from the ledger if it has them, from the teacher
/// otherwise. Equal requests are sent once.
///
/// # Errors
/// Whatever stops the teacher or the disk; finished calls are in the ledger by then.
/// [`PipelineError::OtherShards`] if some answers are left to other shards.
pub(super) fn ask<C: Call>(
    call: &C,
    stage: &'static str,
    run: &mut RunFolder,
    requests: Vec<C::Request>,
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Vec<Answered<C::Reading>>, PipelineError> {
    run.note_teacher(teacher.identity())?;
    let key = |request| C::key(request, teacher.identity());
    let keys: Vec<String> = requests.iter().map(key).collect();
    let LookedUp { mut readings, missing, items, others } =
        look_up(call, stage, run, &keys, requests);
    watch(Event::Begin { stage, total: readings.len() + missing.len(), resumed: readings.len() });

    let ledger = &mut run.ledger;
    let mut clock = Instant::now();
    let mut begun = HashSet::new();
    if !missing.is_empty() {
        watch(Event::Reading { items: 0 });
    }
    C::send(teacher, &missing, &mut |event| {
        let answers = match event {
            TeacherEvent::Answers(answers) => answers,
            TeacherEvent::Began(requests) => {
                let before = begun.len();
                begun.extend(requests);
                watch(Event::Reading { items: begun.len() - before });
                return Ok(());
            }
            TeacherEvent::Restarted(reason) => {
                watch(Event::warning(format!("{RESTARTED}: {reason}")));
                ledger.append(vec![Entry::Restart { stage: stage.to_owned(), reason }])?;
                return Ok(());
            }
        };
        let seconds = clock.elapsed().as_secs_f64() / answers.len().max(1) as f64;
        clock = Instant::now();
        let (mut entries, mut rejected, mut tokens) = (Vec::new(), 0, 0);
        for (at, answer) in answers {
            let (request, key) = (&missing[at], keys[items[at]].as_str());
            let answer = match answer {
                Ok(answer) => answer,
                Err(given_up) => {
                    rejected += 1;
                    readings.insert(key, None);
                    entries.push(skipped(stage, key, C::id(request), given_up, &mut *watch));
                    continue;
                }
            };
            let reading = call.read(items[at], &answer);
            rejected += usize::from(C::is_refused(&reading));
            tokens += C::tokens(&answer);
            if verbosity::texts() {
                for (what, text) in C::texts(request, &answer) {
                    watch(Event::Text { what, text });
                }
            }
            entries.push(call.entry(Made { key, stage, request, seconds }, answer, &reading));
            readings.insert(key, Some(reading));
        }
        let items = entries.len();
        ledger.append(entries)?;
        watch(Event::Advance { items, rejected, tokens });
        Ok(())
    })?;
    if others {
        return Err(PipelineError::OtherShards);
    }
    let answered = |key: &String| Answered {
        key: key.clone(),
        reading: readings.get(key.as_str()).cloned().flatten(),
    };
    Ok(keys.iter().map(answered).collect())
}

/// Requests by where their answers come from.
struct LookedUp<'a, C: Call> {
    /// The answers in the ledger, by key.
    readings: HashMap<&'a str, Option<C::Reading>>,
    /// The requests to send, and their places.
    missing: Vec<C::Request>,
    items: Vec<usize>,
    /// Whether some are left to other shards.
    others: bool,
}

/// Looks `requests` with these `keys` up in the ledger of `run`.
fn look_up<'a, C: Call>(
    call: &C,
    stage: &str,
    run: &RunFolder,
    keys: &'a [String],
    requests: Vec<C::Request>,
) -> LookedUp<'a, C> {
    let shard = run.shard_of(stage);
    let is_own =
        |key: &str, id: &str| shard.is_none_or(|shard| shard.owns(key) || !is_shared(stage, id));
    let (mut readings, mut queued) = (HashMap::new(), HashSet::new());
    let (mut missing, mut items, mut others) = (Vec::new(), Vec::new(), false);
    for (item, request) in requests.into_iter().enumerate() {
        let key = keys[item].as_str();
        if readings.contains_key(key) || queued.contains(key) {
            continue;
        }
        match run.ledger.find(key) {
            Some(entry) => {
                let reading = C::recorded(entry).map(|answer| call.read(item, &answer));
                readings.insert(key, reading);
            }
            None if !is_own(key, C::id(&request)) => others = true,
            None => {
                queued.insert(key);
                missing.push(request);
                items.push(item);
            }
        }
    }
    LookedUp { readings, missing, items, others }
}

/// Whether the shards of `stage` divide the request `id` among them. Every shard makes those that a
/// stage needs before its own, which are named after their kind.
fn is_shared(stage: &str, id: &str) -> bool {
    let rest = id.strip_prefix(stage).and_then(|rest| rest.strip_prefix('.'));
    rest.is_none_or(|number| number.parse::<usize>().is_ok())
}

/// The entry of a request that was given up; the user is warned.
fn skipped(
    stage: &str,
    key: &str,
    request: &str,
    SkippedRequest { reason }: SkippedRequest,
    watch: Watch<'_>,
) -> Entry {
    watch(Event::Warning {
        message: format!("request {request} is skipped in this run folder: {reason}"),
        hint: Some("another folder (--out) tries it again".to_owned()),
    });
    let (key, stage, request) = (key.to_owned(), stage.to_owned(), request.to_owned());
    Entry::Skipped { key, stage, request, reason }
}

/// Calls for texts; `parse` reads the reply to the request of a given number.
pub(super) struct TextCalls<'a, R> {
    pub parse: &'a dyn Fn(usize, &Generated) -> Result<R, ReplyFault>,
}

impl<R: Clone> Call for TextCalls<'_, R> {
    type Request = GenerateRequest;
    type Answer = Generated;
    type Reading = Result<R, ReplyFault>;

    fn id(request: &GenerateRequest) -> &str {
        &request.id
    }

    fn key(request: &GenerateRequest, teacher: &TeacherIdentity) -> String {
        request.key(teacher)
    }

    fn send(
        teacher: &mut dyn Teacher,
        requests: &[GenerateRequest],
        sink: Sink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        teacher.generate(requests, sink)
    }

    fn recorded(entry: &Entry) -> Option<Generated> {
        let Entry::Reply { reply, complete, prompt_tokens, generated_tokens, .. } = entry else {
            return None;
        };
        Some(Generated {
            text: reply.clone(),
            complete: *complete,
            prompt_tokens: *prompt_tokens,
            generated_tokens: *generated_tokens,
        })
    }

    fn entry(
        &self,
        call: Made<'_, GenerateRequest>,
        answer: Generated,
        reading: &Self::Reading,
    ) -> Entry {
        Entry::Reply {
            key: call.key.to_owned(),
            ask: call.request.id.clone(),
            reply: answer.text,
            complete: answer.complete,
            fault: reading.as_ref().err().copied(),
            prompt_tokens: answer.prompt_tokens,
            generated_tokens: answer.generated_tokens,
            seconds: call.seconds,
        }
    }

    fn read(&self, item: usize, answer: &Generated) -> Self::Reading {
        (self.parse)(item, answer)
    }

    fn is_refused(reading: &Self::Reading) -> bool {
        reading.is_err()
    }

    fn tokens(answer: &Generated) -> usize {
        answer.generated_tokens
    }

    fn texts(request: &GenerateRequest, answer: &Generated) -> Vec<(String, String)> {
        let GenerateRequest { id, prompt, .. } = request;
        vec![
            (format!("request {id}"), prompt.clone()),
            (format!("reply to {id}"), answer.text.clone()),
        ]
    }
}

/// Calls for the scores of candidate labels.
pub(super) struct ScoreCalls;

impl Call for ScoreCalls {
    type Request = ScoreRequest;
    type Answer = Scored;
    type Reading = Scored;

    fn id(request: &ScoreRequest) -> &str {
        &request.id
    }

    fn key(request: &ScoreRequest, teacher: &TeacherIdentity) -> String {
        request.key(teacher)
    }

    fn send(
        teacher: &mut dyn Teacher,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        teacher.score(requests, sink)
    }

    fn recorded(entry: &Entry) -> Option<Scored> {
        let Entry::Scores { log_probs, tokens, prompt_tokens, .. } = entry else { return None };
        let (log_probs, tokens) = (log_probs.clone(), tokens.clone());
        Some(Scored { log_probs, tokens, prompt_tokens: *prompt_tokens })
    }

    fn entry(&self, call: Made<'_, ScoreRequest>, answer: Scored, _: &Scored) -> Entry {
        Entry::Scores {
            key: call.key.to_owned(),
            stage: call.stage.to_owned(),
            log_probs: answer.log_probs,
            tokens: answer.tokens,
            prompt_tokens: answer.prompt_tokens,
            seconds: call.seconds,
        }
    }

    fn read(&self, _: usize, answer: &Scored) -> Scored {
        answer.clone()
    }

    fn is_refused(_: &Scored) -> bool {
        false
    }

    fn tokens(answer: &Scored) -> usize {
        answer.prompt_tokens
    }

    fn texts(request: &ScoreRequest, _: &Scored) -> Vec<(String, String)> {
        vec![(format!("question {}", request.id), request.prompt.clone())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::Sample,
        config::Settings,
        pipeline::scripted_teacher::{ScriptedTeacher, pipeline},
        teacher::{Sampling, Wanted},
    };

    fn request(prompt: &str) -> GenerateRequest {
        GenerateRequest {
            id: prompt.to_owned(),
            prompt: prompt.to_owned(),
            cue: String::new(),
            lines: 1,
            longest: 100,
            constrained: false,
            seed: 0,
            max_tokens: 8,
            sampling: Sampling::default(),
            wanted: Wanted::default(),
        }
    }

    #[test]
    fn equal_calls_are_made_once_and_known_ones_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let sample = Sample::new(&["a", "b"], Vec::new());
        let mut run = pipeline(folder.path(), &sample, &Settings::default(), |_| {}).run;
        let parse = |item: usize, reply: &Generated| Ok((item, reply.text.clone()));
        let calls = TextCalls { parse: &parse };
        let mut ask = |prompts: &[&str], events: &mut Vec<Event>| {
            let mut teacher = ScriptedTeacher::new(|request| format!("to {}", request.prompt));
            let requests = prompts.iter().map(|prompt| request(prompt)).collect();
            let watch: Watch<'_> = &mut |event| events.push(event);
            let answered =
                super::ask(&calls, "generate", &mut run, requests, &mut teacher, watch).unwrap();
            let texts = answered.into_iter().map(|call| call.reading.unwrap().unwrap().1);
            (texts.collect::<Vec<_>>(), teacher.replies)
        };
        let mut events = Vec::new();
        assert_eq!(ask(&["c"], &mut events), (vec!["to c".to_owned()], 1));
        events.clear();
        let wanted = ["to a", "to b", "to a", "to c", "to b"].map(str::to_owned).to_vec();
        assert_eq!(ask(&["a", "b", "a", "c", "b"], &mut events), (wanted.clone(), 2));
        assert_eq!(events[0], Event::Begin { stage: "generate", total: 3, resumed: 1 });
        assert_eq!(ask(&["a", "b", "a", "c", "b"], &mut events), (wanted, 0));
    }
}
