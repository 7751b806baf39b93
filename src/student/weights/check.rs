//! Checks a checkpoint against the network that `config.json` describes, tensor by tensor.
//!
//! Tensors that are missing, misshapen or of an unsupported number type are errors. So are surplus
//! tensors inside the encoder: a seventh layer that config.json does not mention would be dropped
//! silently, and the student would not be the model of the file. Heads of other tasks and buffers
//! that are not weights are ignored.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::Dtype;

use super::{super::config::Architecture, Checkpoint, Result};
use crate::{
    printable::excerpt,
    student::{
        error::{Fault, TAKE_CONFIG_AND_WEIGHTS},
        model_spec::{ModelSpec, TensorSpec},
    },
};

/// Maximum number of tensors listed in an error; for a file of another kind there would be
/// hundreds.
const SHOWN: usize = 12;
/// Tensors of one layer: six dense layers and two norms, each of a weight and a bias.
const LAYER_TENSORS: usize = 16;

/// The message for an unsupported number type.
pub(super) fn unreadable(name: &str, dtype: Dtype) -> String {
    format!("{name} holds {dtype:?}, only F32, F16 and BF16 are read")
}

impl Checkpoint {
    /// Checks that the file holds the network: the encoder, and if the spec has classes the whole
    /// head. Without classes the head's first dense layer is optional.
    ///
    /// # Errors
    /// One error that lists every missing, misshapen or surplus tensor.
    pub(crate) fn check(&self, spec: &ModelSpec) -> Result<()> {
        let dense = spec.dense_tensors();
        let mut wanted = spec.encoder_tensors();
        if spec.classes > 0 || dense.iter().any(|wanted| self.holds(&wanted.name)) {
            wanted.extend(dense);
        }
        if spec.classes > 0 {
            wanted.extend(spec.classifier_tensors());
        }
        let mut faults = Vec::new();
        if !spec.encoder_tensors().iter().any(|wanted| self.holds(&wanted.name)) {
            faults.extend(self.foreign());
        }
        faults.extend(wanted.iter().filter_map(|wanted| self.look_up(wanted)));
        faults.extend(self.surplus(spec, &wanted));
        if faults.is_empty() {
            return Ok(());
        }
        let rest = faults.len().saturating_sub(SHOWN);
        faults.truncate(SHOWN);
        let more = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
        Err(self.fault(Fault::with_hint(
            format!(
                "the tensors are not those that config.json describes:\n  {}{more}",
                faults.join("\n  ")
            ),
            TAKE_CONFIG_AND_WEIGHTS,
        )))
    }

    /// Checks that the file has so many layers, before a network of them is described: the number
    /// in a `config.json` is anybody's.
    ///
    /// # Errors
    /// config.json has more layers than the file can hold.
    pub(crate) fn check_layers(&self, layers: usize) -> Result<()> {
        let needed = layers.saturating_mul(LAYER_TENSORS);
        if needed <= self.entries.len() {
            return Ok(());
        }
        let (_, layer) = self.own_prefixes();
        let number = |name: &String| name.strip_prefix(layer)?.split('.').next()?.parse().ok();
        let held = self.entries.keys().filter_map(number).collect::<BTreeSet<usize>>();
        let message = match (held.len(), self.foreign()) {
            (0, Some(foreign)) => foreign,
            (held, _) => format!("config.json has {layers} layers, but the file has {held}"),
        };
        Err(self.fault(Fault::with_hint(message, TAKE_CONFIG_AND_WEIGHTS)))
    }

    /// What the names of the encoder's tensors and of its layers begin with.
    fn own_prefixes(&self) -> (&'static str, &'static str) {
        match self.architecture {
            Architecture::DistilBert => ("distilbert.", "distilbert.transformer.layer."),
            Architecture::Bert => ("bert.", "bert.encoder.layer."),
        }
    }

    fn look_up(&self, wanted: &TensorSpec) -> Option<String> {
        let TensorSpec { name, shape } = wanted;
        let Some(entry) = self.entries.get(name) else {
            return Some(format!("{name} {shape:?} is missing"));
        };
        if entry.shape != *shape {
            return Some(format!("{name} is {:?}, config.json wants {shape:?}", entry.shape));
        }
        let readable = matches!(entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
        (!readable).then(|| unreadable(name, entry.dtype))
    }

    /// A tensor of another naming scheme, for a file without any expected tensor.
    fn foreign(&self) -> Option<String> {
        let (own, _) = self.own_prefixes();
        let (_, first) = self.entries.iter().find(|(name, _)| !name.starts_with(own))?;
        let first = excerpt(&first.name);
        Some(format!("the file uses another naming scheme, such as {first}"))
    }

    /// Tensors inside the encoder that the network does not have.
    fn surplus(&self, spec: &ModelSpec, wanted: &[TensorSpec]) -> Vec<String> {
        let names = wanted.iter().map(|wanted| wanted.name.as_str()).collect::<BTreeSet<_>>();
        let (prefix, layer) = self.own_prefixes();
        let mut faults = Vec::new();
        let mut layers = BTreeMap::<usize, usize>::new();
        for (name, entry) in &self.entries {
            let shown = excerpt(name);
            let inside = name.starts_with(prefix) && !name.starts_with("bert.pooler.");
            let buffer = name.ends_with(".position_ids") || name.ends_with(".token_type_ids");
            if !inside || buffer || names.contains(name.as_str()) {
                continue;
            }
            let number = name.strip_prefix(layer).and_then(|rest| rest.split('.').next());
            match number.and_then(|number| number.parse::<usize>().ok()) {
                Some(at) if at >= spec.layers.len() => *layers.entry(at).or_default() += 1,
                _ if name.ends_with("token_type_embeddings.weight") => faults.push(format!(
                    "unexpected tensor {shown} {:?}: DistilBERT has no token types",
                    entry.shape
                )),
                _ => faults.push(format!(
                    "unexpected tensor {shown} {:?}: the model in config.json has no such part",
                    entry.shape
                )),
            }
        }
        faults.extend(layers.into_iter().map(|(at, count)| {
            format!(
                "config.json has {} layers, but the file has layer {at} ({layer}{at}, {count} tensors)",
                spec.layers.len()
            )
        }));
        faults
    }
}
