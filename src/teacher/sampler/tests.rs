use super::*;

fn ln(shares: &[f32]) -> Vec<f32> {
    shares.iter().map(|share| share.ln()).collect()
}

/// How often each of four tokens with logits ln 0.4, 0.3, 0.2, 0.1 is drawn.
fn shares(sampling: Sampling, banned: &[i32], recent: &[i32]) -> Vec<f64> {
    let logits = ln(&[0.4, 0.3, 0.2, 0.1]);
    let mut counts = vec![0.0; 4];
    let mut rng = Rng::for_item(1, "test", 0);
    let mut sampler = Sampler::default();
    for _ in 0..20_000 {
        let row = LogitsRow { logits: &logits, banned, recent };
        counts[sampler.draw(&sampling, row, &mut rng).unwrap() as usize] += 1.0 / 20_000.0;
    }
    counts
}

fn close(found: &[f64], wanted: &[f64]) {
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 0.015, "{found} is not {wanted}");
    }
}

/// What leaves the model's probabilities as they are.
fn untouched() -> Sampling {
    Sampling { temperature: 1.0, ..Sampling::default() }
}

/// A row of `n` logits in the shape of a language model's: a few high ones, a long flat tail.
fn peaked(n: usize) -> Vec<f32> {
    let mut rng = Rng::for_item(3, "row", 0);
    (0..n).map(|_| -1.2 * (rng.random::<f32>() + 1e-7).ln() - 8.0).collect()
}

#[test]
fn draws_follow_the_distribution() {
    close(&shares(untouched(), &[], &[]), &[0.4, 0.3, 0.2, 0.1]);
}

#[test]
fn each_cut_keeps_what_it_should() {
    let base = untouched();
    let cut = |sampling| shares(sampling, &[], &[]);
    close(&cut(Sampling { top_k: 2, ..base }), &[4.0 / 7.0, 3.0 / 7.0, 0.0, 0.0]);
    close(&cut(Sampling { top_p: 0.6, ..base }), &[4.0 / 7.0, 3.0 / 7.0, 0.0, 0.0]);
    close(&cut(Sampling { min_p: 0.45, ..base }), &[4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0, 0.0]);
    close(&cut(Sampling { temperature: 0.0, ..base }), &[1.0, 0.0, 0.0, 0.0]);
    close(&shares(base, &[0, 3], &[]), &[0.0, 0.6, 0.4, 0.0]);
    // Top-p counts what top-k left: 0.4 of 0.9 is too little, 0.7 of 0.9 is enough.
    close(&cut(Sampling { top_k: 3, top_p: 0.7, ..base }), &[4.0 / 7.0, 3.0 / 7.0, 0.0, 0.0]);
}

#[test]
fn cuts_come_before_the_temperature() {
    // At temperature 0.5 the weights are 16 : 9 : 4 : 1, and 4 is not 0.45 of 16.
    let sampling = Sampling { min_p: 0.45, temperature: 0.5, ..untouched() };
    close(&shares(sampling, &[], &[]), &[16.0 / 29.0, 9.0 / 29.0, 4.0 / 29.0, 0.0]);
    let sampling = Sampling { temperature: 0.5, ..untouched() };
    close(&shares(sampling, &[], &[]), &[16.0 / 30.0, 9.0 / 30.0, 4.0 / 30.0, 1.0 / 30.0]);
}

#[test]
fn penalties_worked_by_hand() {
    let sampling = Sampling {
        repeat_penalty: 2.0,
        frequency_penalty: 0.5,
        presence_penalty: 0.25,
        ..untouched()
    };
    assert_eq!(sampling.penalise(3.0, 2), 3.0 / 2.0 - 2.0 * 0.5 - 0.25);
    assert_eq!(sampling.penalise(-1.0, 1), -2.0 - 0.5 - 0.25);

    // Each occurrence of the first token halves its weight: 0.1, 0.3, 0.2, 0.1.
    let halve = Sampling { frequency_penalty: 2f32.ln(), ..untouched() };
    close(&shares(halve, &[], &[0, 0]), &[1.0 / 7.0, 3.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0]);
    // Only the last token is recent, the first two are forgotten.
    let halve = Sampling { presence_penalty: 2f32.ln(), penalty_window: 1, ..untouched() };
    close(&shares(halve, &[], &[0, 0, 3]), &[8.0 / 19.0, 6.0 / 19.0, 4.0 / 19.0, 1.0 / 19.0]);
}

