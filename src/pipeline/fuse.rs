//! The labels of new texts from three opinions ([`crate::relabel::fusion`]): for the stage
//! `relabel` and for comparisons.

use super::{
    Context, PipelineError, Watch,
    teacher_check::{JudgedExamples, TeacherTest},
};
use crate::{
    config::Labels,
    dataset::{AugmentedText, Opinions},
    embed::Embedder,
    relabel::{
        Answer, class_words,
        fusion::{self, Fused, Reliability},
    },
    run::RunFolder,
    student::{largest, probe::Features},
    task::{LabelledText, Task},
    teacher::Teacher,
};

/// Classes that are less probable than this are not written into a row.
const MIN_PROBABILITY: f32 = 0.005;

/// The teacher's answers about labelled examples; those of the check before the run are in the
/// ledger. None from a recording, or if `teacher.check` is 0.
///
/// # Errors
/// Whatever stops the teacher, the embedder or the disk.
fn judged_examples(
    run: &mut RunFolder,
    context: &Context<'_>,
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<JudgedExamples, PipelineError> {
    if !teacher.scores_any_text() {
        return Ok(Vec::new());
    }
    let Some(test) = TeacherTest::new(context, teacher, Some(embedder))? else {
        return Ok(Vec::new());
    };
    let scored = test.ask(run, teacher, watch)?;
    Ok(scored.map_or_else(Vec::new, |scored| test.answers(&scored)))
}

/// Replaces the teacher's `answers` about `rows` by the fused ones, and notes in each row what it
/// was fused from. Does nothing, and returns `None`, if the settings leave the labels to the
/// teacher or there is nothing to fuse.
///
/// # Errors
/// Whatever stops the teacher, the embedder or the disk.
pub(crate) fn fuse(
    run: &mut RunFolder,
    context: &Context<'_>,
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    rows: &mut [&mut AugmentedText],
    answers: &mut [Option<Answer>],
    watch: Watch<'_>,
) -> Result<Option<Reliability>, PipelineError> {
    let Context { task, seeds, settings, seed, .. } = *context;
    let open: Vec<usize> = (0..rows.len()).filter(|&row| answers[row].is_some()).collect();
    if settings.relabel.labels != Labels::Fused || open.is_empty() {
        return Ok(None);
    }
    let judged_examples = judged_examples(run, context, teacher, embedder, watch)?;
    let class = |name: &str| task.class_index(name).unwrap_or_default();
    let texts: Vec<String> = open.iter().map(|&row| rows[row].text.clone()).collect();
    let asked: Vec<usize> = open.iter().map(|&row| class(&rows[row].major)).collect();
    let partners: Vec<Option<usize>> =
        open.iter().map(|&row| rows[row].minor.as_deref().map(class)).collect();
    let judged: Vec<Vec<(usize, f32)>> =
        open.iter().filter_map(|&row| Some(opinion(answers[row].as_ref()?))).collect();
    let (examples, labels) = examples(task, seeds);
    let fused = fusion::fuse(&fusion::Evidence {
        classes: task.classes.len(),
        features: &Features::new(&embedder.embed(&texts)?),
        asked: &asked,
        partners: &partners,
        judged: &judged,
        examples: (&Features::new(&embedder.embed(&examples)?), &labels),
        judged_examples: &judged_examples,
        seed,
    });
    let name = |class: usize| task.classes[class].name.clone();
    let Fused { posteriors, reliability, probed } = fused;
    for ((row, posterior), probe) in open.into_iter().zip(posteriors).zip(probed) {
        let Some(answer) = &mut answers[row] else { continue };
        rows[row].opinions = Some(Opinions { judge: name(answer.class), probe: name(probe) });
        *answer = decided(&posterior);
    }
    Ok(Some(reliability))
}

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

/// The labelled examples; for a class without one, its name and description.
fn examples(task: &Task, seeds: &[LabelledText]) -> (Vec<String>, Vec<usize>) {
    let (mut texts, mut labels): (Vec<String>, Vec<usize>) =
        seeds.iter().map(|seed| (seed.text.clone(), seed.label)).unzip();
    for (label, class) in task.classes.iter().enumerate() {
        if !labels.contains(&label) {
            for words in class_words(class) {
                texts.push(words);
                labels.push(label);
            }
        }
    }
    (texts, labels)
}
