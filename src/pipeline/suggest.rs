//! `suggest`: the texts whose labels by a person would help most: texts that student and teacher
//! are unsure of or disagree about, and that differ from each other (Zhdanov 2019, *Diverse
//! mini-batch active learning*). Those with the most doubt are clustered by weighted k-means, and
//! the middle of each cluster is suggested.
//!
//! Candidates are the task's unlabelled texts; without any, the texts that the teacher wrote.

use std::collections::HashSet;

use super::{
    Event, Pipeline, PipelineError,
    sheet_rows::{SheetOf, answered, train_rows},
};
use crate::{
    counted::{counted, part},
    dataset::{AugmentedText, SuggestedText, TextRow},
    embed::clusters,
    run::{names, read_rows_if_any},
    selection::{Sample, Sieve},
    sheet::{Opinion, SheetRow},
    student::{Classifier, largest},
    task::Task,
};

/// Of more candidates than this, a random sample is looked at: it takes minutes as it is, and has
/// enough of all kinds.
const POOL: usize = 10_000;
/// Texts that are clustered, for each that is suggested. Measured with a logistic regression on
/// MiniLM, the mean accuracy over 10 to 100 labels of TREC6 and ten draws: random choice 57.9, with
/// 10 59.6, 20 63.5, 50 61.5, all texts 59.9; over 40 to 200 labels of Banking77 and four draws:
/// random choice 56.8, with 5 65.9, 20 67.4.
const SHORTLIST: usize = 20;
/// A text without any doubt still weighs something.
const LEAST: f32 = 1e-3;

/// A text that a person may be asked about.
struct Candidate {
    row: SheetRow,
    /// As [`TextRow::key`], numbered.
    key: String,
    /// Whether it is a text of the run, rather than an unlabelled one.
    in_run: bool,
    /// The teacher's probability of each class; empty if it was not asked.
    teacher: Vec<f32>,
}

impl Candidate {
    /// What the run remembers of it.
    fn suggested(&self) -> SuggestedText {
        let SheetRow { text, suggestion, why, .. } = &self.row;
        SuggestedText {
            key: self.key.clone(),
            text: text.clone(),
            in_run: self.in_run,
            label: suggestion.as_ref().map(|of| of.label.clone()),
            p: suggestion.as_ref().and_then(|of| of.p),
            why: why.clone(),
        }
    }
}

impl Pipeline<'_> {
    /// The `count` texts to ask a person about, the most useful first, with the opinions of
    /// `student` and of the teacher. Remembers them, so that their labels are known when they come
    /// back, and for the review.
    ///
    /// # Errors
    /// A missing `train.jsonl`, a student of other classes, an unlabelled file that cannot be
    /// read, a failed write.
    pub(crate) fn suggest(
        &mut self,
        student: &Classifier,
        count: usize,
    ) -> Result<Vec<SheetRow>, PipelineError> {
        let (mut candidates, found) = self.candidates()?;
        if found > candidates.len() {
            (self.watch)(Event::Note(format!(
                "of {} to choose from, a random sample of {} is looked at",
                counted(found, "text"),
                candidates.len()
            )));
        }
        let Self { settings, embedder, watch, .. } = self;
        let embedder = embedder.as_deref().ok_or(PipelineError::NoEmbedder)?;
        let texts: Vec<String> = candidates.iter().map(|it| it.row.text.clone()).collect();
        watch(Event::Wait { what: format!("reading {}", counted(texts.len(), "text")) });
        let predicted = student.predict(&texts)?;
        let opinions = candidates.iter().zip(&predicted);
        let doubts: Vec<f32> =
            opinions.map(|(candidate, student)| doubt(student, &candidate.teacher)).collect();
        let mut shortlist: Vec<usize> = (0..texts.len()).collect();
        shortlist.sort_by(|a, b| doubts[*b].total_cmp(&doubts[*a]));
        shortlist.truncate(count.saturating_mul(SHORTLIST));
        let listed: Vec<String> = shortlist.iter().map(|&at| texts[at].clone()).collect();
        let weights: Vec<f32> = shortlist.iter().map(|&at| doubts[at].max(LEAST)).collect();
        let groups = clusters(&embedder.embed(&listed)?, &weights, count, settings.run.seed);
        let chosen = one_of_each(&groups, count).into_iter().map(|at| shortlist[at]);
        let mut places: Vec<Option<Candidate>> = candidates.drain(..).map(Some).collect();
        let chosen: Vec<Candidate> = chosen
            .filter_map(|at| Some(with_student(places[at].take()?, &predicted[at], &self.task)))
            .collect();
        self.remember(chosen.iter().map(Candidate::suggested).collect())?;
        (self.watch)(Event::End {
            summary: part(chosen.len(), found, "text") + " to ask a person about",
        });
        Ok(chosen.into_iter().map(|candidate| candidate.row).collect())
    }

    /// The texts to choose from, at most [`POOL`], and how many there were. Equal texts are one.
    fn candidates(&self) -> Result<(Vec<Candidate>, usize), PipelineError> {
        let Self { run, task, settings, .. } = self;
        let rows = train_rows(run)?;
        let answered = answered(run.ledger().entries());
        let mut sieve = Sieve::new(&task.seeds, &task.test);
        let mut sample = Sample::new(POOL, settings.run.seed, "suggest");
        let mut places = 0..;
        let mut offer = |make: &mut dyn FnMut() -> Candidate| {
            sample.offer(places.next().unwrap_or_default(), make);
        };
        let unlabelled = task.open_unlabelled()?;
        let sheet = SheetOf::new(run);
        for (row, key) in &rows {
            let is_new = sieve.passes(&row.augmented.text);
            // Real texts are in the run if the teacher labelled them.
            let is_wanted = unlabelled.is_none() || row.augmented.is_unlabelled();
            let is_open = !row.augmented.is_given() && !answered.contains(key.as_str());
            if is_new && is_wanted && is_open {
                offer(&mut || Candidate {
                    row: sheet.row(row, key),
                    key: key.clone(),
                    in_run: true,
                    teacher: shares(task, &row.probabilities),
                });
            }
        }
        if let Some(mut texts) = unlabelled {
            while let Some(text) = texts.next_text()? {
                let row = TextRow::from(AugmentedText { text: text.text, ..Default::default() });
                let (key, text) = (row.key(), &row.augmented.text);
                if !answered.contains(key.as_str()) && sieve.passes(text) {
                    offer(&mut || Candidate {
                        row: sheet.new_row(text, &key),
                        key: key.clone(),
                        in_run: false,
                        teacher: Vec::new(),
                    });
                }
            }
        }
        let found = sample.offered();
        Ok((sample.finish().into_iter().map(|(_, candidate)| candidate).collect(), found))
    }

    /// Adds `texts` to those that people were asked about; those among them take the place of what
    /// was known of them.
    fn remember(&mut self, texts: Vec<SuggestedText>) -> Result<(), PipelineError> {
        let before: Vec<SuggestedText> = read_rows_if_any(self.run.path(), names::SUGGESTED)?;
        let keys: HashSet<&str> = texts.iter().map(|row| row.key.as_str()).collect();
        let mut known = before.clone();
        known.retain(|row| !keys.contains(row.key.as_str()));
        known.extend(texts);
        if known != before {
            self.run.write_rows(names::SUGGESTED, &known)?;
            let counts = [("suggested", known.len())];
            self.run.finish_stage("suggest", &counts, &[names::SUGGESTED], Vec::new())?;
        }
        Ok(())
    }
}