#[test]
fn draws_from_fifty_thousand_tokens_follow_the_distribution() {
    const GROUPS: usize = 8;
    let logits = peaked(50_001);
    let softmax = |keep: &dyn Fn(f32) -> bool| -> Vec<f64> {
        let weights: Vec<f64> = logits
            .iter()
            .map(|&logit| if keep(logit) { f64::from(logit).exp() } else { 0.0 })
            .collect();
        let total: f64 = weights.iter().sum();
        // Groups that cut across the chunks; the odd last token belongs to the last one.
        let mut groups = vec![0.0; GROUPS];
        for (token, weight) in weights.iter().enumerate() {
            groups[token % GROUPS] += weight / total;
        }
        groups
    };
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sorted = logits.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let base = untouched();
    for (sampling, keep) in [
        (base, &(|_| true) as &dyn Fn(f32) -> bool),
        (Sampling { min_p: 0.01, ..base }, &|logit| logit >= top + 0.01f32.ln()),
        (Sampling { top_k: 500, ..base }, &|logit| logit >= sorted[499]),
        (Sampling { top_k: 30_000, ..base }, &|logit| logit >= sorted[29_999]),
    ] {
        let mut sampler = Sampler::default();
        let mut rng = Rng::for_item(2, "test", 0);
        let mut counts = [0.0; GROUPS];
        let draws = 4000.0;
        for _ in 0..draws as usize {
            let row = LogitsRow { logits: &logits, banned: &[], recent: &[] };
            let token = sampler.draw(&sampling, row, &mut rng).unwrap();
            assert!(keep(logits[token as usize]));
            counts[token as usize % GROUPS] += 1.0;
        }
        let chi: f64 = counts
            .iter()
            .zip(softmax(keep))
            .filter(|(_, share)| *share > 0.0)
            .map(|(count, share)| (count - draws * share).powi(2) / (draws * share))
            .sum();
        // The 99.9th percentile at 7 degrees of freedom is 24.3.
        assert!(chi < 24.3, "{sampling:?}: {chi}");
    }
}

#[test]
fn the_nucleus_is_the_smallest_set_that_reaches_the_sum() {
    let logits = peaked(5000);
    let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let mut sorted = logits.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    for top_p in [0.3, 0.9, 0.999] {
        let mut mass = 0.0;
        let wanted = sorted
            .iter()
            .position(|&logit| {
                mass += f64::from(logit).exp() / total;
                mass >= f64::from(top_p)
            })
            .unwrap();
        let mut sampler = Sampler::default();
        let sampling = Sampling { top_p, ..untouched() };
        sampler.load(&sampling, LogitsRow { logits: &logits, banned: &[], recent: &[] });
        sampler.build_pool(&sampling);
        assert!(
            sampler.candidates.len().abs_diff(wanted + 1) <= 1,
            "{} {wanted}",
            sampler.candidates.len()
        );
    }
}

#[test]
fn nan_is_never_drawn() {
    let mut logits = vec![f32::NAN; 300];
    let samplings = [
        untouched(),
        Sampling { temperature: 0.0, ..untouched() },
        Sampling { min_p: 0.1, ..untouched() },
        Sampling { top_k: 7, ..untouched() },
        Sampling { top_p: 0.9, ..untouched() },
    ];
    let draw = |sampling: &Sampling, logits: &[f32], banned: &[i32], seed| {
        let mut rng = Rng::for_item(seed, "test", 0);
        let row = LogitsRow { logits, banned, recent: &[] };
        let token = Sampler::default().draw(sampling, row, &mut rng);
        // One number is taken in every case.
        let mut other = Rng::for_item(seed, "test", 0);
        let _: f64 = other.random();
        assert_eq!(rng.random::<u64>(), other.random::<u64>());
        token
    };
    for sampling in &samplings {
        assert_eq!(draw(sampling, &logits, &[], 0), None);
        assert_eq!(draw(sampling, &[], &[], 0), None);
    }
    (logits[20], logits[290], logits[291]) = (1.0, f32::NEG_INFINITY, -1.0);
    for sampling in &samplings {
        for seed in 0..200 {
            assert!(matches!(draw(sampling, &logits, &[], seed), Some(20 | 291)));
            assert_eq!(draw(sampling, &logits, &[20, 5000], seed), Some(291));
            assert_eq!(draw(sampling, &logits, &[20, 21, 291], seed), None);
        }
    }
}

