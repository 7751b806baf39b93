//! Asking as the published code does: many requests for each text, of which one text is kept.

use super::{
    Context, PipelineError, Watch,
    screen::Screen,
    texts::{Counts, Generation, Piles, parsed_replies},
};
use crate::{
    augment::{
        Material,
        paper::{PaperMixup, PendingText},
    },
    run::{KeptTexts, RunFolder},
    teacher::Teacher,
};

/// As [`super::generate::generate_texts`] for the method itself, if `augment.unique_per_text` is
/// set.
///
/// # Errors
/// The same.
pub(super) fn generate_texts(
    run: &mut RunFolder,
    context: &Context<'_>,
    material: &Material,
    kept: Option<&KeptTexts>,
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Generation, PipelineError> {
    let (task, augment) = (context.task, &context.settings.augment);
    let prompts = context.for_prompts(material);
    let teacher_sha256 = teacher.identity().sha256.clone();
    let mut piles = Piles::new(task, augment.per_class, false, kept);
    let (mut counts, mut keys) = (Counts::default(), Vec::new());
    let mut screen = Screen::new(task, augment);
    counts.take_up(piles.texts.iter().map(Vec::len).sum());
    counts.unique = counts.taken_up;
    let first = kept.map_or(0, |kept| kept.next_id);
    let mut pending = PendingText::all(&prompts, &piles.missing(), first);
    loop {
        let (mut requests, mut owners) = (Vec::new(), Vec::new());
        for (owner, text) in pending.iter_mut().enumerate() {
            requests.extend(text.next_requests(&prompts)?);
            owners.resize(requests.len(), owner);
        }
        if requests.is_empty() {
            break;
        }
        let replies = parsed_replies(run, &prompts, &PaperMixup, &requests, teacher, &mut *watch)?;
        for ((request, owner), (key, reply)) in requests.iter().zip(owners).zip(replies) {
            keys.push(key);
            for (_, row) in counts.rows(&mut screen, task, request, reply, &teacher_sha256) {
                counts.unique += usize::from(pending[owner].add(row));
            }
        }
    }
    for text in pending {
        let class = text.class();
        piles.texts[class].extend(text.pick(context.seed));
    }
    let (texts, counts) = piles.keep_wanted(task, augment.tries, counts, watch);
    Ok(Generation { texts, counts, keys, junk: screen.into_rows() })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crate::{
        augment::sample::{Sample, seed},
        config::Settings,
        pipeline::{
            Event,
            scripted_teacher::{ScriptedTeacher, pipeline},
        },
    };

    #[test]
    fn one_of_ten_texts_is_kept_and_a_resumed_run_asks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        let mut settings = Settings::default();
        let augment = &mut settings.augment;
        (augment.per_class, augment.unique_per_text) = (2, 10);
        // The scripted texts are numbers.
        augment.clean = false;

        // The second request of each text is answered with a reply that is no list, the first text
        // of class b with the same three lines whatever is asked.
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
        let watch = |event: Event| {
            warnings.extend(matches!(event, Event::Warning { .. }).then_some(event));
        };
        let mut run = pipeline(folder.path(), &sample, &settings, watch);
        let texts = run.generate(&mut teacher).unwrap();
        drop(run);
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
        let again = pipeline(folder.path(), &sample, &settings, |_| {}).generate(&mut silent);
        assert_eq!(again.unwrap(), texts);
    }
}
