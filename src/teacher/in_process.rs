//! The engine in this process: for profiling, and for systems where no child process can be
//! started. A crash of the engine ends the program.

use std::error::Error;

use super::{
    EngineEvent, GenerateRequest, Generated, Measured, ScoreRequest, Scored, Sink, SkippedRequest,
    Teacher, TeacherError, TeacherEvent, TeacherIdentity, llama::LlamaTeacher,
    tokens::PromptTokenizer as _,
};

/// [`LlamaTeacher`] without a supervisor.
pub(crate) struct InProcess(pub LlamaTeacher);

impl Teacher for InProcess {
    fn identity(&self) -> &TeacherIdentity {
        self.0.identity()
    }

    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        self.0.measure(prompts)
    }

    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: Sink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        self.0.generate(requests, &mut |event| forward(event, sink))
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        self.0.score(requests, &mut |event| forward(event, sink))
    }
}

/// Passes on what begins and what is finished; [`EngineEvent::Alive`] is for a supervisor.
fn forward<T>(
    event: EngineEvent<T>,
    sink: Sink<'_, T>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    match event {
        EngineEvent::Done(done) => sink(TeacherEvent::Answers(
            done.into_iter().map(|(index, answer)| (index, Ok(answer))).collect(),
        )),
        EngineEvent::Skipped(request, reason) => {
            sink(TeacherEvent::Answers(vec![(request, Err(SkippedRequest { reason }))]))
        }
        EngineEvent::Began(requests) => sink(TeacherEvent::Began(requests)),
        EngineEvent::Alive => Ok(()),
    }
}
