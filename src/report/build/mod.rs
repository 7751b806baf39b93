//! Builds a report: the sections of a run, or of the one setting of a comparison that is shown in
//! detail.

pub(crate) mod classes;
pub(crate) mod sections;

use std::collections::BTreeSet;

use super::{Report, ReportError, fitness};
use crate::{
    audit::redact,
    config::Settings,
    dataset::{RelabelledText, Variant},
    embed::Embedder,
    eval::{self, Interval, accuracy_difference, accuracy_interval, macro_f1_interval},
    prompt::Prompts,
    report,
    run::{RunFolder, edits::Tally, ledger::Entry},
    task::{Class, LabelledText, Task},
    teacher::TeacherIdentity,
};

/// What a report presents.
pub(crate) struct Findings<'a> {
    /// The variants of the result table.
    pub variants: &'a [VariantPredictions],
    pub relabelled: &'a [RelabelledText],
    pub kept: &'a [RelabelledText],
    pub funnel: report::Funnel,
    /// What the teacher reached before it wrote, if it was measured.
    pub check: Option<report::TeacherCheck>,
}

/// The predictions of one variant on the test set.
pub(crate) struct VariantPredictions {
    pub row: Variant,
    /// Class indices, `[seeds][rows]`.
    pub predicted: Vec<Vec<usize>>,
    /// Their probabilities, `[seeds][rows]`; the lists are empty if an older ledger has none.
    pub confidence: Vec<Vec<f32>>,
    pub train_rows: usize,
}

/// Builds the report of a run folder.
pub(crate) struct ReportBuilder<'a> {
    pub run: &'a RunFolder,
    pub task: &'a Task,
    pub settings: &'a Settings,
    pub prompts: &'a Prompts,
    pub seeds: &'a [LabelledText],
    pub embedder: &'a dyn Embedder,
}

/// The pairs of variants that a report compares.
const COMPARED: [(Variant, Variant); 10] = [
    (Variant::A1, Variant::Seeds),
    (Variant::A2, Variant::Seeds),
    (Variant::A2, Variant::EmbedSeeds),
    (Variant::A2, Variant::A1),
    (Variant::A2, Variant::Teacher),
    (Variant::U, Variant::Seeds),
    (Variant::A2U, Variant::Seeds),
    (Variant::A2U, Variant::A2),
    (Variant::A2U, Variant::U),
    (Variant::A2U, Variant::Teacher),
];

