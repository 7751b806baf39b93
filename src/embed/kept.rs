//! Embeddings of many texts in a file, so that they are computed once.
//!
//! A text can be guessed from its embedding (Morris et al. 2023, "Text embeddings reveal (almost)
//! as much as text"): the file belongs beside the texts, and nowhere else.

use std::{
    collections::HashMap,
    io::{self, Read},
    path::Path,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    fs::{open_regular, write_atomic},
    model_file::safetensors::check,
};

/// The largest file: 40,000 texts at a width of 384. More embeddings are not kept.
const MAX_BYTES: usize = 64 << 20;
/// The name of the tensor, `[texts, width]`.
const TENSOR: &str = "embedding";
/// What the embeddings are of, in the metadata.
const KEY: &str = "key";

/// The embeddings in the file `path`, `[texts][width]`, if they are of what `key` says. A damaged
/// file counts as none: whoever asks computes them and replaces it.
pub(crate) fn read(path: &Path, key: &str) -> Option<Vec<Vec<f32>>> {
    let mut bytes = Vec::new();
    open_regular(path).ok()?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() > MAX_BYTES {
        return None;
    }
    check(&bytes).ok()?;
    let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
    header.metadata().as_ref()?.get(KEY).filter(|of| *of == key)?;
    let file = SafeTensors::deserialize(&bytes).ok()?;
    let tensor = file.tensor(TENSOR).ok().filter(|tensor| tensor.dtype() == Dtype::F32)?;
    let &[_, width] = tensor.shape() else { return None };
    let values: Vec<f32> =
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let is_whole = values.iter().all(|value| value.is_finite());
    is_whole.then(|| values.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
}

/// Keeps `embeddings`, `[texts][width]`, in the file `path`, unless they are too many. Returns
/// whether it did.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, key: &str, embeddings: &[Vec<f32>]) -> io::Result<bool> {
    let width = embeddings.first().map_or(0, Vec::len);
    let mut bytes = Vec::with_capacity(embeddings.len() * width * size_of::<f32>());
    embeddings.iter().flatten().for_each(|value| bytes.extend(value.to_le_bytes()));
    let tensor = TensorView::new(Dtype::F32, vec![embeddings.len(), width], &bytes)
        .expect("the vectors have one width");
    let metadata = HashMap::from([(KEY.to_owned(), key.to_owned())]);
    let file = safetensors::serialize([(TENSOR, tensor)], Some(metadata))
        .expect("the tensor fits its shape");
    if file.len() > MAX_BYTES {
        return Ok(false);
    }
    write_atomic(path, &file).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_given_back_for_its_key_alone_and_if_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let embeddings = vec![vec![0.1, -2.0, 3.5], vec![0.0, f32::MIN_POSITIVE, 1.0]];
        assert_eq!(read(&path, "a"), None);
        assert!(write(&path, "a", &embeddings).unwrap());
        assert_eq!(read(&path, "a"), Some(embeddings.clone()));
        assert_eq!(read(&path, "b"), None);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path, "a"), None, "{length} bytes");
        }
        let mut damaged = whole.clone();
        let end = damaged.len();
        damaged[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(read(&path, "a"), None, "a number that is not one");
        assert!(write(&path, "a", &[]).unwrap(), "over what is damaged");
        assert_eq!(read(&path, "a"), Some(Vec::new()));
    }

    #[test]
    fn too_many_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let row = vec![0.5; 1024];
        let rows = vec![row; MAX_BYTES / 4096];
        assert!(!write(&path, "a", &rows).unwrap() && !path.exists());
    }
}
