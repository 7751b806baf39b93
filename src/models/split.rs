//! Models in several files, named `NAME-00001-of-00003.gguf` and so on. llama.cpp opens the first
//! and finds the others by name in the same folder.

use std::path::{Path, PathBuf};

/// Every file of the model that begins with `path`, in order; `path` alone if the model is not
/// split.
pub(super) fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((stem, count)) = first(name) else { return vec![path.to_owned()] };
    (1..=count)
        .map(|part| path.with_file_name(format!("{stem}-{part:05}-of-{count:05}.gguf")))
        .collect()
}

/// The name before the numbers and the number of parts, if `name` is that of a first part.
fn first(name: &str) -> Option<(&str, usize)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let stem = rest.strip_suffix("-00001")?;
    let count = Some(count).filter(|digits| digits.len() == 5)?.parse().ok()?;
    (count > 0).then_some((stem, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_parts_follow_from_the_first() {
        let parts = |path: &str| -> Vec<String> {
            crate::models::split::parts(Path::new(path))
                .iter()
                .map(|part| part.display().to_string())
                .collect()
        };
        assert_eq!(
            parts("m/q-4-00001-of-00003.gguf"),
            ["m/q-4-00001-of-00003.gguf", "m/q-4-00002-of-00003.gguf", "m/q-4-00003-of-00003.gguf"]
        );
        for whole in
            ["m/q.gguf", "m/q-00002-of-00003.gguf", "m/q-00001-of-3.gguf", "q-of-q.gguf", "m"]
        {
            assert_eq!(parts(whole), [whole]);
        }
    }
}