/// The first of each of the `clusters`, then the second of each, until there are `count`.
fn one_of_each(clusters: &[Vec<usize>], count: usize) -> Vec<usize> {
    let largest = clusters.iter().map(Vec::len).max().unwrap_or(0);
    let ranked = (0..largest).flat_map(|rank| clusters.iter().filter_map(move |it| it.get(rank)));
    ranked.take(count).copied().collect()
}

/// `probabilities` by name as one for each class of `task`; none if there are none.
fn shares(task: &Task, probabilities: &[(String, f32)]) -> Vec<f32> {
    if probabilities.is_empty() {
        return Vec::new();
    }
    let mut shares = vec![0.0; task.classes.len()];
    for (name, p) in probabilities {
        if let Some(class) = task.class_index(name) {
            shares[class] = *p;
        }
    }
    shares
}

/// How little is known about the class of a text, 0 to 1: one less the distance between the two
/// most probable classes, in the mean of the probabilities of `student` and `teacher`, which may
/// have none. It is 1 if the two are sure of different classes.
fn doubt(student: &[f32], teacher: &[f32]) -> f32 {
    let mut mean: Vec<f32> = match teacher.is_empty() {
        true => student.to_vec(),
        false => student.iter().zip(teacher).map(|(a, b)| (a + b) / 2.0).collect(),
    };
    mean.sort_by(|a, b| b.total_cmp(a));
    1.0 - (mean[0] - mean.get(1).copied().unwrap_or(0.0))
}

/// `candidate` with the opinion of the student, what to suggest, and why it was chosen.
fn with_student(mut candidate: Candidate, student: &[f32], task: &Task) -> Candidate {
    let name = |class: usize| task.classes[class].name.clone();
    let opinion = |shares: &[f32]| {
        let class = largest(shares);
        Opinion { label: name(class), p: Some(shares[class]) }
    };
    let row = &mut candidate.row;
    let by_student = opinion(student);
    if row.teacher.is_none() && !candidate.teacher.is_empty() {
        row.teacher = Some(opinion(&candidate.teacher));
    }
    let disagree = row.teacher.as_ref().is_some_and(|teacher| teacher.label != by_student.label);
    let why = match (disagree, row.teacher.is_some()) {
        (true, _) => "teacher and student disagree",
        (false, true) => "teacher and student are unsure",
        (false, false) => "the student is unsure",
    };
    row.why = Some(why.to_owned());
    if row.suggestion.is_none() {
        row.suggestion = Some(by_student.clone());
        let shares = student.iter().enumerate().map(|(class, p)| (name(class), *p));
        row.probabilities = shares.collect();
    }
    row.student = Some(by_student);
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cluster_gives_one_before_any_gives_two() {
        let clusters = [vec![5, 1, 2], vec![4], vec![0, 3]];
        assert_eq!(one_of_each(&clusters, 2), [5, 4]);
        assert_eq!(one_of_each(&clusters, 5), [5, 4, 0, 1, 3]);
        assert_eq!(one_of_each(&clusters, 9).len(), 6);
    }

    #[test]
    fn doubt_is_high_where_one_is_unsure_or_two_disagree() {
        let sure = [0.98, 0.01, 0.01];
        let close = |found: f32, wanted: f32| assert!((found - wanted).abs() < 1e-6, "{found}");
        close(doubt(&sure, &[]), 0.03);
        close(doubt(&[0.4, 0.4, 0.2], &[]), 1.0);
        close(doubt(&sure, &[0.01, 0.98, 0.01]), 1.0);
        close(doubt(&sure, &sure), 0.03);
        close(doubt(&sure, &[0.5, 0.4, 0.1]), 1.0 - 0.74 + 0.205);
    }
}
