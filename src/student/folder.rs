//! The files of a model folder: opened only if they are regular files, read within a limit, and, if
//! the weights are missing, what the folder holds instead.
//!
//! A pipe would block for ever and a device never end; a folder that came from elsewhere may hold
//! either under any name.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Result, StudentError};
use crate::fs::open_regular;

/// The largest `config.json`: real ones have a few kB, with thousands of class names some hundred.
pub(super) const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// The largest tokenizer file: that of a vocabulary of 250 000 tokens has 17 MB.
pub(super) const MAX_TOKENIZER_BYTES: u64 = 64 << 20;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// Opens a regular file.
///
/// # Errors
/// It cannot be opened, or is a folder, a pipe or a device.
pub(super) fn open(path: &Path) -> Result<File> {
    open_regular(path).map_err(|source| StudentError::Read { path: path.to_owned(), source })
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], or the file is larger.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let fault = |source| StudentError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > most {
        let message = format!("it has more than {} MiB", most >> 20);
        return Err(fault(io::Error::other(message)));
    }
    Ok(bytes)
}

/// [`read`] for a file that may be missing.
///
/// # Errors
/// As [`read`], for a file that is there.
pub(super) fn read_optional(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    match read(path, most) {
        Err(StudentError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        bytes => bytes.map(Some),
    }
}

/// Checks that `folder` has the two files without which there is no model.
///
/// # Errors
/// [`StudentError::OtherFormat`] names what it holds instead, if that is known.
pub(super) fn check(folder: &Path) -> Result<()> {
    let has = |name: &str| folder.join(name).exists();
    if has(CONFIG) && has(WEIGHTS) {
        return Ok(());
    }
    let (found, hint) = if folder.is_file() {
        let hint = "name the folder that holds config.json, model.safetensors and tokenizer.json";
        (folder.to_owned(), hint.to_owned())
    } else if let Some((file, hint)) = instead(folder) {
        (folder.join(file), hint)
    } else {
        return Ok(());
    };
    let missing = if has(CONFIG) { WEIGHTS } else { CONFIG };
    Err(StudentError::OtherFormat { folder: folder.to_owned(), missing, found, hint })
}

/// The file that shows what a folder without `model.safetensors` holds, and what to do with it.
fn instead(folder: &Path) -> Option<(PathBuf, String)> {
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let find = |wanted: &dyn Fn(&str) -> bool| names.iter().find(|name| wanted(name)).cloned();
    let convert = |options: &str| {
        format!(
            "convert it, where Python has transformers and torch (for a fine-tuned classifier with AutoModelForSequenceClassification in place of AutoModel):\n  python -c 'import sys; from transformers import AutoModel as M; d = sys.argv[1]; M.from_pretrained(d{options}).save_pretrained(d, max_shard_size=\"100GB\")' {}",
            folder.display(),
        )
    };
    if let Some(file) = find(&|name| name == "adapter_config.json") {
        let hint = "it is an adapter (LoRA), not a model: merge it into its base model with peft, `model.merge_and_unload().save_pretrained(FOLDER)`, and name that folder";
        return Some((file.into(), hint.to_owned()));
    }
    if let Some(file) = find(&|name| name == "model.safetensors.index.json") {
        let hint = format!("its weights are in several files; {}", convert(""));
        return Some((file.into(), hint));
    }
    let pickle = |name: &str| {
        name.starts_with("pytorch_model") && (name.ends_with(".bin") || name.ends_with(".json"))
    };
    if let Some(file) = find(&pickle) {
        let hint = format!(
            "a PyTorch pickle can run arbitrary code when it is opened; if you trust where it came from, {}",
            convert("")
        );
        return Some((file.into(), hint));
    }
    for (name, options) in
        [("tf_model.h5", ", from_tf=True"), ("flax_model.msgpack", ", from_flax=True")]
    {
        if let Some(file) = find(&|found| found == name) {
            return Some((file.into(), convert(options)));
        }
    }
    if let Some(file) = find(&|name| name.ends_with(".gguf")) {
        let hint = "a GGUF file is a teacher; a student is a DistilBERT or BERT as safetensors";
        return Some((file.into(), hint.to_owned()));
    }
    let file = find(&|name| name.ends_with(".onnx"))?;
    let hint =
        "take the model that it was exported from: `promptmix export --format all` writes both";
    Some((file.into(), hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    #[test]
    fn what_a_folder_holds_instead_of_safetensors_is_named_with_the_mend() {
        for (file, part) in [
            ("pytorch_model.bin", "python -c"),
            ("pytorch_model.bin.index.json", "python -c"),
            ("model.safetensors.index.json", "several files"),
            ("adapter_config.json", "LoRA"),
            ("tf_model.h5", "from_tf=True"),
            ("teacher.gguf", "teacher"),
            ("model.onnx", "exported"),
        ] {
            let temp = tempfile::tempdir().unwrap();
            std::fs::write(temp.path().join("config.json"), "{}").unwrap();
            std::fs::write(temp.path().join(file), "x").unwrap();
            let error = check(temp.path()).unwrap_err();
            assert!(error.to_string().contains(file), "{error}");
            assert!(error.to_string().contains("has no model.safetensors"), "{error}");
            assert!(error.hint().unwrap().contains(part), "{:?}", error.hint());
        }
        let temp = tempfile::tempdir().unwrap();
        assert!(check(temp.path()).is_ok(), "nothing is known: the missing file will be named");
        let file = temp.path().join("weights");
        std::fs::write(&file, "x").unwrap();
        assert!(check(&file).unwrap_err().hint().unwrap().contains("name the folder"));
    }

    #[test]
    #[cfg(unix)]
    fn pipes_devices_folders_and_large_files_are_refused_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let pipe = temp.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()));
        for path in [&pipe, Path::new("/dev/zero"), temp.path()] {
            let error = crate::hint::one_line(&read(path, 10).unwrap_err());
            assert!(error.contains(", not a file"), "{error}");
        }
        let large = temp.path().join("large");
        std::fs::write(&large, "12345678901").unwrap();
        let error = crate::hint::one_line(&read(&large, 10).unwrap_err());
        assert!(error.contains("more than"), "{error}");
        assert_eq!(read(&large, 11).unwrap().len(), 11);
        assert_eq!(read_optional(&temp.path().join("none"), 1).unwrap(), None);
        assert!(read_optional(&large, 1).is_err());
    }
}
