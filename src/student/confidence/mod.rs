//! What a student knows beyond its probabilities: how far a text is from those that it was trained
//! on, and how often it was right on labelled texts that it did not see.
//!
//! Both are kept in one file of its folder, [`FILE`], which contains numbers and no text:
//!
//! | tensor | shape | what it is |
//! |---|---|---|
//! | `whitening`, `means` | `[width, width]`, `[classes, width]` | the training texts' embeddings, see `gaussians` |
//! | `reference` | `[texts]` | distances of texts that were held out, ascending |
//! | `held_out` | `[texts, 2]` | test texts: probability of the predicted class, and 1 if it is correct |
//!
//! The distance itself has no unit. It is told as the share of held-out texts that are as far away
//! or farther: a conformal p-value of "this text is of the same kind" (Bates et al. 2023, arXiv
//! 2104.08279). Of texts of that kind, 5 % are at 0.05 or below.

mod estimate;
mod gaussians;
#[cfg(test)]
mod measure;

use std::{collections::BTreeMap, path::Path};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

use super::{
    Result, StudentError,
    error::Fault,
    folder,
    model_spec::TensorSpec,
    weights::{Weights, serialise_with},
};
use crate::{counted::counted, embed::normalise, eval::Answer, hint::one_line, model_file};
use gaussians::Gaussians;

/// The file in the student's folder.
pub(crate) const FILE: &str = "confidence.safetensors";
/// The largest file that is read: that of a width of 1024 and 1000 classes has 8 MB.
const MAX_BYTES: u64 = 64 << 20;
/// The keys of its metadata: the head that it belongs to, and what `reference` was computed from.
const HEAD: &str = "promptmix_head";
const REFERENCE: &str = "promptmix_reference";
/// Hint of a file that cannot be used.
const DELETE: &str = "delete the file: the student predicts without it";

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Confidence {
    scope: Option<Scope>,
    held_out: Vec<Answer>,
}

/// How far texts are from those of the training.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scope {
    gaussians: Gaussians,
    /// Distances of held-out texts, ascending.
    reference: Vec<f32>,
    /// Where the held-out texts are from.
    of: Reference,
}

/// The texts that a distance is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reference {
    /// The test set.
    Test,
    /// The training texts, each left out of the means and the covariance, but not of the training:
    /// new texts are somewhat farther away.
    Training,
}

impl Reference {
    fn key(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Training => "training",
        }
    }
}

impl Scope {
    /// The share of held-out texts whose distance is at least that of a text with these `pooled`
    /// states, from 1 / (texts + 1) to 1.
    pub(crate) fn in_scope(&self, pooled: &[f32]) -> f32 {
        let distance = self.gaussians.distance(&unit(pooled));
        let nearer = self.reference.partition_point(|held_out| *held_out < distance);
        let farther = self.reference.len() - nearer;
        (farther + 1) as f32 / (self.reference.len() + 1) as f32
    }

    /// The texts that others are compared with, in words.
    pub(crate) fn compared_with(&self) -> String {
        let texts = counted(self.reference.len(), "text");
        match self.of {
            Reference::Test => format!("{texts} of the test set"),
            Reference::Training => {
                format!("{texts} of the training, which are somewhat nearer than new ones")
            }
        }
    }
}

/// Embeddings are compared by their direction, as the encoder was trained to.
fn unit(pooled: &[f32]) -> Vec<f32> {
    let mut unit = pooled.to_vec();
    normalise(&mut unit);
    unit
}

impl Confidence {
    /// The distance of texts, if it could be estimated.
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The student's answers to its test set; empty without one.
    pub(crate) fn held_out(&self) -> &[Answer] {
        &self.held_out
    }

