//! From predictions to the table: one line for each (row, k, student, teacher), and the paired
//! differences between them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Compare, DetailedTexts};
use crate::{
    dataset::Variant,
    embed::Embedder,
    eval::{Interval, accuracy_difference, accuracy_interval, correct, macro_f1_interval},
    pipeline::PipelineError,
    report::{
        self, Comparison, Line, LineDifference, Models, Report,
        build::{Findings, ReportBuilder, VariantPredictions},
    },
    run::ledger::Entry,
    task::Task,
};

/// All predictions of one row, k, student and teacher, seed by seed.
pub(super) struct Answered<'a> {
    pub row: Variant,
    pub k: usize,
    pub student: Option<usize>,
    pub teacher: Option<usize>,
    /// `[seeds][test texts]`.
    pub predicted: Vec<&'a [usize]>,
    /// The probability of each predicted class.
    pub confidence: Vec<&'a [f32]>,
    /// Rows trained on, summed over seeds.
    train_rows: usize,
    /// Number of texts that relabelling changed, and of all that were relabelled, summed over
    /// seeds.
    changed: Option<(usize, usize)>,
    /// The teacher's calls of each seed, and the student's training.
    keys: Vec<(&'a [String], Option<&'a str>)>,
}

impl Compare<'_> {
    /// All predictions in the order of the table: k, student, teacher, row.
    pub(super) fn answered(&self) -> Vec<Answered<'_>> {
        let mut all: Vec<Answered<'_>> = Vec::new();
        let mut at: HashMap<(Variant, usize, Option<usize>, Option<usize>), usize> = HashMap::new();
        let mut find = |all: &mut Vec<Answered<'_>>, row, k, student, teacher| -> usize {
            *at.entry((row, k, student, teacher)).or_insert_with(|| {
                all.push(Answered {
                    row,
                    k,
                    student,
                    teacher,
                    predicted: Vec::new(),
                    confidence: Vec::new(),
                    train_rows: 0,
                    changed: None,
                    keys: Vec::new(),
                });
                all.len() - 1
            })
        };
        for (place, training_set) in self.training_sets.iter().enumerate() {
            for student in 0..self.students.len() {
                let Some((key, predictions)) = self.predictions.get(&(place, student)) else {
                    continue;
                };
                let here = find(
                    &mut all,
                    training_set.row,
                    training_set.k,
                    Some(student),
                    training_set.teacher,
                );
                let entry = &mut all[here];
                entry.predicted.push(&predictions.predicted);
                entry.confidence.push(&predictions.confidence);
                entry.train_rows += training_set.examples.len();
                if let Some((moved, of)) = training_set.changed {
                    let before = entry.changed.unwrap_or_default();
                    entry.changed = Some((before.0 + moved, before.1 + of));
                }
                entry.keys.push((&training_set.keys, Some(key)));
            }
        }
        for predictions in &self.teacher_predictions {
            let here =
                find(&mut all, Variant::Teacher, predictions.k, None, Some(predictions.teacher));
            let entry = &mut all[here];
            entry.predicted.push(&predictions.predicted);
            entry.confidence.push(&predictions.confidence);
            entry.keys.push((&predictions.keys, None));
        }
        let shots = &self.grid.shots;
        let place = |k: usize| shots.iter().position(|other| *other == k);
        all.sort_by_key(|entry| (place(entry.k), entry.student, entry.row, entry.teacher));
        all
    }

    /// The table.
    ///
    /// # Errors
    /// Predictions that do not fit the test set.
    pub(super) fn comparison(&self, all: &[Answered<'_>]) -> Result<Comparison, PipelineError> {
        let gold: Vec<usize> = self.task.test.iter().map(|item| item.label).collect();
        let costs = costs(self.run.ledger().entries());
        let name = |student: Option<usize>| student.map(|place| self.students[place].clone());
        let teacher = |teacher: Option<usize>| teacher.map(|place| self.teachers[place].0.clone());
        let mut lines = Vec::with_capacity(all.len());
        for entry in all {
            let predicted: Vec<Vec<usize>> =
                entry.predicted.iter().map(|seed| seed.to_vec()).collect();
            let seeds = entry.predicted.len();
            let mean = |sum: f64| sum / seeds as f64;
            let (mut asked, mut learnt) = (Cost::default(), 0.0);
            for (keys, student) in &entry.keys {
                // A call that one seed makes twice costs once. Sorted, since float sums depend on
                // order.
                let mut seen = HashSet::new();
                for key in keys.iter().filter(|key| seen.insert(*key)) {
                    asked.add(costs.get(key.as_str()).copied().unwrap_or_default());
                }
                learnt += student.and_then(|key| costs.get(key)).map_or(0.0, |cost| cost.seconds);
            }
            lines.push(Line {
                row: entry.row,
                k: entry.k,
                student: name(entry.student),
                teacher: teacher(entry.teacher),
                accuracy: accuracy_interval(&correct(&entry.predicted, &gold))?,
                macro_f1: macro_f1_interval(&gold, &predicted, self.task.classes.len())?,
                seeds,
                test_rows: gold.len(),
                train_rows: mean(entry.train_rows as f64),
                relabelled: entry.changed.map(|(moved, of)| moved as f64 / of.max(1) as f64),
                teacher_calls: mean(asked.calls),
                tokens: mean(asked.prompt_tokens + asked.generated_tokens),
                prompt_tokens: mean(asked.prompt_tokens),
                generated_tokens: mean(asked.generated_tokens),
                seconds: mean(asked.seconds + learnt),
                student_seconds: mean(learnt),
            });
        }
        let mut differences = Vec::new();
        for (a, b) in pairs(all) {
            // The teacher's own row has no student: it is compared with those of each student.
            let (k, student) = (a.k, a.student.or(b.student));
            let teacher_place = a.teacher.or(b.teacher);
            let interval = difference(a, b, &gold)?;
            differences.push(LineDifference {
                a: a.row,
                b: b.row,
                k,
                student: name(student),
                teacher: teacher(teacher_place),
                against: None,
                interval,
            });
        }
        for (a, b) in models(all) {
            let interval = difference(a, b, &gold)?;
            differences.push(LineDifference {
                a: a.row,
                b: b.row,
                k: a.k,
                student: name(a.student),
                teacher: teacher(a.teacher),
                against: Some(Models { student: name(b.student), teacher: teacher(b.teacher) }),
                interval,
            });
        }
        let mut left_out = self.left_out.clone();
        left_out.extend(self.skipped.iter().cloned());
        Ok(Comparison { lines, differences, left_out })
    }
}

