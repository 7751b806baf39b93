//! Which of many texts without labels the teacher is asked about: first some that cover what there
//! is, then those of which a classifier of the labelled examples is least sure.
//!
//! ```text
//! texts ─ Sieve: copies, seeds, test set ─► Sample: so many ─► embeddings ─ select ─► picks
//! ```
//!
//! Memory is that of the embeddings of the sample, however many texts there are. Coverage is the
//! seeding of k-means++ (Arthur & Vassilvitskii 2007): each text is drawn with a probability
//! proportional to its squared distance from what is labelled or picked, and never if it is nearly
//! the same as one of these. It is exact: 1,000 of 100,000 texts take seconds, so that nothing is
//! gained by approximate neighbours.
//!
//! With real labels of texts of TREC6 (2 labelled examples a class), 100 labels, two draws of the
//! examples, accuracy in %: at random 69.4 and 70.1, as here 72.1 and 71.5, k-means 65.8 and 71.0;
//! always the farthest text (the greedy k-centre, which finds outliers) 52.3 and 65.6. Over 40
//! draws the gain on chance is within the noise; on Banking77 it is 1.1 points (docs/recipe.md,
//! Real texts).

mod sample;
mod sieve;

use rayon::prelude::*;

use crate::{
    rng::Rng,
    simd::dot,
    student::probe::{DEFAULT_C, Features, LogisticRegression, Targets},
};
pub(crate) use sample::Sample;
pub(crate) use sieve::Sieve;

/// Share of the picks that cover the texts; the others are uncertain ones.
const COVERAGE: f64 = 0.5;
/// Texts with at least this cosine, once the mean of all texts is subtracted, are nearly the same.
const NEAR: f32 = 0.95;
/// The uncertain texts are picked from so many times their number, far from each other as well.
const UNSURE: usize = 4;

/// What a text was picked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is unlike all that is labelled or picked.
    Coverage,
    /// A classifier of the labelled examples is not sure of its class.
    Uncertain,
}

/// At most `budget` of `texts`, in the order in which they were picked: places and purposes. The
/// labelled `examples` count as picked. Fewer if the others are nearly the same as these. `seed`
/// determines the draws.
pub(crate) fn select(
    texts: &Features,
    (examples, labels): (&Features, &Targets),
    budget: usize,
    seed: u64,
) -> Vec<(usize, Purpose)> {
    let mean = texts.mean();
    let (texts, centred) = (texts.centred(&mean), examples.centred(&mean));
    let mut picks = Picks::new(&texts, &centred, seed);
    let all: Vec<usize> = (0..texts.len()).collect();
    let covering = (budget as f64 * COVERAGE).ceil() as usize;
    picks.draw(&all, covering, Purpose::Coverage);
    let uncertain = budget - picks.chosen.len().min(budget);
    if uncertain > 0 && centred.len() > 0 {
        let shortlist = least_sure(&texts, (&centred, labels), &picks, UNSURE * uncertain);
        picks.draw(&shortlist, uncertain, Purpose::Uncertain);
    }
    // The shortlist may be full of texts that are nearly the same.
    picks.draw(&all, budget - picks.chosen.len().min(budget), Purpose::Coverage);
    picks.chosen
}

/// The picks so far, and how near the others are to them.
struct Picks<'a> {
    texts: &'a Features,
    /// The highest cosine of each text with what is labelled or picked.
    nearest: Vec<f32>,
    chosen: Vec<(usize, Purpose)>,
    seed: u64,
}

impl<'a> Picks<'a> {
    fn new(texts: &'a Features, examples: &Features, seed: u64) -> Self {
        let nearest = vec![-1.0; texts.len()];
        let mut picks = Self { texts, nearest, chosen: Vec::new(), seed };
        (0..examples.len()).for_each(|example| picks.note(examples.row(example)));
        picks
    }

    /// Takes into account that a text with this vector is labelled or picked.
    fn note(&mut self, vector: &[f32]) {
        let texts = self.texts;
        self.nearest.par_iter_mut().enumerate().with_min_len(1024).for_each(|(text, nearest)| {
            *nearest = nearest.max(dot(texts.row(text), vector));
        });
    }

    /// Picks at most `count` of the texts at `places`.
    fn draw(&mut self, places: &[usize], count: usize, purpose: Purpose) {
        for _ in 0..count {
            let weight = |text: &usize| match self.nearest[*text] {
                near if near >= NEAR => 0.0,
                // Half of the squared distance of unit vectors.
                cosine => 1.0 - f64::from(cosine),
            };
            let weights: Vec<f64> = places.iter().map(weight).collect();
            let mut rng = Rng::for_item(self.seed, "pick", self.chosen.len() as u64);
            let Some(place) = rng.weighted(&weights) else { return };
            let text = places[place];
            self.chosen.push((text, purpose));
            self.note(self.texts.row(text));
            self.nearest[text] = f32::INFINITY;
        }
    }
}

