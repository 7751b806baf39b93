//! The stage `generate`: asks the teacher for new texts until every class has as many as wanted, or
//! the tries are used up. Writes `augmented.jsonl`.
//!
//! [`generate_texts`] serves the method and the baselines alike.

use std::collections::HashSet;

use super::{
    Context, Event, Pipeline, PipelineError, Watch, edited, fit, kept, paper,
    screen::{JunkRow, Screen},
    style,
    texts::{Counts, Generation, ParsedReply, Piles, parsed_replies},
};
use crate::{
    augment::{Material, Method, PromptRequest, mixup::Mixup},
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
        let material = material(&context, embedder)?;
        let kept = kept::start(run, &context, teacher.identity(), &mut *watch);
        let generation =
            generate_texts(run, &context, &Mixup, &material, kept.as_ref(), teacher, &mut *watch)?;
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

/// What the settings show in requests besides the task: the confusable classes of each class, and
/// unlabelled texts.
///
/// # Errors
/// An embedder that is missing or fails, a file of texts that is missing or cannot be read.
pub(crate) fn material(
    context: &Context<'_>,
    embedder: Option<&dyn Embedder>,
) -> Result<Material, PipelineError> {
    let nearest = match (context.settings.augment.partners, embedder) {
        (Partners::Even, _) => Vec::new(),
        (Partners::Confusable, Some(embedder)) => {
            nearest_classes(context.task, context.seeds, embedder)?
        }
        (Partners::Confusable, None) => return Err(PipelineError::NoEmbedder),
    };
    Ok(Material { nearest, style: style::sample(context)? })
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
    material: &Material,
    kept: Option<&KeptTexts>,
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Generation, PipelineError> {
    let settings = context.with_lengths(teacher.identity().context);
    let context = &Context { settings: &settings, ..*context };
    let seeds = fit::for_requests(context, &material.style, teacher, &mut *watch)?;
    let context = &Context { seeds: &seeds, ..*context };
    let augment = &context.settings.augment;
    if method.supports_unique_per_text() && augment.unique_per_text > 0 {
        return paper::generate_texts(run, context, material, kept, teacher, watch);
    }
    let prompts = context.for_prompts(material);
    let sha256 = teacher.identity().sha256.clone();
    let Rounds { piles, counts, keys, junk } =
        rounds(context, method, material, kept, &sha256, &mut |requests| {
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
    material: &Material,
    kept: Option<&KeptTexts>,
    teacher_sha256: &str,
    answer: Answer<'_>,
) -> Result<Rounds, PipelineError> {
    let (task, augment) = (context.task, &context.settings.augment);
    let one_for_all = method.teacher_chooses_class();
    let mut piles = Piles::new(task, augment.per_class, one_for_all, kept);
    let mut seen: HashSet<String> =
        piles.texts.iter().flatten().map(|row| canonical(&row.text)).collect();
    let (mut counts, mut keys) = (Counts::default(), Vec::new());
    let mut screen = Screen::new(task, augment);
    counts.take_up(piles.texts.iter().map(Vec::len).sum());
    let first = kept.map_or(0, |kept| kept.first_round);
    let prompts = context.for_prompts(material);
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use crate::{
        augment::sample::{Sample, seed},
        config::Settings,
        pipeline::scripted_teacher::{ScriptedTeacher, pipeline},
        task::UnlabelledFile,
    };

    #[test]
    fn requests_show_unlabelled_texts_but_no_text_of_the_test_set() {
        let folder = tempfile::tempdir().unwrap();
        let mut sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        sample.task.test = vec![seed("a secret", 0)];
        sample.task.folder = folder.path().to_owned();
        let unlabelled = UnlabelledFile { file: "all.csv".to_owned(), text_column: Vec::new() };
        sample.task.unlabelled = Some(unlabelled);
        let rows = "text\nfirst\na secret\n\"second\nline\"\nx\nthird\n";
        std::fs::write(folder.path().join("all.csv"), rows).unwrap();
        let mut settings = Settings::default();
        let augment = &mut settings.augment;
        (augment.per_class, augment.style_examples, augment.clean) = (3, 2, false);
        let prompts = RefCell::new(Vec::new());
        let mut teacher = ScriptedTeacher::new(|request| {
            prompts.borrow_mut().push(request.prompt.clone());
            (1..=3).map(|line| format!("{line}. text {} {line}\n", request.id)).collect()
        });
        let run = folder.path().join("run");
        pipeline(&run, &sample, &settings, |_| {}).generate(&mut teacher).unwrap();
        drop(teacher);
        let prompts = prompts.into_inner();
        assert_eq!(prompts.len(), 2);
        for prompt in prompts {
            let shown = ["- first\n", "- second line\n", "- third\n"];
            let shown = shown.iter().filter(|text| prompt.contains(**text)).count();
            assert!(shown == 2 && !prompt.contains("secret"), "{prompt}");
        }
    }
}
