//! "Did you mean": the known name that a mistyped one is most like.

/// Similarity (Jaro-Winkler, 0 to 1) from which a name is suggested: `epoch` for `epochs`,
/// `qwen2.5-0.5b` for `qwen2.5-0.5b-instruct`.
const SIMILAR: f64 = 0.85;

/// The name among `known` that is most like `name`, if one is much like it.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name, &known.as_ref().to_lowercase()), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_suggested_and_no_other() {
        let known = [
            "epochs",
            "max_length",
            "learning_rate",
            "qwen2.5-0.5b-instruct",
            "qwen2.5-7b-instruct",
        ];
        assert_eq!(nearest("epoch", known), Some("epochs"));
        assert_eq!(nearest("maxlength", known), Some("max_length"));
        assert_eq!(nearest("Qwen2.5-0.5B", known), Some("qwen2.5-0.5b-instruct"));
        assert_eq!(nearest("gpt-9", known), None);
        assert_eq!(nearest("", known), None);
    }
}
