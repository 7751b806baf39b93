//! The engine of candle ops as a [`Network`], until the engines are built from the seam themselves.

use candle_core::Device;

use super::super::base;
use super::super::blueprint::Blueprint;
use super::super::config::Config;
use super::super::graph::head::Head;
use super::super::graph::layers::Params;
use super::super::network::{Network, Source};
use super::super::rows::Rows;
use super::super::weights::tensors;
use super::super::{Encoder, Pooling, Result, Rows as GraphRows};

struct Graph {
    encoder: Box<dyn Encoder>,
    head: Option<Head>,
    pooling: Pooling,
    pad: u32,
    device: Device,
}

/// The network of `blueprint` with the weights of `source` on `device`.
pub(in crate::student) fn network(
    config: &Config,
    blueprint: &Blueprint,
    source: &dyn Source,
    device: &Device,
) -> Result<Box<dyn Network>> {
    let tensors = tensors(source, &blueprint.tensors(), device)?;
    let params = Params::fixed(&tensors);
    let head = (blueprint.classes > 0).then(|| Head::new(config, &params)).transpose()?;
    Ok(Box::new(Graph {
        encoder: base::build_encoder(config, &params)?,
        head,
        pooling: blueprint.pooling,
        pad: config.pad_token_id,
        device: device.clone(),
    }))
}

impl Graph {
    fn rows(&self, rows: &Rows) -> Result<GraphRows> {
        let texts = rows.spans().map(|span| &rows.ids()[span]).collect::<Vec<_>>();
        GraphRows::new(&texts, self.pad, &self.device)
    }
}

impl Network for Graph {
    fn hidden(&self, rows: &Rows) -> Result<Vec<f32>> {
        let batch = self.rows(rows)?;
        let hidden = self.encoder.encode(&batch, None)?.flatten_all()?.to_vec1::<f32>()?;
        let width = self.encoder.hidden_size();
        let spans = batch.spans.iter();
        Ok(spans
            .flat_map(|&(start, len)| &hidden[start * width..(start + len) * width])
            .copied()
            .collect())
    }

    fn logits(&self, rows: &Rows) -> Result<Vec<f32>> {
        let batch = self.rows(rows)?;
        let pooled = batch.pool(&self.encoder.encode(&batch, None)?, self.pooling)?;
        let logits = match &self.head {
            Some(head) => head.forward(&pooled, None)?,
            None => pooled,
        };
        Ok(logits.flatten_all()?.to_vec1()?)
    }
}
