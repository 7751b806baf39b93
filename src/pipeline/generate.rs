//! The stage `generate`: asks the teacher for new texts until each class has as many as wanted, or
//! the tries are used up. Writes `augmented.jsonl`.
//!
//! [`generate_texts`] is the asking, for the method and for its rivals alike.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{
    Context, Event, PipelineError, Watch,
    calls::{Missing, restarted, skipped},
    paper, run_seeds,
};
use crate::{
    augment::{Method, ParsedText, PromptContext, PromptRequest, mixup::Mixup},
    config::{AugmentSettings, Partners, Settings},
    dataset::{AugmentedText, canonical},
    embed::Embedder,
    prompt::{
        Prompts,
        reply::{LIST_CUE, ReplyFault},
    },
    relabel::nearest_classes,
    run::{RunFolder, key, ledger::Entry},
    task::Task,
    teacher::{GenerateRequest, Generated, Teacher, TeacherEvent, Wanted},
    verbosity,
};

/// Runs the stage. The `embedder` is needed only where `augment.partners` are to be confusable.
///
/// # Errors
/// Whatever stops the teacher or the disk; finished replies are in the ledger by then.
pub(crate) fn generate(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    prompts: &Prompts,
    teacher: &mut dyn Teacher,
    embedder: Option<&dyn Embedder>,
    watch: Watch<'_>,
) -> Result<Vec<AugmentedText>, PipelineError> {
    let seeds = run_seeds(task, settings);
    let context = Context { task, seeds: &seeds, settings, prompts, seed: settings.run.seed };
    let nearest = nearest(&context, embedder)?;
    let Generation { texts, counts, .. } =
        generate_texts(run, &context, &Mixup, &nearest, teacher, &mut *watch)?;
    run.write_rows("augmented.jsonl", &texts)?;
    run.finish_stage("generate", &counts.entries(), &["task.json", "augmented.jsonl"], Vec::new())?;
    let summary = format!(
        "{} new texts from {} replies, {} of them refused",
        texts.len(),
        counts.calls,
        counts.refused
    );
    watch(Event::End { summary });
    Ok(texts)
}

/// The confusable classes of each class, where the settings ask for such partners.
///
/// # Errors
/// An embedder that is missing or fails.
pub(crate) fn nearest(
    context: &Context<'_>,
    embedder: Option<&dyn Embedder>,
) -> Result<Vec<Vec<usize>>, PipelineError> {
    match (context.settings.augment.partners, embedder) {
        (Partners::Even, _) => Ok(Vec::new()),
        (Partners::Confusable, Some(embedder)) => {
            Ok(nearest_classes(context.task, context.seeds, embedder)?)
        }
        (Partners::Confusable, None) => Err(PipelineError::NoEmbedder),
    }
}

/// New texts, and what it took to get them.
pub(crate) struct Generation {
    /// At most as many of each class as wanted; `id` counts them.
    pub texts: Vec<AugmentedText>,
    pub counts: Counts,
    /// Names of the calls in the ledger.
    pub keys: Vec<String>,
}

/// What became of the texts asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub calls: usize,
    /// Replies that were not of the form asked for.
    pub refused: usize,
    /// Texts asked for.
    pub asked: usize,
    /// Texts found in the replies.
    pub parsed: usize,
    /// … that no earlier one equals.
    pub unique: usize,
    /// … that were still wanted.
    pub kept: usize,
}

impl Counts {
    /// Counts the reply to `ask`: its texts as rows, each with its class; none where it is refused.
    pub(crate) fn rows(
        &mut self,
        prompt_context: &PromptContext<'_>,
        method: &dyn Method,
        ask: &PromptRequest,
        reply: &Known,
        teacher_sha256: &str,
    ) -> Vec<(usize, AugmentedText)> {
        self.calls += 1;
        self.asked += ask.count;
        let Ok(written) = method.parse(prompt_context, ask, &reply.text, reply.complete) else {
            self.refused += 1;
            return Vec::new();
        };
        self.parsed += written.len();
        let row = |ParsedText { text, class }| {
            (class, row(prompt_context.task, ask, text, class, teacher_sha256))
        };
        written.into_iter().map(row).collect()
    }

