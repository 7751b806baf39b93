//! Measures the speed of students: one training, several in parallel, and classification, on texts
//! like those of a run. `plan` bases its estimates on it, and `scripts/student` compares it with
//! PyTorch and onnxruntime.
//!
//! It uses the same functions as a run ([`Training`], [`run_parallel`], [`Classifier::predict`]).

mod estimate;
mod texts;

use std::ops::ControlFlow;
use std::time::Instant;

use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};

pub(crate) use estimate::{Estimate, Planned, estimate};

use super::{
    BaseModel, Classifier, Corpus, Example, Head, Parallelism, Pooling, Precision, Result,
    StudentError, TrainSettings, Training, model_spec::ModelSpec, run_parallel,
};
use crate::{auto::Auto, hint::one_line, memory};

/// Steps of a training before measuring starts, to warm up caches and allocators.
const WARM_UP: usize = 3;
/// Texts that are classified before measuring starts.
const WARM_TEXTS: usize = 32;
/// Minimum seconds of classification: few texts are classified repeatedly.
const LEAST_SECONDS: f64 = 0.5;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Workload {
    /// Number of texts, from the start of those given.
    pub rows: usize,
    /// Texts per optimiser step.
    pub batch: usize,
    /// Maximum tokens per text.
    pub max_length: usize,
    /// Exact number of tokens of every text.
    pub equal_length: Option<usize>,
    /// Optimiser steps of a training; 0 = those of `epochs` over all texts.
    pub steps: usize,
    pub epochs: usize,
    /// CPU threads; 0 = all.
    pub threads: usize,
    /// Students of the parallel training; 0 = two per thread.
    pub students: usize,
    /// The kinds to measure; empty = all.
    pub only: Vec<Kind>,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            rows: 320,
            batch: 8,
            max_length: 50,
            equal_length: None,
            steps: 40,
            epochs: 5,
            threads: 0,
            students: 0,
            only: Vec::new(),
        }
    }
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Training one student on all threads.
    Train,
    /// Classifying texts.
    Classify,
    /// The same with 8-bit weights.
    ClassifyFast,
    /// Training several students, as many at once as a run would.
    Students,
}

impl Kind {
    /// All kinds, in the order of measuring.
    pub(crate) const ALL: [Self; 4] =
        [Self::Train, Self::Classify, Self::ClassifyFast, Self::Students];

    /// Its name on the command line and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Classify => "classify",
            Self::ClassifyFast => "classify_fast",
            Self::Students => "students",
        }
    }
}

/// The result of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub kind: Kind,
    /// Texts processed in `seconds`, counted with repetitions.
    pub texts: usize,
    /// Their tokens, special ones included.
    pub tokens: usize,
    /// Of a training: the steps after warm-up. Of several: everything, from texts to students.
    pub seconds: f64,
    pub texts_per_second: f64,
    /// Optimiser steps in `seconds`, of all students; 0 for classification.
    pub steps: usize,
    /// Mean and median milliseconds between steps of a student; 0 for classification.
    pub step_ms: f64,
    pub step_ms_median: f64,
    pub students: usize,
    /// Total time: of a training also warm-up, and the work before and after the steps.
    pub whole_seconds: f64,
    /// The part of a classification's `seconds` for tokenising, measured separately.
    pub tokenise_seconds: f64,
    /// Peak memory of the process meanwhile, in bytes; 0 if unknown.
    pub peak_memory_bytes: u64,
}

/// All results of one base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StudentBenchReport {
    pub model: String,
    /// SHA-256 of the base's weights.
    pub sha256: String,
    pub parameters: usize,
    pub threads: usize,
    pub gpu: bool,
    pub classes: usize,
    pub workload: Workload,
    pub measures: Vec<Measure>,
    /// Peak memory of the process, in bytes; 0 if unknown.
    pub peak_memory_bytes: u64,
}

impl StudentBenchReport {
    /// The result of `kind`, if it was measured.
    pub(crate) fn measure(&self, kind: Kind) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.kind == kind)
    }
}

