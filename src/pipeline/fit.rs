//! Examples in prompts that are too long for the teacher's context: they are shortened first, then
//! there are fewer of each class.

use super::{Context, Event, PipelineError, Watch, cut::FRAME};
use crate::{
    counted::counted,
    prompt::{WantedTexts, one_line, reply::LIST_CUE, shown_classes},
    relabel::QuestionBuilder,
    task::{Class, LabelledText},
    teacher::{Teacher, TeacherError},
};

/// Lengths in characters that examples are shortened to, one after the other.
const LENGTHS: [usize; 6] = [1000, 600, 400, 250, 150, 100];
/// Share of the context that is left for the text in a question, at most.
const QUESTION_SHARE: usize = 4;

/// The few-shot subset as requests for texts show it: reduced until the longest request fits the
/// context with its reply and the longest of the `style`. `watch` is told what was reduced.
///
/// # Errors
/// A request that does not fit even without examples.
pub(crate) fn for_requests(
    context: &Context<'_>,
    style: &[String],
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Vec<LabelledText>, PipelineError> {
    let augment = &context.settings.augment;
    // The names of any two classes may stand in the request; a token has at least one byte.
    let names = context.task.classes.iter().map(|class| class.shown().len());
    let reply = augment.max_tokens() + LIST_CUE.len() + 2 * names.max().unwrap_or(0);
    let mut style = style.to_vec();
    style.sort_by_key(|text| std::cmp::Reverse(text.len()));
    style.truncate(augment.style_examples);
    let wanted = WantedTexts { count: augment.texts_per_request, style };
    let prompt = |seeds: &[LabelledText], longest: &[usize]| {
        let shown = &longest[..augment.classes_shown.max(2).min(longest.len())];
        let classes = shown_classes(context.task, shown, |class| of_class(seeds, class));
        let Context { task, prompts, .. } = *context;
        let mixed = prompts.mixup(augment.prompts, task, &classes, (0, 1), (85, 15), &wanted)?;
        let Some(none) = task.none_of_these() else { return Ok(mixed) };
        let own = shown_classes(task, &[none], |class| of_class(seeds, class)).remove(0);
        let near_miss = prompts.near_miss(task, &classes, 0, &own, &wanted)?;
        Ok(if near_miss.len() > mixed.len() { near_miss } else { mixed })
    };
    reduce(context, teacher, ("requests", "for texts", reply), &prompt, watch)
}

/// The same for questions about labels; room is left for the longest seed.
///
/// # Errors
/// A question that does not fit even without examples.
pub(crate) fn for_questions(
    context: &Context<'_>,
    teacher: &mut dyn Teacher,
    answer: usize,
    watch: Watch<'_>,
) -> Result<Vec<LabelledText>, PipelineError> {
    let limit = teacher.identity().context;
    let longest = context.task.seeds.iter().map(|seed| seed.text.len()).max().unwrap_or(0);
    let room = longest.min(limit / QUESTION_SHARE);
    let prompt = |seeds: &[LabelledText], longest: &[usize]| {
        let relabel = &context.settings.relabel;
        let builder = QuestionBuilder::new(context.task, context.prompts, seeds, relabel);
        let shown = &longest[..builder.candidates().min(longest.len())];
        Ok(builder.content_free(shown)?.remove(0).prompt)
    };
    reduce(context, teacher, ("questions", "for a label", answer + room), &prompt, watch)
}

/// The texts of `class`, each on one line.
fn of_class(seeds: &[LabelledText], class: usize) -> Vec<String> {
    let own = seeds.iter().filter(|seed| seed.label == class);
    own.map(|seed| one_line(&seed.text)).collect()
}

/// All classes, those with the most tokens to show first.
fn longest_classes(
    context: &Context<'_>,
    seeds: &[LabelledText],
    teacher: &mut dyn Teacher,
) -> Result<Vec<usize>, PipelineError> {
    let mut texts = vec![Vec::new(); context.task.classes.len()];
    seeds.iter().for_each(|seed| texts[seed.label].push(one_line(&seed.text)));
    let block = |(class, texts): (&Class, &Vec<String>)| {
        format!("{}: {}\n{}", class.shown(), class.explanation(), texts.join("\n- "))
    };
    let blocks: Vec<String> = context.task.classes.iter().zip(&texts).map(block).collect();
    let measured = teacher.measure(&blocks)?;
    let mut classes: Vec<usize> = (0..blocks.len()).collect();
    classes.sort_by_key(|class| std::cmp::Reverse(measured[*class].tokens));
    Ok(classes)
}

/// The longest prompt that shows these seeds; the classes come with the longest first.
type Prompt<'a> = dyn Fn(&[LabelledText], &[usize]) -> Result<String, PipelineError> + 'a;

/// `context.seeds`, reduced until the `prompt` that shows them leaves `beyond` tokens.
fn reduce(
    context: &Context<'_>,
    teacher: &mut dyn Teacher,
    (what, kind, beyond): (&str, &str, usize),
    prompt: &Prompt<'_>,
    watch: Watch<'_>,
) -> Result<Vec<LabelledText>, PipelineError> {
    let limit = teacher.identity().context;
    let mut needs = |seeds: &[LabelledText]| -> Result<usize, PipelineError> {
        let text = prompt(seeds, &longest_classes(context, seeds, teacher)?)?;
        // A token has at least one byte.
        if text.len() + beyond + FRAME <= limit {
            return Ok(0);
        }
        let measured = teacher.measure(&[text])?;
        Ok(measured.first().map_or(0, |prompt| prompt.tokens) + beyond)
    };
    let whole = context.seeds.to_vec();
    let mut needed = needs(&whole)?;
    if needed <= limit {
        return Ok(whole);
    }
    let mut tell = |how: String| {
        watch(Event::Warning {
            message: format!(
                "{what} need up to {needed} tokens, but the teacher's context holds {limit}: {how}"
            ),
            hint: Some("use a teacher with a longer context to show examples in full".to_owned()),
        });
    };
    let mut short = whole;
    for length in LENGTHS {
        short = shortened(context.seeds, length);
        if needs(&short)? <= limit {
            tell(format!("examples in prompts are shortened to {length} characters"));
            return Ok(short);
        }
    }
    let most = (0..context.task.classes.len())
        .map(|class| short.iter().filter(|seed| seed.label == class).count())
        .max();
    // More examples need more tokens: the most that fit are found by bisection.
    let (mut fitting, mut open) = (None, 0..most.unwrap_or(0));
    while !open.is_empty() {
        let examples = open.start + open.len() / 2;
        let fewer = first_of_each_class(&short, examples);
        if needs(&fewer)? <= limit {
            fitting = Some((examples, fewer));
            open.start = examples + 1;
        } else {
            open.end = examples;
        }
    }
    if let Some((examples, fewer)) = fitting {
        let length = LENGTHS[LENGTHS.len() - 1];
        tell(format!(
            "prompts show {} per class, shortened to {length} characters",
            counted(examples, "example")
        ));
        return Ok(fewer);
    }
    needed = needs(&[])?;
    let (id, model) = (kind.to_owned(), teacher.identity().name.clone());
    Err(TeacherError::TooLong { id, needed, limit, model }.into())
}

/// `seeds` with texts of at most `length` characters, an ellipsis at the end of those that were
/// longer.
fn shortened(seeds: &[LabelledText], length: usize) -> Vec<LabelledText> {
    let short = |seed: &LabelledText| {
        let text = one_line(&seed.text);
        let text = match text.char_indices().nth(length) {
            Some((end, _)) => format!("{} …", text[..end].trim_end()),
            None => text,
        };
        LabelledText { text, label: seed.label }
    };
    seeds.iter().map(short).collect()
}

fn first_of_each_class(seeds: &[LabelledText], count: usize) -> Vec<LabelledText> {
    let mut taken = std::collections::HashMap::new();
    let kept = seeds.iter().filter(|seed| {
        let taken: &mut usize = taken.entry(seed.label).or_default();
        *taken += 1;
        *taken <= count
    });
    kept.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        config::Settings,
        pipeline::scripted_teacher::ScriptedTeacher,
    };

    /// The subset that requests show if there are `count` seeds of each class, each with `words`
    /// words of five characters, and the warnings.
    fn shown(count: usize, words: usize) -> (Vec<LabelledText>, Vec<String>) {
        let text = "word ".repeat(words);
        let seeds = (0..2 * count).map(|n| seed(&format!("{n} {text}"), n % 2)).collect();
        let sample = Sample::new(&["a", "b"], seeds);
        let settings = Settings::default();
        let context = Context {
            task: &sample.task,
            seeds: &sample.seeds,
            settings: &settings,
            prompts: &sample.prompts,
            seed: 1,
        };
        let mut warnings = Vec::new();
        let mut watch = |event: Event| {
            if let Event::Warning { message, .. } = event {
                warnings.push(message);
            }
        };
        let mut teacher = ScriptedTeacher::new(|_| String::new());
        (for_requests(&context, &[], &mut teacher, &mut watch).unwrap(), warnings)
    }

    #[test]
    fn examples_are_shortened_first_then_there_are_fewer() {
        // The teacher's context holds 1000 tokens, 258 of them for the reply.
        let (seeds, warnings) = shown(2, 100);
        assert_eq!((seeds.len(), warnings.len()), (4, 0));
        let (seeds, warnings) = shown(2, 300);
        assert!(seeds.len() == 4 && seeds[0].text.ends_with(" …"), "{seeds:?}");
        assert!(warnings[0].ends_with("shortened to 600 characters"), "{warnings:?}");
        let (seeds, warnings) = shown(30, 300);
        assert!(warnings[0].contains("examples per class, shortened to 100"), "{warnings:?}");
        assert!(seeds.len() < 60 && seeds.len() > 20, "{}", seeds.len());
    }
}
