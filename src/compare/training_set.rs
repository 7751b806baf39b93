//! The training set of each row: which texts, with which labels, and what they cost.

use std::collections::BTreeMap;

use super::{Compare, Judged, Main, shots, stream};
use crate::{
    augment::{
        Method, continuation::Continuation, eda, gpt3mix::Gpt3Mix, mixup::Mixup, plain::Plain,
    },
    config::{FilterSettings, Settings, StudentSettings},
    dataset::{AugmentedText, DroppedText, RelabelledText, Variant},
    embed::Embedder,
    filter, hint,
    pipeline::{self, Context, Event, Generation, PipelineError, Scoring, Watch, examples},
    report::{LeftOut, build::sections},
    student::{BaseModel, Example, TrainSettings},
    task::{LabelledText, Task},
    teacher::{Teacher, TeacherError},
};

/// What one student is trained on.
pub(crate) struct TrainingSet {
    pub row: Variant,
    pub k: usize,
    pub seed: u64,
    /// Which teacher, by its place; none for rows that need none.
    pub teacher: Option<usize>,
    pub examples: Vec<Example>,
    /// How, where it is not the settings' source.
    pub training: Option<TrainSettings>,
    /// Names of the teacher's calls in the ledger.
    pub keys: Vec<String>,
    /// Texts whose label changed, and all that were relabelled.
    pub changed: Option<(usize, usize)>,
}

/// How the texts of some rows are made.
struct TextSource<'a> {
    /// The rows that are trained on them.
    rows: &'static [Variant],
    method: &'a dyn Method,
    /// What the prompts show of the task.
    task: &'a Task,
    shows_examples: bool,
    /// Whether the teacher gives each text a label afterwards.
    relabels: bool,
    settings: &'a Settings,
}

/// Texts with their labels, before and after the filter.
struct Texts {
    generate_texts: Generation,
    relabelled: Vec<RelabelledText>,
    kept: Vec<RelabelledText>,
    dropped: Vec<DroppedText>,
    /// The seeds, with the teacher's labels where the settings want those.
    gold: Vec<LabelledText>,
    /// Names of the calls that labelled them.
    keys: Vec<String>,
}

