//! Maps generated answers to classes (`relabel.free_text`), as in the paper: the class that an
//! answer names, or else the class, of all classes, with the nearest name by embedding. Every
//! answer gets a class, even "none of these", which the task may declare one for.

use super::centroids::{ranked, readable};
use crate::{
    embed::{EmbedError, Embedder},
    sheet::NONE_OF_THESE,
    task::Task,
};

/// The class of each of `answers`.
///
/// White space, quotes and full stops around an answer, letter case, and whether words are joined
/// by blanks, hyphens or underscores make no difference.
///
/// # Errors
/// The embedder fails.
pub(crate) fn match_classes(
    task: &Task,
    answers: &[String],
    embedder: &dyn Embedder,
) -> Result<Vec<usize>, EmbedError> {
    let names: Vec<String> = task.classes.iter().map(|class| readable(&class.shown())).collect();
    let none = |answer: &String| {
        task.none_of_these().filter(|_| answer.eq_ignore_ascii_case(NONE_OF_THESE))
    };
    let answers: Vec<String> = answers.iter().map(|answer| readable(strip(answer))).collect();
    let named = |answer: &String| {
        let same = |name: &String| name.to_lowercase() == answer.to_lowercase();
        names.iter().position(same).or_else(|| none(answer))
    };
    let mut unmatched: Vec<String> =
        answers.iter().filter(|answer| named(answer).is_none()).cloned().collect();
    unmatched.sort_unstable();
    unmatched.dedup();
    if unmatched.is_empty() {
        return Ok(answers.iter().filter_map(named).collect());
    }
    let names = embedder.embed(&names)?;
    let embeddings = embedder.embed(&unmatched)?;
    let nearest: Vec<usize> = embeddings.iter().map(|answer| ranked(answer, &names)[0]).collect();
    let class = |answer: &String| {
        named(answer).or_else(|| unmatched.binary_search(answer).ok().map(|index| nearest[index]))
    };
    // Every answer is a name or in `unmatched`, so none is lost here.
    Ok(answers.iter().filter_map(class).collect())
}

fn strip(answer: &str) -> &str {
    answer.trim_matches(|letter: char| {
        letter.is_whitespace() || matches!(letter, '"' | '\'' | '“' | '”' | '`' | '*' | '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{augment::sample::Sample, embed::fake_embedder::FakeEmbedder};

    #[test]
    fn an_answer_gets_the_class_it_names_or_the_nearest() {
        let task = Sample::new(&["lost_card", "PIN", "exchange rate"], Vec::new()).task;
        let embedder = FakeEmbedder(vec![
            ("lost card", 0.0),
            ("PIN", 90.0),
            ("exchange rate", 180.0),
            ("stolen card", 20.0),
            ("a new code", 100.0),
            ("none of these", 140.0),
        ]);
        let answers = [
            ("lost_card", 0),
            (" \"Lost-Card\".\n", 0),
            ("pin", 1),
            ("**exchange_rate**", 2),
            ("stolen card", 0),
            ("a new code.", 1),
            // An answer that fits no class still gets the nearest one.
            ("none of these", 2),
            // Unknown to the embedder, so at 0 degrees.
            ("", 0),
            ("stolen card", 0),
        ];
        let texts: Vec<String> = answers.iter().map(|(text, _)| (*text).to_owned()).collect();
        let wanted: Vec<usize> = answers.iter().map(|(_, class)| *class).collect();
        assert_eq!(match_classes(&task, &texts, &embedder).unwrap(), wanted);
        assert_eq!(match_classes(&task, &texts[..3], &embedder).unwrap(), wanted[..3]);
        assert!(match_classes(&task, &[], &embedder).unwrap().is_empty());

        let mut task = Sample::new(&["lost_card", "other", "PIN"], Vec::new()).task;
        task.classes[1].none_of_these = true;
        let none = ["None of these.".to_owned()];
        assert_eq!(match_classes(&task, &none, &embedder).unwrap(), [1]);
    }
}
