//! Measures scores, thresholds and explanations with a real encoder and real texts; the figures
//! are in docs/trusting-answers.md. Run it with
//!
//! ```sh
//! PROMPTMIX_ENCODER=minilm PROMPTMIX_TRAIN=trec6/train.jsonl PROMPTMIX_TEST=trec6/test.jsonl \
//!   PROMPTMIX_OUTSIDE=banking77/test.jsonl PROMPTMIX_FINE_TUNE=always PROMPTMIX_LEAVE_OUT=all \
//!   cargo test --release --lib confidence::measure -- --ignored --nocapture
//! ```

use std::{env, ops::ControlFlow, path::PathBuf};

use candle_core::Device;
use rand::seq::SliceRandom;

use super::{Gaussians, unit};
use crate::{
    auto::Auto,
    eval::{Answer, Answered, auroc, choose_threshold},
    rng::Rng,
    student::{
        BaseModel, Classifier, Example, TrainSettings, Training, WordEffect,
        classify::softmax,
        largest,
        train::{FineTune, HeadChoice},
    },
    task::read_labelled,
};

/// Texts with their labels.
type Rows = Vec<(String, String)>;

/// Texts that a student is trained on, and that scores are measured on, of each kind.
const TRAIN: usize = 500;
const MEASURED: usize = 1500;

fn path(name: &str) -> PathBuf {
    env::var(name).unwrap_or_else(|_| panic!("{name} names a file")).into()
}

/// The rows of a file, in random order.
fn rows(name: &str) -> Vec<(String, String)> {
    let rows = read_labelled(&path(name)).unwrap();
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row.text.value, row.label.value)).collect();
    rows.shuffle(&mut Rng::for_item(0, "measure", 0));
    rows
}

/// A student of `labels`, and what it was trained on.
fn train(rows: &[(String, String)], labels: &[String]) -> (Classifier, Vec<Example>) {
    let base = BaseModel::load(&path("PROMPTMIX_ENCODER"), &Device::Cpu).unwrap();
    let class = |label: &String| labels.iter().position(|known| known == label).unwrap();
    let examples: Vec<Example> =
        rows.iter().map(|(text, label)| Example::new(text.as_str(), class(label))).collect();
    let fine_tune = match env::var("PROMPTMIX_FINE_TUNE").as_deref() {
        Ok("never") => FineTune::Never,
        _ => FineTune::Always,
    };
    let head = match env::var("PROMPTMIX_HEAD").as_deref() {
        Ok("mlp") => HeadChoice::Mlp,
        _ => HeadChoice::Linear,
    };
    let settings = TrainSettings {
        fine_tune,
        head,
        max_length: Auto::Exactly(64),
        ..TrainSettings::default()
    };
    let training = Training::new(&base, labels, &examples, &settings);
    let outcome = training.run(&mut |_| ControlFlow::Continue(())).unwrap();
    (outcome.classifier, examples)
}

/// The scores of texts, larger for texts that look like those of the training.
struct Scores {
    names: [&'static str; 6],
    gaussians: [Gaussians; 4],
}

impl Scores {
    fn new(student: &Classifier, examples: &[Example]) -> Self {
        let texts: Vec<&str> = examples.iter().map(|example| example.text.as_str()).collect();
        let (_, pooled) = student.logits_and_pooled(&texts).unwrap();
        let units: Vec<Vec<f32>> = pooled.iter().map(|pooled| unit(pooled)).collect();
        let labels: Vec<usize> = examples.iter().map(|example| example.label).collect();
        let fit = |vectors: &[Vec<f32>], labels: &[usize]| {
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            Gaussians::fit(&vectors, labels, &vec![1.0; labels.len()]).unwrap()
        };
        let one = vec![0; labels.len()];
        let gaussians =
            [fit(&pooled, &labels), fit(&units, &labels), fit(&pooled, &one), fit(&units, &one)];
        let names = [
            "max-probability",
            "energy",
            "Mahalanobis",
            "Mahalanobis, unit length",
            "relative Mahalanobis",
            "relative, unit length",
        ];
        Self { names, gaussians }
    }

