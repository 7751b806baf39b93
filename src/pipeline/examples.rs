//! From texts and labels to what a student is trained on.

use std::path::Path;

use super::PipelineError;
use crate::{
    config::StudentSettings,
    dataset::RelabelledText,
    run::RunError,
    student::Example,
    task::{Class, LabelledText},
    verbosity,
};

/// The gold seeds; they belong to every training set.
pub(crate) fn gold(seeds: &[LabelledText]) -> Vec<Example> {
    seeds
        .iter()
        .map(|seed| Example { gold: true, ..Example::new(&seed.text, seed.label) })
        .collect()
}

/// Makes examples of the rows of `train.jsonl` in the folder `path`.
#[derive(Clone, Copy)]
pub(crate) struct Labels<'a> {
    pub path: &'a Path,
    pub classes: &'a [Class],
    pub student: &'a StudentSettings,
}

impl Labels<'_> {
    /// With the labels that were asked for.
    ///
    /// # Errors
    /// A class that the task does not know, with its line.
    pub(crate) fn asked(&self, rows: &[RelabelledText]) -> Result<Vec<Example>, PipelineError> {
        let example = |(line, row): (usize, &RelabelledText)| {
            Ok(Example::new(&row.augmented.text, self.class_of(&row.augmented.major, line)?))
        };
        rows.iter().enumerate().map(example).collect()
    }

    /// With the labels after relabelling, and what else the teacher said of a text where the
    /// settings ask for it, or `soft` labels are wanted whatever they ask.
    ///
    /// # Errors
    /// As [`Self::asked`].
    pub(crate) fn relabelled(
        &self,
        rows: &[RelabelledText],
        soft: bool,
    ) -> Result<Vec<Example>, PipelineError> {
        let soft = soft || self.student.training.soft_labels > 0.0;
        let mut examples = Vec::with_capacity(rows.len());
        for (line, row) in rows.iter().enumerate() {
            let mut example = Example::new(&row.augmented.text, self.class_of(&row.relabel, line)?);
            if self.student.confidence_weights {
                example.weight = row.p;
            }
            if soft && !row.probabilities.is_empty() {
                let whole: f32 = row.probabilities.iter().map(|(_, p)| p).sum();
                example.teacher = vec![0.0; self.classes.len()];
                for (name, p) in &row.probabilities {
                    example.teacher[self.class_of(name, line)?] = p / whole.max(f32::MIN_POSITIVE);
                }
            }
            examples.push(example);
        }
        Ok(examples)
    }

    fn class_of(&self, name: &str, line: usize) -> Result<usize, PipelineError> {
        let found = self.classes.iter().position(|class| class.name == name);
        found.ok_or_else(|| {
            RunError::Row {
                path: self.path.join("train.jsonl"),
                line: line + 1,
                message: format!("the label{} is no class of the task", verbosity::quoted(name)),
            }
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dataset::AugmentedText, student::TrainSettings};

    fn row(text: &str, relabel: &str, p: f32, probabilities: &[(&str, f32)]) -> RelabelledText {
        let augmented: AugmentedText =
            serde_json::from_value(serde_json::json!({ "id": 0, "text": text, "major": "a" }))
                .expect("the other keys may be missing");
        let probabilities = probabilities.iter().map(|&(name, p)| (name.to_owned(), p)).collect();
        RelabelledText { augmented, relabel: relabel.to_owned(), p, probabilities }
    }

    fn class(name: &str) -> Class {
        Class { name: name.to_owned(), description: String::new() }
    }

    fn a2(
        student: &StudentSettings,
        rows: &[RelabelledText],
    ) -> Result<Vec<Example>, PipelineError> {
        let classes = ["a", "b", "c"].map(class);
        let labels = Labels { path: Path::new("run"), classes: &classes, student };
        assert_eq!(labels.asked(rows)?, [Example::new("x", 0), Example::new("y", 0)]);
        labels.relabelled(rows, false)
    }

    #[test]
    fn seeds_are_gold() {
        let seeds = [LabelledText { text: "seed".to_owned(), label: 2 }];
        assert_eq!(gold(&seeds), [Example { gold: true, ..Example::new("seed", 2) }]);
    }

    #[test]
    fn only_the_relabelled_rows_carry_what_the_teacher_said_and_only_when_asked() {
        let rows = [row("x", "b", 0.6, &[("b", 0.6), ("c", 0.2)]), row("y", "a", 1.0, &[])];
        let hard = [Example::new("x", 1), Example::new("y", 0)];
        assert_eq!(a2(&StudentSettings::default(), &rows).unwrap(), hard);

        let training = TrainSettings { soft_labels: 0.5, ..TrainSettings::default() };
        let soft = StudentSettings { training, confidence_weights: true, ..Default::default() };
        let examples = a2(&soft, &rows).unwrap();
        assert_eq!((examples[0].weight, examples[1].weight), (0.6, 1.0));
        // A class that was no candidate has none; the others add up to 1. Imported rows stay hard.
        for (found, wanted) in examples[0].teacher.iter().zip([0.0, 0.75, 0.25]) {
            assert!((found - wanted).abs() < 1e-6, "{examples:?}");
        }
        assert!(examples[1].teacher.is_empty());

        // GPT3Mix wants them soft whatever the settings say.
        let labels = Labels {
            path: Path::new("run"),
            classes: &["a", "b", "c"].map(class),
            student: &StudentSettings::default(),
        };
        let examples = labels.relabelled(&rows, true).unwrap();
        assert_eq!((examples[0].label, examples[0].weight), (1, 1.0));
        assert!((examples[0].teacher[2] - 0.25).abs() < 1e-6, "{examples:?}");

        let foreign = [row("x", "b", 0.6, &[("z", 1.0)]), row("y", "a", 1.0, &[])];
        let error = a2(&soft, &foreign).unwrap_err().to_string();
        assert!(error.contains("train.jsonl:1") && !error.contains("\"z\""), "{error}");
    }
}
