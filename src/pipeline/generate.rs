//! The stage `generate`: asks the teacher for new texts until every class has as many as wanted, or
//! the tries are used up. Writes `augmented.jsonl`.
//!
//! [`generate_texts`] serves the method and the baselines alike.

use std::collections::HashSet;

use super::{
    Context, Event, Pipeline, PipelineError, Watch, edited, fit, kept, paper,
    screen::{JunkRow, Screen},
    texts::{Counts, Generation, ParsedReply, Piles, parsed_replies},
};
use crate::{
    augment::{Method, PromptRequest, mixup::Mixup},
    config::Partners,
    counted::{agree, counted},
    dataset::{AugmentedText, canonical},
    embed::Embedder,
    relabel::nearest_classes,
    report::fitness,
    run::{KeptTexts, RunFolder, names},
    teacher::Teacher,
};

impl Pipeline<'_> {
    /// Runs the stage. It needs the embedder only if `augment.partners` is `confusable`.
    ///
    /// # Errors
    /// Whatever stops the teacher or the disk; finished replies are in the ledger by then.
    pub(crate) fn generate(
        &mut self,
        teacher: &mut dyn Teacher,
    ) -> Result<Vec<AugmentedText>, PipelineError> {
        let seeds = self.seeds();
        let (run, context, embedder, watch) = self.split(&seeds);
        let nearest = nearest(&context, embedder)?;
        let kept = kept::start(run, &context, teacher.identity(), &mut *watch);
        let generation =
            generate_texts(run, &context, &Mixup, &nearest, kept.as_ref(), teacher, &mut *watch)?;
        if generation.counts.calls == 0 {
            // All texts were there: nothing was asked for, and no call has begun the stage.
            watch(Event::Begin { stage: "generate", total: 0, resumed: 0 });
        }
        let (entries, junk_summary) = (generation.entries(), generation.junk_summary());
        let Generation { texts, counts, junk, .. } = generation;
        let texts = edited::rows(run, names::AUGMENTED, texts, context.task);
        run.write_rows(names::AUGMENTED, &texts)?;
        run.write_rows(names::JUNK, &junk)?;
        let files = [names::TASK, names::AUGMENTED, names::JUNK];
        let entries: Vec<(&str, usize)> =
            entries.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        run.finish_stage("generate", &entries, &files, Vec::new())?;
        let kept = match counts.taken_up {
            0 => String::new(),
            count => format!("; {count} {} there before", agree(count, "was", "were")),
        };
        let summary = format!(
            "{} from {}, {} of them refused{}{kept}",
            counted(texts.len().saturating_sub(counts.taken_up), "new text"),
            counted(counts.calls, "reply"),
            counts.refused,
            junk_summary
        );
        if let Some(message) = fitness::junk_warning(counts.junk as u64, counts.parsed as u64) {
            watch(Event::Warning { message, hint: Some(fitness::HINT.to_owned()) });
        }
        watch(Event::End { summary });
        Ok(texts)
    }
}

/// The confusable classes of each class, if the settings ask for such partners.
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

/// Lets `teacher` write texts by `method` until there are `augment.per_class` of each class (as
/// many in all, if the teacher chooses the classes), or the tries are used up. Those of `kept` are
/// there already.
///
/// # Errors
/// As [`Pipeline::generate`].
pub(crate) fn generate_texts(
    run: &mut RunFolder,
    context: &Context<'_>,
    method: &dyn Method,
    nearest: &[Vec<usize>],
    kept: Option<&KeptTexts>,
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Generation, PipelineError> {
    let settings = context.with_lengths(teacher.identity().context);
    let context = &Context { settings: &settings, ..*context };
    let seeds = fit::for_requests(context, teacher, &mut *watch)?;
    let context = &Context { seeds: &seeds, ..*context };
    let augment = &context.settings.augment;
    if method.supports_unique_per_text() && augment.unique_per_text > 0 {
        return paper::generate_texts(run, context, nearest, kept, teacher, watch);
    }
    let prompts = context.for_prompts(nearest);
    let sha256 = teacher.identity().sha256.clone();
    let Rounds { piles, counts, keys, junk } =
        rounds(context, method, nearest, kept, &sha256, &mut |requests| {
            parsed_replies(run, &prompts, method, requests, teacher, &mut *watch)
        })?;
    let (texts, counts) = piles.keep_wanted(context.task, augment.tries, counts, watch);
    Ok(Generation { texts, counts, keys, junk })
}

/// What rounds of requests brought.
pub(super) struct Rounds {
    pub piles: Piles,
    pub counts: Counts,
    /// Keys of the calls.
    pub keys: Vec<String>,
    /// The texts that were dropped or cleaned.
    pub junk: Vec<JunkRow>,
}

/// Answers requests for new texts.
type Answer<'a> = &'a mut dyn FnMut(&[PromptRequest]) -> Result<Vec<ParsedReply>, PipelineError>;

/// Plans round after round until no text is missing or the tries are used up; `answer` gives the
/// replies.
///
/// # Errors
/// A template that does not render, and those of `answer`.
pub(super) fn rounds(
    context: &Context<'_>,
    method: &dyn Method,
    nearest: &[Vec<usize>],
    kept: Option<&KeptTexts>,
    teacher_sha256: &str,
    answer: Answer<'_>,
) -> Result<Rounds, PipelineError> {
    let (task, augment) = (context.task, &context.settings.augment);
    let prompts = context.for_prompts(nearest);
    let one_for_all = method.teacher_chooses_class();
    let mut piles = Piles::new(task, augment.per_class, one_for_all, kept);
    let mut seen: HashSet<String> =
        piles.texts.iter().flatten().map(|row| canonical(&row.text)).collect();
    let (mut counts, mut keys) = (Counts::default(), Vec::new());
    let mut screen = Screen::new(task, augment);
    counts.take_up(piles.texts.iter().map(Vec::len).sum());
    let first = kept.map_or(0, |kept| kept.first_round);
    for round in first..first + augment.tries {
        let requests = method.plan_round(&prompts, round, &piles.missing())?;
        if requests.is_empty() {
            break;
        }
        for (request, (key, reply)) in requests.iter().zip(answer(&requests)?) {
            keys.push(key);
            for (class, row) in counts.rows(&mut screen, task, request, reply, teacher_sha256) {
                if seen.insert(canonical(&row.text)) {
                    piles.texts[if one_for_all { 0 } else { class }].push(row);
                }
            }
        }
    }
    counts.unique = piles.texts.iter().map(Vec::len).sum();
    Ok(Rounds { piles, counts, keys, junk: screen.into_rows() })
}
