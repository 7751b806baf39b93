//! Compares the engines with PyTorch (`scripts/student_fixture.py` wrote the expected numbers) and
//! with each other. Every test runs on every engine: a new one is one more line in [`engines`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use super::{
    dropout::Dropout,
    engine::{learner, network},
    graph::GraphLearner,
    model_spec::ModelSpec,
    network::{Learner, Source, Update},
    packed_batch::PackedBatch,
    weights::Checkpoint,
    *,
};

const FAMILIES: [&str; 2] = ["distilbert", "bert"];
/// The head that the fixtures were computed with.
const MLP: Head = Head::Mlp(Pooling::First);

type Engine = fn(ModelSpec, &dyn Source) -> Box<dyn Learner>;

/// Names a device on which the graph engine is tested as well: `cuda` or `metal`. The tests fail if
/// it is missing.
const DEVICE: &str = "PROMPTMIX_TEST_DEVICE";
/// Names the fixtures' folder for tests that run on another machine than the one that built them.
const FIXTURES: &str = "PROMPTMIX_TEST_DATA";

/// The reference first, then the engines under test.
fn engines() -> Vec<(&'static str, Engine)> {
    let mut engines: Vec<(&'static str, Engine)> = vec![("graph in F64", reference), ("cpu", cpu)];
    if gpu().is_some() {
        engines.push(("gpu", on_gpu));
    }
    engines
}

fn reference(spec: ModelSpec, source: &dyn Source) -> Box<dyn Learner> {
    Box::new(GraphLearner::with_dtype(spec, source, DType::F64, &Device::Cpu).unwrap())
}

fn cpu(spec: ModelSpec, source: &dyn Source) -> Box<dyn Learner> {
    learner(spec, source, &Device::Cpu).unwrap()
}

fn on_gpu(spec: ModelSpec, source: &dyn Source) -> Box<dyn Learner> {
    learner(spec, source, &gpu().unwrap()).unwrap()
}

/// The GPU that this build supports, if [`DEVICE`] asks for it.
fn gpu() -> Option<Device> {
    let wanted = std::env::var(DEVICE).ok()?;
    let device = device().unwrap_or_else(|error| panic!("{DEVICE}={wanted}: {error}"));
    let matches = match wanted.as_str() {
        "cuda" => device.is_cuda(),
        "metal" => device.is_metal(),
        _ => panic!("{DEVICE}={wanted}: expected cuda or metal"),
    };
    assert!(matches, "{DEVICE}={wanted}: this build is for another device");
    Some(device)
}

/// The devices on which inference is tested.
fn devices() -> Vec<Device> {
    [Some(Device::Cpu), gpu()].into_iter().flatten().collect()
}

/// A fixture's folder.
pub(super) fn fixture(family: &str) -> PathBuf {
    let folder = std::env::var_os(FIXTURES).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/student"),
        PathBuf::from,
    );
    folder.join(family)
}

/// PyTorch's results.
fn expected(family: &str) -> BTreeMap<String, Tensor> {
    let file = fixture(family).join("expected.safetensors");
    candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter().collect()
}

/// The fixture's network over three classes.
fn spec(family: &str, head: Head) -> ModelSpec {
    let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
    ModelSpec::new(base.config(), head, 3)
}

/// The fixture's tensors, classifier included.
fn tensors(family: &str) -> std::sync::Arc<Checkpoint> {
    let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
    base.inner.checkpoint.clone()
}

/// A learner over the fixture's weights.
fn build(engine: Engine, family: &str, head: Head) -> Box<dyn Learner> {
    let spec = spec(family, head);
    engine(spec, &*tensors(family))
}

/// Mean cross-entropy of three texts, one per class, and its gradient.
fn loss(logits: &[f32]) -> (f64, Vec<f32>) {
    loss_of(logits, &[0, 1, 2])
}

/// Mean cross-entropy of texts of the classes `targets`, and its gradient.
fn loss_of(logits: &[f32], targets: &[usize]) -> (f64, Vec<f32>) {
    let mut gradient = Vec::new();
    let mut loss = 0.0;
    let texts = targets.len() as f32;
    for (&target, logits) in targets.iter().zip(logits.chunks_exact(3)) {
        let shares = classify::softmax(logits, 1.0);
        loss -= f64::from(shares[target]).ln() / f64::from(texts);
        let wanted = |class: usize| if class == target { 1.0 } else { 0.0 };
        gradient.extend((0..3).map(|class| (shares[class] - wanted(class)) / texts));
    }
    (loss, gradient)
}

/// Largest absolute difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The batch's texts without their padding.
fn texts(expected: &BTreeMap<String, Tensor>) -> Vec<Vec<u32>> {
    texts_of(expected, "")
}

