//! Signs that a teacher is not fit for the task, in words: what a run or a report warns of.

use super::Report;
use crate::eval::wilson;

/// From this share of junk on, a teacher is named: one text in five cost its tokens for nothing.
const MUCH_JUNK: f64 = 0.2;
/// From this share of changed labels on, relabelling is named: the teacher then disagrees with its
/// own texts more often than it agrees.
const MUCH_CHANGED: f64 = 0.5;
/// The interval of such a share must lie above this part of it: 2 of 2 texts tell, 1 of 1 does not.
const SURE: f64 = 0.5;

/// What helps if a teacher writes junk or contradicts itself.
pub(crate) const HINT: &str =
    "try a larger or instruction-tuned teacher: `promptmix models list` names some";

/// A sentence if many of `parsed` texts were `junk`.
pub(crate) fn junk_warning(junk: u64, parsed: u64) -> Option<String> {
    let share = share_of_at_least(MUCH_JUNK, junk, parsed)?;
    Some(format!(
        "{junk} of {parsed} texts ({:.0} %) that the teacher wrote were junk; see `junk.jsonl` for the reasons. A teacher that ignores the format often misses the content too: read some of the texts that were kept",
        100.0 * share
    ))
}

/// A sentence if the labels of many of `total` texts were `changed`.
pub(crate) fn relabel_warning(changed: u64, total: u64) -> Option<String> {
    let share = share_of_at_least(MUCH_CHANGED, changed, total)?;
    Some(format!(
        "relabelling changed {changed} of {total} labels ({:.0} %): the teacher disagrees with the classes it was asked to write for, so the texts or the labels are wrong. Compare A1, before relabelling, with A2, and read some of the texts",
        100.0 * share
    ))
}

/// The warnings that follow from what stands in `report`.
pub(crate) fn warnings(report: &Report) -> Vec<String> {
    let relabel = report.relabel.as_ref();
    [
        report.teacher_check.and_then(|check| check.warning()),
        junk_warning(report.funnel.junk.values().sum(), report.funnel.parsed),
        relabel.and_then(|relabel| relabel_warning(relabel.changed, relabel.total)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The share `part` of `of` if it is at least `much`, and too many texts for chance.
fn share_of_at_least(much: f64, part: u64, of: u64) -> Option<f64> {
    let share = wilson(usize::try_from(part).ok()?, usize::try_from(of).ok()?);
    (share.mean >= much && share.low > SURE * much).then_some(share.mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_shares_are_named_and_low_ones_are_not() {
        assert_eq!(junk_warning(59, 300), None);
        assert!(junk_warning(60, 300).unwrap().starts_with("60 of 300 texts (20 %)"));
        assert!(junk_warning(9, 9).is_some());
        assert_eq!(junk_warning(1, 3), None, "too few to tell");
        assert_eq!(relabel_warning(0, 0), None);
        assert_eq!(relabel_warning(49, 100), None);
        assert_eq!(relabel_warning(1, 1), None, "too few to tell");
        assert_eq!(relabel_warning(3, 5), None, "too few to tell");
        assert!(relabel_warning(5, 8).unwrap().contains("5 of 8 labels (62 %)"));
        assert!(relabel_warning(9, 10).unwrap().contains("9 of 10 labels (90 %)"));
        assert!(relabel_warning(50, 100).is_some());
        assert!(relabel_warning(87, 100).unwrap().contains("87 of 100 labels (87 %)"));
    }
}