impl ReportBuilder<'_> {
    /// The report on `findings`.
    ///
    /// # Errors
    /// Predictions that do not fit the test set, or the embedder fails.
    pub(crate) fn build(
        &self,
        findings: &Findings<'_>,
        teacher: Option<&TeacherIdentity>,
        model: report::Student,
    ) -> Result<Report, ReportError> {
        let Findings { variants, relabelled, kept, ref funnel, check } = *findings;
        let task = self.task;
        let gold: Vec<usize> = task.test.iter().map(|item| item.label).collect();
        let find = |row: Variant| variants.iter().find(|variant| variant.row == row);
        let student = find(Variant::A2U).or_else(|| find(Variant::A2));
        let confusion = student
            .map(|variant| sections::confusion(task, &gold, &variant.predicted, variant.row));
        let reliability =
            [find(Variant::Teacher), student].into_iter().flatten().filter_map(|variant| {
                let VariantPredictions { row, predicted, confidence, .. } = variant;
                sections::reliability(*row, &gold, predicted, confidence)
            });
        let predicted = student.map_or(&[][..], |variant| &variant.predicted[0]);
        let mut report = Report {
            task: self.task(),
            teacher: report::Teacher { addresses: self.sent_to(), ..describe_teacher(teacher) },
            teacher_check: check,
            student: model,
            results: self.results(variants, &gold)?,
            differences: differences(variants, &gold)?,
            funnel: funnel.clone(),
            by_hand: self.by_hand(),
            relabel: (!relabelled.is_empty()).then(|| sections::relabel(task, relabelled)),
            confusion,
            examples: sections::examples(relabelled),
            comparison: None,
            reliability: reliability.collect(),
            selective: student.and_then(|variant| {
                let VariantPredictions { row, predicted, confidence, .. } = variant;
                sections::selective(*row, &gold, predicted, confidence)
            }),
            map: sections::map(task, self.seeds, kept, predicted, self.embedder)?,
            diversity: sections::diversity(self.seeds, kept),
            text_length: None,
            privacy: None,
            unlabelled: None,
            stages: self.stages(),
            provenance: self.provenance(),
            warnings: self.warnings(kept),
        };
        report.warnings.extend(one_seed(&report));
        report.warnings.extend(fitness::warnings(&report));
        mask(self.settings, &mut report)?;
        if !self.settings.report.texts {
            leave_out_texts(&mut report);
        }
        Ok(report)
    }

    fn task(&self) -> report::Task {
        let class = |class: &Class| report::Class {
            name: class.name.clone(),
            description: class.description.clone(),
        };
        report::Task {
            name: self.task.name.clone(),
            classes: self.task.classes.iter().map(class).collect(),
            shots: self.task.shots,
            test_rows: self.task.test.len(),
            sha256: self.task.sha256.clone(),
        }
    }

    /// The scores of each variant.
    fn results(
        &self,
        variants: &[VariantPredictions],
        gold: &[usize],
    ) -> Result<Vec<report::Scores>, ReportError> {
        let classes = self.task.classes.len();
        let scores = |variant: &VariantPredictions| {
            let VariantPredictions { row, ref predicted, train_rows, .. } = *variant;
            Ok(report::Scores {
                row,
                accuracy: accuracy_interval(&eval::correct(predicted, gold))?,
                macro_f1: macro_f1_interval(gold, predicted, classes)?,
                seeds: predicted.len(),
                train_rows,
                test_rows: gold.len(),
            })
        };
        variants.iter().map(scores).collect()
    }

    /// The edits by hand that stand.
    fn by_hand(&self) -> Option<report::ByHand> {
        let Tally { rows, labels, texts, confirmed, added, removed } = self.run.edits().tally();
        (rows > 0).then_some(report::ByHand {
            rows: rows as u64,
            labels: labels as u64,
            texts: texts as u64,
            confirmed: confirmed as u64,
            added: added as u64,
            removed: removed as u64,
        })
    }

    /// Warnings about the task's files, the classes that lack texts, and the requests that the
    /// teacher could not answer.
    fn warnings(&self, kept: &[RelabelledText]) -> Vec<String> {
        let mut warnings = self.task.told_warnings();
        if !kept.is_empty() {
            warnings.extend(classes::without_texts(self.task, kept));
        }
        warnings.extend(self.run.ledger.entries().iter().filter_map(|entry| match entry {
            Entry::Skipped { request, reason, .. } => {
                Some(format!("request {request} was skipped: {reason}"))
            }
            _ => None,
        }));
        warnings
    }

    /// The addresses to which prompts were sent.
    fn sent_to(&self) -> Vec<String> {
        let addresses = self.run.ledger.entries().iter().flat_map(|entry| match entry {
            Entry::Teacher { identity } => identity.addresses(),
            _ => &[],
        });
        addresses.cloned().collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Calls, tokens and seconds of each stage, summed over the ledger.
    fn stages(&self) -> Vec<report::Stage> {
        let mut stages: Vec<report::Stage> =
            ["check", "generate", "relabel", "label", "train", "test"]
                .map(|stage| report::Stage {
                    stage: stage.to_owned(),
                    seconds: 0.0,
                    prompt_tokens: 0,
                    generated_tokens: 0,
                    calls: 0,
                })
                .into();
        for entry in self.run.ledger.entries() {
            let (name, spent, prompt, generated, calls) = match entry {
                Entry::Reply { ask, seconds, prompt_tokens, generated_tokens, .. } => {
                    // The ids of requests for texts are numbers, others begin with their stage.
                    let others = ["relabel", "label", "test", "refine"];
                    let stage = ask.split('.').next().filter(|name| others.contains(name));
                    (stage.unwrap_or("generate"), *seconds, *prompt_tokens, *generated_tokens, 1)
                }
                Entry::Scores { stage, seconds, prompt_tokens, .. } => {
                    (stage.as_str(), *seconds, *prompt_tokens, 0, 1)
                }
                Entry::Student { seconds, .. } => ("train", *seconds, 0, 0, 0),
                Entry::Begun { .. }
                | Entry::TaskChanged(_)
                | Entry::Teacher { .. }
                | Entry::Stage { .. }
                | Entry::Skipped { .. }
                | Entry::Restart { .. }
                | Entry::Shard { .. }
                | Entry::Picked { .. }
                | Entry::Edit { .. }
                | Entry::Decision { .. } => continue,
            };
            if let Some(stage) = stages.iter_mut().find(|stage| stage.stage == name) {
                stage.seconds += spent;
                stage.prompt_tokens += prompt as u64;
                stage.generated_tokens += generated as u64;
                stage.calls += calls;
            }
        }
        stages.retain(|stage| stage.seconds > 0.0);
        stages
    }

    fn provenance(&self) -> report::Provenance {
        let entries = self.run.ledger.entries();
        let started = entries.iter().find_map(|entry| match entry {
            Entry::Begun { started, .. } => Some(started.clone()),
            _ => None,
        });
        report::Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.unwrap_or_default(),
            settings: self.settings.to_toml(),
            prompts_sha256: self.prompts.sha256().to_owned(),
            ledger_rows: entries.iter().filter(|entry| !records_report(entry)).count() as u64,
        }
    }
}

/// Whether `entry` records the report itself. Such entries are not counted in it: writing the same
/// report again would change it.
fn records_report(entry: &Entry) -> bool {
    matches!(entry, Entry::Stage { files, .. } if files.contains_key(report::JSON_FILE))
}

