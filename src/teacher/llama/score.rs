//! Scores candidate answers exactly: ln p(name, end of turn | prompt), without generating anything.
//!
//! Prompt and [`Trie`] of many questions go through in one pass: a cell belongs to all branches that
//! run through it. The end of the turn counts as the last token of each name, so that a name that
//! is a prefix of another is not favoured.

use std::{collections::HashMap, sync::Arc};

use llama_cpp_2::token::LlamaToken;
use rayon::prelude::*;

use super::{
    DecodeMode, LlamaTeacher,
    memory::{MICRO_BATCH, Need},
    prefix::PrefixTree,
    queue::Queue,
    sequential::Alone,
    session::{Cell, Spent},
    trie::{Step, Trie},
};
use crate::{
    simd,
    teacher::{ScoreRequest, Scored, Step as TeacherEvent, StepSink, TeacherError},
};

/// Branches of one trie: a question with more candidates is asked in several parts.
const MOST_BRANCHES: usize = 120;

/// A question in tokens.
pub(super) struct Question<'a> {
    /// Names it in errors.
    pub id: &'a str,
    pub prompt: Vec<LlamaToken>,
    /// Its candidates: one trie, or several if they are many.
    pub tries: Vec<Arc<Trie>>,
}

/// The tokens of `requests`, whose prompts are `prompts`. The same candidates share one trie.
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
                request.candidates.chunks(MOST_BRANCHES).map(&mut trie).collect();
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

/// Collects the parts of each question's answer.
struct Answers<'a> {
    questions: &'a [Question<'a>],
    /// The parts of each question that came.
    found: Vec<Vec<PartScores>>,
}

#[derive(Clone)]
struct PartScores {
    /// The part's number: candidates stand in the order of parts.
    number: usize,
    log_probs: Vec<f32>,
    tokens: Vec<usize>,
}

impl Answers<'_> {
    /// Takes in the scores of `part`; returns the whole answer if it was the last one.
    fn take(
        &mut self,
        number: usize,
        part: &Part<'_>,
        steps: &[Step],
    ) -> Result<Option<(usize, Scored)>, TeacherError> {
        let question = part.question;
        let found = &mut self.found[question];
        found.push(PartScores {
            number,
            log_probs: part.trie.log_probs(steps),
            tokens: part.trie.lengths(),
        });
        if found.len() < self.questions[question].tries.len() {
            return Ok(None);
        }
        let mut parts = std::mem::take(found);
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

/// Scores `questions` in the given `way`.
pub(super) fn run(
    teacher: &LlamaTeacher,
    questions: &[Question<'_>],
    way: DecodeMode,
    step: StepSink<'_, Scored>,
) -> Result<Spent, TeacherError> {
    if questions.is_empty() {
        return Ok(Spent::default());
    }
    let parts: Vec<Part<'_>> = questions
        .iter()
        .enumerate()
        .flat_map(|(question, asked)| {
            asked.tries.iter().map(move |trie| Part { question, trie: trie.as_ref() })
        })
        .collect();
    let prompts: Vec<&[LlamaToken]> =
        parts.iter().map(|part| questions[part.question].prompt.as_slice()).collect();
    let needs: Vec<Need> = parts
        .iter()
        .zip(&prompts)
        .map(|(part, prompt)| Need {
            prompt: prompt.len(),
            beyond: part.trie.nodes.len() - 1,
            sequences: part.trie.branches,
        })
        .collect();
    let tree = PrefixTree::new(&prompts);
    let answers = Answers { questions, found: vec![Vec::new(); questions.len()] };
    let work = Scoring { teacher, parts: &parts, prompts: &prompts, needs: &needs, tree: &tree };
    match way {
        DecodeMode::Together => work.together(answers, step),
        DecodeMode::OneByOne { reuse } => work.one_by_one(answers, reuse, step),
    }
}

struct Scoring<'a> {
    teacher: &'a LlamaTeacher,
    parts: &'a [Part<'a>],
    prompts: &'a [&'a [LlamaToken]],
    needs: &'a [Need],
    tree: &'a PrefixTree,
}

