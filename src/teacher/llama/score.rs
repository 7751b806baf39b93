//! Scores candidate answers exactly, without generating anything: ln p(name, end of turn | prompt),
//! or ln p of the choices that lead to the name ([`crate::teacher::LabelScoring`]).
//!
//! The prompts of many questions are evaluated in one pass, each with the [`Trie`] of its candidate
//! names: a cell belongs to all branches that run through it. The end of the turn counts as the
//! last token of each name, so that a name that is a prefix of another one is not favoured.

use std::ops::Range;

use llama_cpp_2::token::LlamaToken;
use rayon::prelude::*;

use super::{
    DecodeMode, LlamaTeacher,
    memory::{Demand, MICRO_BATCH},
    prefix::PrefixTree,
    queue::AdmissionQueue,
    sequential::SequentialDecoder,
    session::{BatchToken, RunStats},
};
use crate::{
    simd,
    teacher::{
        EngineEvent, EngineSink, Scored, TeacherError,
        tokens::Question,
        trie::{NodeLogProbs, Trie},
    },
};

/// Branches that are evaluated at once. A trie with more of them is scored in several parts.
const MAX_BRANCHES: usize = 120;

/// A question with some of the branches of its trie.
struct Part<'a> {
    question: usize,
    trie: &'a Trie,
    branches: Range<usize>,
    /// The nodes of the trie that are evaluated, in this order.
    nodes: Vec<usize>,
}

impl<'a> Part<'a> {
    /// The parts of the question number `question`.
    fn of(question: usize, trie: &'a Trie) -> impl Iterator<Item = Self> {
        (0..trie.branches).step_by(MAX_BRANCHES).map(move |first| {
            let branches = first..trie.branches.min(first + MAX_BRANCHES);
            Self { question, trie, nodes: trie.evaluated(&branches), branches }
        })
    }

    /// The tokens that may follow a node.
    fn next_tokens(&self, node: usize) -> Vec<LlamaToken> {
        self.trie.nodes[node].next.iter().map(|(token, _)| *token).collect()
    }

    /// Appends the tokens of its nodes to `batch`, after a prompt of `prompt` tokens. `sequences`
    /// are those of its branches.
    fn add_to(&self, prompt: usize, sequences: &[i32], batch: &mut Vec<BatchToken>) {
        let Range { start, end } = self.branches;
        batch.extend(self.nodes.iter().map(|&index| {
            let node = &self.trie.nodes[index];
            let through =
                node.branches.start.max(start) - start..node.branches.end.min(end) - start;
            BatchToken {
                token: node.token,
                position: prompt + node.depth - 1,
                sequences: sequences[through].into(),
                logits: self.trie.is_read(index),
            }
        }));
    }
}

/// Assembles the answer to each question from what is read in its parts.
struct Answers<'a> {
    questions: &'a [Question<'a>],
    /// The log-probabilities at the nodes of each question's trie, and the number of its parts that
    /// are finished.
    found: Vec<(Vec<NodeLogProbs>, usize)>,
}

impl Answers<'_> {
    /// Notes what is read at a node of `part`.
    fn note(&mut self, part: &Part<'_>, node: usize, found: NodeLogProbs) {
        let nodes = &mut self.found[part.question].0;
        if nodes.is_empty() {
            nodes.resize(part.trie.nodes.len(), NodeLogProbs::default());
        }
        nodes[node] = found;
    }

    /// Counts `part` as finished. Returns the whole answer, with the index of its question, if that
    /// was the last part.
    fn finish(&mut self, part: &Part<'_>) -> Result<Option<(usize, Scored)>, TeacherError> {
        let question = part.question;
        let (nodes, finished) = &mut self.found[question];
        *finished += 1;
        if *finished < part.trie.branches.div_ceil(MAX_BRANCHES) {
            return Ok(None);
        }
        let log_probs = part.trie.log_probs(&std::mem::take(nodes));
        let tokens = part.trie.lengths();
        let prompt_tokens = self.questions[question].prompt.len();
        let scored = Scored { log_probs, tokens, prompt_tokens }.finite()?;
        Ok(Some((question, scored)))
    }
}

/// Scores the candidates of `questions`.
pub(super) fn run(
    teacher: &LlamaTeacher,
    questions: &[Question<'_>],
    mode: DecodeMode,
    sink: EngineSink<'_, Scored>,
) -> Result<RunStats, TeacherError> {
    if questions.is_empty() {
        return Ok(RunStats::default());
    }
    let parts: Vec<Part<'_>> = questions
        .iter()
        .enumerate()
        .flat_map(|(index, question)| Part::of(index, &question.trie))
        .collect();
    let prompts: Vec<&[LlamaToken]> =
        parts.iter().map(|part| questions[part.question].prompt.as_slice()).collect();
    let demands: Vec<Demand> = parts
        .iter()
        .zip(&prompts)
        .map(|(part, prompt)| Demand {
            prompt: prompt.len(),
            beyond: part.nodes.len(),
            sequences: part.branches.len(),
        })
        .collect();
    let tree = PrefixTree::new(&prompts);
    let answers = Answers { questions, found: vec![Default::default(); questions.len()] };
    let run =
        ScoreRun { teacher, parts: &parts, prompts: &prompts, demands: &demands, tree: &tree };
    match mode {
        DecodeMode::Batched => run.batched(answers, sink),
        DecodeMode::Sequential { reuse } => run.sequential(answers, reuse, sink),
    }
}

struct ScoreRun<'a> {
    teacher: &'a LlamaTeacher,
    parts: &'a [Part<'a>],
    prompts: &'a [&'a [LlamaToken]],
    demands: &'a [Demand],
    tree: &'a PrefixTree,
}

