//! PromptMix, step 1: texts that belong α % to one class and the rest to another
//! (Sahu et al., EMNLP 2023, section 3.1), and texts of one class between them.

use rand::Rng as _;
use rand_distr::{Beta, Distribution};

use super::{
    Method, PromptContext, PromptRequest, examples, plain, requests_by_class,
    shown::{draw_near, draw_shown},
    wanted,
};
use crate::{
    prompt::{PromptError, shown_classes},
    rng::Rng,
};

/// Requests texts that mix two classes, and texts of one class in the share that `augment.mix`
/// leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixup;

impl Method for Mixup {
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError> {
        requests_by_class(context, "augment", round, missing, |(class, number), id, rng| {
            match is_mixed(context.settings.mix, number) && has_partner(context, class) {
                true => Mix::draw(context, class, rng).request(context, id, rng),
                false => plain::request(context, class, (round, number), id, rng),
            }
        })
    }

    fn supports_unique_per_text(&self) -> bool {
        true
    }
}

/// Whether request `number` of a class mixes, if a `share` of them does: the mixed ones are spread
/// evenly.
fn is_mixed(share: f64, number: usize) -> bool {
    let mixed_before = |requests: usize| (requests as f64 * share).ceil();
    mixed_before(number + 1) > mixed_before(number)
}

/// Whether there is another class to mix into `class`; none is mixed with the one that is none of
/// the others.
fn has_partner(context: &PromptContext<'_>, class: usize) -> bool {
    let task = context.task;
    task.none_of_these() != Some(class) && task.named_classes().any(|other| other != class)
}

/// The classes that one request mixes, and in what ratio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix {
    /// Classes in the prompt, in order.
    pub shown: Vec<usize>,
    pub major: usize,
    pub minor: usize,
    /// α in percent.
    pub percent: u8,
}

impl Mix {
    /// Draws the class that is mixed into `class`, the ratio and the other classes shown.
    pub(super) fn draw(context: &PromptContext<'_>, class: usize, rng: &mut Rng) -> Self {
        let shown = draw_shown(context, class, rng);
        let others: Vec<usize> = shown.iter().copied().filter(|other| *other != class).collect();
        let minor = match context.nearest.get(class) {
            None => others[rng.random_range(0..others.len())],
            Some(ranked) => draw_near(ranked, &others, rng),
        };
        let percent = draw_percent(context.settings.beta, rng);
        Self { shown, major: class, minor, percent }
    }

    /// The request `id` for texts of this mix.
    pub(super) fn request(
        &self,
        context: &PromptContext<'_>,
        id: String,
        rng: &mut Rng,
    ) -> Result<PromptRequest, PromptError> {
        let Self { shown, major, minor, percent } = self;
        let PromptContext { task, prompts, settings, .. } = *context;
        let classes = shown_classes(task, shown, |class| examples(context, class, rng));
        let place = |class| shown.iter().position(|shown| shown == class).unwrap_or_default();
        let wanted = wanted(context, rng);
        let pair = (place(major), place(minor));
        let percents = match settings.truncated_percent {
            true => truncated(*percent),
            false => (*percent, 100 - percent),
        };
        Ok(PromptRequest {
            id,
            prompt: prompts.mixup(settings.prompts, task, &classes, pair, percents, &wanted)?,
            shown: shown.clone(),
            major: *major,
            mix: Some((*minor, *percent)),
            near: None,
            count: wanted.count,
            seed: rng.random(),
        })
    }
}

/// α = 0.5 + 0.5·Beta(a, b) in percent, rounded to a multiple of 5.
fn draw_percent((a, b): (f64, f64), rng: &mut Rng) -> u8 {
    let beta = Beta::new(a, b).expect("validated settings have positive parameters");
    let alpha = 0.5 + 0.5 * beta.sample(rng);
    (alpha * 20.0).round() as u8 * 5
}

