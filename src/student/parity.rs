//! The networks held against PyTorch (`scripts/student_fixture.py` wrote the expected numbers),
//! and the fused ops held against candle's own, in f64.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor, Var};

use super::base::build_encoder;
use super::graph::head::Head;
use super::graph::kernels::Sink;
use super::graph::layers::Params;
use super::graph::optimizer::{AdamW, Gradients};
use super::weights::{self, Tensors};
use super::*;

const FAMILIES: [&str; 2] = ["distilbert", "bert"];

/// A fixture's folder.
pub(super) fn fixture(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/student").join(family)
}

/// Everything PyTorch computed.
fn expected(family: &str) -> BTreeMap<String, Tensor> {
    let file = fixture(family).join("expected.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter().collect()
}

/// The fixture's tensors, classifier included.
fn tensors(base: &BaseModel) -> Tensors {
    let wanted = super::blueprint::Blueprint::new(base.config(), Pooling::First, 3).tensors();
    weights::tensors(&*base.inner.checkpoint, &wanted, &Device::Cpu).unwrap()
}

/// The network over fresh variables.
struct Net {
    vars: BTreeMap<String, Var>,
    encoder: Box<dyn Encoder>,
    head: Head,
    sink: Sink,
}

impl Net {
    fn new(base: &BaseModel, tensors: &Tensors, dtype: DType) -> Self {
        let vars = tensors
            .iter()
            .map(|(name, t)| (name.clone(), Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap()))
            .collect::<BTreeMap<_, _>>();
        let live = vars.iter().map(|(n, var)| (n.clone(), var.as_tensor().clone())).collect();
        let params = Params { tensors: &live, sink: Sink::default() };
        let encoder = build_encoder(base.config(), &params).unwrap();
        Self { encoder, head: Head::new(base.config(), &params).unwrap(), sink: params.sink, vars }
    }

    /// Logits and loss of the three texts, one of each class.
    fn run(&self, rows: &Rows, pooling: Pooling, mut rng: Option<DropoutRng>) -> (Tensor, Tensor) {
        let hidden = self.encoder.encode(rows, rng.as_mut()).unwrap();
        let pooled = rows.pool(&hidden, pooling).unwrap();
        let logits = self.head.forward(&pooled, rng.as_mut()).unwrap();
        let batch = (0..3)
            .map(|label| Example { text: String::new(), label, weight: 1.0 })
            .collect::<Vec<_>>();
        let loss = trainer::loss(&logits, &batch.iter().collect::<Vec<_>>(), 0.0).unwrap();
        (logits, loss)
    }
}

/// Largest difference between two tensors, whatever their number types.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let flat = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    let difference = (flat(a) - flat(b)).unwrap().abs().unwrap();
    difference.max(0).unwrap().to_scalar().unwrap()
}

/// The batch's texts without their padding.
fn texts(expected: &BTreeMap<String, Tensor>) -> Vec<Vec<u32>> {
    let rows = |name: &str| {
        expected[name].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap().into_iter()
    };
    rows("ids")
        .zip(rows("mask"))
        .map(|(ids, mask)| {
            ids.into_iter().zip(mask).filter(|&(_, m)| m == 1).map(|(id, _)| id).collect()
        })
        .collect()
}

fn slices(texts: &[Vec<u32>]) -> Vec<&[u32]> {
    texts.iter().map(Vec::as_slice).collect()
}

#[test]
fn logits_loss_and_the_gradient_of_every_parameter_equal_pytorchs() {
    for family in FAMILIES {
        let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
        let expected = expected(family);
        let texts = texts(&expected);
        // Fused and packed as on a CPU; op by op, padded and in f64, as a GPU would go about it.
        let packed = Rows::new(&slices(&texts), 0, &Device::Cpu).unwrap();
        let padded = Rows::padded(&slices(&texts), 0, &Device::Cpu).unwrap();
        for (rows, dtype) in [(packed, DType::F32), (padded, DType::F64)] {
            let net = Net::new(&base, &tensors(&base), dtype);
            let (logits, loss) = net.run(&rows, Pooling::First, None);
            assert!(distance(&logits, &expected["logits"]) < 1e-5, "{family} {dtype:?}: logits");
            let loss_vector = loss.reshape(1).unwrap();
            assert!(distance(&loss_vector, &expected["loss"]) < 1e-5, "{family} {dtype:?}: loss");
            let mut grads = Gradients::of(&loss, &net.sink).unwrap();
            let wanted = expected.keys().filter(|key| key.starts_with("grad.")).count();
            assert_eq!(net.vars.len(), wanted, "{family}: parameters");
            for (name, var) in &net.vars {
                let grad = grads.take(var).unwrap_or_else(|| panic!("{family}: {name}: none"));
                let off = distance(&grad, &expected[&format!("grad.{name}")]);
                assert!(off < 1e-5, "{family} {dtype:?}: gradient of {name} is off by {off}");
            }
        }
    }
}

