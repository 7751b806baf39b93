//! Groups texts into passes through the network.
//!
//! A small pass waits for weights from memory, a large one does not fit the cache; its size is
//! measured in tokens, not texts. On a CPU rows are packed: passes of about the same number of
//! tokens, as many as threads or a multiple of that, so that no thread waits for another. On a GPU
//! texts of similar length share a pass, which saves padding. Results are in the order of the
//! texts.

use std::{cmp::Reverse, collections::BinaryHeap};

use rayon::prelude::*;

use super::super::Result;
use crate::student::packed_batch::PackedBatch;

/// Tokens per pass on a CPU, about: their activations should stay in the caches. A pass of four
/// times as many takes an eighth longer per token (DistilBERT's shape, AVX2).
const BUDGET: usize = 512;
/// Tokens per pass on a GPU, padding included: it launches about a hundred kernels for each pass.
const GPU_BUDGET: usize = 16_384;
/// Tokens that are worth a pass on a thread of their own.
const LEAST: usize = 256;

/// The longest texts first.
fn by_length(lengths: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&at| Reverse(lengths[at]));
    order
}

/// Groups texts of these `lengths` (in tokens) into passes for `threads` threads: the indices of
/// each pass's texts. Texts that are too few for that make one pass, on all threads.
fn balanced(lengths: &[usize], threads: usize) -> Vec<Vec<usize>> {
    let total: usize = lengths.iter().sum();
    let count = match total.div_ceil(LEAST) >= threads {
        true => total.div_ceil(BUDGET).next_multiple_of(threads),
        false => 1,
    };
    let mut passes = vec![Vec::new(); count];
    // The next text goes to the pass that has the fewest tokens so far.
    let mut loads: BinaryHeap<_> = (0..count).map(|pass| Reverse((0, pass))).collect();
    for text in by_length(lengths) {
        let Some(Reverse((load, pass))) = loads.pop() else { break };
        passes[pass].push(text);
        loads.push(Reverse((load + lengths[text].max(1), pass)));
    }
    passes.retain(|pass| !pass.is_empty());
    passes
}

/// Groups texts of these `lengths` (in tokens) into passes of at most `budget` tokens, padded to
/// the longest of the pass: the indices of each pass's texts.
fn padded(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut passes = Vec::<Vec<usize>>::new();
    let mut space = 0;
    for at in by_length(lengths) {
        if space == 0 {
            passes.push(Vec::new());
            // The first text of a pass is the longest: this many fit if padded to its length.
            space = (budget / lengths[at].max(1)).max(1);
        }
        if let Some(pass) = passes.last_mut() {
            pass.push(at);
        }
        space -= 1;
    }
    passes
}

/// Runs `forward` over `texts` (token ids) pass by pass. `forward` returns the same number of
/// values for each text of a pass, in order; the result is `[texts][width]`.
///
/// With `on_cpu`, passes run in parallel if there is at least one per thread; on a GPU they are
/// larger and run one after another.
pub(in crate::student) fn run(
    texts: &[Vec<u32>],
    on_cpu: bool,
    forward: impl Fn(&PackedBatch) -> Result<Vec<f32>> + Sync,
) -> Result<Vec<Vec<f32>>> {
    let lengths = texts.iter().map(Vec::len).collect::<Vec<_>>();
    let threads = if on_cpu { rayon::current_num_threads() } else { 1 };
    let passes = match on_cpu {
        true => balanced(&lengths, threads),
        false => padded(&lengths, GPU_BUDGET),
    };
    let one = |pass: &Vec<usize>| {
        let rows = pass.iter().map(|&at| texts[at].as_slice()).collect::<Vec<_>>();
        forward(&PackedBatch::new(&rows))
    };
    let in_parallel = threads > 1 && passes.len() >= threads;
    let results = match (on_cpu, in_parallel) {
        (true, true) => passes.par_iter().map(one).collect::<Result<Vec<_>>>(),
        // On a thread of the pool: a thread from outside would enter it for every product.
        (true, false) => rayon::scope(|_| passes.iter().map(one).collect()),
        (false, _) => passes.iter().map(one).collect(),
    }?;
    let mut numbers = vec![Vec::new(); texts.len()];
    for (pass, result) in passes.iter().zip(results) {
        let width = result.len() / pass.len();
        for (&at, row) in pass.iter().zip(result.chunks_exact(width.max(1))) {
            numbers[at] = row.to_vec();
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of each pass. Every text is in one of them.
    fn loads(lengths: &[usize], passes: &[Vec<usize>]) -> Vec<usize> {
        let mut seen = passes.concat();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..lengths.len()));
        passes.iter().map(|pass| pass.iter().map(|&at| lengths[at]).sum()).collect()
    }

    #[test]
    fn padded_passes_hold_texts_of_similar_length_within_the_budget() {
        let lengths = (0..500).map(|at| at * 7 % 96 + 3).collect::<Vec<_>>();
        let passes = padded(&lengths, BUDGET);
        let tokens: usize = loads(&lengths, &passes).iter().sum();
        for pass in &passes {
            let longest = pass.iter().map(|&at| lengths[at]).max().unwrap();
            assert!(longest * pass.len() <= BUDGET, "{longest} x {}", pass.len());
        }
        assert!(passes.len() <= tokens / BUDGET * 5 / 4 + 2, "{} of {tokens}", passes.len());
        assert_eq!(padded(&[5000, 3], BUDGET), [vec![0], vec![1]]);
    }

    #[test]
    fn balanced_passes_keep_all_threads_busy() {
        let lengths = (0..500).map(|at| at * 7 % 96 + 3).collect::<Vec<_>>();
        for threads in [1, 2, 3, 16] {
            let passes = balanced(&lengths, threads);
            let loads = loads(&lengths, &passes);
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            assert!(*most <= BUDGET + 100 && most - least <= 100, "{threads}: {loads:?}");
            assert!(passes.len().is_multiple_of(threads), "{threads}: {loads:?}");
        }
        // One batch of many short requests, in two halves; too few tokens for 16 threads.
        assert_eq!(loads(&[10; 94], &balanced(&[10; 94], 2)), [470, 470]);
        assert_eq!(balanced(&[10; 94], 16).len(), 1);
        assert_eq!(balanced(&[10; 500], 16).len(), 16);
        assert_eq!(balanced(&[5000, 3], 1).len(), 2);
        assert_eq!(balanced(&[0, 0], 1).concat().len(), 2);
        assert!(balanced(&[], 4).is_empty());
    }

    #[test]
    fn results_are_in_the_order_of_the_texts() {
        let texts = (0..999u32).map(|at| vec![at; at as usize % 60 + 1]).collect::<Vec<_>>();
        let numbers = run(&texts, true, |rows| {
            let first = rows.spans().map(|span| rows.ids()[span.start] as f32);
            Ok(first.flat_map(|id| [id, -id]).collect())
        });
        for (at, row) in numbers.unwrap().iter().enumerate() {
            assert_eq!(*row, [at as f32, -(at as f32)]);
        }
        assert!(run(&[], true, |_| Ok(Vec::new())).unwrap().is_empty());
    }
}
