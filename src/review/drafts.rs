//! The descriptions that `refine` drafted: the page shows them, `refine --accept` takes them.

use serde::Serialize;

use crate::{
    dataset::{Draft, Effect, Paired, Refinement, Verdict},
    hint::{shell_path, shell_word},
    run::{RunError, RunFolder, names, read_json},
    task::Task,
};

/// A draft as the page shows it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct DraftView {
    class: String,
    against: String,
    /// Empty if the class has none.
    old: String,
    new: String,
    /// What changes in the teacher's labels.
    effect: String,
    is_worse: bool,
    /// The command that puts it into `task.toml`.
    command: String,
}

/// The drafts of `run` that replace the descriptions of `task`; none if `refined.json` is not the
/// file that was shown.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(run: &RunFolder, task: &Task) -> Result<Vec<DraftView>, RunError> {
    let path = run.path().join(names::REFINED);
    if !path.exists() || !run.is_as_recorded(names::REFINED) {
        return Ok(Vec::new());
    }
    let refinement: Refinement = read_json(&path, "check the file's permissions")?;
    // What was accepted meanwhile, or described otherwise, is settled.
    let is_open = |draft: &Draft| {
        let class = task.classes.iter().find(|class| class.name == draft.class);
        class.is_some_and(|class| class.description == draft.old)
    };
    let open = refinement.drafts.into_iter().filter(is_open);
    let run = shell_path(run.path());
    Ok(open.filter_map(|draft| view(draft, &run)).collect())
}

fn view(draft: Draft, run: &str) -> Option<DraftView> {
    let Draft { class, against, old, new, effect, .. } = draft;
    let effect = effect?;
    let command = format!("promptmix refine {run} --accept {}", shell_word(class.clone()));
    let (is_worse, effect) = (effect.verdict() == Verdict::Worse, in_words(&effect));
    Some(DraftView { class, against, old, new: new?, effect, is_worse, command })
}

fn in_words(effect: &Effect) -> String {
    let Effect { all: Paired { examples, before, after, gained, lost }, unseen } = effect;
    format!(
        "{after} instead of {before} of {examples} examples labelled correctly ({gained} gained, {lost} lost); of the {} that it was not drafted from, {} instead of {}",
        unseen.examples, unseen.after, unseen.before
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_without_an_effect_is_not_shown_and_names_are_quoted() {
        let all = Paired { examples: 48, before: 30, after: 33, gained: 4, lost: 1 };
        let unseen = Paired { examples: 38, before: 25, after: 24, gained: 1, lost: 2 };
        let draft = Draft {
            class: "lost card".to_owned(),
            against: "refund".to_owned(),
            old: String::new(),
            new: Some("about a card".to_owned()),
            usable: 1,
            refused: [].into(),
            effect: Some(Effect { all, unseen }),
        };
        let shown = view(draft.clone(), "runs/a").unwrap();
        assert_eq!(shown.command, "promptmix refine runs/a --accept 'lost card'");
        assert!(shown.is_worse && shown.effect.starts_with("33 instead of 30 of 48 examples"));
        assert!(shown.effect.ends_with("not drafted from, 24 instead of 25"), "{}", shown.effect);
        assert_eq!(view(Draft { new: None, effect: None, ..draft }, "runs/a"), None);
    }
}
