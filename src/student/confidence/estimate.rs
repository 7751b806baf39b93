//! Estimates a student's [`Confidence`] from its training texts and its test set.

use rayon::prelude::*;

use super::{Confidence, Gaussians, Reference, Scope, unit};
use crate::student::{Classifier, Example, Result};

/// Parts of the training texts, each measured by the others.
const FOLDS: usize = 5;
/// Fewer test texts give too coarse a share; the training texts are taken instead.
const MIN_TEST: usize = 20;

impl Classifier {
    /// The same classifier with the distances of texts from those of `training`, which it was
    /// trained on; `test` are texts that it has not seen. Answers are kept by
    /// [`keep_answers`](super::keep_answers).
    ///
    /// # Errors
    /// The texts cannot be classified.
    pub(crate) fn with_scope(self, training: &[Example], test: &[String]) -> Result<Self> {
        let texts: Vec<&str> = training.iter().map(|example| example.text.as_str()).collect();
        let units = |pooled: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
            pooled.iter().map(|pooled| unit(pooled)).collect()
        };
        let trained = units(self.logits_and_pooled(&texts)?.1);
        let test = units(self.logits_and_pooled(test)?.1);
        let scope = scope(training, &trained, &test);
        Ok(self.having(Confidence { scope, held_out: Vec::new() }))
    }
}

/// The distribution of the `training` texts, whose embeddings are `trained`, and the distances of
/// held-out texts: those with the embeddings `test` if there are enough. `None` without variance.
fn scope(training: &[Example], trained: &[Vec<f32>], test: &[Vec<f32>]) -> Option<Scope> {
    let all: Vec<usize> = (0..trained.len()).collect();
    let gaussians = fit(training, trained, &all)?;
    let (of, mut reference) = match test.len() < MIN_TEST {
        false => {
            let distances = test.par_iter().map(|vector| gaussians.distance(vector));
            (Reference::Test, distances.collect())
        }
        true => (Reference::Training, cross_fitted(training, trained)),
    };
    reference.retain(|distance: &f32| distance.is_finite());
    reference.sort_by(f32::total_cmp);
    (!reference.is_empty()).then_some(Scope { gaussians, reference, of })
}

fn fit(training: &[Example], trained: &[Vec<f32>], texts: &[usize]) -> Option<Gaussians> {
    let vectors: Vec<&[f32]> = texts.iter().map(|&text| trained[text].as_slice()).collect();
    let labels: Vec<usize> = texts.iter().map(|&text| training[text].label).collect();
    let weights: Vec<f32> = texts.iter().map(|&text| training[text].weight).collect();
    Gaussians::fit(&vectors, &labels, &weights)
}

/// The distance of each training text from the others.
fn cross_fitted(training: &[Example], trained: &[Vec<f32>]) -> Vec<f32> {
    // In turn within each class, so that each part has texts of all.
    let mut seen = Vec::new();
    let fold_of: Vec<usize> = (training.iter())
        .map(|example| {
            seen.resize(seen.len().max(example.label + 1), 0);
            seen[example.label] += 1;
            seen[example.label] % FOLDS
        })
        .collect();
    let fold = |fold: usize| {
        let (held, rest): (Vec<usize>, Vec<usize>) =
            (0..trained.len()).partition(|&text| fold_of[text] == fold);
        let gaussians = fit(training, trained, &rest);
        let distance = |text: usize| gaussians.as_ref().map(|it| it.distance(&trained[text]));
        held.into_iter().filter_map(distance).collect::<Vec<f32>>()
    };
    (0..FOLDS).flat_map(fold).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::student::parity::fixture;

    const TEXTS: [&str; 4] = ["my card", "the train is late", "water", "where is my money"];

    fn examples() -> Vec<Example> {
        let text = |at: usize| format!("{} {}", TEXTS[at % 4], "card ".repeat(at / 4));
        (0..40).map(|at| Example::new(text(at), at % 3)).collect()
    }

    #[test]
    fn a_saved_student_has_the_confidence_that_was_estimated() {
        let student = Classifier::load(&fixture("bert"), &Device::Cpu).unwrap();
        assert_eq!(student.confidence(), &Confidence::default());
        let text = |at: usize| format!("the {} card", "late ".repeat(at % 7));
        let test: Vec<String> = (0..30).map(text).collect();
        let student = student.with_scope(&examples(), &test).unwrap();
        let scope = student.confidence().scope().unwrap();
        assert_eq!((scope.of, scope.reference.len()), (Reference::Test, 30));
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("student");
        student.save(&folder).unwrap();
        let again = Classifier::load(&folder, &Device::Cpu).unwrap();
        assert_eq!(again.confidence(), student.confidence());
        // Another head makes it the file of another student.
        let other = Classifier::load(&fixture("distilbert"), &Device::Cpu).unwrap();
        other.save(&folder.with_file_name("other")).unwrap();
        let file = folder.with_file_name("other").join(super::super::FILE);
        std::fs::copy(folder.join(super::super::FILE), &file).unwrap();
        let error = Classifier::load(&folder.with_file_name("other"), &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("another model.safetensors"), "{error}");
    }

    #[test]
    fn without_a_test_set_the_training_texts_are_the_reference() {
        let student = Classifier::load(&fixture("distilbert"), &Device::Cpu).unwrap();
        let student = student.with_scope(&examples(), &[]).unwrap();
        let scope = student.confidence().scope().unwrap();
        assert_eq!((scope.of, scope.reference.len()), (Reference::Training, 40));
        assert!(student.confidence().held_out().is_empty());
        let answers = student.stream(TEXTS.iter().map(|text| Result::Ok((*text).to_owned())));
        for answer in answers {
            let score = answer.unwrap().1.unwrap().in_scope.unwrap();
            assert!((1.0 / 41.0..=1.0).contains(&score), "{score}");
        }
        // One text has no variance.
        let student = Classifier::load(&fixture("bert"), &Device::Cpu).unwrap();
        let student = student.with_scope(&[Example::new("my card", 0)], &[]).unwrap();
        assert!(student.confidence().scope().is_none());
    }
}