/// The same for the batch with keys that begin with `prefix`.
fn texts_of(expected: &BTreeMap<String, Tensor>, prefix: &str) -> Vec<Vec<u32>> {
    let rows = |name: &str| {
        expected[&format!("{prefix}{name}")]
            .to_dtype(DType::U32)
            .unwrap()
            .to_vec2::<u32>()
            .unwrap()
            .into_iter()
    };
    rows("ids")
        .zip(rows("mask"))
        .map(|(ids, mask)| {
            ids.into_iter().zip(mask).filter(|&(_, m)| m == 1).map(|(id, _)| id).collect()
        })
        .collect()
}

fn rows(texts: &[Vec<u32>]) -> PackedBatch {
    PackedBatch::new(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Three texts of different lengths.
fn ragged() -> PackedBatch {
    PackedBatch::new(&[&[2, 10, 11, 12, 3], &[2, 30, 3], &[2, 40, 41, 42, 43, 10, 3]])
}

/// The texts' states from `[texts, seq, width]`, without padding.
fn packed(hidden: &Tensor, rows: &PackedBatch) -> Vec<f32> {
    let (_, seq, width) = hidden.dims3().unwrap();
    let all = floats(hidden);
    let text = |(text, span): (usize, std::ops::Range<usize>)| {
        all[text * seq * width..][..span.len() * width].to_vec()
    };
    rows.spans().enumerate().flat_map(text).collect()
}

fn update(step: u64) -> Update {
    Update { rate: 1e-3, weight_decay: 0.01, clip_norm: 0.05, step }
}

#[test]
fn logits_loss_and_the_gradient_of_every_weight_equal_pytorchs() {
    for family in FAMILIES {
        let expected = expected(family);
        let rows = rows(&texts(&expected));
        for (engine, make) in engines() {
            let mut learner = build(make, family, MLP);
            let logits = learner.forward(&rows, None).unwrap();
            let off = distance(&logits, &floats(&expected["logits"]));
            assert!(off < 1e-5, "{family}, {engine}: logits are off by {off}");
            let (loss, gradient) = loss(&logits);
            let wanted = f64::from(floats(&expected["loss"])[0]);
            assert!((loss - wanted).abs() < 1e-5, "{family}, {engine}: loss {loss}, {wanted}");
            learner.backward(&gradient).unwrap();
            let gradients = learner.gradients().unwrap();
            let wanted = expected.keys().filter(|key| key.starts_with("grad.")).count();
            assert_eq!(gradients.len(), wanted, "{family}, {engine}: weights");
            let mut worst = 0f32;
            for (name, gradient) in gradients {
                let off = distance(&gradient, &floats(&expected[&format!("grad.{name}")]));
                assert!(off < 1e-5, "{family}, {engine}: gradient of {name} is off by {off}");
                worst = worst.max(off);
            }
            println!("{family}, {engine}: logits off by {off:e}, gradients by at most {worst:e}");
        }
    }
}

#[test]
fn hidden_states_equal_pytorchs() {
    for family in FAMILIES {
        let expected = expected(family);
        let rows = rows(&texts(&expected));
        for device in devices() {
            let spec = spec(family, MLP);
            let network = network(spec, tensors(family), &device, Precision::F32).unwrap();
            let hidden = network.hidden(&rows).unwrap();
            let off = distance(&hidden, &packed(&expected["hidden"], &rows));
            assert!(off < 1e-5, "{family}, {device:?}: hidden states are off by {off}");
            let off = distance(&network.logits(&rows).unwrap(), &floats(&expected["logits"]));
            assert!(off < 1e-5, "{family}, {device:?}: logits are off by {off}");
        }
    }
}

#[test]
fn one_clipped_adamw_step_equals_pytorchs() {
    for family in FAMILIES {
        let expected = expected(family);
        let rows = rows(&texts(&expected));
        for (engine, make) in engines() {
            let mut learner = build(make, family, MLP);
            let (_, gradient) = loss(&learner.forward(&rows, None).unwrap());
            learner.backward(&gradient).unwrap();
            let norm = learner.step(update(1)).unwrap();
            let wanted = f64::from(floats(&expected["norm"])[0]);
            assert!((norm / wanted - 1.0).abs() < 1e-5, "{family}, {engine}: {norm}, {wanted}");
            for (name, weight) in learner.weights().unwrap() {
                let off = distance(&weight, &floats(&expected[&format!("after.{name}")]));
                // Adam's first step is ±rate for a gradient of any size. Where it is nearly zero (a
                // key's bias has no effect) its sign is rounding noise.
                let gradient = floats(&expected[&format!("grad.{name}")]);
                let noise = gradient.iter().all(|slope| slope.abs() < 1e-6);
                assert!(noise || off < 1e-5, "{family}, {engine}: {name} is off by {off}");
            }
        }
    }
}

#[test]
fn engines_agree_under_dropout_with_every_other_head() {
    for (family, head) in FAMILIES.iter().flat_map(|f| {
        [
            (f, Head::Mlp(Pooling::Mean)),
            (f, Head::Linear(Pooling::Mean)),
            (f, Head::Linear(Pooling::First)),
        ]
    }) {
        let run = |make: Engine| {
            let mut learner = build(make, family, head);
            let logits = learner.forward(&ragged(), Some(Dropout::new(9, 4))).unwrap();
            learner.backward(&loss(&logits).1).unwrap();
            let gradients = learner.gradients().unwrap();
            (logits, gradients)
        };
        let (wanted, gradients) = run(reference);
        let plain = build(reference, family, head).forward(&ragged(), None).unwrap();
        assert!(distance(&wanted, &plain) > 1e-3, "{family}, {head:?}: nothing was dropped");
        for (engine, make) in &engines()[1..] {
            let (logits, others) = run(*make);
            assert!(distance(&logits, &wanted) < 1e-5, "{family}, {head:?}, {engine}: logits");
            assert_eq!(gradients.len(), others.len());
            for (name, gradient) in &gradients {
                let off = distance(gradient, &others[name]);
                assert!(off < 1e-5, "{family}, {head:?}, {engine}: {name} is off by {off}");
            }
        }
    }
}

#[test]
fn engines_agree_on_embeddings_and_their_gradients_where_there_are_no_classes() {
    for (family, pooling) in FAMILIES.iter().flat_map(|f| [(f, Pooling::Mean), (f, Pooling::First)])
    {
        let run = |make: Engine| {
            let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
            let spec = ModelSpec::new(base.config(), Head::Linear(pooling), 0);
            let mut learner = make(spec, &*tensors(family));
            let embeddings = learner.forward(&ragged(), Some(Dropout::new(9, 4))).unwrap();
            // Any gradient will do.
            let slopes: Vec<f32> = embeddings.iter().map(|u| u * u - 0.1).collect();
            learner.backward(&slopes).unwrap();
            let gradients = learner.gradients().unwrap();
            (embeddings, gradients)
        };
        let (wanted, gradients) = run(reference);
        for text in wanted.chunks(wanted.len() / 3) {
            assert!((text.iter().map(|u| u * u).sum::<f32>() - 1.0).abs() < 1e-5);
        }
        for (engine, make) in &engines()[1..] {
            let (embeddings, others) = run(*make);
            assert!(distance(&embeddings, &wanted) < 1e-5, "{family}, {pooling:?}, {engine}");
            assert_eq!(gradients.len(), others.len());
            for (name, gradient) in &gradients {
                let off = distance(gradient, &others[name]);
                assert!(off < 1e-5, "{family}, {pooling:?}, {engine}: {name} is off by {off}");
            }
        }
    }
}

#[test]
fn texts_of_one_and_of_512_tokens_equal_pytorchs() {
    for family in FAMILIES {
        let expected = expected(family);
        let rows = rows(&texts_of(&expected, "long."));
        assert_eq!(rows.spans().map(|span| span.len()).collect::<Vec<_>>(), [1, 40, 512]);
        for (engine, make) in engines() {
            let mut learner = build(make, family, MLP);
            let logits = learner.forward(&rows, None).unwrap();
            let off = distance(&logits, &floats(&expected["long.logits"]));
            assert!(off < 1e-5, "{family}, {engine}: logits are off by {off}");
            let (loss, gradient) = loss_of(&logits, &[2, 0, 1]);
            let wanted = f64::from(floats(&expected["long.loss"])[0]);
            assert!((loss - wanted).abs() < 1e-5, "{family}, {engine}: loss {loss}, {wanted}");
            learner.backward(&gradient).unwrap();
            for (name, gradient) in learner.gradients().unwrap() {
                let off = distance(&gradient, &floats(&expected[&format!("long.grad.{name}")]));
                assert!(off < 1e-5, "{family}, {engine}: gradient of {name} is off by {off}");
            }
        }
    }
}

#[test]
fn five_adamw_steps_equal_pytorchs() {
    for family in FAMILIES {
        let expected = expected(family);
        let numbers =
            |name: &str| expected[name].to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        let batches = [rows(&texts(&expected)), rows(&texts_of(&expected, "long."))];
        let targets = [[0, 1, 2], [2, 0, 1]];
        let (losses, norms) = (numbers("steps.losses"), numbers("steps.norms"));
        let rates = numbers("steps.rates");
        for (engine, make) in engines() {
            let mut learner = build(make, family, MLP);
            for (at, batch) in numbers("steps.batch").into_iter().enumerate() {
                let batch = batch as usize;
                let logits = learner.forward(&batches[batch], None).unwrap();
                let (loss, gradient) = loss_of(&logits, &targets[batch]);
                assert!((loss - losses[at]).abs() < 1e-5, "{family}, {engine}: {loss}, step {at}");
                learner.backward(&gradient).unwrap();
                let (weight_decay, clip_norm) =
                    (numbers("steps.decay")[0], numbers("steps.clip")[0]);
                let step = at as u64 + 1;
                let update = Update { rate: rates[at], weight_decay, clip_norm, step };
                let norm = learner.step(update).unwrap();
                assert!((norm / norms[at] - 1.0).abs() < 1e-4, "{family}, {engine}: norm {norm}");
                if step != 1 && step != 5 {
                    continue;
                }
                for (name, weight) in learner.weights().unwrap() {
                    let wanted = floats(&expected[&format!("steps.after{step}.{name}")]);
                    let firm = floats(&expected[&format!("steps.firm.{name}")]);
                    let pairs = weight.iter().zip(&wanted).zip(&firm);
                    let off = pairs
                        .filter(|(_, firm)| **firm == 1.0)
                        .map(|((weight, wanted), _)| (weight - wanted).abs())
                        .fold(0.0, f32::max);
                    assert!(off < 2e-5, "{family}, {engine}: {name} is off by {off}, step {step}");
                }
            }
        }
    }
}

#[test]
fn eight_bits_are_near_and_repeat() {
    for (family, head) in FAMILIES.iter().flat_map(|f| [(f, MLP), (f, Head::Linear(Pooling::Mean))])
    {
        let rows = ragged();
        let logits = |precision| {
            let spec = spec(family, head);
            let network = network(spec, tensors(family), &Device::Cpu, precision).unwrap();
            network.logits(&rows).unwrap()
        };
        let (exact, fast) = (logits(Precision::F32), logits(Precision::Int8));
        let off = distance(&exact, &fast);
        assert!(off > 0.0 && off < 0.02, "{family}, {head:?}: {off}");
        assert_eq!(fast, logits(Precision::Int8));
    }
}

#[test]
fn gradients_add_up_until_a_step_takes_them() {
    for (engine, make) in engines() {
        let mut learner = build(make, "bert", MLP);
        let pass = |learner: &mut dyn Learner| {
            let logits = learner.forward(&ragged(), None).unwrap();
            learner.backward(&loss(&logits).1).unwrap();
            learner.gradients().unwrap()
        };
        let once = pass(&mut *learner);
        let twice = pass(&mut *learner);
        for (name, once) in &once {
            let doubled = once.iter().map(|slope| 2.0 * slope).collect::<Vec<_>>();
            assert!(distance(&doubled, &twice[name]) < 1e-6, "{engine}: {name}");
        }
        learner.step(Update { rate: 0.0, ..update(1) }).unwrap();
        let error = learner.step(update(2)).unwrap_err().to_string();
        assert!(error.contains("received no gradient"), "{engine}: {error}");
        let again = pass(&mut *learner);
        for (name, once) in &once {
            assert!(distance(once, &again[name]) < 1e-6, "{engine}: {name}");
        }
    }
}

#[test]
fn a_restored_learner_continues_bit_for_bit() {
    // The state is F32, so this holds only for engines that train in F32.
    for (engine, make) in &engines()[1..] {
        let mut first = build(*make, "distilbert", MLP);
        let step = |learner: &mut dyn Learner, number: u64| {
            let logits = learner.forward(&ragged(), Some(Dropout::new(1, number))).unwrap();
            learner.backward(&loss(&logits).1).unwrap();
            learner.step(update(number)).unwrap();
        };
        (1..3).for_each(|number| step(&mut *first, number));
        let mut second = build(*make, "distilbert", MLP);
        second.restore(&first.state().unwrap()).unwrap();
        (3..5).for_each(|number| step(&mut *first, number));
        (3..5).for_each(|number| step(&mut *second, number));
        assert!(first.state().unwrap() == second.state().unwrap(), "{engine}");
    }
}

/// candle-transformers' BERT cannot be trained, but its inference checks our forward pass.
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
    let rows = rows(&texts(&expected));
    let spec = spec("bert", MLP);
    let ours = network(spec, tensors("bert"), &Device::Cpu, Precision::F32)
        .unwrap()
        .hidden(&rows)
        .unwrap();
    assert!(distance(&ours, &packed(&theirs, &rows)) < 1e-5);
}
