//! Writes a model folder atomically: to a temporary folder beside it, synced, then renamed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{Result, StudentError};

/// Writes `files` as the contents of `folder`, which may hold an older model.
///
/// # Errors
/// [`StudentError::Write`], and [`StudentError::NotAModel`] where `folder` holds anything else.
pub(super) fn write_folder(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| StudentError::Write { path, source }
    };
    if !replaceable(folder).map_err(fault(folder))? {
        return Err(StudentError::NotAModel { path: folder.to_owned() });
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(fault(parent))?;
    let new = crate::fs::new_beside(folder);
    if new.exists() {
        fs::remove_dir_all(&new).map_err(fault(&new))?;
    }
    fs::create_dir(&new).map_err(fault(&new))?;
    for (name, bytes) in files {
        let path = new.join(name);
        write_synced(&path, bytes).map_err(fault(&path))?;
    }
    crate::fs::sync_dir(&new).map_err(fault(&new))?;
    crate::fs::replace_dir(&new, folder).map_err(fault(folder))
}

/// Whether the folder is missing, empty, or holds a model.
fn replaceable(folder: &Path) -> io::Result<bool> {
    if !folder.exists() {
        return Ok(true);
    }
    let empty = fs::read_dir(folder)?.next().is_none();
    Ok(empty
        || (folder.join("config.json").is_file() && folder.join("model.safetensors").is_file()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The umask decides who may read it: in a run only the owner.
    let mut file = fs::File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    fn model(config: &str) -> BTreeMap<String, Vec<u8>> {
        [("config.json", config), ("model.safetensors", "w")]
            .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
            .into()
    }

    #[test]
    fn a_model_is_replaced_atomically_and_leaves_no_temporary_folder() -> anyhow::Result<()> {
        let temp = tempfile::tempdir()?;
        let folder = temp.path().join("deep/student");
        let mut first = model("one");
        first.insert("stale.txt".to_owned(), b"old".to_vec());
        write_folder(&folder, &first)?;
        write_folder(&folder, &model("two"))?;
        assert_eq!(fs::read_to_string(folder.join("config.json"))?, "two");
        assert!(!folder.join("stale.txt").exists());
        assert_eq!(fs::read_dir(temp.path().join("deep"))?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() -> anyhow::Result<()> {
        let temp = tempfile::tempdir()?;
        fs::write(temp.path().join("thesis.txt"), "years of work")?;
        let error = write_folder(temp.path(), &model("one")).unwrap_err();
        assert!(error.to_string().contains("something other than a model"), "{error}");
        assert_eq!(error.hint().as_deref(), Some("name another folder"));
        assert!(temp.path().join("thesis.txt").exists());
        Ok(())
    }
}
