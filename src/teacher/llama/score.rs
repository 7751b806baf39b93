//! Scores candidate answers exactly: ln p(name, end of turn | prompt), without generating anything.
//!
//! The names of a request form a token trie. Each branch of the trie is a sequence of its own that
//! sees the prompt and its own path, so prompt and trie of many requests go through in one pass:
//! a cell belongs to all branches that run through it. The end of the turn counts as the last token
//! of each name, so that a name that is a prefix of another is not favoured.

use std::{collections::BTreeMap, ops::Range};

use llama_cpp_2::token::LlamaToken;

use super::{
    LlamaTeacher, MOST_SEQUENCES, ScoreRequest, Scored, StepSink, TeacherError,
    batch::{Cell, evaluate, share_prefix},
    shared_prefix,
};
use crate::teacher::Step as Report;

/// Requests per wave, if their branches fit into [`MOST_SEQUENCES`].
const WAVE: usize = 64;

/// The inner nodes of a request's trie: every whole name and every proper prefix of one.
struct Trie {
    /// Tokens of each candidate.
    names: Vec<Vec<LlamaToken>>,
    /// Path of each node (never empty) and the branches that run through it, shortest paths first.
    nodes: Vec<(Vec<LlamaToken>, Range<usize>)>,
    /// Number of branches (at least 1).
    branches: usize,
}

impl Trie {
    fn new(names: Vec<Vec<LlamaToken>>) -> Self {
        let mut paths: Vec<&[LlamaToken]> =
            names.iter().flat_map(|name| (1..=name.len()).map(|end| &name[..end])).collect();
        paths.sort_by_key(|path| path.iter().map(|token| token.0).collect::<Vec<_>>());
        paths.dedup();
        // In sorted order a path is followed by its extensions: the tips that extend it are adjacent.
        let tips: Vec<&[LlamaToken]> = paths
            .iter()
            .enumerate()
            .filter(|(index, path)| paths.get(index + 1).is_none_or(|next| !next.starts_with(path)))
            .map(|(_, path)| *path)
            .collect();
        let mut nodes: Vec<(Vec<LlamaToken>, Range<usize>)> = paths
            .iter()
            .map(|path| {
                let first = tips.iter().position(|tip| tip.starts_with(path)).unwrap_or(0);
                let count = tips[first..].iter().take_while(|tip| tip.starts_with(path)).count();
                (path.to_vec(), first..first + count)
            })
            .collect();
        nodes.sort_by_key(|(path, _)| path.len());
        let branches = tips.len().max(1);
        Self { names, nodes, branches }
    }
}

