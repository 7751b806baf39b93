//! Estimates the memory of a training before anything is allocated.

use crate::student::{Result, StudentError, error::Fault, model_spec::ModelSpec};

/// Numbers per weight: the weight, its gradient and AdamW's two moments.
const COPIES: usize = 4;
/// Vectors of the hidden size that a layer keeps per token for its backward pass: query, key,
/// value, attention output, both norms' inputs and outputs.
const WIDE: usize = 8;
/// Vectors of the intermediate size: before and after the activation.
const INNER: usize = 2;
/// Memory of the current gradients and the products' packed copies, in layers' activations.
const WORKING: usize = 3;

/// Bytes that a training takes beside the base model: [`COPIES`] and `extra` numbers per trained
/// weight, the resulting checkpoint (`vocabulary` words), and the activations of a pass over texts
/// of these `lengths`.
pub(crate) fn estimate(
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

/// Checks that `estimate` bytes are `available`; passes where that is unknown.
///
/// # Errors
/// States how much is needed and how much is free; the hint names what would take less.
pub(crate) fn check(
    estimate: u64,
    available: Option<u64>,
    rows: usize,
    longest: usize,
) -> Result<()> {
    let Some(available) = available.filter(|&available| available < estimate) else {
        return Ok(());
    };
    let gigabytes = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    Err(StudentError::Training(Fault::with_hint(
        format!(
            "it takes {:.1} GiB of memory with {rows} texts of up to {longest} tokens per pass, and {:.1} GiB are free",
            gigabytes(estimate),
            gigabytes(available),
        ),
        format!(
            "set student.micro_batch below {rows} or student.max_length below {longest}, or take a smaller student"
        ),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hint::Hint,
        student::{Config, Head, Pooling},
    };

    #[test]
    fn the_estimate_for_bert_base_is_its_parameters_times_the_copies() {
        let config = br#"{"model_type": "bert", "vocab_size": 30522, "hidden_size": 768,
            "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
            "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu"}"#;
        let config = Config::parse(config, "test").unwrap();
        let mut spec = ModelSpec::new(&config, Head::Mlp(Pooling::First), 2);
        assert_eq!(spec.parameters(), 109_483_778);
        let still = estimate(&spec, 30_522, 0, &[]);
        assert_eq!(still, 109_483_778 * 4 * 5);
        assert_eq!(estimate(&spec, 30_522, 1, &[]), 109_483_778 * 4 * 6);
        // Fewer words are trained; the size of the checkpoint stays the same.
        spec.words_kept = 522;
        assert_eq!(still - estimate(&spec, 30_522, 0, &[]), 30_000 * 768 * 4 * 4);
        // Attention is quadratic: one text of 100 tokens takes more than two of 50.
        let of = |lengths: &[usize]| estimate(&spec, 30_522, 0, lengths);
        assert!(of(&[100]) - of(&[]) > of(&[50, 50]) - of(&[]));
    }

    #[test]
    fn too_little_memory_says_what_would_take_less() {
        assert!(check(10, None, 8, 50).is_ok() && check(10, Some(10), 8, 50).is_ok());
        let error = check(3 << 30, Some(1 << 30), 8, 50).unwrap_err();
        let (message, hint) = (error.to_string(), error.hint().unwrap());
        assert!(message.contains("3.0 GiB") && message.contains("1.0 GiB"), "{message}");
        assert!(hint.contains("set student.micro_batch below 8"), "{hint}");
        assert!(hint.contains("max_length below 50"), "{hint}");
    }
}