#[test]
fn hidden_states_of_a_padded_batch_equal_pytorchs() {
    for family in FAMILIES {
        let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
        let expected = expected(family);
        let [ids, mask] = ["ids", "mask"].map(|name| expected[name].to_dtype(DType::U32).unwrap());
        let hidden = base.encoder().unwrap().forward(&ids, &mask, None).unwrap();
        assert!(distance(&hidden, &expected["hidden"]) < 1e-5, "{family}");
    }
}

#[test]
fn one_clipped_adamw_step_equals_pytorchs() {
    for family in FAMILIES {
        let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
        let expected = expected(family);
        let texts = texts(&expected);
        let rows = Rows::new(&slices(&texts), 0, &Device::Cpu).unwrap();
        let net = Net::new(&base, &tensors(&base), DType::F32);
        let (_, loss) = net.run(&rows, Pooling::First, None);
        let mut optimizer = AdamW::new(net.vars.clone(), 0.01, 0.05).unwrap();
        let norm = optimizer.step(&mut Gradients::of(&loss, &net.sink).unwrap(), 1e-3).unwrap();
        let wanted = f64::from(expected["norm"].to_vec1::<f32>().unwrap()[0]);
        assert!((norm / wanted - 1.0).abs() < 1e-5, "{family}: norm {norm}, {wanted}");
        for (name, var) in &net.vars {
            let off = distance(var, &expected[&format!("after.{name}")]);
            // Adam's first step is ±rate whatever the gradient's size, so where that is nearly
            // zero (a key's bias moves nothing) its sign is rounding noise.
            let noise =
                distance(&expected[&format!("grad.{name}")], &var.zeros_like().unwrap()) < 1e-6;
            assert!(noise || off < 1e-5, "{family}: {name} is off by {off}");
        }
    }
}

#[test]
fn fused_ops_equal_candles_own_under_dropout_and_mean_pooling() {
    // Texts of one length: packed and padded rows, and so their masks, are then the same.
    let texts =
        [[2, 10, 11, 12, 3], [2, 30, 31, 10, 3], [2, 40, 41, 42, 3]].map(|text| text.to_vec());
    for family in FAMILIES {
        let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
        let tensors = tensors(&base);
        let run = |rows: Rows, dtype| {
            let net = Net::new(&base, &tensors, dtype);
            let (logits, loss) = net.run(&rows, Pooling::Mean, Some(DropoutRng::new(9, 4)));
            (logits, Gradients::of(&loss, &net.sink).unwrap(), net.vars)
        };
        let packed = Rows::new(&slices(&texts), 0, &Device::Cpu).unwrap();
        let padded = Rows::padded(&slices(&texts), 0, &Device::Cpu).unwrap();
        let (fused, mut fused_grads, fused_vars) = run(packed, DType::F32);
        let (plain, mut plain_grads, plain_vars) = run(padded, DType::F64);
        assert!(distance(&fused, &plain) < 1e-5, "{family}: logits");
        for (name, var) in &fused_vars {
            let (Some(a), Some(b)) = (fused_grads.take(var), plain_grads.take(&plain_vars[name]))
            else {
                panic!("{family}: {name} has no gradient");
            };
            assert!(distance(&a, &b) < 1e-5, "{family}: gradient of {name}");
        }
    }
}

/// candle-transformers cannot train, but its BERT infers: a second opinion on our forward pass.
#[test]
fn hidden_states_equal_those_of_candle_transformers() {
    use candle_transformers::models::bert::{BertModel, Config};

    let folder = fixture("bert");
    let config: Config =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let weights =
        candle_nn::VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)
            .unwrap();
    let stock = BertModel::load(weights.pp("bert"), &config).unwrap();

    let expected = expected("bert");
    let [ids, mask] = ["ids", "mask"].map(|name| expected[name].to_dtype(DType::U32).unwrap());
    let theirs = stock.forward(&ids, &ids.zeros_like().unwrap(), Some(&mask)).unwrap();
    let ours = BaseModel::load(&folder, &Device::Cpu).unwrap().encoder().unwrap();
    let ours = ours.forward(&ids, &mask, None).unwrap();
    // Our padding is zero, theirs is whatever comes out.
    let visible = mask.to_dtype(DType::F32).unwrap().unsqueeze(2).unwrap();
    let theirs = theirs.broadcast_mul(&visible).unwrap();
    assert!(distance(&ours, &theirs) < 1e-5);
}
