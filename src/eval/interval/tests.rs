//! Cases calculated by hand, and small ones compared with an enumeration of all resamples.

use super::*;
use crate::hint::Hint as _;

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected} ± {within}");
}

/// `hits` correct answers, then wrong ones.
fn answers(hits: usize, rows: usize) -> Vec<bool> {
    (0..rows).map(|row| row < hits).collect()
}

#[test]
fn wilson_agrees_with_published_values() {
    // 8 of 10: 0.4902 to 0.9433 (Newcombe 1998, method 3).
    let interval = accuracy_interval(&[answers(8, 10)]).unwrap();
    close(interval.mean, 0.8, 1e-12);
    close(interval.low, 0.4902, 5e-5);
    close(interval.high, 0.9433, 5e-5);
    assert_eq!(wilson(10, 10).high, 1.0);
    assert_eq!(wilson(0, 10).low, 0.0);
}

#[test]
fn identical_seeds_leave_only_the_variance_of_the_texts() {
    // Identical seeds: a binomial with p = 0.8, n = 100, standard error 0.04.
    let one = answers(80, 100);
    let interval = accuracy_interval(&[one.clone(), one.clone(), one]).unwrap();
    close(interval.mean, 0.8, 1e-12);
    close(interval.low, 0.72, 0.011);
    close(interval.high, 0.87, 0.011);
}

#[test]
fn seeds_that_differ_widen_the_interval() {
    let agree = accuracy_interval(&vec![answers(160, 200); 3]).unwrap();
    let differ =
        accuracy_interval(&[answers(120, 200), answers(160, 200), answers(200, 200)]).unwrap();
    close(differ.mean, 0.8, 1e-12);
    assert!(differ.high - differ.low > 1.5 * (agree.high - agree.low), "{differ:?} {agree:?}");
}

#[test]
fn perfect_scores_still_have_an_interval() {
    let interval = accuracy_interval(&vec![answers(20, 20); 3]).unwrap();
    assert_eq!((interval.mean, interval.high), (1.0, 1.0));
    close(interval.low, 0.8389, 5e-5);
}

#[test]
fn pairing_shows_a_difference_that_overlapping_intervals_hide() {
    // b is a with 8 of 100 answers made wrong: the intervals overlap, the difference is clear.
    let (a, b) = (vec![answers(80, 100); 2], vec![answers(72, 100); 2]);
    let difference = paired_difference(&a, &b).unwrap();
    close(difference.mean, 0.08, 1e-12);
    assert!(difference.low > 0.02 && difference.high < 0.15, "{difference:?}");
    assert!(accuracy_interval(&a).unwrap().low < accuracy_interval(&b).unwrap().high);
    assert!(!difference.includes_zero());
    let same = paired_difference(&a, &a).unwrap();
    assert_eq!(same, Interval::new(0.0, 0.0, 0.0));
    assert!(same.includes_zero());
}

#[test]
fn a_difference_of_chance_includes_zero() {
    let a: Vec<bool> = (0..60).map(|row| row % 3 != 0).collect();
    let b: Vec<bool> = (0..60).map(|row| row % 3 != 1 || row == 1).collect();
    let difference = paired_difference(&[a], &[b]).unwrap();
    close(difference.mean, -1.0 / 60.0, 1e-12);
    assert!(difference.includes_zero(), "{difference:?}");
    assert_eq!(difference.negated().low, -difference.high);
}

/// The means of all resamples of `scores`, all equally likely: `seeds^seeds · rows^rows`.
fn all_means(scores: &[Vec<i32>]) -> Vec<f64> {
    let (seeds, rows) = (scores.len(), scores[0].len());
    // All lists of `length` numbers below `length`.
    let lists = |length: usize| {
        (0..length.pow(length as u32))
            .map(move |code| (0..length).map(move |at| code / length.pow(at as u32) % length))
    };
    let mut means = Vec::new();
    for drawn_seeds in lists(seeds) {
        for drawn_rows in lists(rows) {
            let sum: i32 = drawn_seeds
                .clone()
                .flat_map(|seed| drawn_rows.clone().map(move |row| scores[seed][row]))
                .sum();
            means.push(f64::from(sum) / (seeds * rows) as f64);
        }
    }
    means.sort_by(f64::total_cmp);
    means
}

/// The share of `means` that equal `value`.
fn share(means: &[f64], value: f64) -> f64 {
    let equal = means.iter().filter(|mean| (**mean - value).abs() < 1e-9).count();
    equal as f64 / means.len() as f64
}