impl Scoring<'_> {
    /// Many in one pass.
    fn together(
        &self,
        mut answers: Answers<'_>,
        step: StepSink<'_, Scored>,
    ) -> Result<Spent, TeacherError> {
        let questions = answers.questions;
        let id = |part: usize| questions[self.parts[part].question].id;
        let slots = self.teacher.slots(self.micro_batch());
        let shape = self.teacher.shape(Some(self.tree), self.needs, slots, id)?;
        let mut session = self.teacher.session(shape)?;
        let mut queue = Queue::new(self.prompts, self.needs, self.tree, shape.cells);
        let mut peak = 0;
        loop {
            let mut cells = Vec::new();
            let admitted =
                queue.admit(&mut session, shape.slots, shape.batch_tokens, &mut cells)?;
            if cells.is_empty() {
                break;
            }
            if !admitted.is_empty() {
                let begun = admitted.iter().map(|entry| self.parts[entry.request].question);
                step(TeacherEvent::Began(begun.collect())).map_err(TeacherError::Stopped)?;
            }
            // Which entry and which node of its trie each row belongs to.
            let mut place_of: Vec<(usize, usize)> = vec![(usize::MAX, 0); cells.len()];
            for (index, entry) in admitted.iter().enumerate() {
                place_of[entry.cells.end - 1] = (index, 0);
            }
            for (index, entry) in admitted.iter().enumerate() {
                self.branch_out(entry.request, &entry.sequences, &mut cells);
                place_of
                    .extend((1..self.parts[entry.request].trie.nodes.len()).map(|n| (index, n)));
            }
            let mut steps: Vec<Vec<Step>> = admitted
                .iter()
                .map(|entry| vec![Step::default(); self.parts[entry.request].trie.nodes.len()])
                .collect();
            session.evaluate(&cells, |rows| {
                let found: Vec<((usize, usize), Step)> = rows
                    .par_iter()
                    .map(|(cell, logits)| {
                        let (index, node) = place_of[*cell];
                        let next = self.nexts(admitted[index].request, node);
                        ((index, node), read(logits, &next, &self.teacher.ends))
                    })
                    .collect();
                for ((index, node), step) in found {
                    steps[index][node] = step;
                }
                step(TeacherEvent::Alive).map_err(TeacherError::Stopped)
            })?;
            peak = peak.max(queue.prefix_cells() + cells.len());
            let mut done = Vec::new();
            for (entry, steps) in admitted.iter().zip(&steps) {
                queue.release(&mut session, entry)?;
                done.extend(answers.take(entry.request, &self.parts[entry.request], steps)?);
            }
            if !done.is_empty() {
                step(TeacherEvent::Done(done)).map_err(TeacherError::Stopped)?;
            }
        }
        queue.finish()?;
        Ok(Spent { work: session.work(), cells: session.cells(), peak, slots: shape.slots })
    }

    /// As many questions as fill one micro-batch. More of them only make llama.cpp compute the
    /// attention between strangers, to mask it out.
    fn micro_batch(&self) -> usize {
        let own = |(part, need): (usize, &Need)| need.prompt - self.tree.shared(part) + need.beyond;
        let tokens: usize = self.needs.iter().enumerate().map(own).sum();
        (MICRO_BATCH * self.needs.len() / tokens.max(1)).max(1)
    }

    /// One after another; with `reuse` each keeps the blocks it shares with the last.
    fn one_by_one(
        &self,
        mut answers: Answers<'_>,
        reuse: bool,
        step: StepSink<'_, Scored>,
    ) -> Result<Spent, TeacherError> {
        let questions = answers.questions;
        let id = |part: usize| questions[self.parts[part].question].id;
        let shape = self.teacher.shape(None, self.needs, 1, id)?;
        let mut alone = Alone::new(self.teacher.session(shape)?, reuse);
        for &number in &self.tree.order {
            let part = &self.parts[number];
            step(TeacherEvent::Began(vec![part.question])).map_err(TeacherError::Stopped)?;
            let mut steps = vec![Step::default(); part.trie.nodes.len()];
            let ends = &self.teacher.ends;
            let next = self.nexts(number, 0);
            alone.prompt(
                self.prompts[number],
                |logits| steps[0] = read(logits, &next, ends),
                || step(TeacherEvent::Alive).map_err(TeacherError::Stopped),
            )?;
            let branches = alone.branch(part.trie.branches)?;
            let mut cells = Vec::new();
            self.branch_out(number, &branches, &mut cells);
            alone.session().evaluate(&cells, |rows| {
                for (cell, logits) in rows {
                    steps[cell + 1] = read(logits, &self.nexts(number, cell + 1), ends);
                }
                step(TeacherEvent::Alive).map_err(TeacherError::Stopped)
            })?;
            alone.prune(&branches)?;
            let done = answers.take(number, part, &steps)?.into_iter().collect();
            step(TeacherEvent::Done(done)).map_err(TeacherError::Stopped)?;
        }
        Ok(alone.spent(self.needs))
    }

    /// The cells of a part's trie, in the order of its nodes 1.., for the `branches` it was given.
    fn branch_out(&self, part: usize, branches: &[i32], cells: &mut Vec<Cell>) {
        let trie = &self.parts[part].trie;
        cells.extend(trie.nodes[1..].iter().map(|node| Cell {
            token: node.token,
            position: self.prompts[part].len() + node.depth - 1,
            sequences: branches[node.branches.clone()].into(),
            logits: true,
        }));
    }

    fn nexts(&self, part: usize, node: usize) -> Vec<LlamaToken> {
        self.parts[part].trie.nodes[node].next.iter().map(|(token, _)| *token).collect()
    }
}

/// ln p of the tokens `next` and of the turn's end in a row of `logits` `[vocabulary]`.
fn read(logits: &[f32], next: &[LlamaToken], ends: &[LlamaToken]) -> Step {
    let total = simd::log_sum_exp(logits);
    let log_prob = |token: &LlamaToken| f64::from(logits[token.0 as usize]) - total;
    let end: f64 = ends.iter().map(|token| log_prob(token).exp()).sum();
    Step { next: next.iter().map(log_prob).collect(), end: end.max(f64::MIN_POSITIVE).ln() }
}