/// The model and texts to measure.
pub(crate) struct Subject<'a> {
    /// Name for the report.
    pub name: &'a str,
    pub base: &'a BaseModel,
    /// A trained classifier for [`Kind::Classify`] and [`Kind::ClassifyFast`]; without one a fresh
    /// head is trained for one step.
    pub classifier: Option<Classifier>,
    /// Texts with their labels; empty = generated from the tokenizer's words.
    pub texts: Vec<(String, String)>,
}

/// Measures `subject` under `workload`; calls `done` after each kind.
///
/// # Errors
/// A training or classification fails.
pub(crate) fn bench(
    subject: Subject<'_>,
    workload: &Workload,
    mut done: impl FnMut(&Measure),
) -> Result<StudentBenchReport> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if workload.threads == 0 { cores } else { workload.threads };
    let fast_pays = subject.base.device().is_cpu() && Precision::Int8.pays();
    let kinds: Vec<Kind> = match workload.only.as_slice() {
        [] => {
            Kind::ALL.into_iter().filter(|kind| *kind != Kind::ClassifyFast || fast_pays).collect()
        }
        only => Kind::ALL.into_iter().filter(|kind| only.contains(kind)).collect(),
    };
    let known = subject.classifier.as_ref().map_or(&[][..], Classifier::labels);
    let (labels, examples) = texts::examples(subject.base, known, &subject.texts, workload)?;
    let base = subject.base;
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| StudentError::training(one_line(&error)))?;
    let parameters =
        ModelSpec::new(base.config(), Head::Mlp(Pooling::First), labels.len()).parameters();
    let max_length = workload.equal_length.unwrap_or(workload.max_length);
    let bench = Bench { base, labels, examples, workload, threads, max_length };
    let mut peak_memory_bytes = memory::peak();
    let mut measures = Vec::with_capacity(kinds.len());
    for kind in kinds {
        // Training a fresh head and quantising it are not part of the measured classification.
        let classifier = pool.install(|| bench.classifier(kind, subject.classifier.as_ref()))?;
        peak_memory_bytes = peak_memory_bytes.max(memory::peak());
        memory::reset_peak();
        let mut measure = pool.install(|| match kind {
            Kind::Train => bench.train(),
            Kind::Students => bench.students(),
            Kind::Classify | Kind::ClassifyFast => bench.classify(kind, classifier.as_ref()),
        })?;
        measure.peak_memory_bytes = memory::peak();
        peak_memory_bytes = peak_memory_bytes.max(measure.peak_memory_bytes);
        done(&measure);
        measures.push(measure);
    }
    Ok(StudentBenchReport {
        model: subject.name.to_owned(),
        sha256: base.sha256().to_owned(),
        parameters,
        threads,
        gpu: !base.device().is_cpu(),
        classes: bench.labels.len(),
        workload: workload.clone(),
        measures,
        peak_memory_bytes,
    })
}

struct Bench<'a> {
    base: &'a BaseModel,
    labels: Vec<String>,
    examples: Vec<Example>,
    workload: &'a Workload,
    threads: usize,
    max_length: usize,
}