/// The paired difference of accuracy between two lines.
fn difference(
    a: &Answered<'_>,
    b: &Answered<'_>,
    gold: &[usize],
) -> Result<Interval, PipelineError> {
    let one_seed = [a, b].iter().any(|one| one.row.is_random() && one.predicted.len() < 2);
    let interval = accuracy_difference(&correct(&a.predicted, gold), &correct(&b.predicted, gold))?;
    Ok(Interval { one_seed, ..interval })
}

/// The pairs that are compared: every row with the seeds alone, then the method with its baselines,
/// each with the same k, student and teacher.
fn pairs<'a, 'b>(all: &'b [Answered<'a>]) -> Vec<(&'b Answered<'a>, &'b Answered<'a>)> {
    let alike = |a: &Answered<'_>, b: &Answered<'_>| {
        let same = |a: Option<usize>, b: Option<usize>| a.is_none() || b.is_none() || a == b;
        a.k == b.k && same(a.student, b.student) && same(a.teacher, b.teacher)
    };
    let of = |row: Variant| all.iter().filter(move |entry| entry.row == row);
    let mut pairs = Vec::new();
    for base in of(Variant::Seeds) {
        let others = all.iter().filter(|entry| entry.row != Variant::Seeds);
        pairs.extend(others.filter(|entry| alike(entry, base)).map(|entry| (entry, base)));
    }
    for method in of(Variant::A2) {
        let baselines =
            all.iter().filter(|entry| !matches!(entry.row, Variant::Seeds | Variant::A2));
        pairs.extend(baselines.filter(|entry| alike(entry, method)).map(|entry| (method, entry)));
    }
    pairs
}