impl ScoreRun<'_> {
    /// Many questions in one pass.
    fn batched(
        &self,
        mut answers: Answers<'_>,
        sink: EngineSink<'_, Scored>,
    ) -> Result<RunStats, TeacherError> {
        let questions = answers.questions;
        let id = |part: usize| questions[self.parts[part].question].id;
        let slots = self.teacher.slots(self.micro_batch());
        let size = self.teacher.context_size(Some(self.tree), self.demands, slots, id)?;
        let mut session = self.teacher.session(size)?;
        let mut queue = AdmissionQueue::new(self.prompts, self.demands, self.tree, size.cells);
        let mut peak = 0;
        loop {
            let mut batch = Vec::new();
            let admitted = queue.admit(&mut session, size.slots, size.batch_tokens, &mut batch)?;
            if batch.is_empty() {
                break;
            }
            if !admitted.is_empty() {
                let begun = admitted.iter().map(|entry| self.parts[entry.request].question);
                sink(EngineEvent::Began(begun.collect())).map_err(TeacherError::Stopped)?;
            }
            // For each token of the batch: which entry, and which node of its trie.
            let mut node_of: Vec<(usize, usize)> = vec![(usize::MAX, 0); batch.len()];
            for (index, entry) in admitted.iter().enumerate() {
                node_of[entry.batch_range.end - 1] = (index, 0);
            }
            for (index, entry) in admitted.iter().enumerate() {
                let part = &self.parts[entry.request];
                part.add_to(self.prompts[entry.request].len(), &entry.sequences, &mut batch);
                node_of.extend(part.nodes.iter().map(|node| (index, *node)));
            }
            session.evaluate(&batch, |rows| {
                let found: Vec<(&Part<'_>, usize, NodeLogProbs)> = rows
                    .par_iter()
                    .map(|(token, logits)| {
                        let (index, node) = node_of[*token];
                        let part = &self.parts[admitted[index].request];
                        let next = part.next_tokens(node);
                        (part, node, read(logits, &next, &self.teacher.vocabulary.ends))
                    })
                    .collect();
                for (part, node, found) in found {
                    answers.note(part, node, found);
                }
                sink(EngineEvent::Alive).map_err(TeacherError::Stopped)
            })?;
            peak = peak.max(queue.prefix_cells() + batch.len());
            let mut done = Vec::new();
            for entry in &admitted {
                queue.release(&mut session, entry)?;
                done.extend(answers.finish(&self.parts[entry.request])?);
            }
            if !done.is_empty() {
                sink(EngineEvent::Done(done)).map_err(TeacherError::Stopped)?;
            }
        }
        queue.finish()?;
        Ok(RunStats { decode: session.stats(), cells: session.cells(), peak, slots: size.slots })
    }

    /// The number of questions that fill one micro-batch. With more, llama.cpp only computes more
    /// attention between unrelated sequences, to mask it out.
    fn micro_batch(&self) -> usize {
        let own = |(part, demand): (usize, &Demand)| demand.cells() - self.tree.shared(part);
        let tokens: usize = self.demands.iter().enumerate().map(own).sum();
        (MICRO_BATCH * self.demands.len() / tokens.max(1)).max(1)
    }

    /// One question after another; with `reuse` each keeps the blocks that it shares with the last.
    fn sequential(
        &self,
        mut answers: Answers<'_>,
        reuse: bool,
        sink: EngineSink<'_, Scored>,
    ) -> Result<RunStats, TeacherError> {
        let questions = answers.questions;
        let id = |part: usize| questions[self.parts[part].question].id;
        let size = self.teacher.context_size(None, self.demands, 1, id)?;
        let mut decoder = SequentialDecoder::new(self.teacher.session(size)?, reuse);
        let ends = &self.teacher.vocabulary.ends;
        for &number in &self.tree.order {
            let part = &self.parts[number];
            sink(EngineEvent::Began(vec![part.question])).map_err(TeacherError::Stopped)?;
            let prompt = self.prompts[number];
            decoder.prompt(
                prompt,
                |logits| answers.note(part, 0, read(logits, &part.next_tokens(0), ends)),
                || sink(EngineEvent::Alive).map_err(TeacherError::Stopped),
            )?;
            let branches = decoder.branch(part.branches.len())?;
            let mut batch = Vec::new();
            part.add_to(prompt.len(), &branches, &mut batch);
            decoder.session().evaluate(&batch, |rows| {
                for (token, logits) in rows {
                    let node = part.nodes[*token];
                    answers.note(part, node, read(logits, &part.next_tokens(node), ends));
                }
                sink(EngineEvent::Alive).map_err(TeacherError::Stopped)
            })?;
            decoder.release(&branches)?;
            let done = answers.finish(part)?.into_iter().collect();
            sink(EngineEvent::Done(done)).map_err(TeacherError::Stopped)?;
        }
        Ok(decoder.stats(self.demands))
    }
}

/// Reads ln p of the tokens `next` and of the end of the turn from a row of `logits`
/// `[vocabulary]`.
fn read(logits: &[f32], next: &[LlamaToken], ends: &[LlamaToken]) -> NodeLogProbs {
    let total = simd::log_sum_exp(logits);
    let log_prob = |token: &LlamaToken| f64::from(logits[token.0 as usize]) - total;
    let end: f64 = ends.iter().map(|token| log_prob(token).exp()).sum();
    NodeLogProbs { next: next.iter().map(log_prob).collect(), end: end.max(f64::MIN_POSITIVE).ln() }
}
