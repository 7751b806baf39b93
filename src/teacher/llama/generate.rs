//! Generates replies: in continuous batches, or one at a time.

use std::sync::Arc;

use llama_cpp_2::token::LlamaToken;
use rayon::prelude::*;

use super::{
    DecodeMode, LlamaTeacher,
    memory::{self, Demand},
    prefix::PrefixTree,
    queue::{AdmissionQueue, Admitted},
    reply::Reply,
    sequential::SequentialDecoder,
    session::{BatchToken, RunStats},
};
use crate::teacher::{EngineEvent, EngineSink, GenerateRequest, Generated, TeacherError};

/// A step with more logits than this draws the replies' next tokens in parallel.
const PARALLEL_LOGITS: usize = 1 << 18;

/// A request that is being answered.
struct Running<'a> {
    admitted: Admitted,
    reply: Reply<'a>,
}

/// Answers `requests`, whose prompts in tokens are `prompts`.
pub(super) fn run(
    teacher: &LlamaTeacher,
    requests: &[GenerateRequest],
    prompts: &[Vec<LlamaToken>],
    mode: DecodeMode,
    sink: EngineSink<'_, Generated>,
) -> Result<RunStats, TeacherError> {
    if requests.is_empty() {
        return Ok(RunStats::default());
    }
    let slices: Vec<&[LlamaToken]> = prompts.iter().map(Vec::as_slice).collect();
    let tree = PrefixTree::new(&slices);
    let demand = |(request, prompt): (&GenerateRequest, &Vec<LlamaToken>)| Demand {
        prompt: prompt.len(),
        beyond: request.max_tokens,
        sequences: 1,
    };
    let demands: Vec<Demand> = requests.iter().zip(prompts).map(demand).collect();
    let run = GenerateRun { teacher, requests, prompts: &slices, demands: &demands, tree: &tree };
    match mode {
        DecodeMode::Batched => run.batched(sink),
        DecodeMode::Sequential { reuse } => run.sequential(reuse, sink),
    }
}

struct GenerateRun<'a> {
    teacher: &'a LlamaTeacher,
    requests: &'a [GenerateRequest],
    prompts: &'a [&'a [LlamaToken]],
    demands: &'a [Demand],
    tree: &'a PrefixTree,
}

impl<'a> GenerateRun<'a> {
    /// In continuous batches.
    fn batched(&self, sink: EngineSink<'_, Generated>) -> Result<RunStats, TeacherError> {
        let Self { teacher, requests, prompts, tree, .. } = *self;
        let slots = teacher.slots(memory::default_slots(teacher.gpu));
        let size = teacher.context_size(Some(tree), self.demands, slots, |at| self.id(at))?;
        let mut session = teacher.session(size)?;
        let mut queue = AdmissionQueue::new(prompts, self.demands, tree, size.cells);
        let mut running: Vec<Running<'_>> = Vec::new();
        let mut peak = 0;
        loop {
            let mut batch: Vec<BatchToken> = Vec::with_capacity(size.slots);
            for run in &running {
                let (token, position) = run.reply.next();
                let sequences = Arc::clone(&run.admitted.sequences);
                batch.push(BatchToken { token, position, sequences, logits: true });
            }
            // For each token of the batch, the index in `running` of the reply that its logits are
            // for.
            let mut reply_of: Vec<usize> = (0..running.len()).collect();
            let free_slots = size.slots - running.len();
            let admitted = queue.admit(&mut session, free_slots, size.batch_tokens, &mut batch)?;
            if batch.is_empty() {
                break;
            }
            if !admitted.is_empty() {
                let begun = admitted.iter().map(|entry| entry.request).collect();
                sink(EngineEvent::Began(begun)).map_err(TeacherError::Stopped)?;
            }
            reply_of.resize(batch.len(), usize::MAX);
            for entry in admitted {
                reply_of[entry.batch_range.end - 1] = running.len();
                let reply = Reply::begin(&requests[entry.request], prompts[entry.request].len());
                running.push(Running { admitted: entry, reply });
            }
            session.evaluate(&batch, |rows| {
                draw(teacher, &mut running, &reply_of, rows);
                sink(EngineEvent::Alive).map_err(TeacherError::Stopped)
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
                sink(EngineEvent::Done(done)).map_err(TeacherError::Stopped)?;
            }
        }
        queue.finish()?;
        Ok(RunStats { decode: session.stats(), cells: session.cells(), peak, slots: size.slots })
    }

    /// One request after another; with `reuse` each keeps the blocks that it shares with the last.
    fn sequential(
        &self,
        reuse: bool,
        sink: EngineSink<'_, Generated>,
    ) -> Result<RunStats, TeacherError> {
        let Self { teacher, requests, prompts, .. } = *self;
        let size = teacher.context_size(None, self.demands, 1, |at| self.id(at))?;
        let mut decoder = SequentialDecoder::new(teacher.session(size)?, reuse);
        for &index in &self.tree.order {
            sink(EngineEvent::Began(vec![index])).map_err(TeacherError::Stopped)?;
            let mut reply = Reply::begin(&requests[index], prompts[index].len());
            decoder.prompt(
                prompts[index],
                |logits| reply.extend(teacher, logits),
                || sink(EngineEvent::Alive).map_err(TeacherError::Stopped),
            )?;
            while reply.is_running() {
                let (token, position) = reply.next();
                decoder.token(token, position, |logits| reply.extend(teacher, logits))?;
                sink(EngineEvent::Alive).map_err(TeacherError::Stopped)?;
            }
            sink(EngineEvent::Done(vec![(index, reply.finish())]))
                .map_err(TeacherError::Stopped)?;
        }
        Ok(decoder.stats(self.demands))
    }

    fn id(&self, index: usize) -> &'a str {
        &self.requests[index].id
    }
}

/// Draws the next token of every reply that has a row of logits. `rows` are indexed by token of the
/// batch, `reply_of` leads from there to `running`.
fn draw(
    teacher: &LlamaTeacher,
    running: &mut [Running<'_>],
    reply_of: &[usize],
    rows: &[(usize, &[f32])],
) {
    let mut logits: Vec<Option<&[f32]>> = vec![None; running.len()];
    for (token, row) in rows {
        logits[reply_of[*token]] = Some(row);
    }
    let extend = |(run, logits): (&mut Running<'_>, &Option<&[f32]>)| {
        if let Some(logits) = logits {
            run.reply.extend(teacher, logits);
        }
    };
    let vocabulary = teacher.vocabulary.token_bytes.len();
    if rows.len() * vocabulary > PARALLEL_LOGITS && teacher.threads() > 1 {
        running.par_iter_mut().zip(&logits).for_each(extend);
    } else {
        running.iter_mut().zip(&logits).for_each(extend);
    }
}
