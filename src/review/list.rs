//! The lists of texts, and the filters on them.

use std::{collections::HashMap, hash::Hash};

use serde::{Deserialize, Serialize};

use super::row::{Row, Source, label};

/// A list of texts. Another one is a variant here, with its title and what it contains; texts from
/// another file also need a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum List {
    Unsure,
    Changed,
    Generated,
    Real,
    Suggested,
    Dropped,
    Mistakes,
}

impl List {
    pub(super) const ALL: [Self; 7] = [
        Self::Unsure,
        Self::Changed,
        Self::Generated,
        Self::Real,
        Self::Suggested,
        Self::Dropped,
        Self::Mistakes,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Unsure => "Least certain",
            Self::Changed => "Asked ≠ given",
            Self::Generated => "All texts",
            Self::Real => "Real texts",
            Self::Suggested => "Suggested",
            Self::Dropped => "Dropped",
            Self::Mistakes => "Test mistakes",
        }
    }

    /// A sentence on what the list contains.
    pub(super) fn explanation(self) -> &'static str {
        match self {
            Self::Unsure => {
                "Texts whose label has a probability below 90 %, or that at most one of request, teacher and probe agrees with."
            }
            Self::Changed => "Texts whose label is not the class that they were asked for.",
            Self::Generated => "All texts that the student is trained on.",
            Self::Real => "Texts of the unlabelled file with the teacher's labels.",
            Self::Suggested => {
                "Texts whose labels help most, as `promptmix suggest` chose them. An unlabelled one is trained on if you keep it or give it a label."
            }
            Self::Dropped => "Texts that the filter dropped. One that you keep is trained on.",
            Self::Mistakes => {
                "Test texts that the student gets wrong, its most confident mistakes first. They are never trained on: nothing is decided here."
            }
        }
    }

    pub(super) fn is_read_only(self) -> bool {
        self == Self::Mistakes
    }

    /// Whether the list is shown only if it contains a text: most runs have none for it.
    pub(super) fn is_optional(self) -> bool {
        matches!(self, Self::Real | Self::Suggested)
    }

    /// Whether `row` is in the list. Decisions do not move it to another one.
    pub(super) fn contains(self, row: &Row) -> bool {
        let is_train = row.source == Source::Train;
        match self {
            Self::Unsure => {
                let few = row.agreeing().is_some_and(|voices| voices < 2);
                is_train && (row.certainty() < UNSURE || few)
            }
            Self::Changed => is_train && label(&row.first) != row.first.major,
            Self::Generated => is_train,
            Self::Real => is_train && row.is_unlabelled,
            Self::Suggested => row.suggested.is_some(),
            Self::Dropped => matches!(row.source, Source::Dropped(_)),
            Self::Mistakes => row.source == Source::Test,
        }
    }
}

/// The texts of a list.
pub(super) struct Members {
    pub list: List,
    /// Places of its rows, ascending.
    pub places: Vec<usize>,
    /// Rows that nobody has decided about.
    pub left: usize,
}

impl Members {
    /// All lists of `rows`.
    pub(super) fn of(rows: &[Row]) -> Vec<Self> {
        let members = |list: List| {
            let of_list = || rows.iter().enumerate().filter(|(_, row)| list.contains(row));
            let places = of_list().map(|(place, _)| place).collect();
            let left = of_list().filter(|(_, row)| !row.is_decided()).count();
            Self { list, places, left }
        };
        List::ALL.into_iter().map(members).collect()
    }
}

/// A label with a lower probability is unsure.
const UNSURE: f32 = 0.9;

/// Which texts of a list are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decided {
    #[default]
    No,
    Yes,
    Either,
}

/// What a text of a list must have to be shown. An absent part lets all pass.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    pub decided: Decided,
    /// The label that it has now.
    #[serde(default)]
    pub class: Option<String>,
    /// The class asked for (of a test text: the true one) and the first label.
    #[serde(default)]
    pub pair: Option<(String, String)>,
    /// As [`stage`] calls it.
    #[serde(default)]
    pub stage: Option<String>,
    /// As [`reason`] calls it.
    #[serde(default)]
    pub reason: Option<String>,
    /// A part of the text, in any case.
    #[serde(default)]
    pub search: Option<String>,
}