impl Compare<'_> {
    /// Gathers the rows that need no teacher: the seeds alone, and EDA with the words of `base`.
    ///
    /// # Errors
    /// A student whose word table cannot be read.
    pub(crate) fn gather_seeds(&mut self, base: &BaseModel) -> Result<(), PipelineError> {
        let seeds: Vec<LabelledText> = self.subsets.values().flatten().cloned().collect();
        let neighbours = match self.grid.rows.contains(&Variant::Eda) {
            true => Some(eda::neighbours(base, &seeds)?),
            false => None,
        };
        let per_class = self.settings.augment.per_class;
        for (k, seed) in self.places() {
            let subset = self.subsets[&(k, seed)].clone();
            if self.runs(Variant::Seeds, k) {
                self.push(Variant::Seeds, (k, seed), Vec::new(), None);
            }
            if let Some(neighbours) = neighbours.as_ref().filter(|_| self.runs(Variant::Eda, k)) {
                let stream = stream(self.settings, seed);
                let texts = eda::augment(self.task, &subset, per_class, neighbours, stream);
                let kept = self.exact(texts, &subset);
                let examples = self.labels(&self.settings.student).asked(&kept)?;
                self.push(Variant::Eda, (k, seed), examples, None);
            }
        }
        Ok(())
    }

    /// Gathers the rows that ask `teacher`, called `name`.
    ///
    /// # Errors
    /// Whatever stops the teacher or the disk; finished calls are in the ledger by then.
    pub(crate) fn gather(
        &mut self,
        name: &str,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        watch: Watch<'_>,
    ) -> Result<(), PipelineError> {
        let place = self.teachers.len();
        self.teachers.push((name.to_owned(), teacher.identity().clone()));
        let mut bare = self.task.clone();
        bare.classes.iter_mut().for_each(|class| class.description.clear());
        let source = |rows, method| TextSource {
            rows,
            method,
            task: self.task,
            shows_examples: true,
            relabels: true,
            settings: self.settings,
        };
        let paper = self.paper.clone();
        let sources = [
            TextSource { relabels: false, ..source(&[Variant::Continuation], &Continuation) },
            source(&[Variant::Gpt3Mix], &Gpt3Mix),
            source(&[Variant::NoMixup], &Plain),
            TextSource { task: &bare, ..source(&[Variant::NoDescriptions], &Mixup) },
            TextSource { shows_examples: false, ..source(&[Variant::NoExamples], &Mixup) },
            TextSource { settings: &paper, ..source(&[Variant::Paper], &Mixup) },
            source(&[Variant::A1, Variant::A2], &Mixup),
        ];
        for k in self.grid.shots.clone() {
            for source in &sources {
                let rows: Vec<Variant> =
                    source.rows.iter().copied().filter(|row| self.runs(*row, k)).collect();
                if rows.is_empty() || !self.recorded(&rows, k, place, teacher) {
                    continue;
                }
                self.every_seed(source, &rows, (k, place), teacher, embedder, &mut *watch)?;
            }
            if self.runs(Variant::Teacher, k)
                && self.recorded(&[Variant::Teacher], k, place, teacher)
            {
                let judged = self.judge(k, place, teacher, embedder, &mut *watch);
                self.unless_too_long(judged, &[Variant::Teacher], k, place)?;
            }
        }
        Ok(())
    }

    /// Gathers `rows` for each seed. Rows for which nothing is left are left out: they would be those of
    /// the seeds alone under another name, and where there are no seeds either nothing could be
    /// trained at all.
    fn every_seed(
        &mut self,
        source: &TextSource<'_>,
        rows: &[Variant],
        (k, place): (usize, usize),
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        watch: Watch<'_>,
    ) -> Result<(), PipelineError> {
        let (mut count, mut kept, mut empty) = (0, 0, false);
        for seed in 0..self.grid.seeds {
            let texts = self.texts(source, (k, seed), teacher, embedder, &mut *watch);
            let Some(texts) = self.unless_too_long(texts, rows, k, place)? else { return Ok(()) };
            count += texts.generate_texts.texts.len();
            kept += texts.kept.len();
            empty |= texts.kept.is_empty();
            self.take(source, rows, (k, seed), place, texts)?;
        }
        if kept == 0 || (k == 0 && empty) {
            let why = match count {
                0 => "it wrote no text of the form that was asked for",
                _ => "the filter left none of its texts",
            };
            self.forget(rows, k, place, why);
        }
        let names: Vec<&str> = rows.iter().map(|row| row.key()).collect();
        let summary = format!("{}, k = {k}: {count} texts, {kept} kept", names.join(", "));
        watch(Event::End { summary });
        Ok(())
    }

    /// Whether `teacher` can be asked for `rows`. One that answers from recorded texts has those of
    /// the method, written for the task's own number of seeds, and nothing else.
    fn recorded(
        &mut self,
        rows: &[Variant],
        k: usize,
        place: usize,
        teacher: &dyn Teacher,
    ) -> bool {
        let method = rows.iter().all(|row| matches!(row, Variant::A1 | Variant::A2));
        if teacher.scores_any_text() || (method && k == self.task.shots) {
            return true;
        }
        let reason = match method {
            true => format!("its texts were recorded with {} seeds per class", self.task.shots),
            false => "it answers from recorded texts, which are those of A1 and A2".to_owned(),
        };
        self.skip(rows, k, place, &reason);
        false
    }

    /// Drops what there is of the rows of `teacher` and notes why.
    fn forget(&mut self, rows: &[Variant], k: usize, teacher: usize, reason: &str) {
        let place = (k, Some(teacher));
        self.training_sets.retain(|training_set| {
            !(rows.contains(&training_set.row) && (training_set.k, training_set.teacher) == place)
        });
        if rows.contains(&Variant::Teacher) {
            self.judged.retain(|judged| (judged.k, Some(judged.teacher)) != place);
        }
        let main = self.main.as_ref().map(|main| (main.k, Some(main.teacher)));
        if rows.contains(&Variant::A2) && main == Some(place) {
            self.main = None;
        }
        self.skip(rows, k, teacher, reason);
    }

    fn skip(&mut self, rows: &[Variant], k: usize, teacher: usize, reason: &str) {
        let teacher = self.teachers.get(teacher).map(|(name, _)| name.clone());
        let left_out =
            |&row| LeftOut { row, k, teacher: teacher.clone(), reason: reason.to_owned() };
        let more: Vec<LeftOut> = rows.iter().map(left_out).collect();
        self.skipped.extend(more);
    }

    /// What was `made` for `rows`; nothing where the prompts do not fit into what the teacher can
    /// read, as those of many examples may not: the rows are left out then.
    fn unless_too_long<T>(
        &mut self,
        made: Result<T, PipelineError>,
        rows: &[Variant],
        k: usize,
        teacher: usize,
    ) -> Result<Option<T>, PipelineError> {
        match made {
            Err(PipelineError::Teacher(error @ TeacherError::TooLong { .. })) => {
                self.forget(
                    rows,
                    k,
                    teacher,
                    hint::one_line(&error).lines().next().unwrap_or_default(),
                );
                Ok(None)
            }
            made => made.map(Some),
        }
    }

    /// Lets the teacher write and label the texts of one source, k and seed.
    fn texts(
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
        let nearest = pipeline::nearest(&context, Some(embedder))?;
        let generate_texts = pipeline::generate_texts(
            self.run,
            &context,
            source.method,
            &nearest,
            teacher,
            &mut *watch,
        )?;
        let texts = generate_texts.texts.clone();
        let scoring = Scoring { stage: "relabel", context };
        let own =
            source.method.label_questions(&context.for_prompts(&nearest), &texts).transpose()?;
        let answers = match own {
            Some(questions) => Some(scoring.answer(
                self.run,
                teacher,
                &questions,
                &BTreeMap::new(),
                &mut *watch,
            )?),
            None if source.relabels => {
                let bare: Vec<String> = texts.iter().map(|text| text.text.clone()).collect();
                Some(scoring.classify(self.run, teacher, embedder, &bare, &mut *watch)?)
            }
            None => None,
        };
        let (relabelled, mut keys) = match answers {
            Some(answers) => {
                (pipeline::relabelled(self.task, texts, answers.answers), answers.keys)
            }
            None => (texts.into_iter().map(as_asked).collect(), Vec::new()),
        };
        let mut gold = subset.clone();
        if settings.relabel.gold {
            let seen = Scoring { stage: "relabel", context: Context { seeds: subset, ..context } };
            let (labelled, more) =
                pipeline::gold::relabelled(self.run, &seen, teacher, embedder, &mut *watch)?;
            gold = labelled;
            keys.extend(more);
        }
        let (kept, dropped) =
            filter::apply(relabelled.clone(), subset, &self.task.test, &settings.filter);
        let folder = format!("texts/teacher{}", self.teachers.len());
        let last = source.rows.last().map_or("texts", |row| row.key());
        self.run.write_rows(&format!("{folder}/{last}.k{k}.seed{seed}.jsonl"), &kept)?;
        Ok(Texts { generate_texts, relabelled, kept, dropped, gold, keys })
    }

    /// Makes the training_sets of `rows` from their texts.
    fn take(
        &mut self,
        source: &TextSource<'_>,
        rows: &[Variant],
        (k, seed): (usize, u64),
        teacher: usize,
        texts: Texts,
    ) -> Result<(), PipelineError> {
        let Texts { generate_texts, relabelled, kept, dropped, gold, keys } = texts;
        let student = &source.settings.student;
        let moved = relabelled.iter().filter(|row| row.relabel != row.augmented.major).count();
        for &row in rows {
            let examples = match row {
                Variant::A1 | Variant::Continuation => self.labels(student).asked(&kept)?,
                row => self.labels(student).relabelled(&kept, row == Variant::Gpt3Mix)?,
            };
            let mut own = generate_texts.keys.clone();
            let labelled = !matches!(row, Variant::A1 | Variant::Continuation);
            if labelled {
                own.extend(keys.iter().cloned());
            }
            self.push(row, (k, seed), examples, Some((teacher, own)));
            if let Some(training_set) = self.training_sets.last_mut().filter(|_| labelled) {
                training_set.changed = Some((moved, relabelled.len()));
                for (example, gold) in training_set.examples.iter_mut().zip(&gold) {
                    example.label = gold.label;
                }
                training_set.training = match row {
                    Variant::Paper => Some(student.training.clone()),
                    // Soft labels are what it is about.
                    Variant::Gpt3Mix => {
                        Some(TrainSettings { soft_labels: 1.0, ..student.training.clone() })
                    }
                    _ => None,
                };
            }
        }
        if rows.contains(&Variant::A2) && self.main.is_none() {
            let counts = generate_texts.counts;
            self.main = Some(Main { k, seed, teacher, counts, relabelled, kept, dropped });
        }
        Ok(())
    }

    /// Lets the teacher classify the test set.
    fn judge(
        &mut self,
        k: usize,
        place: usize,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        watch: Watch<'_>,
    ) -> Result<(), PipelineError> {
        let test: Vec<String> = self.task.test.iter().map(|item| item.text.clone()).collect();
        for seed in 0..self.grid.seeds {
            let context = Context {
                task: self.task,
                seeds: &self.subsets[&(k, seed)],
                settings: self.settings,
                prompts: self.prompts,
                seed: stream(self.settings, seed),
            };
            let scoring = Scoring { stage: "test", context };
            let answers = scoring.classify(self.run, teacher, embedder, &test, &mut *watch)?;
            let (predicted, confidence) =
                sections::teacher_predictions(self.task, &answers.answers);
            let keys = answers.keys;
            self.judged.push(Judged { k, teacher: place, predicted, confidence, keys });
        }
        let summary = format!("k = {k}: {} texts classified by the teacher", test.len());
        watch(Event::End { summary });
        Ok(())
    }

    /// Gathers the rows of real training texts; after the teachers, since they are as many as the
    /// method's own.
    ///
    /// # Errors
    /// None in practice: real texts are of known classes.
    pub(crate) fn gather_real(&mut self) -> Result<(), PipelineError> {
        let real = shots::real(self.task);
        let mut fewer = None;
        for (k, seed) in self.places() {
            let subset = self.subsets[&(k, seed)].clone();
            let stream = stream(self.settings, seed);
            let like = self.training_sets.iter().find(|training_set| {
                (training_set.row, training_set.k, training_set.seed) == (Variant::A2, k, seed)
            });
            let asked = self.settings.augment.per_class * self.task.classes.len();
            let total =
                like.map_or(asked, |training_set| training_set.examples.len() - subset.len());
            for (row, total) in [(Variant::Real, total), (Variant::RealAll, usize::MAX)] {
                if self.runs(row, k) {
                    let texts = shots::draw_real(self.task, &real, &subset, total, stream);
                    if row == Variant::Real && texts.len() < total {
                        fewer.get_or_insert((texts.len(), total));
                    }
                    let example = |text: &LabelledText| Example::new(&text.text, text.label);
                    self.push(row, (k, seed), texts.iter().map(example).collect(), None);
                }
            }
        }
        self.warnings.extend(fewer.map(|(found, total)| {
            format!("Real data, same size: there are {found} real texts only, where {total} were generated.")
        }));
        Ok(())
    }

    /// All (k, seed).
    fn places(&self) -> Vec<(usize, u64)> {
        let seeds = self.grid.seeds;
        self.grid.shots.iter().flat_map(|&k| (0..seeds).map(move |seed| (k, seed))).collect()
    }

    fn labels<'b>(&'b self, student: &'b StudentSettings) -> examples::Labels<'b> {
        examples::Labels { path: self.run.path(), classes: &self.task.classes, student }
    }

    /// Adds an training_set: the gold seeds and `examples`.
    fn push(
        &mut self,
        row: Variant,
        (k, seed): (usize, u64),
        examples: Vec<Example>,
        asked: Option<(usize, Vec<String>)>,
    ) {
        let mut all = examples::gold(&self.subsets[&(k, seed)]);
        all.extend(examples);
        let (teacher, keys) = asked.map_or((None, Vec::new()), |(place, keys)| (Some(place), keys));
        let (examples, training, changed) = (all, None, None);
        self.training_sets.push(TrainingSet {
            row,
            k,
            seed,
            teacher,
            examples,
            training,
            keys,
            changed,
        });
    }

    /// `texts` without exact doubles, copies of seeds and what stands in the test set. EDA's are
    /// near-duplicates of the seeds by their nature.
    fn exact(&self, texts: Vec<AugmentedText>, seeds: &[LabelledText]) -> Vec<RelabelledText> {
        let settings = FilterSettings { rouge_l: 2.0, ..FilterSettings::default() };
        let rows = texts.into_iter().map(as_asked).collect();
        filter::apply(rows, seeds, &self.task.test, &settings).0
    }
}

/// A text that keeps the label it was made for.
fn as_asked(augmented: AugmentedText) -> RelabelledText {
    let relabel = augmented.major.clone();
    RelabelledText { augmented, relabel, p: 1.0, probabilities: Vec::new() }
}
