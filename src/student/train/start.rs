//! Where a linear head starts: a logistic regression on the embeddings of the frozen encoder. And
//! how far a training leaves its start.

use std::collections::btree_map::Entry;

use super::{LinearHead, Training, init::Weights};
use crate::{
    embed::normalise,
    student::{
        Precision, Result, SentenceEncoder,
        model_spec::TensorSpec,
        network::Source as _,
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

    /// The weights before the first step: the base's encoder under the head that a training begins
    /// with.
    ///
    /// # Errors
    /// The checkpoint cannot be read, an initial head of another shape.
    pub(super) fn first_weights(&self) -> Result<Weights> {
        let spec = self.spec();
        let mut weights = self.fresh_head(&spec)?;
        for TensorSpec { name, shape } in spec.tensors() {
            if let Entry::Vacant(missing) = weights.entry(name) {
                let mut values = vec![0.0; shape.iter().product()];
                self.base.inner.checkpoint.read(missing.key(), &mut values)?;
                missing.insert(values);
            }
        }
        Ok(weights)
    }

    /// Moves the trained `weights` back towards the first ones, which classify as well: a share
    /// a = `student.interpolation` stays, θ = (1 - a) θ₀ + a θ₁ (WiSE-FT, Wortsman et al., CVPR
    /// 2022). By default a is a half, as recommended there, where the teacher labelled everything.
    /// A head that was drawn at random is not worth a return.
    ///
    /// # Errors
    /// As [`Self::first_weights`].
    pub(super) fn interpolate(&self, weights: &mut Weights) -> Result<()> {
        let by_teacher = self.examples.iter().filter(|example| example.by_teacher).count();
        let by_teacher = by_teacher as f64 / self.examples.len() as f64;
        let share = self.settings.interpolation.unwrap_or(1.0 - by_teacher / 2.0) as f32;
        if self.head.is_none() || share >= 1.0 {
            return Ok(());
        }
        for (name, first) in self.first_weights()? {
            let trained = weights.get_mut(&name).expect("both are of one network");
            for (trained, first) in trained.iter_mut().zip(first) {
                *trained = (1.0 - share) * first + share * *trained;
            }
        }
        Ok(())
    }

    /// The embedding of each example, of unit length.
    pub(super) fn embeddings(&self) -> Result<Vec<Vec<f32>>> {
        let texts: Vec<String> = self.examples.iter().map(|example| example.text.clone()).collect();
        let mut vectors =
            SentenceEncoder::new(self.base, Precision::F32)?.pooled(&texts, self.max_length())?;
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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{
        auto::Auto,
        student::{
            BaseModel, Example, TrainSettings,
            parity::fixture,
            train::{HeadChoice, TrainOutcome},
        },
    };

    #[test]
    fn interpolated_weights_lie_between_the_first_and_the_trained_ones() {
        let base = BaseModel::load(&fixture("distilbert"), &Device::Cpu).unwrap();
        let labels = ["a".to_owned(), "b".to_owned()];
        let examples = |by_teacher| -> Vec<Example> {
            (["my card", "water"].into_iter().enumerate())
                .map(|(label, text)| Example { by_teacher, ..Example::new(text, label) })
                .collect()
        };
        let [of_people, of_teacher] = [false, true].map(examples);
        let trained = |examples, interpolation, head| {
            let settings = TrainSettings { interpolation, head, ..TrainSettings::default() };
            let training = Training::new(&base, &labels, examples, &settings);
            let TrainOutcome { classifier, .. } =
                training.run(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
            classifier.predict(&["where is my money".to_owned()]).unwrap().remove(0)
        };
        let logits = |share, head| trained(&of_people, Auto::Exactly(share), head);
        let [first, half, whole] = [0.0, 0.5, 1.0].map(|share| logits(share, HeadChoice::Linear));
        assert_ne!(first, whole);
        let (low, high) = (first[0].min(whole[0]), first[0].max(whole[0]));
        assert!(low < half[0] && half[0] < high, "{first:?} {half:?} {whole:?}");
        let settings =
            TrainSettings { head: HeadChoice::Linear, ..TrainSettings::default() }.frozen();
        let frozen = Training::new(&base, &labels, &of_people, &settings);
        let frozen = frozen.run(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
        let frozen = frozen.classifier.predict(&["where is my money".to_owned()]).unwrap();
        assert_eq!(frozen[0], first, "nothing of the training is left");
        // Chosen: half the way back if all labels are the teacher's, none if people gave them.
        let auto = |examples| trained(examples, Auto::Auto, HeadChoice::Linear);
        assert_eq!((auto(&of_teacher), auto(&of_people)), (half, whole));
        // A head that starts at random has no start to return to.
        assert_eq!(logits(0.5, HeadChoice::Mlp), logits(1.0, HeadChoice::Mlp));
    }
}
