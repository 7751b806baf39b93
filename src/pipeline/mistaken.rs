//! Which classes the teacher takes for each other: among labelled examples that its prompt did not
//! show, and among the texts of a run. Nothing here looks at the test set.

use std::collections::{BTreeMap, HashSet};

use crate::{
    dataset::{TextRow, canonical},
    run::{RunError, RunFolder, names},
    task::Task,
};

/// Two classes and how often one was taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// The smaller index first.
    pub classes: (usize, usize),
    /// Among labelled examples.
    pub examples: usize,
    /// Among texts of the run.
    pub texts: usize,
}

/// All pairs of classes that were mistaken, the most mistaken first: by the share of the examples
/// plus the share of the texts. `examples` and `texts` are (class, the teacher's class).
pub(super) fn pairs(examples: &[(usize, usize)], texts: &[(usize, usize)]) -> Vec<Pair> {
    let mut counts: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
    let mistakes = |of: &[(usize, usize)]| -> Vec<(usize, usize)> {
        let wrong = of.iter().filter(|(class, judged)| class != judged);
        wrong.map(|(class, judged)| (*class.min(judged), *class.max(judged))).collect()
    };
    mistakes(examples).into_iter().for_each(|pair| counts.entry(pair).or_default().0 += 1);
    mistakes(texts).into_iter().for_each(|pair| counts.entry(pair).or_default().1 += 1);
    let share = |count: usize, all: usize| count as f64 / all.max(1) as f64;
    let mut pairs: Vec<Pair> = counts
        .into_iter()
        .map(|(classes, (examples, texts))| Pair { classes, examples, texts })
        .collect();
    let rank = |pair: &Pair| share(pair.examples, examples.len()) + share(pair.texts, texts.len());
    pairs.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    pairs
}

/// A text of a run whose class somebody named besides the teacher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunText {
    pub text: String,
    /// The class that a person gave it, or that it was written for.
    pub class: usize,
    /// The teacher's label; `None` if it was not asked.
    pub judged: Option<usize>,
    /// Whether a person gave it the class.
    pub by_person: bool,
    /// Whether all who were asked agree.
    pub agreed: bool,
}

/// The texts that `run` trains on, without real ones whose class only the teacher gave; none if it
/// has no `train.jsonl` of its present task.
///
/// # Errors
/// A damaged file.
pub(super) fn run_texts(run: &RunFolder, task: &Task) -> Result<Vec<RunText>, RunError> {
    let is_there = run.path().join(names::TRAIN).exists();
    if !is_there || run.check_current(&["filter"], names::TRAIN).is_err() {
        return Ok(Vec::new());
    }
    let rows: Vec<TextRow> = run.read_rows(names::TRAIN, "run `promptmix filter` first")?;
    Ok(rows.iter().filter_map(|row| run_text(row, task)).collect())
}

fn run_text(row: &TextRow, task: &Task) -> Option<RunText> {
    let augmented = &row.augmented;
    let label = row.relabel.as_ref().unwrap_or(&augmented.major);
    let by_person = augmented.by.is_some();
    if !by_person && augmented.is_unlabelled() {
        return None;
    }
    let opinions = augmented.opinions.as_ref();
    let judge = opinions.map(|of| &of.judge).or((!by_person).then_some(label));
    let asked = &augmented.major;
    let agreed = !by_person
        && label == asked
        && opinions.is_none_or(|of| of.judge == *asked && of.probe == *asked);
    Some(RunText {
        text: augmented.text.clone(),
        class: task.class_index(if by_person { label } else { asked })?,
        judged: judge.and_then(|name| task.class_index(name)),
        by_person,
        agreed,
    })
}

/// What the teacher says of labelled examples and of texts of a run.
pub(super) struct Evidence<'a> {
    pub task: &'a Task,
    /// Text, class and the teacher's label of each example that was asked about.
    pub examples: Vec<(String, usize, Option<usize>)>,
    pub texts: Vec<RunText>,
}

/// Texts of a class for a prompt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub texts: Vec<String>,
    /// Places in [`Evidence::examples`] of those that are among them.
    pub places: Vec<usize>,
}

