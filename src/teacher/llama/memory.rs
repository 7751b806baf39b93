//! How much a context may hold: from the model, the requests and the memory that is free.

use llama_cpp_2::{
    LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices, model::LlamaModel,
};

use super::{super::KvType, LlamaOptions, prefix::PrefixTree};

/// llama.cpp's own bound on sequences in a context.
pub(super) const MOST_SEQUENCES: usize = 256;
/// The same for models that keep a whole state for each sequence, some of tens of megabytes.
const RECURRENT_SEQUENCES: usize = 32;
/// Tokens that llama.cpp computes at once (`n_ubatch`).
pub(super) const MICRO_BATCH: usize = 512;
/// Tokens per call of llama.cpp unless told otherwise.
const BATCH_TOKENS: usize = 2048;
/// Share of the free memory that a context may take.
const SHARE: f64 = 0.6;

/// The measures of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Requests side by side.
    pub slots: usize,
    /// Sequences, those that hold shared prefixes included.
    pub sequences: usize,
    /// Cells of the KV cache: tokens that can be held at once.
    pub cells: usize,
    pub batch_tokens: usize,
}

/// What one request needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// Tokens of its prompt.
    pub prompt: usize,
    /// Cells beyond the prompt: the longest reply, or the tokens of the candidates.
    pub beyond: usize,
    /// Sequences it takes while it runs.
    pub sequences: usize,
}

/// Requests decoded side by side where nothing was set. A CPU's arithmetic is used up by 16
/// sequences; with more, the attention to strangers' cells, masked as it is, costs more than the
/// larger batch brings. A GPU takes more.
pub(super) fn default_slots(gpu: bool) -> usize {
    if gpu { 128 } else { 16 }
}

/// The context for requests with these `needs`, in the order of `tree`, within `limit` cells and
/// `most` sequences. Without a `tree` nothing is shared: requests go one at a time.
///
/// # Errors
/// The number of the request that does not fit even alone, and the cells it wants.
pub(super) fn shape(
    options: &LlamaOptions,
    tree: Option<&PrefixTree>,
    needs: &[Need],
    slots: usize,
    limit: usize,
    most: usize,
) -> Result<Shape, (usize, usize)> {
    let limit = if options.context > 0 { options.context } else { limit };
    let hungriest =
        (0..needs.len()).max_by_key(|index| needs[*index].prompt + needs[*index].beyond);
    let least = hungriest.map_or(0, |index| needs[index].prompt + needs[index].beyond);
    if let Some(index) = hungriest.filter(|_| least > limit) {
        return Err((index, least));
    }
    let widest = needs.iter().map(|need| need.sequences).max().unwrap_or(1);
    // Each level of the tree holds one sequence, and the next group's prefix is evaluated while
    // the last one's requests still run.
    let depth = tree
        .map_or(1, |tree| (0..needs.len()).map(|index| tree.chain(index).len()).max().unwrap_or(0));
    let side_by_side = slots.min(needs.len()).max(1);
    let sequences = (side_by_side * widest + 2 * depth + 1).min(most);
    let slots = side_by_side.min((sequences.saturating_sub(depth) / widest).max(1));
    let wanted = tree.map_or(0, |tree| window(tree, needs, slots)).max(least);
    let cells = if options.context > 0 { options.context } else { wanted.min(limit) };
    let cells = cells.next_multiple_of(256);
    let batch_tokens = match options.batch_tokens {
        0 => BATCH_TOKENS,
        tokens => tokens,
    };
    Ok(Shape { slots, sequences, cells, batch_tokens: batch_tokens.min(cells) })
}

/// Cells of the hungriest `slots` requests that follow each other, shared prefixes counted once.
fn window(tree: &PrefixTree, needs: &[Need], slots: usize) -> usize {
    let mut most = 0;
    let mut live = vec![0usize; tree.nodes.len()];
    let mut cells = 0;
    let own = |index: usize| needs[index].prompt - tree.shared(index) + needs[index].beyond;
    for (place, &index) in tree.order.iter().enumerate() {
        cells += own(index);
        for node in tree.chain(index) {
            cells += if live[node] == 0 { tree.nodes[node].len() } else { 0 };
            live[node] += 1;
        }
        if let Some(gone) = place.checked_sub(slots).map(|gone| tree.order[gone]) {
            cells -= own(gone);
            for node in tree.chain(gone) {
                live[node] -= 1;
                cells -= if live[node] == 0 { tree.nodes[node].len() } else { 0 };
            }
        }
        most = most.max(cells);
    }
    most
}

/// Bytes of one token in the KV cache.
pub(super) fn bytes_per_cell(model: &LlamaModel, kv_type: KvType) -> f64 {
    let architecture = model.meta_val_str("general.architecture").unwrap_or_default();
    let key = |name: &str| {
        let value = model.meta_val_str(&format!("{architecture}.attention.{name}")).ok()?;
        value.parse::<f64>().ok()
    };
    let head = f64::from(model.n_embd()) / f64::from(model.n_head().max(1));
    let width = key("key_length").unwrap_or(head) + key("value_length").unwrap_or(head);
    let bytes = match kv_type {
        KvType::F32 => 4.0,
        KvType::F16 | KvType::Bf16 => 2.0,
        KvType::Q8_0 => 34.0 / 32.0,
        KvType::Q5_0 => 22.0 / 32.0,
        KvType::Q4_0 => 18.0 / 32.0,
    };
    f64::from(model.n_layer()) * f64::from(model.n_head_kv().max(1)) * width * bytes
}

/// Sequences that a context of `model` may have: a recurrent model keeps a whole state for each.
pub(super) fn most_sequences(model: &LlamaModel) -> usize {
    if model.is_recurrent() || model.is_hybrid() { RECURRENT_SEQUENCES } else { MOST_SEQUENCES }
}

/// Cells for which there is memory, on the GPU if the model runs there.
pub(super) fn affordable_cells(model: &LlamaModel, options: &LlamaOptions, gpu: bool) -> usize {
    let free = if gpu {
        free_on_devices(&options.devices)
    } else {
        // Its file is mapped into the memory that counts as free until it is read.
        free_here().saturating_sub(model.size())
    };
    let share = SHARE / options.replicas.max(1) as f64;
    (free as f64 * share / bytes_per_cell(model, options.kv_type)) as usize
}

/// Free bytes of the memory that the CPU works in.
pub(super) fn free_here() -> u64 {
    crate::memory::available().unwrap_or_else(|| {
        memory(|device| matches!(device.device_type, LlamaBackendDeviceType::Cpu))
    })
}

/// Free bytes on the GPUs `chosen`, by their numbers, or on all of them.
pub(super) fn free_on_devices(chosen: &[usize]) -> u64 {
    memory(|device| {
        !matches!(device.device_type, LlamaBackendDeviceType::Cpu)
            && (chosen.is_empty() || chosen.contains(&device.index))
    })
}

fn memory(which: impl Fn(&LlamaBackendDevice) -> bool) -> u64 {
    let devices = list_llama_ggml_backend_devices();
    devices.iter().filter(|device| which(device)).map(|device| device.memory_free as u64).sum()
}
