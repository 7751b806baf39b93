//! One report out of what was found: the sections of a run, and of the setting of a comparison that
//! is shown closely.

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
    run::{RunFolder, ledger::Entry},
    task::{LabelledText, Task},
    teacher::TeacherIdentity,
};

/// What a report is about.
pub(crate) struct Found<'a> {
    pub table: &'a [VariantPredictions],
    pub relabelled: &'a [RelabelledText],
    pub kept: &'a [RelabelledText],
    pub funnel: report::Funnel,
}

/// What the models of one row of the table said about the test set.
pub(crate) struct VariantPredictions {
    pub row: Variant,
    /// Class indices, `[seeds][rows]`.
    pub predicted: Vec<Vec<usize>>,
    /// Their probabilities; lists are empty where an older ledger has none.
    pub confidence: Vec<Vec<f32>>,
    pub train_rows: usize,
}

/// Gathers the report from what the stages left behind.
pub(crate) struct Assembly<'a> {
    pub run: &'a RunFolder,
    pub task: &'a Task,
    pub settings: &'a Settings,
    pub prompts: &'a Prompts,
    pub seeds: &'a [LabelledText],
    pub embedder: &'a dyn Embedder,
}

impl Assembly<'_> {
    /// The report on `found`.
    ///
    /// # Errors
    /// Answers that do not fit the test set; the embedder passes on its errors.
    pub(crate) fn report(
        &self,
        found: &Found<'_>,
        teacher: Option<&TeacherIdentity>,
        student: report::Student,
    ) -> Result<Report, ReportError> {
        let Found { table, relabelled, kept, ref funnel } = *found;
        let task = self.task;
        let classes = task.classes.len();
        let gold: Vec<usize> = task.test.iter().map(|item| item.label).collect();
        let correct = |arm: &VariantPredictions| eval::correct(&arm.predicted, &gold);
        let mut results = Vec::new();
        for arm in table {
            results.push(report::Scores {
                row: arm.row,
                accuracy: accuracy_interval(&correct(arm))?,
                macro_f1: macro_f1_interval(&gold, &arm.predicted, classes)?,
                seeds: arm.predicted.len(),
                train_rows: arm.train_rows,
                test_rows: gold.len(),
            });
        }
        let find = |row: Variant| table.iter().find(|arm| arm.row == row);
        let mut differences = Vec::new();
        let pairs = [
            (Variant::A1, Variant::Seeds),
            (Variant::A2, Variant::Seeds),
            (Variant::A2, Variant::A1),
            (Variant::A2, Variant::Teacher),
        ];
        for (a, b) in pairs {
            if let (Some(left), Some(right)) = (find(a), find(b)) {
                let interval = accuracy_difference(&correct(left), &correct(right))?;
                differences.push(report::Difference { a, b, interval });
            }
        }
        let a2 = find(Variant::A2);
        let confusion = a2.map(|arm| sections::confusion(task, &gold, &arm.predicted, Variant::A2));
        let reliability = [find(Variant::Teacher), a2].into_iter().flatten().filter_map(|arm| {
            sections::reliability(arm.row, &gold, &arm.predicted, &arm.confidence)
        });
        let predicted = a2.map_or(&[][..], |arm| &arm.predicted[0]);
        let map = sections::map(task, self.seeds, kept, predicted, self.embedder)?;
        let teacher = teacher.map_or_else(
            || report::Teacher {
                name: "imported texts".into(),
                sha256: String::new(),
                file: String::new(),
            },
            |identity| report::Teacher {
                file: identity.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                name: identity.name.clone(),
                sha256: identity.sha256.clone(),
            },
        );
        let mut report = Report {
            task: report::Task {
                name: task.name.clone(),
                classes: task
                    .classes
                    .iter()
                    .map(|class| report::Class {
                        name: class.name.clone(),
                        description: class.description.clone(),
                    })
                    .collect(),
                shots: task.shots,
                test_rows: gold.len(),
                sha256: task.sha256.clone(),
            },
            teacher,
            student,
            results,
            differences,
            funnel: funnel.clone(),
            relabel: (!relabelled.is_empty()).then(|| sections::relabel(task, relabelled)),
            confusion,
            examples: sections::examples(relabelled),
            comparison: None,
            reliability: reliability.collect(),
            map,
            diversity: sections::diversity(self.seeds, kept),
            privacy: None,
            stages: self.stages(),
            provenance: self.provenance(),
            warnings: self.warnings(),
        };
        mask(self.settings, &mut report)?;
        Ok(report)
    }

    /// What the task's readers found odd, and what the teacher could not answer.
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
            let (name, spent, read, written, calls) = match entry {
                Entry::Reply { ask, seconds, prompt_tokens, generated_tokens, .. } => {
                    // A written label; requests for texts have numbers for names.
                    let stage =
                        ask.split('.').next().filter(|name| ["relabel", "test"].contains(name));
                    (stage.unwrap_or("generate"), *seconds, *prompt_tokens, *generated_tokens, 1)
                }
                Entry::Scores { stage, seconds, prompt_tokens, .. } => {
                    (stage.as_str(), *seconds, *prompt_tokens, 0, 1)
                }
                Entry::Student { seconds, .. } => ("train", *seconds, 0, 0, 0),
                Entry::Begun { .. }
                | Entry::Teacher { .. }
                | Entry::Stage { .. }
                | Entry::Skipped { .. }
                | Entry::Restart { .. }
                | Entry::Decision { .. } => continue,
            };
            if let Some(stage) = stages.iter_mut().find(|stage| stage.stage == name) {
                stage.seconds += spent;
                stage.prompt_tokens += read as u64;
                stage.generated_tokens += written as u64;
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

/// Masks every text of the customer's and the teacher's in `report` where the settings want it.
///
/// # Errors
/// As [`redact::rows`].
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
