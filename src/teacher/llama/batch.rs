//! Feeds tokens to a context in pieces that llama.cpp accepts.

use llama_cpp_2::{context::LlamaContext, llama_batch::LlamaBatch, token::LlamaToken};

use super::{BATCH_TOKENS, TeacherError};

/// One token to evaluate: where it stands, which sequences see it, whether its logits are wanted.
pub(super) struct Cell<'a> {
    pub token: LlamaToken,
    pub position: usize,
    pub sequences: &'a [i32],
    pub logits: bool,
}

/// Evaluates `cells` in order. `row` is called for each cell that wants logits with the cell's index
/// and its logits `[vocabulary]`.
pub(super) fn evaluate(
    context: &mut LlamaContext<'_>,
    cells: &[Cell<'_>],
    mut row: impl FnMut(usize, &[f32]),
) -> Result<(), TeacherError> {
    let failed = |message: String| TeacherError::Decode { message };
    let widest = cells.iter().map(|cell| cell.sequences.len()).max().unwrap_or(1).max(1);
    let mut batch = LlamaBatch::new(BATCH_TOKENS.min(cells.len().max(1)), widest as i32);
    for (chunk_number, chunk) in cells.chunks(BATCH_TOKENS).enumerate() {
        batch.clear();
        for cell in chunk {
            batch
                .add(cell.token, cell.position as i32, cell.sequences, cell.logits)
                .map_err(|error| failed(error.to_string()))?;
        }
        context.decode(&mut batch).map_err(|error| failed(error.to_string()))?;
        for (index, _) in chunk.iter().enumerate().filter(|(_, cell)| cell.logits) {
            row(chunk_number * BATCH_TOKENS + index, context.get_logits_ith(index as i32));
        }
    }
    Ok(())
}

/// Evaluates the `prefix` that a wave's prompts share in sequence 0 and hands its cells to the
/// sequences 1..`sequences`.
pub(super) fn share_prefix(
    context: &mut LlamaContext<'_>,
    prefix: &[LlamaToken],
    sequences: usize,
) -> Result<(), TeacherError> {
    context.clear_kv_cache();
    if prefix.is_empty() {
        return Ok(());
    }
    let cells: Vec<Cell<'_>> = prefix
        .iter()
        .enumerate()
        .map(|(position, &token)| Cell { token, position, sequences: &[0], logits: false })
        .collect();
    evaluate(context, &cells, |_, _| {})?;
    for sequence in 1..sequences {
        context
            .kv_cache_seq_cp(0, sequence as i32, None, None)
            .map_err(|error| TeacherError::Decode { message: error.to_string() })?;
    }
    Ok(())
}
