//! What `promptmix compare` has to tell: one line for each row of the table, number of seeds per class,
//! student and teacher, and the paired differences between them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{dataset::Variant, eval::Interval};

/// What `promptmix compare` found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    pub lines: Vec<Line>,
    /// Paired differences of accuracy between two rows of one (k, student, teacher).
    pub differences: Vec<LineDifference>,
    /// Rows that were left out, and why.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

/// A row of the table for one number of seeds per class, one student and one teacher. Costs are those
/// of one seed: what making this student once would cost, also where work was shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub row: Variant,
    /// Labelled seeds per class.
    pub k: usize,
    /// Absent for the teacher itself.
    pub student: Option<String>,
    /// Absent where no teacher was asked.
    pub teacher: Option<String>,
    pub accuracy: Interval,
    pub macro_f1: Interval,
    /// Seeds averaged over; each draws its few-shot subset, its prompts and its initial weights.
    pub seeds: usize,
    /// Rows of the test set.
    pub test_rows: usize,
    /// Rows trained on, mean over seeds.
    pub train_rows: f64,
    /// Share of the generated texts whose label relabelling changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabelled: Option<f64>,
    /// Requests to the teacher, mean over seeds.
    pub teacher_calls: f64,
    /// Tokens read and written by the teacher, mean over seeds.
    pub tokens: f64,
    /// … of them read.
    pub prompt_tokens: f64,
    /// … of them written.
    pub generated_tokens: f64,
    /// Seconds of teacher and student together, mean over seeds.
    pub seconds: f64,
    /// … of them the student's training and its answers to the test set: its share of the clock, which
    /// students that are trained side by side divide among them.
    pub student_seconds: f64,
}

/// Accuracy of row `a` minus accuracy of row `b`, paired by seed and test text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineDifference {
    pub a: Variant,
    pub b: Variant,
    pub k: usize,
    pub student: Option<String>,
    pub teacher: Option<String>,
    /// The models of `b`, where they are others: one row of two teachers or of two students.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Models>,
    #[serde(flatten)]
    pub interval: Interval,
}

/// The models of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    pub student: Option<String>,
    pub teacher: Option<String>,
}

impl LineDifference {
    /// What is held against what, where two models are: `A2 (after relabelling), k = 2: teacher a −
    /// teacher b`; `None` for two rows of the same models.
    pub fn models(&self) -> Option<String> {
        let other = self.against.as_ref()?;
        let named = |student: &Option<String>, teacher: &Option<String>| {
            let student = student.as_ref().filter(|_| self.student != other.student);
            let teacher = teacher.as_ref().filter(|_| self.teacher != other.teacher);
            let parts = [student, teacher];
            parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(", ")
        };
        let left = named(&self.student, &self.teacher);
        let right = named(&other.student, &other.teacher);
        Some(format!("{}, k = {}: {left} − {right}", self.a.name(), self.k))
    }
}

/// A row that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub row: Variant,
    pub k: usize,
    /// Whose row it is, where it is not every teacher's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    pub reason: String,
}

/// All lines of one number of seeds per class, one student and one teacher: what may be held against
/// each other. Lines without a teacher (or student) stand in every such group.
#[derive(Debug)]
pub struct Group<'a> {
    pub k: usize,
    pub student: Option<&'a str>,
    pub teacher: Option<&'a str>,
    /// In the table's order.
    pub lines: Vec<&'a Line>,
    pub differences: Vec<&'a LineDifference>,
}

impl Comparison {
    /// The groups, by student and teacher as they first appear and then by k.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let lines = self.lines.iter();
        let lines = lines.map(|line| (line.student.as_deref(), line.teacher.as_deref()));
        // A row without a student is held against one without a teacher: that is a pair as well.
        let held = self.differences.iter();
        let held = held.map(|one| (one.student.as_deref(), one.teacher.as_deref()));
        let pairs: Vec<_> = lines.chain(held).collect();
        // A pair that lacks one half belongs to the pairs that have both, where there are any.
        let mut kept: Vec<(Option<&str>, Option<&str>)> = Vec::new();
        for &(student, teacher) in &pairs {
            let part_of_another = pairs.iter().any(|&other| {
                other != (student, teacher) && fits(student, other.0) && fits(teacher, other.1)
            });
            if !part_of_another && !kept.contains(&(student, teacher)) {
                kept.push((student, teacher));
            }
        }
        let mut ks: Vec<usize> = self.lines.iter().map(|line| line.k).collect();
        ks.sort_unstable();
        ks.dedup();
        let groups = kept.iter().flat_map(|&(student, teacher)| {
            ks.iter().map(move |&k| self.group(k, student, teacher))
        });
        groups.filter(|group| !group.lines.is_empty()).collect()
    }

    fn group<'a>(
        &'a self,
        k: usize,
        student: Option<&'a str>,
        teacher: Option<&'a str>,
    ) -> Group<'a> {
        let mut lines: Vec<&Line> = self
            .lines
            .iter()
            .filter(|line| line.k == k)
            .filter(|line| fits(line.student.as_deref(), student))
            .filter(|line| fits(line.teacher.as_deref(), teacher))
            .collect();
        lines.sort_by_key(|line| line.row);
        let mut differences: Vec<&LineDifference> = self
            .differences
            .iter()
            .filter(|difference| difference.k == k && difference.against.is_none())
            .filter(|difference| fits(difference.student.as_deref(), student))
            .filter(|difference| fits(difference.teacher.as_deref(), teacher))
            .collect();
        differences.sort_by_key(|difference| (difference.b, difference.a));
        Group { k, student, teacher, lines, differences }
    }
}

