//! Scores candidate answers exactly, ln p(name, end of turn | prompt), without generating anything.
//!
//! The prompts of many questions are evaluated in one pass, each with the [`Trie`] of its candidate
//! names: a cell belongs to all branches that run through it. The end of the turn counts as the
//! last token of each name, so that a name that is a prefix of another one is not favoured.

use std::{collections::HashMap, sync::Arc};

use llama_cpp_2::token::LlamaToken;
use rayon::prelude::*;

use super::{
    DecodeMode, LlamaTeacher,
    memory::{Demand, MICRO_BATCH},
    prefix::PrefixTree,
    queue::AdmissionQueue,
    sequential::SequentialDecoder,
    session::{BatchToken, RunStats},
    trie::{NodeLogProbs, Trie},
};
use crate::{
    simd,
    teacher::{EngineEvent, EngineSink, ScoreRequest, Scored, TeacherError},
};

/// Branches of one trie. A question with more candidates is scored in several parts.
const MAX_BRANCHES: usize = 120;

/// A question in tokens.
pub(super) struct Question<'a> {
    /// Names it in errors.
    pub id: &'a str,
    pub prompt: Vec<LlamaToken>,
    /// Its candidates: one trie, or several if there are many.
    pub tries: Vec<Arc<Trie>>,
}

/// `requests` in tokens; `prompts` are the tokens of their prompts. Requests with the same
/// candidates share one trie.
pub(super) fn questions<'a>(
    teacher: &LlamaTeacher,
    requests: &'a [ScoreRequest],
    prompts: Vec<Vec<LlamaToken>>,
) -> Vec<Question<'a>> {
    let vocab = teacher.model.vocab();
    let mut known: HashMap<&[String], Arc<Trie>> = HashMap::new();
    let mut trie = |names: &'a [String]| {
        let new = || {
            let tokens = |name: &String| vocab.tokenize(name.as_bytes(), false, false);
            Arc::new(Trie::new(&names.iter().map(tokens).collect::<Vec<_>>()))
        };
        Arc::clone(known.entry(names).or_insert_with(new))
    };
    requests
        .iter()
        .zip(prompts)
        .map(|(request, prompt)| {
            let mut tries: Vec<Arc<Trie>> =
                request.candidates.chunks(MAX_BRANCHES).map(&mut trie).collect();
            if tries.is_empty() {
                tries.push(trie(&request.candidates));
            }
            Question { id: &request.id, prompt, tries }
        })
        .collect()
}

/// A question with one of its tries.
struct Part<'a> {
    question: usize,
    trie: &'a Trie,
}

/// Assembles the answer to each question from the scores of its parts.
struct Answers<'a> {
    questions: &'a [Question<'a>],
    /// The parts of each question that are finished.
    finished: Vec<Vec<PartScores>>,
}

#[derive(Clone)]
struct PartScores {
    /// The part's number; candidates are in the order of parts.
    number: usize,
    log_probs: Vec<f32>,
    tokens: Vec<usize>,
}