    /// `[scores][texts]`
    fn of(&self, student: &Classifier, texts: &[&str]) -> Vec<Vec<f64>> {
        let (logits, pooled) = student.logits_and_pooled(texts).unwrap();
        let mut scores = vec![Vec::new(); self.names.len()];
        for (logits, pooled) in logits.iter().zip(&pooled) {
            let shares = softmax(logits, student.temperature());
            let top = logits.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
            let unit = unit(pooled);
            let distance = |at: usize| {
                let vector = if at.is_multiple_of(2) { pooled } else { &unit };
                f64::from(self.gaussians[at].distance(vector))
            };
            let row = [
                f64::from(shares[largest(&shares)]),
                f64::from(top) + sum.ln(),
                -distance(0),
                -distance(1),
                distance(2) - distance(0),
                distance(3) - distance(1),
            ];
            scores.iter_mut().zip(row).for_each(|(scores, score)| scores.push(score));
        }
        scores
    }
}

fn shown(rows: &[(String, String)]) -> Vec<&str> {
    rows.iter().take(MEASURED).map(|(text, _)| text.as_str()).collect()
}

/// The rows of all labels but `without`, and those of this one.
fn split(rows: &[(String, String)], without: Option<&str>) -> (Rows, Rows) {
    rows.iter().cloned().partition(|(_, label)| Some(label.as_str()) != without)
}

#[test]
#[ignore = "needs an encoder and data; takes minutes"]
fn scores_are_compared() {
    let (train_rows, test, outside) =
        (rows("PROMPTMIX_TRAIN"), rows("PROMPTMIX_TEST"), rows("PROMPTMIX_OUTSIDE"));
    let mut all: Vec<String> = train_rows.iter().map(|(_, label)| label.clone()).collect();
    all.sort();
    all.dedup();
    let left_out: Vec<Option<String>> = match env::var("PROMPTMIX_LEAVE_OUT").as_deref() {
        Ok("all") => std::iter::once(None).chain(all.iter().cloned().map(Some)).collect(),
        Ok(names) => {
            names.split(',').map(|name| all.iter().find(|it| *it == name).cloned()).collect()
        }
        Err(_) => vec![None],
    };
    for without in left_out {
        let (kept, _) = split(&train_rows, without.as_deref());
        let labels: Vec<String> =
            all.iter().filter(|label| Some(*label) != without.as_ref()).cloned().collect();
        let (student, examples) = train(&kept[..TRAIN], &labels);
        let (_, more) = split(&train_rows, without.as_deref());
        let (inside, near) = split(&test, without.as_deref());
        let near = [near, more].concat();
        let scores = Scores::new(&student, &examples);
        let inside_scores = scores.of(&student, &shown(&inside));
        let far = scores.of(&student, &shown(&outside));
        let near_scores = (!near.is_empty()).then(|| scores.of(&student, &shown(&near)));
        let hits = accuracy(&student, &inside, &labels);
        println!("without {without:?}: accuracy {hits:.3} on {} texts", inside.len());
        for (at, name) in scores.names.iter().enumerate() {
            let near = near_scores.as_ref().map(|near| auroc(&inside_scores[at], &near[at]));
            println!("  {name:26} far {:.3} near {near:.3?}", auroc(&inside_scores[at], &far[at]));
        }
    }
}

fn accuracy(student: &Classifier, rows: &[(String, String)], labels: &[String]) -> f64 {
    let answers = answers(student, rows, labels);
    Answered::at(&answers, 0.0).accuracy()
}

fn answers(student: &Classifier, rows: &[(String, String)], labels: &[String]) -> Vec<Answer> {
    let texts: Vec<String> = rows.iter().map(|(text, _)| text.clone()).collect();
    let answer = |(row, (_, label)): (&Vec<f32>, &(String, String))| {
        let class = largest(row);
        (row[class], labels[class] == *label)
    };
    student.predict(&texts).unwrap().iter().zip(rows).map(answer).collect()
}

/// The promise on 200 random splits of texts that the student was not trained on; the share of held
/// texts that are outside at 5 %; and the deletion test of the explanations.
#[test]
#[ignore = "needs an encoder and data; takes minutes"]
fn promises_and_explanations_are_checked() {
    let (train_rows, test, outside) =
        (rows("PROMPTMIX_TRAIN"), rows("PROMPTMIX_TEST"), rows("PROMPTMIX_OUTSIDE"));
    let mut labels: Vec<String> = train_rows.iter().map(|(_, label)| label.clone()).collect();
    labels.sort();
    labels.dedup();
    let (student, examples) = train(&train_rows[..TRAIN], &labels);
    let held_out = [&train_rows[TRAIN..], &test[..]].concat();
    let answers = answers(&student, &held_out, &labels);
    let all = Answered::at(&answers, 0.0);
    println!("accuracy {:.3} on {} texts", all.accuracy(), all.texts);
    for (texts, target) in
        [(100, 0.9), (200, 0.9), (500, 0.9), (200, 0.95), (500, 0.95), (1000, 0.95), (1000, 0.98)]
    {
        let (mut kept, mut refused, mut coverage, mut reached) = (0, 0, 0.0, 0.0);
        for draw in 0..200 {
            let mut answers = answers.clone();
            answers.shuffle(&mut Rng::for_item(2, "split", draw));
            let (calibration, rest) = answers.split_at(texts);
            match choose_threshold(calibration, target, 0.95) {
                Ok(chosen) => {
                    let found = Answered::at(rest, chosen.threshold);
                    kept += usize::from(found.accuracy() >= target);
                    coverage += found.coverage();
                    reached += found.accuracy();
                }
                Err(_) => refused += 1,
            }
        }
        let given = f64::from(200 - refused);
        println!(
            "  {texts} texts, {target}: kept in {kept} of {given}, refused {refused}; coverage {:.3}, accuracy {:.3}",
            coverage / given,
            reached / given
        );
    }
    let test: Vec<String> = test.iter().map(|(text, _)| text.clone()).collect();
    for (name, texts) in [("the test set", &test[..]), ("the training texts", &[])] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("student");
        student.save(&folder).unwrap();
        let student = Classifier::load(&folder, &Device::Cpu).unwrap();
        let student = student.with_scope(&examples, texts).unwrap();
        let share = |rows: &[(String, String)]| {
            let texts: Vec<&str> = shown(rows);
            let found = student.classify(&texts).unwrap();
            let low = found.iter().filter(|it| it.in_scope.unwrap() < 0.05).count();
            low as f64 / texts.len() as f64
        };
        println!(
            "  in_scope below 0.05, reference {name}: {:.3} of new texts, {:.3} of those of another task",
            share(&train_rows[TRAIN..]),
            share(&outside)
        );
    }
    deletion(&student, &held_out);
}