    /// The file of a student whose head hashes to `head`; `None` if there is nothing to keep.
    pub(super) fn to_bytes(&self, head: &str) -> Result<Option<Vec<u8>>> {
        let mut metadata = Map::from_iter([(HEAD.to_owned(), Value::from(head))]);
        let mut tensors = BTreeMap::new();
        let mut wanted = Vec::new();
        let mut add = |name: &str, shape: &[usize], values: Vec<f32>| {
            wanted.push(TensorSpec { name: name.to_owned(), shape: shape.to_vec() });
            tensors.insert(name.to_owned(), values);
        };
        if let Some(Scope { gaussians, reference, of }) = &self.scope {
            let Gaussians { width, whitening, means } = gaussians;
            metadata.insert(REFERENCE.to_owned(), of.key().into());
            add("whitening", &[*width, *width], whitening.clone());
            add("means", &[means.len() / width, *width], means.clone());
            add("reference", &[reference.len()], reference.clone());
        }
        if !self.held_out.is_empty() {
            let pair =
                |&(probability, correct): &Answer| [probability, f32::from(u8::from(correct))];
            let values = self.held_out.iter().flat_map(pair).collect();
            add("held_out", &[self.held_out.len(), 2], values);
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        serialise_with(&Weights(tensors), &wanted, metadata).map(Some)
    }

    /// Reads the file in `folder` of a student of this `width` whose head hashes to `head`; without
    /// a file, nothing is known.
    ///
    /// # Errors
    /// [`StudentError::Confidence`]: the file is damaged, or of another student.
    pub(super) fn read(folder: &Path, width: usize, head: &str) -> Result<Self> {
        let Some((confidence, of)) = read_file(folder)? else { return Ok(Self::default()) };
        let differs = confidence.scope.as_ref().is_some_and(|it| it.gaussians.width != width);
        if of != head || differs {
            return Err(fault(folder, "it belongs to another model.safetensors".to_owned()));
        }
        Ok(confidence)
    }

    /// What the file says, and the head that it belongs to.
    fn parse(bytes: &[u8]) -> std::result::Result<(Self, String), String> {
        model_file::check_bytes(bytes).map_err(|error| error.message)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|it| one_line(&it))?;
        let metadata = metadata.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(bytes).map_err(|it| one_line(&it))?;
        let tensor = |name: &str| {
            let Ok(view) = file.tensor(name) else { return Ok(None) };
            if view.dtype() != Dtype::F32 {
                return Err(format!("{name} is {:?}", view.dtype()));
            }
            let chunks = view.data().as_chunks::<4>().0;
            let values: Vec<f32> = chunks.iter().map(|it| f32::from_le_bytes(*it)).collect();
            match values.iter().all(|value| value.is_finite()) {
                true => Ok(Some((view.shape().to_vec(), values))),
                false => Err(format!("{name} holds a number that is not finite")),
            }
        };
        let scope = match (tensor("whitening")?, tensor("means")?, tensor("reference")?) {
            (Some((shape, whitening)), Some((rows, means)), Some((_, reference))) => {
                let width = shape.first().copied().unwrap_or(0);
                let fits = rows.len() == 2 && rows[1] == width && !means.is_empty();
                if !fits || shape != [width, width] {
                    return Err(format!("whitening is {shape:?}, means is {rows:?}"));
                }
                if !reference.is_sorted() {
                    return Err("reference is not sorted".to_owned());
                }
                let of = match metadata.get(REFERENCE).map(String::as_str) {
                    Some("test") => Reference::Test,
                    _ => Reference::Training,
                };
                Some(Scope { gaussians: Gaussians { width, whitening, means }, reference, of })
            }
            _ => None,
        };
        let (_, held_out) = tensor("held_out")?.unwrap_or_default();
        let pairs = held_out.as_chunks::<2>().0;
        if let Some(pair) = pairs.iter().find(|[p, _]| !(0.0..=1.0 + 1e-5).contains(p)) {
            return Err(format!("held_out has the probability {}", pair[0]));
        }
        let held_out = pairs.iter().map(|[probability, right]| (*probability, *right > 0.5));
        let head = metadata.get(HEAD).cloned().unwrap_or_default();
        Ok((Self { scope, held_out: held_out.collect() }, head))
    }
}

/// Makes `answers`, those to the test set, the ones that are kept in the student's folder. A folder
/// without the file, of a student that an older version trained, stays as it is.
///
/// # Errors
/// The file is damaged or cannot be written.
pub(crate) fn keep_answers(folder: &Path, answers: Vec<Answer>) -> Result<()> {
    let Some((confidence, head)) = read_file(folder)? else { return Ok(()) };
    if confidence.held_out == answers {
        return Ok(());
    }
    let path = folder.join(FILE);
    let confidence = Confidence { held_out: answers, ..confidence };
    let Some(bytes) = confidence.to_bytes(&head)? else { return Ok(()) };
    crate::fs::write_atomic(&path, &bytes).map_err(|source| StudentError::Write { path, source })
}

