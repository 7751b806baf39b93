//! The reference: numbers about real texts that a student was not trained on, in the file
//! `drift.safetensors` of its folder.
//!
//! The file holds, for at most [`ROWS`] texts in random order, `class` `[texts]`,
//! `confidence` `[texts]`, `tokens` `[texts]` and `unknown` `[texts]`, and for the first
//! [`EMBEDDED`] of them `embedding` `[texts, hidden]`. It holds no text.
//! Embeddings can reveal something about a text (Morris et al. 2023, "Text embeddings reveal
//! (almost) as much as text"), so they can be left out.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DriftError, EMBEDDED, ROWS, Readings};
use crate::{fs::open_regular, model_file};

/// The name of the file in a student folder.
pub(crate) const FILE: &str = "drift.safetensors";
/// The number of its format.
const FORMAT: &str = "1";
/// The largest file that is read: [`EMBEDDED`] vectors of 4096 numbers, and some room.
const MAX_BYTES: u64 = 16 << 20;

/// Which texts a reference is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The test set, on which the accuracy of the report was measured.
    Test,
    /// Unlabelled texts of the task that the student was not trained on.
    Unlabelled,
    /// The texts that it was trained on, where there are no others: a student is surer of them.
    Training,
    /// A file that the user named.
    File,
}

impl Source {
    /// The source in words, within a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Test => "the test set",
            Self::Unlabelled => "unlabelled texts of the task",
            Self::Training => "the training texts",
            Self::File => "the file of --reference",
        }
    }
}

/// What a student folder keeps about the texts that new ones are compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reference {
    pub source: Source,
    pub readings: Readings,
}

/// What is known of a reference file beside its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept<'a> {
    /// The hash of what it was made from.
    pub key: &'a str,
    /// The classes of the student.
    pub labels: &'a [String],
}

impl Reference {
    /// The file's content.
    pub(crate) fn to_bytes(&self, kept: &Kept<'_>) -> Vec<u8> {
        let readings = &self.readings;
        let texts = readings.len();
        let words = |values: &[u32]| values.iter().flat_map(|it| it.to_le_bytes()).collect();
        let floats = |values: &[f32]| values.iter().flat_map(|it| it.to_le_bytes()).collect();
        let mut tensors: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = vec![
            ("class", Dtype::U32, vec![texts], words(&readings.class)),
            ("confidence", Dtype::F32, vec![texts], floats(&readings.confidence)),
            ("tokens", Dtype::U32, vec![texts], words(&readings.tokens)),
            ("unknown", Dtype::U32, vec![texts], words(&readings.unknown)),
        ];
        if !readings.embedding.is_empty() {
            let shape = vec![readings.embeddings().len(), readings.width];
            tensors.push(("embedding", Dtype::F32, shape, floats(&readings.embedding)));
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (*name, view.expect("the shape is that of the values"))
        });
        let labels = serde_json::to_string(kept.labels).expect("labels are strings");
        let source = serde_json::to_string(&self.source).expect("a source is a string");
        let metadata: HashMap<String, String> = [
            ("format", FORMAT.to_owned()),
            ("key", kept.key.to_owned()),
            ("labels", labels),
            ("source", source.trim_matches('"').to_owned()),
            ("seen", readings.seen.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let file = safetensors::serialize(views, Some(metadata));
        with_sorted_metadata(file.expect("the tensors fit their shapes"))
    }

    /// The reference of the student in `folder`, which has these `labels`.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is of another student.
    pub(crate) fn read(folder: &Path, labels: &[String]) -> Result<Self, DriftError> {
        let path = folder.join(FILE);
        let Some(bytes) = bytes(&path)? else {
            return Err(DriftError::NoReference { folder: folder.to_owned() });
        };
        let (reference, stated) = parse(&bytes).map_err(|message| damaged(&path, message))?;
        if stated != labels {
            let message = "it is of a student with other classes";
            return Err(damaged(&path, message.to_owned()));
        }
        Ok(reference)
    }

    /// The file of the student in `folder`, which has these `labels`, for others: with embeddings
    /// only if they are wanted. `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or it is of another student.
    pub(crate) fn to_pass_on(
        folder: &Path,
        labels: &[String],
        with_embeddings: bool,
    ) -> Result<Option<Vec<u8>>, DriftError> {
        let mut reference = match Self::read(folder, labels) {
            Err(DriftError::NoReference { .. }) => return Ok(None),
            reference => reference?,
        };
        if !with_embeddings {
            reference.readings.leave_out_embeddings();
        }
        let key = Self::key(folder).unwrap_or_default();
        Ok(Some(reference.to_bytes(&Kept { key: &key, labels })))
    }

    /// The key of the reference in `folder`; `None` if there is none that can be read.
    pub(crate) fn key(folder: &Path) -> Option<String> {
        let bytes = bytes(&folder.join(FILE)).ok()??;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).ok()?;
        metadata.metadata().as_ref()?.get("key").cloned()
    }

