//! How much a context may hold: from the model, the requests and the memory that is free.

use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices, model::LlamaModel};

use super::{super::KvType, LlamaOptions, prefix::PrefixTree};

/// llama.cpp's own bound on sequences in a context.
pub(super) const MOST_SEQUENCES: usize = 256;
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

/// Requests decoded side by side where nothing was set. A CPU's arithmetic is used up by 32
/// sequences; a GPU takes more.
pub(super) fn default_slots(gpu: bool) -> usize {
    if gpu { 128 } else { 32 }
}

/// The context for requests with these `needs`, in the order of `tree`, within `limit` cells.
///
/// # Errors
/// The number of the request that does not fit even alone, and the cells it wants.
///
/// Without a `tree` nothing is shared: requests go one at a time.
pub(super) fn shape(
    options: &LlamaOptions,
    tree: Option<&PrefixTree>,
    needs: &[Need],
    slots: usize,
    limit: usize,
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
    let sequences = (side_by_side * widest + 2 * depth + 1).min(MOST_SEQUENCES);
    let slots = side_by_side.min(((sequences - depth) / widest).max(1));
    let wanted = tree.map_or(0, |tree| window(tree, needs, slots)).max(least);
    let cells = if options.context > 0 { options.context } else { wanted.min(limit) };
    let batch_tokens = match options.batch_tokens {
        0 => BATCH_TOKENS,
        tokens => tokens,
    };
    Ok(Shape { slots, sequences, cells: cells.next_multiple_of(256), batch_tokens })
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

/// Cells for which there is memory, on the GPU if the model runs there.
pub(super) fn affordable_cells(model: &LlamaModel, kv_type: KvType, gpu: bool) -> usize {
    let free = if gpu { free_on_devices() } else { free_here() };
    (free as f64 * SHARE / bytes_per_cell(model, kv_type)) as usize
}

/// Free bytes of the memory that the CPU works in.
pub(super) fn free_here() -> u64 {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    available.map_or_else(|| memory(false), |kilobytes| kilobytes << 10)
}

/// Free bytes on all GPUs.
pub(super) fn free_on_devices() -> u64 {
    memory(true)
}

fn memory(gpu: bool) -> u64 {
    list_llama_ggml_backend_devices()
        .iter()
        .filter(|device| matches!(device.device_type, LlamaBackendDeviceType::Cpu) != gpu)
        .map(|device| device.memory_free as u64)
        .sum()
}
