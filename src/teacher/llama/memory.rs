//! Chooses the size of a context from the model, the requests and the free memory.

use llama_cpp_2::{
    LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices, model::LlamaModel,
};

use super::{super::KvType, LlamaOptions, prefix::PrefixTree};

/// llama.cpp's own limit on the number of sequences in a context.
const MAX_SEQUENCES: usize = 256;
/// The limit for models that keep a recurrent state per sequence, which can take tens of megabytes.
const MAX_RECURRENT_SEQUENCES: usize = 32;
/// Tokens that llama.cpp computes at once (`n_ubatch`).
pub(super) const MICRO_BATCH: usize = 512;
/// Tokens per call of llama.cpp unless set otherwise.
const BATCH_TOKENS: usize = 2048;
/// Share of the free memory that a context may take.
const MEMORY_SHARE: f64 = 0.6;

/// The size of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContextSize {
    /// Requests side by side.
    pub slots: usize,
    /// Sequences, including those that hold shared prefixes.
    pub sequences: usize,
    /// Cells of the KV cache: tokens that it can hold at the same time.
    pub cells: usize,
    pub batch_tokens: usize,
}

/// What one request takes of a context.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// Tokens of its prompt.
    pub prompt: usize,
    /// Cells beyond the prompt: the longest possible reply, or the tokens of the candidates.
    pub beyond: usize,
    /// Sequences it uses while it runs.
    pub sequences: usize,
}

impl Demand {
    /// All cells, including those of prefixes that it may share.
    pub(super) fn cells(&self) -> usize {
        self.prompt + self.beyond
    }
}

/// Requests decoded side by side unless set otherwise. 16 sequences saturate a CPU; with more,
/// attention to the (masked) cells of other sequences costs more than the larger batch gains. A GPU
/// profits from more.
pub(super) fn default_slots(gpu: bool) -> usize {
    if gpu { 128 } else { 16 }
}

/// The context for requests with these `demands`, decoded in the order of `tree`, within
/// `max_cells` and `max_sequences`. Without a `tree` nothing is shared: requests run one at a time.
///
/// # Errors
/// The index of a request that does not fit even alone, and the cells that it needs.
pub(super) fn context_size(
    options: &LlamaOptions,
    tree: Option<&PrefixTree>,
    demands: &[Demand],
    slots: usize,
    max_cells: usize,
    max_sequences: usize,
) -> Result<ContextSize, (usize, usize)> {
    let largest = (0..demands.len()).max_by_key(|index| demands[*index].cells());
    let min_cells = largest.map_or(0, |index| demands[index].cells());
    if let Some(index) = largest.filter(|_| min_cells > max_cells) {
        return Err((index, min_cells));
    }
    let widest = demands.iter().map(|demand| demand.sequences).max().unwrap_or(1);
    // Each level of the tree holds one sequence, and the next group's prefix is evaluated while
    // the requests of the last group are still running.
    let depth = tree.map_or(1, |tree| {
        (0..demands.len()).map(|index| tree.path(index).len()).max().unwrap_or(0)
    });
    let side_by_side = slots.min(demands.len()).max(1);
    let sequences = (side_by_side * widest + 2 * depth + 1).min(max_sequences);
    let slots = side_by_side.min((sequences.saturating_sub(depth) / widest).max(1));
    let useful = tree.map_or(0, |tree| peak_cells(tree, demands, slots)).max(min_cells);
    let cells = if options.context > 0 { options.context } else { useful.min(max_cells) };
    let cells = cells.next_multiple_of(256);
    let batch_tokens = match options.batch_tokens {
        0 => BATCH_TOKENS,
        tokens => tokens,
    };
    Ok(ContextSize { slots, sequences, cells, batch_tokens: batch_tokens.min(cells) })
}

/// The largest number of cells that any `slots` consecutive requests take, with shared prefixes
/// counted once.
fn peak_cells(tree: &PrefixTree, demands: &[Demand], slots: usize) -> usize {
    let mut peak = 0;
    let mut users = vec![0usize; tree.nodes.len()];
    let mut cells = 0;
    let own = |index: usize| demands[index].cells() - tree.shared(index);
    for (place, &index) in tree.order.iter().enumerate() {
        cells += own(index);
        for node in tree.path(index) {
            cells += if users[node] == 0 { tree.nodes[node].len() } else { 0 };
            users[node] += 1;
        }
        if let Some(finished) = place.checked_sub(slots).map(|place| tree.order[place]) {
            cells -= own(finished);
            for node in tree.path(finished) {
                users[node] -= 1;
                cells -= if users[node] == 0 { tree.nodes[node].len() } else { 0 };
            }
        }
        peak = peak.max(cells);
    }
    peak
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

/// Maximum number of sequences in a context of `model`.
pub(super) fn max_sequences(model: &LlamaModel) -> usize {
    if model.is_recurrent() || model.is_hybrid() { MAX_RECURRENT_SEQUENCES } else { MAX_SEQUENCES }
}

/// Number of cells for which there is memory, on the GPU if the model runs there.
pub(super) fn affordable_cells(model: &LlamaModel, options: &LlamaOptions, gpu: bool) -> usize {
    let free = if gpu {
        free_on_devices(&options.devices)
    } else {
        // The pages of the mapped model file count as free memory until they are read.
        free_here().saturating_sub(model.size())
    };
    let share = MEMORY_SHARE / options.replicas.max(1) as f64;
    (free as f64 * share / bytes_per_cell(model, options.kv_type)) as usize
}

/// Free bytes of main memory.
pub(super) fn free_here() -> u64 {
    crate::memory::available().unwrap_or_else(|| {
        free_memory(|device| matches!(device.device_type, LlamaBackendDeviceType::Cpu))
    })
}

/// Free bytes on the GPUs with the numbers `chosen`, or on all GPUs if it is empty.
pub(super) fn free_on_devices(chosen: &[usize]) -> u64 {
    free_memory(|device| {
        !matches!(device.device_type, LlamaBackendDeviceType::Cpu)
            && (chosen.is_empty() || chosen.contains(&device.index))
    })
}

fn free_memory(which: impl Fn(&LlamaBackendDevice) -> bool) -> u64 {
    let devices = list_llama_ggml_backend_devices();
    devices.iter().filter(|device| which(device)).map(|device| device.memory_free as u64).sum()
}
