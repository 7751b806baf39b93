//! What a run needs is opened and checked before the first call to the teacher, and by `plan`.

use std::path::Path;

use super::{build, error::CommandError};
use crate::{
    config::Settings,
    fs,
    student::{self, BaseModel},
    task::Task,
};

/// Bytes left free on the disk: the ledger, the report, everything else that a machine writes.
const RESERVE: u64 = 64 << 20;
/// Bytes that a run writes for each text: in four files and the ledger, and the teacher's scores.
const BYTES_PER_TEXT: u64 = 8 << 10;

/// Opens the student that the settings name and checks that a run of `task` fits on the disk of
/// its folder `out`. Loads no weights.
///
/// # Errors
/// A student that is missing or unfit; not enough disk space, with both sizes.
pub(super) fn check(settings: &Settings, task: &Task, out: &Path) -> anyhow::Result<BaseModel> {
    let base = student(settings, task)?;
    let texts = settings.augment.per_class * task.classes.len() + task.test.len();
    let wanted =
        student::disk_estimate(&base, task.classes.len()) + texts as u64 * BYTES_PER_TEXT + RESERVE;
    // A folder that is yet to be made lies on the disk of the nearest one that is there.
    let out = std::path::absolute(out)?;
    let there = out.ancestors().find(|folder| folder.is_dir()).unwrap_or(&out);
    room(&out, wanted, fs::free_space(there))?;
    Ok(base)
}

/// Opens the student that the settings name.
///
/// # Errors
/// Files that are missing or damaged, and a tokenizer that does not fit them.
fn student(settings: &Settings, task: &Task) -> anyhow::Result<BaseModel> {
    let base = build::student(settings)?;
    let first = task.seeds.iter().chain(&task.test).take(1).map(|item| item.text.clone());
    base.token_counts(&first.collect::<Vec<_>>())?;
    Ok(base)
}

fn room(out: &Path, wanted: u64, free: Option<u64>) -> Result<(), CommandError> {
    let Some(free) = free.filter(|free| *free < wanted) else { return Ok(()) };
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    Err(CommandError::new(
        format!(
            "not enough disk space in {}: the run needs up to {} MB, but {} MB are free",
            out.display(),
            megabytes(wanted),
            megabytes(free)
        ),
        "free some space, choose another folder with --out, or use a smaller student",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_names_the_folder_and_both_sizes() {
        let out = Path::new("/data/run");
        assert!(room(out, 5, None).is_ok() && room(out, 5, Some(5)).is_ok());
        let text = room(out, 900_000_000, Some(2_000_000)).unwrap_err().to_string();
        assert!(text.contains("/data/run") && text.contains("900 MB, but 2 MB are free"), "{text}");
    }
}
