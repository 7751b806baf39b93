//! Counts in sentences: the noun and the verb agree with the number.

use std::borrow::Cow;

/// A count with its noun, given in the singular: `1 text`, `2 texts`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {}", noun_for(count, noun))
}

/// A part of a whole: `1 of 3 texts`, `1 of 1 text`.
pub(crate) fn part(count: usize, all: usize, noun: &str) -> String {
    format!("{count} of {}", counted(all, noun))
}

/// The word that agrees with a count: `one` with 1, otherwise `many`.
pub(crate) fn agree<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// `noun` as it stands after a count.
pub(crate) fn noun_for(count: usize, noun: &str) -> Cow<'_, str> {
    match (count, noun.strip_suffix('y')) {
        (1, _) => noun.into(),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies").into(),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{noun}es").into(),
        _ => format!("{noun}s").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_and_verbs_agree_with_the_count() {
        assert_eq!(counted(1, "text"), "1 text");
        assert_eq!(counted(0, "text"), "0 texts");
        assert_eq!(counted(2, "class"), "2 classes");
        assert_eq!(counted(2, "reply"), "2 replies");
        assert_eq!(counted(3, "day"), "3 days");
        assert_eq!(part(1, 1, "training text"), "1 of 1 training text");
        assert_eq!(part(1, 2, "class"), "1 of 2 classes");
        assert_eq!((agree(1, "is", "are"), agree(0, "is", "are")), ("is", "are"));
    }
}