    /// Removes the reference from `folder`. Returns whether there was one.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn remove(folder: &Path) -> io::Result<bool> {
        match fs::remove_file(folder.join(FILE)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A safetensors file with the keys of its metadata in order: `safetensors` writes them as a hash
/// map has them, and the same reference would have other bytes in each run.
fn with_sorted_metadata(mut file: Vec<u8>) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk_mut().expect("it begins with a length");
    let header = &mut rest[..u64::from_le_bytes(*length) as usize];
    let mut sorted: Map<String, Value> = serde_json::from_slice(header).expect("a header is JSON");
    if let Some(Value::Object(metadata)) = sorted.get_mut("__metadata__") {
        metadata.sort_keys();
    }
    let sorted = serde_json::to_vec(&sorted).expect("JSON can be written");
    // Spaces may follow, which align the tensors.
    header[..sorted.len()].copy_from_slice(&sorted);
    file
}

fn damaged(path: &Path, message: String) -> DriftError {
    DriftError::Damaged { path: path.to_owned(), message }
}

/// The content of the file; `None` if there is no such file.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, DriftError> {
    let failed = |source| DriftError::Read { path: PathBuf::from(path), source };
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(damaged(path, format!("it has more than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(Some(bytes))
}

/// The reference in a file of these `bytes`, and the classes of its student.
fn parse(bytes: &[u8]) -> Result<(Reference, Vec<String>), String> {
    model_file::safetensors::check(bytes).map_err(|fault| fault.message)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let stated = |key: &str| {
        metadata.get(key).cloned().ok_or_else(|| format!("it does not state its {key}"))
    };
    let format = stated("format")?;
    if format != FORMAT {
        return Err(format!("it has the format {format}; this program reads {FORMAT}"));
    }
    let labels: Vec<String> =
        serde_json::from_str(&stated("labels")?).map_err(|error| format!("labels: {error}"))?;
    let source: Source = serde_json::from_value(stated("source")?.into())
        .map_err(|error| format!("source: {error}"))?;
    let seen = stated("seen")?.parse().map_err(|error| format!("seen: {error}"))?;
    let column = |name: &str, dtype: Dtype| {
        let tensor = tensors.tensor(name).map_err(|_| format!("there is no tensor {name}"))?;
        if tensor.dtype() != dtype {
            return Err(format!("{name} has the type {:?}, not {dtype:?}", tensor.dtype()));
        }
        let numbers = tensor.data().as_chunks::<4>().0.to_vec();
        Ok((tensor.shape().to_vec(), numbers))
    };
    let texts = column("class", Dtype::U32)?.1.len();
    let row = |name: &str, dtype: Dtype| match column(name, dtype)? {
        (shape, numbers) if shape == [texts] && texts <= ROWS => Ok(numbers),
        (shape, _) => Err(format!("{name} has the shape {shape:?} for {texts} texts")),
    };
    let words = |name: &str| {
        Ok::<_, String>(row(name, Dtype::U32)?.into_iter().map(u32::from_le_bytes).collect())
    };
    let floats = |numbers: Vec<[u8; 4]>| numbers.into_iter().map(f32::from_le_bytes).collect();
    let (shape, embedding) = match tensors.tensor("embedding") {
        Ok(_) => column("embedding", Dtype::F32)?,
        Err(_) => (vec![0, 0], Vec::new()),
    };
    let &[embedded, width] = &shape[..] else {
        return Err(format!("embedding has the shape {shape:?}"));
    };
    if embedded > texts.min(EMBEDDED) {
        return Err(format!("it has {embedded} embeddings of {texts} texts"));
    }
    let readings = Readings {
        seen,
        class: words("class")?,
        confidence: floats(row("confidence", Dtype::F32)?),
        tokens: words("tokens")?,
        unknown: words("unknown")?,
        embedding: floats(embedding),
        width,
    };
    if readings.class.iter().any(|&class| class as usize >= labels.len()) {
        return Err(format!("it has a class beyond the {} that it names", labels.len()));
    }
    if readings.confidence.iter().chain(&readings.embedding).any(|value| !value.is_finite()) {
        return Err("it has a number that is not finite".to_owned());
    }
    Ok((Reference { source, readings }, labels))
}

#[cfg(test)]
mod tests {
    use super::{super::synthetic::Texts, *};
    use crate::hint::Hint as _;

    fn bytes_of(reference: &Reference, labels: &[String]) -> Vec<u8> {
        reference.to_bytes(&Kept { key: "k", labels })
    }

    #[test]
    fn a_reference_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let texts = Texts::default();
        let labels = texts.labels();
        let missing = Reference::read(folder.path(), &labels).unwrap_err();
        assert!(missing.hint().unwrap().contains("--reference FILE"), "{missing}");
        assert_eq!(Reference::key(folder.path()), None);
        let mut reference = texts.reference(40);
        for embeddings in [true, false] {
            if !embeddings {
                reference.readings.leave_out_embeddings();
            }
            fs::write(folder.path().join(FILE), bytes_of(&reference, &labels)).unwrap();
            assert_eq!(Reference::read(folder.path(), &labels).unwrap(), reference);
            assert_eq!(Reference::key(folder.path()).as_deref(), Some("k"));
        }
        let error = Reference::read(folder.path(), &labels[..2]).unwrap_err();
        assert!(error.to_string().contains("other classes"), "{error}");
        assert!(Reference::remove(folder.path()).unwrap());
        assert!(!Reference::remove(folder.path()).unwrap());
    }

    #[test]
    fn the_same_reference_has_the_same_bytes() {
        let texts = Texts::default();
        let bytes = || bytes_of(&texts.reference(9), &texts.labels());
        let first = bytes();
        assert!((0..20).all(|_| bytes() == first));
    }

    #[test]
    fn a_damaged_file_is_an_error_wherever_it_is_cut_or_changed() {
        let texts = Texts::default();
        let whole = bytes_of(&texts.reference(9), &texts.labels());
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        let changed = |from: &str, to: &str| {
            let at = whole.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
            let mut bytes = whole.clone();
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            parse(&bytes).unwrap_err()
        };
        assert!(changed("\"format\":\"1\"", "\"format\":\"9\"").contains("the format 9"));
        assert!(changed("\"tokens\"", "\"tokenz\"").contains("no tensor tokens"));
        assert!(changed("\"test\"", "\"tesT\"").contains("source"));
        let mut wrong = texts.reference(9);
        wrong.readings.class[3] = 3;
        assert!(parse(&bytes_of(&wrong, &texts.labels())).unwrap_err().contains("a class beyond"));
        let mut wrong = texts.reference(9);
        wrong.readings.confidence[3] = f32::NAN;
        assert!(parse(&bytes_of(&wrong, &texts.labels())).unwrap_err().contains("not finite"));
    }
}