/// The differences of [`COMPARED`] for which both variants were run.
fn differences(
    variants: &[VariantPredictions],
    gold: &[usize],
) -> Result<Vec<report::Difference>, ReportError> {
    let correct = |row: Variant| {
        let variant = variants.iter().find(|variant| variant.row == row)?;
        let one_seed = row.is_random() && variant.predicted.len() < 2;
        Some((eval::correct(&variant.predicted, gold), one_seed))
    };
    let mut differences = Vec::new();
    for (a, b) in COMPARED {
        if let (Some((of_a, one_a)), Some((of_b, one_b))) = (correct(a), correct(b)) {
            let one_seed = one_a || one_b;
            let interval = Interval { one_seed, ..accuracy_difference(&of_a, &of_b)? };
            differences.push(report::Difference { a, b, interval });
        }
    }
    Ok(differences)
}

fn describe_teacher(teacher: Option<&TeacherIdentity>) -> report::Teacher {
    match teacher {
        Some(identity) => report::Teacher {
            file: identity.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            name: identity.name.clone(),
            sha256: identity.sha256.clone(),
            addresses: Vec::new(),
        },
        None => report::Teacher {
            name: "imported texts".into(),
            sha256: String::new(),
            file: String::new(),
            addresses: Vec::new(),
        },
    }
}

/// A warning if no difference could be shown because of a single training seed.
fn one_seed(report: &Report) -> Option<String> {
    let one = report.differences.iter().any(|difference| difference.interval.one_seed);
    one.then(|| {
        "each student was trained with one seed only: intervals cover the choice of test texts, not \
         the chance of training, and no difference is claimed. `run.seeds = 5` trains five."
            .to_owned()
    })
}

/// Removes all texts from `report`.
fn leave_out_texts(report: &mut Report) {
    report.examples.clear();
    report.map.iter_mut().flat_map(|map| &mut map.points).for_each(|point| point.text.clear());
    let pairs = report.confusion.iter_mut().flat_map(|confusion| &mut confusion.pairs);
    pairs.for_each(|pair| pair.texts.clear());
}

/// Masks personal data in all texts of `report`, if `filter.redact` is set.
///
/// # Errors
/// An invalid pattern in `audit.patterns`.
fn mask(settings: &Settings, report: &mut Report) -> Result<(), ReportError> {
    let Some(scanner) = redact::scanner(settings)? else { return Ok(()) };
    let descriptions = report.task.classes.iter_mut().map(|class| &mut class.description);
    let examples = report.examples.iter_mut().map(|example| &mut example.text);
    let points = report.map.iter_mut().flat_map(|map| &mut map.points).map(|point| &mut point.text);
    let pairs = report.confusion.iter_mut().flat_map(|confusion| &mut confusion.pairs);
    let mistaken = pairs.flat_map(|pair| &mut pair.texts);
    for text in descriptions.chain(examples).chain(points).chain(mistaken) {
        redact::mask(&scanner, text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_texts_quotes_none() {
        let mut report = report::sample::rich();
        let texts: Vec<String> = (report.examples.iter().map(|example| &example.text))
            .chain(report.map.iter().flat_map(|map| &map.points).map(|point| &point.text))
            .chain(report.confusion.iter().flat_map(|all| &all.pairs).flat_map(|one| &one.texts))
            .cloned()
            .collect();
        assert!(texts.len() > 20);
        let leaks = |report: &Report| {
            let (json, page) = (serde_json::to_string(report).unwrap(), report::render(report));
            let found = |text: &&String| json.contains(*text) || page.contains(*text);
            // JSON and HTML escape the others in ways of their own.
            let plain = |text: &&String| {
                text.len() > 9 && text.chars().all(|c| c.is_alphanumeric() || " .,".contains(c))
            };
            texts.iter().filter(plain).filter(found).count()
        };
        assert!(leaks(&report) > 0);
        let pairs = report.confusion.as_ref().unwrap().pairs.len();
        leave_out_texts(&mut report);
        assert_eq!(leaks(&report), 0);
        assert_eq!(report.confusion.as_ref().unwrap().pairs.len(), pairs, "pairs stay");
    }

    #[test]
    fn one_training_seed_is_no_evidence() {
        let variant = |row, predicted: &[&[usize]]| VariantPredictions {
            row,
            predicted: predicted.iter().map(|seed| seed.to_vec()).collect(),
            confidence: Vec::new(),
            train_rows: 1,
        };
        let gold = [0; 40];
        let (right, wrong) = (&[0; 40][..], &[1; 40][..]);
        let compare = |seeds: usize, row| {
            let variants =
                [variant(Variant::A2, &vec![right; seeds]), variant(row, &vec![wrong; seeds])];
            differences(&variants, &gold).unwrap()[0].interval
        };
        assert!(compare(2, Variant::Seeds).shows_difference());
        let one = compare(1, Variant::Seeds);
        assert!(!one.shows_difference() && !one.includes_zero(), "{one:?}");
        // The teacher is not trained: its one answer is enough, the student's is not.
        let with_teacher = |seeds: usize| {
            let variants =
                [variant(Variant::A2, &vec![right; seeds]), variant(Variant::Teacher, &[wrong])];
            differences(&variants, &gold).unwrap()[0].interval.shows_difference()
        };
        assert!(with_teacher(3) && !with_teacher(1));
    }
}
