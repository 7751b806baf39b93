//! The labels of new texts from three opinions ([`crate::relabel::fusion`]) and of real ones from
//! two ([`crate::relabel::pooling`]): for the stages `relabel` and `label`, and for comparisons.

use super::{
    Context, Event, PipelineError, Watch, asked_classes,
    teacher_check::{JudgedExamples, TeacherTest},
};
use crate::{
    config::{Labels, Settings, UseTexts},
    dataset::{AugmentedText, Opinions, RelabelledText},
    embed::Embedder,
    relabel::{
        Answer, class_words,
        fusion::{self, Fused, Gain, Reliability},
        pooling::{self, Pooled},
    },
    run::RunFolder,
    student::{
        largest,
        probe::{Features, Labelled, Targets},
    },
    task::{LabelledText, Task},
    teacher::Teacher,
};

/// Classes that are less probable than this are not written into a row.
const MIN_PROBABILITY: f32 = 0.005;

/// The teacher's answers about labelled examples; those of the check before the run are in the
/// ledger. None from a recording, if `teacher.check` is 0, or if labels are not fused. To be asked
/// before the stage that fuses begins.
///
/// # Errors
/// Whatever stops the teacher, the embedder or the disk.
pub(crate) fn judged_examples(
    run: &mut RunFolder,
    context: &Context<'_>,
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<JudgedExamples, PipelineError> {
    if context.settings.relabel.labels != Labels::Fused || !teacher.scores_any_text() {
        return Ok(Vec::new());
    }
    let Some(test) = TeacherTest::new(context, teacher, Some(embedder))? else {
        return Ok(Vec::new());
    };
    // The check before the run has asked already; nothing is to be seen of a stage without calls.
    let mut watch = |event| match event {
        Event::Begin { total, resumed, .. } if total == resumed => {}
        event => watch(event),
    };
    let scored = test.ask(run, teacher, &mut watch)?;
    Ok(scored.map_or_else(Vec::new, |scored| test.answers(&scored)))
}

/// How labels were fused.
pub(crate) struct Fusion {
    pub reliability: Reliability,
    /// What the texts are worth; `None` if too few examples tell.
    pub gain: Option<Gain>,
}

impl Fusion {
    /// For the ledger.
    pub(crate) fn counts(&self) -> Vec<(&'static str, usize)> {
        let gain = self.gain.iter().flat_map(Gain::counts);
        self.reliability.counts().chain(gain).collect()
    }
}

/// Replaces the teacher's `answers` about `rows` by the fused ones, and notes in each row what it
/// was fused from. `examples` are all that students are trained on, also those that no prompt
/// shows. Does nothing, and returns `None`, if the settings leave the labels to the
/// teacher or there is nothing to fuse.
///
/// # Errors
/// The embedder fails.
pub(crate) fn fuse(
    context: &Context<'_>,
    examples: &[LabelledText],
    embedder: &dyn Embedder,
    judged_examples: &JudgedExamples,
    rows: &mut [&mut AugmentedText],
    answers: &mut [Option<Answer>],
) -> Result<Option<Fusion>, PipelineError> {
    let Context { task, settings, seed, .. } = *context;
    let Some(open) = Open::of(settings, rows, answers) else { return Ok(None) };
    let class = |name: &str| task.class_index(name).unwrap_or_default();
    let asked = asked_classes(task, open.places.iter().map(|&row| &*rows[row]));
    let partners: Vec<Option<usize>> =
        open.places.iter().map(|&row| rows[row].minor.as_deref().map(class)).collect();
    let (anchors, labels) = anchors(task, examples);
    let evidence = fusion::Evidence {
        classes: task.classes.len(),
        features: &Features::new(&embedder.embed(&open.texts)?),
        asked: &asked,
        partners: &partners,
        judged: &open.judged,
        examples: (&Features::new(&embedder.embed(&anchors)?), &labels),
        judged_examples,
        seed,
    };
    let fused = fusion::fuse(&evidence);
    let gain = fused.gain(&evidence, examples.len(), settings.student.text_weight);
    let Fused { posteriors, reliability, probed, .. } = fused;
    open.decide(task, (posteriors, probed), rows, answers);
    Ok(Some(Fusion { reliability, gain }))
}

/// As [`fuse`], for real texts, of which none was asked for as a text of a class: pools the
/// teacher's `answers` with the opinion of a probe of the `examples` and of the texts that were
/// `written` before, which count as they do for a student.
///
/// # Errors
/// The embedder fails.
pub(crate) fn pool(
    context: &Context<'_>,
    (examples, written): (&[LabelledText], &[RelabelledText]),
    embedder: &dyn Embedder,
    rows: &mut [&mut AugmentedText],
    answers: &mut [Option<Answer>],
) -> Result<Option<Reliability>, PipelineError> {
    let Context { task, settings, .. } = *context;
    let Some(open) = Open::of(settings, rows, answers) else { return Ok(None) };
    let (texts, targets) = known(context, examples, written);
    let Pooled { posteriors, probed, reliability } = pooling::pool(&pooling::Opinions {
        features: &Features::new(&embedder.embed(&open.texts)?),
        judged: &open.judged,
        known: Labelled { features: &Features::new(&embedder.embed(&texts)?), targets: &targets },
    });
    open.decide(task, (posteriors, probed), rows, answers);
    Ok(Some(reliability))
}

/// Texts with the class that is known of them: examples, and the texts that were `written`.
fn known(
    context: &Context<'_>,
    examples: &[LabelledText],
    written: &[RelabelledText],
) -> (Vec<String>, Targets) {
    let Context { task, settings, .. } = *context;
    let (mut texts, mut labels) = anchors(task, examples);
    let mut weights = vec![1.0; texts.len()];
    for row in written {
        let Some(class) = task.class_index(&row.relabel) else { continue };
        texts.push(row.augmented.text.clone());
        labels.push(class);
        weights.push(settings.student.weight_of(row.augmented.is_given()));
    }
    let classes = task.classes.len();
    let mut targets = Targets::of_labels(&labels, classes);
    for (row, weight) in targets.values.chunks_exact_mut(classes).zip(weights) {
        row.iter_mut().for_each(|target| *target *= weight);
    }
    (texts, targets)
}

/// The rows that the teacher answered about, if their labels are not left to it alone.
struct Open {
    places: Vec<usize>,
    texts: Vec<String>,
    /// The teacher's probability of each class that it was offered, of each text.
    judged: Vec<Vec<(usize, f32)>>,
}

impl Open {
    /// `None` if there is nothing to decide.
    fn of(
        settings: &Settings,
        rows: &[&mut AugmentedText],
        answers: &[Option<Answer>],
    ) -> Option<Self> {
        let answered = |(place, answer): (usize, &Option<Answer>)| {
            Some((place, (rows[place].text.clone(), opinion(answer.as_ref()?))))
        };
        let answered = answers.iter().enumerate().filter_map(answered);
        let (places, (texts, judged)): (Vec<usize>, (Vec<String>, Vec<_>)) = answered.unzip();
        let is_open = settings.relabel.labels == Labels::Fused && !places.is_empty();
        is_open.then_some(Self { places, texts, judged })
    }

    /// Replaces the `answers` by what the posteriors say, and notes in each row the class that the
    /// teacher gave and the one that was `probed`.
    fn decide(
        self,
        task: &Task,
        (posteriors, probed): (Vec<Vec<f32>>, Vec<usize>),
        rows: &mut [&mut AugmentedText],
        answers: &mut [Option<Answer>],
    ) {
        let name = |class: usize| task.classes[class].name.clone();
        for ((row, posterior), probe) in self.places.into_iter().zip(posteriors).zip(probed) {
            let Some(answer) = &mut answers[row] else { continue };
            rows[row].opinions = Some(Opinions { judge: name(answer.class), probe: name(probe) });
            *answer = decided(&posterior);
        }
    }
}

/// What the stage `relabel` found the texts of `run` to be worth.
pub(crate) fn recorded_gain(run: &RunFolder) -> Option<Gain> {
    let counts = run.ledger.counts("relabel");
    Gain::of_counts(|name| counts.get(name).copied())
}

/// The `gain` of texts on which no student is trained, because they do not help. `None` if they are
/// used: they help, or nothing tells, or a named class of `task` has no example among `seeds` and
/// could not be learnt otherwise.
pub(crate) fn unused(
    gain: Option<Gain>,
    task: &Task,
    settings: &Settings,
    seeds: &[LabelledText],
) -> Option<Gain> {
    let all_have_examples = task.named_classes().all(|class| has_example(seeds, class));
    let may_drop = settings.student.texts == UseTexts::Auto && all_have_examples;
    gain.filter(|gain| may_drop && !gain.helps(task.classes.len()))
}

/// What a reader should know if the texts are not used, but the examples `seeds` alone.
pub(crate) fn unused_warning(gain: Gain, task: &Task, seeds: &[LabelledText]) -> String {
    let none = task.none_of_these().filter(|class| !has_example(seeds, *class));
    let never = none.map_or_else(String::new, |class| {
        let name = &task.classes[class].name;
        format!("; it never answers {name:?}, of which there is no example")
    });
    format!("the student is trained on the labelled examples alone: {}{never}", gain.summary())
}

fn has_example(seeds: &[LabelledText], class: usize) -> bool {
    seeds.iter().any(|seed| seed.label == class)
}

/// What helps then.
pub(crate) const UNUSED_HINT: &str = "a stronger teacher writes texts that help; `--set \
                                      student.texts=always` trains on these all the same";

/// The probabilities of an answer; one that was written has none.
fn opinion(answer: &Answer) -> Vec<(usize, f32)> {
    match answer.probabilities.is_empty() {
        true => vec![(answer.class, 1.0)],
        false => answer.probabilities.clone(),
    }
}

fn decided(posterior: &[f32]) -> Answer {
    let probable = |(_, p): &(usize, f32)| *p >= MIN_PROBABILITY;
    let mut probabilities: Vec<(usize, f32)> =
        posterior.iter().copied().enumerate().filter(probable).collect();
    let whole: f32 = probabilities.iter().map(|(_, p)| p).sum();
    probabilities.iter_mut().for_each(|(_, p)| *p /= whole);
    Answer { class: largest(posterior), probabilities }
}

/// Texts whose class is known: the `examples`; for a named class without one, its name and
/// description. Words such as "other" are like no text of their class: without any, a probe gives
/// it what is far from all examples.
pub(super) fn anchors(task: &Task, examples: &[LabelledText]) -> (Vec<String>, Vec<usize>) {
    let (mut texts, mut labels): (Vec<String>, Vec<usize>) =
        examples.iter().map(|example| (example.text.clone(), example.label)).unzip();
    for (label, class) in task.classes.iter().enumerate() {
        if !labels.contains(&label) && !class.none_of_these {
            for words in class_words(class) {
                texts.push(words);
                labels.push(label);
            }
        }
    }
    (texts, labels)
}
