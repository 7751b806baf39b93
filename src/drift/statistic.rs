//! What is compared about two sets of texts, as a number that grows with their difference.
//!
//! A statistic is computed from the pooled texts, reference first, and a mark for each of those
//! that count as new, so that it can be computed for any other split as well.

use super::Measure;

/// What is compared.
#[derive(Debug)]
pub(super) enum Statistic {
    /// The class of each text, and their number: Pearson's chi-square of the table of counts of
    /// two rows, sum of (observed - expected)² / expected.
    Shares { class: Vec<u32>, classes: usize },
    /// The texts in the order of their values, each with whether the next one has another value:
    /// the largest distance of the two distribution functions (Kolmogorov-Smirnov).
    Distribution(Vec<(u32, bool)>),
    /// A part and a whole of each text: the distance of the two shares of all parts in all wholes.
    Ratio { parts: Vec<u32>, wholes: Vec<u32> },
}

/// A measure with its statistic over the pooled texts.
pub(super) struct Column {
    pub measure: Measure,
    pub statistic: Statistic,
    /// Means of the reference and the new texts.
    pub means: Option<(f64, f64)>,
}

impl Column {
    /// Predicted classes.
    pub(super) fn classes(old: &[u32], new: &[u32]) -> Self {
        let class = [old, new].concat();
        let classes = class.iter().max().map_or(0, |&class| class as usize + 1);
        let statistic = Statistic::Shares { class, classes };
        Self { measure: Measure::Classes, statistic, means: None }
    }

    /// A number of each text.
    pub(super) fn values(measure: Measure, old: &[f32], new: &[f32]) -> Self {
        let pooled = [old, new].concat();
        let mut order: Vec<u32> = (0..pooled.len() as u32).collect();
        let value = |at: u32| pooled[at as usize];
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        let ends = |(rank, &at): (usize, &u32)| {
            (at, order.get(rank + 1).is_none_or(|&next| value(next) != value(at)))
        };
        let statistic = Statistic::Distribution(order.iter().enumerate().map(ends).collect());
        let mean = |values: &[f32]| {
            values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64
        };
        Self { measure, statistic, means: Some((mean(old), mean(new))) }
    }

    /// Unknown tokens of all tokens, each `(unknown, tokens)`.
    pub(super) fn unknown_tokens(old: (&[u32], &[u32]), new: (&[u32], &[u32])) -> Self {
        let parts = [old.0, new.0].concat();
        let wholes = [old.1, new.1].concat();
        let all = |counts: &[u32]| counts.iter().map(|&count| u64::from(count)).sum();
        let share = |(unknown, tokens)| ratio(all(unknown), all(tokens));
        let means = Some((share(old), share(new)));
        let statistic = Statistic::Ratio { parts, wholes };
        Self { measure: Measure::UnknownTokens, statistic, means }
    }
}

impl Statistic {
    /// Number of pooled texts.
    pub(super) fn texts(&self) -> usize {
        match self {
            Self::Shares { class, .. } => class.len(),
            Self::Distribution(order) => order.len(),
            Self::Ratio { parts, .. } => parts.len(),
        }
    }

    /// Its value where the texts that are marked in `new`, of which there are `count`, are the new
    /// ones.
    pub(super) fn of(&self, new: &[bool], count: usize) -> f64 {
        match self {
            Self::Shares { class, classes } => chi_square(class, *classes, new, count),
            Self::Distribution(order) => distance(order, new, count),
            Self::Ratio { parts, wholes } => {
                // [reference, new]
                let (mut part, mut whole) = ([0_u64; 2], [0_u64; 2]);
                for ((&new, &one), &all) in new.iter().zip(parts).zip(wholes) {
                    part[usize::from(new)] += u64::from(one);
                    whole[usize::from(new)] += u64::from(all);
                }
                (ratio(part[1], whole[1]) - ratio(part[0], whole[0])).abs()
            }
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn chi_square(class: &[u32], classes: usize, new: &[bool], count: usize) -> f64 {
    let (mut all, mut of_new) = (vec![0_u32; classes], vec![0_u32; classes]);
    for (&class, &new) in class.iter().zip(new) {
        all[class as usize] += 1;
        of_new[class as usize] += u32::from(new);
    }
    let share = count as f64 / class.len() as f64;
    // For a table of two rows the sum over both is that over one, divided by the other's share.
    let terms = all.into_iter().zip(of_new).filter(|(all, _)| *all > 0).map(|(all, new)| {
        let expected = f64::from(all) * share;
        (f64::from(new) - expected).powi(2) / expected
    });
    terms.sum::<f64>() / (1.0 - share)
}

fn distance(order: &[(u32, bool)], new: &[bool], count: usize) -> f64 {
    let old = order.len() - count;
    // In units of 1 / (old · count), which are whole numbers.
    let (mut level, mut most) = (0_i64, 0_i64);
    for &(at, ends) in order {
        level += if new[at as usize] { old as i64 } else { -(count as i64) };
        if ends {
            most = most.max(level.abs());
        }
    }
    most as f64 / (old as f64 * count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a column whose last `count` texts are the new ones.
    fn value(column: &Column, texts: usize, count: usize) -> f64 {
        let new: Vec<bool> = (0..texts).map(|at| at >= texts - count).collect();
        column.statistic.of(&new, count)
    }

    #[test]
    fn chi_square_by_hand() {
        // Counts (3, 1) and (1, 3): expected 2 everywhere, 4 · 1²/2 = 2. A class without texts
        // counts nothing.
        let column = Column::classes(&[0, 0, 0, 3], &[0, 3, 3, 3]);
        assert!((value(&column, 8, 4) - 2.0).abs() < 1e-12);
        // Counts (2, 2, 0) and (0, 1, 1): expected (4/3, 2, 2/3) and (2/3, 1, 1/3).
        let column = Column::classes(&[0, 0, 1, 1], &[1, 2]);
        let expected = (4.0 / 9.0) * (3.0 / 4.0 + 3.0 / 2.0 + 3.0 / 2.0 + 3.0);
        assert!((value(&column, 6, 2) - expected).abs() < 1e-12);
    }

    #[test]
    fn distances_of_distributions_by_hand() {
        let column = |old: &[f32], new: &[f32]| {
            let column = Column::values(Measure::Length, old, new);
            value(&column, old.len() + new.len(), new.len())
        };
        assert_eq!(column(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        // At 1: 1/2 against 1/4; at 2: 1/2 against 2/4; at 3: 2/2 against 2/4.
        assert_eq!(column(&[1.0, 3.0], &[1.0, 2.0, 4.0, 4.0]), 0.5);
        // Ties alone are no difference, in whatever order.
        assert_eq!(column(&[2.0; 5], &[2.0; 3]), 0.0);
    }

    #[test]
    fn unknown_tokens_by_hand() {
        let column = Column::unknown_tokens((&[0, 1], &[6, 4]), (&[2, 0], &[5, 0]));
        assert_eq!(column.means, Some((0.1, 0.4)));
        assert!((value(&column, 4, 2) - 0.3).abs() < 1e-12);
        let none = Column::unknown_tokens((&[0], &[0]), (&[0], &[0]));
        assert_eq!(value(&none, 2, 1), 0.0);
    }
}
