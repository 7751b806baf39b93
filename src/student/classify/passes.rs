//! Groups texts into passes through the network.
//!
//! A small pass waits for weights from memory, a large one does not fit the cache; its size is
//! measured in tokens, not texts. Texts of similar length share a pass, which saves padding, and
//! the longest come first, so that no thread ends with a long pass. Results are in the order of the
//! texts.

use rayon::prelude::*;

use super::super::Result;
use crate::student::packed_batch::PackedBatch;

/// Tokens per pass on a CPU, padding included.
const BUDGET: usize = 2048;
/// Tokens per pass on a GPU, padding included: it launches about a hundred kernels for each pass.
const GPU_BUDGET: usize = 16_384;
/// Minimum number of tokens per pass when texts are split over threads.
const LEAST: usize = 512;

/// Groups texts of these `lengths` (in tokens) into passes of at most `budget` tokens for `threads`
/// threads: the indices of each pass's texts.
fn pack(lengths: &[usize], threads: usize, budget: usize) -> Vec<Vec<usize>> {
    let total = lengths.iter().sum::<usize>();
    let budget = total.div_ceil(threads.max(1)).clamp(LEAST, budget);
    let mut order = (0..lengths.len()).collect::<Vec<_>>();
    order.sort_by_key(|&at| std::cmp::Reverse(lengths[at]));
    let mut passes = Vec::<Vec<usize>>::new();
    let mut space = 0;
    for at in order {
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
    let passes = pack(&lengths, threads, if on_cpu { BUDGET } else { GPU_BUDGET });
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

    #[test]
    fn passes_hold_texts_of_similar_length_within_the_budget() {
        let lengths = (0..500).map(|at| at * 7 % 96 + 3).collect::<Vec<_>>();
        let passes = pack(&lengths, 2, BUDGET);
        let mut seen = passes.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        for pass in &passes {
            let longest = pass.iter().map(|&at| lengths[at]).max().unwrap();
            assert!(longest * pass.len() <= BUDGET, "{longest} x {}", pass.len());
        }
        let tokens = lengths.iter().sum::<usize>();
        assert!(passes.len() <= tokens / BUDGET * 5 / 4 + 2, "{} of {tokens}", passes.len());
    }

    #[test]
    fn few_texts_are_split_over_threads_and_a_giant_has_its_own_pass() {
        assert_eq!(pack(&[10; 200], 2, BUDGET).len(), 2);
        assert_eq!(pack(&[10; 200], 16, BUDGET).len(), 4);
        assert_eq!(pack(&[5000, 3], 1, BUDGET), [vec![0], vec![1]]);
        assert_eq!(pack(&[0, 0], 1, BUDGET).concat().len(), 2);
        assert!(pack(&[], 4, BUDGET).is_empty());
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
