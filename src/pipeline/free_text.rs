//! The teacher as a classifier that writes its answer (`relabel.free_text`), as in the paper.

use super::{
    PipelineError, Watch,
    generate::written,
    relabel::{Answers, Scoring},
};
use crate::{
    embed::Embedder,
    prompt::Question,
    relabel::{Answer, free_text},
    run::RunFolder,
    teacher::{GenerateRequest, Sampling, Teacher, Wanted},
};

/// Most tokens of an answer: enough for the name of a class.
const ANSWER_TOKENS: usize = 32;

impl Scoring<'_> {
    /// One answer for each of `questions`, of one class, without a probability.
    ///
    /// # Errors
    /// Whatever stops the teacher, the embedder or the disk.
    pub(crate) fn answer_freely(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        questions: &[Question],
        watch: Watch<'_>,
    ) -> Result<Answers, PipelineError> {
        let stage = self.stage;
        run.note_teacher(teacher.identity())?;
        let request = |(item, question): (usize, &Question)| GenerateRequest {
            id: format!("{stage}.{item}"),
            prompt: question.prompt.clone(),
            cue: String::new(),
            lines: 1,
            longest: self.context.settings.augment.longest,
            constrained: false,
            // Nothing is drawn at temperature 0.
            seed: 0,
            max_tokens: ANSWER_TOKENS,
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            wanted: Wanted::default(),
        };
        let requests: Vec<GenerateRequest> = questions.iter().enumerate().map(request).collect();
        let replies = written(run, stage, &requests, &|_, _| None, teacher, watch)?;
        let (keys, replies): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
        // A request that was given up has no answer.
        let answered: Vec<bool> =
            replies.iter().map(|reply| reply.complete || !reply.text.is_empty()).collect();
        let texts: Vec<String> = replies.into_iter().map(|reply| reply.text).collect();
        let classes = free_text::match_classes(self.context.task, &texts, embedder)?;
        let answer = |(class, answered): (usize, bool)| {
            answered.then(|| Answer { class, probabilities: Vec::new() })
        };
        let answers = classes.into_iter().zip(answered).map(answer).collect();
        Ok(Answers { answers, keys })
    }
}
