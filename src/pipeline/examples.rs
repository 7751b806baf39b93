//! From texts and labels to what a student is trained on.

use super::PipelineError;
use crate::{
    config::StudentSettings,
    dataset::RelabelledText,
    run::{RunError, RunFolder, names},
    student::Example,
    task::{LabelledText, Task},
};

/// The gold seeds; they belong to every training set.
pub(crate) fn gold(seeds: &[LabelledText]) -> Vec<Example> {
    seeds
        .iter()
        .map(|seed| Example { gold: true, ..Example::new(&seed.text, seed.label) })
        .collect()
}

/// Turns the rows of `train.jsonl` into training examples.
#[derive(Clone, Copy)]
pub(crate) struct ExampleBuilder<'a> {
    /// The folder of `train.jsonl`, for errors.
    pub run: &'a RunFolder,
    pub task: &'a Task,
    pub student: &'a StudentSettings,
}

impl ExampleBuilder<'_> {
    /// With the labels that were asked for, each with the weight `student.text_weight`.
    ///
    /// # Errors
    /// A class that the task does not know, with its line.
    pub(crate) fn asked(&self, rows: &[RelabelledText]) -> Result<Vec<Example>, PipelineError> {
        let example = |(line, row): (usize, &RelabelledText)| {
            let label = self.class_index(&row.augmented.major, line)?;
            // A person who gave the text another label did not give it this one.
            let overruled = row.augmented.by.is_some() && row.relabel != row.augmented.major;
            let given = !overruled && row.augmented.is_given();
            Ok(self.example(row, label, given))
        };
        rows.iter().enumerate().map(example).collect()
    }

    /// With the labels after relabelling. The confidence in a label weighs it, and its
    /// probabilities become the soft label, if the settings ask for them; `soft` asks for the
    /// latter too.
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
            let label = self.class_index(&row.relabel, line)?;
            let mut example = self.example(row, label, row.augmented.is_given());
            if self.student.confidence_weights {
                example.weight *= row.p;
            }
            if soft && !row.probabilities.is_empty() {
                let whole: f32 = row.probabilities.iter().map(|(_, p)| p).sum();
                example.teacher = vec![0.0; self.task.classes.len()];
                for (name, p) in &row.probabilities {
                    let class = self.class_index(name, line)?;
                    example.teacher[class] = p / whole.max(f32::MIN_POSITIVE);
                }
            }
            examples.push(example);
        }
        Ok(examples)
    }

    /// The text of `row` with `label`; `given`: by a person.
    fn example(&self, row: &RelabelledText, label: usize, given: bool) -> Example {
        Example {
            weight: self.student.weight_of(given),
            by_teacher: !given,
            ..Example::new(&row.augmented.text, label)
        }
    }

    fn class_index(&self, name: &str, line: usize) -> Result<usize, RunError> {
        let unknown =
            || RunError::unknown_label(self.run.path().join(names::TRAIN), line + 1, name);
        self.task.class_index(name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::Sample, config::Settings, dataset::AugmentedText,
        pipeline::scripted_teacher::pipeline, student::TrainSettings,
    };

    fn row(text: &str, relabel: &str, p: f32, probabilities: &[(&str, f32)]) -> RelabelledText {
        let augmented: AugmentedText =
            serde_json::from_value(serde_json::json!({ "id": 0, "text": text, "major": "a" }))
                .expect("the other keys may be missing");
        let probabilities = probabilities.iter().map(|&(name, p)| (name.to_owned(), p)).collect();
        RelabelledText { augmented, relabel: relabel.to_owned(), p, probabilities }
    }

    /// Calls `test` with a builder for the classes a, b and c.
    fn with_builder<T>(student: &StudentSettings, test: impl FnOnce(ExampleBuilder<'_>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let sample = Sample::new(&["a", "b", "c"], Vec::new());
        let pipeline = pipeline(folder.path(), &sample, &Settings::default(), |_| {});
        test(ExampleBuilder { run: &pipeline.run, task: &sample.task, student })
    }

    fn a2(
        student: &StudentSettings,
        rows: &[RelabelledText],
    ) -> Result<Vec<Example>, PipelineError> {
        with_builder(student, |build| {
            let asked = build.asked(rows)?;
            assert!(asked.iter().all(|example| example.label == 0), "{asked:?}");
            build.relabelled(rows, false)
        })
    }

    #[test]
    fn seeds_are_gold() {
        let seeds = [LabelledText { text: "seed".to_owned(), label: 2 }];
        assert_eq!(gold(&seeds), [Example { gold: true, ..Example::new("seed", 2) }]);
    }

    #[test]
    fn a_generated_text_weighs_less_than_one_that_a_person_edited() {
        let student = StudentSettings { confidence_weights: true, ..StudentSettings::default() };
        let mut rows = [row("x", "b", 0.5, &[]), row("y", "a", 1.0, &[])];
        rows[1].augmented.by = Some(serde_json::from_str("\"person\"").unwrap());
        let weights: Vec<f32> =
            a2(&student, &rows).unwrap().iter().map(|example| example.weight).collect();
        assert_eq!(weights, [0.05, 1.0]);
        let by_teacher = a2(&student, &rows).unwrap().into_iter().map(|example| example.by_teacher);
        assert_eq!(by_teacher.collect::<Vec<_>>(), [true, false]);
        // The label that was asked for is not the person's where they gave another one.
        rows[0].augmented.by = rows[1].augmented.by;
        let asked = with_builder(&student, |build| build.asked(&rows).unwrap());
        let weights: Vec<f32> = asked.iter().map(|example| example.weight).collect();
        assert_eq!(weights, [0.1, 1.0]);
    }

    #[test]
    fn only_relabelled_rows_carry_weights_and_soft_labels_and_only_when_asked() {
        let rows = [row("x", "b", 0.6, &[("b", 0.6), ("c", 0.2)]), row("y", "a", 1.0, &[])];
        let whole = StudentSettings { text_weight: 1.0, ..StudentSettings::default() };
        let hard = [("x", 1), ("y", 0)]
            .map(|(text, label)| Example { by_teacher: true, ..Example::new(text, label) });
        assert_eq!(a2(&whole, &rows).unwrap(), hard);

        let training = TrainSettings { soft_labels: 0.5, ..TrainSettings::default() };
        let soft = StudentSettings { training, confidence_weights: true, ..whole.clone() };
        let examples = a2(&soft, &rows).unwrap();
        assert_eq!((examples[0].weight, examples[1].weight), (0.6, 1.0));
        // A class that was no candidate has none; the others add up to 1. Imported rows stay hard.
        for (found, wanted) in examples[0].teacher.iter().zip([0.0, 0.75, 0.25]) {
            assert!((found - wanted).abs() < 1e-6, "{examples:?}");
        }
        assert!(examples[1].teacher.is_empty());

        // GPT3Mix wants them soft whatever the settings say.
        let examples = with_builder(&whole, |build| build.relabelled(&rows, true).unwrap());
        assert_eq!((examples[0].label, examples[0].weight), (1, 1.0));
        assert!((examples[0].teacher[2] - 0.25).abs() < 1e-6, "{examples:?}");

        let foreign = [row("x", "b", 0.6, &[("z", 1.0)]), row("y", "a", 1.0, &[])];
        let error = a2(&soft, &foreign).unwrap_err().to_string();
        assert!(error.contains("train.jsonl:1") && !error.contains("\"z\""), "{error}");
    }
}
