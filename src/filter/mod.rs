//! Removes from the training set: duplicates, near-duplicates, copies of seeds, and texts of the
//! test set. Dropped texts are recorded with the reason. [`junk`] judges texts as they are written.

pub(crate) mod junk;
mod near_duplicates;

use std::collections::{HashMap, HashSet};

use crate::{
    config::FilterSettings,
    dataset::{DropReason, DroppedText, RelabelledText, canonical},
    task::LabelledText,
};
use near_duplicates::{NearDuplicates, Vocabulary};

/// Splits `rows` into those to train on and those to drop, in order. A row that a person edited is
/// dropped only if it equals a seed, a test text or another row of a person.
pub(crate) fn apply(
    rows: Vec<RelabelledText>,
    seeds: &[LabelledText],
    test: &[LabelledText],
    settings: &FilterSettings,
) -> (Vec<RelabelledText>, Vec<DroppedText>) {
    let seeds: HashSet<String> = seeds.iter().map(|seed| canonical(&seed.text)).collect();
    let test: HashSet<String> = test.iter().map(|item| canonical(&item.text)).collect();
    let mut seen = HashSet::new();
    let texts: Vec<String> = rows.iter().map(|row| canonical(&row.augmented.text)).collect();
    let vocabulary = Vocabulary::of(texts.iter().map(String::as_str));
    let mut by_label: HashMap<String, NearDuplicates> = HashMap::new();
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    let mut rows: Vec<(usize, (RelabelledText, String))> =
        rows.into_iter().zip(texts).enumerate().collect();
    // Those of a person come first: of two texts that are alike, theirs is kept.
    rows.sort_by_key(|(_, (row, _))| row.augmented.by.is_none());
    for (place, (row, key)) in rows {
        let is_persons = row.augmented.by.is_some();
        let words = vocabulary.words(&key);
        let new = || NearDuplicates::new(settings.rouge_l);
        let earlier = by_label.entry(row.relabel.clone()).or_insert_with(new);
        let reason = if test.contains(&key) {
            Some(DropReason::LeakFromTest)
        } else if seeds.contains(&key) {
            Some(DropReason::CopyOfSeed)
        } else if seen.contains(&key) {
            Some(DropReason::Duplicate)
        } else if is_persons {
            None
        } else if row.p < settings.min_probability {
            Some(DropReason::LowConfidence)
        } else if earlier.has_like(&words) {
            Some(DropReason::NearDuplicate)
        } else {
            None
        };
        match reason {
            Some(reason) => dropped.push((place, DroppedText { row, dropped: reason })),
            None => {
                seen.insert(key);
                earlier.add(words);
                kept.push((place, row));
            }
        }
    }
    (in_order(kept), in_order(dropped))
}

fn in_order<R>(mut rows: Vec<(usize, R)>) -> Vec<R> {
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// ROUGE-L F1 = 2·LCS / (|a| + |b|) of two word lists, one of which has words (Lin 2004, with
/// β = 1).
pub(crate) fn rouge_l<W: PartialEq>(a: &[W], b: &[W]) -> f64 {
    2.0 * longest_common_subsequence(a, b) as f64 / (a.len() + b.len()) as f64
}

fn longest_common_subsequence<W: PartialEq>(a: &[W], b: &[W]) -> usize {
    let mut row = vec![0usize; b.len() + 1];
    for left in a {
        let mut diagonal = 0;
        for (column, right) in b.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = if left == right { diagonal + 1 } else { above.max(row[column]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::AugmentedText;

    fn row(text: &str, relabel: &str, p: f32) -> RelabelledText {
        let augmented =
            AugmentedText { text: text.into(), major: relabel.into(), ..AugmentedText::default() };
        RelabelledText { augmented, relabel: relabel.into(), p, probabilities: Vec::new() }
    }

    #[test]
    fn each_reason_applies() {
        let seeds = [LabelledText { text: "My card, lost!".into(), label: 0 }];
        let test = [LabelledText { text: "Where is it?".into(), label: 1 }];
        let rows = vec![
            row("my card lost", "a", 1.0),
            row("where is IT", "a", 1.0),
            row("the quick brown fox jumps over the dog", "a", 1.0),
            row("The quick brown fox jumps over the dog!", "b", 1.0),
            row("the quick brown fox jumps over a dog", "a", 1.0),
            row("the quick brown fox jumps over a dog", "b", 1.0),
            row("unsure", "a", 0.2),
        ];
        let settings = FilterSettings { min_probability: 0.5, ..FilterSettings::default() };
        let (kept, dropped) = apply(rows, &seeds, &test, &settings);
        let reasons: Vec<DropReason> = dropped.iter().map(|row| row.dropped).collect();
        assert_eq!(
            reasons,
            [
                DropReason::CopyOfSeed,
                DropReason::LeakFromTest,
                DropReason::Duplicate,
                DropReason::NearDuplicate,
                DropReason::LowConfidence
            ]
        );
        assert_eq!(kept.len(), 2, "a near-duplicate with another label is kept: {kept:?}");
    }

    #[test]
    fn rouge_l_by_hand() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (a, b) = (words("a b c d"), words("a c d e f"));
        assert_eq!(longest_common_subsequence(&a, &b), 3);
        assert_eq!(rouge_l(&a, &b), 6.0 / 9.0);
    }
}
