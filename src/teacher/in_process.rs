//! The engine in this very process: for profiling, and where no child process can be started. What
//! ends the engine ends the program.

use super::{
    GenerateRequest, Generated, Measured, ScoreRequest, Scored, Sink, Step, Teacher, TeacherError,
    TeacherEvent, TeacherIdentity, llama::LlamaTeacher,
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
        self.0.generate(requests, &mut |step| match step {
            Step::Done(done) => sink(TeacherEvent::Answers(
                done.into_iter().map(|(at, reply)| (at, Ok(reply))).collect(),
            )),
            Step::Began(_) | Step::Alive => Ok(()),
        })
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        self.0.score(requests, &mut |step| match step {
            Step::Done(done) => sink(TeacherEvent::Answers(
                done.into_iter().map(|(at, scored)| (at, Ok(scored))).collect(),
            )),
            Step::Began(_) | Step::Alive => Ok(()),
        })
    }
}
