//! Which texts go through the network together.
//!
//! A pass that is too small leaves the matrix product waiting for weights, one that is too large
//! falls out of the cache; what counts is tokens, not texts. Texts of like length share a pass, so
//! that an engine that pads has little to pad, and the longest go first, so that no thread is left
//! with a long pass at the end. What comes out stands in the order of the texts again.

use rayon::prelude::*;

use super::super::Result;
use super::super::rows::Rows;

/// Tokens per pass on a CPU.
const BUDGET: usize = 2048;
/// The same on a GPU, padding included.
const GPU_BUDGET: usize = 16_384;
/// Passes are not cut smaller than this to keep all threads busy.
const LEAST: usize = 512;

/// Cuts texts of these `lengths` (in tokens) into passes of up to `most` tokens for `threads` threads:
/// the numbers of the texts of each pass.
fn pack(lengths: &[usize], threads: usize, most: usize) -> Vec<Vec<usize>> {
    let total = lengths.iter().sum::<usize>();
    let budget = total.div_ceil(threads.max(1)).clamp(LEAST, most);
    let mut order = (0..lengths.len()).collect::<Vec<_>>();
    order.sort_by_key(|&at| std::cmp::Reverse(lengths[at]));
    let mut passes = Vec::<Vec<usize>>::new();
    let mut room = 0;
    for at in order {
        if room == 0 {
            passes.push(Vec::new());
            // The first text of a pass is its longest: padded to it, this many fit.
            room = (budget / lengths[at].max(1)).max(1);
        }
        if let Some(pass) = passes.last_mut() {
            pass.push(at);
        }
        room -= 1;
    }
    passes
}

/// Runs `forward` over `texts` (token ids) pass by pass. It gives equally many numbers for each
/// text of a pass, in their order; the numbers of each text come out, `[texts][width]`.
///
/// `on_cpu`, passes run side by side where there is one for every thread; a GPU takes larger ones, one
/// after another.
pub(in crate::student) fn run(
    texts: &[Vec<u32>],
    on_cpu: bool,
    forward: impl Fn(&Rows) -> Result<Vec<f32>> + Sync,
) -> Result<Vec<Vec<f32>>> {
    let lengths = texts.iter().map(Vec::len).collect::<Vec<_>>();
    // One text needs no threads: asking how many there are would start them.
    let threads = if on_cpu && texts.len() > 1 { rayon::current_num_threads() } else { 1 };
    let passes = pack(&lengths, threads, if on_cpu { BUDGET } else { GPU_BUDGET });
    let one = |pass: &Vec<usize>| {
        let rows = pass.iter().map(|&at| texts[at].as_slice()).collect::<Vec<_>>();
        forward(&Rows::new(&rows))
    };
    let results = if threads > 1 && passes.len() >= threads {
        passes.par_iter().map(one).collect::<Result<Vec<_>>>()
    } else {
        passes.iter().map(one).collect()
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
    fn passes_hold_texts_of_like_length_within_the_budget() {
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
    fn few_texts_are_shared_by_the_threads_and_a_giant_goes_alone() {
        assert_eq!(pack(&[10; 200], 2, BUDGET).len(), 2);
        assert_eq!(pack(&[10; 200], 16, BUDGET).len(), 4);
        assert_eq!(pack(&[5000, 3], 1, BUDGET), [vec![0], vec![1]]);
        assert_eq!(pack(&[0, 0], 1, BUDGET).concat().len(), 2);
        assert!(pack(&[], 4, BUDGET).is_empty());
    }

    #[test]
    fn numbers_come_back_in_the_order_of_the_texts() {
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