impl Bench<'_> {
    /// Settings and examples for a training of `steps` steps; 0 = the workload's epochs.
    fn training(&self, steps: usize) -> (TrainSettings, Vec<Example>) {
        let Workload { batch, epochs, .. } = *self.workload;
        let batch_size = batch.max(1);
        // No more steps than requested.
        let settings = TrainSettings {
            batch_size,
            max_length: Auto::Exactly(self.max_length),
            min_steps: 0,
            ..TrainSettings::default()
        };
        match steps {
            0 => (TrainSettings { epochs: epochs.max(1), ..settings }, self.examples.clone()),
            steps => {
                let examples = self.examples.iter().cycle().take(steps * batch_size).cloned();
                (TrainSettings { epochs: 1, ..settings }, examples.collect())
            }
        }
    }

    fn train(&self) -> Result<Measure> {
        let steps = self.workload.steps;
        let (settings, examples) = self.training(if steps > 0 { steps + WARM_UP } else { 0 });
        let began = Instant::now();
        let (_, ends) = self.run(&examples, &settings, None, 0)?;
        let whole_seconds = began.elapsed().as_secs_f64();
        // A training of few steps has no warm-up.
        let from = if ends.len() > 2 * WARM_UP { WARM_UP - 1 } else { 0 };
        let times: Vec<f64> =
            ends[from..].windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let times = if times.is_empty() { vec![whole_seconds] } else { times };
        let seconds: f64 = times.iter().sum();
        // Batches are random, so the measured share of the steps has that share of the texts and
        // tokens.
        let share = times.len() as f64 / ends.len().max(1) as f64;
        let processed = examples.len() as f64 * settings.epochs as f64 * share;
        let tokens = self.tokens(&examples)? as f64 * settings.epochs as f64 * share;
        Ok(Measure {
            steps: times.len(),
            step_ms: 1e3 * seconds / times.len() as f64,
            step_ms_median: 1e3 * median(times),
            students: 1,
            whole_seconds,
            ..measure(Kind::Train, processed.round() as usize, tokens.round() as usize, seconds)
        })
    }

    fn students(&self) -> Result<Measure> {
        let students = match self.workload.students {
            0 => 2 * self.threads,
            students => students,
        };
        let seeds: Vec<u64> = (0..students as u64).collect();
        let (settings, examples) = self.training(self.workload.steps);
        let began = Instant::now();
        let texts = examples.iter().map(|example| example.text.as_str());
        let corpus = Corpus::new(self.base, texts, self.max_length)?;
        let training = Training {
            corpus: Some(&corpus),
            ..Training::new(self.base, &self.labels, &examples, &settings)
        };
        let mut parallelism = Parallelism::new(self.base, students, training.memory_estimate()?);
        parallelism.workers = parallelism.workers.min(self.threads);
        parallelism.threads = parallelism.threads.min(self.threads);
        let times = run_parallel(parallelism, &seeds, |&seed| -> Result<Vec<f64>> {
            let (_, ends) = self.run(&examples, &settings, Some(&corpus), seed)?;
            Ok(ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect())
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let times = times.into_iter().collect::<Result<Vec<_>>>()?;
        let steps = times.iter().map(|times| times.len() + 1).sum::<usize>();
        let times = times.concat();
        let times = if times.is_empty() { vec![seconds] } else { times };
        let passes = students * settings.epochs;
        Ok(Measure {
            steps,
            step_ms: 1e3 * times.iter().sum::<f64>() / times.len() as f64,
            step_ms_median: 1e3 * median(times),
            students,
            ..measure(
                Kind::Students,
                examples.len() * passes,
                self.tokens(&examples)? * passes,
                seconds,
            )
        })
    }

    fn classify(&self, kind: Kind, classifier: Option<&Classifier>) -> Result<Measure> {
        let classifier = classifier.expect("a classifier exists before it is measured");
        let texts: Vec<String> = self.examples.iter().map(|example| example.text.clone()).collect();
        classifier.predict(&texts[..texts.len().min(WARM_TEXTS)])?;
        let began = Instant::now();
        let mut passes = 0;
        while passes == 0 || began.elapsed().as_secs_f64() < LEAST_SECONDS {
            classifier.predict(&texts)?;
            passes += 1;
        }
        let seconds = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let tokens = self.tokens(&self.examples)? * passes;
        let tokenise_seconds = began.elapsed().as_secs_f64() * passes as f64;
        Ok(Measure { tokenise_seconds, ..measure(kind, texts.len() * passes, tokens, seconds) })
    }

    /// The classifier to measure for `kind`, if any: `trained`, or one for the workload's classes
    /// after a single training step.
    fn classifier(&self, kind: Kind, trained: Option<&Classifier>) -> Result<Option<Classifier>> {
        let precision = match kind {
            Kind::Train | Kind::Students => return Ok(None),
            Kind::Classify => Precision::F32,
            Kind::ClassifyFast => Precision::Int8,
        };
        if let Some(trained) = trained {
            return trained.with_precision(precision).map(Some);
        }
        let (settings, examples) = self.training(1);
        let (fresh, _) = self.run(&examples, &settings, None, 0)?;
        fresh.with_precision(precision).map(Some)
    }

    /// Runs a training; returns the end of each step too.
    fn run(
        &self,
        examples: &[Example],
        settings: &TrainSettings,
        corpus: Option<&Corpus>,
        seed: u64,
    ) -> Result<(Classifier, Vec<Instant>)> {
        let mut ends = Vec::new();
        let training = Training::new(self.base, &self.labels, examples, settings);
        let outcome = Training { corpus, seed, ..training }.run(&mut |_| {
            ends.push(Instant::now());
            ControlFlow::Continue(())
        })?;
        Ok((outcome.classifier, ends))
    }

    /// Tokens of all texts.
    fn tokens(&self, examples: &[Example]) -> Result<usize> {
        let texts: Vec<String> = examples.iter().map(|example| example.text.clone()).collect();
        Ok(self.base.tokenise(&texts, self.max_length)?.iter().map(Vec::len).sum())
    }
}

/// A measure with the fields that all kinds share.
fn measure(kind: Kind, texts: usize, tokens: usize, seconds: f64) -> Measure {
    Measure {
        kind,
        texts,
        tokens,
        seconds,
        texts_per_second: if seconds > 0.0 { texts as f64 / seconds } else { 0.0 },
        steps: 0,
        step_ms: 0.0,
        step_ms_median: 0.0,
        students: 0,
        whole_seconds: seconds,
        tokenise_seconds: 0.0,
        peak_memory_bytes: 0,
    }
}

/// The median of `values`, which is not empty.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::student::parity::fixture;

    fn subject<'a>(base: &'a BaseModel, texts: &[(&str, &str)]) -> Subject<'a> {
        let texts = texts.iter().map(|(text, label)| ((*text).to_owned(), (*label).to_owned()));
        Subject { name: "tiny", base, classifier: None, texts: texts.collect() }
    }

    #[test]
    fn every_kind_counts_what_it_did() {
        let base = BaseModel::load(&fixture("bert"), &Device::Cpu).unwrap();
        let workload = Workload {
            rows: 10,
            batch: 4,
            steps: 5,
            threads: 1,
            students: 3,
            equal_length: Some(9),
            ..Workload::default()
        };
        let mut heard = Vec::new();
        let report = bench(subject(&base, &[]), &workload, |m| heard.push(m.clone())).unwrap();
        assert_eq!(report.measures, heard);
        let kinds: Vec<Kind> = heard.iter().map(|measure| measure.kind).collect();
        let fast = |kind: &Kind| Precision::Int8.pays() || *kind != Kind::ClassifyFast;
        assert_eq!(kinds, Kind::ALL.into_iter().filter(fast).collect::<Vec<_>>());
        let train = report.measure(Kind::Train).unwrap();
        assert_eq!((train.steps, train.texts, train.tokens), (5, 20, 180));
        assert!(train.whole_seconds > train.seconds && train.seconds > 0.0, "{train:?}");
        let students = report.measure(Kind::Students).unwrap();
        assert_eq!((students.students, students.steps, students.texts), (3, 15, 60));
        let classify = report.measure(Kind::Classify).unwrap();
        assert_eq!((classify.texts % 10, classify.tokens), (0, 9 * classify.texts));
        // Can exceed `seconds`: for a network this small tokenising dominates, and machines are
        // busy.
        assert!(classify.tokenise_seconds > 0.0, "{classify:?}");
        assert_eq!((report.threads, report.sha256.as_str()), (1, base.sha256()));
    }

    #[test]
    fn whole_epochs_over_given_texts_and_their_labels() {
        let base = BaseModel::load(&fixture("distilbert"), &Device::Cpu).unwrap();
        let texts = [("my card is lost", "b"), ("cheap train", "a"), ("a dog", "b")];
        let only = vec![Kind::Train];
        let workload =
            Workload { rows: 3, batch: 2, steps: 0, epochs: 4, only, ..Workload::default() };
        let report = bench(subject(&base, &texts), &workload, |_| ()).unwrap();
        // 4 epochs of 2 steps, of which 3 are warm-up.
        assert_eq!((report.classes, report.measures[0].steps), (2, 5));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])), (2.0, 2.5));
    }
}
