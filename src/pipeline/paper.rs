//! Asking as the published code does: many requests for each text, one text kept.

use super::{
    Context, PipelineError, Watch,
    generate::{Counts, Generation, gathered, replies},
};
use crate::{
    augment::paper::{PaperMixup, PendingText},
    dataset::AugmentedText,
    run::RunFolder,
    teacher::Teacher,
};

/// As [`crate::pipeline::generate::generate_texts`] for the method itself, where `augment.unique_per_text` is set.
///
/// # Errors
/// The same.
pub(crate) fn generate_texts(
    run: &mut RunFolder,
    context: &Context<'_>,
    nearest: &[Vec<usize>],
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Generation, PipelineError> {
    let (task, augment) = (context.task, &context.settings.augment);
    let prompt_context = context.for_prompts(nearest);
    run.note_teacher(teacher.identity())?;
    let teacher_sha256 = teacher.identity().sha256.clone();
    let mut pending = PendingText::all(&prompt_context);
    let (mut counts, mut keys) = (Counts::default(), Vec::new());
    loop {
        let (mut asks, mut owners) = (Vec::new(), Vec::new());
        for (owner, pending) in pending.iter_mut().enumerate() {
            asks.extend(pending.next_requests(&prompt_context)?);
            owners.resize(asks.len(), owner);
        }
        if asks.is_empty() {
            break;
        }
        let replies = replies(run, &prompt_context, &PaperMixup, teacher, &asks, &mut *watch)?;
        for ((ask, owner), (key, reply)) in asks.iter().zip(owners).zip(replies) {
            keys.push(key);
            for (_, row) in counts.rows(&prompt_context, &PaperMixup, ask, &reply, &teacher_sha256)
            {
                counts.unique += usize::from(pending[owner].add(row));
            }
        }
    }
    let mut piles: Vec<Vec<AugmentedText>> = vec![Vec::new(); task.classes.len()];
    for pending in pending {
        let class = pending.class();
        piles[class].extend(pending.pick(context.seed));
    }
    let generate_texts = Generation { texts: Vec::new(), counts, keys };
    Ok(gathered(task, piles, augment.per_class, augment.tries, generate_texts, watch))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        config::Settings,
        pipeline::{Event, generate, scripted_teacher::ScriptedTeacher},
    };

    #[test]
    fn one_of_ten_texts_is_kept_and_a_run_taken_up_again_asks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        let mut settings = Settings::default();
        let augment = &mut settings.augment;
        (augment.per_class, augment.unique_per_text) = (2, 10);
        let (task, prompts) = (&sample.task, &sample.prompts);
        let mut run = RunFolder::open(folder.path(), task, &settings, prompts).unwrap();

        // The second request of each text is answered with a reply that is no list, the first text of
        // class b with the same three lines whatever is asked.
        let mut asked: HashMap<String, usize> = HashMap::new();
        let mut teacher = ScriptedTeacher::new(|request| {
            let [attempt, class, number] =
                *request.id.split('.').map(|part| part.parse().unwrap()).collect::<Vec<usize>>()
            else {
                panic!("{}", request.id)
            };
            *asked.entry(format!("{class}.{number}")).or_default() += 1;
            match (attempt, class, number) {
                (1, ..) => "Sure! Here they are".to_owned(),
                (_, 1, 0) => "1. same\n2. again\n3. once more".to_owned(),
                _ => (1..=3).map(|line| format!("{line}. {}, {line}\n", request.id)).collect(),
            }
        });
        let mut warnings = Vec::new();
        let watch: Watch<'_> =
            &mut |event| warnings.extend(matches!(event, Event::Warning(_)).then_some(event));
        let texts =
            generate(&mut run, task, &settings, prompts, &mut teacher, None, watch).unwrap();
        assert_eq!(texts.iter().map(|text| text.id).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(
            texts.iter().map(|text| text.major.as_str()).collect::<Vec<_>>(),
            ["a", "a", "b", "b"]
        );
        for (text, name) in [(&texts[0], ".0.0,"), (&texts[1], ".0.1,"), (&texts[3], ".1.1,")] {
            assert!(text.text.contains(name), "{text:?}");
            assert_eq!(text.request_id.as_deref(), text.text.split(',').next());
        }
        assert!(["same", "again", "once more"].contains(&texts[2].text.as_str()));
        let replies = teacher.replies;
        drop(teacher);
        // 4 requests, one refused; 1 more. Or 12, the bound.
        let wanted = [("0.0", 5), ("0.1", 5), ("1.0", 12), ("1.1", 5)];
        assert_eq!(asked, wanted.map(|(name, count)| (name.to_owned(), count)).into());
        assert!(replies == 27 && warnings.is_empty(), "{warnings:?}");

        let mut silent = ScriptedTeacher::new(|request| panic!("{} is asked again", request.id));
        let again = generate(&mut run, task, &settings, prompts, &mut silent, None, &mut |_| {});
        assert_eq!(again.unwrap(), texts);
    }
}
