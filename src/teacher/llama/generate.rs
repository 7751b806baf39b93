//! Writes replies: in continuous batches, or one at a time.

use std::sync::Arc;

use llama_cpp_2::token::LlamaToken;
use rayon::prelude::*;

use super::{
    DecodeMode, LlamaTeacher,
    memory::{self, Need},
    prefix::PrefixTree,
    queue::{Admitted, Queue},
    reply::Reply,
    sequential::Alone,
    session::{Cell, Spent},
};
use crate::teacher::{GenerateRequest, Generated, Step, StepSink, TeacherError};

/// Logits per step above which the replies' tokens are drawn in parallel.
const WORTH_SHARING: usize = 1 << 18;

/// A request that runs.
struct Running<'a> {
    admitted: Admitted,
    reply: Reply<'a>,
}

/// Answers `requests`, whose prompts are `prompts`, in the given `way`.
pub(super) fn run(
    teacher: &LlamaTeacher,
    requests: &[GenerateRequest],
    prompts: &[Vec<LlamaToken>],
    way: DecodeMode,
    step: StepSink<'_, Generated>,
) -> Result<Spent, TeacherError> {
    if requests.is_empty() {
        return Ok(Spent::default());
    }
    let slices: Vec<&[LlamaToken]> = prompts.iter().map(Vec::as_slice).collect();
    let tree = PrefixTree::new(&slices);
    let need = |(request, prompt): (&GenerateRequest, &Vec<LlamaToken>)| Need {
        prompt: prompt.len(),
        beyond: request.max_tokens,
        sequences: 1,
    };
    let needs: Vec<Need> = requests.iter().zip(prompts).map(need).collect();
    let work = Writing { teacher, requests, prompts: &slices, needs: &needs, tree: &tree };
    match way {
        DecodeMode::Together => work.together(step),
        DecodeMode::OneByOne { reuse } => work.one_by_one(reuse, step),
    }
}

struct Writing<'a> {
    teacher: &'a LlamaTeacher,
    requests: &'a [GenerateRequest],
    prompts: &'a [&'a [LlamaToken]],
    needs: &'a [Need],
    tree: &'a PrefixTree,
}

impl<'a> Writing<'a> {
    /// In continuous batches.
    fn together(&self, step: StepSink<'_, Generated>) -> Result<Spent, TeacherError> {
        let Self { teacher, requests, prompts, tree, .. } = *self;
        let slots = teacher.slots(memory::default_slots(teacher.gpu));
        let shape = teacher.shape(Some(tree), self.needs, slots, |index| self.id(index))?;
        let mut session = teacher.session(shape)?;
        let mut queue = Queue::new(prompts, self.needs, tree, shape.cells);
        let mut running: Vec<Running<'_>> = Vec::new();
        let mut peak = 0;
        loop {
            let mut cells: Vec<Cell> = Vec::with_capacity(shape.slots);
            for run in &running {
                let (token, position) = run.reply.next();
                let sequences = Arc::clone(&run.admitted.sequences);
                cells.push(Cell { token, position, sequences, logits: true });
            }
            let mut row_of: Vec<usize> = (0..running.len()).collect();
            let room = shape.slots - running.len();
            let admitted = queue.admit(&mut session, room, shape.batch_tokens, &mut cells)?;
            if cells.is_empty() {
                break;
            }
            if !admitted.is_empty() {
                let begun = admitted.iter().map(|entry| entry.request).collect();
                step(Step::Began(begun)).map_err(TeacherError::Stopped)?;
            }
            row_of.resize(cells.len(), usize::MAX);
            for entry in admitted {
                row_of[entry.cells.end - 1] = running.len();
                let reply = Reply::begin(&requests[entry.request], prompts[entry.request].len());
                running.push(Running { admitted: entry, reply });
            }
            session.evaluate(&cells, |rows| {
                draw(teacher, &mut running, &row_of, rows);
                step(Step::Alive).map_err(TeacherError::Stopped)
            })?;

            let own: usize = running
                .iter()
                .map(|run| {
                    let request = run.admitted.request;
                    prompts[request].len() - tree.shared(request) + run.reply.len()
                })
                .sum();
            peak = peak.max(queue.prefix_cells() + own);
            let mut done = Vec::new();
            for run in running.extract_if(.., |run| !run.reply.is_running()) {
                queue.release(&mut session, &run.admitted)?;
                done.push((run.admitted.request, run.reply.finish()));
            }
            if !done.is_empty() {
                step(Step::Done(done)).map_err(TeacherError::Stopped)?;
            }
        }
        queue.finish()?;
        Ok(Spent { work: session.work(), cells: session.cells(), peak, slots: shape.slots })
    }

    /// One after another; with `reuse` each keeps the blocks it shares with the last.
    fn one_by_one(
        &self,
        reuse: bool,
        step: StepSink<'_, Generated>,
    ) -> Result<Spent, TeacherError> {
        let Self { teacher, requests, prompts, .. } = *self;
        let shape = teacher.shape(None, self.needs, 1, |index| self.id(index))?;
        let mut alone = Alone::new(teacher.session(shape)?, reuse);
        for &index in &self.tree.order {
            step(Step::Began(vec![index])).map_err(TeacherError::Stopped)?;
            let mut reply = Reply::begin(&requests[index], prompts[index].len());
            alone.prompt(
                prompts[index],
                |logits| reply.extend(teacher, logits),
                || step(Step::Alive).map_err(TeacherError::Stopped),
            )?;
            while reply.is_running() {
                let (token, position) = reply.next();
                alone.token(token, position, |logits| reply.extend(teacher, logits))?;
                step(Step::Alive).map_err(TeacherError::Stopped)?;
            }
            step(Step::Done(vec![(index, reply.finish())])).map_err(TeacherError::Stopped)?;
        }
        Ok(alone.spent(self.needs))
    }

    fn id(&self, index: usize) -> &'a str {
        &self.requests[index].id
    }
}

/// Draws the next token of every reply that has a row of logits.
fn draw(
    teacher: &LlamaTeacher,
    running: &mut [Running<'_>],
    row_of: &[usize],
    rows: &[(usize, &[f32])],
) {
    let mut logits: Vec<Option<&[f32]>> = vec![None; running.len()];
    for (cell, row) in rows {
        logits[row_of[*cell]] = Some(row);
    }
    let extend = |(run, logits): (&mut Running<'_>, &Option<&[f32]>)| {
        if let Some(logits) = logits {
            run.reply.extend(teacher, logits);
        }
    };
    if rows.len() * teacher.pieces.len() > WORTH_SHARING && teacher.threads() > 1 {
        running.par_iter_mut().zip(&logits).for_each(extend);
    } else {
        running.iter_mut().zip(&logits).for_each(extend);
    }
}
