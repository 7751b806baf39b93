//! The training set of each row: its texts, their labels and the calls they cost.

use super::{
    Compare, DetailedTexts, TeacherPredictions, shots, stream,
    texts::{LabelledTexts, TextSource, Texts},
};
use crate::{
    augment::{continuation::Continuation, eda, gpt3mix::Gpt3Mix, mixup::Mixup, plain::Plain},
    config::{FilterSettings, StudentSettings},
    counted::counted,
    dataset::{AugmentedText, RelabelledText, Variant},
    embed::Embedder,
    filter, hint,
    pipeline::{
        self, ClassShares, Context, Event, PipelineError, Scoring, Watch,
        examples::{self, ExampleBuilder},
    },
    report::{LeftOut, build::sections},
    student::{BaseModel, Example, TrainSettings},
    task::LabelledText,
    teacher::{Teacher, TeacherError},
};

/// The rows of the method's own texts.
const METHOD: [Variant; 5] =
    [Variant::A1, Variant::A2Raw, Variant::A2, Variant::EmbedA2, Variant::A2U];

/// What one student is trained on.
pub(crate) struct TrainingSet {
    pub row: Variant,
    pub k: usize,
    pub seed: u64,
    /// Index of the teacher; `None` for rows that need none.
    pub teacher: Option<usize>,
    pub examples: Vec<Example>,
    /// How, where it is not the settings' source.
    pub training: Option<TrainSettings>,
    /// Keys of the teacher's calls in the ledger.
    pub keys: Vec<String>,
    /// Number of texts that relabelling changed, and of all that were relabelled.
    pub changed: Option<(usize, usize)>,
}