/// The file in `folder`, if there is one, and the head that it belongs to.
fn read_file(folder: &Path) -> Result<Option<(Confidence, String)>> {
    let Some(bytes) = folder::read_optional(&folder.join(FILE), MAX_BYTES)? else {
        return Ok(None);
    };
    Confidence::parse(&bytes).map(Some).map_err(|message| fault(folder, message))
}

fn fault(folder: &Path, message: String) -> StudentError {
    let fault = Fault::with_hint(message, DELETE);
    StudentError::Confidence { path: folder.join(FILE), fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Confidence {
        let vectors: Vec<[f32; 3]> =
            (0..12).map(|at| [1.0, (at % 5) as f32 * 0.1, (at % 3) as f32 * 0.2]).collect();
        let rows: Vec<&[f32]> = vectors.iter().map(<[f32; 3]>::as_slice).collect();
        let labels: Vec<usize> = (0..12).map(|at| at % 2).collect();
        let gaussians = Gaussians::fit(&rows, &labels, &[1.0; 12]).unwrap();
        let reference = vec![5.0, 10.0, 20.0, 40.0];
        let scope = Scope { gaussians, reference, of: Reference::Test };
        Confidence { scope: Some(scope), held_out: vec![(0.75, true), (0.5, false)] }
    }

    #[test]
    fn a_file_gives_back_what_was_written_and_nothing_writes_no_file() {
        let sample = sample();
        let bytes = sample.to_bytes("abc").unwrap().unwrap();
        assert_eq!(Confidence::parse(&bytes).unwrap(), (sample.clone(), "abc".to_owned()));
        assert_eq!(bytes, sample.to_bytes("abc").unwrap().unwrap(), "the same bytes each time");
        assert_eq!(Confidence::default().to_bytes("abc").unwrap(), None);
        let answers = Confidence { scope: None, ..sample };
        let bytes = answers.to_bytes("abc").unwrap().unwrap();
        assert_eq!(Confidence::parse(&bytes).unwrap().0, answers);
    }

    #[test]
    fn files_of_other_students_and_damaged_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(Confidence::read(folder, 3, "abc").unwrap(), Confidence::default());
        let sample = sample();
        let write = |bytes: &[u8]| std::fs::write(folder.join(FILE), bytes).unwrap();
        let error = |width, head| Confidence::read(folder, width, head).unwrap_err().to_string();
        let bytes = sample.to_bytes("abc").unwrap().unwrap();
        write(&bytes);
        assert_eq!(Confidence::read(folder, 3, "abc").unwrap(), sample);
        assert!(error(3, "abd").contains("another model.safetensors"));
        assert!(error(4, "abc").contains("another model.safetensors"));
        for damaged in [&bytes[..bytes.len() - 8], &b"junk"[..]] {
            write(damaged);
            assert!(error(3, "abc").contains(FILE));
        }
        let mut odd = sample.clone();
        odd.held_out[0].0 = 7.0;
        write(&odd.to_bytes("a").unwrap().unwrap());
        assert!(error(3, "a").contains("probability 7"));
        let mut odd = sample;
        odd.scope.as_mut().unwrap().reference[0] = f32::NAN;
        write(&odd.to_bytes("a").unwrap().unwrap());
        assert!(error(3, "a").contains("not finite"));
    }

    #[test]
    fn answers_are_replaced_and_the_distances_stay() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        keep_answers(folder, vec![(0.5, true)]).unwrap();
        assert!(!folder.join(FILE).exists(), "a student of an older version");
        let sample = sample();
        std::fs::write(folder.join(FILE), sample.to_bytes("abc").unwrap().unwrap()).unwrap();
        keep_answers(folder, vec![(0.5, true)]).unwrap();
        let wanted = Confidence { held_out: vec![(0.5, true)], ..sample };
        assert_eq!(Confidence::read(folder, 3, "abc").unwrap(), wanted);
    }

    #[test]
    fn the_score_is_the_share_of_held_out_texts_that_are_as_far() {
        let scope = sample().scope.unwrap();
        let mean = [1.0, 0.2, 0.2];
        assert_eq!(scope.in_scope(&mean), 1.0);
        assert_eq!(scope.in_scope(&[-1.0, 0.0, 0.0]), 0.2, "one more than none of four, of five");
        assert_eq!(scope.in_scope(&mean), scope.in_scope(&mean.map(|x| 10.0 * x)), "a direction");
    }
}