/// The `count` texts that are not picked and whose two most probable classes are closest by a
/// logistic regression on the examples, the closest first.
fn least_sure(
    texts: &Features,
    (examples, labels): (&Features, &Targets),
    picks: &Picks<'_>,
    count: usize,
) -> Vec<usize> {
    let probe = LogisticRegression::fit(examples, labels, DEFAULT_C);
    let margins: Vec<f32> = probe
        .log_probabilities(texts)
        .chunks_exact(labels.classes)
        .map(|logs| {
            let mut best = [f32::NEG_INFINITY; 2];
            for log in logs {
                if *log > best[0] {
                    best = [*log, best[0]];
                } else {
                    best[1] = best[1].max(*log);
                }
            }
            best[0].exp() - best[1].exp()
        })
        .collect();
    let mut open: Vec<usize> = (0..texts.len()).filter(|&it| picks.nearest[it] < NEAR).collect();
    open.sort_by(|&a, &b| margins[a].total_cmp(&margins[b]).then(a.cmp(&b)));
    open.truncate(count);
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors in the plane at these degrees.
    fn at(degrees: &[f32]) -> Features {
        let unit = |degrees: &f32| {
            let angle = degrees.to_radians();
            vec![angle.cos(), angle.sin()]
        };
        Features::new(&degrees.iter().map(unit).collect::<Vec<_>>())
    }

    fn places(picks: &[(usize, Purpose)], of: Purpose) -> Vec<usize> {
        picks.iter().filter(|(_, purpose)| *purpose == of).map(|(place, _)| *place).collect()
    }

    #[test]
    fn picks_cover_first_and_then_go_where_the_classes_meet() {
        // A text every 3°; class 0 is at 0°, class 1 at 180°. Their mean is zero.
        let degrees: Vec<f32> = (0..120).map(|text| 3.0 * text as f32).collect();
        let (texts, examples) = (at(&degrees), at(&[0.0, 180.0]));
        let labels = Targets::of_labels(&[0, 1], 2);
        for seed in 0..20 {
            let picks = select(&texts, (&examples, &labels), 4, seed);
            assert!(places(&picks, Purpose::Coverage).len() >= 2);
            let uncertain = places(&picks, Purpose::Uncertain);
            // Two, unless one is nearly the same as all the others that are uncertain.
            assert!((1..=2).contains(&uncertain.len()), "{picks:?}");
            // The classes meet at 90° and 270°; what was picked there pushes others away.
            let off = |place: &usize| (degrees[*place] % 180.0 - 90.0).abs();
            assert!(uncertain.iter().all(|place| off(place) <= 45.0), "{picks:?}");
        }
    }

    #[test]
    fn no_text_is_picked_twice_or_beside_one_that_is_nearly_the_same() {
        let texts = at(&[0.0, 1.0, 90.0, 91.0, 180.0, 181.0, 270.0, 271.0]);
        let none = (&Features::default(), &Targets { values: Vec::new(), classes: 2 });
        let picks = select(&texts, none, 8, 1);
        let mut sectors: Vec<usize> = picks.iter().map(|(place, _)| place / 2).collect();
        sectors.sort_unstable();
        assert_eq!(sectors, [0, 1, 2, 3]);
        // An example counts as picked.
        let one = (&at(&[90.0]), &Targets::of_labels(&[0], 2));
        let picks = select(&texts, one, 8, 1);
        assert!(picks.len() == 3 && picks.iter().all(|(place, _)| place / 2 != 1), "{picks:?}");
        assert!(select(&Features::default(), none, 3, 1).is_empty());
        assert!(select(&texts, none, 0, 1).is_empty());
    }

    #[test]
    fn distant_texts_are_picked_more_often_but_not_always_first() {
        // Ten near the example, one opposite.
        let degrees: Vec<f32> = (0..10).map(|text| 25.0 + text as f32).chain([180.0]).collect();
        let (texts, example) = (at(&degrees), at(&[0.0]));
        let mut picks = Picks::new(&texts, &example, 0);
        let all: Vec<usize> = (0..texts.len()).collect();
        let mut far = 0;
        for seed in 0..400 {
            picks = Picks::new(&texts, &example, seed);
            picks.draw(&all, 1, Purpose::Coverage);
            far += usize::from(picks.chosen[0].0 == 10);
        }
        // Weights of 1 - cos: 2 of 2 + 10 times about 0.135.
        assert!((200..280).contains(&far), "{far} {:?}", picks.chosen);
    }
}