impl Filter {
    /// The filter with the part of the text in lower case, as [`Self::admits`] takes it.
    pub(super) fn prepared(mut self) -> Self {
        self.search = self.search.map(|wanted| wanted.to_lowercase());
        self
    }

    pub(super) fn admits(&self, row: &Row) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let is_open = match self.decided {
            Decided::No => !row.is_decided(),
            Decided::Yes => row.is_decided(),
            Decided::Either => true,
        };
        is_open
            && is(&self.class, row.label())
            && is(&self.stage, stage(row))
            && is(&self.reason, reason(row).unwrap_or_default())
            && self.pair.as_ref().is_none_or(|(asked, given)| {
                *asked == row.first.major && given == label(&row.first)
            })
            && (self.search.as_ref())
                .is_none_or(|wanted| row.shown().text.to_lowercase().contains(wanted))
    }
}

/// The stage that decided last about `row` before a person did: `generate` if it has the label that
/// was asked for, `relabel` if it was given another, `label` if it is a real text, `suggest` if it
/// is one that nobody has labelled, `filter` if it was dropped.
pub(super) fn stage(row: &Row) -> &'static str {
    match row.source {
        Source::Dropped(_) => "filter",
        Source::Suggested => "suggest",
        Source::Test => "eval",
        Source::Train if row.is_unlabelled => "label",
        Source::Train if label(&row.first) == row.first.major => "generate",
        Source::Train => "relabel",
    }
}

/// Why `row` was dropped.
pub(super) fn reason(row: &Row) -> Option<&'static str> {
    match row.source {
        Source::Dropped(reason) => Some(reason.describe()),
        _ => None,
    }
}