#[test]
fn two_seeds_and_two_texts_by_hand() {
    // One of four answers is a win. Of the draws of seeds, one in four takes the first seed twice
    // and two in four take both; of the draws of texts, one in four takes the first text twice and
    // two in four take both. So of 16 resamples 1 has the mean 4/4, 2 + 2 have 2/4, 4 have 1/4, and
    // 7 have 0.
    let scores = [vec![1, 0], vec![0, 0]];
    let all = all_means(&scores);
    assert_eq!(all.len(), 16);
    let drawn = means(&scores, "test");
    for (value, sixteenths) in [(1.0, 1.0), (0.5, 4.0), (0.25, 4.0), (0.0, 7.0)] {
        close(share(&all, value), sixteenths / 16.0, 1e-12);
        // Four standard errors of 10,000 draws.
        close(share(&drawn, value), sixteenths / 16.0, 0.02);
    }
    // The 2.5 % quantiles fall into the first and the last of these.
    let interval = resample(&scores, "test");
    assert_eq!(interval, Interval::new(0.25, 0.0, 1.0));
}

#[test]
fn small_cases_agree_with_the_enumeration_of_all_resamples() {
    let cases: [&[&[i32]]; 4] = [
        &[&[1, 0, -1], &[1, 1, 0]],
        &[&[1, 1, 0], &[0, 0, -1]],
        &[&[1, 0, 0], &[0, 1, 0], &[-1, 1, 1]],
        &[&[1, 0, 1, 0]],
    ];
    for case in cases {
        let scores: Vec<Vec<i32>> = case.iter().map(|seed| seed.to_vec()).collect();
        let (all, drawn) = (all_means(&scores), means(&scores, "eval/difference"));
        let mut values = all.clone();
        values.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        for &value in &values {
            let exact = share(&all, value);
            let error = (exact * (1.0 - exact) / DRAWS as f64).sqrt();
            close(share(&drawn, value), exact, 4.0 * error + 1e-9);
        }
        // If an exact quantile is well inside the mass of a value, the drawn one is that value.
        let interval = resample(&scores, "eval/difference");
        let mut below = 0.0;
        for &value in &values {
            let upto = below + share(&all, value);
            for (end, found) in [(0.025, interval.low), (0.975, interval.high)] {
                if below + 0.006 < end && end < upto - 0.006 {
                    close(found, value, 1e-9);
                }
            }
            below = upto;
        }
        close(below, 1.0, 1e-9);
    }
}

#[test]
fn with_one_seed_only_the_texts_vary() {
    // Three texts score 1, 0 and -1: 1 of 27 resamples (3.7 %) has only the first, 1 only the last.
    let interval = paired_difference(&[vec![true, true, false]], &[vec![false, true, true]]);
    let interval = interval.unwrap();
    assert_eq!((interval.mean, interval.low, interval.high), (0.0, -1.0, 1.0));
    assert!(interval.includes_zero());
    // A second seed with the same answers changes nothing.
    let scores = vec![1, 0, 0, 1];
    let (one, two) =
        (all_means(std::slice::from_ref(&scores)), means(&[scores.clone(), scores], "test"));
    for value in [0.0, 0.25, 0.5, 0.75, 1.0] {
        close(share(&two, value), share(&one, value), 0.02);
    }
}

#[test]
fn constant_differences_have_no_width() {
    let (right, wrong) = (vec![vec![true; 5]; 2], vec![vec![false; 5]; 2]);
    let same = paired_difference(&right, &right).unwrap();
    assert_eq!(same, Interval::new(0.0, 0.0, 0.0));
    let all = paired_difference(&right, &wrong).unwrap();
    assert_eq!(all, Interval::new(1.0, 1.0, 1.0));
}

#[test]
fn texts_that_are_hard_for_both_cancel_out() {
    // Sixty of a hundred texts are easy, forty hard for both; a has four of the hard ones right.
    let a: Vec<bool> = (0..100).map(|row| row < 64).collect();
    let b: Vec<bool> = (0..100).map(|row| row < 60).collect();
    // The same score from other texts: nothing cancels.
    let elsewhere: Vec<bool> = (0..100).map(|row| row >= 40).collect();
    let width = |interval: Interval| interval.high - interval.low;
    let paired = width(paired_difference(std::slice::from_ref(&a), &[b]).unwrap());
    let unpaired = width(paired_difference(&[a], &[elsewhere]).unwrap());
    // Standard errors: sqrt(0.04 · 0.96 / 100) = 0.0196 and sqrt((0.76 - 0.04²) / 100) = 0.0871.
    close(paired, 2.0 * Z * 0.0196, 0.012);
    close(unpaired, 2.0 * Z * 0.0871, 0.03);
}

