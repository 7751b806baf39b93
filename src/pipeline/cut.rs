//! Questions about texts that are too long for the teacher: the end of the text is left out, as the
//! student leaves it out.

use super::PipelineError;
use crate::{
    prompt::Question,
    relabel::QuestionBuilder,
    teacher::{Teacher, TeacherError},
};

/// Tokens of a chat template and an answer. A prompt with fewer bytes than the context has tokens
/// beyond this is short enough: a token has at least one byte.
pub(super) const FRAME: usize = 512;
/// Attempts to find the length that fits.
const ATTEMPTS: usize = 12;

/// Shortens the texts of those of `questions` that do not fit the context of `teacher` with an
/// answer of `answer` tokens. Returns their indices.
///
/// # Errors
/// A question that does not fit without its text, and what the teacher reports.
pub(crate) fn cut_questions(
    builder: &QuestionBuilder<'_>,
    questions: &mut [Question],
    teacher: &mut dyn Teacher,
    answer: usize,
) -> Result<Vec<usize>, PipelineError> {
    let limit = teacher.identity().context;
    let mut open: Vec<usize> = (0..questions.len())
        .filter(|at| questions[*at].prompt.len() + answer + FRAME > limit)
        .collect();
    let mut cut = Vec::new();
    for attempt in 0..=ATTEMPTS {
        let prompts: Vec<String> = open.iter().map(|at| questions[*at].prompt.clone()).collect();
        let measured = teacher.measure(&prompts)?;
        let mut still = Vec::new();
        for (at, prompt) in open.into_iter().zip(&measured) {
            let needed = prompt.tokens + answer;
            if needed <= limit {
                continue;
            }
            if attempt == 0 {
                cut.push(at);
            }
            let question = &questions[at];
            let shown = shown_characters(question, builder, teacher, (needed, limit), attempt)?;
            if shown == 0 || attempt == ATTEMPTS {
                let (id, model) = (format!("{at}"), teacher.identity().name.clone());
                return Err(TeacherError::TooLong { id, needed, limit, model }.into());
            }
            let part: String = question.text.chars().take(shown).collect();
            questions[at] = builder.about(question, &format!("{} …", part.trim_end()))?;
            still.push(at);
        }
        open = still;
        if open.is_empty() {
            break;
        }
    }
    Ok(cut)
}

/// How many characters of the text to show: its share of the room, a tenth less at each attempt.
fn shown_characters(
    question: &Question,
    builder: &QuestionBuilder<'_>,
    teacher: &mut dyn Teacher,
    (needed, limit): (usize, usize),
    attempt: usize,
) -> Result<usize, PipelineError> {
    let characters = question.text.chars().count();
    let empty = builder.about(question, "…")?.prompt;
    let frame = teacher.measure(std::slice::from_ref(&empty))?.first().map_or(0, |it| it.tokens);
    let whole = builder.about(question, &question.text)?.prompt;
    let whole = match attempt {
        0 => needed,
        _ => teacher.measure(&[whole])?.first().map_or(needed, |it| it.tokens),
    };
    let room = limit.saturating_sub(frame + needed.min(FRAME / 8)) as f64;
    let share = room / whole.saturating_sub(frame).max(1) as f64;
    Ok((characters as f64 * share * 0.9_f64.powi(attempt as i32)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        config::RelabelSettings,
        pipeline::scripted_teacher::ScriptedTeacher,
    };

    #[test]
    fn the_end_of_a_long_text_is_left_out_and_short_ones_stay() {
        let sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        let settings = RelabelSettings::default();
        let builder = QuestionBuilder::new(&sample.task, &sample.prompts, &sample.seeds, &settings);
        let texts = ["short".to_owned(), "word and more of it ".repeat(1000)];
        let mut questions = builder.build_with_all_classes(&texts).unwrap();
        let before = questions.clone();
        let mut teacher = ScriptedTeacher::new(|_| String::new());
        let cut = cut_questions(&builder, &mut questions, &mut teacher, 32).unwrap();
        assert_eq!((cut, &questions[0]), (vec![1], &before[0]));
        assert_eq!(questions[1].text, before[1].text, "its own text is what the answer is for");
        let tokens = teacher.measure(&[questions[1].prompt.clone()]).unwrap()[0].tokens;
        assert!(tokens + 32 <= 1000 && tokens > 700, "{tokens}");
        assert!(questions[1].prompt.ends_with(" …\nClass:"));
    }
}