pub(super) fn run(
    teacher: &LlamaTeacher,
    requests: &[ScoreRequest],
    step: StepSink<'_, Scored>,
) -> Result<(), TeacherError> {
    let mut items = Vec::with_capacity(requests.len());
    for request in requests {
        let prompt = teacher.tokenize(&request.prompt, "")?;
        let vocab = teacher.model.vocab();
        let names =
            request.candidates.iter().map(|name| vocab.tokenize(name.as_bytes(), false, false));
        let trie = Trie::new(names.collect());
        let longest = trie.names.iter().map(Vec::len).max().unwrap_or(0);
        teacher.check_length(&request.id, prompt.len() + longest)?;
        items.push((prompt, trie));
    }
    let Some(widest) = items.iter().map(|(_, trie)| trie.branches).max() else { return Ok(()) };
    if widest >= MOST_SEQUENCES {
        return Err(TeacherError::Decode {
            message: format!(
                "{widest} candidates at once are more than llama.cpp's {MOST_SEQUENCES} sequences"
            ),
        });
    }
    let most = if teacher.options.deterministic { 1 } else { WAVE };
    let wave = ((MOST_SEQUENCES - 1) / widest).clamp(1, most);
    let cells = items.chunks(wave).map(|items| {
        items.iter().map(|(prompt, trie)| prompt.len() + trie.nodes.len()).sum::<usize>()
    });
    let sequences = 1 + items
        .chunks(wave)
        .map(|items| items.iter().map(|(_, trie)| trie.branches).sum::<usize>())
        .max()
        .unwrap_or(1);
    let mut context = teacher.context(cells.max().unwrap_or(1), sequences)?;

    for first in (0..requests.len()).step_by(wave) {
        let range = first..requests.len().min(first + wave);
        step(Report::Began(range.clone().collect())).map_err(TeacherError::Stopped)?;
        let items = &items[range];
        let prompts: Vec<&[LlamaToken]> =
            items.iter().map(|(prompt, _)| prompt.as_slice()).collect();
        let prefix = shared_prefix(&prompts);
        share_prefix(&mut context, &prompts[0][..prefix], sequences)?;

        // Sequence numbers: 0 holds the prefix, then each item's branches one after another.
        let numbers: Vec<i32> = (0..sequences as i32).collect();
        let mut starts = Vec::with_capacity(items.len());
        let mut next = 1;
        for (_, trie) in items {
            starts.push(next);
            next += trie.branches;
        }
        let mut cells = Vec::new();
        let mut owner: Vec<(usize, &[LlamaToken])> = Vec::new();
        for ((prompt, trie), start) in items.iter().zip(&starts) {
            let item = owner.last().map_or(0, |(item, _)| item + 1);
            for (position, &token) in prompt.iter().enumerate().skip(prefix) {
                let sequences = &numbers[*start..start + trie.branches];
                let logits = position + 1 == prompt.len();
                cells.push(Cell { token, position, sequences, logits });
                owner.push((item, &[]));
            }
            for (path, branches) in &trie.nodes {
                cells.push(Cell {
                    token: path[path.len() - 1],
                    position: prompt.len() + path.len() - 1,
                    sequences: &numbers[start + branches.start..start + branches.end],
                    logits: true,
                });
                owner.push((item, path));
            }
        }
        // ln p of each token that may follow a node, keyed by (item, path to the node).
        let mut steps: Vec<BTreeMap<Vec<i32>, Step>> =
            items.iter().map(|_| BTreeMap::new()).collect();
        evaluate(&mut context, &cells, |cell, logits| {
            let (item, path) = owner[cell];
            let step = Step::new(logits, &items[item].1, path, &teacher.ends);
            steps[item].insert(path.iter().map(|token| token.0).collect(), step);
        })?;
        let scored = items
            .iter()
            .zip(&steps)
            .map(|((prompt, trie), steps)| Scored {
                log_probs: trie.names.iter().map(|name| log_prob(name, steps)).collect(),
                tokens: trie.names.iter().map(Vec::len).collect(),
                prompt_tokens: prompt.len(),
            })
            .enumerate()
            .map(|(at, scored)| (first + at, scored))
            .collect();
        step(Report::Done(scored)).map_err(TeacherError::Stopped)?;
    }
    Ok(())
}

/// What may follow a node of the trie.
struct Step {
    next: BTreeMap<i32, f64>,
    end: f64,
}

impl Step {
    fn new(logits: &[f32], trie: &Trie, path: &[LlamaToken], ends: &[LlamaToken]) -> Self {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
        let log_prob = |token: LlamaToken| f64::from(logits[token.0 as usize] - top) - sum.ln();
        let next = trie
            .names
            .iter()
            .filter(|name| name.len() > path.len() && name.starts_with(path))
            .map(|name| (name[path.len()].0, log_prob(name[path.len()])))
            .collect();
        let end: f64 = ends.iter().map(|token| log_prob(*token).exp()).sum();
        Self { next, end: end.max(f64::MIN_POSITIVE).ln() }
    }
}

fn log_prob(name: &[LlamaToken], steps: &BTreeMap<Vec<i32>, Step>) -> f32 {
    let path: Vec<i32> = name.iter().map(|token| token.0).collect();
    let tokens: f64 = (0..path.len()).map(|end| steps[&path[..end]].next[&path[end]]).sum();
    (tokens + steps[&path[..]].end) as f32
}