/// The pairs of models that are compared, by the method and by the teachers themselves: two
/// teachers with one student, two students with one teacher.
fn models<'a, 'b>(all: &'b [Answered<'a>]) -> Vec<(&'b Answered<'a>, &'b Answered<'a>)> {
    let predictions: Vec<&Answered<'_>> =
        all.iter().filter(|entry| matches!(entry.row, Variant::A2 | Variant::Teacher)).collect();
    let mut pairs = Vec::new();
    for (place, &a) in predictions.iter().enumerate() {
        pairs.extend(predictions[place + 1..].iter().filter_map(|&b| {
            let alike = (a.row, a.k) == (b.row, b.k);
            let one_differs = (a.student == b.student) != (a.teacher == b.teacher);
            (alike && one_differs).then_some((a, b))
        }));
    }
    pairs
}

/// The cost of a call to the teacher or of the training of a student.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Cost {
    calls: f64,
    prompt_tokens: f64,
    generated_tokens: f64,
    seconds: f64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.prompt_tokens += other.prompt_tokens;
        self.generated_tokens += other.generated_tokens;
        self.seconds += other.seconds;
    }
}

/// The cost of each call and student in a ledger, by its key.
fn costs(entries: &[Entry]) -> HashMap<&str, Cost> {
    let cost = |entry| match entry {
        &Entry::Reply { ref key, prompt_tokens, generated_tokens, seconds, .. } => {
            let (prompt_tokens, generated_tokens) = (prompt_tokens as f64, generated_tokens as f64);
            Some((key.as_str(), Cost { calls: 1.0, prompt_tokens, generated_tokens, seconds }))
        }
        &Entry::Scores { ref key, prompt_tokens, seconds, .. } => {
            let prompt_tokens = prompt_tokens as f64;
            let cost = Cost { calls: 1.0, prompt_tokens, generated_tokens: 0.0, seconds };
            Some((key.as_str(), cost))
        }
        Entry::Student { key, seconds, .. } => {
            Some((key.as_str(), Cost { seconds: *seconds, ..Cost::default() }))
        }
        _ => None,
    };
    entries.iter().filter_map(cost).collect()
}

/// The report: the comparison, and the method's texts for one k, teacher and seed in detail.
///
/// # Errors
/// Predictions that do not fit the test set; errors of the embedder.
pub(super) fn report(
    compare: &Compare<'_>,
    embedder: &dyn Embedder,
) -> Result<Report, PipelineError> {
    let all = compare.answered();
    let comparison = compare.comparison(&all)?;
    // Shown in detail: the k, teacher and seed whose texts were kept, or else the first.
    let main = compare.detailed.as_ref();
    let k = main
        .map_or(compare.grid.shots.first().copied().unwrap_or(compare.task.even_shots()), |main| {
            main.k
        });
    let (closer, seed) = main.map_or((0, 0), |main| (main.teacher, main.seed));
    let first = |place: Option<usize>| place.is_none_or(|place| place == 0);
    let shown = |place: Option<usize>| place.is_none_or(|place| place == closer);
    let table: Vec<VariantPredictions> = all
        .iter()
        .filter(|entry| entry.k == k && first(entry.student) && shown(entry.teacher))
        .map(|entry| VariantPredictions {
            row: entry.row,
            predicted: entry.predicted.iter().map(|seed| seed.to_vec()).collect(),
            confidence: entry.confidence.iter().map(|seed| seed.to_vec()).collect(),
            train_rows: entry.train_rows / entry.predicted.len().max(1),
        })
        .collect();
    let subset = compare.subsets.get(&(k, seed)).map_or(&[][..], Vec::as_slice);
    let task = Task { shots: k, ..compare.task.clone() };
    let builder = ReportBuilder {
        run: compare.run,
        task: &task,
        settings: compare.settings,
        prompts: compare.prompts,
        seeds: subset,
        embedder,
    };
    let findings = Findings {
        variants: &table,
        relabelled: main.map_or(&[], |main| &main.relabelled),
        kept: main.map_or(&[], |main| &main.kept),
        funnel: main.map(funnel).unwrap_or_default(),
        check: None,
    };
    let name = compare.students.first().cloned().unwrap_or_default();
    let student = report::Student { name, eight_bits: None };
    let teacher = compare.teachers.get(closer).map(|(_, identity)| identity);
    let mut report = builder.build(&findings, teacher, student)?;
    // The names of the table, or none if no teacher was needed.
    report.teacher.name =
        compare.teachers.get(closer).map_or_else(String::new, |(name, _)| name.clone());
    report.warnings.extend(compare.warnings.iter().cloned());
    report.comparison = Some(comparison);
    Ok(report)
}

