//! A teacher for tests that follows a script, and a pipeline for it.

use std::path::Path;

use super::{Event, Pipeline};
use crate::{
    augment::sample::Sample,
    config::Settings,
    prompt::Prompts,
    run::RunFolder,
    teacher::{
        GenerateRequest, Generated, Measured, ScoreRequest, Scored, Sink, Teacher, TeacherError,
        TeacherEvent, TeacherIdentity,
    },
};

/// The probability of each candidate of a question.
type Scorer<'a> = dyn Fn(&ScoreRequest) -> Vec<f32> + 'a;

/// Replies as it is told to, and scores all candidates alike unless told otherwise.
pub(crate) struct ScriptedTeacher<'a> {
    identity: TeacherIdentity,
    /// The reply to a request.
    script: Box<dyn FnMut(&GenerateRequest) -> String + 'a>,
    pub scorer: Box<Scorer<'a>>,
    /// Requests for texts that were answered.
    pub replies: usize,
    /// Questions that were scored.
    pub scores: usize,
}

impl<'a> ScriptedTeacher<'a> {
    pub(crate) fn new(script: impl FnMut(&GenerateRequest) -> String + 'a) -> Self {
        let identity = TeacherIdentity {
            name: "scripted".to_owned(),
            file: "scripted.gguf".into(),
            sha256: "scripted".to_owned(),
            parameters: 1,
            template_sha256: String::new(),
            context: 1000,
            remote: None,
        };
        let scorer = |request: &ScoreRequest| vec![0.5; request.candidates.len()];
        let (script, scorer) = (Box::new(script), Box::new(scorer));
        Self { identity, script, scorer, replies: 0, scores: 0 }
    }
}

/// A pipeline over `sample`'s task in the run folder `path`, which tells `watch` its events.
pub(crate) fn pipeline<'a>(
    path: &Path,
    sample: &Sample,
    settings: &Settings,
    watch: impl FnMut(Event) + Send + 'a,
) -> Pipeline<'a> {
    let prompts = Prompts::load(None).expect("the built-in templates compile");
    let run = RunFolder::open(path, &sample.task, settings, &prompts).expect("a new run folder");
    Pipeline {
        run,
        task: sample.task.clone(),
        settings: settings.clone(),
        prompts,
        embedder: None,
        watch: Box::new(watch),
    }
}

impl Teacher for ScriptedTeacher<'_> {
    fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    /// A token for each word.
    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        let measured = |prompt: &String| Measured {
            rendered: prompt.clone(),
            tokens: prompt.split_whitespace().count(),
        };
        Ok(prompts.iter().map(measured).collect())
    }

    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: Sink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        for (item, request) in requests.iter().enumerate() {
            self.replies += 1;
            let text = (self.script)(request);
            let (complete, prompt_tokens, generated_tokens) = (true, 1, 1);
            let reply = Generated { text, complete, prompt_tokens, generated_tokens };
            sink(TeacherEvent::Answers(vec![(item, Ok(reply))])).map_err(TeacherError::Stopped)?;
        }
        Ok(())
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        for (item, request) in requests.iter().enumerate() {
            self.scores += 1;
            let log_probs: Vec<f32> = (self.scorer)(request).iter().map(|p| p.ln()).collect();
            let tokens = vec![1; log_probs.len()];
            let scored = Scored { log_probs, tokens, prompt_tokens: 1 };
            sink(TeacherEvent::Answers(vec![(item, Ok(scored))])).map_err(TeacherError::Stopped)?;
        }
        Ok(())
    }
}
