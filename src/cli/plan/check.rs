//! `plan --check`: the teacher labels examples that its prompt does not show. Nothing is recorded.

use crate::{
    cli::build,
    config::Settings,
    pipeline::{Context, teacher_check::TeacherTest},
    prompt::Prompts,
    report::TeacherCheck,
    task::{LabelledText, Task},
    teacher::{Scored, Teacher, TeacherEvent},
};

/// What `teacher` reaches; `None` if it labels only its own texts, or there are no examples.
pub(super) fn check(
    task: &Task,
    seeds: &[LabelledText],
    settings: &Settings,
    prompts: &Prompts,
    teacher: &mut dyn Teacher,
) -> anyhow::Result<Option<TeacherCheck>> {
    if !teacher.scores_any_text() {
        return Ok(None);
    }
    let embedder = build::embedder(&build::student(settings)?)?;
    let context = Context { task, seeds, settings, prompts, seed: settings.run.seed };
    let Some(test) = TeacherTest::new(&context, teacher, Some(&embedder))? else { return Ok(None) };
    let requests = test.requests();
    let mut scored: Vec<Option<Scored>> = vec![None; requests.len()];
    teacher.score(&requests, &mut |event| {
        if let TeacherEvent::Answers(answers) = event {
            for (at, answer) in answers {
                scored[at] = answer.ok();
            }
        }
        Ok(())
    })?;
    Ok(TeacherCheck::of_pairs(&test.mark(&scored)))
}