/// Leaves out the words with the largest effects, then as many random ones, and compares how far
/// the probability of the label falls.
fn deletion(student: &Classifier, rows: &[(String, String)]) {
    let texts: Vec<&str> =
        shown(rows).into_iter().filter(|text| text.split(' ').count() >= 6).take(300).collect();
    for count in [1, 2, 3] {
        let (mut top, mut random, mut flips, mut random_flips) = (0.0, 0.0, 0, 0);
        for (at, text) in texts.iter().enumerate() {
            let shares = student.predict(&[(*text).to_owned()]).unwrap().remove(0);
            let class = largest(&shares);
            let mut effects = student.word_effects(text, class).unwrap();
            effects.sort_by(|a, b| b.effect.total_cmp(&a.effect));
            let strongest = without(text, &effects[..count]);
            effects.shuffle(&mut Rng::for_item(3, "deletion", at as u64));
            let others = without(text, &effects[..count]);
            let found = student.predict(&[strongest, others]).unwrap();
            top += shares[class] - found[0][class];
            random += shares[class] - found[1][class];
            flips += usize::from(largest(&found[0]) != class);
            random_flips += usize::from(largest(&found[1]) != class);
        }
        let n = texts.len() as f32;
        println!(
            "  without {count} words: probability falls by {:.3}, {:.3} at random; another label {:.3}, {:.3}",
            top / n,
            random / n,
            flips as f32 / n,
            random_flips as f32 / n
        );
    }
}

fn without(text: &str, words: &[WordEffect]) -> String {
    let mut spans: Vec<_> = words.iter().map(|word| word.span.clone()).collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    spans.into_iter().for_each(|span| text.replace_range(span, ""));
    text
}