impl Answers<'_> {
    /// Adds the scores of `part`. Returns the whole answer, with the index of its question, if that
    /// was the last part.
    fn add(
        &mut self,
        number: usize,
        part: &Part<'_>,
        nodes: &[NodeLogProbs],
    ) -> Result<Option<(usize, Scored)>, TeacherError> {
        let question = part.question;
        let finished = &mut self.finished[question];
        finished.push(PartScores {
            number,
            log_probs: part.trie.log_probs(nodes),
            tokens: part.trie.lengths(),
        });
        if finished.len() < self.questions[question].tries.len() {
            return Ok(None);
        }
        let mut parts = std::mem::take(finished);
        parts.sort_by_key(|part| part.number);
        let (mut log_probs, mut tokens) = (Vec::new(), Vec::new());
        for part in parts {
            log_probs.extend(part.log_probs);
            tokens.extend(part.tokens);
        }
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
        .flat_map(|(index, question)| {
            question.tries.iter().map(move |trie| Part { question: index, trie: trie.as_ref() })
        })
        .collect();
    let prompts: Vec<&[LlamaToken]> =
        parts.iter().map(|part| questions[part.question].prompt.as_slice()).collect();
    let demands: Vec<Demand> = parts
        .iter()
        .zip(&prompts)
        .map(|(part, prompt)| Demand {
            prompt: prompt.len(),
            beyond: part.trie.nodes.len() - 1,
            sequences: part.trie.branches,
        })
        .collect();
    let tree = PrefixTree::new(&prompts);
    let answers = Answers { questions, finished: vec![Vec::new(); questions.len()] };
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
                self.add_trie(entry.request, &entry.sequences, &mut batch);
                let nodes = 1..self.parts[entry.request].trie.nodes.len();
                node_of.extend(nodes.map(|node| (index, node)));
            }
            let mut log_probs: Vec<Vec<NodeLogProbs>> = admitted
                .iter()
                .map(|entry| {
                    vec![NodeLogProbs::default(); self.parts[entry.request].trie.nodes.len()]
                })
                .collect();
            session.evaluate(&batch, |rows| {
                let found: Vec<((usize, usize), NodeLogProbs)> = rows
                    .par_iter()
                    .map(|(token, logits)| {
                        let (index, node) = node_of[*token];
                        let next = self.next_tokens(admitted[index].request, node);
                        ((index, node), read(logits, &next, &self.teacher.vocabulary.ends))
                    })
                    .collect();
                for ((index, node), found) in found {
                    log_probs[index][node] = found;
                }
                sink(EngineEvent::Alive).map_err(TeacherError::Stopped)
            })?;
            peak = peak.max(queue.prefix_cells() + batch.len());
            let mut done = Vec::new();
            for (entry, nodes) in admitted.iter().zip(&log_probs) {
                queue.release(&mut session, entry)?;
                done.extend(answers.add(entry.request, &self.parts[entry.request], nodes)?);
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
            let mut nodes = vec![NodeLogProbs::default(); part.trie.nodes.len()];
            let next = self.next_tokens(number, 0);
            decoder.prompt(
                self.prompts[number],
                |logits| nodes[0] = read(logits, &next, ends),
                || sink(EngineEvent::Alive).map_err(TeacherError::Stopped),
            )?;
            let branches = decoder.branch(part.trie.branches)?;
            let mut batch = Vec::new();
            self.add_trie(number, &branches, &mut batch);
            decoder.session().evaluate(&batch, |rows| {
                for (token, logits) in rows {
                    let node = token + 1;
                    nodes[node] = read(logits, &self.next_tokens(number, node), ends);
                }
                sink(EngineEvent::Alive).map_err(TeacherError::Stopped)
            })?;
            decoder.release(&branches)?;
            let done = answers.add(number, part, &nodes)?.into_iter().collect();
            sink(EngineEvent::Done(done)).map_err(TeacherError::Stopped)?;
        }
        Ok(decoder.stats(self.demands))
    }

    /// Appends the tokens of a part's trie to `batch`, in the order of its nodes from 1 on.
    /// `branches` are the sequences of its branches.
    fn add_trie(&self, part: usize, branches: &[i32], batch: &mut Vec<BatchToken>) {
        let trie = &self.parts[part].trie;
        batch.extend(trie.nodes[1..].iter().map(|node| BatchToken {
            token: node.token,
            position: self.prompts[part].len() + node.depth - 1,
            sequences: branches[node.branches.clone()].into(),
            logits: true,
        }));
    }

    /// The tokens that may follow a node of a part's trie.
    fn next_tokens(&self, part: usize, node: usize) -> Vec<LlamaToken> {
        self.parts[part].trie.nodes[node].next.iter().map(|(token, _)| *token).collect()
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