/// How many texts of a list have each value that can be filtered by, the most frequent first.
#[derive(Debug, Default, Serialize)]
pub(super) struct Facets {
    class: Vec<(String, usize)>,
    pair: Vec<((String, String), usize)>,
    stage: Vec<(&'static str, usize)>,
    reason: Vec<(&'static str, usize)>,
}

impl Facets {
    pub(super) fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Self {
        let (mut classes, mut pairs) = (HashMap::new(), HashMap::new());
        let (mut stages, mut reasons) = (HashMap::new(), HashMap::new());
        for row in rows {
            *classes.entry(row.label()).or_default() += 1;
            let (asked, given) = (row.first.major.as_str(), label(&row.first));
            if asked != given {
                *pairs.entry((asked, given)).or_default() += 1;
            }
            *stages.entry(stage(row)).or_default() += 1;
            if let Some(reason) = reason(row) {
                *reasons.entry(reason).or_default() += 1;
            }
        }
        let owned = |(asked, given): (&str, &str)| (asked.to_owned(), given.to_owned());
        Self {
            class: ranked(classes, str::to_owned),
            pair: ranked(pairs, owned),
            stage: ranked(stages, |stage| stage),
            reason: ranked(reasons, |reason| reason),
        }
    }
}

fn ranked<K: Ord + Hash, T>(counts: HashMap<K, usize>, own: impl Fn(K) -> T) -> Vec<(T, usize)> {
    let mut counts: Vec<(K, usize)> = counts.into_iter().collect();
    counts.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
    counts.into_iter().map(|(value, count)| (own(value), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{DropReason, Opinions, SuggestedText, TextRow};

    /// A row with the label `given` that was asked to be of the class `asked`.
    fn row(asked: &str, given: &str, p: f32, source: Source) -> Row {
        let mut row = TextRow { relabel: Some(given.to_owned()), p: Some(p), ..TextRow::default() };
        row.augmented.major = asked.to_owned();
        row.augmented.text = format!("A text that is {given}");
        Row::new("key".to_owned(), row, source)
    }

    fn lists(row: &Row) -> Vec<List> {
        List::ALL.into_iter().filter(|list| list.contains(row)).collect()
    }

    #[test]
    fn each_text_is_in_the_lists_that_it_belongs_to() {
        use List::{Changed, Dropped, Generated, Mistakes, Unsure};
        let train = Source::Train;
        assert_eq!(lists(&row("a", "a", 0.95, train)), [Generated]);
        assert_eq!(lists(&row("a", "a", 0.85, train)), [Unsure, Generated]);
        assert_eq!(lists(&row("a", "b", 0.95, train)), [Changed, Generated]);
        let reason = DropReason::NearDuplicate;
        assert_eq!(lists(&row("a", "b", 0.1, Source::Dropped(reason))), [Dropped]);
        assert_eq!(lists(&row("a", "b", 0.1, Source::Test)), [Mistakes]);
        let mut alone = row("a", "b", 1.0, train);
        let opinions = |judge: &str, probe: &str| {
            Some(Opinions { judge: judge.to_owned(), probe: probe.to_owned() })
        };
        alone.opinions = opinions("c", "b");
        assert_eq!(lists(&alone), [Unsure, Changed, Generated], "the probe alone says so");
        alone.opinions = opinions("b", "b");
        assert_eq!(lists(&alone), [Changed, Generated]);
        // What a person decides does not move it.
        alone.now = None;
        assert_eq!(lists(&alone), [Changed, Generated]);
    }

    #[test]
    fn a_real_text_was_asked_for_as_nothing() {
        let mut real = row("a", "a", 0.95, Source::Train);
        real.opinions = Some(Opinions { judge: "a".to_owned(), probe: "b".to_owned() });
        assert_eq!((lists(&real), stage(&real)), (vec![List::Generated], "generate"));
        real.is_unlabelled = true;
        let found = (lists(&real), stage(&real));
        assert_eq!(found, (vec![List::Unsure, List::Generated, List::Real], "label"));
    }

    #[test]
    fn a_suggested_text_is_undecided_and_not_dropped() {
        let text = SuggestedText {
            key: "key".to_owned(),
            text: "x".to_owned(),
            in_run: false,
            label: Some("a".to_owned()),
            p: Some(0.6),
            why: None,
        };
        let mut row = Row::of_suggested(text, 7);
        assert_eq!((lists(&row), stage(&row)), (vec![List::Suggested], "suggest"));
        assert_eq!((row.asked(), row.label(), row.certainty()), (None, "a", 0.6));
        assert_eq!((row.is_dropped(), row.is_decided()), (false, false));
        row.history.push(None);
        assert_eq!((row.is_dropped(), row.is_decided()), (true, true));
    }

    #[test]
    fn a_filter_admits_what_has_all_of_its_parts() {
        let row = row("a", "b", 0.5, Source::Dropped(DropReason::NearDuplicate));
        let admits =
            |json: &str| serde_json::from_str::<Filter>(json).unwrap().prepared().admits(&row);
        for part in [
            "{}",
            r#"{"decided": "either"}"#,
            r#"{"class": "b"}"#,
            r#"{"pair": ["a", "b"], "stage": "filter"}"#,
            r#"{"reason": "near-duplicate"}"#,
            r#"{"search": "TEXT that"}"#,
        ] {
            assert!(admits(part), "{part}");
        }
        for part in [
            r#"{"decided": "yes"}"#,
            r#"{"class": "a"}"#,
            r#"{"class": "b", "pair": ["b", "b"]}"#,
            r#"{"stage": "relabel"}"#,
            r#"{"reason": "duplicate"}"#,
            r#"{"search": "texts"}"#,
        ] {
            assert!(!admits(part), "{part}");
        }
        let facets = Facets::of([&row, &row].into_iter());
        assert_eq!(facets.pair, [(("a".to_owned(), "b".to_owned()), 2)]);
        assert_eq!(
            (facets.stage, facets.reason),
            (vec![("filter", 2)], vec![("near-duplicate", 2)])
        );
    }
}
