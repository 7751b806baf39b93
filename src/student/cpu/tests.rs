//! The layout's completeness, and a step's time. That the numbers are PyTorch's is seen in `parity`.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};

use super::super::blueprint::Blueprint;
use super::super::dropout::Dropout;
use super::super::network::{Learner, Source, Update};
use super::super::rows::Rows;
use super::super::{BaseModel, Pooling, Result, parity::fixture};
use super::*;

/// Weights by name.
struct Named(BTreeMap<String, Vec<f32>>);

impl Source for Named {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(self.0.get(name).unwrap_or_else(|| panic!("no {name}")));
        Ok(())
    }

    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let table = &self.0[name];
        let width = out.len() / ids.len();
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(&table[id as usize * width..][..width]);
        }
        Ok(())
    }
}

/// Weights that are drawn, as a fresh network's are.
struct Drawn(f32);

impl Source for Drawn {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let norm = name.contains("orm.weight");
        let mut state = name.bytes().fold(7u32, |state, byte| state * 31 + u32::from(byte));
        for out in out {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *out = if norm { 1.0 } else { self.0 * ((state >> 8) as f32 / 8_388_608.0 - 1.0) };
        }
        Ok(())
    }

    fn rows(&self, name: &str, _: &[u32], out: &mut [f32]) -> Result<()> {
        self.read(name, out)
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn expected(family: &str) -> BTreeMap<String, Tensor> {
    let file = fixture(family).join("expected.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter().collect()
}

/// The fixture's blueprint, weights and batch.
fn setting(family: &str) -> (Blueprint, Named, Rows) {
    let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
    let blueprint = Blueprint::new(base.config(), Pooling::First, 3);
    let file = fixture(family).join("model.safetensors");
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let named = tensors.iter().map(|(name, tensor)| (name.clone(), flat(tensor))).collect();
    let expected = expected(family);
    let rows = |name: &str| expected[name].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let texts: Vec<Vec<u32>> = rows("ids")
        .into_iter()
        .zip(rows("mask"))
        .map(|(ids, mask)| {
            ids.into_iter().zip(mask).filter(|(_, mask)| *mask == 1).map(|(id, _)| id).collect()
        })
        .collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    (blueprint, Named(named), Rows::new(&texts))
}

/// Softmax minus one-hot, over the number of texts: text i is of class i.
fn cross_entropy_gradient(logits: &[f32], classes: usize) -> Vec<f32> {
    let texts = logits.len() / classes;
    let mut grad = Vec::new();
    for (label, row) in logits.chunks(classes).enumerate() {
        let whole: f32 = row.iter().map(|x| x.exp()).sum();
        for (class, x) in row.iter().enumerate() {
            let target = f32::from(u8::from(class == label % classes));
            grad.push((x.exp() / whole - target) / texts as f32);
        }
    }
    grad
}

#[test]
fn a_layout_holds_every_tensor_once() {
    for family in ["distilbert", "bert"] {
        let (blueprint, ..) = setting(family);
        let layout = layout::Layout::new(&blueprint, layout::Contents::All);
        assert!(layout::holds(&layout, &blueprint.tensors()));
        assert_eq!(layout.len, blueprint.parameters());
    }
}

/// Times a training step of DistilBERT-base's shape.
#[test]
#[ignore = "a measurement"]
fn step_time() {
    let (mut blueprint, ..) = setting("distilbert");
    let layers = blueprint.layers.clone();
    let n = std::env::var("LAYERS").map_or(6, |n| n.parse().unwrap());
    blueprint.layers = (0..n)
        .map(|at| {
            let mut layer = layers[0].clone();
            for part in [
                &mut layer.query,
                &mut layer.key,
                &mut layer.value,
                &mut layer.output,
                &mut layer.attention_norm,
                &mut layer.up,
                &mut layer.down,
                &mut layer.norm,
            ] {
                *part = part.replace(".0.", &format!(".{at}."));
            }
            layer
        })
        .collect();
    blueprint.hidden = std::env::var("WIDTH").map_or(768, |n| n.parse().unwrap());
    blueprint.intermediate = 4 * blueprint.hidden;
    blueprint.heads = 12;
    blueprint.words_kept = 2000;
    blueprint.max_positions = 512;
    blueprint.classes = 77;
    blueprint.dropout = 0.1;
    blueprint.attention_dropout = 0.1;
    let len = std::env::var("LEN").map_or(50, |n| n.parse().unwrap());
    let text: Vec<u32> = (0..len as u32).collect();
    let rows = Rows::new(&[text.as_slice(); 8]);
    let mut learner = CpuLearner::new(blueprint.clone(), &Drawn(0.02)).unwrap();
    let (mut f, mut b, mut s) = (Vec::new(), Vec::new(), Vec::new());
    for step in 1..=12 {
        let clock = Instant::now();
        let logits = learner.forward(&rows, Some(Dropout::new(1, step))).unwrap();
        f.push(clock.elapsed().as_secs_f64() * 1e3);
        let clock = Instant::now();
        learner.backward(&cross_entropy_gradient(&logits, 77)).unwrap();
        b.push(clock.elapsed().as_secs_f64() * 1e3);
        let clock = Instant::now();
        let update = Update { rate: 1e-5, weight_decay: 0.01, clip_norm: 1.0, step };
        learner.step(update).unwrap();
        s.push(clock.elapsed().as_secs_f64() * 1e3);
    }
    for (name, x) in [("forward", &mut f), ("backward", &mut b), ("step", &mut s)] {
        x.sort_by(f64::total_cmp);
        println!("{name}: {:.1} ms, least {:.1}", x[x.len() / 2], x[0]);
    }
}