fn funnel(main: &DetailedTexts) -> report::Funnel {
    let counts = main.counts;
    let mut dropped = BTreeMap::new();
    for row in &main.dropped {
        *dropped.entry(row.dropped.describe().to_owned()).or_default() += 1;
    }
    for (why, count) in [
        ("more than asked for", counts.unique - counts.kept),
        ("not answered", counts.kept - main.relabelled.len()),
    ] {
        if count > 0 {
            dropped.insert(why.to_owned(), count as u64);
        }
    }
    report::Funnel {
        asked: counts.asked as u64,
        parsed: counts.parsed as u64,
        junk: main
            .junk
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count as u64))
            .collect(),
        cleaned: counts.cleaned as u64,
        unique: counts.unique as u64,
        relabelled: main.relabelled.len() as u64,
        kept: main.kept.len() as u64,
        dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(
        row: Variant,
        k: usize,
        student: Option<usize>,
        teacher: Option<usize>,
    ) -> Answered<'static> {
        Answered {
            row,
            k,
            student,
            teacher,
            predicted: vec![&[0]],
            confidence: vec![&[1.0]],
            train_rows: 1,
            changed: None,
            keys: Vec::new(),
        }
    }

    #[test]
    fn only_what_shares_k_student_and_teacher_is_held_against_each_other() {
        let all = [
            answered(Variant::Seeds, 2, Some(0), None),
            answered(Variant::Eda, 2, Some(0), None),
            answered(Variant::A2, 2, Some(0), Some(0)),
            answered(Variant::A2, 2, Some(0), Some(1)),
            answered(Variant::Teacher, 2, None, Some(0)),
            answered(Variant::Seeds, 2, Some(1), None),
            answered(Variant::A2, 5, Some(0), Some(0)),
        ];
        let place = |wanted: &Answered<'_>| all.iter().position(|one| std::ptr::eq(one, wanted));
        let found: Vec<(usize, usize)> =
            pairs(&all).into_iter().map(|(a, b)| (place(a).unwrap(), place(b).unwrap())).collect();
        // Against the seeds of student 0: EDA, both A2, the teacher; of student 1: the teacher.
        // Then A2 of teacher 0 against EDA and the teacher, A2 of teacher 1 against EDA.
        let against_seeds = [(1, 0), (2, 0), (3, 0), (4, 0), (4, 5)];
        assert_eq!(found, [&against_seeds[..], &[(2, 1), (2, 4), (3, 1)]].concat());
    }

    #[test]
    fn teachers_and_students_are_held_against_each_other_one_at_a_time() {
        let all = [
            answered(Variant::A2, 2, Some(0), Some(0)),
            answered(Variant::A2, 2, Some(0), Some(1)),
            answered(Variant::A2, 2, Some(1), Some(0)),
            answered(Variant::A1, 2, Some(0), Some(1)),
            answered(Variant::Teacher, 2, None, Some(0)),
            answered(Variant::Teacher, 2, None, Some(1)),
            answered(Variant::Teacher, 5, None, Some(1)),
        ];
        let place = |wanted: &Answered<'_>| all.iter().position(|one| std::ptr::eq(one, wanted));
        let found: Vec<(usize, usize)> =
            models(&all).into_iter().map(|(a, b)| (place(a).unwrap(), place(b).unwrap())).collect();
        assert_eq!(found, [(0, 1), (0, 2), (4, 5)]);
    }

    #[test]
    fn a_ledger_tells_what_each_call_cost() {
        let reply = Entry::Reply {
            key: "r".to_owned(),
            ask: String::new(),
            reply: String::new(),
            complete: true,
            fault: None,
            prompt_tokens: 30,
            generated_tokens: 20,
            seconds: 0.5,
        };
        let scores = Entry::Scores {
            key: "s".to_owned(),
            stage: "relabel".to_owned(),
            log_probs: Vec::new(),
            tokens: Vec::new(),
            prompt_tokens: 10,
            seconds: 0.25,
        };
        let entries = [reply, scores];
        let costs = costs(&entries);
        let mut sum = Cost::default();
        ["r", "s", "r"].into_iter().for_each(|key| sum.add(costs[key]));
        let wanted =
            Cost { calls: 3.0, prompt_tokens: 70.0, generated_tokens: 40.0, seconds: 1.25 };
        assert_eq!(sum, wanted);
    }
}
