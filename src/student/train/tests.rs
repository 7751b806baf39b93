//! Guarantees of a training: the same outcome whether it is divided into passes or interrupted, and
//! working stages and early stopping.

use std::fs;
use std::time::Duration;

use candle_core::Device;

use super::{
    super::{classify::softmax, parity::fixture},
    *,
};

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());

fn base() -> BaseModel {
    BaseModel::load(&fixture("bert"), &Device::Cpu).unwrap()
}

/// The same without dropout.
fn steady() -> BaseModel {
    let read = |file: &str| fs::read(fixture("bert").join(file)).unwrap();
    let config = String::from_utf8(read("config.json")).unwrap();
    let config = config.replace("_prob\": 0.1", "_prob\": 0.0");
    let [weights, tokenizer] = ["model.safetensors", "tokenizer.json"].map(read);
    BaseModel::from_bytes(config.as_bytes(), &weights, &tokenizer, &Device::Cpu).unwrap()
}

fn labels() -> Vec<String> {
    ["money", "travel"].map(str::to_owned).to_vec()
}

/// Seven synthetic examples and three gold ones.
fn examples() -> Vec<Example> {
    let texts = [
        ("my card is lost", 0),
        ("where is my bank account money", 0),
        ("refund my late order", 0),
        ("is the money on my card", 0),
        ("train to the city", 1),
        ("how old is the plane ticket", 1),
        ("cheap ticket to water", 1),
        ("my bank lost my money", 0),
        ("late train", 1),
        ("a plane to the city", 1),
    ];
    let example = |(at, &(text, label)): (usize, &(&str, usize))| Example {
        gold: at >= 7,
        ..Example::new(text, label)
    };
    texts.iter().enumerate().map(example).collect()
}

fn settings() -> TrainSettings {
    TrainSettings {
        batch_size: 3,
        learning_rate: 5e-3,
        epochs: 3,
        min_steps: 0,
        ..TrainSettings::default()
    }
}

