//! The texts that a change of the task kept, as generation starts from them.

use super::{Context, Event, Watch};
use crate::{
    config::Settings,
    counted::{agree, counted},
    dataset::AugmentedText,
    prompt::Prompts,
    run::{KeptTexts, RunFolder, kept_texts, key},
    teacher::TeacherIdentity,
};

/// Hash of the settings that a text depends on, besides the teacher and the task. The limits of
/// lengths and numbers are not among them: a text within them is as good with others.
pub(super) fn made_with(settings: &Settings, prompts_sha256: &str) -> String {
    let augment = &settings.augment;
    key(&(
        (settings.run.seed, prompts_sha256, augment.texts_per_request, augment.classes_shown),
        (augment.partners, augment.beta, augment.constrained, augment.unique_per_text),
        (augment.prompts, augment.truncated_percent, augment.style_examples, &augment.sampling),
    ))
}

/// Those of the texts `kept` by the last change that are of the teacher `identity` and of these
/// settings; others are generated again, as if only the settings had changed.
pub(super) fn usable(
    kept: &KeptTexts,
    settings: &Settings,
    prompts: &Prompts,
    identity: &TeacherIdentity,
) -> Option<KeptTexts> {
    let of_teacher = |row: &AugmentedText| {
        row.teacher_sha256.as_ref().is_none_or(|sha256| *sha256 == identity.sha256)
    };
    let same = made_with(settings, prompts.sha256()) == kept.made_with;
    same.then(|| KeptTexts {
        kept: kept.kept.iter().filter(|row| of_teacher(row)).cloned().collect(),
        ..kept.clone()
    })
}

/// The texts that generation starts from: those that the last change of the task kept.
pub(super) fn start(
    run: &RunFolder,
    context: &Context<'_>,
    identity: &TeacherIdentity,
    watch: Watch<'_>,
) -> Option<KeptTexts> {
    let kept = kept_texts(run.ledger().entries())?;
    let usable = usable(kept, context.settings, context.prompts, identity);
    let fewer = kept.kept.len() - usable.as_ref().map_or(0, |usable| usable.kept.len());
    if fewer > 0 {
        watch(Event::Note(format!(
            "{} made by another teacher or with other settings {} generated again",
            counted(fewer, "earlier text"),
            agree(fewer, "is", "are")
        )));
    }
    usable
}