/// α and 1 - α in percent as the published code prints them: `int(alpha * 100)` and
/// `int((1 - alpha) * 100)` in binary floating point, which is sometimes one too low.
fn truncated(percent: u8) -> (u8, u8) {
    let alpha = f64::from(percent) / 100.0;
    ((alpha * 100.0) as u8, ((1.0 - alpha) * 100.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::sample::Sample;

    #[test]
    fn alpha_follows_the_paper() {
        let draws: Vec<f64> = (0..20_000)
            .map(|item| f64::from(draw_percent((5.0, 2.0), &mut Rng::for_item(1, "test", item))))
            .collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 85.7).abs() < 0.3, "mean {mean}");
        assert!(draws.iter().all(|p| *p >= 50.0 && *p <= 100.0 && p % 5.0 == 0.0));
        let count = |percent: f64| draws.iter().filter(|draw| **draw == percent).count();
        assert!(count(90.0) > count(80.0) && count(90.0) > count(95.0));
    }

    #[test]
    fn truncated_percentages_equal_those_of_python() {
        let minor = |percent| {
            let (major, minor) = truncated(percent);
            assert_eq!(major, percent);
            minor
        };
        let found: Vec<u8> = (50..=100).step_by(5).map(minor).collect();
        assert_eq!(found, [50, 44, 40, 35, 30, 25, 19, 15, 9, 5, 0]);
    }

    #[test]
    fn mixed_and_plain_requests_alternate_in_the_share_that_is_set() {
        let of = |share| (0..6).map(|number| is_mixed(share, number)).collect::<Vec<_>>();
        assert_eq!(of(0.5), [true, false, true, false, true, false]);
        assert_eq!((of(1.0), of(0.0)), (vec![true; 6], vec![false; 6]));

        let mut two = Sample::numbered(2);
        two.settings.mix = 0.5;
        let requests = Mixup.plan_round(&two.context(), 0, &[12, 3]).unwrap();
        let kind = |request: &PromptRequest| (request.major, request.mix.is_some());
        let found: Vec<(usize, bool)> = requests.iter().map(kind).collect();
        assert_eq!(found, [(0, true), (1, true), (0, false), (0, true), (0, false)]);
    }

    #[test]
    fn the_prompt_contains_both_percentages() {
        let mut two = Sample::numbered(2);
        let mix = Mix { shown: vec![1, 0], major: 0, minor: 1, percent: 55 };
        for (truncated, wanted) in [(false, "45%"), (true, "44%")] {
            two.settings.truncated_percent = truncated;
            let mut rng = Rng::for_item(1, "test", 0);
            let request = mix.request(&two.context(), "x".to_owned(), &mut rng).unwrap();
            let wanted = format!("55% to the class class 0 and {wanted} to the class class 1.");
            assert!(request.prompt.ends_with(&wanted), "{}", request.prompt);
            assert_eq!(request.mix, Some((1, 55)));
        }
    }

    /// How often each class is the partner in 20 000 mixes for class 0.
    fn partners(sample: &Sample) -> Vec<usize> {
        let mut times = vec![0; sample.task.classes.len()];
        for item in 0..20_000 {
            let mix = Mix::draw(&sample.context(), 0, &mut Rng::for_item(1, "test", item));
            assert!(mix.major == 0 && mix.shown.contains(&mix.minor));
            times[mix.minor] += 1;
        }
        times
    }

    #[test]
    fn near_classes_are_mixed_more_often_and_every_pair_can_occur() {
        // All three are shown, so the partner is drawn with the weights 1 and 1/2: 2 to 1.
        let mut three = Sample::numbered(3);
        three.nearest = vec![vec![2, 1], vec![0, 2], vec![0, 1]];
        let times = partners(&three);
        assert!(times[2].abs_diff(13_333) < 250 && times[1].abs_diff(6_667) < 250, "{times:?}");

        let mut many = Sample::numbered(9);
        let even = partners(&many);
        assert!(even[1..].iter().all(|count| count.abs_diff(2_500) < 200), "{even:?}");
        many.nearest = vec![(1..9).collect(); 9];
        let near = partners(&many);
        assert!(near[1..].is_sorted_by(|a, b| a > b) && near[8] > 100, "{near:?}");
    }
}