/// Every weight of a classifier, in order.
fn weights(classifier: &Classifier) -> Vec<f32> {
    let numbers =
        |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    classifier.tensors().values().flat_map(numbers).collect()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Settings that use every part of a snapshot.
fn all_features() -> TrainSettings {
    TrainSettings {
        stages: Stages::SyntheticThenGold,
        validation_share: 0.2,
        class_weights: ClassWeights::Balanced,
        micro_batch: 2,
        patience: 9,
        ..settings()
    }
}

#[test]
fn a_training_interrupted_in_mid_epoch_ends_with_the_same_weights_bit_for_bit() {
    let (base, labels, examples, settings) = (base(), labels(), examples(), all_features());
    let mut training = Training::new(&base, &labels, &examples, &settings);
    let mut steps = Vec::new();
    let whole = training
        .run(&mut |step| {
            steps.push(step);
            CONTINUE
        })
        .unwrap();
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("training");
    training.snapshots = Some(Snapshots::new(folder.clone()));
    // In mid-epoch of the first stage, at an epoch's end, at the stage's end, in the second stage.
    let per_epoch = steps.iter().filter(|step| step.epoch == 0).count();
    assert!(per_epoch > 1 && steps.len() > 3 * per_epoch + 1, "{steps:?}");
    for stop in [1, per_epoch, 3 * per_epoch, 3 * per_epoch + 1, steps.len()] {
        let mut again = Vec::new();
        let interrupted = training.run(&mut |step| {
            again.push(step);
            if step.step == stop { ControlFlow::Break(()) } else { CONTINUE }
        });
        assert!(matches!(interrupted, Err(StudentError::Stopped)), "{interrupted:?}");
        let outcome = training
            .run(&mut |step| {
                again.push(step);
                CONTINUE
            })
            .unwrap();
        assert_eq!(again, steps, "stopped after {stop}");
        assert_eq!(weights(&outcome.classifier), weights(&whole.classifier));
        assert_eq!(outcome.history, whole.history);
        assert_eq!(outcome.validation, whole.validation);
        assert!(!folder.exists(), "the snapshot is removed");
    }
}

#[test]
fn a_killed_training_resumes_from_the_last_snapshot_and_a_stale_one_is_ignored() {
    let (base, labels, examples, settings) = (base(), labels(), examples(), settings());
    let mut training = Training::new(&base, &labels, &examples, &settings);
    let whole = weights(&training.run(&mut |_| CONTINUE).unwrap().classifier);
    let temp = tempfile::tempdir().unwrap();
    let (folder, copy) = (temp.path().join("training"), temp.path().join("copy.safetensors"));
    let file = folder.join("training.safetensors");
    training.snapshots = Some(Snapshots {
        every_steps: 3,
        least_time: Duration::ZERO,
        ..Snapshots::new(folder.clone())
    });
    // What a kill at step 9 would leave: the last snapshot before it.
    let save = &mut |step: TrainStep| {
        if step.step == 9 {
            fs::copy(&file, &copy).unwrap();
        }
        CONTINUE
    };
    training.run(save).unwrap();
    let put_back = || {
        fs::create_dir_all(&folder).unwrap();
        fs::copy(&copy, &file).unwrap();
    };
    let first_step = |training: &Training| {
        let mut first = None;
        let record = &mut |step: TrainStep| {
            first.get_or_insert(step.step);
            CONTINUE
        };
        let outcome = training.run(record).unwrap();
        (first.unwrap(), weights(&outcome.classifier))
    };
    put_back();
    assert_eq!(first_step(&training), (9, whole.clone()));
    put_back();
    let other = Training { seed: 1, ..training.clone() };
    let (first, others) = first_step(&other);
    assert!(first == 1 && others != whole);
}

#[test]
fn small_passes_give_what_the_whole_batch_gives() {
    let (base, labels, mut examples) = (steady(), labels(), examples());
    examples[2].weight = 0.3;
    examples[4].weight = 2.5;
    let run = |micro_batch: usize| {
        let settings =
            TrainSettings { batch_size: 5, micro_batch, label_smoothing: 0.1, ..settings() };
        let training = Training::new(&base, &labels, &examples, &settings);
        let mut losses = Vec::new();
        let outcome = training.run(&mut |step| {
            losses.push(step.loss);
            CONTINUE
        });
        (weights(&outcome.unwrap().classifier), losses)
    };
    let (whole, losses) = run(0);
    for rows in [1, 2, 4] {
        let (parts, others) = run(rows);
        assert!(furthest(&losses, &others) < 1e-4, "{losses:?} {others:?}");
        // Adam amplifies tiny gradients, whose sums differ in the last bit, to whole steps, so that
        // only the mean difference is small.
        let mean = whole.iter().zip(&parts).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
            / whole.len() as f64;
        assert!(mean < 1e-5, "{rows}: {mean}");
    }
}

#[test]
fn the_second_stage_trains_on_gold_with_its_own_rate() {
    let (base, labels, examples) = (base(), labels(), examples());
    let settings = TrainSettings {
        stages: Stages::SyntheticThenGold,
        warmup_share: 0.0,
        gold_epochs: 2,
        gold_learning_rate: 1e-3,
        ..settings()
    };
    let mut steps = Vec::new();
    let training = Training::new(&base, &labels, &examples, &settings);
    let outcome = training
        .run(&mut |step| {
            steps.push(step);
            CONTINUE
        })
        .unwrap();
    // Seven synthetic examples: 3 epochs of 3 steps; three gold ones: 2 of 1.
    assert_eq!((steps.len(), steps[0].steps, steps[10].epoch, steps[10].epochs), (11, 11, 4, 5));
    assert_eq!((steps[0].learning_rate, steps[9].learning_rate), (5e-3, 1e-3));
    let stages = outcome.history.iter().map(|epoch| (epoch.stage, epoch.epoch));
    assert_eq!(stages.collect::<Vec<_>>(), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
    assert!(outcome.validation.is_none());
}

#[test]
fn the_result_is_the_best_epoch() {
    let (base, labels, mut examples) = (base(), labels(), examples());
    // Random labels: overfitting raises the validation loss.
    examples.iter_mut().enumerate().for_each(|(at, example)| example.label = at / 2 % 2);
    let settings = TrainSettings {
        validation_share: 0.4,
        epochs: 30,
        patience: 3,
        learning_rate: 1e-2,
        ..settings()
    };
    let outcome =
        Training::new(&base, &labels, &examples, &settings).run(&mut |_| CONTINUE).unwrap();
    let losses = outcome.history.iter().map(|epoch| epoch.validation_loss.unwrap());
    let losses = losses.collect::<Vec<_>>();
    let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert!(losses.len() < 30, "{losses:?}");
    assert_eq!(losses.len(), best + 1 + 3, "{losses:?}");

    // The logits are the best epoch's, and so are the weights.
    let validation = outcome.validation.unwrap();
    let rows = validation.logits.chunks_exact(2).zip(&validation.labels);
    let loss =
        rows.map(|(logits, &label)| -f64::from(softmax(logits, 1.0)[label]).ln()).sum::<f64>()
            / validation.labels.len() as f64;
    assert!((loss - losses[best]).abs() < 1e-6, "{loss} {losses:?}");
    let held = Plan::new(&settings, &examples, 0).validation;
    let texts = held.iter().map(|&at| examples[at].text.clone()).collect::<Vec<_>>();
    let again = outcome.classifier.logits(&texts).unwrap();
    for (again, logits) in again.iter().zip(validation.logits.chunks_exact(2)) {
        assert!(furthest(again, logits) < 1e-5, "{again:?} {logits:?}");
    }
    // And the classifier has the temperature fitted on them.
    let fitted = outcome.temperature.unwrap();
    assert_eq!(outcome.classifier.temperature(), fitted.temperature);
    assert!(fitted.nll_after <= fitted.nll_before + 1e-9, "{fitted:?}");
    let labels = held.iter().map(|&at| examples[at].label).collect::<Vec<_>>();
    assert_eq!(validation.labels, labels);
}

#[test]
fn a_shared_corpus_changes_nothing() {
    let (base, labels, examples, settings) = (base(), labels(), examples(), settings());
    let mut training = Training::new(&base, &labels, &examples, &settings);
    let run = |training: &Training| weights(&training.run(&mut |_| CONTINUE).unwrap().classifier);
    let alone = run(&training);
    let texts = || examples.iter().map(|example| example.text.as_str());
    let whole = Corpus::new(&base, texts(), settings.limit(&base)).unwrap();
    let part = Corpus::new(&base, texts().take(3), settings.limit(&base)).unwrap();
    let short = Corpus::new(&base, texts(), 3).unwrap();
    for corpus in [&whole, &part, &short] {
        training.corpus = Some(corpus);
        assert_eq!(run(&training), alone);
    }
    assert!(training.memory_estimate().unwrap() > 4 * alone.len() as u64);
}

#[test]
fn soft_labels_pull_towards_the_teacher() {
    let (base, labels, mut examples) = (base(), labels(), examples());
    for example in &mut examples {
        let confidence = if example.label == 0 { 0.7 } else { 0.3 };
        example.teacher = vec![confidence, 1.0 - confidence];
    }
    let mean_confidence = |soft_labels: f64| {
        let settings = TrainSettings { soft_labels, epochs: 60, learning_rate: 1e-2, ..settings() };
        let training = Training::new(&base, &labels, &examples, &settings);
        let student = training.run(&mut |_| CONTINUE).unwrap().classifier;
        let texts = examples.iter().map(|example| example.text.clone()).collect::<Vec<_>>();
        let tops = student.predict(&texts).unwrap();
        tops.iter().map(|shares| shares[0].max(shares[1])).sum::<f32>() / texts.len() as f32
    };
    let (hard, soft) = (mean_confidence(0.0), mean_confidence(1.0));
    assert!(hard > 0.9 && (soft - 0.7).abs() < 0.08, "{hard} {soft}");
}

#[test]
fn a_head_that_was_drawn_is_not_left_untrained() {
    let (base, labels, examples) = (base(), labels(), examples());
    let never = TrainSettings { fine_tune: FineTune::Never, ..settings() };
    let error = Training::new(&base, &labels, &examples, &never).run(&mut |_| CONTINUE);
    assert!(error.unwrap_err().to_string().contains("student.fine_tune is never"));
}

/// Settings with a contrastive stage.
fn contrastive() -> TrainSettings {
    TrainSettings { stages: Stages::Contrastive, head: HeadChoice::Linear, ..settings() }
}

/// The mean cosine of two examples of one class, minus that of two of different classes.
fn separation(base: &BaseModel) -> f32 {
    let (labels, examples, settings) = (labels(), examples(), settings());
    let embeddings = Training::new(base, &labels, &examples, &settings).embeddings().unwrap();
    let mean = |same: bool| {
        let pairs = (0..examples.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let pairs = pairs.filter(|&(i, j)| (examples[i].label == examples[j].label) == same);
        let cosines: Vec<f32> =
            pairs.map(|(i, j)| crate::simd::dot(&embeddings[i], &embeddings[j])).collect();
        cosines.iter().sum::<f32>() / cosines.len() as f32
    };
    mean(true) - mean(false)
}

#[test]
fn a_contrastive_stage_draws_the_texts_of_a_class_together_and_apart_from_others() {
    let (base, labels, examples) = (base(), labels(), examples());
    let settings = TrainSettings { epochs: 12, ..contrastive() };
    let training = Training::new(&base, &labels, &examples, &settings);
    let mut losses = Vec::new();
    let tuned = training.contrasted(&mut |step| {
        losses.push(step.loss);
        CONTINUE
    });
    let tuned = tuned.unwrap().unwrap();
    assert_eq!(losses.len(), 12, "all six pairs are one batch");
    // The least loss is ln 5, as each text has five others of its class.
    assert!(losses[11] < losses[0] - 0.5 && losses[11] > 5f32.ln(), "{losses:?}");
    let (before, after) = (separation(&base), separation(&tuned));
    assert!(after > before + 0.15, "{before} {after}");
    assert_ne!(base.identity(), tuned.identity());
    // Words that no example has, and the head's dense layer, are those of the base.
    let parts = |base: &BaseModel| base.inner.tensors().unwrap();
    let (old, new) = (parts(&base), parts(&tuned));
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    let flat = |tensors: &super::super::weights::Tensors| {
        tensors["bert.pooler.dense.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(flat(&old), flat(&new));
}

#[test]
fn a_contrastive_step_is_the_same_in_one_pass_and_in_several() {
    let (base, labels, examples) = (steady(), labels(), examples());
    let run = |micro_batch: usize| {
        let settings = TrainSettings { micro_batch, fine_tune: FineTune::Never, ..contrastive() };
        let training = Training::new(&base, &labels, &examples, &settings);
        let mut seen = Vec::new();
        let outcome = training.run(&mut |step| {
            seen.extend([step.loss, step.gradient_norm as f32]);
            CONTINUE
        });
        (weights(&outcome.unwrap().classifier), seen)
    };
    // Adam amplifies tiny gradients to whole steps: weights differ, losses and norms do not.
    let (whole, seen) = run(0);
    for rows in [3, 7] {
        let (_, others) = run(rows);
        assert!(furthest(&seen, &others) < 5e-3, "{seen:?} {others:?}");
    }
    let frozen = TrainSettings { micro_batch: 0, ..contrastive() }.frozen();
    let training = Training::new(&base, &labels, &examples, &frozen);
    let frozen = weights(&training.run(&mut |_| CONTINUE).unwrap().classifier);
    assert!(furthest(&whole, &frozen) > 1e-3, "the row of the frozen encoder has no stage");
}

#[test]
fn a_contrastive_training_counts_its_steps_repeats_and_resumes_bit_for_bit() {
    let (base, labels, examples, settings) = (base(), labels(), examples(), contrastive());
    let mut training = Training::new(&base, &labels, &examples, &settings);
    let mut steps = Vec::new();
    let record = &mut |step: TrainStep| {
        steps.push((step.step, step.steps, step.epoch, step.epochs));
        CONTINUE
    };
    let whole = weights(&training.run(record).unwrap().classifier);
    // Three epochs of a single batch of pairs, then three of four batches.
    let all = steps.len();
    assert_eq!((all, super::steps(&settings, 3, 7)), (15, 15));
    assert!(steps.iter().enumerate().all(|(at, it)| (it.0, it.1, it.3) == (at + 1, 15, 6)));
    assert_eq!((steps[2].2, steps[3].2, steps[14].2), (2, 3, 5));
    let temp = tempfile::tempdir().unwrap();
    training.snapshots = Some(Snapshots::new(temp.path().join("training")));
    // In the contrastive stage, and after it.
    for stop in [2, 9] {
        let stopped = training.run(&mut |step| {
            if step.step == stop { ControlFlow::Break(()) } else { CONTINUE }
        });
        assert!(matches!(stopped, Err(StudentError::Stopped)), "{stopped:?}");
        let again = training.run(&mut |_| CONTINUE).unwrap().classifier;
        assert_eq!(weights(&again), whole, "stopped after {stop}");
    }
}