#[test]
fn temperature_zero_takes_the_first_of_equals() {
    let sampling = Sampling { temperature: 0.0, ..untouched() };
    let mut logits = vec![0.0; 1000];
    (logits[900], logits[700], logits[701]) = (2.0, 2.0, 2.0);
    let mut rng = Rng::for_item(1, "test", 0);
    let mut draw = |banned: &[i32]| {
        let row = LogitsRow { logits: &logits, banned, recent: &[] };
        Sampler::default().draw(&sampling, row, &mut rng)
    };
    assert_eq!((draw(&[]), draw(&[700]), draw(&[700, 701])), (Some(700), Some(701), Some(900)));
    assert_eq!(draw(&[700, 701, 900]), Some(0));
}

/// How often each token is drawn under a constraint that accepts the tokens for which `accepts`
/// holds.
fn constrained(sampling: &Sampling, logits: &[f32], accepts: &dyn Fn(i32) -> bool) -> Vec<f64> {
    let mask = |row: &mut [f32]| {
        for (token, logit) in row.iter_mut().enumerate() {
            if !accepts(token as i32) {
                *logit = f32::NEG_INFINITY;
            }
        }
    };
    let constraint = Constraint { accepts, mask: &mask };
    let mut sampler = Sampler::default();
    let mut rng = Rng::for_item(4, "test", 0);
    let mut counts = vec![0.0; logits.len()];
    for _ in 0..20_000 {
        let row = LogitsRow { logits, banned: &[], recent: &[] };
        let token = sampler.draw_with(sampling, row, &constraint, &mut rng).unwrap();
        counts[token as usize] += 1.0 / 20_000.0;
    }
    counts
}

#[test]
fn a_refusal_leaves_the_others_as_probable_as_they_were() {
    let logits = ln(&[0.4, 0.3, 0.2, 0.1]);
    let base = untouched();
    let not_first = |token: i32| token != 0;
    close(&constrained(&base, &logits, &not_first), &[0.0, 3.0 / 6.0, 2.0 / 6.0, 1.0 / 6.0]);
    // Top-k keeps the first three of four, the constraint the last three.
    let cut = Sampling { top_k: 3, ..base };
    close(&constrained(&cut, &logits, &not_first), &[0.0, 3.0 / 5.0, 2.0 / 5.0, 0.0]);
    // The cut keeps nothing that the constraint accepts, so the constraint is applied first.
    let cut = Sampling { top_k: 1, ..base };
    close(&constrained(&cut, &logits, &not_first), &[0.0, 1.0, 0.0, 0.0]);
    let greedy = Sampling { temperature: 0.0, ..base };
    close(&constrained(&greedy, &logits, &|token| token > 1), &[0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn the_whole_row_is_masked_when_single_tokens_are_refused() {
    // The last two of 200 tokens, 2 : 1, hidden below others of far greater weight.
    let mut logits = vec![200.0; 200];
    (logits[198], logits[199]) = (2f32.ln(), 0.0);
    for sampling in [untouched(), Sampling { min_p: 0.5, ..untouched() }] {
        let found = constrained(&sampling, &logits, &|token| token >= 198);
        close(&found[198..], &[2.0 / 3.0, 1.0 / 3.0]);
    }
    // A single refusal leaves no weight at all on the old scale.
    close(&constrained(&untouched(), &logits[197..], &|token| token > 0), &[0.0, 0.667, 0.333]);
}
