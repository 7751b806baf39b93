//! Signs that a teacher is not fit for the task, in words: what a run or a report warns of.

use super::Report;

/// From this share of junk on, a teacher is named: one text in five cost its tokens for nothing.
const MUCH_JUNK: f64 = 0.2;
/// From this share of changed labels on, relabelling is named: the teacher then disagrees with its
/// own texts more often than it agrees.
const MUCH_CHANGED: f64 = 0.5;
/// Fewer texts than this say nothing about a share.
const MIN_TEXTS: u64 = 20;

/// What helps if a teacher writes junk or contradicts itself.
pub(crate) const HINT: &str =
    "try a larger or instruction-tuned teacher: `promptmix models list` names some";

/// A sentence if many of `parsed` texts were `junk`.
pub(crate) fn junk_warning(junk: u64, parsed: u64) -> Option<String> {
    let share = share(junk, parsed)?;
    (share >= MUCH_JUNK).then(|| {
        format!(
            "{junk} of {parsed} texts ({:.0} %) that the teacher wrote were junk; see `junk.jsonl` for the reasons. A teacher that ignores the format often misses the content too: read some of the texts that were kept",
            100.0 * share
        )
    })
}

/// A sentence if the labels of many of `total` texts were `changed`.
pub(crate) fn relabel_warning(changed: u64, total: u64) -> Option<String> {
    let share = share(changed, total)?;
    (share >= MUCH_CHANGED).then(|| {
        format!(
            "relabelling changed {changed} of {total} labels ({:.0} %): the teacher disagrees with the classes it was asked to write for, so the texts or the labels are wrong. Compare A1, before relabelling, with A2, and read some of the texts",
            100.0 * share
        )
    })
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

fn share(part: u64, of: u64) -> Option<f64> {
    (of >= MIN_TEXTS).then(|| part as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_shares_are_named_and_low_ones_are_not() {
        assert_eq!(junk_warning(59, 300), None);
        assert!(junk_warning(60, 300).unwrap().starts_with("60 of 300 texts (20 %)"));
        assert_eq!(junk_warning(9, 9), None, "too few to tell");
        assert_eq!(relabel_warning(0, 0), None);
        assert_eq!(relabel_warning(49, 100), None);
        assert!(relabel_warning(87, 100).unwrap().contains("87 of 100 labels (87 %)"));
    }
}