/// Whether what needs `one` (nothing, or a certain model) may stand beside `other`.
fn fits(one: Option<&str>, other: Option<&str>) -> bool {
    one.is_none() || one == other
}

impl Group<'_> {
    /// Everything that it is about: `k = 2, student bert, teacher Qwen`.
    pub fn title(&self) -> String {
        let mut title = format!("k = {}", self.k);
        for (what, name) in [("student", self.student), ("teacher", self.teacher)] {
            if let Some(name) = name {
                title += &format!(", {what} {name}");
            }
        }
        title
    }

    /// Its name among `all` groups, of what they differ in: `2 examples per class (bert)`.
    pub fn name(&self, all: &[Self]) -> String {
        let k = match self.k {
            0 => "no examples".into(),
            1 => "1 example per class".into(),
            k => format!("{k} examples per class"),
        };
        let models = self.models(all);
        if models.is_empty() { k } else { format!("{k} ({models})") }
    }

    /// Its student and teacher where `all` groups differ in them: `bert, Qwen`; else nothing.
    pub fn models(&self, all: &[Self]) -> String {
        let mut models = Vec::new();
        if all.iter().any(|group| group.student != self.student) {
            models.extend(self.student);
        }
        if all.iter().any(|group| group.teacher != self.teacher) {
            models.extend(self.teacher);
        }
        models.join(", ")
    }

    /// Whether `row` is better (`Some(Greater)`), worse, or not shown to differ from `than`; `None`
    /// where the two were not held against each other.
    pub fn shown(&self, row: Variant, than: Variant) -> Option<Ordering> {
        let difference = self.difference(row, than)?;
        Some(match difference.includes_zero() {
            true => Ordering::Equal,
            false => difference.mean.total_cmp(&0.0),
        })
    }

    pub fn line(&self, row: Variant) -> Option<&Line> {
        self.lines.iter().find(|line| line.row == row).copied()
    }

    /// Accuracy of `a` minus accuracy of `b`, whichever way round it was stored.
    pub fn difference(&self, a: Variant, b: Variant) -> Option<Interval> {
        self.differences.iter().find_map(|difference| match (difference.a, difference.b) {
            pair if pair == (a, b) => Some(difference.interval),
            pair if pair == (b, a) => Some(difference.interval.negated()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn shared_lines_stand_in_every_group_that_may_use_them() {
        let comparison = sample::comparison(&[2, 0, 5], &["bert", "minilm"], &["big", "small"]);
        let groups = comparison.groups();
        let pairs: Vec<_> =
            groups.iter().map(|group| (group.k, group.student, group.teacher)).collect();
        assert_eq!(groups.len(), 12, "{pairs:?}");
        assert_eq!(pairs[0], (0, Some("bert"), Some("big")));
        assert_eq!(pairs[4], (2, Some("bert"), Some("small")));
        for group in &groups {
            let rows: Vec<Variant> = group.lines.iter().map(|line| line.row).collect();
            assert!(rows.is_sorted() && rows.windows(2).all(|pair| pair[0] != pair[1]), "{rows:?}");
            assert_eq!(rows.contains(&Variant::Seeds), group.k > 0, "no seeds, no row of seeds");
            assert!(rows.contains(&Variant::Teacher) && rows.contains(&Variant::NoExamples));
            assert!(group.lines.iter().all(|line| fits(line.student.as_deref(), group.student)));
        }
        let there = groups[1].difference(Variant::A2, Variant::Seeds).unwrap();
        assert_eq!(there.mean, -groups[1].difference(Variant::Seeds, Variant::A2).unwrap().mean);
    }

    #[test]
    fn what_needs_no_teacher_forms_a_group_of_its_own_where_there_is_none() {
        let mut comparison = sample::comparison(&[2], &["bert"], &["big"]);
        comparison.lines.retain(|line| line.teacher.is_none());
        comparison.differences.retain(|one| one.teacher.is_none());
        let groups = comparison.groups();
        assert_eq!(groups.len(), 1);
        assert_eq!((groups[0].student, groups[0].teacher), (Some("bert"), None));
        assert!(Comparison::default().groups().is_empty());

        // A row without a student and one without a teacher, which were held against each other.
        let mut comparison = sample::comparison(&[2], &["bert"], &["big"]);
        comparison.lines.retain(|line| matches!(line.row, Variant::Seeds | Variant::Teacher));
        let groups = comparison.groups();
        assert_eq!(groups.len(), 1);
        assert!(
            groups[0].lines.len() == 2
                && groups[0].difference(Variant::Teacher, Variant::Seeds).is_some()
        );
    }
}
