//! `model.safetensors`: from the many names a tensor goes by to the one that we want.
//!
//! Checkpoints in the wild leave the `bert.` or `distilbert.` prefix out (MiniLM), call a layer
//! norm's weights `gamma` and `beta` (the first BERTs), store half precision, and carry heads of
//! other tasks. What we need is found under any of these names and checked against its shape
//! before anything is built; what we do not need is passed over.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use safetensors::{SafeTensors, tensor::TensorView};

use super::network::Source;
use super::{Architecture, Result, StudentError};

/// Tensors by their full Hugging Face name.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// A tensor that a network needs.
pub(super) struct Wanted {
    /// Full name, prefix included.
    pub name: String,
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// Whether a checkpoint may lack it (the heads: they are drawn afresh).
    pub optional: bool,
}

/// The tensors that a network needs.
pub(super) struct Wants(pub Vec<Wanted>);

impl Wants {
    pub fn new(tensors: Vec<super::blueprint::Wanted>, optional: bool) -> Self {
        let wanted = tensors.into_iter();
        Self(
            wanted
                .map(|tensor| Wanted { name: tensor.name, shape: tensor.shape, optional })
                .collect(),
        )
    }
}

impl Source for Tensors {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let tensor = self.get(name).ok_or_else(|| missing(name))?;
        copy(tensor, out)
    }

    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let tensor = self.get(name).ok_or_else(|| missing(name))?;
        let ids = Tensor::from_slice(ids, ids.len(), tensor.device())?;
        copy(&tensor.index_select(&ids, 0)?, out)
    }
}

fn copy(tensor: &Tensor, out: &mut [f32]) -> Result<()> {
    out.copy_from_slice(&tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}

fn missing(name: &str) -> StudentError {
    StudentError::Weights {
        origin: "the network being built".to_owned(),
        message: format!("{name} is missing\nhint: this is a fault of ours, please report it"),
    }
}

/// Picks the wanted tensors out of a safetensors file, as F32 on `device`.
///
/// # Errors
/// One error lists every tensor that is missing, misshapen or of a number type that we cannot
/// read. An optional tensor may be missing, but not misshapen.
pub(super) fn pick(
    bytes: &[u8],
    wants: &Wants,
    architecture: Architecture,
    device: &Device,
    origin: &str,
) -> Result<Tensors> {
    let fault = |message: String| StudentError::Weights { origin: origin.to_owned(), message };
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        fault(format!("{error}\nhint: the file is damaged, or no safetensors file; fetch it again"))
    })?;
    let mut found = Tensors::new();
    let mut faults = Vec::new();
    for wanted in &wants.0 {
        let Some(view) =
            aliases(&wanted.name, architecture).iter().find_map(|alias| file.tensor(alias).ok())
        else {
            if !wanted.optional {
                faults.push(format!("{} {:?} is missing", wanted.name, wanted.shape));
            }
            continue;
        };
        if view.shape() != wanted.shape {
            faults.push(format!(
                "{} is {:?}, config.json wants {:?}",
                wanted.name,
                view.shape(),
                wanted.shape
            ));
            continue;
        }
        match to_f32(&view) {
            Some(values) => {
                found.insert(wanted.name.clone(), Tensor::from_vec(values, view.shape(), device)?);
            }
            None => faults.push(format!(
                "{} holds {:?}, only F32, F16 and BF16 are read",
                wanted.name,
                view.dtype()
            )),
        }
    }
    if faults.is_empty() {
        return Ok(found);
    }
    let rest = faults.len().saturating_sub(SHOWN);
    faults.truncate(SHOWN);
    let more = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
    Err(fault(format!(
        "tensors that config.json promises are not there:\n  {}{more}\nhint: take config.json and model.safetensors from the same model",
        faults.join("\n  ")
    )))
}

/// Faulty tensors listed in full; a wholly foreign file would list hundreds.
const SHOWN: usize = 12;

/// Every name that a tensor goes by, the likeliest first.
fn aliases(name: &str, architecture: Architecture) -> Vec<String> {
    let prefix = match architecture {
        Architecture::DistilBert => "distilbert.",
        Architecture::Bert => "bert.",
    };
    let mut names = vec![name.to_owned()];
    names.extend(name.strip_prefix(prefix).map(str::to_owned));
    let old = |name: &String| {
        name.strip_suffix("LayerNorm.weight")
            .map(|stem| format!("{stem}LayerNorm.gamma"))
            .or_else(|| {
                name.strip_suffix("LayerNorm.bias").map(|stem| format!("{stem}LayerNorm.beta"))
            })
            .or_else(|| {
                name.strip_suffix("layer_norm.weight").map(|stem| format!("{stem}layer_norm.gamma"))
            })
            .or_else(|| {
                name.strip_suffix("layer_norm.bias").map(|stem| format!("{stem}layer_norm.beta"))
            })
    };
    let older = names.iter().filter_map(old).collect::<Vec<_>>();
    names.extend(older);
    names
}

/// Little-endian bytes as f32, `None` for a number type that we do not read.
fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    match view.dtype() {
        safetensors::Dtype::F32 => Some(
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        ),
        safetensors::Dtype::BF16 => Some(
            bytes
                .chunks_exact(2)
                .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
                .collect(),
        ),
        safetensors::Dtype::F16 => {
            // candle knows half precision; the detour costs one copy at load time.
            let half = Tensor::from_raw_buffer(bytes, DType::F16, &[bytes.len() / 2], &Device::Cpu);
            half.and_then(|half| half.to_dtype(DType::F32)?.to_vec1()).ok()
        }
        _ => None,
    }
}

/// One tensor as safetensors wants it: F32, little-endian.
pub(super) struct Stored {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    /// Copies a tensor, from whatever device, to bytes.
    pub fn new(tensor: &Tensor) -> Result<Self> {
        let values = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Self { shape: tensor.dims().to_vec(), bytes })
    }
}

impl safetensors::View for Stored {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