impl Evidence<'_> {
    /// As [`pairs`], but for those with [`Task::none_of_these`].
    pub(super) fn pairs(&self) -> Vec<Pair> {
        let examples =
            self.examples.iter().filter_map(|(_, class, judged)| Some((*class, (*judged)?)));
        let texts = self.texts.iter().filter_map(|text| Some((text.class, text.judged?)));
        let mut pairs = pairs(&examples.collect::<Vec<_>>(), &texts.collect::<Vec<_>>());
        // What belongs to none of the classes has nothing in common that a sentence could say.
        let none = self.task.none_of_these();
        pairs.retain(|pair| ![Some(pair.classes.0), Some(pair.classes.1)].contains(&none));
        pairs
    }

    /// Number of texts that [`Self::pairs`] counts.
    pub(super) fn judged_texts(&self) -> usize {
        self.texts.iter().filter(|text| text.judged.is_some()).count()
    }

    /// At most `limit` texts of `class`, to be told from `other`: examples that the teacher took
    /// for the other class, then labelled texts that it was not asked about, then other examples,
    /// then texts that all agree on. Of the examples that were asked about no more than half are
    /// shown, so that the others tell what a draft is worth.
    pub(super) fn shown(&self, class: usize, other: usize, limit: usize) -> Shown {
        let own: Vec<usize> =
            (0..self.examples.len()).filter(|at| self.examples[*at].1 == class).collect();
        let half = (own.len() / 2).max(1);
        let (mistaken, others): (Vec<usize>, Vec<usize>) =
            own.iter().copied().partition(|at| self.examples[*at].2 == Some(other));
        let asked: HashSet<String> =
            self.examples.iter().map(|(text, ..)| canonical(text)).collect();
        let labelled = self.task.seeds.iter().chain(&self.task.pool);
        let labelled = labelled.filter(|text| text.label == class).map(|text| &text.text);
        let by_people = self.texts.iter().filter(|text| text.by_person && text.class == class);
        let labelled = labelled.chain(by_people.map(|text| &text.text));
        let free = labelled.filter(|text| !asked.contains(&canonical(text)));
        let agreed = self.texts.iter().filter(|text| text.agreed && text.class == class);

        let mistaken = &mistaken[..mistaken.len().min(half)];
        let others = &others[..others.len().min(half - mistaken.len())];
        let example = |at: &usize| (&self.examples[*at].0, Some(*at));
        let candidates = mistaken
            .iter()
            .map(example)
            .chain(free.map(|text| (text, None)))
            .chain(others.iter().map(example))
            .chain(agreed.map(|text| (&text.text, None)));
        let (mut shown, mut seen) = (Shown::default(), HashSet::new());
        for (text, place) in candidates {
            if shown.texts.len() < limit && seen.insert(canonical(text)) {
                shown.texts.push(text.clone());
                shown.places.extend(place);
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        dataset::{AugmentedText, Author, Opinions},
    };

    #[test]
    fn pairs_are_ranked_by_their_shares_in_either_direction() {
        // Of 4 examples one in four, of 10 texts three in ten.
        let examples = [(0, 1), (0, 0), (1, 1), (2, 2)];
        let texts =
            [(2, 1), (1, 2), (2, 1), (0, 2), (0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (2, 2)];
        let pair = |classes, examples, texts| Pair { classes, examples, texts };
        assert_eq!(
            pairs(&examples, &texts),
            [pair((1, 2), 0, 3), pair((0, 1), 1, 0), pair((0, 2), 0, 1)]
        );
        assert_eq!(pairs(&[], &[]), []);
    }

    fn row(text: &str, major: &str, relabel: &str) -> TextRow {
        let augmented =
            AugmentedText { text: text.to_owned(), major: major.to_owned(), ..Default::default() };
        TextRow { augmented, relabel: Some(relabel.to_owned()), ..TextRow::default() }
    }

    #[test]
    fn a_text_has_the_class_that_was_asked_for_or_that_a_person_gave_it() {
        let task = Sample::new(&["a", "b"], Vec::new()).task;
        let of = |row: &TextRow| {
            run_text(row, &task).map(|it| (it.class, it.judged, it.by_person, it.agreed))
        };
        assert_eq!(of(&row("x", "a", "a")), Some((0, Some(0), false, true)));
        assert_eq!(of(&row("x", "a", "b")), Some((0, Some(1), false, false)));
        let mut fused = row("x", "a", "a");
        fused.augmented.opinions = Some(Opinions { judge: "b".to_owned(), probe: "a".to_owned() });
        assert_eq!(of(&fused), Some((0, Some(1), false, false)), "the judge is overruled");
        fused.augmented.by = Some(Author::Person);
        fused.relabel = Some("b".to_owned());
        assert_eq!(of(&fused), Some((1, Some(1), true, false)), "the person says b");
        fused.augmented.opinions = None;
        assert_eq!(of(&fused), Some((1, None, true, false)));
        let mut real = row("x", "a", "a");
        real.augmented.unlabelled_line = Some(3);
        assert_eq!(of(&real), None, "nobody but the teacher names its class");
        assert_eq!(of(&row("x", "gone", "a")), None);
    }

    #[test]
    fn half_of_the_examples_are_kept_to_measure_with() {
        let mut task = Sample::new(&["a", "b"], vec![seed("one", 0), seed("not asked", 0)]).task;
        task.pool = vec![seed("ONE!", 0), seed("of b", 1)];
        let example = |text: &str, judged: usize| (text.to_owned(), 0, Some(judged));
        let examples = vec![
            example("one", 0),
            example("two", 1),
            example("three", 1),
            example("four", 1),
            ("other".to_owned(), 1, Some(1)),
        ];
        let text = |text: &str, by_person: bool| RunText {
            text: text.to_owned(),
            class: 0,
            judged: None,
            by_person,
            agreed: !by_person,
        };
        let texts = vec![text("written", false), text("by hand", true)];
        let evidence = Evidence { task: &task, examples, texts };
        let shown = evidence.shown(0, 1, 9);
        assert_eq!(shown.texts, ["two", "three", "not asked", "by hand", "written"]);
        assert_eq!(shown.places, [1, 2]);
        assert_eq!(evidence.shown(0, 1, 1).places, [1]);
        // The only example is shown: there would be nothing to describe.
        assert_eq!(evidence.shown(1, 0, 9).places, [4]);
    }
}
