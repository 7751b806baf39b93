//! Where a linear head starts: a logistic regression on the embeddings of the frozen encoder.

use super::{Example, LinearHead};
use crate::{
    embed::normalise,
    student::{
        BaseModel, Result, SentenceEncoder,
        probe::{Features, Known, LogisticRegression, Targets, choose_c},
    },
};

/// What the embeddings of the frozen encoder say of `examples`, of which `max_length` tokens are
/// read: the features and targets of a probe.
pub(super) struct Frozen {
    pub features: Features,
    pub targets: Targets,
}

impl Frozen {
    /// Embeds `examples`; a target is the label, or the teacher's probabilities as far as
    /// `soft_labels` has it, times the weight of the example.
    ///
    /// # Errors
    /// The encoder fails.
    pub(super) fn new(
        base: &BaseModel,
        examples: &[Example],
        classes: usize,
        soft_labels: f64,
        max_length: usize,
    ) -> Result<Self> {
        let texts: Vec<String> = examples.iter().map(|example| example.text.clone()).collect();
        let mut vectors = SentenceEncoder::new(base)?.means(&texts, max_length)?;
        vectors.iter_mut().for_each(|vector| normalise(vector));
        let labels: Vec<usize> = examples.iter().map(|example| example.label).collect();
        let mut targets = Targets::of_labels(&labels, classes);
        for (row, example) in targets.values.chunks_exact_mut(classes).zip(examples) {
            let soft = if example.teacher.is_empty() { 0.0 } else { soft_labels as f32 };
            for (class, target) in row.iter_mut().enumerate() {
                let teacher = example.teacher.get(class).copied().unwrap_or(0.0);
                *target = example.weight * ((1.0 - soft) * *target + soft * teacher);
            }
        }
        Ok(Self { features: Features::new(&vectors), targets })
    }

    /// The probe as a head; its penalty is chosen by cross-validation.
    pub(super) fn head(&self, seed: u64) -> LinearHead {
        let none = (Features::default(), Targets { values: Vec::new(), ..self.targets.clone() });
        let anchors = Known { features: &none.0, targets: &none.1 };
        let all = Known { features: &self.features, targets: &self.targets };
        let c = choose_c(all, anchors, seed);
        let LogisticRegression { weight, bias } =
            LogisticRegression::fit(&self.features, &self.targets, c);
        LinearHead { weight, bias }
    }
}
