//! Measures on real texts how often there is an alarm: without a change (the level), and with a
//! share of texts of a class that the student does not know (the power). `scripts/drift/level.py`
//! trains the students and calls it.

use std::{env, path::PathBuf};

use candle_core::Device;
use rand::seq::SliceRandom;

use super::{LEVEL, Readings, Reference, Source, Test, compare_with, sample};
use crate::{
    rng::Rng,
    student::{Classifier, Reading},
    task::read_texts,
};

/// Random splits of the texts.
const SPLITS: u64 = 200;
/// New texts of a split.
const NEW: usize = 500;
/// Fewer than in the program, as 400 comparisons are made; a p-value of five tests is then at least
/// 0.005.
const PERMUTATIONS: u64 = 999;

/// Texts as the student reads them.
type Rows = Vec<(Reading, Vec<f32>)>;

fn path(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} names a file or folder")).into()
}

fn rows(student: &Classifier, file: &str) -> Rows {
    let texts = read_texts(&path(file)).expect("a file of texts");
    let texts: Vec<String> = texts.into_iter().map(|cell| cell.value).collect();
    let readings = student.readings(&texts).expect("readings");
    readings.into_iter().zip(student.embeddings(&texts).expect("embeddings")).collect()
}

/// The sample of these rows, which are in random order.
fn readings<'a>(rows: impl IntoIterator<Item = &'a (Reading, Vec<f32>)>) -> Readings {
    let mut readings = Readings::default();
    for (at, (reading, embedding)) in rows.into_iter().take(sample::ROWS).enumerate() {
        readings.push(*reading, (at < sample::EMBEDDED).then_some(embedding.as_slice()));
        readings.seen += 1;
    }
    readings
}

/// The share of splits with an alarm, of all tests together and of each, where the new texts have
/// this share of `others`.
fn alarms(student: &Classifier, rows: &Rows, others: &Rows, share: f64) -> String {
    let mut all = 0;
    let mut single: Vec<(Test, usize)> = Vec::new();
    for split in 0..SPLITS {
        let mut rng = Rng::for_item(split, "drift/level", 0);
        let mut order: Vec<&(Reading, Vec<f32>)> = rows.iter().collect();
        order.shuffle(&mut rng);
        let (old, new) = order.split_at(rows.len() / 2);
        let mut strange: Vec<&(Reading, Vec<f32>)> = others.iter().collect();
        strange.shuffle(&mut rng);
        let size = NEW.min(new.len());
        let strange = &strange[..((size as f64 * share).round() as usize).min(strange.len())];
        let mut new = [strange, &new[..size - strange.len()]].concat();
        new.shuffle(&mut rng);
        let reference = Reference { source: Source::File, readings: readings(old.iter().copied()) };
        let drift =
            compare_with(&reference, &readings(new), student.labels(), PERMUTATIONS).unwrap();
        all += usize::from(drift.p < LEVEL);
        single.resize(drift.tests.len(), (drift.tests[0], 0));
        for (count, test) in single.iter_mut().zip(&drift.tests) {
            *count = (*test, count.1 + usize::from(test.p < LEVEL));
        }
    }
    let percent = |count: usize| format!("{:.1}", 100.0 * count as f64 / SPLITS as f64);
    let single = single.iter().map(|(test, count)| {
        let name = serde_json::to_value(test.measure).expect("a name");
        format!("{name}: {}", percent(*count))
    });
    let single: Vec<String> = single.collect();
    format!("{{\"share\": {share}, \"all\": {}, {}}}", percent(all), single.join(", "))
}

#[test]
#[ignore = "needs a student and texts: scripts/drift/level.py"]
fn alarms_on_real_texts() {
    let student = Classifier::load(&path("PROMPTMIX_DRIFT_STUDENT"), &Device::Cpu).unwrap();
    let known = rows(&student, "PROMPTMIX_DRIFT_TEXTS");
    let others = rows(&student, "PROMPTMIX_DRIFT_OTHERS");
    for share in [0.0, 0.05, 0.1] {
        println!("{}", alarms(&student, &known, &others, share));
    }
}
