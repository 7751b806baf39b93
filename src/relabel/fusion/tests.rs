use super::*;
use crate::rng::Rng;
use rand::Rng as _;

const CLASSES: usize = 4;

/// Texts in clusters, one for each class, and two examples of each class.
struct World {
    truth: Vec<usize>,
    features: Features,
    examples: (Features, Vec<usize>),
    rng: Rng,
}

impl World {
    fn new() -> Self {
        Self::scattered(0.45, 0)
    }

    /// The world number `number`, with vectors that lie up to `noise` off in each direction.
    fn scattered(noise: f32, number: u64) -> Self {
        let mut rng = Rng::for_item(5, "world", number);
        let mut vector = |class: usize| -> Vec<f32> {
            let mut vector: Vec<f32> = (0..8).map(|_| rng.random_range(-noise..noise)).collect();
            vector[class] += 1.0;
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            vector.into_iter().map(|value| value / length).collect()
        };
        let truth: Vec<usize> = (0..240).map(|text| text % CLASSES).collect();
        let vectors: Vec<Vec<f32>> = truth.iter().map(|class| vector(*class)).collect();
        let labels: Vec<usize> = (0..2 * CLASSES).map(|seed| seed % CLASSES).collect();
        let seeds: Vec<Vec<f32>> = labels.iter().map(|class| vector(*class)).collect();
        let features = Features::new(&vectors);
        Self { truth, features, examples: (Features::new(&seeds), labels), rng }
    }

    /// The same world without a labelled example of the last class.
    fn without_an_example(mut self) -> Self {
        let (features, labels) = &self.examples;
        let kept: Vec<usize> = (0..labels.len()).filter(|at| labels[*at] != CLASSES - 1).collect();
        let labels = kept.iter().map(|at| labels[*at]).collect();
        self.examples = (features.select(&kept), labels);
        self
    }

    /// `classes`, each right with probability `share`; else another one, or always `bias`.
    fn annotator(&mut self, classes: &[usize], share: f64, bias: Option<usize>) -> Vec<usize> {
        let mut label = |&class: &usize| {
            let other = (class + self.rng.random_range(1..CLASSES)) % CLASSES;
            if self.rng.random_bool(share) { class } else { bias.unwrap_or(other) }
        };
        classes.iter().map(&mut label).collect()
    }

    /// What the texts gain if each was asked for as the class `off` places after its own.
    fn gain(&self, off: usize) -> Gain {
        let asked: Vec<usize> = self.truth.iter().map(|class| (class + off) % CLASSES).collect();
        let examples = self.examples.1.clone();
        let evidence = Evidence {
            classes: CLASSES,
            features: &self.features,
            asked: &asked,
            partners: &vec![None; asked.len()],
            judged: &vec![Vec::new(); asked.len()],
            examples: (&self.examples.0, &examples),
            judged_examples: &[],
            seed: 1,
        };
        fuse(&evidence).gain(&evidence, examples.len(), 0.1).expect("each class has two examples")
    }

    /// The share of texts with the right label: asked, judged, fused.
    fn outcome(&mut self, asker: f64, judge: f64, bias: Option<usize>) -> [f64; 3] {
        let truth = self.truth.clone();
        let asked = self.annotator(&truth, asker, None);
        let judged = self.annotator(&truth, judge, bias);
        let seeds = self.examples.1.clone();
        let seen = self.annotator(&seeds, judge, bias);
        let scores = |label: usize| -> Vec<(usize, f32)> {
            (0..CLASSES).map(|class| (class, if class == label { 0.85 } else { 0.05 })).collect()
        };
        let judged_scores: Vec<_> = judged.iter().map(|label| scores(*label)).collect();
        let known: Vec<_> =
            seeds.iter().zip(&seen).map(|(c, label)| (*c, scores(*label))).collect();
        let fused = fuse(&Evidence {
            classes: CLASSES,
            features: &self.features,
            asked: &asked,
            partners: &vec![None; truth.len()],
            judged: &judged_scores,
            examples: (&self.examples.0, &seeds),
            judged_examples: &known,
            seed: 1,
        });
        let labels: Vec<usize> = fused.posteriors.iter().map(|row| largest(row)).collect();
        let right = |labels: &[usize]| {
            let right = labels.iter().zip(&truth).filter(|(label, class)| label == class).count();
            right as f64 / truth.len() as f64
        };
        [right(&asked), right(&judged), right(&labels)]
    }
}

