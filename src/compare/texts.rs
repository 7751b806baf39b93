//! The texts of each row: written and labelled by a teacher, before and after the filter.

use std::collections::BTreeMap;

use super::{Compare, stream};
use crate::{
    augment::{Material, Method},
    config::Settings,
    dataset::{AugmentedText, DroppedText, RelabelledText, Variant},
    embed::Embedder,
    filter,
    pipeline::{
        self, Answers, ClassShares, Context, Generation, PipelineError, Scoring, Watch,
        asked_classes,
        fuse::{fuse, judged_examples, unused, unused_warning},
    },
    run::RunFolder,
    task::{LabelledText, Task},
    teacher::Teacher,
};

/// Where the texts of some rows come from.
pub(super) struct TextSource<'a> {
    /// The rows that are trained on them.
    pub rows: &'static [Variant],
    pub method: &'a dyn Method,
    /// The task as the prompts show it.
    pub task: &'a Task,
    pub shows_examples: bool,
    /// Whether the texts are relabelled as those of PromptMix are.
    pub relabels: bool,
    pub settings: &'a Settings,
}

impl TextSource<'_> {
    /// The row that the texts are called after.
    fn name(&self) -> &'static str {
        let named = self.rows.iter().find(|row| **row == Variant::A2);
        named.or(self.rows.first()).map_or("texts", |row| row.key())
    }
}

/// Labelled texts, before and after the filter.
pub(super) struct LabelledTexts {
    pub all: Vec<RelabelledText>,
    pub kept: Vec<RelabelledText>,
    pub dropped: Vec<DroppedText>,
}

impl LabelledTexts {
    /// The number of texts whose label is not the one that was asked for, and of all.
    pub(super) fn changed(&self) -> (usize, usize) {
        let changed = self.all.iter().filter(|row| row.relabel != row.augmented.major).count();
        (changed, self.all.len())
    }
}

/// What a teacher wrote for one source, k and seed.
pub(super) struct Texts {
    pub generated: Generation,
    /// With the labels of the method.
    pub labelled: LabelledTexts,
    /// With the teacher's labels alone, if those of the method are others.
    pub raw: Option<LabelledTexts>,
    /// Whether students are trained on the method's texts.
    pub used: bool,
    /// The seeds, with the teacher's labels if `relabel.gold` is set.
    pub gold: Vec<LabelledText>,
    /// Keys of the calls that labelled the texts.
    pub keys: Vec<String>,
}

impl Compare<'_> {
    /// Lets the teacher write and label the texts of one source, k and seed.
    pub(super) fn texts(
        &mut self,
        source: &TextSource<'_>,
        (k, seed): (usize, u64),
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        watch: Watch<'_>,
    ) -> Result<Texts, PipelineError> {
        let subset = &self.subsets[&(k, seed)];
        let (settings, prompts) = (source.settings, self.prompts);
        // Recorded texts are the same ones for every seed.
        let asked = if teacher.scores_any_text() { seed } else { 0 };
        let context = Context {
            task: source.task,
            seeds: if source.shows_examples { &self.subsets[&(k, asked)] } else { &[] },
            settings,
            prompts,
            seed: stream(settings, asked),
        };
        let material = pipeline::material(&context, Some(embedder))?;
        let generated = pipeline::generate_texts(
            self.run,
            &context,
            source.method,
            &material,
            None,
            teacher,
            &mut *watch,
        )?;
        let texts = generated.texts.clone();
        let judged = match source.relabels {
            true => judged_examples(self.run, &context, teacher, embedder, &mut *watch)?,
            false => Vec::new(),
        };
        let scoring = Scoring { stage: "relabel", context };
        let with = (&scoring, &material);
        let answers = answers(self.run, source, with, &texts, teacher, embedder, &mut *watch)?;
        let filtered = |all: Vec<RelabelledText>| {
            let (kept, dropped) =
                filter::apply(all.clone(), subset, &self.task.test, &settings.filter);
            LabelledTexts { all, kept, dropped }
        };
        let (mut raw, mut fusion) = (None, None);
        let (labelled, mut keys) = match answers {
            Some((mut answers, fuses)) => {
                let mut texts = texts;
                if fuses {
                    let alone = answers.answers.clone();
                    let mut rows: Vec<&mut AugmentedText> = texts.iter_mut().collect();
                    let answers = &mut answers.answers;
                    fusion = fuse(&context, subset, embedder, &judged, &mut rows, answers)?;
                    raw = fusion
                        .as_ref()
                        .map(|_| filtered(pipeline::relabelled(self.task, texts.clone(), alone)));
                }
                (pipeline::relabelled(self.task, texts, answers.answers), answers.keys)
            }
            None => (texts.into_iter().map(RelabelledText::as_asked).collect(), Vec::new()),
        };
        let labelled = filtered(labelled);
        let mut gold = subset.clone();
        if settings.relabel.gold {
            let scoring =
                Scoring { stage: "relabel", context: Context { seeds: subset, ..context } };
            let run = &mut *self.run;
            let labelled =
                pipeline::gold::relabelled(run, &scoring, subset, teacher, embedder, watch)?;
            gold = labelled.seeds;
            keys.extend(labelled.keys);
        }
        let gain = fusion.and_then(|fusion| fusion.gain);
        let unused = unused(gain, self.task, settings, subset);
        let folder = format!("texts/teacher{}", self.teachers.len());
        let last = source.name();
        self.run.write_rows(&format!("{folder}/{last}.k{k}.seed{seed}.jsonl"), &labelled.kept)?;
        self.warnings.extend(unused.map(|gain| {
            let why = unused_warning(gain, self.task, &gold);
            format!("k = {k}, seed {seed}, {}: {why}", source.name())
        }));
        Ok(Texts { generated, labelled, raw, used: unused.is_none(), gold, keys })
    }
}

/// The teacher's answers about `texts`, and whether they are label scores, which can be fused;
/// `None` for a source whose texts are not relabelled.
fn answers(
    run: &mut RunFolder,
    source: &TextSource<'_>,
    (scoring, material): (&Scoring<'_>, &Material),
    texts: &[AugmentedText],
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<Option<(Answers, bool)>, PipelineError> {
    let own = source.method.label_questions(&scoring.context.for_prompts(material), texts);
    if let Some(questions) = own.transpose()? {
        let answers = scoring.answer(run, teacher, questions, &BTreeMap::new(), watch)?;
        return Ok(Some((answers, false)));
    }
    if !source.relabels {
        return Ok(None);
    }
    let bare: Vec<String> = texts.iter().map(|text| text.text.clone()).collect();
    let Context { task, settings, .. } = scoring.context;
    let asked = asked_classes(task, texts);
    let shares = ClassShares::of_new_texts(&settings.relabel, &asked, false);
    Ok(Some((scoring.classify(run, teacher, embedder, (&bare, shares), watch)?, true)))
}
