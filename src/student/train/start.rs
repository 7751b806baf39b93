//! Where a linear head starts: a logistic regression on the embeddings of the frozen encoder.

use super::{LinearHead, Training};
use crate::{
    embed::normalise,
    student::{
        Result, SentenceEncoder,
        probe::{Features, Labelled, LogisticRegression, Targets, choose_c},
    },
};

impl Training<'_> {
    /// A logistic regression on the embeddings of the examples; its C is chosen by
    /// cross-validation.
    ///
    /// # Errors
    /// The encoder fails.
    pub(super) fn probe(&self) -> Result<LinearHead> {
        let (features, targets) = (Features::new(&self.embeddings()?), self.targets());
        let examples = Labelled { features: &features, targets: &targets };
        let c = choose_c(examples, None, self.seed);
        let LogisticRegression { weight, bias } = LogisticRegression::fit(&features, &targets, c);
        Ok(LinearHead { weight, bias })
    }

    /// The embedding of each example, of unit length.
    pub(super) fn embeddings(&self) -> Result<Vec<Vec<f32>>> {
        let texts: Vec<String> = self.examples.iter().map(|example| example.text.clone()).collect();
        let mut vectors = SentenceEncoder::new(self.base)?.pooled(&texts, self.max_length())?;
        vectors.iter_mut().for_each(|vector| normalise(vector));
        Ok(vectors)
    }

    /// The label of each example, or the teacher's probabilities as far as `student.soft_labels`
    /// has it, times the weight of the example.
    fn targets(&self) -> Targets {
        let classes = self.labels.len();
        let labels: Vec<usize> = self.examples.iter().map(|example| example.label).collect();
        let mut targets = Targets::of_labels(&labels, classes);
        for (row, example) in targets.values.chunks_exact_mut(classes).zip(self.examples) {
            let soft = match example.teacher.is_empty() {
                true => 0.0,
                false => self.settings.soft_labels as f32,
            };
            for (class, target) in row.iter_mut().enumerate() {
                let teacher = example.teacher.get(class).copied().unwrap_or(0.0);
                *target = example.weight * ((1.0 - soft) * *target + soft * teacher);
            }
        }
        targets
    }
}