#[test]
fn the_fused_labels_are_no_worse_than_the_best_annotator_whoever_errs() {
    for bias in [None, Some(2)] {
        for asker in [0.25, 0.5, 0.75, 1.0] {
            for judge in [0.25, 0.5, 0.75, 1.0] {
                let [asked, judged, fused] = World::new().outcome(asker, judge, bias);
                assert!(
                    fused >= asked.max(judged) - 0.03,
                    "asker {asked}, judge {judged} (bias {bias:?}): fused {fused}"
                );
            }
        }
    }
}

#[test]
fn a_judge_that_guesses_leaves_what_was_asked_and_a_perfect_one_decides() {
    let [asked, _, fused] = World::new().outcome(1.0, 0.25, None);
    assert!(asked == 1.0 && fused == 1.0, "{fused}");
    let [_, judged, fused] = World::new().outcome(0.25, 1.0, None);
    assert!(judged == 1.0 && fused > 0.97, "{fused}");
}

#[test]
fn a_class_without_an_example_is_fused_like_the_others() {
    let outcome =
        |asker, judge, bias| World::new().without_an_example().outcome(asker, judge, bias);
    let [asked, _, fused] = outcome(1.0, 0.25, None);
    assert!(asked == 1.0 && fused == 1.0, "a judge that guesses is ignored: {fused}");
    let [_, judged, fused] = outcome(0.25, 1.0, None);
    assert!(judged == 1.0 && fused > 0.97, "a perfect one decides: {fused}");
    // One that takes every other text for the class without an example, or none at all.
    let [asked, judged, fused] = outcome(0.75, 0.5, Some(CLASSES - 1));
    assert!(fused >= asked.max(judged) - 0.03, "{asked} {judged} {fused}");

    let good = World::scattered(1.5, 0).without_an_example().gain(0);
    assert!(good.helps(CLASSES) && good.examples == 2 * (CLASSES - 1), "{good:?}");
    let wrong = World::scattered(1.5, 0).without_an_example().gain(1);
    assert!(!wrong.helps(CLASSES), "{wrong:?}");
}

#[test]
fn a_probe_has_no_say_in_the_labels_that_it_is_fitted_to() {
    // The clusters overlap, and nothing but what was asked is right. A probe that agrees with
    // itself leaves 0.70 of it.
    let fused = |world| World::scattered(1.0, world).outcome(1.0, 0.25, None)[2];
    let fused: Vec<f64> = (0..8).map(fused).collect();
    assert!(fused.iter().sum::<f64>() / 8.0 > 0.74, "{fused:?}");
}

#[test]
fn texts_of_the_right_classes_help_and_those_of_others_do_not() {
    let good = World::scattered(1.5, 0).gain(0);
    assert!(good.helps(CLASSES) && good.examples == 2 * CLASSES, "{good:?}");
    assert!(good.asked > good.alone, "{good:?}");
    let wrong = World::scattered(1.5, 0).gain(1);
    assert!(!wrong.helps(CLASSES) && wrong.asked < wrong.alone, "{wrong:?}");
}

#[test]
fn a_gain_survives_the_ledger_and_says_what_decided() {
    let gain = Gain { examples: 60, alone: 40, asked: 20, fused: 45 };
    assert!(gain.helps(6), "of many examples the fused labels decide");
    let counts: std::collections::BTreeMap<&str, usize> = gain.counts().into();
    assert_eq!(Gain::of_counts(|name| counts.get(name).copied()), Some(gain));
    assert_eq!(Gain::of_counts(|_| None), None);
    let few = Gain { examples: 12, alone: 0, asked: 0, fused: 1 };
    assert!(!few.helps(6), "the texts predict no more than guessing");
    let summary = few.summary();
    assert!(summary.contains("of 12 labelled examples left out, 0 are predicted"), "{summary}");
    assert!(Gain { asked: 6, fused: 6, ..few }.helps(6));
    let judged = Gain { alone: 3, asked: 2, fused: 8, ..few };
    assert!(judged.helps(6), "a good judge makes up for a writer that often misses the class");
    assert!(!Gain { fused: 4, ..judged }.helps(6), "but only if it is good");
    let tie = Gain { alone: 3, asked: 4, fused: 3, ..few };
    assert!(!tie.helps(6), "of few examples a tie says nothing for the texts");
    assert!(Gain { alone: 12, asked: 12, fused: 12, ..few }.helps(6), "no more can be gained");
}