    pub(crate) fn entries(&self) -> [(&'static str, usize); 6] {
        let Self { calls, refused, asked, parsed, unique, kept } = *self;
        [
            ("calls", calls),
            ("refused", refused),
            ("asked", asked),
            ("parsed", parsed),
            ("unique", unique),
            ("kept", kept),
        ]
    }
}

/// Lets `teacher` write texts by `method` until `augment.per_class` of each class are there (as many
/// in all where the teacher chooses the classes), or the tries are used up.
///
/// # Errors
/// As [`generate`].
pub(crate) fn generate_texts(
    run: &mut RunFolder,
    context: &Context<'_>,
    method: &dyn Method,
    nearest: &[Vec<usize>],
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Generation, PipelineError> {
    let (task, augment) = (context.task, &context.settings.augment);
    if method.supports_unique_per_text() && augment.unique_per_text > 0 {
        return paper::generate_texts(run, context, nearest, teacher, watch);
    }
    let prompt_context = context.for_prompts(nearest);
    let classes = task.classes.len();
    // A pile for each class, or one for all.
    let (piles, wanted) = match method.teacher_chooses_class() {
        true => (1, augment.per_class * classes),
        false => (classes, augment.per_class),
    };
    run.note_teacher(teacher.identity())?;
    let teacher_sha256 = teacher.identity().sha256.clone();
    let mut texts: Vec<Vec<AugmentedText>> = vec![Vec::new(); piles];
    let mut seen = HashSet::new();
    let (mut counts, mut keys) = (Counts::default(), Vec::new());
    for round in 0..augment.tries {
        let missing: Vec<usize> =
            texts.iter().map(|texts| wanted.saturating_sub(texts.len())).collect();
        let asks = method.plan_round(&prompt_context, round, &missing)?;
        if asks.is_empty() {
            break;
        }
        let replies = replies(run, &prompt_context, method, teacher, &asks, &mut *watch)?;
        for (ask, (key, reply)) in asks.iter().zip(replies) {
            keys.push(key);
            for (class, row) in counts.rows(&prompt_context, method, ask, &reply, &teacher_sha256) {
                if seen.insert(canonical(&row.text)) {
                    texts[if piles == 1 { 0 } else { class }].push(row);
                }
            }
        }
    }
    counts.unique = texts.iter().map(Vec::len).sum();
    Ok(gathered(
        task,
        texts,
        wanted,
        augment.tries,
        Generation { texts: Vec::new(), counts, keys },
        watch,
    ))
}

/// `generate_texts` with the `wanted` first texts of each pile, one for each class or one for all. Who
/// watches is told what is missing.
pub(crate) fn gathered(
    task: &Task,
    mut piles: Vec<Vec<AugmentedText>>,
    wanted: usize,
    tries: usize,
    mut generate_texts: Generation,
    watch: Watch<'_>,
) -> Generation {
    let all = piles.len() == 1;
    for (pile, texts) in piles.iter_mut().enumerate() {
        if texts.len() < wanted {
            watch(Event::Warning(format!(
                "{}: {} of {wanted} texts after {tries} tries",
                if all { "all classes" } else { &task.classes[pile].name },
                texts.len(),
            )));
        }
        texts.truncate(wanted);
    }
    generate_texts.texts = piles.into_iter().flatten().collect();
    for (id, row) in generate_texts.texts.iter_mut().enumerate() {
        row.id = id;
    }
    generate_texts.counts.kept = generate_texts.texts.len();
    generate_texts
}

/// A reply, from the teacher or from the ledger.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub text: String,
    pub complete: bool,
}

/// The replies to `asks`, each with the name of its call.
pub(crate) fn replies(
    run: &mut RunFolder,
    prompt_context: &PromptContext<'_>,
    method: &dyn Method,
    teacher: &mut dyn Teacher,
    asks: &[PromptRequest],
    watch: Watch<'_>,
) -> Result<Vec<(String, Known)>, PipelineError> {
    let task = prompt_context.task;
    let AugmentSettings { sampling, max_tokens, constrained, longest, .. } =
        *prompt_context.settings;
    let request = |ask: &PromptRequest| GenerateRequest {
        id: ask.id.clone(),
        prompt: ask.prompt.clone(),
        cue: LIST_CUE.to_owned(),
        lines: ask.count,
        longest,
        constrained,
        seed: ask.seed,
        max_tokens,
        sampling,
        wanted: Wanted {
            major: task.classes[ask.major].name.clone(),
            minor: ask.mix.map_or_else(String::new, |(minor, _)| task.classes[minor].name.clone()),
        },
    };
    let requests: Vec<GenerateRequest> = asks.iter().map(request).collect();
    let fault = |item: usize, reply: &Generated| {
        method.parse(prompt_context, &asks[item], &reply.text, reply.complete).err()
    };
    written(run, "generate", &requests, &fault, teacher, watch)
}

/// The replies to `requests`, each with the name of its call: from the ledger where they are known,
/// from the teacher otherwise. A request that was given up has an empty reply that is not complete;
/// `fault` says of any other, by the place of its request, what is wrong with it.
pub(crate) fn written(
    run: &mut RunFolder,
    stage: &'static str,
    requests: &[GenerateRequest],
    fault: &dyn Fn(usize, &Generated) -> Option<ReplyFault>,
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Vec<(String, Known)>, PipelineError> {
    let identity = teacher.identity().clone();
    let keys: Vec<String> = requests.iter().map(|request| request.key(&identity)).collect();
    let wanted: HashSet<&str> = keys.iter().map(String::as_str).collect();
    let mut known: HashMap<String, Known> = HashMap::new();
    for entry in run.ledger.entries() {
        match entry {
            Entry::Reply { key, reply, complete, .. } if wanted.contains(key.as_str()) => {
                known.insert(key.clone(), Known { text: reply.clone(), complete: *complete });
            }
            Entry::Skipped { key, .. } => {
                known.insert(key.clone(), Known::default());
            }
            _ => {}
        }
    }
    let missing = Missing::of(&keys, |key| known.contains_key(key));
    watch(Event::Begin { stage, total: missing.total, resumed: missing.known() });

    let open: Vec<GenerateRequest> =
        missing.items.iter().map(|item| requests[*item].clone()).collect();
    let ledger = &mut run.ledger;
    let mut clock = Instant::now();
    teacher.generate(&open, &mut |event| {
        let answers = match event {
            TeacherEvent::Answers(answers) => answers,
            TeacherEvent::Restarted(reason) => {
                return restarted(ledger, stage, reason, &mut *watch);
            }
        };
        let seconds = clock.elapsed().as_secs_f64() / answers.len().max(1) as f64;
        clock = Instant::now();
        let (mut entries, mut rejected, mut tokens) = (Vec::new(), 0, 0);
        for (at, answer) in answers {
            let (request, key) = (&open[at], &keys[missing.items[at]]);
            let reply = match answer {
                Ok(reply) => reply,
                Err(poison) => {
                    rejected += 1;
                    known.insert(key.clone(), Known::default());
                    entries.push(skipped(stage, key, &request.id, poison, &mut *watch));
                    continue;
                }
            };
            let fault = fault(missing.items[at], &reply);
            rejected += usize::from(fault.is_some());
            tokens += reply.generated_tokens;
            if verbosity::texts() {
                let told = |what: &str, text: &str| Event::Text {
                    what: format!("{what} {}", request.id),
                    text: text.to_owned(),
                };
                watch(told("request", &request.prompt));
                watch(told("reply to", &reply.text));
            }
            let text = reply.text.clone();
            known.insert(key.clone(), Known { text, complete: reply.complete });
            entries.push(Entry::Reply {
                key: key.clone(),
                ask: request.id.clone(),
                reply: reply.text,
                complete: reply.complete,
                fault,
                prompt_tokens: reply.prompt_tokens,
                generated_tokens: reply.generated_tokens,
                seconds,
            });
        }
        let items = entries.len();
        ledger.append(entries)?;
        watch(Event::Advance { items, rejected, tokens });
        Ok(())
    })?;
    Ok(keys
        .into_iter()
        .map(|key| {
            let reply = known.get(&key).cloned().unwrap_or_default();
            (key, reply)
        })
        .collect())
}

/// The row of a text out of the reply to `ask`.
fn row(
    task: &Task,
    ask: &PromptRequest,
    text: String,
    class: usize,
    teacher_sha256: &str,
) -> AugmentedText {
    let name = |class: usize| task.classes[class].name.clone();
    AugmentedText {
        id: 0,
        text,
        major: name(class),
        minor: ask.mix.map(|(minor, _)| name(minor)),
        alpha: ask.mix.map(|(_, percent)| f64::from(percent) / 100.0),
        shown: ask.shown.iter().map(|class| name(*class)).collect(),
        request_id: Some(ask.id.clone()),
        seed: Some(ask.seed),
        prompt_sha256: Some(key(&ask.prompt)),
        teacher_sha256: Some(teacher_sha256.to_owned()),
    }
}