impl Compare<'_> {
    /// Gathers the rows that need no teacher: the seeds alone, and EDA with synonyms from `base`.
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
            for row in [Variant::Seeds, Variant::EmbedSeeds, Variant::ContrastiveSeeds] {
                if self.runs(row, k) {
                    self.push(row, (k, seed), Vec::new(), None);
                }
            }
            if let Some(neighbours) = neighbours.as_ref().filter(|_| self.runs(Variant::Eda, k)) {
                let stream = stream(self.settings, seed);
                let texts = eda::augment(self.task, &subset, per_class, neighbours, stream);
                let kept = self.without_exact_duplicates(texts, &subset);
                let examples = self.examples(&self.settings.student).asked(&kept)?;
                // The labels are those of the seeds.
                let of_people = |example| Example { by_teacher: false, ..example };
                let examples = examples.into_iter().map(of_people).collect();
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
            TextSource { relabels: false, ..source(&[Variant::Gpt3Mix], &Gpt3Mix) },
            source(&[Variant::NoMixup], &Plain),
            TextSource { task: &bare, ..source(&[Variant::NoDescriptions], &Mixup) },
            TextSource { shows_examples: false, ..source(&[Variant::NoExamples], &Mixup) },
            TextSource { settings: &paper, ..source(&[Variant::Paper], &Mixup) },
            source(&METHOD, &Mixup),
        ];
        for k in self.grid.shots.clone() {
            for source in &sources {
                let rows: Vec<Variant> =
                    source.rows.iter().copied().filter(|row| self.runs(*row, k)).collect();
                if rows.is_empty() || !self.can_fill(&rows, k, place, teacher) {
                    continue;
                }
                self.gather_seeds_of(source, &rows, (k, place), teacher, embedder, &mut *watch)?;
            }
            self.gather_unlabelled((k, place), teacher, embedder, &mut *watch)?;
            if self.runs(Variant::Teacher, k)
                && self.can_fill(&[Variant::Teacher], k, place, teacher)
            {
                let predictions = self.classify_test_set(k, place, teacher, embedder, &mut *watch);
                self.skip_if_too_long(predictions, &[Variant::Teacher], k, place)?;
            }
        }
        Ok(())
    }

    /// Gathers `rows` for each seed. Rows without a single text are left out: they would repeat the
    /// row of the seeds alone and, without seeds, could not be trained at all.
    fn gather_seeds_of(
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
            let Some(texts) = self.skip_if_too_long(texts, rows, k, place)? else { return Ok(()) };
            count += texts.generated.texts.len();
            kept += texts.labelled.kept.len();
            empty |= texts.labelled.kept.is_empty();
            self.add_rows(source, rows, (k, seed), place, texts)?;
        }
        if kept == 0 || (k == 0 && empty) {
            let why = match count {
                0 => "it wrote no text of the form that was asked for",
                _ => "the filter left none of its texts",
            };
            self.drop_rows(rows, k, place, why);
        }
        let names: Vec<&str> = rows.iter().map(|row| row.key()).collect();
        let summary =
            format!("{}, k = {k}: {}, {kept} kept", names.join(", "), counted(count, "text"));
        watch(Event::End { summary });
        Ok(())
    }

    /// Whether `teacher` can fill `rows`. A teacher that answers from recorded texts has only those
    /// of the method, for the task's own number of seeds.
    pub(super) fn can_fill(
        &mut self,
        rows: &[Variant],
        k: usize,
        place: usize,
        teacher: &dyn Teacher,
    ) -> bool {
        let method = rows.iter().all(|row| METHOD.contains(row) && !row.needs_unlabelled());
        if teacher.scores_any_text() || (method && k == self.task.even_shots()) {
            return true;
        }
        let reason = match method {
            true => {
                let seeds = counted(self.task.even_shots(), "seed");
                format!("its texts were recorded with {seeds} per class")
            }
            false => "it answers from recorded texts, which are those of A1 and A2".to_owned(),
        };
        self.note_skipped(rows, k, place, &reason);
        false
    }

    /// Removes what was gathered of the rows of `teacher` and notes the reason.
    fn drop_rows(&mut self, rows: &[Variant], k: usize, teacher: usize, reason: &str) {
        let place = (k, Some(teacher));
        self.training_sets.retain(|training_set| {
            !(rows.contains(&training_set.row) && (training_set.k, training_set.teacher) == place)
        });
        if rows.contains(&Variant::Teacher) {
            self.teacher_predictions
                .retain(|predictions| (predictions.k, Some(predictions.teacher)) != place);
        }
        let main = self.detailed.as_ref().map(|main| (main.k, Some(main.teacher)));
        if rows.contains(&Variant::A2) && main == Some(place) {
            self.detailed = None;
        }
        self.note_skipped(rows, k, teacher, reason);
    }

    fn note_skipped(&mut self, rows: &[Variant], k: usize, teacher: usize, reason: &str) {
        let teacher = self.teachers.get(teacher).map(|(name, _)| name.clone());
        let left_out =
            |&row| LeftOut { row, k, teacher: teacher.clone(), reason: reason.to_owned() };
        let more: Vec<LeftOut> = rows.iter().map(left_out).collect();
        self.skipped.extend(more);
    }

    /// What was `made` for `rows`. If a prompt does not fit into the teacher's context, as with
    /// many examples, the rows are left out and there is `None`.
    pub(super) fn skip_if_too_long<T>(
        &mut self,
        made: Result<T, PipelineError>,
        rows: &[Variant],
        k: usize,
        teacher: usize,
    ) -> Result<Option<T>, PipelineError> {
        match made {
            Err(PipelineError::Teacher(error @ TeacherError::TooLong { .. })) => {
                self.drop_rows(
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

    /// Makes the training sets of `rows` from their texts.
    fn add_rows(
        &mut self,
        source: &TextSource<'_>,
        rows: &[Variant],
        (k, seed): (usize, u64),
        teacher: usize,
        texts: Texts,
    ) -> Result<(), PipelineError> {
        let Texts { generated, labelled, raw, used, gold, keys } = texts;
        let student = &source.settings.student;
        for &row in rows {
            let of_row = match (row, &raw) {
                (Variant::A2Raw, Some(raw)) => raw,
                _ => &labelled,
            };
            let kept = match row {
                Variant::A2 | Variant::EmbedA2 | Variant::A2U if !used => &[],
                _ => &of_row.kept[..],
            };
            let asked = matches!(row, Variant::A1 | Variant::Continuation);
            let examples = match asked {
                true => self.examples(student).asked(kept)?,
                false => self.examples(student).relabelled(kept, row == Variant::Gpt3Mix)?,
            };
            let mut own = generated.keys.clone();
            if !asked {
                own.extend(keys.iter().cloned());
            }
            self.push(row, (k, seed), examples, Some((teacher, own)));
            if let Some(training_set) = self.training_sets.last_mut().filter(|_| !asked) {
                training_set.changed = Some(of_row.changed());
                for (example, gold) in training_set.examples.iter_mut().zip(&gold) {
                    example.label = gold.label;
                }
                match row {
                    Variant::Paper => training_set.training = Some(student.training.clone()),
                    // GPT3Mix trains on soft labels by definition.
                    Variant::Gpt3Mix => {
                        training_set.training =
                            Some(TrainSettings { soft_labels: 1.0, ..student.training.clone() });
                    }
                    _ => {}
                }
            }
        }
        if source.rows == METHOD && used && !self.unlabelled_rows(k).is_empty() {
            self.written.insert((k, seed, teacher), labelled.all.clone());
        }
        if rows.contains(&Variant::A2) && self.detailed.is_none() {
            let counts = generated.counts;
            let junk = pipeline::reasons(&generated.junk);
            let LabelledTexts { all: relabelled, kept, dropped } = labelled;
            self.detailed =
                Some(DetailedTexts { k, seed, teacher, counts, junk, relabelled, kept, dropped });
        }
        Ok(())
    }

    /// Lets the teacher classify the test set.
    fn classify_test_set(
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
            let test = (test.as_slice(), ClassShares::Unknown);
            let answers = scoring.classify(self.run, teacher, embedder, test, &mut *watch)?;
            let (predicted, confidence) =
                sections::teacher_predictions(self.task, &answers.answers);
            let keys = answers.keys;
            self.teacher_predictions.push(TeacherPredictions {
                k,
                teacher: place,
                predicted,
                confidence,
                keys,
            });
        }
        let summary = format!("k = {k}: {} classified by the teacher", counted(test.len(), "text"));
        watch(Event::End { summary });
        Ok(())
    }

    /// Gathers the rows of real training texts, after the teachers' rows: there are to be as many
    /// as the method has.
    ///
    /// # Errors
    /// None in practice: real texts have known classes.
    pub(crate) fn gather_real(&mut self) -> Result<(), PipelineError> {
        let real = shots::real(self.task);
        let mut fewer = None;
        for (k, seed) in self.places() {
            let subset = self.subsets[&(k, seed)].clone();
            let stream = stream(self.settings, seed);
            let like = self.training_sets.iter().filter(|training_set| {
                METHOD.contains(&training_set.row)
                    && training_set.row != Variant::A2U
                    && (training_set.k, training_set.seed) == (k, seed)
            });
            let asked = self.settings.augment.per_class * self.task.classes.len();
            let total = like
                .map(|training_set| training_set.examples.len() - subset.len())
                .max()
                .unwrap_or(asked);
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

    pub(super) fn examples<'b>(&'b self, student: &'b StudentSettings) -> ExampleBuilder<'b> {
        ExampleBuilder { run: self.run, task: self.task, student }
    }

    /// Adds a training set: the gold seeds and `examples`.
    pub(super) fn push(
        &mut self,
        row: Variant,
        (k, seed): (usize, u64),
        examples: Vec<Example>,
        asked: Option<(usize, Vec<String>)>,
    ) {
        let mut all = examples::gold(&self.subsets[&(k, seed)]);
        all.extend(examples);
        let (teacher, keys) = asked.map_or((None, Vec::new()), |(place, keys)| (Some(place), keys));
        let own = &self.settings.student.training;
        let training = match row {
            Variant::ContrastiveSeeds => Some(own.contrastive()),
            row => row.is_frozen().then(|| own.frozen()),
        };
        let (examples, changed) = (all, None);
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

    /// `texts` without exact duplicates, copies of seeds and texts of the test set. Texts of EDA
    /// are near-duplicates of the seeds by construction.
    fn without_exact_duplicates(
        &self,
        texts: Vec<AugmentedText>,
        seeds: &[LabelledText],
    ) -> Vec<RelabelledText> {
        let settings = FilterSettings { rouge_l: 2.0, ..FilterSettings::default() };
        let rows = texts.into_iter().map(RelabelledText::as_asked).collect();
        filter::apply(rows, seeds, &self.task.test, &settings).0
    }
}
