//! Builds a report: the sections of a run, or of the one setting of a comparison that is shown in
//! detail.

pub(crate) mod sections;

use super::{Report, ReportError};
use crate::{
    audit::redact,
    config::Settings,
    dataset::{RelabelledText, Variant},
    embed::Embedder,
    eval::{self, accuracy_difference, accuracy_interval, macro_f1_interval},
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
const COMPARED: [(Variant, Variant); 4] = [
    (Variant::A1, Variant::Seeds),
    (Variant::A2, Variant::Seeds),
    (Variant::A2, Variant::A1),
    (Variant::A2, Variant::Teacher),
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
        student: report::Student,
    ) -> Result<Report, ReportError> {
        let Findings { variants, relabelled, kept, ref funnel } = *findings;
        let task = self.task;
        let gold: Vec<usize> = task.test.iter().map(|item| item.label).collect();
        let find = |row: Variant| variants.iter().find(|variant| variant.row == row);
        let a2 = find(Variant::A2);
        let confusion =
            a2.map(|variant| sections::confusion(task, &gold, &variant.predicted, Variant::A2));
        let reliability =
            [find(Variant::Teacher), a2].into_iter().flatten().filter_map(|variant| {
                let VariantPredictions { row, predicted, confidence, .. } = variant;
                sections::reliability(*row, &gold, predicted, confidence)
            });
        let predicted = a2.map_or(&[][..], |variant| &variant.predicted[0]);
        let mut report = Report {
            task: self.task(),
            teacher: describe_teacher(teacher),
            student,
            results: self.results(variants, &gold)?,
            differences: differences(variants, &gold)?,
            funnel: funnel.clone(),
            by_hand: self.by_hand(),
            relabel: (!relabelled.is_empty()).then(|| sections::relabel(task, relabelled)),
            confusion,
            examples: sections::examples(relabelled),
            comparison: None,
            reliability: reliability.collect(),
            map: sections::map(task, self.seeds, kept, predicted, self.embedder)?,
            diversity: sections::diversity(self.seeds, kept),
            privacy: None,
            stages: self.stages(),
            provenance: self.provenance(),
            warnings: self.warnings(),
        };
        mask(self.settings, &mut report)?;
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
        let Tally { rows, labels, texts, added, removed } = self.run.edits().tally();
        (rows > 0).then_some(report::ByHand {
            rows: rows as u64,
            labels: labels as u64,
            texts: texts as u64,
            added: added as u64,
            removed: removed as u64,
        })
    }

    /// Warnings about the task's files, and the requests that the teacher could not answer.
    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.task.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(self.run.ledger.entries().iter().filter_map(|entry| match entry {
            Entry::Skipped { request, reason, .. } => {
                Some(format!("request {request} was skipped: {reason}"))
            }
            _ => None,
        }));
        warnings
    }

    /// Calls, tokens and seconds of each stage, summed over the ledger.
    fn stages(&self) -> Vec<report::Stage> {
        let mut stages: Vec<report::Stage> = ["generate", "relabel", "train", "test"]
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
                    // The request was for a label; the ids of requests for texts are numbers.
                    let stage =
                        ask.split('.').next().filter(|name| ["relabel", "test"].contains(name));
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
            ledger_rows: entries.len() as u64,
        }
    }
}

/// The differences of [`COMPARED`] for which both variants were run.
fn differences(
    variants: &[VariantPredictions],
    gold: &[usize],
) -> Result<Vec<report::Difference>, ReportError> {
    let correct = |row: Variant| {
        let variant = variants.iter().find(|variant| variant.row == row)?;
        Some(eval::correct(&variant.predicted, gold))
    };
    let mut differences = Vec::new();
    for (a, b) in COMPARED {
        if let (Some(of_a), Some(of_b)) = (correct(a), correct(b)) {
            let interval = accuracy_difference(&of_a, &of_b)?;
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
        },
        None => report::Teacher {
            name: "imported texts".into(),
            sha256: String::new(),
            file: String::new(),
        },
    }
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