#[test]
fn four_wins_without_a_loss_exclude_zero() {
    // No win is drawn in 0.97^100 = 4.8 % of the resamples with three, 0.96^100 = 1.7 % with four.
    let loses = [answers(0, 100)];
    let three = paired_difference(&[answers(3, 100)], &loses).unwrap();
    let four = paired_difference(&[answers(4, 100)], &loses).unwrap();
    assert!(three.includes_zero() && !four.includes_zero(), "{three:?} {four:?}");
}

#[test]
fn one_set_of_answers_is_compared_with_every_seed() {
    let students = [answers(50, 60), answers(40, 60), answers(45, 60)];
    let teacher = [answers(30, 60)];
    let repeated = vec![teacher[0].clone(); 3];
    let found = accuracy_difference(&students, &teacher).unwrap();
    assert_eq!(found, paired_difference(&students, &repeated).unwrap());
    let turned = accuracy_difference(&teacher, &students).unwrap();
    assert_eq!(turned, paired_difference(&repeated, &students).unwrap());
    close(turned.mean, -found.mean, 1e-12);
    assert_eq!(accuracy_difference(&teacher, &teacher).unwrap().high, 0.0);
    assert!(accuracy_difference(&students, &students[..2]).is_err());
    assert!(accuracy_difference(&students, &[]).is_err());
}

#[test]
fn the_macro_f1_interval_contains_the_score_itself() {
    let gold: Vec<usize> = (0..120).map(|row| row % 3).collect();
    let guess: Vec<usize> = (0..120).map(|row| if row % 10 == 0 { 0 } else { row % 3 }).collect();
    let mut tally = Tally::new(3);
    gold.iter().zip(&guess).for_each(|(&gold, &guess)| tally.add(gold, guess, 1));
    let whole = tally.macro_f1();
    let interval = macro_f1_interval(&gold, &[guess.clone(), guess], 3).unwrap();
    close(interval.mean, whole, 1e-12);
    assert!(interval.low < whole && whole < interval.high);
    assert!(interval.high - interval.low < 0.16, "{interval:?}");
}

#[test]
fn the_same_predictions_give_the_same_interval() {
    let correct = [answers(50, 70), answers(40, 70)];
    assert_eq!(accuracy_interval(&correct), accuracy_interval(&correct));
}

#[test]
fn shapes_are_checked() {
    assert!(matches!(accuracy_interval(&[]), Err(EvalError::Empty { .. })));
    assert!(matches!(accuracy_interval(&[vec![]]), Err(EvalError::Empty { .. })));
    let ragged = [answers(1, 2), answers(1, 3)];
    assert!(matches!(accuracy_interval(&ragged), Err(EvalError::Length { left: 2, right: 3, .. })));
    assert!(paired_difference(&[answers(1, 2)], &[answers(1, 3)]).is_err());
    assert!(macro_f1_interval(&[0, 5], &[vec![0, 1]], 2).is_err());
    assert!(matches!(
        macro_f1_interval(&[], &[vec![]], 2),
        Err(EvalError::Empty { what: "test row" })
    ));
}

#[test]
fn errors_name_the_row_and_help() {
    let error = macro_f1_interval(&[0, 1], &[vec![0, 2]], 2).unwrap_err();
    assert!(error.to_string().contains("row 1 of predicted has class 2"), "{error}");
    assert!(error.hint().unwrap().contains("the same task"));
    let error = macro_f1_interval(&[0], &[vec![0, 1]], 2).unwrap_err();
    assert!(error.to_string().contains("differs: 1 and 2"), "{error}");
    assert!(error.hint().unwrap().contains("every row"));
}

#[test]
fn one_training_seed_shows_no_difference() {
    let interval = Interval::new(0.2, 0.1, 0.3);
    assert!(interval.shows_difference());
    let of_one_seed = Interval { one_seed: true, ..interval };
    assert!(!of_one_seed.shows_difference() && !of_one_seed.negated().shows_difference());
    assert!(of_one_seed.not_shown().contains("one training seed"));
    assert!(!Interval::new(0.1, 0.0, 0.2).shows_difference());
    let json = serde_json::to_value(of_one_seed).unwrap();
    assert_eq!(json["one_seed"], true);
    assert_eq!(serde_json::to_value(interval).unwrap().get("one_seed"), None);
    assert_eq!(serde_json::from_value::<Interval>(json).unwrap(), of_one_seed);
}
