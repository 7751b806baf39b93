//! How much memory a training takes, known before anything is allocated.

use crate::student::{Result, StudentError, model_spec::ModelSpec};

/// Copies of each weight: itself, its gradient and AdamW's two moments.
const COPIES: usize = 4;
/// Vectors as wide as the hidden states that a layer keeps per token for its backward pass: query,
/// key, value, mixture, both norms' inputs and outputs.
const WIDE: usize = 8;
/// The same of the feed-forward layer's inner width: before and after the activation.
const INNER: usize = 2;
/// Layers' worth of what is kept that the gradients under way take, and the products' packed copies.
const WORKING: usize = 3;

/// Bytes that a training takes beside the base model: four of each weight that is trained and
/// `extra` copies of it, the whole checkpoint that comes out (`vocabulary` words), and what a pass
/// over texts of these `lengths` keeps for its way back.
pub(crate) fn memory_need(
    spec: &ModelSpec,
    vocabulary: usize,
    extra: usize,
    lengths: &[usize],
) -> u64 {
    let floats = |count: usize| 4 * count as u64;
    let weights = spec.parameters();
    let result = weights + (vocabulary.saturating_sub(spec.words_kept)) * spec.hidden;
    let tokens = lengths.iter().sum::<usize>();
    let pairs = lengths.iter().map(|len| len * len).sum::<usize>() * spec.heads;
    let layer = tokens * (WIDE * spec.hidden + INNER * spec.intermediate) + pairs;
    let activations = (spec.layers.len() + WORKING) * layer;
    floats((COPIES + extra) * weights + result) + floats(activations)
}

/// Whether `need` bytes are `available`.
///
/// # Errors
/// Says how much is wanted, how much there is, and what would take less.
pub(crate) fn check(need: u64, available: Option<u64>, rows: usize, longest: usize) -> Result<()> {
    let Some(available) = available.filter(|&available| available < need) else { return Ok(()) };
    let gigabytes = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    Err(StudentError::Training(format!(
        "it takes {:.1} GiB of memory with {rows} texts of up to {longest} tokens per pass, and {:.1} GiB are free\nhint: set student.micro_batch below {rows}, student.max_length below {longest}, or take a smaller student",
        gigabytes(need),
        gigabytes(available),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::{Config, Pooling};

    #[test]
    fn bert_base_takes_what_it_is_known_to_take() {
        let config = br#"{"model_type": "bert", "vocab_size": 30522, "hidden_size": 768,
            "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
            "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu"}"#;
        let config = Config::parse(config, "test").unwrap();
        let mut spec = ModelSpec::new(&config, Pooling::First, 2);
        assert_eq!(spec.parameters(), 109_483_778);
        let still = memory_need(&spec, 30_522, 0, &[]);
        assert_eq!(still, 109_483_778 * 4 * 5);
        assert_eq!(memory_need(&spec, 30_522, 1, &[]), 109_483_778 * 4 * 6);
        // Fewer words are trained, the checkpoint stays as large.
        spec.words_kept = 522;
        assert_eq!(still - memory_need(&spec, 30_522, 0, &[]), 30_000 * 768 * 4 * 4);
        // A longer text costs more than its share: its pairs.
        let of = |lengths: &[usize]| memory_need(&spec, 30_522, 0, lengths);
        assert!(of(&[100]) - of(&[]) > of(&[50, 50]) - of(&[]));
    }

    #[test]
    fn too_little_memory_says_what_would_take_less() {
        assert!(check(10, None, 8, 50).is_ok() && check(10, Some(10), 8, 50).is_ok());
        let error = check(3 << 30, Some(1 << 30), 8, 50).unwrap_err().to_string();
        for part in ["3.0 GiB", "1.0 GiB", "\nhint: set student.micro_batch below 8", "max_length"]
        {
            assert!(error.contains(part), "{error}");
        }
    }
}
