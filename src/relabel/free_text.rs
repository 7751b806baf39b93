//! Which class a written answer means (`relabel.free_text`), as in the paper: the one it names, or the
//! one, of all classes, whose name is nearest to it by embedding. So each answer means some class,
//! even "none of these".

use super::centroids::{ranked, readable};
use crate::{
    embed::{EmbedError, Embedder},
    task::Task,
};

/// The class of each of `answers`.
///
/// White space, quotes and full stops around an answer, letter case, and whether its words are joined
/// by blanks, hyphens or underscores make no difference.
///
/// # Errors
/// What the embedder says.
pub(crate) fn classes(
    task: &Task,
    answers: &[String],
    embedder: &dyn Embedder,
) -> Result<Vec<usize>, EmbedError> {
    let names: Vec<String> = task.classes.iter().map(|class| readable(&class.name)).collect();
    let answers: Vec<String> = answers.iter().map(|answer| readable(tidy(answer))).collect();
    let named = |answer: &String| {
        let is_it = |name: &String| name.to_lowercase() == answer.to_lowercase();
        names.iter().position(is_it)
    };
    let mut strange: Vec<String> =
        answers.iter().filter(|answer| named(answer).is_none()).cloned().collect();
    strange.sort_unstable();
    strange.dedup();
    if strange.is_empty() {
        return Ok(answers.iter().filter_map(named).collect());
    }
    let names = embedder.embed(&names)?;
    let embeddings = embedder.embed(&strange)?;
    let nearest: Vec<usize> = embeddings.iter().map(|answer| ranked(answer, &names)[0]).collect();
    let class = |answer: &String| {
        named(answer).or_else(|| strange.binary_search(answer).ok().map(|place| nearest[place]))
    };
    // Each answer is a name or among the strange ones.
    Ok(answers.iter().filter_map(class).collect())
}

fn tidy(answer: &str) -> &str {
    answer.trim_matches(|letter: char| {
        letter.is_whitespace() || matches!(letter, '"' | '\'' | '“' | '”' | '`' | '*' | '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{augment::sample::Sample, embed::fake_embedder::FakeEmbedder};

    #[test]
    fn an_answer_names_its_class_or_the_nearest_of_all() {
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
            // What belongs nowhere is put somewhere.
            ("none of these", 2),
            // What the embedder has no idea of lies at 0 degrees.
            ("", 0),
            ("stolen card", 0),
        ];
        let texts: Vec<String> = answers.iter().map(|(text, _)| (*text).to_owned()).collect();
        let wanted: Vec<usize> = answers.iter().map(|(_, class)| *class).collect();
        assert_eq!(classes(&task, &texts, &embedder).unwrap(), wanted);
        assert_eq!(classes(&task, &texts[..3], &embedder).unwrap(), wanted[..3]);
        assert!(classes(&task, &[], &embedder).unwrap().is_empty());
    }
}
